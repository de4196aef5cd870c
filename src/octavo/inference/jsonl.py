"""Predictions for files: JSON lines in, JSON lines out, in order, whatever their number."""

import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from octavo.data.json_text import parse_json
from octavo.data.rows import check_length, longest_line
from octavo.encoding.batching import Counts
from octavo.encoding.tokenizing import Options
from octavo.errors import DataError, InputError
from octavo.files import whole_file
from octavo.inference.generator import Generator
from octavo.inference.opening import load
from octavo.schema.documents import json_text
from octavo.tasks.task import Task


def predict(  # noqa: PLR0913 - settings of the verb
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
    verify: bool = True,
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
        options: the task's (see `Predictor.__call__`); of a model that writes those of its generation config
            (`octavo.schema.signature.GenerationConfig`).
        verify: see `load`.

    Raises:
        InputError: settings for a model that does not write, or of the wrong kind.
        DataError: a line that is not such an object; the message names it, and nothing is left at `output`.
    """
    with _reading(source) as lines, _writing(output) as stream:
        settings: dict[str, Any] = {"task": task, "engine": engine, "threads": threads, "max_length": max_length}
        predictor = load(artifact, device=device, verify=verify, **settings)
        rows = _rows(lines, source, predictor.task)
        if isinstance(predictor, Generator):
            if prompt is not None:
                raise InputError("a model that writes has no named prompts", got=prompt)
            predictions = predictor(rows, **(options or {}))
        else:
            predictions = predictor.stream(rows, prompt=prompt, **(options or {}))
        for prediction in predictions:
            stream.write(json_text(predictor.task.to_json(prediction)) + "\n")
    return predictor.counts


def _rows(lines: IO[bytes], source: str | Path, task: Task[Any]) -> Iterator[Any]:
    file, most = "standard input" if str(source) == "-" else source, longest_line()
    for number, line in enumerate(iter(lambda: lines.readline(most + 1), b""), 1):
        where = f"{file}, line {number}"
        check_length(line, most, where)
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            if not text.strip():
                continue
            row = parse_json(text)
            json.dumps(row, ensure_ascii=False).encode()  # halves of surrogate pairs are JSON, but no text
        except ValueError as error:
            raise DataError("not a line of JSON", where=where, got=error) from None
        if not isinstance(row, dict) or not isinstance(row.get(task.keys[0]), str):
            allowed = f"an object with {', '.join(task.keys)}"
            raise DataError(f"a line needs a {task.keys[0]}", where=where, got=f"{row!r:.80}", allowed=allowed)
        fields = {key: row[key] for key in task.keys if key in row}
        try:
            task.parse_row(fields)
        except DataError as error:
            raise DataError(f"{where}: {error}") from None
        yield fields


@contextmanager
def _reading(source: str | Path) -> Iterator[IO[bytes]]:
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
