"""Files -> examples: rows of the user's data, as text classification of one sentence or a pair reads them.

It knows TSV (no quoting at all), CSV, JSON lines and JSON (a list of objects, or an object with a `data` list), and it
maps labels to the model's ids by name. It knows nothing of tokenizers, models or scores.
"""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import json
import re
import shlex
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.errors import DataError, OctavoWarning, did_you_mean

EXTENSIONS = (".tsv", ".csv", ".jsonl", ".ndjson", ".json")
ROLES = ("text", "text_pair", "label")

# Column names are found in the order of these lists. Two columns of one family go before any single text column.
PAIRS = (
    ("text", "text_pair"),
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
)
TEXT = ("text", "sentence1", "premise", "sentence", "document", "review", "question", "content", "comment")
TEXT_PAIR = ("text_pair", "sentence2", "hypothesis")
LABEL = ("gold_label", "label", "labels", "class", "target")

NO_GOLD = ("", "-")  # SNLI and its translations write "-" where the annotators did not agree

# A byte-order mark says more about a file than its reader can know, so it goes before the encoding that was asked for.
BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}

MOST_LABELS = 6  # 720 permutations
FEWEST_ROWS = 50
CLEAR = 4.0  # standard errors: the best of 720 permutations is hardly ever that much better by luck

_NO_HEADER = "where the file has no header, give positions, such as --columns text=1,label=2"

_Fields = list[tuple[int, list[str]]]  # (line number, the fields of that line)
_Rows = list[tuple[str, dict[str, Any]]]  # (the row's place in words, column -> value)


@dataclass(frozen=True)
class Example:
    """One row. `label` is an id in the model's labels, and None where no label was read."""

    text: str
    text_pair: str | None = None
    label: int | None = None


def read_examples(
    path: Path,
    *,
    labels: Sequence[str] = (),
    encoding: str = "utf-8",
    columns: Mapping[str, str] | None = None,
    require_labels: bool = False,
) -> tuple[Example, ...]:
    """Read a file of one or two texts a row.

    Args:
        path: A file with one of `EXTENSIONS`.
        labels: The model's labels in id order. Without them no label is read.
        encoding: The file's encoding. A byte-order mark goes before it.
        columns: `text`, `text_pair` or `label` -> the file's column; 1-based positions for a table without a header.
            Where `text` is named, only a `text_pair` that is named too is read.
        require_labels: Whether a file without a label column is an error.

    Raises:
        DataError: the file cannot be read, has no rows, or a row, column or label does not fit.

    Rows whose label is empty or "-" are left out, with an `OctavoWarning` that counts them.
    """
    named = dict(columns or {})
    for role in named:
        if role not in ROLES:
            raise DataError("columns are given for an unknown role", got=role, allowed=did_you_mean(role, ROLES))
    rows = _rows(path, encoding, named)
    names = list(dict.fromkeys(name for _, row in rows for name in row))
    chosen = _choose(names, named, path)
    if require_labels and "label" not in chosen:
        known = ", ".join(LABEL)
        raise DataError("no label column", where=path, got=_listed(names), allowed=known, then="--columns label=NAME")
    labelled: list[tuple[str, dict[str, Any], int | None]] = [(place, row, None) for place, row in rows]
    if labels and "label" in chosen:
        ids = _label_ids(rows, chosen["label"], labels)
        labelled = [(place, row, label) for (place, row), label in zip(rows, ids, strict=True) if label is not None]
    if not labelled:
        raise DataError("no row has a label", where=path, got=f"{len(rows)} rows without one")
    if len(labelled) < len(rows):
        left_out = f"{len(rows) - len(labelled)} of {len(rows)} rows"
        warnings.warn(f"{left_out} of {path} are left out: they have no label, or '-'", OctavoWarning, stacklevel=2)
    return tuple(
        Example(
            text=_text(row, chosen["text"], place),
            text_pair=_text(row, chosen["text_pair"], place) if "text_pair" in chosen else None,
            label=label,
        )
        for place, row, label in labelled
    )


def sample(examples: Sequence[Example], limit: int | None, seed: int = 0) -> tuple[Example, ...]:
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


