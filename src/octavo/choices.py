"""Files of choices -> examples: a text, the texts to choose from, as many as a row has, and which of them is right."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from octavo.data import DataFile, Example, sample
from octavo.errors import DataError, did_you_mean
from octavo.rows import listed, read_rows

TEXT = ("text", "question", "prompt", "sent1", "premise", "context", "ctx")
CHOICES = ("choices", "options", "endings", "candidates", "answers")
NUMBERED = re.compile(r"(choice|ending|option|answer)_?\d+", re.IGNORECASE)
LABEL = ("label", "answer", "gold_label", "correct")
ROLES = ("text", "choices", "label")


def read_choices(file: DataFile) -> tuple[Example, ...]:
    """The rows of a file, sampled as the file says.

    Choices are a list, or columns `choice1`, `choice2`, ... (`ending0`, ... as SWAG writes them, each behind `sent2`),
    of which a row may leave the last ones empty. The right one is named by its position from 0, by a letter, or by its
    text; where no row has it, choices are not scored.

    Raises:
        DataError: the file cannot be read, a row has fewer than two choices, or none of them is the right one.
    """
    path, named = Path(file.path), dict(file.columns or {})
    for role in named:
        if role not in ROLES:
            raise DataError("columns are given for an unknown role", got=role, allowed=did_you_mean(role, ROLES))
    rows = read_rows(path, file.encoding, named)
    names = list(dict.fromkeys(name for _, row in rows for name in row))
    text = _column(names, named.get("text"), TEXT)
    listed_in = _column(names, named.get("choices"), CHOICES)
    columns = [name for name in names if NUMBERED.fullmatch(name)]
    label = _column([name for name in names if name not in columns], named.get("label"), LABEL)
    if text is None or (listed_in is None and len(columns) < 2):
        allowed = f"{', '.join(TEXT)}, and {', '.join(CHOICES)}, or choice1, choice2, ..."
        raise DataError(
            "no text and choices", where=path, got=listed(names), allowed=allowed, then="--columns text=NAME"
        )
    found = []
    for place, row in rows:
        choices = _choices(row, place, listed_in, columns)
        first = row.get(text)
        if not isinstance(first, str):
            raise DataError(f"{text!r} is not text", where=place, got=f"{first!r:.40}")
        found.append(Example(first, label=_right(row.get(label or ""), choices, place), choices=choices))
    return sample(found, file.limit, file.seed)


def _column(names: list[str], named: str | None, known: tuple[str, ...]) -> str | None:
    wanted = (named,) if named else known
    return next((name for name in wanted if name in names), None)


def _choices(row: Mapping[str, Any], place: str, listed_in: str | None, columns: list[str]) -> tuple[str, ...]:
    before = f"{row['sent2']} " if isinstance(row.get("sent2"), str) and row["sent2"] else ""
    stored = row.get(listed_in) if listed_in else [row[name] for name in columns if row.get(name) not in {None, ""}]
    if isinstance(stored, dict):  # {"text": [...], "label": [...]}, as ARC and CommonsenseQA write them
        stored = stored.get("text")
    if not isinstance(stored, list) or len(stored) < 2 or not all(isinstance(one, str) for one in stored):
        raise DataError(
            "a row needs two choices or more", where=place, got=f"{stored!r:.80}", allowed="a list of texts"
        )
    return tuple(before + one for one in stored)


def _right(value: Any, choices: tuple[str, ...], place: str) -> int | None:
    """The position of the right choice; None where the row does not tell."""
    if value is None or value == "":
        return None
    names = {str(index): index for index in range(len(choices))}
    names |= {chr(ord("A") + index): index for index in range(len(choices))}
    names |= {choice: index for index, choice in enumerate(choices)}
    found = None if isinstance(value, bool) else names.get(str(value))
    if found is None:
        allowed = f"0 to {len(choices) - 1}, A to {chr(ord('A') + len(choices) - 1)}, or the text of a choice"
        raise DataError("none of the choices is the right one", where=place, got=f"{value!r:.60}", allowed=allowed)
    return found
