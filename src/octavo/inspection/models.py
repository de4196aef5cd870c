"""Looks inside a checkpoint, an artifact or any ONNX file, and runs none of them.

It reports what the model is for, what it stores, how it is quantized, and what int8 would still save.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_ir as ir

from octavo.artifact.folder import Artifact, open_artifact
from octavo.checkpoint.config import architectures, read_config, task_of
from octavo.checkpoint.paths import find_onnx, kind_of
from octavo.checkpoint.weights import StoredTensor, read_tensors
from octavo.data.json_text import read_json
from octavo.engines import SPAN
from octavo.errors import CheckpointError, InputError
from octavo.graph.reading import read_graph
from octavo.inspection.anatomy import activation_scheme, dtype_name, find_weights, port_of
from octavo.reporting.inspection_tables import inspection_notes, pass_cells, weight_cells
from octavo.reporting.notebook import notebook_tables
from octavo.schema.inspection import InspectionRecord, Port, Weight
from octavo.schema.layers import Kind, part_of
from octavo.schema.manifest import MANIFEST
from octavo.tasks import TASKS


class Inspection(InspectionRecord):
    """What was found inside a model; see `InspectionRecord`. A notebook shows its tables."""

    def _repr_html_(self) -> str:
        return notebook_tables(inspection_notes(self), weight_cells(self), pass_cells(self))


def inspect(path: str | Path) -> Inspection:
    """Look inside a checkpoint folder, an artifact, an ONNX file, or a folder that holds one.

    Raises:
        InputError: there is nothing of the kind, or it is damaged.
    """
    path, kind = Path(path), kind_of(path)
    if kind == "artifact":
        return _inspect_artifact(open_artifact(path), path)
    if kind == "checkpoint" and path.is_dir():
        return _inspect_checkpoint(path)
    return replace(_inspect_graph(find_onnx(path)), path=str(path))


def read_model(path: str | Path) -> ir.Model:
    """The graph of an artifact, an ONNX file or a folder that holds one, checked as `inspect` checks it."""
    path = Path(path)
    if kind_of(path) == "artifact":
        artifact = open_artifact(path)
        if artifact.manifest.recipe.format == "torch":
            raise InputError("a torch model has no graph", where=path, then="octavo inspect without --graph")
        return read_graph(artifact.model_file)
    return read_graph(find_onnx(path))


def _inspect_graph(file: Path) -> Inspection:
    model = read_graph(file)
    try:
        return _report(model, file)
    except (TypeError, ValueError, LookupError, AttributeError) as error:  # a file may hold any operator, used anyhow
        got = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise InputError("this ONNX model is not used as its operators are meant", where=file, got=got) from None


def _report(model: ir.Model, file: Path) -> Inspection:
    weights = find_weights(model)
    activations, symmetric_activations = activation_scheme(model)
    graphs = [model.graph, *model.graph.subgraphs()]
    stored = [value.const_value for graph in graphs for value in graph.initializers.values() if value.const_value]
    stored += [
        node.attributes["value"].as_tensor()
        for node in model.graph.all_nodes()
        if node.op_type == "Constant" and not node.domain and "value" in node.attributes
    ]
    by_dtype: Counter[str] = Counter()
    for tensor in stored:
        by_dtype[dtype_name(tensor.dtype)] += tensor.nbytes
    inputs, outputs = (tuple(map(port_of, values)) for values in (model.graph.inputs, model.graph.outputs))
    config = _config_beside(file)
    table = max((weight.shape for weight in weights if weight.kind == "embedding"), default=(0, 0))
    task, reason = guess_task(inputs, outputs, config, *table[:2])
    integers = [weight for weight in weights if not weight.is_float]
    files = {file, *(Path(str(tensor.path)) for tensor in stored if isinstance(tensor, ir.ExternalTensor))}
    return Inspection(
        path=str(file),
        kind="onnx",
        task=task,
        task_reason=reason,
        loads_as=task if task in TASKS else None,
        bytes=sum(stored_file.stat().st_size for stored_file in files),
        method=activations or ("weight-only" if integers else "float"),
        symmetric_weights=all(weight.symmetric for weight in integers) if integers else None,
        symmetric_activations=symmetric_activations,
        inputs=inputs,
        outputs=outputs,
        opset={domain or "ai.onnx": number for domain, number in model.opset_imports.items()},
        producer=" ".join(part for part in (model.producer_name, model.producer_version) if part),
        checker="valid",
        operators=dict(Counter(_operator(node) for node in model.graph.all_nodes()).most_common()),
        **_sizes(weights, by_dtype),
    )


def _operator(node: ir.Node) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain not in {"", "ai.onnx"} else node.op_type


def _sizes(weights: tuple[Weight, ...], by_dtype: Counter[str]) -> dict[str, Any]:
    """The fields of an inspection that follow from the weights and the bytes of all that is stored."""
    parts: dict[str, dict[str, int]] = {}
    for weight in weights:
        kinds = parts.setdefault(weight.part, {})
        kinds[weight.dtype] = kinds.get(weight.dtype, 0) + weight.bytes
    rest = by_dtype.total() - sum(weight.bytes for weight in weights)
    if rest > 0:
        parts["the rest"] = {"biases, scales, constants": rest}
    saved = sum(max(0, weight.bytes - weight.parameters) for weight in weights if weight.is_float)
    by = {"bytes_by_dtype": dict(by_dtype.most_common()), "bytes_by_part": parts}
    return {"weights": weights, "saved_by_int8": saved} | by


def _config_beside(file: Path) -> Mapping[str, Any]:
    """`config.json` of the file's folder, or of the one above where the file lies in `onnx/`."""
    for folder in (file.parent, file.parent.parent) if file.parent.name == "onnx" else (file.parent,):
        try:
            config = read_json(folder / "config.json")
        except (OSError, ValueError):
            continue
        if isinstance(config, dict):
            return config
    return {}


