"""Scores of several labels, of one logit and of numbers, each beside another's on 200 random inputs."""

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error, roc_auc_score

from octavo.metrics.correlations import auc_difference
from octavo.metrics.differences import DIFFERENCES
from octavo.metrics.estimates import tau_estimate
from octavo.metrics.scores import SCORES, kendall_tau

SEEDS = range(200)


def sets(seed, shift=0.0):
    """Gold labels of up to 60 rows and 6 labels, some of which never occur, and predicted ones."""
    generator = np.random.default_rng(seed)
    rows, labels = generator.integers(1, 60), generator.integers(2, 7)
    often = generator.choice([0.0, 0.1, 0.5, 0.9], labels)
    gold, said = (generator.random((rows, labels)) < often for _ in range(2))
    return gold.astype(np.int64), said.astype(np.int64)


def scored(seed, rows=None):
    """Gold 0 or 1 and scores with ties."""
    generator = np.random.default_rng(seed)
    rows = rows or int(generator.integers(2, 80))
    gold = (generator.random(rows) < 0.4).astype(np.float64)
    gold[:2] = 0, 1
    return gold, np.round(generator.normal(gold, 1.0), int(generator.integers(0, 3)))


def test_several_labels_are_scored_as_scikit_learn_does():
    for seed in SEEDS:
        gold, said = sets(seed)
        for average in ("micro", "macro"):
            expected = f1_score(gold, said, average=average, zero_division=0)
            assert SCORES[f"{average}_f1"](gold, said) == pytest.approx(expected, abs=1e-12)
        assert SCORES["subset_accuracy"](gold, said) == pytest.approx(accuracy_score(gold, said), abs=1e-12)


def test_one_output_is_scored_as_scikit_learn_does():
    for seed in SEEDS:
        gold, said = scored(seed)
        assert SCORES["auc"](gold, said) == pytest.approx(roc_auc_score(gold, said), abs=1e-12)
        assert SCORES["binary_accuracy"](gold, said) == pytest.approx(accuracy_score(gold, said > 0), abs=1e-12)
        assert SCORES["mae"](3 * gold, said) == pytest.approx(mean_absolute_error(3 * gold, said), abs=1e-12)


def test_kendalls_tau_is_scipys():
    for seed in SEEDS:
        said = scored(seed)[1]
        other = np.round(said + np.random.default_rng(seed + 1000).normal(size=len(said)), 1)
        expected = scipy.stats.kendalltau(said, other)[0]
        if np.isfinite(expected):
            assert kendall_tau(said, other) == pytest.approx(expected, abs=1e-12)
    assert kendall_tau(np.zeros(3), np.zeros(3)) == 1
    assert kendall_tau(np.zeros(3), np.arange(3.0)) == 0


@pytest.mark.parametrize("name", ["micro_f1", "macro_f1", "subset_accuracy"])
@pytest.mark.parametrize("share", [0.01, 0.3])
def test_differences_of_several_labels(name, share):
    generator = np.random.default_rng(3)
    gold = (generator.random((400, 5)) < (0.5, 0.3, 0.2, 0.1, 0.05)).astype(np.int64)
    first = np.where(generator.random(gold.shape) < 0.1, 1 - gold, gold)
    second = np.where(generator.random(gold.shape) < share, 1 - first, first)
    found = DIFFERENCES[name](gold, first, second)
    value = SCORES[name](gold, second) - SCORES[name](gold, first)
    assert found.value == pytest.approx(value, abs=1e-12)
    assert found.low < found.lower < value < found.upper < found.high
    assert found.changed == np.any(first != second, axis=1).sum()

    def difference(index):
        return SCORES[name](gold[index], second[index]) - SCORES[name](gold[index], first[index])

    drawn = [difference(generator.integers(0, 400, 400)) for _ in range(500)]
    width = np.subtract(*np.quantile(drawn, [0.975, 0.025]))
    assert 0.9 < (found.high - found.low) / width < 2


def areas(gold, scores):
    """Under the curves of many draws, [draws, rows] each, by the sums of ranks (Mann and Whitney 1947)."""
    ones = gold.sum(axis=1)
    sums = (scipy.stats.rankdata(scores, axis=1) * gold).sum(axis=1)
    return (sums - ones * (ones + 1) / 2) / (ones * (gold.shape[1] - ones))


@pytest.mark.parametrize("noise", [1e-3, 0.5])
def test_the_difference_of_areas(noise):
    gold, first = scored(5, 500)
    first = first + np.random.default_rng(1).normal(0, 0.1, 500)
    second = first + noise * np.random.default_rng(2).normal(size=500)
    found = auc_difference(gold, first, second)
    assert found.value == pytest.approx(roc_auc_score(gold, second) - roc_auc_score(gold, first), abs=1e-12)
    assert found.low <= found.lower <= found.value <= found.upper <= found.high
    generator = np.random.default_rng(3)
    index = generator.integers(0, 500, (400, 500))
    drawn = areas(gold[index], second[index]) - areas(gold[index], first[index])
    assert drawn[7] == pytest.approx(
        roc_auc_score(gold[index[7]], second[index[7]]) - roc_auc_score(gold[index[7]], first[index[7]]), abs=1e-12
    )
    width = np.subtract(*np.quantile(drawn, [0.975, 0.025]))
    assert 0.85 < (found.high - found.low) / width < 2.5
    alone = auc_difference(np.ones(500), first, second)
    assert (alone.value, alone.low, alone.high) == (0, -1, 1)


def test_the_difference_of_errors_is_above_0_where_they_fell():
    generator = np.random.default_rng(7)
    gold = generator.uniform(0, 5, 300)
    first = gold + generator.normal(0, 1, 300)
    found = DIFFERENCES["mae"](gold, first, gold + 0.9 * (first - gold))
    assert found.value == pytest.approx(0.1 * np.abs(first - gold).mean())
    assert 0 < found.low < found.value < found.high


def test_how_sure_tau_is():
    generator = np.random.default_rng(8)
    x = generator.normal(size=400)
    y = x + 0.3 * generator.normal(size=400)
    found = tau_estimate(x, y)
    assert found.value == pytest.approx(scipy.stats.kendalltau(x, y)[0])
    drawn = []
    for _ in range(200):
        index = generator.integers(0, 400, 400)
        drawn.append(scipy.stats.kendalltau(x[index], y[index])[0])
    assert 0.8 < (found.high - found.low) / np.subtract(*np.quantile(drawn, [0.975, 0.025])) < 1.5
    same = tau_estimate(x, 2 * x)
    assert (same.value, same.high) == (1, 1)
    assert 0.9 < same.low < same.lower < 1
