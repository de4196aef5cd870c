"""Looks inside a checkpoint, an artifact or any ONNX file, and runs none of them.

What it is for, what it stores, how it is quantized, and what int8 would still save.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from octavo.artifact.folder import Artifact, open_artifact
from octavo.checkpoint.config import architectures, read_config, task_of
from octavo.checkpoint.paths import find_onnx, kind_of
from octavo.checkpoint.weights import StoredTensor, read_tensors
from octavo.errors import CheckpointError, InputError
from octavo.graph.reading import read_graph
from octavo.inspection.anatomy import dtype_name, find_scheme, find_weights
from octavo.inspection.task_guess import guess_task
from octavo.schema.inspection import Inspection, Port, Weight
from octavo.schema.layers import Kind, part_of
from octavo.schema.manifest import MANIFEST, PassRecord
from octavo.tasks import TASKS

if TYPE_CHECKING:
    import onnx_ir as ir


def inspect(path: str | Path) -> Inspection:
    """Look inside a checkpoint folder, an artifact, an ONNX file, or a folder that holds one.

    Raises:
        InputError: there is nothing of the kind, or it is damaged.
    """
    path, kind = Path(path), kind_of(path)
    if kind == "artifact":
        artifact = open_artifact(path)
        if artifact.manifest.recipe.format == "torch":
            return _inspect_modules(artifact)
        found = _inspect_graph(artifact.model_file, path, "artifact", artifact.manifest.passes)
        task = artifact.manifest.signature.task
        return found if found.task == task else replace(found, task=task, task_reason=MANIFEST, loads_as=task)
    if kind == "checkpoint" and path.is_dir():
        return _inspect_checkpoint(path)
    return _inspect_graph(find_onnx(path), path, "onnx", None)


def read_model(path: str | Path) -> ir.Model:
    """The graph of an artifact, an ONNX file or a folder that holds one, checked as `inspect` checks it."""
    path = Path(path)
    if kind_of(path) == "artifact":
        artifact = open_artifact(path)
        if artifact.manifest.recipe.format == "torch":
            raise InputError("a torch model has no graph", where=path, then="octavo inspect without --graph")
        return read_graph(artifact.model_file)
    return read_graph(find_onnx(path))


def _inspect_graph(
    file: Path, path: Path, kind: Literal["artifact", "onnx"], passes: tuple[PassRecord, ...] | None
) -> Inspection:
    model = read_graph(file)
    try:
        return _report(model, file, path, kind, passes)
    except (TypeError, ValueError, LookupError, AttributeError) as error:  # a file may hold any operator, used anyhow
        got = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise InputError("this ONNX model is not used as its operators are meant", where=file, got=got) from None


def _report(
    model: ir.Model,
    file: Path,
    path: Path,
    kind: Literal["artifact", "onnx"],
    passes: tuple[PassRecord, ...] | None,
) -> Inspection:
    weights, scheme = find_weights(model), find_scheme(model)
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
    by_part = _by_part(weights)
    rest = sum(by_dtype.values()) - sum(weight.bytes for weight in weights)
    if rest > 0:
        by_part["the rest"] = {"biases, scales, constants": rest}
    inputs, outputs = (tuple(_port(value) for value in values) for values in (model.graph.inputs, model.graph.outputs))
    config = _config_beside(file)
    vocabulary = max((weight.shape[0] for weight in weights if weight.kind == "embedding"), default=0)
    task, reason = guess_task(inputs, outputs, config, vocabulary)
    integers = [weight for weight in weights if not weight.is_float]
    return Inspection(
        path=str(path),
        kind=kind,
        task=task,
        task_reason=reason,
        loads_as=task if task in TASKS else None,
        bytes=file.stat().st_size + _external_size(stored),
        bytes_by_dtype=dict(by_dtype.most_common()),
        bytes_by_part=by_part,
        weights=weights,
        saved_by_int8=_saved(weights),
        method=scheme.activations or ("weight-only" if integers else "float"),
        symmetric_weights=all(weight.symmetric for weight in integers) if integers else None,
        symmetric_activations=scheme.symmetric_activations,
        inputs=inputs,
        outputs=outputs,
        opset={domain or "ai.onnx": number for domain, number in model.opset_imports.items()},
        producer=" ".join(part for part in (model.producer_name, model.producer_version) if part),
        checker="valid",
        operators=dict(Counter(_operator(node) for node in model.graph.all_nodes()).most_common()),
        passes=passes,
    )


def _operator(node: ir.Node) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain not in {"", "ai.onnx"} else node.op_type


def _port(value: ir.Value) -> Port:
    shape = value.shape if value.shape is not None else ()
    sizes = tuple(dim if isinstance(dim, int) else str(dim.value or "?") for dim in shape)
    return Port(str(value.name), dtype_name(value.dtype) if value.dtype is not None else "?", sizes)


def _external_size(tensors: list[Any]) -> int:
    import onnx_ir as ir

    files = {Path(str(tensor.path)) for tensor in tensors if isinstance(tensor, ir.ExternalTensor)}
    return sum(file.stat().st_size for file in files)


def _by_part(weights: tuple[Weight, ...]) -> dict[str, dict[str, int]]:
    parts: dict[str, dict[str, int]] = {}
    for weight in weights:
        kinds = parts.setdefault(weight.part, {})
        kinds[weight.dtype] = kinds.get(weight.dtype, 0) + weight.bytes
    return parts


def _saved(weights: tuple[Weight, ...]) -> int:
    return sum(max(0, weight.bytes - weight.parameters) for weight in weights if weight.is_float)


def _config_beside(file: Path) -> Mapping[str, Any]:
    """`config.json` of the file's folder, or of the one above where the file lies in `onnx/`."""
    for folder in (file.parent, file.parent.parent) if file.parent.name == "onnx" else (file.parent,):
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(config, dict):
            return config
    return {}


