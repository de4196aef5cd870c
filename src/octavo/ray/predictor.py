"""`octavo.ray.Predictor`, for `Dataset.map_batches`, and `octavo.ray.put`, by which an artifact travels.

A folder is opened on each node under its path. What `put` gives is one object in Ray's store: a node gets it once, and
writes it to a folder of its own, whose hashes are checked as those of any other.
"""

import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from octavo.artifact.folder import Artifact, open_artifact
from octavo.artifact.selftest import check_self_test
from octavo.artifact.writing import replace_folder
from octavo.encoding.tokenizing import Options
from octavo.errors import ArtifactError, InputError, OctavoError
from octavo.files import sha256_of
from octavo.inference.columns import Columns, make_predict_fn
from octavo.ray.cluster import node, require_ray
from octavo.schema.manifest import MANIFEST

ERROR = "error"  # the column of what is wrong with a row
Packed = dict[str, bytes]  # the files of an artifact by their paths in it, `octavo.json` among them


class Predictor:
    """Adds an artifact's answers, named as `PredictFn` names them, to batches of rows, and keeps the other columns.

    `Dataset.map_batches(octavo.ray.Predictor, fn_constructor_kwargs={"artifact": "my-int8"}, num_cpus=1,
    batch_size=1024, compute=ray.data.ActorPoolStrategy(min_size=1, max_size=8), udf_modifying_row_count=False)`
    """

    def __init__(  # noqa: PLR0913 - each is one thing to say
        self,
        artifact: Any,
        *,
        columns: str | Sequence[str] = "text",
        engine: str = "auto",
        threads: int | None = None,
        max_length: int | None = None,
        options: Options | None = None,
        on_error: Literal["raise", "column"] = "raise",
    ) -> None:
        """Open the artifact in this actor: its hashes are checked, and its self-test is run, on the actor's host.

        Args:
            artifact: its folder, which each node has under this path, or what `put` gave.
            columns: the column of texts; or two, of texts and of their second texts.
            engine: see `octavo.load`.
            threads: by default the CPUs that Ray assigned the actor (`num_cpus`).
            max_length: see `octavo.load`.
            options: see `octavo.make_predict_fn`.
            on_error: `column` keeps what is wrong with a row in a column `error`, beside empty answers, instead of
                ending the job.

        Raises:
            OctavoError: of the kind that `octavo.load` raises, where the artifact is damaged or this CPU would compute
                it wrongly; the message names the node.
        """
        if on_error not in {"raise", "column"}:
            raise InputError("unknown on_error", got=on_error, allowed="raise, column")
        self._apart = on_error == "column"
        try:
            opened = open_artifact(_folder(artifact))
            self.predict_fn = make_predict_fn(
                opened, columns=columns, engine=engine, threads=threads, max_length=max_length, options=options
            )
            check_self_test(opened.manifest.self_test, self.predict_fn.predictor().session, opened.folder)
        except OctavoError as error:
            told = type(error)("")
            told.args = (f"on the node {node()}: {error}",)
            raise told from None

    def __call__(self, batch: Any) -> Any:
        """A batch of Ray's `numpy` or `pandas` format with the answers.

        Raises:
            DataError: a text is missing, unless errors are kept in their column.
            InputError: a batch of another format.
        """
        if hasattr(batch, "append_column"):
            raise InputError("a batch of pyarrow", then="leave batch_format as it is, or take pandas")
        if not self._apart:
            return self.predict_fn(batch)
        columns = self.predict_fn.read(batch)
        try:
            answers = self.predict_fn.answers(columns)
            told: list[str | None] = [None] * len(columns[0])
        except OctavoError:
            answers, told = self._one_by_one([list(column) for column in columns])
        return self.predict_fn.joined(batch, answers | {ERROR: np.array(told, object)})

    def _one_by_one(self, columns: list[list[Any]]) -> tuple[Columns, list[str | None]]:
        """The answers to rows each alone, which are the same as in a batch, empty where there is an error instead."""
        none = {name: _empty(array) for name, array in self.predict_fn.answers([[] for _ in columns]).items()}
        answers, told = [], list[str | None]()
        for row in zip(*columns, strict=True):
            try:
                answers.append(self.predict_fn.answers([[text] for text in row]))
                told.append(None)
            except OctavoError as error:
                answers.append(none)
                told.append(str(error).removeprefix("row 0: "))
        return {name: np.concatenate([answer[name] for answer in answers]) for name in none}, told


def put(artifact: str | Path | Artifact) -> Any:
    """An artifact as one object in Ray's store, to be given to `Predictor`; its hashes are checked first.

    Raises:
        ArtifactError: it is damaged.
        MissingExtraError: Ray is not installed.
    """
    given = artifact if isinstance(artifact, Artifact) else open_artifact(artifact)
    given.check_files()
    packed: Packed = {name: (given.folder / name).read_bytes() for name in (MANIFEST, *given.manifest.files)}
    return require_ray().put(packed)


def _folder(artifact: Any) -> Path:
    """Where the artifact is on this node; one from Ray's store is written there, by whichever actor is the first."""
    if isinstance(artifact, str | Path):
        return Path(artifact)
    if isinstance(artifact, Artifact):
        return artifact.folder
    packed: Packed = artifact if isinstance(artifact, dict) else sys.modules["ray"].get(artifact)
    digest = sha256(packed[MANIFEST]).hexdigest()
    place = Path(tempfile.gettempdir(), f"octavo-{digest[:32]}")
    if not (place / MANIFEST).is_file():
        with suppress(ArtifactError), replace_folder(place, force=False) as folder:  # or another actor was faster
            for name, content in packed.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
    if sha256_of(place / MANIFEST) != digest:
        raise ArtifactError("this is not the artifact that was sent", where=place, then="remove it")
    return place


def _empty(array: NDArray[Any]) -> NDArray[Any]:
    """One row for an array of answers that says nothing: None, NaN, or -1 where numbers are whole."""
    nothing = {"O": None, "f": np.nan}.get(array.dtype.kind, -1)
    return np.full((1, *array.shape[1:]), nothing, array.dtype)
