"""`lineage.json` of a checkpoint that Octavo wrote: what it was made from, step by step, and its files."""

from typing import Literal

from octavo.schema import Record
from octavo.schema.manifest import FileName, FileRecord, SourceRecord

LINEAGE = "lineage.json"


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


class Lineage(Record):
    """`lineage.json`; the last step made this checkpoint."""

    octavo_lineage: Literal[1] = 1
    steps: tuple[Trimming, ...]
    files: dict[FileName, FileRecord]
