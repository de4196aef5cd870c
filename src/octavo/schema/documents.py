"""JSON documents, read and written: all numbers finite, and nothing in a text that a terminal would obey."""

import json
import math
from typing import Any

from octavo.errors import replace_hidden


def not_finite(document: Any) -> str | None:
    """Place and value of a number that is NaN or infinite, which JSON has not and Python reads; None without one."""
    pending = [("", document)]
    while pending:
        place, value = pending.pop()
        if isinstance(value, float) and not math.isfinite(value):
            return f"{place}: {value}"
        several = isinstance(value, list | tuple)
        items = enumerate(value) if several else value.items() if isinstance(value, dict) else ()
        pending += [(f"{place}.{name}" if place else str(name), item) for name, item in items]
    return None


def json_text(document: Any, **settings: Any) -> str:
    """A document as JSON, its texts readable; control and format characters are escapes, which stand for themselves."""
    lines = json.dumps(document, ensure_ascii=False, **settings).split("\n")  # of a text no line end is left
    return "\n".join(replace_hidden(line, lambda character: json.dumps(character)[1:-1]) for line in lines)
