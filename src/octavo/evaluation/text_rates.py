"""Rows a second from texts to answers, of several models in turns: what a user waits for.

The tokenizer works beside the model, as in `octavo.predict`.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from octavo.encoding.tokenizing import Row
from octavo.progress import Progress

SECONDS = 20.0  # for all models and rounds together
ROUNDS = 3
WARM = 64  # rows that are answered before any is timed
PAUSE = 0.05  # seconds between two turns, for threads of the last one to fall asleep
Ask = Callable[[dict[str, Any]], dict[str, Any]]  # a worker


@dataclass(frozen=True)
class Texts:
    """What is read from texts to answers: rows in a drawn order, and the tokenizer that cuts them."""

    rows: Sequence[Row]
    tokenizer_json: str


def text_rates(
    workers: Sequence[Ask], texts: Sequence[Texts | None], seconds: float, progress: Progress
) -> list[float | None]:
    """The median of a few rounds over the same rows, of each worker; None where models write, which have no `texts`.

    `seconds` is what all models together took for all rows: as many rows as time allows by that.
    """
    known = [own for own in texts if own is not None]
    if len(known) < len(workers):
        return [None] * len(workers)
    rows = min(len(own.rows) for own in known)
    count = max(1, min(rows, int(rows * SECONDS / (ROUNDS + 1) / max(seconds, 1e-9))))
    measured: list[list[float]] = [[] for _ in workers]
    progress.start("timing from texts to answers", len(workers) * ROUNDS)
    for ask in workers:
        ask({"texts": min(count, WARM)})
    for _ in range(ROUNDS):
        for ask, rates in zip(workers, measured, strict=True):
            rates.append(count / ask({"texts": count})["seconds"])
            progress.advance()
            time.sleep(PAUSE)
    return [float(np.median(rates)) for rates in measured]
