"""Files of choices -> examples: a text, the texts to choose from, as many as a row has, and which of them is right."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from octavo.data.examples import DataFile, Example, sample, text_of
from octavo.data.rows import check_roles, column_names, listed, read_rows
from octavo.errors import DataError, did_you_mean

TEXT = ("text", "prompt", "sent1", "premise", "question", "ctx")
PASSAGE = ("article", "passage", "context")  # what a question is about, where a file has both
CHOICES = ("choices", "options", "endings", "candidates", "answers")
NUMBERED = re.compile(r"(choice|ending|option|answer|alternative)_?\d+", re.IGNORECASE)
LABEL = ("label", "answer", "answerKey", "gold_label", "correct")
ROLES = ("text", "choices", "label")


def read_choices(file: DataFile) -> tuple[Example, ...]:
    """The examples of a file of choices, sampled by the limit and seed of `file`.

    Choices are a list, or columns `choice1`, `choice2`, ... (`ending0`, ... as SWAG writes them, each behind `sent2`),
    of which a row may leave the last ones empty. The right one is named by its position from 0, by a letter, by its
    text, or by its name where choices have names (`{"text": [...], "label": [...]}`, as in ARC); where no row names
    one, choices are not scored. A passage that a question is about goes before it.

    Raises:
        DataError: the file cannot be read, has no such column, a row has fewer than two choices, or none of them, or
            more than one, is the right one.
    """
    path, named = Path(file.path), dict(file.columns or {})
    rows = read_rows(path, file.encoding, named)
    columns = choice_columns(column_names(rows), named, path)
    examples = []
    for place, row in rows:
        prompt, choices, own = choices_of(row, columns, place)
        examples.append(Example(prompt, label=_right(row.get(columns.label), choices, own, place), choices=choices))
    return sample(examples, file.limit, file.seed)


@dataclass(frozen=True)
class ChoiceColumns:
    """Where a row has what: `texts` are read one behind the other; choices are in one column, or each in its own."""

    texts: tuple[str, ...]
    choices: str | None
    numbered: tuple[str, ...]
    label: str

    @property
    def read(self) -> set[str]:
        """The columns that the model reads."""
        return {*self.texts, *((self.choices,) if self.choices else self.numbered)}


def choice_columns(names: list[str], named: Mapping[str, str], path: object) -> ChoiceColumns:
    """The columns of a file; see `read_choices`.

    Raises:
        DataError: it has no text, or no choices, or not what was named.
    """
    check_roles(named, ROLES)
    for role, name in named.items():
        if name not in names:
            raise DataError(f"no such column for {role}", where=path, got=name, allowed=did_you_mean(name, names))
    passage = None if "text" in named else _column(names, None, PASSAGE)
    text = _column(names, named.get("text"), TEXT)
    text, passage = (text or passage, passage if text == "question" else None)
    list_column = _column(names, named.get("choices"), CHOICES)
    columns = [name for name in names if NUMBERED.fullmatch(name)]
    label = _column([name for name in names if name not in columns], named.get("label"), LABEL)
    if text is None or (list_column is None and len(columns) < 2):
        allowed = f"{', '.join(TEXT)}, and {', '.join(CHOICES)}, or choice1, choice2, ..."
        raise DataError(
            "no text and choices", where=path, got=listed(names), allowed=allowed, then="--columns text=NAME"
        )
    texts = (passage, text) if passage else (text,)
    return ChoiceColumns(texts, list_column, tuple(columns), label or "")


def choices_of(row: Mapping[str, Any], columns: ChoiceColumns, place: str) -> tuple[str, tuple[str, ...], list[Any]]:
    """A row's text, its choices, and the names of these in the file.

    Raises:
        DataError: there are fewer than two choices, or something is no text.
    """
    stored = row.get(columns.choices) if columns.choices else _filled([row.get(name) for name in columns.numbered])
    *passage, text = columns.texts
    read = [*(name for name in passage if row.get(name)), text]
    begin = text_of(row, "sent2", place) + " " if row.get("sent2") else ""  # SWAG's choices go on from it
    choices, choice_names = _choices(stored, place)
    prompt = " ".join(text_of(row, name, place) for name in read)
    return prompt, tuple(begin + choice for choice in choices), choice_names


def _column(names: list[str], named: str | None, known: tuple[str, ...]) -> str | None:
    wanted = (named,) if named else known
    return next((name for name in wanted if name in names), None)


def _filled(values: list[Any]) -> list[Any]:
    """The values up to the last that is not empty; those between keep their places, since labels are positions."""
    last = max((index for index, value in enumerate(values) if value not in (None, "")), default=-1)
    return values[: last + 1]


def _choices(stored: Any, place: str) -> tuple[tuple[str, ...], list[Any]]:
    """The texts of the choices, and their names in the file; no names where they have none."""
    names: Any = None
    if isinstance(stored, dict):  # {"text": [...], "label": [...]}, as ARC and CommonsenseQA write them
        stored, names = stored.get("text"), stored.get("label")
    if not isinstance(stored, list) or len(stored) < 2 or not all(isinstance(choice, str) for choice in stored):
        raise DataError(
            "a row needs two choices or more", where=place, got=f"{stored!r:.80}", allowed="a list of texts"
        )
    choices = tuple(text_of({"a choice": choice}, "a choice", place) for choice in stored)
    return choices, names if isinstance(names, list) and len(names) == len(choices) else []


def _right(value: Any, choices: tuple[str, ...], names: list[Any], place: str) -> int | None:
    """The position of the right choice; None where the row does not name one. Names go before positions."""
    if value is None or value == "":
        return None
    count, meant = len(choices), set[int]()
    named = {index for index, name in enumerate(names) if type(name) is type(value) and name == value}
    if named:
        meant = named
    elif isinstance(value, int) and not isinstance(value, bool):  # of JSON: no text of a choice
        meant = {value} & set(range(count))
    elif isinstance(value, str):
        letters = [chr(ord("A") + index) for index in range(count)]
        spellings = ([str(index) for index in range(count)], letters, choices)
        meant = {index for spelling in spellings for index, name in enumerate(spelling) if name == value}
    if len(meant) != 1:
        allowed = f"0 to {count - 1}, A to {chr(ord('A') + count - 1)}, or the text of a choice"
        got = f"{value!r:.60}" + (f", which is choice {' and '.join(map(str, sorted(meant)))}" if meant else "")
        what = "more than one of the choices is meant" if meant else "none of the choices is the right one"
        raise DataError(what, where=place, got=got, allowed=allowed)
    return meant.pop()
