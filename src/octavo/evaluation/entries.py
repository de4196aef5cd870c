"""Entries of a comparison, from artifacts, checkpoints and any tool's ONNX files; and whether they can be compared."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from octavo.artifact.compatibility import check_cpu
from octavo.artifact.folder import Artifact, open_artifact
from octavo.checkpoint.libraries import require_torch
from octavo.checkpoint.onnx_file import read_beside
from octavo.checkpoint.paths import find_onnx, kind_of
from octavo.checkpoint.pooling import MODULES as POOLING
from octavo.checkpoint.source import Checkpoint, read_source
from octavo.engines import SPAN, find_engine, runs_torch
from octavo.errors import InputError, OctavoWarning
from octavo.evaluation.benchmark import Contender
from octavo.files import sha256_of
from octavo.hardware import this_cpu
from octavo.inspection.models import inspect, main_output
from octavo.schema.comparison import Origin
from octavo.schema.signature import Pooling, Signature, SparsePooling, require_task, task_name
from octavo.tasks import TASKS, task_class

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(frozen=True)
class Entry:
    """A model to be compared: its name, the bytes that inference needs, and how it is run.

    `calibrated` are the hashes of the examples that its ranges were learnt from, `origin` says how to reproduce it.
    """

    name: str
    method: str
    bytes: int
    signature: Signature
    tokenizer_json: str
    contender: Contender
    calibrated: frozenset[str] = frozenset()
    origin: Origin | None = None


def find_entries(model: str | Path | Checkpoint, engines: Sequence[str] = ("auto",)) -> list[Entry]:
    """The rows that one path makes: an artifact one for each engine, an ONNX file too, a checkpoint one."""
    checkpoint = model if isinstance(model, Checkpoint) else Checkpoint(model)
    kind = kind_of(checkpoint.path)
    if kind == "artifact":
        return _artifact_entries(checkpoint, engines)
    if kind == "onnx":
        names = dict.fromkeys("onnxruntime" if name == "auto" else name for name in engines)
        for name in names:
            find_engine(name)
        return [_onnx_entry(checkpoint, name) for name in names]
    return _checkpoint_entries(checkpoint, engines)


def _artifact_entries(checkpoint: Checkpoint, engines: Sequence[str]) -> list[Entry]:
    path, labels = Path(checkpoint.path), checkpoint.labels
    artifact = open_artifact(path)
    signature, record = artifact.manifest.signature, artifact.manifest.calibration
    require_task(signature.task, checkpoint.task, path)
    artifact.check_files()
    if labels and len(labels) != len(signature.labels):
        names = ", ".join(labels)
        raise InputError("--labels does not fit the artifact", where=path, got=names, allowed=len(signature.labels))
    if labels:
        signature = signature.model_copy(update={"labels": labels})
    entries = []
    for engine in dict.fromkeys(artifact.engine(name) for name in _fitting(engines, artifact)):
        find_engine(engine)
        if note := check_cpu(artifact.manifest, engine):
            warnings.warn(f"{path}: {note}", OctavoWarning, stacklevel=4)
        entry = Entry(
            name=path.resolve().name,
            method=artifact.manifest.recipe.method,
            bytes=artifact.bytes,
            signature=signature,
            tokenizer_json=artifact.tokenizer_json,
            contender=Contender(path, engine, signature, path),
            calibrated=frozenset(record.examples) if record else frozenset(),
            origin=_origin(artifact),
        )
        entries.append(entry)
    return entries


def _checkpoint_entries(checkpoint: Checkpoint, engines: Sequence[str]) -> list[Entry]:
    source = read_source(checkpoint)
    require_torch()
    folder, signature = source.folder, source.signature
    settings = checkpoint.tokenizer, checkpoint.target_tokenizer, checkpoint.ignore_weights
    origin, entries = Origin(sha256_of(*source.weights.files)), []
    for engine in [name for name in dict.fromkeys(engines) if runs_torch(name)] or ["torch"]:
        find_engine(engine)
        contender = Contender(folder, engine, signature, folder, *settings)
        tokenizer_json = source.tokenizer.json
        entries.append(Entry(source.name, "float", source.bytes, signature, tokenizer_json, contender, origin=origin))
    return entries


def _fitting(engines: Sequence[str], artifact: Artifact) -> Sequence[str]:
    """The engines that run this artifact's format: one list is given for all models of a comparison."""
    torch = artifact.manifest.recipe.format == "torch"
    fitting = [name for name in engines if name == "auto" or runs_torch(name) == torch]
    return fitting or (["auto"] if torch else engines)


def _origin(artifact: Artifact) -> Origin:
    manifest = artifact.manifest
    recipe = {"method": manifest.recipe.method} | manifest.recipe.model_dump(mode="json", exclude_defaults=True)
    if manifest.recipe.format == "torch":
        recipe["granularity"] = manifest.recipe.granularity  # the format torch has another default
    return Origin(
        sha256=manifest.files[artifact.model_file.name].sha256,
        source=manifest.source.name,
        source_sha256=manifest.source.sha256,
        target=manifest.target,
        recipe=recipe,
        calibration_sha256=manifest.calibration.sha256 if manifest.calibration else None,
        layers={layer.path: layer.output_db for layer in manifest.layers if layer.output_db is not None},
    )


