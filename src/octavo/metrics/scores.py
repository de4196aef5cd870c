"""Scores of predictions against labels, and of outputs against those of another model."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from octavo.metrics.ranking import OF_A_QUERY

Labels = NDArray[np.int64]
Float = TypeVar("Float", np.float32, np.float64)


def accuracy(gold: Labels, predicted: Labels) -> float:
    """The share of rows whose predicted label is the gold one."""
    return float(np.mean(gold == predicted))


def macro_f1(gold: Labels, predicted: Labels) -> float:
    """The mean of the labels' F1 = 2 tp / (2 tp + fp + fn), over the labels that occur in either.

    As scikit-learn's `f1_score(average="macro")`. Of rows with several labels at once, [rows, labels] of 0 and 1, over
    all labels, 0 for one that occurs in neither (`zero_division=0`).
    """
    if gold.ndim == 2:
        both = gold.sum(axis=0) + predicted.sum(axis=0)
        return float(np.mean(2 * np.sum(gold & predicted, axis=0) / np.maximum(both, 1)))
    cells = [(gold == label, predicted == label) for label in np.union1d(gold, predicted)]
    return float(np.mean([2 * np.sum(right & said) / (np.sum(right) + np.sum(said)) for right, said in cells]))


def subset_accuracy(gold: Labels, predicted: Labels) -> float:
    """The share of rows whose labels are all right, [rows, labels] of 0 and 1: scikit-learn's `accuracy_score`."""
    return float(np.mean((gold == predicted).all(axis=1)))


def binary_accuracy(gold: NDArray[np.float64], logits: NDArray[np.float64]) -> float:
    """The share of rows, gold 0 or 1, whose one logit is on the right side of 0: a probability above a half means 1."""
    return float(np.mean((logits > 0) == (gold > 0)))


def auc(gold: NDArray[np.float64], scores: NDArray[np.float64]) -> float:
    """The area under the ROC curve: how likely a row of gold 1 scores above one of 0, equal scores counting half.

    From the ranks, as Mann and Whitney 1947 have U (Annals of Mathematical Statistics 18); scikit-learn's
    `roc_auc_score`. 0.5 where all rows have one gold.
    """
    ones, ranks = gold > 0, midranks(np.unique(scores, return_inverse=True)[1], np.ones(len(scores)))
    pairs = float(ones.sum() * (~ones).sum())
    return float(ranks[ones].sum() - ones.sum() * (ones.sum() + 1) / 2) / pairs if pairs else 0.5


def mean_absolute_error(gold: NDArray[np.float64], predicted: NDArray[np.float64]) -> float:
    """The mean of |predicted - gold|, in the unit of gold."""
    return float(np.mean(np.abs(predicted - gold)))


def kendall_tau(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Kendall's tau-b: pairs of rows in the same order less those in the other, over those that are no ties.

    (C - D) / sqrt((pairs - ties of x) (pairs - ties of y)), Kendall 1945, "The treatment of ties in ranking problems"
    (Biometrika 33); scipy's `kendalltau`. 1 where neither varies, 0 where one of them does not.
    """
    counts = concordances(x, y)
    same, of_x, of_y = (float(count.sum()) for count in counts)
    return same / np.sqrt(of_x * of_y) if of_x and of_y else float(of_x == of_y)


def concordances(
    x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Of each row, [rows] each: the others that it stands to alike in both, less otherwise; those no tie in x; in y."""
    sums = np.zeros((3, len(x)))
    for index, (a, b) in enumerate(zip(x, y, strict=True)):
        before, after = np.sign(x - a), np.sign(y - b)
        sums[:, index] = before @ after, before @ before, after @ after
    return sums[0], sums[1], sums[2]


def mean_kl(reference: NDArray[np.float32], candidate: NDArray[np.float32]) -> float:
    """The mean over rows of KL(P || Q) = sum p (log p - log q), in nats; P and Q are the softmax of the logits.

    In float64. P is the float model's, as in Kullback and Leibler 1951: what is lost by taking Q for P.
    """
    return float(np.mean(kl_rows(reference, candidate)))


def kl_rows(reference: NDArray[np.float32], candidate: NDArray[np.float32]) -> NDArray[np.float64]:
    """The divergence of each row, [rows]; see `mean_kl`."""
    log_p, log_q = _log_softmax(reference), _log_softmax(candidate)
    return np.asarray(np.sum(np.exp(log_p) * (log_p - log_q), axis=1), np.float64)


def softmax(logits: NDArray[Float]) -> NDArray[Float]:
    """exp(z_i) / sum exp(z) over the last axis, in the precision of the logits."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True, initial=-np.inf))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), logits.dtype)


def largest_change(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """The largest difference of a probability between two arrays of logits; 0 where there are none."""
    return float(np.abs(softmax(first) - softmax(second)).max(initial=0))


def median_margin(reference: NDArray[np.float32], candidate: NDArray[np.float32]) -> float:
    """The median over rows of (z_1 - z_2) of the candidate by that of the reference, [rows, labels] of logits each.

    1 is the label that the reference puts first, 2 the one that it puts second; rows where it sees a tie are left out.
    """
    order = np.argsort(-reference, axis=1, kind="stable")[:, :2]
    before, after = (np.take_along_axis(z.astype(np.float64), order, axis=1) for z in (reference, candidate))
    margins = before[:, 0] - before[:, 1]
    ratios = (after[:, 0] - after[:, 1])[margins > 0] / margins[margins > 0]
    return float(np.median(ratios)) if len(ratios) else 1.0


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)), np.float64)


def cosine(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    """The cosine of each row's two vectors, [rows, dimension] each, in float64; 0 where one has no length."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / np.where(lengths == 0, 1, lengths), np.float64)


def paired_similarity(first: NDArray[np.float32], second: NDArray[np.float32], similarity: str) -> NDArray[np.float64]:
    """Of each row of the one to that row of the other, [rows, width] each, as `ranking.similarities`, in float64."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    if similarity == "manhattan":
        return np.asarray(-np.abs(a - b).sum(axis=1), np.float64)
    if similarity == "euclidean":
        return np.asarray(-np.linalg.norm(a - b, axis=1), np.float64)
    return np.asarray((a * b).sum(axis=1), np.float64) if similarity == "dot" else cosine(first, second)


def pearson(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Pearson's correlation; 0 where one of the two does not vary."""
    a, b = x - x.mean(), y - y.mean()
    spread = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / spread) if spread else 0.0


