"""An inspection and a diagnosis as cells and notes."""

from __future__ import annotations

from collections.abc import Mapping

from octavo.reporting.comparison_tables import MIB, Cells
from octavo.schema.inspection import Diagnosis, Inspection


def inspection_notes(found: Inspection) -> list[str]:
    """What is said in words, before the tables."""
    notes = [f"{found.path}: {found.kind}, {found.bytes / MIB:.1f} MiB" + _by_dtype(found)]
    runs = f"octavo.load runs it as {found.loads_as}" if found.loads_as else "octavo.load does not run this task yet"
    if found.kind == "checkpoint":
        runs += " (in torch)" if found.loads_as else ""
    elif found.kind == "onnx":
        runs = runs.replace("octavo.load", "octavo compare").replace(" it as ", " it, with a tokenizer beside it, as ")
    notes.append(f"task {found.task} ({found.task_reason}); {runs}")
    notes.append(_method(found))
    if found.saved_by_int8 > 0.01 * found.bytes:
        share = 100 * found.saved_by_int8 / found.bytes
        notes.append(f"int8 would save {found.saved_by_int8 / MIB:.1f} MiB more ({share:.0f} %), of weights in float")
    if found.kind != "checkpoint":
        opsets = ", ".join(f"{domain} {number}" for domain, number in found.opset.items())
        notes.append(f"opset {opsets}; producer {found.producer or 'unknown'}; checker: {found.checker}")
        for title, ports in (("in ", found.inputs), ("out", found.outputs)):
            notes += [f"{title} {port.name}: {port.dtype} [{', '.join(map(str, port.shape))}]" for port in ports]
        notes.append("operators: " + ", ".join(f"{number} {name}" for name, number in found.operators.items()))
    return notes


def _by_dtype(found: Inspection) -> str:
    sizes = ", ".join(f"{dtype} {size / MIB:.1f}" for dtype, size in found.bytes_by_dtype.items() if size >= MIB / 20)
    return f" ({sizes})" if sizes else ""


def _method(found: Inspection) -> str:
    if found.method == "float":
        return "all weights are float"
    weights = "symmetric" if found.symmetric_weights else "asymmetric"
    if found.method == "weight-only":
        return f"weight-only: {weights} integer weights, float activations"
    activations = "symmetric" if found.symmetric_activations else "asymmetric"
    return f"{found.method} quantization: {weights} integer weights, {activations} activations"


def weight_cells(found: Inspection) -> Cells:
    """Bytes by part of the model and by type."""
    cells = [["part", "stored as", "weights", "MiB", "share"]]
    total = max(1, sum(size for kinds in found.bytes_by_part.values() for size in kinds.values()))
    for part, kinds in found.bytes_by_part.items():
        for kind, size in kinds.items():
            count = sum(weight.part == part and weight.dtype == kind for weight in found.weights)
            cells.append([part, kind, str(count or ""), f"{size / MIB:.2f}", f"{100 * size / total:.1f} %"])
    return cells


def pass_cells(found: Inspection) -> Cells:
    """What each graph pass did; empty where none was recorded."""
    if found.passes is None:
        return []
    cells = [["pass", "applied", "nodes", "largest difference"]]
    for record in found.passes:
        changed = record.difference is not None
        cells.append(
            [
                record.name,
                f"{record.applied} times" if record.applied else "found nothing",
                f"{record.nodes_before} -> {record.nodes_after}" if record.applied else "",
                f"{record.difference:.1g}" if changed else "",
            ]
        )
    return cells if len(cells) > 1 else []


def layer_note(errors: Mapping[str, float]) -> str:
    """What the map of errors shows, and the layer that loses most."""
    if not errors:
        return "no layer's output was measured: all are float"
    path = min(errors, key=lambda one: errors[one])
    what = "signal over noise of each layer's output against float, in dB; errors of earlier layers are in it"
    return f"{what}; the lowest: {errors[path]:.1f} dB, {path}"


def diagnosis_cells(found: Diagnosis) -> Cells:
    """One line for each thing that matters."""
    have = ", ".join(name for name, there in found.instructions.items() if there) or "none of them"
    lack = ", ".join(name for name, there in found.instructions.items() if not there)
    memory = f"{found.memory / 2**30:.1f} GiB" if found.memory else "unknown"
    if found.memory_limit and found.memory and found.memory_limit < found.memory:
        memory += f", of which this process may use {found.memory_limit / 2**30:.1f}"
    cells = [
        ["", "here"],
        ["CPU", f"{found.cpu} ({found.kind})"],
        ["instructions", have + (f"; not: {lack}" if lack else "")],
        ["cores", f"{found.usable_cores} of {found.machine_cores} usable"],
        ["memory", memory],
        ["Python", found.python],
    ]
    cells += [[name, number or "not installed"] for name, number in found.packages.items()]
    cells += [[name, why] for name, why in found.choices.items()]
    cells.append(["int8 here", found.expected])
    cells += [["problem", problem] for problem in found.problems]
    return cells