def _onnx_entry(checkpoint: Checkpoint, engine: str) -> Entry:
    """Any tool's ONNX file, with the tokenizer and config beside it, or above it where it lies in a folder `onnx`.

    Raises:
        InputError: it is for another task, has inputs that Octavo does not make, or no tokenizer.
        MissingExtraError: transformers, which reads tokenizer and config, is not installed.
    """
    file = find_onnx(Path(checkpoint.path))
    inspection = inspect(file)
    task = task_name(checkpoint.task) if checkpoint.task else inspection.task
    comparable = [name for name in TASKS if task_class(name).onnx_output]
    if task not in comparable:
        raise InputError(f"a model for {task} ({inspection.task_reason})", where=file, allowed=", ".join(comparable))
    names = {port.name: port.dtype for port in inspection.inputs}
    unknown = [f"{name} ({dtype})" for name, dtype in names.items() if name not in INPUTS or dtype != "int64"]
    if unknown or not {"input_ids", "attention_mask"} <= names.keys():
        got, allowed = ", ".join(unknown or names), f"{', '.join(INPUTS)} (int64)"
        raise InputError("the model has other inputs than those of an encoder", where=file, got=got, allowed=allowed)
    saturates = inspection.method != "weight-only" and any(weight.saturates for weight in inspection.weights)
    if saturates and this_cpu().saturates:
        warning = (
            "its 8-bit weights can saturate on this CPU, which has no VNNI: what it answers here is not what it "
            "answers elsewhere"
        )
        warnings.warn(f"{file}: {warning}", OctavoWarning, stacklevel=4)
    output = main_output(inspection.inputs, inspection.outputs)
    kind = task_class(task)
    assert kind.onnx_output is not None
    what, allowed, dimensions = kind.onnx_output
    if len(output.shape) not in dimensions or any(len(port.shape) != 2 for port in inspection.inputs):
        ports = (*inspection.inputs, output)
        shapes = ", ".join(f"{port.name} [{', '.join(map(str, port.shape))}]" for port in ports)
        raise InputError(what, where=file, got=shapes, allowed=allowed)
    size = output.shape[-1] if kind.labelled else None
    classes = size if isinstance(size, int) else None
    signature, parts, bytes_beside = read_beside(checkpoint, file, task, classes)
    answers = SPAN if output.name in SPAN else (output.name,)
    signature = signature.model_copy(update={"input_names": tuple(names), "output_names": answers})
    folder = file.resolve().parent
    name = file.stem if file.stem != "model" else (folder.parent if folder.name == "onnx" else folder).name
    above = folder.name == "onnx" and not (folder / POOLING).exists()
    contender = Contender(file, engine, signature, folder.parent if above else folder)
    total, origin = inspection.bytes + bytes_beside, Origin(sha256_of(file))
    return Entry(name, inspection.method, total, signature, parts.json, contender, origin=origin)


def with_distinct_names(entries: Sequence[Entry]) -> list[Entry]:
    """Call models whose folders' last names are equal by their whole paths."""
    paths: dict[str, set[Path]] = {}
    for entry in entries:
        paths.setdefault(entry.name, set()).add(entry.contender.path)
    return [
        replace(entry, name=str(entry.contender.path)) if len(paths[entry.name]) > 1 else entry for entry in entries
    ]


def require_one_task(entries: Sequence[Entry]) -> None:
    """Check that all models are for one task and pool alike; vectors may have another width.

    Raises:
        InputError: they are not.
    """
    first = entries[0].signature
    for entry in entries[1:]:
        if entry.signature.task != first.task:
            raise InputError(
                "the models are not for one task",
                got=f"{entry.name}: {entry.signature.task}",
                allowed=f"{entries[0].name}: {first.task}",
            )
        if _how(entry.signature) != _how(first):
            raise InputError(
                "the models do not pool alike",
                got=f"{entry.name}: {entry.signature.pooling or entry.signature.sparse!r}",
                allowed=f"{entries[0].name}: {first.pooling or first.sparse!r}",
                then="put modules.json and the folders that it names beside both",
            )


def _how(signature: Signature) -> Pooling | SparsePooling | None:
    """How tokens become one answer; vectors of any width, by whatever they are compared: older artifacts do not say."""
    pooling = signature.pooling and signature.pooling.model_copy(update={"similarity": "cosine", "dimension": 0})
    return pooling or signature.sparse


def common_labels(entries: Sequence[Entry]) -> tuple[str, ...]:
    """The labels of all models, from those that have names where others say LABEL_0, LABEL_1, ...

    Raises:
        InputError: the models do not have the same labels in the same order.
    """
    known = [entry for entry in entries if not all(name.startswith("LABEL_") for name in entry.signature.labels)]
    first = (known or entries)[0]
    for entry in entries:
        same = entry.signature.labels == first.signature.labels
        if not same and (entry in known or len(entry.signature.labels) != len(first.signature.labels)):
            raise InputError(
                "the models do not have the same labels",
                got=f"{entry.name}: {', '.join(entry.signature.labels)}",
                allowed=f"{first.name}: {', '.join(first.signature.labels)}",
                then="make the artifact from the same checkpoint and --labels",
            )
    return first.signature.labels