def _inspect_artifact(artifact: Artifact, path: Path) -> Inspection:
    manifest = artifact.manifest
    task = manifest.signature.task
    if manifest.recipe.format == "torch":  # codes and scales by the names of their modules
        tensors = read_tensors(artifact.folder)
        named = {name.replace("._weight_qdata", ".weight"): tensor for name, tensor in tensors.items()}
        inspection = _report_tensors(artifact.folder, task, MANIFEST, named)
        return replace(inspection, kind="artifact", method=manifest.recipe.method, symmetric_weights=True)
    inspection = replace(_inspect_graph(artifact.model_file), path=str(path), kind="artifact")
    inspection = replace(inspection, passes=manifest.passes, export=manifest.export)
    if inspection.task == task:
        return inspection
    return replace(inspection, task=task, task_reason=MANIFEST, loads_as=task)


def _inspect_checkpoint(folder: Path) -> Inspection:
    if not (folder / "config.json").exists():
        raise InputError("neither a checkpoint, nor an artifact, nor an ONNX model", where=folder)
    config, tensors = read_config(folder), read_tensors(folder)
    try:
        task = task_of(config, folder)
    except CheckpointError:
        task = "unknown"
    reason = f"config.json: {', '.join(architectures(config)) or 'no architectures'}"
    return _report_tensors(folder, task, reason, tensors)


def _report_tensors(folder: Path, task: str, reason: str, tensors: Mapping[str, StoredTensor]) -> Inspection:
    by_dtype: Counter[str] = Counter()
    weights = []
    for name, tensor in tensors.items():
        by_dtype[tensor.dtype] += tensor.bytes
        path, _, last = name.rpartition(".")
        if last == "weight" and len(tensor.shape) >= 2:
            kind: Kind = "embedding" if re.search(r"embed\w*$|wte$|wpe$|shared$", path) else "linear"
            part = part_of(path, kind)
            weights.append(Weight(path, kind, part, tensor.dtype, tensor.shape, tensor.parameters, tensor.bytes))
    return Inspection(
        path=str(folder),
        kind="checkpoint",
        task=task,
        task_reason=reason,
        loads_as=task if task in TASKS else None,
        bytes=by_dtype.total(),
        method="float" if all(weight.is_float for weight in weights) else "weight-only",
        **_sizes(tuple(weights), by_dtype),
    )


