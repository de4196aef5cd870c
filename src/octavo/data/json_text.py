"""JSON that others wrote, within limits: a value, or a ValueError that says what is wrong with the text."""

import json
from pathlib import Path
from typing import Any

DEEPEST = 100  # brackets within brackets; no file of a model or of examples has a tenth of it


def parse_json(text: str) -> Any:
    """The value of a text.

    Raises:
        ValueError: it is no JSON, has a number of too many digits, or is nested too deep for what reads it next.
    """
    deep = ValueError(f"brackets within brackets, more than {DEEPEST} deep")
    try:
        value = json.loads(text)
    except RecursionError:
        raise deep from None
    level = [value]
    for _ in range(DEEPEST + 1):
        lists = [
            outer.values() if isinstance(outer, dict) else outer for outer in level if isinstance(outer, dict | list)
        ]
        level = [inner for values in lists for inner in values]
        if not lists:
            return value
    raise deep


def read_json(path: Path) -> Any:
    """The value of a file in UTF-8.

    Raises:
        ValueError: it is not UTF-8, or see `parse_json`.
        OSError: it cannot be read; a pipe or a device is not.
    """
    if path.exists() and not path.is_file():
        raise OSError("a folder, a pipe or a device, and not a file")
    return parse_json(path.read_text(encoding="utf-8"))
