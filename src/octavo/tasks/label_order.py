"""Whether the labels of a model and of a file mean the same: would another order score far better?"""

import itertools
import shlex
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_LABELS = 6  # 720 permutations
FEWEST_ROWS = 50
CLEAR = 4.0  # standard errors: the best of 720 permutations is hardly ever that much better by luck


def better_assignment(
    predicted: NDArray[np.integer[Any]], gold: NDArray[np.integer[Any]], labels: Sequence[str]
) -> str | None:
    """A warning where the model's labels, put in another order, would score far better; else None.

    Args:
        predicted: [rows] ids that the model predicted.
        gold: [rows] ids of the file's labels, mapped by the names in `labels`.
        labels: The model's labels in id order, as they were given. More than `MOST_LABELS` are not looked at.

    Far better is: by more than 0.10 of accuracy and 4 standard errors of the paired difference.
    """
    count = len(labels)
    if not 2 <= count <= MOST_LABELS or len(gold) < FEWEST_ROWS:
        return None
    confusion = np.zeros((count, count), dtype=np.int64)  # [gold, predicted]
    np.add.at(confusion, (gold, predicted), 1)
    # order[i] is the label that id i really means. The order as given comes first, and wins a tie.
    orders = (np.array(order) for order in itertools.permutations(range(count)))
    best = max(orders, key=lambda order: confusion[order, np.arange(count)].sum())
    right = (best[predicted] == gold).astype(float)
    right_as_given = (predicted == gold).astype(float)
    # What an answer would score if it had nothing to do with its row: a model that always gives one answer gains much
    # by the name of the most frequent label, and is broken, not permuted.
    by_chance = (np.bincount(gold, minlength=count) / len(gold))[best[predicted]]
    if np.mean(right - right_as_given) <= 0.10 or not (_clear(right - right_as_given) and _clear(right - by_chance)):
        return None
    names = [labels[index] for index in best]
    ordered, ids = ",".join(names), ",".join(map(str, best))
    return (
        f"the labels look permuted: accuracy is {right_as_given.mean():.4f} as given and {right.mean():.4f} if the "
        f"model's labels were {', '.join(names)}; next: give the right order with --labels {shlex.quote(ordered)}"
        # Names do not move the labels of such a file, but an id that is a label's very name is read as that name.
        + (f" (where the file has ids for labels: --labels {ids})" if ids != ordered else "")
    )


def _clear(gains: NDArray[np.float64]) -> bool:
    """Whether the mean of the gains [rows] is more than `CLEAR` standard errors above zero."""
    return bool(gains.mean() > CLEAR * gains.std() / np.sqrt(len(gains)))
