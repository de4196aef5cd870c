"""An answer that is NaN or infinite is an error that names its row, and never a score."""

from collections.abc import Sequence

import numpy as np

from octavo.encoding.batching import Encoded, Outputs
from octavo.encoding.tokenizing import Row
from octavo.errors import OctavoError
from octavo.generation import FloatArray, IntArray, Steps


def require_finite(outputs: Outputs, encoded: Sequence[Encoded], rows: Sequence[Row], first: int = 0) -> None:
    """See that every output is finite; `first` is the number of the first row among all that a user gave.

    Raises:
        OctavoError: one is not; the message names its row, and shows its text.
    """
    for index, (output, asked) in enumerate(zip(outputs, encoded, strict=True)):
        if not np.isfinite(output).all():
            row = index if asked.row is None else asked.row
            raise _not_finite(first + row, f"{rows[row][0]!r:.60}")


class FiniteSteps:
    """The steps of a batch, whose logits are finite; -inf is a token that a model never writes."""

    def __init__(self, steps: Steps, numbers: Sequence[int]) -> None:
        """`numbers` are those of the rows in messages."""
        self._steps, self._numbers = steps, np.asarray(numbers)

    def advance(self, tokens: IntArray) -> FloatArray:
        """See `Steps`.

        Raises:
            OctavoError: a row has NaN, infinity, or no token to write; the message names it.
        """
        logits = self._steps.advance(tokens)
        broken = ~np.isfinite(logits.max(axis=1))
        if broken.any():
            raise _not_finite(int(self._numbers[broken][0]))
        return logits

    def select(self, rows: IntArray) -> None:
        """See `Steps`."""
        self._steps.select(rows)
        self._numbers = self._numbers[rows]


def _not_finite(row: int, text: str | None = None) -> OctavoError:
    then = "octavo inspect --verify, or compare it with its checkpoint"
    return OctavoError(f"row {row}: the model's answer is NaN or infinite", got=text, then=then)
