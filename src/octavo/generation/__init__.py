"""Writes text one token after the other: what is chosen, when it ends, how it becomes text. numpy only.

It knows models as `Steps` only: something that takes tokens and gives the logits of the next one. Engines make them.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]


class Steps(Protocol):
    """A batch of rows that are being written, with whatever a model remembers of them."""

    def advance(self, tokens: IntArray) -> FloatArray:
        """Read the next tokens [rows, n] of each row; returns the logits behind the last of them, [rows, vocabulary].

        Where a prompt has to be read, the first call is with what stands behind it, which may be nothing (n = 0).
        """

    def select(self, rows: IntArray) -> None:
        """Go on with these rows, in this order; one may come several times."""