def spearman(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Spearman's correlation: Pearson's of the ranks, where equal values share the mean of their ranks."""
    codes = (np.unique(values, return_inverse=True)[1] for values in (x, y))
    return pearson(*(midranks(code, np.ones(len(x))) for code in codes))


def midranks(codes: Labels, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The ranks, equal values sharing the mean of theirs, of rows that occur as often as their weights say."""
    together = np.bincount(codes, weights)
    return np.asarray((np.cumsum(together) - (together - 1) / 2)[codes], np.float64)


def neighbour_recall(reference: NDArray[np.float32], vectors: NDArray[np.float32], k: int) -> float:
    """The share of each row's `k` nearest other rows, by cosine, that are still among its `k` nearest; the mean."""
    first, second = _neighbours(reference, k), _neighbours(vectors, k)
    return float(np.mean([len(set(a) & set(b)) / k for a, b in zip(first, second, strict=True)]))


def _neighbours(vectors: NDArray[np.float32], k: int) -> list[list[int]]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = vectors / np.where(lengths == 0, 1, lengths)
    near = units @ units.T
    np.fill_diagonal(near, -np.inf)
    return cast("list[list[int]]", np.argpartition(-near, k - 1, axis=1)[:, :k].tolist())


def perplexity(counts: NDArray[np.float64], losses: NDArray[np.float64]) -> float:
    """exp(sum of -log p / number of tokens), over all rows; [rows] each."""
    return float(np.exp(losses.sum() / counts.sum()))


def ratio(name: str, gold: NDArray[Any], predicted: NDArray[Any]) -> float:
    """A score of that name that is a ratio of sums over the rows, 0 where there is nothing to divide by."""
    above, below = RATIOS[name](gold, predicted)
    return float(above.sum() / below.sum()) if below.sum() else 0.0


# Scores that are a sum of numbers of the rows by a sum of others: of entities [rows, (there are, words)] and [rows,
# (found, named, right tags)], of answers [rows], 1 where one is known and else 0, and [rows, (exact match, F1)], of
# several labels at once [rows, labels], 0 and 1.
RATIOS: dict[str, Callable[[NDArray[Any], NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]]] = {
    "entity_f1": lambda gold, predicted: (2 * predicted[:, 0], predicted[:, 1] + gold[:, 0]),
    "precision": lambda gold, predicted: (predicted[:, 0], predicted[:, 1]),  # noqa: ARG005
    "recall": lambda gold, predicted: (predicted[:, 0], gold[:, 0]),
    "tag_accuracy": lambda gold, predicted: (predicted[:, 2], gold[:, 1]),
    "exact_match": lambda gold, predicted: (predicted[:, 0], gold),
    "answer_f1": lambda gold, predicted: (predicted[:, 1], gold),
    "micro_f1": lambda gold, predicted: (2 * (gold & predicted).sum(axis=1), predicted.sum(axis=1) + gold.sum(axis=1)),
}


def _of_query(column: int, gold: NDArray[Any], predicted: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    return gold * predicted[:, column], gold


# Of queries, 1 where a passage is known to be relevant, and [rows, OF_A_QUERY].
RATIOS |= {name: partial(_of_query, column) for column, name in enumerate(OF_A_QUERY)}
CORRELATIONS = frozenset({"spearman", "pearson"})  # that need gold numbers which differ, and are no shares
# By name, of what is right and what was predicted.
SCORES: dict[str, Callable[[NDArray[Any], NDArray[Any]], float]] = {
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    "subset_accuracy": subset_accuracy,
    "binary_accuracy": binary_accuracy,
    "auc": auc,
    "mae": mean_absolute_error,
    "perplexity": perplexity,
    "spearman": spearman,
    "pearson": pearson,
    **{name: partial(ratio, name) for name in RATIOS},
}
