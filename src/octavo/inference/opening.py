"""TODO-DOC inference.opening."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from octavo.artifact.compatibility import check_cpu, made_elsewhere
from octavo.artifact.folder import Artifact, open_artifact
from octavo.checkpoint.generation_config import TARGET_TOKENIZER
from octavo.checkpoint.source import Checkpoint, read_source
from octavo.engines import Session, find_engine, modes_of, on_device, runs_torch
from octavo.engines.pooled import pooled
from octavo.errors import ArtifactError, InputError, OctavoWarning
from octavo.files import sha256_of
from octavo.inference.generator import Generator
from octavo.inference.predictor import Predictor
from octavo.inference.texts import make_tokenizers
from octavo.schema.manifest import MANIFEST
from octavo.schema.signature import lower_limit, require_task
from octavo.tasks import find_task


def verify(artifact: Artifact) -> float:
    """Compare the hash of every file with the manifest, and the model's answers with those it gave when it was made.

    It runs on the engine that `load` takes here. Returns the largest deviation of these;
    `artifact.manifest.self_test.allowed()` is what it may be.

    Raises:
        ArtifactError: a file was changed, or the answers differ by more than another kind of CPU explains.
    """
    for name, record in artifact.manifest.files.items():
        if sha256_of(artifact.folder / name) != record.sha256:
            raise ArtifactError("a file of the artifact was changed", where=artifact.folder / name)
    return artifact.manifest.self_test.check(open_model(artifact, artifact.engine()), artifact.folder)


def open_model(artifact: Artifact, engine: str | None = None, threads: int | None = None) -> Session:
    """The artifact's model, loaded on an engine, and what stands behind it; see `engines.find_engine`.

    Without one, on the engine that its self-test was recorded with. A model that writes comes as an
    `engines.writing.OnnxWriter`.
    """
    engine = engine or ("torch" if artifact.manifest.recipe.format == "torch" else "onnxruntime")
    if artifact.manifest.signature.generation is not None:
        if engine != "onnxruntime":
            raise InputError("models that write run in onnxruntime", got=engine)
        from octavo.engines.onnxruntime_writer import open_writer

        return open_writer(artifact.model_files, threads)
    session = find_engine(engine)(artifact.model_file, threads)
    return pooled(session, artifact.manifest.signature, artifact.folder)


def load(
    path: str | Path | Checkpoint,
    *,
    task: str | None = None,
    engine: str = "auto",
    threads: int | None = None,
    max_length: int | None = None,
    device: str = "cpu",
) -> Predictor | Generator:
    """Load an artifact, or a checkpoint (which runs in torch, in float32); of a model that writes a `Generator`.

    Args:
        path: the folder; a `Checkpoint` says what a checkpoint's files do not tell.
        task: what it has to be for; by default whatever it is for.
        engine: `auto`; for artifacts of the format onnx `onnxruntime`, `openvino`, `openvino:throughput`,
            `openvino:bf16`; for those of the format torch, and checkpoints, `torch`, `torch:compile`; for checkpoints
            `torch:bf16`, and on a GPU `torch:fp8`.
        threads: threads of one run; by default as many as this process may use cores.
        max_length: cut inputs at fewer tokens than the model allows.
        device: `cuda` runs checkpoints, and artifacts of the format torch, on a GPU.

    Raises:
        InputError: it is for another task.
        ArtifactError: the artifact is damaged, or does not answer here as it did where it was made.
        HardwareError: this CPU would compute it wrongly.
        CheckpointError: the checkpoint cannot be read.
    """
    asked = path if isinstance(path, Checkpoint) else Checkpoint(path, task)
    path, engine = Path(asked.path), on_device(engine, device)
    if not (path / MANIFEST).exists() and (path / "config.json").exists():
        return _load_checkpoint(asked, engine, threads, max_length)
    artifact = open_artifact(path)
    require_task(artifact.manifest.signature.task, task or asked.task, path)
    chosen = artifact.engine(engine)
    note = check_cpu(artifact.manifest, chosen)
    if note:
        warnings.warn(note, OctavoWarning, stacklevel=2)
    signature = lower_limit(artifact.manifest.signature, max_length)
    session: Any = open_model(artifact, chosen, threads)  # of a model that writes, its `Writer`
    if made_elsewhere(artifact.manifest, chosen):
        artifact.manifest.self_test.check(session, path)
    if signature.generation is not None:
        return Generator(session, make_tokenizers(artifact.tokenizer_json, artifact.target_json, signature), signature)
    return Predictor(session, artifact.tokenizer_json, signature)


def _load_checkpoint(
    asked: Checkpoint, engine: str, threads: int | None, max_length: int | None
) -> Predictor | Generator:
    from octavo.checkpoint.libraries import require_torch
    from octavo.checkpoint.model import load_model

    if engine != "auto" and not runs_torch(engine):
        raise InputError("a checkpoint runs in torch", got=engine, then="octavo quantize makes an artifact of it")
    modes = modes_of("torch" if engine == "auto" else engine)
    require_torch()
    from octavo.engines.torch import TorchSession, require_device

    require_device(modes.get("device", "cpu"))
    source = read_source(asked)
    find_task(source.signature.task)
    signature = lower_limit(source.signature, max_length)
    if signature.generation is not None:
        if modes:
            raise InputError("a model that writes runs in torch in float32 on a CPU", got=engine, allowed="torch")
        from octavo.engines.torch_writer import TorchWriter

        target = source.beside.get(TARGET_TOKENIZER)
        tokenizers = make_tokenizers(source.tokenizer.json, target.decode() if target else None, signature)
        return Generator(TorchWriter(load_model(source), threads), tokenizers, signature)
    session = pooled(TorchSession(load_model(source), threads, **modes), source.signature, source.folder)
    return Predictor(session, source.tokenizer.json, signature)
