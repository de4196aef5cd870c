"""Files -> examples: rows of the user's data, one text or a pair, with a label or a similarity where a task has them.

It finds columns by their names and maps labels to the model's ids by theirs. It knows nothing of tokenizers or models.
"""

import hashlib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from octavo.data.labels import label_columns, label_ids, label_sets, require_same_classes
from octavo.data.rows import (
    NO_HEADER,
    check_length,
    check_roles,
    column_names,
    listed,
    longest_line,
    read_rows,
    read_text,
    shortened,
    value_of,
)
from octavo.errors import DataError, OctavoWarning, did_you_mean

T = TypeVar("T")
ROLES = ("text", "text_pair", "label", "score")
# Columns are looked for in the order of these lists. Two columns of one family go before any single text column.
PAIRS = (
    ("text", "text_pair"),
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("query", "passage"),
    ("query", "document"),
)
TEXT = ("text", "sentence1", "premise", "sentence", "document", "review", "question", "content", "comment")
TARGETS = ("target", "translation", "summary", "output", "text_pair")
TEXT_PAIR = ("text_pair", "sentence2", "hypothesis")
LABEL = ("gold_label", "label", "labels", "class", "target")
SCORE = ("score", "similarity_score", "similarity", "labels", "label")
SCORE_KEYS = ("real-label", "score", "label")  # of KLUE-STS, which has an object of several scores for a label


@dataclass(frozen=True)
class Example:
    """One row. `label` is an id in the model's labels, `score` a number (how similar a pair is); None: not read.

    `labels` are the ids of all labels that a row has, where it may have several; `relevance`, of a query, the positions
    of its relevant passages in `choices` (-1: not among them), each with its grade.
    `words` are the characters (start, end) of the words of a text whose words are tagged, `tags` their tags; `answers`
    the texts that answer a question (`text`) from its context (`text_pair`), empty where nothing does; `choices` the
    texts of which `label` is the right one.
    """

    text: str
    text_pair: str | None = None
    label: int | None = None
    score: float | None = None
    words: tuple[tuple[int, int], ...] = ()
    tags: tuple[str, ...] | None = None
    answers: tuple[str, ...] | None = None
    choices: tuple[str, ...] = ()
    labels: tuple[int, ...] | None = None
    relevance: tuple[tuple[int, float], ...] | None = None


@dataclass(frozen=True)
class DataFile:
    """Examples, and how they are read.

    `encoding` and `columns` as in `read_examples`; `limit` takes a sample of that many rows, seeded by `seed`;
    `max_length` cuts inputs at fewer tokens than the model allows; `labels_told`: the model's labels were named for
    this file, which may have ids of some of them only.
    """

    path: str | Path
    encoding: str = "utf-8"
    columns: Mapping[str, str] | None = None
    limit: int | None = None
    max_length: int | None = None
    seed: int = 0
    labels_told: bool = False

    def read(self, labels: Sequence[str] = (), *, scored: bool = False, several: bool = False) -> tuple[Example, ...]:
        """The examples, sampled; see `read_examples`."""
        settings: dict[str, Any] = {"encoding": self.encoding, "columns": self.columns, "scored": scored}
        settings["several"] = several
        examples = read_examples(Path(self.path), labels=labels, labels_told=self.labels_told, **settings)
        return sample(examples, self.limit, self.seed)


def example_hashes(examples: Sequence[Example]) -> tuple[str, ...]:
    """The first 64 bits of the SHA-256 of each example's texts, in hexadecimal: enough to recognize a row."""
    alone = [() if example.relevance is not None else example.choices for example in examples]  # and not the corpus
    texts = [
        "\0".join([example.text, example.text_pair or "", *more]) for example, more in zip(examples, alone, strict=True)
    ]
    return tuple(hashlib.sha256(text.encode()).hexdigest()[:16] for text in texts)


