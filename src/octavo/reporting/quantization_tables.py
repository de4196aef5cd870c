"""The result of a quantization as cells and notes."""

from collections import defaultdict
from collections.abc import Sequence

from octavo.reporting.card import OVERFLOW, overflow_fields
from octavo.reporting.comparison_tables import MIB, Cells
from octavo.reporting.languages import Say, english, known
from octavo.schema.layers import LayerResult
from octavo.schema.manifest import Manifest


def part_cells(layers: Sequence[LayerResult], say: Say = english) -> Cells:
    """Bytes before and after by part of the model."""
    groups: dict[tuple[str, str], list[LayerResult]] = defaultdict(list)
    for layer in layers:
        groups[layer.part, layer.dtype].append(layer)
    cells = [[say(name) for name in ("part", "stored as", "layers", "float MiB", "MiB", "weight error, dB")]]
    for (part, dtype), members in groups.items():
        errors = [layer.error_db for layer in members if layer.error_db is not None]
        bits = {layer.weight_bits for layer in members}
        kind = say("{dtype} (7 of 8 bits used)").format(dtype=dtype) if bits == {7} else dtype
        before, after = 4 * sum(layer.parameters for layer in members), sum(layer.bytes for layer in members)
        error = say("{low:.1f} to {high:.1f}").format(low=min(errors), high=max(errors)) if errors else ""
        row = [known(say)(part), kind, str(len(members)), f"{before / MIB:.2f}", f"{after / MIB:.2f}", error]
        cells.append(row)
    return cells


def quantization_notes(manifest: Manifest, size: int, engine: tuple[str, str], say: Say = english) -> list[str]:
    """The result in sentences; `engine` is the one that will run it here, and why."""
    recipe, source, elsewhere = manifest.recipe, manifest.source, known(say)
    text = say("{mib:.1f} MiB of {before:.1f} ({share:.1f} %; the checkpoint is stored as {dtype})")
    share = 100 * size / source.bytes
    notes = [text.format(mib=size / MIB, before=source.bytes / MIB, share=share, dtype=source.dtype)]
    made = f"opset {manifest.export.opset}" if manifest.export else f"{say('format')} {recipe.format}"
    notes.append(f"{say('method')} {recipe.method}, {say('target')} {manifest.target}, {made}")
    notes.append(f"{say('engine here')}: {engine[0]} ({elsewhere(engine[1])})")
    if calibration := manifest.calibration:
        text = say("calibrated on {n:,} examples, {tokens:,} tokens")
        notes.append(text.format(n=calibration.rows, tokens=calibration.tokens))
    if manifest.overflow:
        notes.append(say(OVERFLOW).format(**overflow_fields(manifest.overflow)))
    if manifest.export and manifest.export.note:
        notes.append(elsewhere(manifest.export.note))
    return notes + _float_notes(manifest.layers, say)


def _float_notes(layers: Sequence[LayerResult], say: Say) -> list[str]:
    """Which layers stayed float, and why."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for layer in layers:
        if layer.dtype.startswith("float"):
            reasons[layer.reason].append(layer.path)
    if not reasons:
        kinds = say(" or ").join(sorted({layer.dtype for layer in layers}, reverse=True))
        text = say("all {n} layers are {kinds}; biases and normalizations stay float")
        return [text.format(n=len(layers), kinds=kinds)]
    text, notes = say("{n} of {all} layers stayed float, {reason}: {paths}"), list[str]()
    for reason, paths in reasons.items():
        shown = ", ".join(paths[:3]) + (", ..." if len(paths) > 3 else "")
        notes.append(text.format(n=len(paths), all=len(layers), reason=known(say)(reason), paths=shown))
    return notes
