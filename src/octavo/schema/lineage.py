"""`lineage.json` of a checkpoint that Octavo wrote: what it was made from, step by step, and its files."""

from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from octavo.schema import Record

LINEAGE = "lineage.json"
LONGEST_NAME = 255  # bytes of a file's name, as file systems have it


def _stays_inside(name: str) -> str:
    path = PurePosixPath(name)
    if name in {"", "."} or path.as_posix() != name or ".." in path.parts or PureWindowsPath(name).anchor:
        raise ValueError("not the path of a file in the folder")
    if "\\" in name or "\0" in name or max(len(part.encode()) for part in path.parts) > LONGEST_NAME:
        raise ValueError("not the name of a file")
    return name


FileName = Annotated[str, AfterValidator(_stays_inside)]  # relative, with `/`, never up or out


class FileRecord(Record):
    """A file of the artifact."""

    bytes: int
    sha256: str


class SourceRecord(Record):
    """The checkpoint that the artifact was made from: its name, the dtype and size as stored, a hash of its weights.

    `ignored_weights` are those that no module takes, and that were left out because it was asked for; `ranges` is the
    hash of the file of ranges that it was trained for int8 with, where these were taken.
    """

    name: str
    dtype: str
    bytes: int
    sha256: str
    ranges: str | None = None
    ignored_weights: tuple[str, ...] | None = None


class Share(Record):
    """A share, bounded with 95 % confidence."""

    value: float
    low: float
    high: float


class TextsRecord(Record):
    """A file of texts: its name, the hash of its bytes, and its rows."""

    name: str
    sha256: str
    rows: int


class Changes(Record):
    """What trimming does to texts: how many there are, the share that is split otherwise, and their tokens.

    `tokens` are those of before, `changed_tokens` the share that is gone, `tokens_after` how many there are now;
    `unknown` and `unknown_after` count unknown tokens.
    """

    texts: int
    changed_texts: Share
    tokens: int
    changed_tokens: Share
    tokens_after: int
    unknown: int
    unknown_after: int


class SameLogits(Record):
    """Texts whose tokens all stay, run before and after: `difference` is a logit's largest, 0 where no bit differs.

    `columns`: the model answers with a logit for each token, and those of the tokens that stay were compared.
    """

    texts: int
    tokens: int
    difference: float
    columns: bool


class Trimming(Record):
    """A step: rows of the vocabulary were left out. `keep` or `coverage`, and `characters`, are as they were asked.

    `chosen` tokens were counted, the others of `rows` stay in any case. `held_out` texts were not counted.
    """

    kind: Literal["trim"] = "trim"
    version: str
    source: SourceRecord
    keep: int | None = None
    coverage: float | None = None
    characters: Literal["all", "kept"]
    rows_before: int
    rows: int
    chosen: int
    covered: float
    bytes_before: int
    bytes: int
    data: tuple[TextsRecord, ...]
    counted: Changes
    held_out: Changes | None = None
    logits: SameLogits


class CurvePoint(Record):
    """After so many steps: the mean loss since the point before, and how near held-out answers were (0: the same)."""

    step: int
    loss: float | None = None
    distance: float


class Distilling(Record):
    """A step: a model of some of the layers, numbered from 0, was trained to answer as the whole one does.

    `chosen` says how the layers were found, `untrained` what their loss was before training; `ffn` are the units that
    the feed-forward part of each layer has, where some of the `ffn_before` were left out; `int8` or `int4`: it was
    trained with the rounding of static int8, and weights of 8 or of 4 bits; one of the two at most. `trained` texts
    were learnt from, and `held_out` were not: one half of these chose the best moment of the `curve`; `fidelity` to
    the model before, and the `agreement` with it, are those of the other half, of `judged` texts, with that rounding.
    """

    kind: Literal["distill"] = "distill"
    version: str
    source: SourceRecord
    layers_before: int
    layers: tuple[int, ...]
    chosen: str
    untrained: float | None = None
    ffn_before: int | None = None
    ffn: int | None = None
    epochs: int
    batch_size: int
    learning_rate: float
    temperature: float
    use_labels: bool
    seed: int
    int8: bool = False
    int4: bool = False
    data: tuple[TextsRecord, ...]
    trained: int
    held_out: int
    judged: int
    curve: tuple[CurvePoint, ...]
    fidelity: dict[str, float]
    agreement: Share | None = None
    bytes_before: int
    bytes: int


Step = Annotated[Trimming | Distilling, Field(discriminator="kind")]


class Lineage(Record):
    """`lineage.json`; the last step made this checkpoint."""

    octavo_lineage: Literal[1] = 1
    steps: tuple[Step, ...]
    files: dict[FileName, FileRecord]
