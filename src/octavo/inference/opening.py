"""Opens any model on an engine: a checkpoint, an artifact, an ONNX file of any tool."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from octavo.artifact.agreement import require_agreement, require_graph
from octavo.artifact.compatibility import check_cpu, check_engine, made_elsewhere
from octavo.artifact.folder import Artifact, open_artifact
from octavo.artifact.selftest import check_self_test
from octavo.checkpoint.generation_config import TARGET_TOKENIZER
from octavo.checkpoint.hub import fetch_artifact, is_hub_id
from octavo.checkpoint.libraries import require_torch
from octavo.checkpoint.model import load_model
from octavo.checkpoint.paths import find_onnx, kind_of
from octavo.checkpoint.source import Checkpoint, Source, read_source
from octavo.encoding.tokenizing import keep_tokenizers_to
from octavo.engines import Session, Writer, find_engine, modes_of, on_device, runs_torch
from octavo.engines.pooled import pooled
from octavo.engines.watched import RangesLeft, WatchedSession, require_ranges
from octavo.errors import ArtifactError, InputError, OctavoWarning
from octavo.files import sha256_of
from octavo.hardware import granted_threads
from octavo.inference.generator import Generator
from octavo.inference.predictor import Predictor
from octavo.inference.storing import read_ranges
from octavo.inference.texts import make_tokenizers
from octavo.schema.manifest import MANIFEST, VECTOR_RANGES
from octavo.schema.signature import Signature, lower_limit, require_task
from octavo.tasks import find_task


def load(  # noqa: PLR0913 - each is one thing to say
    path: str | Path | Checkpoint,
    *,
    task: str | None = None,
    engine: str = "auto",
    threads: int | None = None,
    max_length: int | None = None,
    device: str = "cpu",
    revision: str | None = None,
    verify: bool = True,
    watch_ranges: bool = False,
) -> Predictor | Generator:
    """Load an artifact, or a checkpoint (which runs in torch, in float32); of a model that writes a `Generator`.

    Args:
        path: the folder, or the hub id of an artifact; a `Checkpoint` says what a checkpoint's files do not tell.
        task: what it has to be for; by default whatever it is for.
        engine: `auto`; for artifacts of the format onnx `onnxruntime`, `openvino`, `openvino:throughput`,
            `openvino:bf16`; for those of the format torch, and checkpoints, `torch`, `torch:compile`; for checkpoints
            `torch:bf16`, and on a GPU `torch:fp8`; artifacts run there in `torch:bf16` and `torch:torchao` too.
        threads: threads of one run; by default those that were granted (`hardware.granted_threads`), in which case
            texts are cut by no more either, else as many as this process may use cores.
        max_length: cut inputs at fewer tokens than the model allows.
        device: `cuda` runs checkpoints, and artifacts of the format torch, on a GPU.
        revision: of a hub id: a commit, which never changes, a tag or a branch; by default the newest of `main`.
        verify: compare the hash of every file of an artifact with `octavo.json` before anything runs; without, the
            predictor's `verified` is False.
        watch_ranges: of static int8, in ONNX Runtime: count in the predictor's `ranges_left` what leaves the ranges
            that it learnt, and warn, once, where more than a tenth is outside by more than a range's width. Answers are
            the same but for last bits; batches take up to a tenth longer, single rows up to a quarter.

    Raises:
        InputError: it is for another task.
        ArtifactError: a file of the artifact is damaged or was changed, or it does not answer here as it did where it
            was made.
        HardwareError: this CPU would compute it wrongly.
        CheckpointError: the checkpoint cannot be read.
    """
    checkpoint = path if isinstance(path, Checkpoint) else Checkpoint(path, task)
    here, settings = _found_anywhere(checkpoint), {"task": task, "engine": engine, "threads": threads}
    settings |= {"max_length": max_length, "device": device, "verify": verify, "watch_ranges": watch_ranges}
    folder, engine = _folder(checkpoint, revision), on_device(engine, device)
    settings["revision"] = folder.name if is_hub_id(checkpoint.path) else None  # elsewhere the same commit
    if threads is None and (granted := granted_threads()):
        keep_tokenizers_to(granted[0])
    if kind_of(folder) != "artifact" and (folder / "config.json").exists():
        predictor = _load_checkpoint(checkpoint, engine, threads, max_length, watch_ranges)
        predictor.reopen = partial(open_again, here, settings)
        return predictor
    artifact = open_artifact(folder)
    require_task(artifact.manifest.signature.task, task or checkpoint.task, folder)
    engine, left = _ranges_left(artifact, engine) if watch_ranges else (engine, None)
    engine = artifact.engine(engine)
    if note := check_cpu(artifact.manifest, engine):
        warnings.warn(note, OctavoWarning, stacklevel=2)
    signature = lower_limit(artifact.manifest.signature, max_length)
    with ThreadPoolExecutor(1) as pool:  # hashes are computed while the engine opens the model, which runs nothing yet
        checked = pool.submit(artifact.check_files) if verify else None
        try:
            session = open_artifact_model(artifact, engine, threads, left)
        finally:
            if checked is not None:
                checked.result()  # an altered file is the error, whatever the engine said of it
    if made_elsewhere(artifact.manifest, engine, session.threads):
        check_self_test(artifact.manifest.self_test, session, folder)
    predictor = _make_predictor(session, signature, artifact.tokenizer_json, artifact.target_json)
    predictor.verified = verify
    if isinstance(predictor, Predictor):
        predictor.ranges_left = left
        if left is not None:  # the self-test's sentences are not the user's
            left.counts = True
        predictor.ranges = read_ranges(folder) if VECTOR_RANGES in artifact.manifest.files else {}
    predictor.reopen = partial(open_again, here, settings, sha256_of(folder / MANIFEST))
    return predictor


def _ranges_left(artifact: Artifact, engine: str) -> tuple[str, RangesLeft]:
    """The engine that watches ranges, and what counts.

    Raises:
        InputError: the artifact has none, or the engine does not.
    """
    require_ranges(artifact.manifest.recipe, writes=find_task(artifact.manifest.signature).writes)
    if engine not in {"auto", "onnxruntime"}:
        raise InputError("ranges are watched in ONNX Runtime", got=engine, allowed="onnxruntime")
    return "onnxruntime", RangesLeft()


def _folder(checkpoint: Checkpoint, revision: str | None) -> Path:
    """The folder of what is to be loaded, fetched from the Hub where it is an artifact's id."""
    if is_hub_id(checkpoint.path):
        return fetch_artifact(str(checkpoint.path), revision)
    if revision is not None:
        raise InputError("a revision is of a hub id", got=checkpoint.path, allowed="user/name")
    return Path(checkpoint.path)


