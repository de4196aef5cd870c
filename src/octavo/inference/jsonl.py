"""Predictions for files: rows in, JSON lines out, in order, whatever their number."""

import io
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from octavo.encoding.batching import Counts
from octavo.encoding.tokenizing import Options
from octavo.engines.watched import left_ranges_warning
from octavo.errors import InputError, OctavoWarning
from octavo.files import whole_file
from octavo.inference.asked import AskedRows
from octavo.inference.generator import Generator
from octavo.inference.opening import load
from octavo.progress import Progress, Silent
from octavo.schema.documents import json_text


def predict(  # noqa: PLR0913 - settings of the verb
    artifact: str | Path,
    source: str | Path | Sequence[Any] = "-",
    output: str | Path | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    encoding: str = "utf-8",
    engine: str = "auto",
    threads: int | None = None,
    max_length: int | None = None,
    device: str = "cpu",
    prompt: str | None = None,
    task: str | None = None,
    options: Options | None = None,
    revision: str | None = None,
    verify: bool = True,
    watch_ranges: bool = False,
    progress: Progress | None = None,
) -> Counts:
    """Predict a file of any length: a line of JSON for each row, which keeps the fields that the model does not read.

    A field that has the name of one of the prediction's is written as `input_NAME`.

    Args:
        artifact: an artifact, its hub id, or a checkpoint.
        source: a file as `compare` reads it (its labels are not needed), JSON lines of any number, `-` for those on
            standard input, or a list of rows as a call takes them.
        output: where to write, one prediction a line in the order of the input; standard output by default.
        columns: which of the file's columns is `text`, `text_pair`, or what else the task reads.
        encoding: of the file.
        engine: see `load`.
        threads: see `load`.
        max_length: see `load`.
        device: see `load`.
        prompt: the name of an embedder's prompt; of late-interaction `query` or `document`.
        task: see `load`.
        options: the task's (see `Predictor.__call__`); of a model that writes those of its generation config
            (`octavo.schema.signature.GenerationConfig`).
        revision: see `load`.
        verify: see `load`.
        watch_ranges: see `load`; how many left is told at the end, and not before.
        progress: hears how many rows are done.

    Raises:
        InputError: settings for a model that does not write, or of the wrong kind.
        DataError: a row that is not what the task reads; the message names it, and nothing is left at `output`.
    """
    asked, progress = AskedRows(source, columns, encoding), progress or Silent()
    with _writing(output) as stream:
        settings: dict[str, Any] = {"task": task, "engine": engine, "threads": threads, "max_length": max_length}
        settings |= {"revision": revision, "verify": verify, "watch_ranges": watch_ranges}
        predictor = load(artifact, device=device, **settings)
        left = None if isinstance(predictor, Generator) else predictor.ranges_left
        if left is not None:
            left.warns = False
        rows = asked.read(predictor.task)
        if isinstance(predictor, Generator) and prompt is not None:
            raise InputError("a model that writes has no named prompts", got=prompt)
        # standard input is read as it comes: who writes it may wait for answers
        named: dict[str, Any] = {} if isinstance(predictor, Generator) else {"prompt": prompt, "ahead": asked.is_there}
        predictions = predictor(rows, **named, **(options or {}))
        progress.start("predicting", asked.total)
        for prediction in predictions:
            progress.advance()
            stream.write(json_text(joined(asked.others.popleft(), predictor.task.to_json(prediction))) + "\n")
    if left is not None and left.left:
        warnings.warn(left_ranges_warning(left.rows, left.left, left.farthest), OctavoWarning, stacklevel=2)
    return predictor.counts


def joined(other: Mapping[str, Any], prediction: Mapping[str, Any]) -> dict[str, Any]:
    """A prediction behind the row's other fields; those of its names are called otherwise."""
    taken, kept = {*other, *prediction}, dict[str, Any]()
    for name, value in other.items():
        free = name
        while free in prediction or (free != name and free in taken):
            free = f"input_{free}"
        kept[free] = value
    return kept | dict(prediction)


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