def better_assignment(
    predicted: NDArray[np.integer[Any]], gold: NDArray[np.integer[Any]], labels: Sequence[str]
) -> str | None:
    """A warning where the model's labels, put in another order, would score far better; else None.

    Args:
        predicted: [rows] ids that the model predicted.
        gold: [rows] ids of the file's labels, mapped by the names in `labels`.
        labels: The model's labels in id order, as they were given. More than `MOST_LABELS` are not looked at.

    Far better is: by more than 0.10 of accuracy and 4 standard errors of the paired difference.
    """
    count = len(labels)
    if not 2 <= count <= MOST_LABELS or len(gold) < FEWEST_ROWS:
        return None
    confusion = np.zeros((count, count), dtype=np.int64)  # [gold, predicted]
    np.add.at(confusion, (gold, predicted), 1)
    # order[i] is the label that id i really means. The order as given comes first, and wins a tie.
    orders = (np.array(order) for order in itertools.permutations(range(count)))
    best = max(orders, key=lambda order: confusion[order, np.arange(count)].sum())
    right = (best[predicted] == gold).astype(float)
    right_as_given = (predicted == gold).astype(float)
    # What an answer would score if it had nothing to do with its row: a model that always gives one answer gains much
    # by the name of the most frequent label, and is broken, not permuted.
    by_chance = (np.bincount(gold, minlength=count) / len(gold))[best[predicted]]
    if np.mean(right - right_as_given) <= 0.10 or not (_clear(right - right_as_given) and _clear(right - by_chance)):
        return None
    names = [labels[index] for index in best]
    given, ids = ",".join(names), ",".join(str(index) for index in best)
    return (
        f"the labels look permuted: accuracy is {right_as_given.mean():.4f} as given and {right.mean():.4f} if the "
        f"model's labels were {', '.join(names)}; next: give the right order with --labels {shlex.quote(given)}"
        # Names do not move the labels of such a file, but an id that is a label's very name is read as that name.
        + (f" (where the file has ids for labels: --labels {ids})" if ids != given else "")
    )


def _clear(gains: NDArray[np.float64]) -> bool:
    """Whether the mean of the gains [rows] is more than `CLEAR` standard errors above zero."""
    return bool(gains.mean() > CLEAR * gains.std() / np.sqrt(len(gains)))


def _rows(path: Path, encoding: str, named: Mapping[str, str]) -> _Rows:
    """The rows of a file of any format, one at least."""
    text = _decoded(path, encoding)
    if not text.strip():
        raise DataError("the file is empty", where=path)
    suffix = path.suffix.lower()
    if suffix in (".tsv", ".csv"):
        rows = _table(_tsv_fields(text) if suffix == ".tsv" else _csv_fields(text, path), path, named)
    else:
        rows = _objects(_json_values(text, path) if suffix == ".json" else _json_lines(text, path))
    if not rows:
        raise DataError("no rows", where=path)
    return rows


def _decoded(path: Path, encoding: str) -> str:
    """The file's text, without a byte-order mark and with its line ends as they are."""
    try:
        if path.is_dir():
            raise DataError("a data file is expected, and this is a folder", got=path)
        if path.suffix.lower() not in EXTENSIONS:
            raise DataError("unknown kind of data file", got=path, allowed=", ".join(EXTENSIONS))
        raw = path.read_bytes()
    except FileNotFoundError:
        raise DataError("no such data file", got=path) from None
    except OSError as error:
        raise DataError("the data file cannot be read", got=error) from None
    encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if raw.startswith(mark)), encoding)
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        # Line ends are counted in the text before the bad byte: in UTF-16, 0x0A may be half of a letter.
        line = 1 + error.object[: error.start].decode(error.encoding, errors="replace").count("\n")
        place, got = f"{path}, line {line}", f"byte 0x{error.object[error.start]:02x}"
        other = "utf-8" if codecs.lookup(encoding).name == "cp949" else "cp949"
        raise DataError(f"the file is not {encoding}", where=place, got=got, then=f"--encoding {other}") from None
    except (LookupError, ValueError):  # ValueError: codecs that are there but are not for files, such as "undefined"
        raise DataError("unknown text encoding", got=encoding, allowed="utf-8, cp949, utf-16, ...") from None