def open_again(checkpoint: Checkpoint | Path, settings: dict[str, Any], sha256: str | None = None) -> Any:
    """What was pickled, opened in this process; an artifact by the hash of its `octavo.json`, which has all others.

    Raises:
        ArtifactError: there is another one now.
    """
    folder = Path(checkpoint.path) if isinstance(checkpoint, Checkpoint) else checkpoint
    if sha256 is not None and (folder / MANIFEST).is_file() and sha256_of(folder / MANIFEST) != sha256:
        raise ArtifactError("this is not the artifact that was pickled", where=folder, then="load it anew")
    return load(checkpoint, **settings)


def _found_anywhere(checkpoint: Checkpoint) -> Checkpoint:
    """The same with whole paths, for a process that works in another folder."""
    names = ("path", "tokenizer", "target_tokenizer")
    paths = {name: Path(path) for name in names if (path := getattr(checkpoint, name)) is not None}
    whole: dict[str, Any] = {name: path.resolve() for name, path in paths.items() if path.exists()}
    return replace(checkpoint, **whole)


def _load_checkpoint(
    checkpoint: Checkpoint, engine: str, threads: int | None, max_length: int | None, watch_ranges: bool
) -> Predictor | Generator:
    if watch_ranges:
        raise InputError("only static int8 has ranges to watch", got="a checkpoint", then="leave watch_ranges out")
    if engine != "auto" and not runs_torch(engine):
        raise InputError("a checkpoint runs in torch", got=engine, then="octavo quantize makes an artifact of it")
    engine = "torch" if engine == "auto" else engine
    modes = modes_of(engine)
    require_torch()
    from octavo.engines.torch import require_device

    require_device(modes.get("device", "cpu"))
    source = read_source(checkpoint)
    signature = lower_limit(source.signature, max_length)
    target = source.beside.get(TARGET_TOKENIZER)
    session = open_source_model(source, engine, threads)
    return _make_predictor(session, signature, source.tokenizer.json, target.decode() if target else None)


