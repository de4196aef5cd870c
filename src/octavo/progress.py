"""How long work tells where it is: a protocol of two methods, and the one that says nothing.

The command line implements it with rich; the library never prints.
"""

from typing import Protocol


class Progress(Protocol):
    """Listens to a piece of work."""

    def start(self, task: str, total: int | None = None) -> None:
        """A step begins; `total` is its number of units, None where it cannot be known."""

    def advance(self, amount: int = 1) -> None:
        """`amount` units of the current step are done."""


class Silent:
    """Listens and says nothing."""

    def start(self, task: str, total: int | None = None) -> None:
        """Ignore it."""

    def advance(self, amount: int = 1) -> None:
        """Ignore it."""