def _tsv_fields(text: str) -> _Fields:
    """Lines split at tabs. Neither `csv` nor `splitlines`: quotes, a lone carriage return and U+2028 are text here."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return [(number, line.split("\t") if line else []) for number, line in enumerate(lines, start=1)]


def _csv_fields(text: str, path: Path) -> _Fields:
    """Rows as `csv` reads them, each with the number of its first line."""
    fields: _Fields = []
    start = 1
    # Strict, since the lenient reader swallows rows behind a stray quote without a word.
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    # The usual limit of 131,072 characters refuses long documents; a field cannot be longer than the text.
    usual_limit = csv.field_size_limit(len(text))
    try:
        for row in reader:
            fields.append((start, row))
            start = reader.line_num + 1
    except csv.Error as error:
        then = 'write a quote inside quotes as "", or save the file as .tsv, which has no quoting'
        raise DataError("the quoting is broken", where=f"{path}, line {start}", got=error, then=then) from None
    finally:
        csv.field_size_limit(usual_limit)
    return fields


def _table(fields: _Fields, path: Path, named: Mapping[str, str]) -> _Rows:
    """Rows under the names of the first one, or under "1", "2", ... where `named` gives positions."""
    last = max((index for index, (_, values) in enumerate(fields) if values), default=0)
    fields = [(line, values or [""]) for line, values in fields[: last + 1]]  # a blank line between others is a row
    header = [name.strip() for name in fields[0][1]]
    wanted = set(named.values())
    if wanted and all(name.isdecimal() for name in wanted) and not wanted <= set(header):
        header = [str(position) for position in range(1, len(header) + 1)]
    else:
        fields = fields[1:]
    twice = [name for name in dict.fromkeys(header) if name and header.count(name) > 1]
    if twice:
        raise DataError("two columns have one name", where=path, got=_listed(twice), then=_NO_HEADER)
    expected = f"{len(header)}, as in the first line"
    for line, values in fields:
        if len(values) != len(header):
            raise DataError("wrong number of columns", where=f"{path}, line {line}", got=len(values), allowed=expected)
    return [(f"{path}, line {line}", dict(zip(header, values, strict=True))) for line, values in fields]


def _json_lines(text: str, path: Path) -> list[tuple[str, Any]]:
    """The value of each line that is not blank, with its place."""
    then = "write one JSON object a line; a list of objects is a .json"
    lines = [(f"{path}, line {number}", line) for number, line in enumerate(text.split("\n"), start=1)]
    return [(place, _parsed(line, place, then)) for place, line in lines if line.strip()]


def _json_values(text: str, path: Path) -> list[tuple[str, Any]]:
    """The values of the list that the file is, or that it has under `data`, with their places."""
    whole = _parsed(text, path, "one object a line is a .jsonl")
    values = whole.get("data") if isinstance(whole, dict) else whole
    if not isinstance(values, list):
        got = f"an object with {_listed(whole)}" if isinstance(whole, dict) else type(whole).__name__
        raise DataError("no rows", where=path, got=got, allowed="a list of objects, or an object with a data list")
    return [(f"{path}, row {number}", value) for number, value in enumerate(values, start=1)]


def _parsed(text: str, where: object, then: str) -> Any:
    """The text as JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # too many digits or brackets are not a JSONDecodeError
        raise DataError("not JSON", where=where, got=error, then=then) from None


def _objects(values: list[tuple[str, Any]]) -> _Rows:
    """The values, each of which has to be an object."""
    for place, value in values:
        if not isinstance(value, dict):
            raise DataError("a row is not a JSON object", where=place, got=type(value).__name__)
    return values