def _make_predictor(
    session: Session, signature: Signature, tokenizer_json: str, target_json: str | None
) -> Predictor | Generator:
    if find_task(signature).writes:
        return Generator(cast("Writer", session), make_tokenizers(tokenizer_json, target_json, signature), signature)
    return Predictor(session, tokenizer_json, signature)


def open_session(
    checkpoint: Checkpoint, engine: str, threads: int | None = None, *, signature: Signature, home: Path
) -> Session:
    """The model of a path, loaded on an engine, and what its task does to a batch behind it.

    `signature` and `home`, the folder of what pooling needs, are those of an ONNX file of any tool, which tells neither
    itself.
    """
    path, kind = Path(checkpoint.path), kind_of(checkpoint.path)
    if kind == "artifact":
        return open_artifact_model(open_artifact(path), engine, threads)
    if kind == "onnx":
        named = {} if runs_torch(engine) else {"outputs": signature.output_names}
        return pooled(find_engine(engine)(find_onnx(path), threads, **named), signature, home)
    return open_source_model(read_source(checkpoint), engine, threads)


def open_artifact_model(
    artifact: Artifact, engine: str | None = None, threads: int | None = None, left: RangesLeft | None = None
) -> Session:
    """An artifact's model, loaded on an engine; see `engines.find_engine`.

    Without one, on the engine that its self-test was recorded with. Of a model that writes it is a `Writer`. `left`
    counts the rows that leave its ranges.

    Raises:
        ArtifactError: the manifest, `config.json` and the graph say different things.
    """
    engine = engine or ("torch" if artifact.manifest.recipe.format == "torch" else "onnxruntime")
    signature = artifact.manifest.signature
    check_engine(artifact.manifest, engine)
    artifact.check_references()
    require_agreement(signature, artifact.folder)
    if find_task(signature).writes:
        if engine != "onnxruntime":
            raise InputError("models that write run in onnxruntime", got=engine)
        from octavo.engines.onnxruntime_writer import open_writer

        return open_writer(artifact.model_files, threads)
    session: Session
    if left is None:
        session = find_engine(engine)(artifact.model_file, threads)
    else:
        session = WatchedSession(artifact.model_file, threads, left)
    require_graph(signature, session, artifact.folder)
    return pooled(session, signature, artifact.folder)


def open_source_model(source: Source, engine: str = "torch", threads: int | None = None) -> Session:
    """A checkpoint's model in torch; of a model that writes a `Writer`."""
    modes = modes_of(engine)
    if find_task(source.signature).writes:
        if modes:
            raise InputError("a model that writes runs in torch in float32 on a CPU", got=engine, allowed="torch")
        from octavo.engines.torch_writer import TorchWriter

        return TorchWriter(load_model(source), threads)
    if modes.pop("torchao", False):
        what = "torchao multiplies the int8 weights of an artifact of the format torch"
        raise InputError(what, where=source.folder, got=engine, allowed="torch, torch:bf16, torch:fp8, torch:compile")
    from octavo.engines.torch import TorchSession

    return pooled(TorchSession(load_model(source), threads, **modes), source.signature, source.folder)


def verify(artifact: Artifact) -> float:
    """Compare the hash of every file with the manifest, and the model's answers with those it gave when it was made.

    It runs on the engine that `load` takes here. Returns the largest deviation of these;
    `artifact.manifest.self_test.allowed()` is what it may be.

    Raises:
        ArtifactError: a file was changed, or the answers differ by more than another kind of CPU explains.
    """
    artifact.check_files()
    session = open_artifact_model(artifact, artifact.engine())
    return check_self_test(artifact.manifest.self_test, session, artifact.folder)
