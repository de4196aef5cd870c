"""An inspection and a diagnosis as cells and notes."""

from collections.abc import Mapping

from octavo.reporting.comparison_tables import MIB, Cells
from octavo.schema.inspection import DiagnosisRecord, InspectionRecord


def inspection_notes(model: InspectionRecord) -> list[str]:
    """The sentences before the tables."""
    sizes = [f"{dtype} {size / MIB:.1f}" for dtype, size in model.bytes_by_dtype.items() if size >= MIB / 20]
    notes = [f"{model.path}: {model.kind}, {model.bytes / MIB:.1f} MiB" + (f" ({', '.join(sizes)})" if sizes else "")]
    runs = f"octavo.load runs it as {model.loads_as}" if model.loads_as else "octavo.load does not run this task yet"
    if model.kind == "checkpoint":
        runs += " (in torch)" if model.loads_as else ""
    elif model.kind == "onnx":
        runs = runs.replace("octavo.load", "octavo compare").replace(" it as ", " it, with a tokenizer beside it, as ")
    notes.append(f"task {model.task} ({model.task_reason}); {runs}")
    notes.append(_method(model))
    if model.export is not None:
        made = "written from config and weights" if model.export.graph == "written" else "exported by transformers"
        off = max(model.export.differences.values(), default=0.0)
        notes.append(f"float graph {made}; its largest difference from {model.export.reference}: {off:.1g}")
    if model.saved_by_int8 > 0.01 * model.bytes:
        share = 100 * model.saved_by_int8 / model.bytes
        notes.append(f"int8 would save {model.saved_by_int8 / MIB:.1f} MiB more ({share:.0f} %), of weights in float")
    if model.kind != "checkpoint":
        opsets = ", ".join(f"{domain} {number}" for domain, number in model.opset.items())
        notes.append(f"opset {opsets}; producer {model.producer or 'unknown'}; checker: {model.checker}")
        for title, ports in (("in ", model.inputs), ("out", model.outputs)):
            notes += [f"{title} {port.name}: {port.dtype} [{', '.join(map(str, port.shape))}]" for port in ports]
        notes.append("operators: " + ", ".join(f"{number} {name}" for name, number in model.operators.items()))
    return notes


def _method(model: InspectionRecord) -> str:
    if model.method == "float":
        return "all weights are float"
    weights = "symmetric" if model.symmetric_weights else "asymmetric"
    if model.method == "weight-only":
        return f"weight-only: {weights} integer weights, float activations"
    activations = "symmetric" if model.symmetric_activations else "asymmetric"
    return f"{model.method} quantization: {weights} integer weights, {activations} activations"


def weight_cells(model: InspectionRecord) -> Cells:
    """Bytes by part of the model and by type."""
    cells = [["part", "stored as", "weights", "MiB", "share"]]
    total = max(1, sum(size for kinds in model.bytes_by_part.values() for size in kinds.values()))
    for part, kinds in model.bytes_by_part.items():
        for kind, size in kinds.items():
            count = sum(weight.part == part and weight.dtype == kind for weight in model.weights)
            cells.append([part, kind, str(count or ""), f"{size / MIB:.2f}", f"{100 * size / total:.1f} %"])
    return cells


def pass_cells(model: InspectionRecord) -> Cells:
    """What each graph pass did; empty where none was recorded."""
    if model.passes is None:
        return []
    cells = [["pass", "applied", "nodes", "largest difference"]]
    for record in model.passes:
        applied = f"{record.applied} times" if record.applied else "found nothing"
        nodes = f"{record.nodes_before} -> {record.nodes_after}" if record.applied else ""
        cells.append([record.name, applied, nodes, "" if record.difference is None else f"{record.difference:.1g}"])
    return cells if len(cells) > 1 else []


def layer_note(errors: Mapping[str, float]) -> str:
    """What the heat map shows, and the layer with the largest error."""
    if not errors:
        return "no layer's output was measured: all are float"
    path = min(errors, key=lambda path: errors[path])
    what = "signal over noise of each layer's output against float, in dB; errors of earlier layers are in it"
    return f"{what}; the lowest: {errors[path]:.1f} dB, {path}"


def diagnosis_cells(diagnosis: DiagnosisRecord) -> Cells:
    """The machine, one row for each fact."""
    present = ", ".join(name for name, supported in diagnosis.instructions.items() if supported) or "none of them"
    absent = ", ".join(name for name, supported in diagnosis.instructions.items() if not supported)
    memory = f"{diagnosis.memory / 2**30:.1f} GiB" if diagnosis.memory else "unknown"
    if diagnosis.memory_limit and diagnosis.memory and diagnosis.memory_limit < diagnosis.memory:
        memory += f", of which this process may use {diagnosis.memory_limit / 2**30:.1f}"
    return [
        ["", "here"],
        ["CPU", f"{diagnosis.cpu} ({diagnosis.kind})"],
        ["instructions", present + (f"; not: {absent}" if absent else "")],
        ["cores", f"{diagnosis.usable_cores} of {diagnosis.machine_cores} usable"],
        ["memory", memory],
        ["Python", diagnosis.python],
        *([name, number or "not installed"] for name, number in diagnosis.packages.items()),
        *([name, reason] for name, reason in diagnosis.choices.items()),
        ["int8 here", diagnosis.expected],
        *(["problem", problem] for problem in diagnosis.problems),
    ]
