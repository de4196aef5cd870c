"""Writes text one token after the other: which token is chosen and when a text ends. numpy only.

It sees models only as `Steps`, which take tokens and give the logits of the next one. Engines make them.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]


class Steps(Protocol):
    """A batch of rows that are being written, with the model's cache of them."""

    def advance(self, tokens: IntArray) -> FloatArray:
        """Read the next tokens [rows, n] of each row; returns the logits behind the last of them, [rows, vocabulary].

        Where there is a prompt, the first call passes what follows it, which may be nothing (n = 0).
        """

    def select(self, rows: IntArray) -> None:
        """Go on with these rows, in this order; one may come several times."""