def target_columns(path: Path, encoding: str) -> dict[str, str] | None:
    """The columns of texts and of the texts to be made of them; None where the file has no such pair of columns."""
    names = column_names(read_rows(path, encoding, {}))
    source = next((name for name in (*TEXT, "source") if name in names), None)
    target = next((name for name in TARGETS if name in names), None)
    return {"text": source, "text_pair": target} if source and target else None


def read_examples(  # noqa: PLR0913 - each is one thing to say
    path: Path,
    *,
    labels: Sequence[str] = (),
    encoding: str = "utf-8",
    columns: Mapping[str, str] | None = None,
    require_labels: bool = False,
    scored: bool = False,
    several: bool = False,
    labels_told: bool = True,
) -> tuple[Example, ...]:
    """Read a file of one or two texts a row.

    Args:
        path: A file with one of `EXTENSIONS`.
        labels: The model's labels in id order. Without them no label is read.
        encoding: The file's encoding. A byte-order mark goes before it.
        columns: `text`, `text_pair` or `label` -> the file's column; 1-based positions for a table without a header.
            Where `text` is named, only a `text_pair` that is named too is read.
        require_labels: Whether a file without a label column is an error.
        scored: Whether to read a number, such as how similar pairs are, where the file has a column of it.
        several: Whether a row may have several labels; see `labels.label_sets`.
        labels_told: Whether the labels were named for this file; a `DataFile` without refuses a file of 50 rows or
            more whose labels are the ids of the first few only.

    Raises:
        DataError: the file cannot be read, has no rows, or a row, column or label does not fit.

    Rows whose label is empty or "-" are left out, with an `OctavoWarning` that counts them.
    """
    named = dict(columns or {})
    check_roles(named, ROLES)
    rows = read_rows(path, encoding, named)
    names = column_names(rows)
    own = label_columns(names, labels, named, path) if several else ()
    chosen = _choose([name for name in names if name not in own], named, path, scored=scored)
    if require_labels and "label" not in chosen:
        known = ", ".join(LABEL)
        raise DataError("no label column", where=path, got=listed(names), allowed=known, then="--columns label=NAME")
    labelled: list[tuple[str, dict[str, Any], int | None]] = [(place, row, None) for place, row in rows]
    sets: dict[str, tuple[int, ...]] = {}
    if several and labels and (own or "label" in chosen):
        id_sets = label_sets(rows, own or chosen["label"], labels)
        sets = {place: ids for (place, _), ids in zip(rows, id_sets, strict=True) if ids is not None}
        labelled = [row for row in labelled if row[0] in sets]
    elif labels and "label" in chosen:
        ids = label_ids(rows, chosen["label"], labels)
        if not labels_told:
            require_same_classes([row.get(chosen["label"]) for _, row in rows], labels, path)
        labelled = [(place, row, label) for (place, row), label in zip(rows, ids, strict=True) if label is not None]
    if not labelled:
        raise DataError("no row has a label", where=path, got=f"{len(rows)} rows without one")
    if len(labelled) < len(rows):
        left_out = f"{len(rows) - len(labelled)} of {len(rows)} rows"
        warnings.warn(f"{left_out} of {path} are left out: they have no label, or '-'", OctavoWarning, stacklevel=2)
    return tuple(
        Example(
            text=text_of(row, chosen["text"], place),
            text_pair=text_of(row, chosen["text_pair"], place) if "text_pair" in chosen else None,
            label=label,
            score=_score(row, chosen["score"], place) if "score" in chosen else None,
            labels=sets.get(place),
        )
        for place, row, label in labelled
    )


def sample(examples: Sequence[T], limit: int | None, seed: int = 0) -> tuple[T, ...]:
    """At most `limit` of the examples, drawn without replacement and left in their order; all for None.

    Raises:
        DataError: a limit below 1.
    """
    if limit is not None and limit < 1:
        raise DataError("a sample needs at least one example", got=limit)
    if limit is None or limit >= len(examples):
        return tuple(examples)
    drawn = np.random.default_rng(seed).choice(len(examples), size=limit, replace=False)
    return tuple(examples[index] for index in sorted(drawn))