def _inspect_checkpoint(folder: Path) -> Inspection:
    if not folder.is_dir():
        raise InputError("no such file or folder", got=folder)
    if not (folder / "config.json").exists():
        raise InputError("neither a checkpoint, nor an artifact, nor an ONNX model", where=folder)
    config, tensors = read_config(folder), read_tensors(folder)
    named = architectures(config)
    try:
        task = task_of(config, folder)
    except CheckpointError:
        task = "unknown"
    reason = f"config.json: {', '.join(named) or 'no architectures'}"
    return _report_tensors(folder, "checkpoint", (task, reason), tensors)


def _inspect_modules(artifact: Artifact) -> Inspection:
    """An artifact of the format torch: codes and scales by the names of their modules."""
    tensors = read_tensors(artifact.folder)
    named = {name.replace("._weight_qdata", ".weight"): tensor for name, tensor in tensors.items()}
    found = _report_tensors(artifact.folder, "artifact", (artifact.manifest.signature.task, "octavo.json"), named)
    return replace(found, method=artifact.manifest.recipe.method, symmetric_weights=True)


def _report_tensors(
    folder: Path,
    kind: Literal["checkpoint", "artifact"],
    task: tuple[str, str],
    tensors: Mapping[str, StoredTensor],
) -> Inspection:
    by_dtype: Counter[str] = Counter()
    weights = []
    for name, tensor in tensors.items():
        by_dtype[tensor.dtype] += tensor.bytes
        path, _, last = name.rpartition(".")
        if last == "weight" and len(tensor.shape) >= 2:
            what: Kind = "embedding" if re.search(r"embed\w*$|wte$|wpe$|shared$", path) else "linear"
            part = part_of(path, what)
            weights.append(Weight(path, what, part, tensor.dtype, tensor.shape, tensor.parameters, tensor.bytes))
    by_part = _by_part(tuple(weights))
    rest = sum(by_dtype.values()) - sum(weight.bytes for weight in weights)
    if rest > 0:
        by_part["the rest"] = {"biases, scales, constants": rest}
    return Inspection(
        path=str(folder),
        kind=kind,
        task=task[0],
        task_reason=task[1],
        loads_as=task[0] if task[0] in TASKS else None,
        bytes=sum(by_dtype.values()),
        bytes_by_dtype=dict(by_dtype.most_common()),
        bytes_by_part=by_part,
        weights=tuple(weights),
        saved_by_int8=_saved(tuple(weights)),
        method="float" if all(weight.is_float for weight in weights) else "weight-only",
    )
