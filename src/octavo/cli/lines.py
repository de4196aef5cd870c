"""Progress where there is no terminal: a line now and then on stderr, without rich, whose import takes its time."""

import sys
import time
from typing import Self

from octavo.cli.echo import known_words, words
from octavo.errors import printable

EVERY = 10.0  # seconds between two lines about one step


class LineProgress:
    """Every `EVERY` seconds a line about the current step: its count, and what is left of it."""

    def __init__(self) -> None:
        self._task, self._total, self._done = "", 0, 0
        self._started = self._told = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def start(self, task: str, total: int | None = None) -> None:
        """Begin a step."""
        self._task, self._total = printable(known_words(task)), total or 0
        self._done, self._started = 0, time.monotonic()

    def advance(self, amount: int = 1) -> None:
        """Move the step on."""
        self._done, now = self._done + amount, time.monotonic()
        if now - self._told > EVERY:
            self._told = now
            note = progress_note(self._done, self._total, now - self._started)
            print(f"{self._task}: {note}", file=sys.stderr, flush=True)  # noqa: T201 - this is the display


def progress_note(done: float, total: float | None, seconds: float) -> str:
    """How far a step is, and about how long it goes on if it goes on like this."""
    if not total:
        return f"{done:,.0f}"
    left = words(", about {s:,.0f} s left").format(s=seconds * max(total - done, 0) / done) if done else ""
    return words("{done:,.0f} of {total:,.0f}").format(done=done, total=total) + left
