"""Where a model differs from the baseline: by class, by length, and in which examples most."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.data.examples import Example
from octavo.metrics.differences import DIFFERENCES, MARGINED
from octavo.metrics.scores import CORRELATIONS, RATIOS, SCORES
from octavo.schema.comparison import FEWEST, Changed, Group
from octavo.tasks.task import Task

BUCKETS = 4  # of lengths, about as many examples in each
MOST_CHANGED = 20
SHOWN = 600  # characters of a second text


def score_groups(
    task: Task[Any], reference: Any, outputs: Any, examples: Sequence[Example], lengths: NDArray[np.int64]
) -> tuple[Group, ...]:
    """The first score by class and by length; none without labels. `lengths` are the tokens of each example."""
    first, second = task.judged(reference, examples), task.judged(outputs, examples)
    if first is None or second is None:
        return ()
    gold, before, after = first[0], first[1], second[1]
    known = np.array([example.label is not None or len(gold) == len(examples) for example in examples])
    tokens = lengths[known]
    classes = task.judged_by_class(reference, outputs, examples)
    margins, masks = task.margins(reference, outputs, examples), task.classes(gold, examples)
    everything = np.ones(len(gold), bool)
    parts: list[tuple[str, str, tuple[NDArray[Any], ...], NDArray[np.bool_]]] = [
        ("class", name, part, masks.get(name, everything)) for name, part in classes.items()
    ]
    ends = np.unique(np.quantile(tokens, np.linspace(0, 1, BUCKETS + 1)).astype(np.int64))
    for low, high in zip([ends[0] - 1, *ends[1:-1]], ends[1:] if len(ends) > 1 else ends, strict=False):
        inside = (tokens > low) & (tokens <= high)
        parts.append(("length", f"{low + 1} to {high}", (gold[inside], before[inside], after[inside]), inside))
    name, groups = next(iter(task.quality(outputs, examples))), []
    answers = name in RATIOS and gold.ndim == 1  # where it is 0 no answer is known
    for kind, title, part, mask in parts:
        right, before, after = (array[part[0] > 0] for array in part) if answers else part
        varies = answers or not (task.scored or name in CORRELATIONS) or len(set(right.tolist())) > 1
        if len(right) >= FEWEST and varies:
            scores = SCORES[name](right, before), SCORES[name](right, after)
            own = {"margins": margins and margins.at(mask)} if name in MARGINED else {}
            groups.append(Group(kind, title, len(right), *scores, DIFFERENCES[name](right, before, after, **own)))
    return tuple(groups)


def most_changed(task: Task[Any], reference: Any, outputs: Any, examples: Sequence[Example]) -> tuple[Changed, ...]:
    """The examples whose answer changed, and then those that moved most; at most 20, none that did not move."""
    before, after = task.answers(reference, examples), task.answers(outputs, examples)
    moved = task.movement(reference, outputs, examples)
    gold = task.gold(outputs, examples)
    flipped = np.array([old.label != new.label for old, new in zip(before, after, strict=True)])
    changed = []
    for row in np.lexsort((-moved, ~flipped))[:MOST_CHANGED].tolist():
        example = examples[row]
        if moved[row] > 0:
            pair = (
                example.text_pair if example.relevance is not None else " | ".join(example.choices) or example.text_pair
            )
            if pair is not None and len(pair) > SHOWN:  # a context
                pair = f"{pair[:SHOWN]}..."
            changed.append(Changed(row, example.text, pair, gold[row], before[row], after[row], float(moved[row])))
    return tuple(changed)
