"""A function over columns of a table, as Spark, Dask and others of that kind send it to their workers.

It goes there as a path, settings and a hash, and opens the artifact on first use, once in each process. None of these
libraries is imported: tables of pandas are known by what they have.
"""

import os
import threading
from collections.abc import Mapping, Sequence
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.artifact.folder import Artifact, open_artifact
from octavo.data.sentences import SENTENCES
from octavo.encoding.tokenizing import NO_OPTIONS, Options, keep_tokenizers_to
from octavo.errors import DataError
from octavo.files import sha256_of
from octavo.inference.generator import Generator
from octavo.inference.inputs import as_rows
from octavo.inference.opening import open_again
from octavo.inference.predictor import Predictor
from octavo.schema.documents import json_text
from octavo.schema.manifest import MANIFEST

Columns = dict[str, NDArray[Any]]
OPENED: dict[tuple[Any, ...], Predictor | Generator] = {}  # of this process; a forked one opens its own
_LOCK = threading.Lock()


def make_predict_fn(
    artifact: str | Path | Artifact,
    *,
    columns: str | Sequence[str] = "text",
    engine: str = "auto",
    threads: int | None = None,
    max_length: int | None = None,
    options: Options | None = None,
) -> "PredictFn":
    """A function that answers columns of texts: for Spark's `predict_batch_udf` and Dask's `map_partitions`.

    Args:
        artifact: its folder, which every worker has under this path. There its hashes are checked, as those of the
            artifact that is here now.
        columns: the columns that are read of a table: one of texts, or two, of texts and their second texts.
        engine: see `load`.
        threads: of one run, and of cutting texts; by default see `load`. Spark gives a worker one core and does not say
            so: 1 there.
        max_length: see `load`.
        options: what a call of the predictor takes, such as `prompt`, `top_k` or `max_new_tokens`.

    Raises:
        ArtifactError: there is no artifact.
        DataError: columns that no row is made of.
    """
    names = (columns,) if isinstance(columns, str) else tuple(columns)
    if len(names) not in {1, 2}:
        raise DataError("a row is a text or a pair of texts", got=f"{len(names)} columns", allowed="1 or 2")
    folder = open_artifact(artifact.folder if isinstance(artifact, Artifact) else artifact).folder.resolve()
    settings = {"engine": engine, "threads": threads, "max_length": max_length}
    return PredictFn(folder, sha256_of(folder / MANIFEST), names, settings, options or NO_OPTIONS)


class PredictFn:
    """Answers columns; it pickles, and may be called from several threads.

    Arrays [rows] of texts, one or two, give arrays by name: a classifier's are `label` and `score`; embeddings are one
    array [rows, dimension]; what is no number and no text is JSON. A table of pandas, or a mapping of arrays, is given
    back with these (one that had such a name is then `input_NAME`), a column alone as a table of them. Called with
    nothing it opens the model and gives itself: what `predict_batch_udf` asks of the function that makes one.
    """

    def __init__(
        self, folder: Path, sha256: str, columns: tuple[str, ...], settings: Mapping[str, Any], options: Options
    ) -> None:
        """Remember what a worker needs to open the artifact whose `octavo.json` has this hash."""
        self.folder, self.sha256, self.columns = folder, sha256, columns
        self.settings, self.options = dict(settings), dict(options)
        parameters = [Parameter(f"column_{number}", Parameter.POSITIONAL_ONLY) for number in range(len(columns))]
        self.__signature__ = Signature(parameters)  # Spark counts them

    def __call__(self, *columns: Any) -> Any:
        """Answer arrays, a table, or a column; see the class.

        Raises:
            DataError: a text is missing, or a column.
        """
        if not columns:
            self.predictor()
            return self
        table = columns[0]
        if hasattr(table, "assign") or isinstance(table, Mapping):
            return self.joined(table, self.answers(self.read(table)))
        answers = self.answers(columns)
        if hasattr(table, "to_frame"):
            return table.to_frame().assign(**_one_dimensional(answers))[list(answers)]
        return answers["embedding"] if answers.keys() == {"embedding"} else answers

    def predictor(self) -> Predictor | Generator:
        """The predictor of this process, opened on first use."""
        key = (os.getpid(), self.folder, self.sha256, *self.settings.items())
        with _LOCK:
            if key not in OPENED:
                if self.settings["threads"] is not None:
                    keep_tokenizers_to(self.settings["threads"])
                OPENED[key] = open_again(self.folder, self.settings, self.sha256)
            return OPENED[key]

    def read(self, table: Any) -> list[Any]:
        """The columns of a table that are read.

        Raises:
            DataError: one is not there.
        """
        if absent := [name for name in self.columns if name not in table]:
            raise DataError("no such column", got=absent[0], allowed=", ".join(map(str, table)))
        return [table[name] for name in self.columns]

    def joined(self, table: Any, found: Columns) -> Any:
        """A table of pandas, or a mapping of arrays, with answers; a column of the same name is then `input_NAME`."""
        taken = {name: f"input_{name}" for name in found if name in table}
        if isinstance(table, Mapping):
            return {taken.get(name, name): column for name, column in table.items()} | found
        return table.rename(columns=taken).assign(**_one_dimensional(found))

    def answers(self, columns: Sequence[Any]) -> Columns:
        """The answers to columns by name: arrays [rows], embeddings [rows, dimension]; of no rows too, of their types.

        Raises:
            DataError: a text is missing; the message names its row.
        """
        if len(columns) != len(self.columns):
            raise DataError("another number of columns", got=len(columns), allowed=", ".join(self.columns))
        lists = [list(as_rows(column)) for column in columns]
        if len({len(texts) for texts in lists}) > 1:
            raise DataError("columns of one length are expected", got=", ".join(str(len(texts)) for texts in lists))
        rows, predictor = len(lists[0]), self.predictor()
        asked = lists if rows else [[SENTENCES[0]] for _ in lists]
        answers = predictor(asked[0] if len(asked) == 1 else list(zip(*asked, strict=True)), **self.options)
        if isinstance(answers, np.ndarray):
            return {"embedding": answers[:rows]}
        told = [predictor.task.to_json(answer) for answer in answers]
        return {name: _array([row[name] for row in told])[:rows] for name in told[0]}


def _array(values: list[Any]) -> NDArray[Any]:
    """Numbers as numbers, texts as texts, what holds others as JSON."""
    if all(isinstance(value, int | float) for value in values):
        return np.array(values)
    return np.array([value if isinstance(value, str) else json_text(value) for value in values], object)


def _one_dimensional(answers: Columns) -> dict[str, Any]:
    """As columns of a table, of which each has one value in a row: a list is one."""
    return {name: list(values) if values.ndim > 1 else values for name, values in answers.items()}