def main_output(inputs: tuple[Port, ...], outputs: tuple[Port, ...]) -> Port:
    """The output that is the answer: `logits`, or the first that can be one; without a name where none can.

    Whole numbers are no scores and no vectors, and where the last dimension is the length, there is a number for each
    token and none for each class: a mask, ids. Where a span starts is told so, and is an answer.
    """
    length = next((port.shape[-1] for port in inputs if port.name == "input_ids" and port.shape), None)
    named = isinstance(length, str) and length != "?"  # a fixed length may be the width too
    fit = [
        port
        for port in outputs
        if "float" in port.dtype and (port.name in SPAN or not named or port.shape[-1:] != (length,))
    ]
    return next((port for port in fit if port.name == "logits"), fit[0] if fit else Port("", "", ()))


def guess_task(
    inputs: tuple[Port, ...], outputs: tuple[Port, ...], config: Mapping[str, Any], vocabulary: int, width: int = 0
) -> tuple[str, str]:
    """The task by inputs and outputs, and why; `vocabulary` rows of `width` numbers has the largest embedding."""
    names = {port.name for port in outputs}
    ids = next((port for port in inputs if port.name == "input_ids"), None)
    first = main_output(inputs, outputs)
    decoder_inputs = ("encoder_hidden_states", "decoder_input_ids", "encoder_attention_mask")
    decoder = any(name in port.name for port in inputs for name in decoder_inputs)
    caches = [
        port.name for port in (*inputs, *outputs) if re.search(r"(^|[_./])(past|present|cache)([_./]|$)", port.name)
    ]
    pooled = sorted(names & {"last_hidden_state", "sentence_embedding", "token_embeddings", "pooler_output"})
    task, reason = "unknown", "inputs and outputs are of no task that is known"
    if not first.name and outputs:
        shapes = (f"{port.name} is {port.dtype} [{', '.join(map(str, port.shape))}]" for port in outputs[:4])
        reason = f"no output can be scores or vectors: {', '.join(shapes)}"
    if caches:
        task, reason = ("text2text-generation" if decoder else "text-generation"), f"it has a cache: {caches[0]}"
    elif {"start_logits", "end_logits"} <= names:
        task, reason = "question-answering", "outputs start_logits and end_logits"
    elif ids is not None and len(ids.shape) == 3:
        task, reason = "multiple-choice", "input_ids has three dimensions"
    elif pooled:
        task, reason = "feature-extraction", f"output {pooled[0]}"
    elif len(first.shape) == 2:
        task, reason = _classifier(first, config)
    elif len(first.shape) == 3:
        last = first.shape[2]
        stated = config.get("vocab_size")
        size = stated if isinstance(stated, int) else vocabulary
        described = f"output {first.name} is [batch, length, {last}]"
        if isinstance(last, int) and last >= size:
            task, why = _language_model(config, decoder=decoder)
            reason = f"{described}, the vocabulary; {why}"
        elif first.name != "logits" and last == config.get("hidden_size", config.get("dim", width)):
            task, reason = "feature-extraction", f"{described}, the hidden size"
        else:
            task, reason = "token-classification", described
    return task, reason


def _classifier(scores: Port, config: Mapping[str, Any]) -> tuple[str, str]:
    """The task of a model with scores of whole rows, and why: rows may be the single choices of a question."""
    reason = f"output {scores.name} is [batch, {scores.shape[1]}]"
    for name in architectures(config):
        if name.endswith("ForMultipleChoice") and scores.shape[1] == 1:
            return "multiple-choice", f"{reason}; config.json: {name}"
    return "text-classification", reason


def _language_model(config: Mapping[str, Any], *, decoder: bool) -> tuple[str, str]:
    """The kind of language model, which a graph without a cache does not show, and why."""
    endings = {
        "ForMaskedLM": "fill-mask",
        "ForPreTraining": "fill-mask",
        "ForCausalLM": "text-generation",
        "LMHeadModel": "text-generation",
        "ForConditionalGeneration": "text2text-generation",
    }
    if decoder:
        return "text2text-generation", "it has a decoder's inputs"
    names = architectures(config)
    tasks = ((task, f"config.json: {name}") for name in names for end, task in endings.items() if name.endswith(end))
    return next(tasks, ("language model", "no config.json says of which kind"))
