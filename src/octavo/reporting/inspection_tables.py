"""An inspection and a diagnosis as cells and notes."""

from collections.abc import Mapping

from octavo.reporting.comparison_tables import MIB, Cells
from octavo.reporting.languages import Say, english, known
from octavo.schema.inspection import DiagnosisRecord, InspectionRecord


def inspection_notes(model: InspectionRecord, say: Say = english) -> list[str]:
    """The sentences before the tables."""
    sizes = [f"{dtype} {size / MIB:.1f}" for dtype, size in model.bytes_by_dtype.items() if size >= MIB / 20]
    elsewhere = known(say)
    kind = elsewhere(model.kind)
    notes = [f"{model.path}: {kind}, {model.bytes / MIB:.1f} MiB" + (f" ({', '.join(sizes)})" if sizes else "")]
    text = say("task {task} ({reason}); {runs}")
    notes.append(text.format(task=model.task, reason=elsewhere(model.task_reason), runs=_runs(model, say)))
    notes.append(_method(model, say))
    if model.export is not None:
        made = "written from config and weights" if model.export.graph == "written" else "exported by transformers"
        off = max(model.export.differences.values(), default=0.0)
        text = say("float graph {made}; its largest difference from {reference}: {off:.1g}")
        notes.append(text.format(made=say(made), reference=model.export.reference, off=off))
    if model.saved_by_int8 > 0.01 * model.bytes:
        share = 100 * model.saved_by_int8 / model.bytes
        text = say("int8 would save {mib:.1f} MiB more ({share:.0f} %), of weights in float")
        notes.append(text.format(mib=model.saved_by_int8 / MIB, share=share))
    if model.kind != "checkpoint":
        opsets = ", ".join(f"{domain} {number}" for domain, number in model.opset.items())
        text, maker = say("opset {opsets}; producer {maker}; checker: {found}"), model.producer or say("unknown")
        notes.append(text.format(opsets=opsets, maker=maker, found=elsewhere(model.checker)))
        for title, ports in (("in ", model.inputs), ("out", model.outputs)):
            notes += [f"{title} {port.name}: {port.dtype} [{', '.join(map(str, port.shape))}]" for port in ports]
        counts = ", ".join(f"{number} {name}" for name, number in model.operators.items())
        notes.append(f"{say('operators')}: {counts}")
    return notes


def _runs(model: InspectionRecord, say: Say) -> str:
    """What runs it, and as which task."""
    if model.loads_as is None:
        verb = "octavo compare" if model.kind == "onnx" else "octavo.load"
        return say("{verb} does not run this task yet").format(verb=verb)
    text = {
        "checkpoint": "octavo.load runs it as {task} (in torch)",
        "artifact": "octavo.load runs it as {task}",
        "onnx": "octavo compare runs it, with a tokenizer beside it, as {task}",
    }[model.kind]
    return say(text).format(task=model.loads_as)


def _method(model: InspectionRecord, say: Say) -> str:
    if model.method == "float":
        return say("all weights are float")
    weights = say("symmetric" if model.symmetric_weights else "asymmetric")
    if model.method == "weight-only":
        return say("weight-only: {weights} integer weights, float activations").format(weights=weights)
    text = say("{method} quantization: {weights} integer weights, {activations} activations")
    activations = say("symmetric" if model.symmetric_activations else "asymmetric")
    return text.format(method=model.method, weights=weights, activations=activations)


def weight_cells(model: InspectionRecord, say: Say = english) -> Cells:
    """Bytes by part of the model and by type."""
    cells = [[say(name) for name in ("part", "stored as", "weights", "MiB", "share")]]
    total = max(1, sum(size for kinds in model.bytes_by_part.values() for size in kinds.values()))
    for part, kinds in model.bytes_by_part.items():
        for kind, size in kinds.items():
            count = sum(weight.part == part and weight.dtype == kind for weight in model.weights)
            cells.append(
                [
                    known(say)(part),
                    known(say)(kind),
                    str(count or ""),
                    f"{size / MIB:.2f}",
                    f"{100 * size / total:.1f} %",
                ]
            )
    return cells


def pass_cells(model: InspectionRecord, say: Say = english) -> Cells:
    """What each graph pass did; empty where none was recorded."""
    if model.passes is None:
        return []
    cells = [[say(name) for name in ("pass", "applied", "nodes", "largest difference")]]
    for record in model.passes:
        applied = say("{n} times").format(n=record.applied) if record.applied else say("found nothing")
        nodes = f"{record.nodes_before} -> {record.nodes_after}" if record.applied else ""
        cells.append([record.name, applied, nodes, "" if record.difference is None else f"{record.difference:.1g}"])
    return cells if len(cells) > 1 else []


def layer_note(errors: Mapping[str, float], say: Say = english) -> str:
    """What the heat map shows, and the layer with the largest error."""
    if not errors:
        return say("no layer's output was measured: all are float")
    path = min(errors, key=lambda path: errors[path])
    text = say(
        "signal over noise of each layer's output against float, in dB; errors of earlier layers are in it; the "
        "lowest: {lowest:.1f} dB, {path}"
    )
    return text.format(lowest=errors[path], path=path)


def diagnosis_cells(diagnosis: DiagnosisRecord, say: Say = english) -> Cells:
    """The machine, one row for each fact."""
    elsewhere = known(say)
    present = ", ".join(name for name, supported in diagnosis.instructions.items() if supported) or say("none of them")
    absent = ", ".join(name for name, supported in diagnosis.instructions.items() if not supported)
    memory = f"{diagnosis.memory / 2**30:.1f} GiB" if diagnosis.memory else say("unknown")
    if diagnosis.memory_limit and diagnosis.memory and diagnosis.memory_limit < diagnosis.memory:
        text = say("{memory}, of which this process may use {limit:.1f}")
        memory = text.format(memory=memory, limit=diagnosis.memory_limit / 2**30)
    text = say("{usable} of {all} usable")
    return [
        ["", say("here")],
        ["CPU", f"{diagnosis.cpu} ({diagnosis.kind})"],
        [say("instructions"), present + (f"; {say('not')}: {absent}" if absent else "")],
        [say("cores"), text.format(usable=diagnosis.usable_cores, all=diagnosis.machine_cores)],
        [say("memory"), memory],
        ["Python", diagnosis.python],
        *([name, number or say("not installed")] for name, number in diagnosis.packages.items()),
        *([elsewhere(name), elsewhere(reason)] for name, reason in diagnosis.choices.items()),
        [say("int8 here"), elsewhere(diagnosis.expected)],
        *([say("problem"), problem] for problem in diagnosis.problems),
    ]