def _choose(names: Sequence[str], named: Mapping[str, str], path: Path) -> dict[str, str]:
    """Role -> column: those that are named, then the known names that the file has."""
    chosen: dict[str, str | None] = {role: _first(names, [name]) for role, name in named.items()}
    for role, column in chosen.items():
        if column is None:
            known = did_you_mean(named[role], [_shortened(name) for name in names])
            raise DataError(f"no such column for {role}", where=path, got=named[role], allowed=known)
    free = [name for name in names if name not in chosen.values()]
    if "text" not in chosen:
        pairs = [(_first(free, [first]), _first(free, [second])) for first, second in PAIRS]
        best_of_each = (_first(free, TEXT), _first(free, TEXT_PAIR))
        text, text_pair = next((pair for pair in pairs if all(pair)), best_of_each)
        chosen = {"text": text, "text_pair": text_pair} | chosen
    chosen = {"label": _first(free, LABEL)} | chosen
    if chosen["text"] is None:
        raise DataError(
            "no text column",
            where=path,
            got=_listed(names),
            allowed=", ".join(TEXT),
            then=f"name the columns, such as --columns text=document,label=label; {_NO_HEADER}",
        )
    return {role: column for role, column in chosen.items() if column is not None}


def _first(names: Sequence[str], candidates: Iterable[str]) -> str | None:
    """The first candidate that the file has: spelled so, or in other case."""
    for candidate in candidates:
        if candidate in names:
            return candidate
        for name in names:
            if name.casefold() == candidate.casefold():
                return name
    return None


def _value(row: Mapping[str, Any], column: str, place: str) -> Any:
    """The row's value of a column, which in JSON may not be there."""
    if column not in row:
        raise DataError(f"a row has no {column!r}", where=place, got=_listed(row))
    return row[column]


def _text(row: Mapping[str, Any], column: str, place: str) -> str:
    """The row's text, which may be empty."""
    text = _value(row, column, place)
    if not isinstance(text, str):
        raise DataError(f"{column!r} is not text", where=place, got="null" if text is None else type(text).__name__)
    try:
        text.encode()
    except UnicodeEncodeError:  # JSON can write one as an escape; no tokenizer takes it
        raise DataError(f"{column!r} has half of a surrogate pair", where=place) from None
    return text


def _label_ids(rows: _Rows, column: str, labels: Sequence[str]) -> list[int | None]:
    """The id of each row's label, None where it has none. Names go before ids, exact names before folded ones."""
    if len(set(labels)) < len(labels):
        raise DataError("two of the model's labels have one name", got=", ".join(labels), then="--labels")
    exact = {label: index for index, label in enumerate(labels)}
    folds = [label.strip().casefold() for label in labels]
    folded = {str(index): index for index in range(len(labels))}
    folded |= {fold: index for index, fold in enumerate(folds) if folds.count(fold) == 1}
    ids: list[int | None] = []
    for place, row in rows:
        value = _value(row, column, place)
        if value is not None and (isinstance(value, bool) or not isinstance(value, str | int)):
            got = f"{json.dumps(value):.40} ({type(value).__name__})"
            raise DataError(f"{column!r} is neither a name nor an id", where=place, got=got)
        name = "" if value is None else str(value)
        known = exact.get(name, folded.get(name.strip().casefold()))
        if known is None and name.strip() not in NO_GOLD:
            found = sorted({str(row[column]) for _, row in rows if row.get(column) is not None})
            raise _unknown_label(name, place, found, labels)
        ids.append(known)
    return ids


def _unknown_label(name: str, place: str, found: Iterable[str], labels: Sequence[str]) -> DataError:
    """The one error about labels that the model does not have; it lists both sides."""
    then = "give the model's labels in id order, by the names of the file, with --labels"
    if all(re.fullmatch(r"LABEL_\d+", label) for label in labels):
        then = "give the names in id order, such as --labels entailment,contradiction,neutral"
    return DataError(
        f"the model has no label {_shortened(name)!r}",
        where=place,
        got=f"{_listed(found)} in the file",
        allowed=f"{', '.join(labels)} (or ids from 0 to {len(labels) - 1})",
        then=then,
    )


def _listed(names: Iterable[str]) -> str:
    """Up to 12 names, and how many there are beyond."""
    names = [_shortened(name) for name in names]
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if names[12:] else "")


def _shortened(name: str) -> str:
    """A name, or its beginning: the first line of a file without a header can be a paragraph."""
    return name if len(name) <= 40 else f"{name[:37]}..."
