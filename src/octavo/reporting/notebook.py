"""Notes and tables as a notebook shows them: what others wrote is text in them, and never markup."""

from collections.abc import Sequence
from html import escape

from octavo.errors import printable
from octavo.reporting.comparison_tables import Cells


def notebook_tables(notes: Sequence[str], *tables: Cells) -> str:
    """Notes and tables as HTML; the first row of a table is its head, a table without rows is left out."""
    parts = [f"<div>{_text(note)}</div>" for note in notes]
    for cells in (table for table in tables if table):
        rows = [_row(cells[0], "th"), *(_row(row, "td") for row in cells[1:])]
        parts.append(f"<table>{''.join(rows)}</table>")
    return "".join(parts)


def _row(cells: Sequence[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{_text(cell)}</{tag}>' for cell in cells)}</tr>"


def _text(text: str) -> str:
    return escape(printable(text), quote=True)
