"""The result of a quantization as cells and notes."""

from collections import defaultdict
from collections.abc import Sequence

from octavo.reporting.card import overflow_note
from octavo.reporting.comparison_tables import MIB, Cells
from octavo.schema.layers import LayerResult
from octavo.schema.manifest import Manifest


def part_cells(layers: Sequence[LayerResult]) -> Cells:
    """Bytes before and after by part of the model."""
    groups: dict[tuple[str, str], list[LayerResult]] = defaultdict(list)
    for layer in layers:
        groups[layer.part, layer.dtype].append(layer)
    cells = [["part", "stored as", "layers", "float MiB", "MiB", "weight error, dB"]]
    for (part, dtype), members in groups.items():
        errors = [layer.error_db for layer in members if layer.error_db is not None]
        bits = {layer.weight_bits for layer in members}
        kind = f"{dtype} (7 of 8 bits used)" if bits == {7} else dtype
        before, after = 4 * sum(layer.parameters for layer in members), sum(layer.bytes for layer in members)
        error = f"{min(errors):.1f} to {max(errors):.1f}" if errors else ""
        cells.append([part, kind, str(len(members)), f"{before / MIB:.2f}", f"{after / MIB:.2f}", error])
    return cells


def quantization_notes(manifest: Manifest, size: int, engine: tuple[str, str]) -> list[str]:
    """The result in sentences; `engine` is the one that will run it here, and why."""
    floats = [layer for layer in manifest.layers if layer.dtype.startswith("float")]
    share = f"{100 * size / manifest.source.bytes:.1f} %; the checkpoint is stored as {manifest.source.dtype}"
    notes = [
        f"{size / MIB:.1f} MiB of {manifest.source.bytes / MIB:.1f} ({share})",
        f"method {manifest.recipe.method}, target {manifest.target}, "
        + (f"opset {manifest.export.opset}" if manifest.export else f"format {manifest.recipe.format}"),
        f"engine here: {engine[0]} ({engine[1]})",
    ]
    if manifest.calibration:
        notes.append(f"calibrated on {manifest.calibration.rows:,} examples, {manifest.calibration.tokens:,} tokens")
    if manifest.overflow:
        notes.append(overflow_note(manifest.overflow))
    if manifest.export and manifest.export.note:
        notes.append(manifest.export.note)
    reasons: dict[str, list[str]] = defaultdict(list)
    for layer in floats:
        reasons[layer.reason].append(layer.path)
    for reason, paths in reasons.items():
        shown = ", ".join(paths[:3]) + (", ..." if len(paths) > 3 else "")
        notes.append(f"{len(paths)} of {len(manifest.layers)} layers stayed float, {reason}: {shown}")
    if not floats:
        kinds = " or ".join(sorted({layer.dtype for layer in manifest.layers}, reverse=True))
        notes.append(f"all {len(manifest.layers)} layers are {kinds}; biases and normalizations stay float")
    return notes
