"""Columns of labels -> the model's ids: one label a row, or several. Names go before ids."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from octavo.data.json_text import parse_json
from octavo.data.rows import Rows, listed, shortened, value_of
from octavo.errors import DataError

ENOUGH_ROWS = 50  # rows in which every class of a file is likely to occur
NO_GOLD = ("", "-")  # SNLI and its translations write "-" where the annotators did not agree
MARKS = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}


def label_columns(names: Sequence[str], labels: Sequence[str], named: Mapping[str, str], path: Path) -> tuple[str, ...]:
    """The columns of a file that has one for each label, in the order of the labels; none where it has a list of them.

    Raises:
        DataError: some of the labels have a column, and others have none.
    """
    present = tuple(label for label in labels if label in names)
    if "label" in named or not present or len(labels) < 2:
        return ()
    if len(present) < len(labels):
        missing = [label for label in labels if label not in present]
        if set(names) & {"label", "labels"}:
            return ()
        raise DataError(
            "some labels have a column, others none", where=path, got=listed(present), allowed=listed(missing)
        )
    return present


def label_sets(rows: Rows, column: str | Sequence[str], labels: Sequence[str]) -> list[tuple[int, ...] | None]:
    """The ids of each row's labels, in their order; None where the row tells none (null, or "-").

    `column` holds a list, of JSON or as `a|b`, which may be empty; or there is a column of 0 and 1 for each label.

    Raises:
        DataError: a label that the model does not have, or a value that is none.
    """
    if not isinstance(column, str):
        cells = [[_mark(row, name, place) for name in column] for place, row in rows]
        return [tuple(index for index, mark in enumerate(marks) if mark) for marks in cells]
    parts: Rows = []
    counts = []
    for place, row in rows:
        items = _items(value_of(row, column, place))
        parts += [(place, {column: item}) for item in items or ()]
        counts.append(None if items is None else len(items))
    ids, start, sets = label_ids(parts, column, labels), 0, list[tuple[int, ...] | None]()
    for (place, row), count in zip(rows, counts, strict=True):
        own = ids[start : start + (count or 0)]
        start += count or 0
        if None in own:
            raise DataError("a list of labels has an empty one", where=place, got=f"{row[column]!r:.60}")
        sets.append(None if count is None else tuple(sorted({index for index in own if index is not None})))
    return sets


def _items(value: Any) -> list[Any] | None:
    if value is None or value == "-":
        return None
    if isinstance(value, str):
        if value.lstrip().startswith("["):
            try:
                value = parse_json(value)
            except ValueError:
                return [value]
        else:
            value = [part.strip() for part in value.split("|")] if value.strip() else []
    return value if isinstance(value, list) else [value]


def _mark(row: Mapping[str, Any], column: str, place: str) -> bool:
    value = value_of(row, column, place)
    mark = MARKS.get(str(value).strip().lower())
    if mark is None:
        raise DataError(
            f"{column!r} does not say whether the row has this label",
            where=place,
            got=f"{value!r:.40}",
            allowed="0 or 1",
        )
    return mark


def label_ids(rows: Rows, column: str, labels: Sequence[str]) -> list[int | None]:
    """The id of each row's label, None where it has none. Names go before ids, exact names before folded ones."""
    if len(set(labels)) < len(labels):
        raise DataError("two of the model's labels have one name", got=", ".join(labels), then="--labels")
    exact = {label: index for index, label in enumerate(labels)}
    folds = [label.strip().casefold() for label in labels]
    folded = {str(index): index for index in range(len(labels))}
    folded |= {fold: index for index, fold in enumerate(folds) if folds.count(fold) == 1}
    ids: list[int | None] = []
    for place, row in rows:
        value = value_of(row, column, place)
        if value is not None and (isinstance(value, bool) or not isinstance(value, str | int)):
            got = f"{json.dumps(value):.40} ({type(value).__name__})"
            raise DataError(f"{column!r} is neither a name nor an id", where=place, got=got)
        name = "" if value is None else str(value)
        known = exact.get(name, folded.get(name.strip().casefold()))
        if known is None and name.strip() not in NO_GOLD:
            stored = sorted({str(row[column]) for _, row in rows if row.get(column) is not None})
            raise _unknown_label(name, place, stored, labels)
        ids.append(known)
    return ids


def require_same_classes(stored: Sequence[Any], labels: Sequence[str], path: Path) -> None:
    """See that a file which names its classes by ids alone has as many of them as the model.

    Ids from 0 to less than the model's last one are more likely those of other classes than a sample without some.

    Raises:
        DataError: it has fewer, in `ENOUGH_ROWS` rows or more.
    """
    classes = {str(value).strip() for value in stored} - {*NO_GOLD, "None", *labels}
    ids = [str(index) for index in range(len(classes))]
    if len(stored) >= ENOUGH_ROWS and 2 <= len(classes) < len(labels) and classes == set(ids):
        then = "if they are ids of the model's labels, say so with --labels (labels=): its names, in id order"
        got, allowed = f"{', '.join(ids)} in the file", f"{', '.join(labels)} of the model"
        raise DataError("the labels are hardly those of this model", where=path, got=got, allowed=allowed, then=then)


def _unknown_label(name: str, place: str, stored: Iterable[str], labels: Sequence[str]) -> DataError:
    """The error about a label that the model does not have; it lists the file's labels and the model's."""
    stored = list(stored)
    classes = sum(label.strip() not in NO_GOLD for label in stored)
    then = "give the model's labels in id order, by the names of the file, with --labels"
    if classes > len(labels):  # no names fit
        then = f"take data of the model's {len(labels)} classes: the file has {classes}"
    if all(re.fullmatch(r"LABEL_\d+", label) for label in labels):
        then = "give the names in id order, such as --labels entailment,contradiction,neutral"
    return DataError(
        f"the model has no label {shortened(name)!r}",
        where=place,
        got=f"{listed(stored)} in the file",
        allowed=f"{', '.join(labels)} (or ids from 0 to {len(labels) - 1})",
        then=then,
    )
