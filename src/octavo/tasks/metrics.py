"""Scores of predictions against labels, between 0 and 1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]


def accuracy(gold: Labels, predicted: Labels) -> float:
    """The share of rows whose predicted label is the gold one."""
    return float(np.mean(gold == predicted))


def macro_f1(gold: Labels, predicted: Labels) -> float:
    """The mean of the labels' F1 = 2 tp / (2 tp + fp + fn), over the labels that occur in either.

    As scikit-learn's `f1_score(average="macro")`.
    """
    values = []
    for label in np.union1d(gold, predicted):
        hits = int(np.sum((gold == label) & (predicted == label)))
        values.append(2 * hits / (int(np.sum(gold == label)) + int(np.sum(predicted == label))))
    return float(np.mean(values))


def mean_kl(reference: NDArray[np.float32], candidate: NDArray[np.float32]) -> float:
    """The mean over rows of KL(P || Q) = sum p (log p - log q), in nats; P and Q are the softmax of the logits.

    In float64. P is the float model's, as in Kullback and Leibler 1951: what is lost by taking Q for P.
    """
    log_p, log_q = _log_softmax(reference), _log_softmax(candidate)
    return float(np.mean(np.sum(np.exp(log_p) * (log_p - log_q), axis=1)))


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)), np.float64)
