"""Markdown of names, labels and texts that others wrote: they stay text, as on the page, and are never markup."""

import re
from collections.abc import Sequence

from octavo.errors import printable

# What GitHub's Markdown reads as markup (github.github.com/gfm); `_` and `~` between letters or blanks are none.
_MARKUP = re.compile(r"[\\`*\[\]|#$]|(?<![^\W_])_|_(?![^\W_])|(?<=\S)~|~(?=\S)")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def plain(text: str) -> str:
    """A text in a line of Markdown, which shows exactly it."""
    escaped = _MARKUP.sub(r"\\\g<0>", _one_line(text))
    return re.sub("[&<>]", lambda match: _ENTITIES[match[0]], escaped)


def code(text: str) -> str:
    """A text as code in a line of Markdown: between more backticks than it has itself."""
    text = _one_line(text)
    ticks = _fence(text, 1)
    return f"{ticks} {text} {ticks}" if "`" in text else f"{ticks}{text}{ticks}"


def code_block(text: str) -> str:
    """A text as a block of code."""
    ticks, lines = _fence(text, 3), map(printable, text.split("\n"))
    return "\n".join([ticks, *lines, ticks])


def table(cells: Sequence[Sequence[str]]) -> str:
    """Cells as a table, the first row its head."""
    lines = ["| " + " | ".join(map(plain, row)) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "---|" * len(cells[0]), *lines[1:]])


def bullets(lines: Sequence[str]) -> str:
    """Lines as a list; one that begins as an item of a list does is none itself."""
    return "\n".join("- " + re.sub(r"^(\d*)(?=[-+.)=])", r"\1\\", plain(line.strip())) for line in lines)


def _one_line(text: str) -> str:
    return printable(re.sub(r"[\r\n\t]+", " ", text))


def _fence(text: str, least: int) -> str:
    return "`" * max(least, *(len(run) + 1 for run in re.findall("`+", text)), 0)
