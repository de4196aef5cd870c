"""Progress on stderr and tables on stdout; every text is printable, and none is markup.

On a terminal tables are drawn by rich, as wide as it is; anywhere else they are columns of plain text, as wide as they
need, so that nothing is cut.
"""

import sys
import time
from typing import Self

from rich.cells import cell_len
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from octavo.cli.echo import known_words, say
from octavo.cli.lines import EVERY, progress_note
from octavo.errors import printable
from octavo.reporting.comparison_tables import Cells
from octavo.reporting.layer_heatmap import heat_level


class TerminalProgress:
    """Shows one line per step while it works, with counts and what is left of it.

    On a stream that is no terminal: the steps' names, and every `EVERY` seconds a line with the same.
    """

    def __init__(self) -> None:
        self._told = time.monotonic()
        self._console = Console(stderr=True)
        self._bars = Progress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            redirect_stdout=False,  # results go there, whatever is on a terminal
            disable=not self._console.is_terminal,
        )
        self._current: int | None = None

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._finish()
        self._bars.stop()

    def start(self, task: str, total: int | None = None) -> None:
        """Show a new step."""
        self._finish()
        task = printable(known_words(task))
        if not self._console.is_terminal:
            self._tell(f"{task} ...")
        self._current = int(self._bars.add_task(task, total=total))

    def advance(self, amount: int = 1) -> None:
        """Move the current step on."""
        if self._current is None:
            return
        task = self._bars.tasks[self._current]
        self._bars.advance(task.id, amount)
        if not self._console.is_terminal and time.monotonic() - self._told > EVERY:
            self._tell(f"{task.description}: {progress_note(task.completed, task.total, task.elapsed or 0.0)}")

    def _tell(self, line: str) -> None:
        self._told = time.monotonic()
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - this is the display

    def _finish(self) -> None:
        if self._current is not None:
            task = self._bars.tasks[self._current]
            total = (task.completed or 1) if task.total is None else task.total
            self._bars.update(task.id, total=total, completed=total)


def print_heat(cells: Cells) -> None:
    """Draw a heat map of decibels; on a terminal in colours from red to green."""
    colours = ("white on red", "black on dark_orange", "black on yellow", "black on green_yellow", "black on green3")
    rows = [
        [_text(block), *(Text(value, colours[heat_level(float(value))] if value else "") for value in values)]
        for block, *values in cells[1:]
    ]
    if cells:
        _print([[_text(name) for name in cells[0]], *rows], left=0)


def print_cells(cells: Cells) -> None:
    """Print a table; on a terminal that is too narrow for it each row as a column, where these are fewer."""
    _print([[_text(cell) for cell in row] for row in cells], left=2)


def _print(rows: list[list[Text]], left: int) -> None:
    """Print rows, the first of which is the header; all columns but the first `left` ones are aligned right."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    if not sys.stdout.isatty():
        widths = [max(cell_len(cell.plain) for cell in column) for column in columns]
        for row in rows:
            cells = []
            for at, (cell, width) in enumerate(zip(row, widths, strict=True)):
                blank = " " * (width - cell_len(cell.plain))
                cells.append(cell.plain + blank if at < left else blank + cell.plain)
            say("  ".join(cells).rstrip())
        return
    console, table = Console(), _table(rows, left)
    wide = console.options.update(max_width=10_000)
    if console.measure(table, options=wide).maximum > console.width and len(rows) < len(columns):
        table = _table(columns, 1)
    console.print(table)


def _table(rows: list[list[Text]], left: int) -> Table:
    table = Table()
    for index, name in enumerate(rows[0]):
        table.add_column(name, justify="left" if index < left else "right", overflow="fold")
    for row in rows[1:]:
        table.add_row(*row)
    return table


def _text(cell: str) -> Text:
    return Text(printable(cell))
