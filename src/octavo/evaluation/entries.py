"""What a path means in a comparison: an artifact, a checkpoint, or any tool's ONNX file; and whether models compare."""

from __future__ import annotations

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
from octavo.encoding.tokenizing import Row
from octavo.engines import answer_names, find_engine, runs_torch
from octavo.errors import InputError, OctavoWarning
from octavo.evaluation.benchmark import Contender
from octavo.files import sha256_of
from octavo.hardware import this_cpu
from octavo.inspection.models import inspect
from octavo.inspection.task_guess import main_output
from octavo.schema.comparison import Origin
from octavo.schema.signature import Signature, require_task, task_name
from octavo.tasks import TASKS, find_task, task_class

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(frozen=True)
class Entry:
    """A model to be compared: what it is called, what inference needs of it in bytes, and how it is run.

    `calibrated` are the hashes of the examples that its ranges were learnt from, `origin` says how to have it again.
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
    asked = model if isinstance(model, Checkpoint) else Checkpoint(model)
    kind = kind_of(asked.path)
    if kind == "artifact":
        return _artifact_entries(asked, engines)
    if kind == "onnx":
        return [_onnx_entry(asked, engine) for engine in dict.fromkeys(_named(name) for name in engines)]
    return _checkpoint_entries(asked, engines)


def _artifact_entries(asked: Checkpoint, engines: Sequence[str]) -> list[Entry]:
    path = Path(asked.path)
    artifact = open_artifact(path)
    require_task(artifact.manifest.signature.task, asked.task, path)
    signature, record = artifact.manifest.signature, artifact.manifest.calibration
    if asked.labels and len(asked.labels) != len(signature.labels):
        names = ", ".join(asked.labels)
        raise InputError("--labels does not fit the artifact", where=path, got=names, allowed=len(signature.labels))
    if asked.labels:
        signature = signature.model_copy(update={"labels": asked.labels})
    found = []
    for engine in dict.fromkeys(artifact.engine(name) for name in _fitting(engines, artifact)):
        find_engine(engine)
        note = check_cpu(artifact.manifest, engine)
        if note:
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
        found.append(entry)
    return found


def _checkpoint_entries(asked: Checkpoint, engines: Sequence[str]) -> list[Entry]:
    source = read_source(asked)
    require_torch()
    name = source.folder.resolve().name if Path(asked.path).exists() else str(asked.path)
    origin, found = Origin(sha256_of(*source.weights.files)), []
    for engine in [one for one in dict.fromkeys(engines) if runs_torch(one)] or ["torch"]:
        find_engine(engine)
        beside = (asked.tokenizer, asked.target_tokenizer)
        contender = Contender(source.folder, engine, source.signature, source.folder, *beside)
        found.append(
            Entry(name, "float", source.bytes, source.signature, source.tokenizer.json, contender, origin=origin)
        )
    return found


def _fitting(engines: Sequence[str], artifact: Artifact) -> Sequence[str]:
    """Those of the engines that are for artifacts of its format, since one list is for all models of a comparison."""
    torch = artifact.manifest.recipe.format == "torch"
    fitting = [name for name in engines if name == "auto" or runs_torch(name) == torch]
    return fitting or (["auto"] if torch else engines)


def _origin(artifact: Artifact) -> Origin:
    made = artifact.manifest
    recipe = {"method": made.recipe.method} | made.recipe.model_dump(mode="json", exclude_defaults=True)
    if made.recipe.format == "torch":
        recipe["granularity"] = made.recipe.granularity  # whose default is another one there
    return Origin(
        sha256=made.files[artifact.model_file.name].sha256,
        source=made.source.name,
        source_sha256=made.source.sha256,
        target=made.target,
        recipe=recipe,
        calibration_sha256=made.calibration.sha256 if made.calibration else None,
        layers={one.path: one.output_db for one in made.layers if one.output_db is not None},
    )


def _named(engine: str) -> str:
    name = "onnxruntime" if engine == "auto" else engine
    find_engine(name)
    return name


def _onnx_entry(asked: Checkpoint, engine: str) -> Entry:
    """Any tool's ONNX file, with the tokenizer and config beside it, or above it where it lies in a folder `onnx`.

    Raises:
        InputError: it is for another task, has inputs that Octavo does not make, or no tokenizer.
        MissingExtraError: transformers, which reads tokenizer and config, is not installed.
    """
    file = find_onnx(Path(asked.path))
    found = inspect(file)
    task = task_name(asked.task) if asked.task else found.task
    comparable = [name for name in TASKS if task_class(name).onnx_output]
    if task not in comparable:
        raise InputError(f"a model for {task} ({found.task_reason})", where=file, allowed=", ".join(comparable))
    names = {port.name: port.dtype for port in found.inputs}
    strange = [f"{name} ({dtype})" for name, dtype in names.items() if name not in INPUTS or dtype != "int64"]
    if strange or not {"input_ids", "attention_mask"} <= names.keys():
        raise InputError(
            "the model has other inputs than those of an encoder",
            where=file,
            got=", ".join(strange or names),
            allowed=f"{', '.join(INPUTS)} (int64)",
        )
    if any(weight.saturates for weight in found.weights) and found.method != "weight-only" and this_cpu().saturates:
        warnings.warn(
            f"{file}: its 8-bit weights can saturate on this CPU, which has no VNNI: what it answers here is not what "
            "it answers elsewhere",
            OctavoWarning,
            stacklevel=4,
        )
    output = main_output(found.outputs)
    kind = task_class(task)
    assert kind.onnx_output is not None
    what, allowed, dimensions = kind.onnx_output
    if len(output.shape) not in dimensions or any(len(port.shape) != 2 for port in found.inputs):
        shapes = ", ".join(f"{port.name} [{', '.join(map(str, port.shape))}]" for port in (*found.inputs, output))
        raise InputError(what, where=file, got=shapes, allowed=allowed)
    classes = output.shape[-1] if kind.labelled else None
    signature, parts, bytes_beside = read_beside(asked, file, task, classes if isinstance(classes, int) else None)
    answered = tuple(answer_names([port.name for port in found.outputs]))
    signature = signature.model_copy(update={"input_names": tuple(names), "output_names": answered})
    folder = file.resolve().parent
    name = file.stem if file.stem != "model" else (folder.parent if folder.name == "onnx" else folder).name
    above = folder.name == "onnx" and not (folder / POOLING).exists()
    contender = Contender(file, engine, signature, folder.parent if above else folder)
    size, origin = found.bytes + bytes_beside, Origin(sha256_of(file))
    return Entry(name, found.method, size, signature, parts.json, contender, origin=origin)


def with_distinct_names(entries: Sequence[Entry]) -> list[Entry]:
    """Models that are called alike, by their folders' last names, are called by their whole paths."""
    paths: dict[str, set[Path]] = {}
    for entry in entries:
        paths.setdefault(entry.name, set()).add(entry.contender.path)
    return [
        replace(entry, name=str(entry.contender.path)) if len(paths[entry.name]) > 1 else entry for entry in entries
    ]


def require_one_task(entries: Sequence[Entry]) -> None:
    """See that all models are for one task, and give answers of one kind.

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
        if entry.signature.pooling != first.pooling:
            raise InputError(
                "the models do not pool alike",
                got=f"{entry.name}: {entry.signature.pooling!r}",
                allowed=f"{entries[0].name}: {first.pooling!r}",
                then="put modules.json and the folders that it names beside both",
            )


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


def require_same_tokens(entry: Entry, baseline: Entry, rows: Sequence[Row], signature: Signature) -> None:
    """See that two tokenizers make the same ids of the rows.

    Raises:
        InputError: they do not.
    """
    if entry.tokenizer_json == baseline.tokenizer_json:
        return
    task, texts = find_task(signature), [baseline.tokenizer_json, entry.tokenizer_json]
    first, second = (task.encode(task.make_tokenizer(text), rows) for text in texts)
    for index, (expected, found) in enumerate(zip(first, second, strict=False)):
        if list(expected.ids) != list(found.ids):
            number = index if expected.row is None else expected.row
            raise InputError(
                f"the tokenizers of {entry.name} and {baseline.name} differ, so they cannot run the same batches",
                got=f"row {number}: {rows[number][0]!r:.60}",
            )
