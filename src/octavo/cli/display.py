"""Progress on stderr and tables on stdout, by rich; every text is printable, and none is markup."""

import sys
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from octavo.errors import printable
from octavo.reporting.comparison_tables import Cells
from octavo.reporting.layer_heatmap import heat_level


class TerminalProgress:
    """Shows one line per step while it works; on a stream that is no terminal, the steps' names."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bars = Progress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
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
        task = printable(task)
        if not self._console.is_terminal:
            print(f"{task} ...", file=sys.stderr, flush=True)  # noqa: T201 - this is the display
        self._current = int(self._bars.add_task(task, total=total))

    def advance(self, amount: int = 1) -> None:
        """Move the current step on."""
        if self._current is not None:
            self._bars.advance(self._bars.task_ids[self._current], amount)

    def _finish(self) -> None:
        if self._current is not None:
            task = self._bars.tasks[self._current]
            total = 1 if task.total is None else task.total
            self._bars.update(task.id, total=total, completed=total)


def print_heat(cells: Cells) -> None:
    """Draw a heat map of decibels; on a terminal in colours from red to green."""
    if not cells:
        return
    colours = ("white on red", "black on dark_orange", "black on yellow", "black on green_yellow", "black on green3")
    table = Table()
    for name in cells[0]:
        table.add_column(_text(name), justify="right")
    for block, *values in cells[1:]:
        table.add_row(
            _text(block), *(Text(value, style=colours[heat_level(float(value))] if value else "") for value in values)
        )
    Console().print(table)


def print_cells(cells: Cells) -> None:
    """Draw a table on stdout; off a terminal as wide as it needs, so that no cell is cut."""
    console = Console() if sys.stdout.isatty() else Console(width=500)
    table = Table()
    for index, name in enumerate(cells[0]):
        table.add_column(_text(name), justify="left" if index < 2 else "right", overflow="fold")
    for row in cells[1:]:
        table.add_row(*map(_text, row))
    console.print(table)


def _text(cell: str) -> Text:
    return Text(printable(cell))
