"""Scores of rankings beside those of trec_eval, of pages that say what they are, and of plain loops."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from octavo.metrics.differences import DIFFERENCES
from octavo.metrics.ranking import (
    OF_A_QUERY,
    closest_lead,
    nearest,
    query_scores,
    rank_biased_overlap,
    ranks_of,
    similarities,
    top_agreement,
)
from octavo.metrics.scores import SCORES

SEEDS = range(200)
TREC = Path(__file__).with_name("trec_eval.json")  # of `drawn`, in this order, by pytrec_eval-terrier 0.5.11


def drawn(seed):
    """Grades of 0 to 3 of some passages by their ids, of which not all are retrieved; scores with many ties."""
    generator = np.random.default_rng(seed)
    count = int(generator.integers(1, 150))
    ids = [f"p{number}" for number in generator.permutation(1000)[:count]]
    grades = {one: int(generator.integers(0, 4)) for one in ids if generator.random() < 0.2} | {ids[0]: 1}
    scores = {
        one: round(float(generator.normal()), int(generator.integers(0, 3))) for one in ids if generator.random() < 0.9
    }
    return grades, scores or {ids[0]: 0.0}


def scored(grades, scores):
    """What Octavo makes of it: passages in falling order of their ids, as `data.ranking` has them."""
    ids = sorted(scores, reverse=True)
    order = np.argsort(-np.array([scores[one] for one in ids]), kind="stable")
    relevant = [one for one in grades if grades[one] > 0]
    positions = np.array([ids.index(one) if one in ids else -1 for one in relevant])
    return query_scores(ranks_of(order, positions), np.array([grades[one] for one in relevant], np.float64))


def by_loops(grades, scores):
    """The same by the definitions, place by place."""
    ranking = sorted(sorted(scores, reverse=True), key=lambda one: -scores[one])
    gains = [grades.get(one, 0) for one in ranking]
    best = sorted(grades.values(), reverse=True)
    relevant = sum(grade > 0 for grade in grades.values())
    dcg, ideal = (sum(g / math.log2(i + 2) for i, g in enumerate(row[:10])) for row in (gains, best))
    places = [i + 1 for i, gain in enumerate(gains) if gain > 0]
    first = 1 / places[0] if places and places[0] <= 10 else 0
    precision = sum((number + 1) / place for number, place in enumerate(places)) / relevant
    return dcg / ideal, first, precision, *(sum(place <= k for place in places) / relevant for k in (10, 100))


def test_scores_are_those_of_trec_eval():
    stored = json.loads(TREC.read_text(encoding="utf-8"))
    assert len(stored) == len(SEEDS)
    for seed, expected in zip(SEEDS, stored, strict=True):
        found = scored(*drawn(seed))
        assert found.tolist() == pytest.approx(expected, abs=1e-6), seed  # trec_eval has float32 in places
        assert found.tolist() == pytest.approx(by_loops(*drawn(seed)), abs=1e-12), seed
    assert len({one for row in stored for one in row}) > 300


def test_rank_biased_overlap_by_hand_and_by_its_sum():
    """The same list, another one, and equation 30 with agreements counted anew at each depth."""
    assert rank_biased_overlap(np.arange(5), np.arange(5)) == pytest.approx(1)
    assert rank_biased_overlap(np.arange(5), np.arange(5, 10)) == pytest.approx(0)
    for seed in SEEDS:
        generator = np.random.default_rng(seed)
        k, p = int(generator.integers(1, 40)), float(generator.uniform(0.5, 0.99))
        a, b = generator.permutation(60)[:k], generator.permutation(60)[:k]
        agreed = [len({*a[:d]} & {*b[:d]}) / d for d in range(1, k + 1)]
        expected = agreed[-1] * p**k + (1 - p) / p * sum(x * p ** (d + 1) for d, x in enumerate(agreed))
        assert rank_biased_overlap(a, b, p) == pytest.approx(expected, abs=1e-12)
        kept = len({*a[:10].tolist()} & {*b[:10].tolist()}) / min(10, k)
        assert top_agreement(a, b) == pytest.approx(kept)


def test_distances_of_long_vectors_that_are_near_each_other():
    generator = np.random.default_rng(1)
    passages = (30 + generator.normal(0, 0.01, (90, 64))).astype(np.float32)
    queries = passages[:7] + generator.normal(0, 0.001, (7, 64)).astype(np.float32)
    expected = -scipy.spatial.distance.cdist(queries.astype(np.float64), passages.astype(np.float64))
    np.testing.assert_allclose(similarities(queries, passages, "euclidean"), expected, rtol=1e-5)
    assert nearest(queries, passages, 1, "euclidean")[0][:, 0].tolist() == [*range(7)]


@pytest.mark.parametrize("similarity", ["cosine", "dot", "euclidean", "manhattan"])
def test_the_search_is_exact_whatever_the_blocks(similarity, monkeypatch):
    """Vectors of small integers, so that many similarities are equal; of these the first passages come first."""
    generator = np.random.default_rng(1)
    queries = generator.integers(-2, 3, (7, 4)).astype(np.float32)
    passages = generator.integers(-2, 3, (90, 4)).astype(np.float32)
    q, p = queries.astype(np.float64), passages.astype(np.float64)
    every = {
        "cosine": 1 - np.nan_to_num(scipy.spatial.distance.cdist(q, p, "cosine"), nan=1.0),
        "dot": q @ p.T,
        "euclidean": -scipy.spatial.distance.cdist(q, p),
        "manhattan": -scipy.spatial.distance.cdist(q, p, "cityblock"),
    }[similarity]
    np.testing.assert_allclose(similarities(queries, passages, similarity), every, atol=2e-6)
    exact = similarities(queries, passages, similarity)
    expected = np.argsort(-exact, axis=1, kind="stable")[:, :12]
    for block, columns in ((1 << 22, 1 << 14), (64, 16), (1, 7)):
        monkeypatch.setattr("octavo.metrics.ranking.BLOCK", block)
        monkeypatch.setattr("octavo.metrics.ranking.COLUMNS", columns)
        found, values = nearest(queries, passages, 12, similarity)
        np.testing.assert_allclose(values, np.take_along_axis(exact, expected, axis=1), atol=1e-6)
        if similarity in {"dot", "manhattan"}:  # exact in any order of summing
            np.testing.assert_array_equal(found, expected)
    assert nearest(queries, passages, 500, similarity)[0].shape == (7, 90)


def test_the_closest_lead_is_that_of_all_pairs():
    for seed in SEEDS:
        generator = np.random.default_rng(seed)
        n = int(generator.integers(2, 30))
        scores = np.sort(np.round(generator.normal(size=n), 1))[::-1]
        order, grades = generator.permutation(n), {one: float(generator.integers(1, 3)) for one in range(0, n, 3)}
        pairs = [
            abs(scores[i] - scores[j])
            for i in range(n)
            for j in range(i)
            if grades.get(order[i], 0) != grades.get(order[j], 0)
        ]
        assert closest_lead(order, scores, grades) == pytest.approx(min(pairs, default=math.inf))


@pytest.mark.parametrize("name", OF_A_QUERY)
def test_differences_are_paired_by_query(name):
    """A query without a relevant passage counts for nothing; the interval is about that of a paired bootstrap."""
    generator = np.random.default_rng(4)
    known = (generator.random(300) < 0.9).astype(np.float64)
    first = generator.random((300, 5))
    second = np.where(generator.random((300, 1)) < 0.4, generator.random((300, 5)), first)
    column, rows = OF_A_QUERY.index(name), known > 0
    found = DIFFERENCES[name](known, first, second)
    moved = (second - first)[rows, column]
    assert SCORES[name](known, first) == pytest.approx(first[rows, column].mean())
    assert found.value == pytest.approx(moved.mean())
    assert found.changed == np.any(first != second, axis=1).sum()
    half = 1.96 * moved.std() / math.sqrt(rows.sum())
    assert 0.9 < (found.high - found.low) / (2 * half) < 1.1