def _choose(names: Sequence[str], named: Mapping[str, str], path: Path, *, scored: bool) -> dict[str, str]:
    """Role -> column: those that are named, then the known names that the file has."""
    chosen: dict[str, str | None] = {role: _first(names, [name]) for role, name in named.items()}
    for role, column in chosen.items():
        if column is None:
            known = did_you_mean(named[role], [shortened(name) for name in names])
            raise DataError(f"no such column for {role}", where=path, got=named[role], allowed=known)
    free = [name for name in names if name not in chosen.values()]
    if "text" not in chosen:
        text, text_pair = find_texts(free)
        chosen = {"text": text, "text_pair": text_pair} | chosen
    chosen = ({"score": _first(free, SCORE)} if scored else {"label": _first(free, LABEL)}) | chosen
    if chosen["text"] is None:
        raise DataError(
            "no text column",
            where=path,
            got=listed(names),
            allowed=", ".join(TEXT),
            then=f"name the columns, such as --columns text=document,label=label; {NO_HEADER}",
        )
    return {role: column for role, column in chosen.items() if column is not None}


def find_texts(names: Sequence[str]) -> tuple[str | None, str | None]:
    """The columns of the first and the second text among these; None for what there is not."""
    pairs = [(_first(names, [first]), _first(names, [second])) for first, second in PAIRS]
    return next((pair for pair in pairs if all(pair)), (_first(names, TEXT), _first(names, TEXT_PAIR)))


def has_texts(path: Path, encoding: str) -> bool:
    """Whether the first line of a table is names of columns, one of which is of texts."""
    names = read_text(path, encoding).partition("\n")[0].strip("\r").split("\t")
    return len(names) > 1 and find_texts([name.strip() for name in names])[0] is not None


def text_columns(names: Sequence[str], named: Mapping[str, str], place: str) -> dict[str, str]:
    """`text` and `text_pair` -> column of a row to be predicted, as far as it has them; `named` go before known ones.

    Raises:
        DataError: a column that was named is not there.
    """
    check_roles(named, ROLES)
    roles = ("text", "text_pair")
    free = [name for name in names if name != named.get("text_pair")]
    known = {} if "text" in named else dict(zip(roles, find_texts(free), strict=True))
    if not named and "text" in names:  # a row as a call takes it: whatever else it has is the user's
        known = {role: role for role in roles if role in names}
    columns = known | {role: named[role] for role in roles if role in named}
    for role, column in columns.items():
        if column is not None and column not in names:
            raise DataError(f"no such column for {role}", where=place, got=column, allowed=did_you_mean(column, names))
    return {role: column for role, column in columns.items() if column is not None}


def _first(names: Sequence[str], candidates: Iterable[str]) -> str | None:
    """The first candidate that the file has, in this case or another."""
    for candidate in candidates:
        if candidate in names:
            return candidate
        for name in names:
            if name.casefold() == candidate.casefold():
                return name
    return None


def text_of(row: Mapping[str, Any], column: str, place: str) -> str:
    """The row's text, which may be empty."""
    text = value_of(row, column, place)
    if isinstance(text, str):
        check_length(text, longest_line(), place)
    else:
        raise DataError(f"{column!r} is not text", where=place, got="null" if text is None else type(text).__name__)
    try:
        text.encode()
    except UnicodeEncodeError:  # JSON can write one as an escape; no tokenizer takes it
        raise DataError(f"{column!r} has half of a surrogate pair", where=place) from None
    return text


def _score(row: Mapping[str, Any], column: str, place: str) -> float:
    """The row's score: a number, or text of one; in an object of several the one that is a real number."""
    value = value_of(row, column, place)
    if isinstance(value, dict):
        value = next((value[key] for key in SCORE_KEYS if key in value), None)
    try:
        score = float("nan" if value is None or isinstance(value, bool) else value)
    except (TypeError, ValueError, OverflowError):
        score = float("nan")
    if not np.isfinite(score):
        raise DataError(f"{column!r} is not a number", where=place, got=f"{value!r:.40}")
    return score
