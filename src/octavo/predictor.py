"""Predictions from an artifact (ONNX Runtime) or a checkpoint (torch): session, tokenizer and task in one callable."""

from __future__ import annotations

import io
import json
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any

from octavo.artifact import MANIFEST, check_cpu, made_elsewhere, open_artifact, open_model
from octavo.batching import Counts, Encoded, Outputs, in_order, make_batches
from octavo.engines import Session, modes_of, on_device, run_batches, runs_torch
from octavo.engines.pooled import pooled
from octavo.errors import DataError, InputError, OctavoWarning
from octavo.generator import Generator, make_tokenizers
from octavo.output import whole_file
from octavo.sampling import TARGET_TOKENIZER
from octavo.signature import Signature, lower_limit, require_task
from octavo.source import Checkpoint, read_source
from octavo.tasks import Asked, Options, Task, find_task
from octavo.tasks.encoding import settings

WINDOW = 2048  # rows of a generator that are held at once: enough to sort by length, small enough for memory
UNKNOWN_SHARE = 0.1  # of all tokens; above it the tokenizer and the texts hardly belong together
_ENOUGH_TOKENS = 50


class Predictor:
    """Answers texts; may be called from several threads at once.

    `predictor("text")` gives a list with one prediction, a pair (a tuple, or a mapping with `text` and `text_pair`) one
    prediction, a list of these a list, any other iterable an iterator that holds `WINDOW` rows at a time: the shapes of
    Hugging Face's pipelines. Sentence embeddings come as sentence-transformers gives them: a text is an array
    [dimension], a list of texts an array [texts, dimension].
    """

    def __init__(self, session: Session, tokenizer_json: str, signature: Signature) -> None:
        """Join a session with the tokenizer and signature that belong to its model."""
        self.session = session
        self.signature = signature
        self.counts = Counts()
        self._task: Task = find_task(signature.task)
        self._tokenizer = self._task.make_tokenizer(tokenizer_json, signature)
        self._lock = threading.Lock()
        self._warned = False

    @property
    def model(self) -> Any:
        """The torch module behind it, an ordinary model of transformers.

        Raises:
            InputError: an ONNX model has none.
        """
        found = getattr(self.session, "model", None)
        if found is None:
            raise InputError("there is no torch module behind an ONNX model", then="octavo quantize --format torch")
        return found

    def __call__(self, inputs: Any, *, prompt: str | None = None, **options: Any) -> Any:
        """Predict; see the class for what comes back.

        `prompt` names one of a sentence embedder's prompts; `options` are the task's (its `OPTIONS`), such as the
        `aggregation_strategy` of tags.

        Raises:
            DataError: an input is not what the task reads; the message names its position.
            InputError: there is no such prompt or option.
        """
        if isinstance(inputs, str):
            found = list(self.stream([inputs], prompt=prompt, **options))
            return self._task.gather(found, self.signature, single=True)
        if isinstance(inputs, (tuple, Mapping)):
            return next(self.stream([inputs], prompt=prompt, **options))
        if isinstance(inputs, list):
            return self._task.gather(list(self.stream(inputs, prompt=prompt, **options)), self.signature)
        if isinstance(inputs, Iterable) and not isinstance(inputs, bytes):
            return self.stream(inputs, prompt=prompt, **options)
        return self._task.parse_row(inputs)  # raises, with what is allowed

    def stream(self, rows: Iterable[Any], *, prompt: str | None = None, **options: Any) -> Iterator[Any]:
        """Predictions in the order of the rows."""
        return self._stream(rows, self.signature.prompt(prompt), settings(options, self._task.OPTIONS))

    def _stream(self, rows: Iterable[Any], prefix: str, options: Options) -> Iterator[Any]:
        source, position = iter(rows), 0
        while window := list(islice(source, WINDOW)):
            parsed = []
            for offset, row in enumerate(window):
                try:
                    text, pair = self._task.parse_row(row)
                    parsed.append((prefix + text, pair))
                except DataError as error:
                    raise DataError(f"row {position + offset}: {error}") from None
            encoded = self._task.encode(self._tokenizer, parsed, self.signature, options)
            self._count(len(parsed), encoded)
            asked = Asked(parsed, encoded, self._tokenizer, self.signature)
            found = self._task.read(self.run(encoded), asked)
            yield from self._task.decode(found, self.signature, options)
            position += len(window)

    def run(self, encoded: list[Encoded]) -> Outputs:
        """The model's outputs for encoded rows, run in length-sorted batches, in the order given."""
        batches = make_batches(encoded, self.signature)
        parts = run_batches(self.session, [batch.inputs for batch in batches])
        return in_order(parts, batches, self.signature)

    def _count(self, rows: int, encoded: list[Encoded]) -> None:
        with self._lock:
            self.counts.rows += rows
            self.counts.truncated += sum(row.truncated for row in encoded)
            self.counts.tokens += sum(len(row.ids) for row in encoded)
            self.counts.unknown += sum(row.unknown for row in encoded)
            share = self.counts.unknown / max(1, self.counts.tokens)
            warn = not self._warned and self.counts.tokens >= _ENOUGH_TOKENS and share > UNKNOWN_SHARE
            self._warned |= warn
        if warn:
            warnings.warn(unknown_warning(share), OctavoWarning, stacklevel=4)


def unknown_warning(share: float) -> str:
    """What to say about a high share of unknown tokens."""
    return (
        f"{share:.0%} of the tokens are unknown to the tokenizer: is it this model's, and are the texts in its "
        "language and normalized as it expects (lower-casing with strip_accents takes Hangul apart)?"
    )


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
    from octavo.config import require_torch
    from octavo.source import load_model

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
        from octavo.engines.torch_writing import TorchWriter

        target = source.beside.get(TARGET_TOKENIZER)
        tokenizers = make_tokenizers(source.tokenizer.json, target.decode() if target else None, signature)
        return Generator(TorchWriter(load_model(source), threads), tokenizers, signature)
    session = pooled(TorchSession(load_model(source), threads, **modes), source.signature, source.folder)
    return Predictor(session, source.tokenizer.json, signature)


def predict(  # noqa: PLR0913 - each is one thing to say
    artifact: str | Path,
    source: str | Path = "-",
    output: str | Path | None = None,
    *,
    engine: str = "auto",
    threads: int | None = None,
    max_length: int | None = None,
    device: str = "cpu",
    prompt: str | None = None,
    task: str | None = None,
    options: Options | None = None,
) -> Counts:
    """Predict a JSONL file of any length, one object a line with what the task reads; other keys are ignored.

    Args:
        artifact: an artifact, or a checkpoint.
        source: a JSONL file, or `-` for standard input.
        output: where to write, one prediction a line in the order of the input; standard output by default.
        engine: see `load`.
        threads: see `load`.
        max_length: see `load`.
        device: see `load`.
        prompt: the name of a sentence embedder's prompt.
        task: see `load`.
        options: the task's (see `Predictor.__call__`); of a model that writes those of `octavo.signature.Sampling`.

    Raises:
        InputError: settings for a model that does not write, or of the wrong kind.
        DataError: a line that is not such an object; the message names it, and nothing is left at `output`.
    """
    with _reading(source) as lines, _writing(output) as stream:
        predictor = load(artifact, task=task, engine=engine, threads=threads, max_length=max_length, device=device)
        module, rows = find_task(predictor.signature.task), _rows(lines, source, find_task(predictor.signature.task))
        if isinstance(predictor, Generator):
            if prompt is not None:
                raise InputError("a model that writes has no named prompts", got=prompt)
            found = predictor(rows, **(options or {}))
        else:
            found = predictor.stream(rows, prompt=prompt, **(options or {}))
        for prediction in found:
            stream.write(json.dumps(module.to_json(prediction), ensure_ascii=False) + "\n")
    return predictor.counts


def _rows(lines: Iterable[bytes], source: str | Path, task: Task) -> Iterator[Any]:
    place = "standard input" if str(source) == "-" else source
    for number, line in enumerate(lines, 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            if not text.strip():
                continue
            row = json.loads(text)
            json.dumps(row, ensure_ascii=False).encode()  # halves of surrogate pairs are JSON, but no text
        except (ValueError, RecursionError) as error:
            raise DataError("not a line of JSON", where=f"{place}, line {number}", got=error) from None
        if not isinstance(row, dict) or not isinstance(row.get(task.KEYS[0]), str):
            what, allowed = f"a line needs a {task.KEYS[0]}", f"an object with {', '.join(task.KEYS)}"
            raise DataError(what, where=f"{place}, line {number}", got=f"{row!r:.80}", allowed=allowed)
        known = {key: row[key] for key in task.KEYS if key in row}
        try:
            task.parse_row(known)
        except DataError as error:
            raise DataError(f"{place}, line {number}: {error}") from None
        yield known


@contextmanager
def _reading(source: str | Path) -> Iterator[Iterable[bytes]]:
    if str(source) == "-":
        yield sys.stdin.buffer
        return
    path = Path(source)
    if not path.is_file():
        raise DataError("no such file", got=path)
    with path.open("rb") as stream:
        yield stream


@contextmanager
def _writing(output: str | Path | None) -> Iterator[IO[str]]:
    """Standard output, or a file that appears under its name only when all of it was written."""
    if output is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")
        yield sys.stdout
        return
    with whole_file(output) as stream:
        yield stream
