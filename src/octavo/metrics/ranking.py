"""Scores of rankings against graded relevance, and of two rankings against each other: numpy, a query at a time."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
CUT, DEPTH = 10, 100
PERSISTENCE = 0.9  # of rank-biased overlap: the first ten places have 86 % of the weight (Webber et al., section 5)
OF_A_QUERY = ("ndcg_at_10", "mrr_at_10", "map", "recall_at_10", "recall_at_100")


def ranks_of(order: IntArray, positions: IntArray) -> FloatArray:
    """The ranks, from 1, of passages in a ranking of positions, best first; infinite for one that is not in it."""
    place = {position: rank for rank, position in enumerate(order.tolist(), start=1)}
    return np.array([place.get(position, np.inf) for position in positions.tolist()], np.float64)


def query_scores(ranks: FloatArray, grades: FloatArray) -> FloatArray:
    """The scores `OF_A_QUERY`, from the ranks and grades (above 0) of its relevant passages, [passages] each.

    nDCG@10: the sum of grade / log2(rank + 1) up to rank 10, over the largest that it could be (Jarvelin and Kekalainen
    2002, "Cumulated gain-based evaluation of IR techniques", ACM TOIS 20). MRR@10: 1 / the first rank, 0 beyond 10
    (Voorhees 1999, TREC-8). MAP: the mean over the relevant passages of the precision at their ranks, 0 for one that is
    not ranked (Buckley and Voorhees 2000, SIGIR). Recall@k: the share of them up to rank k. All as trec_eval has them
    (`ndcg_cut_10`, `recip_rank`, `map`, `recall_10`).
    """
    order = np.argsort(ranks)
    ranks, grades = ranks[order], grades[order]
    ideal = np.sort(grades)[::-1][:CUT]
    gain = float(np.sum(np.where(ranks <= CUT, grades / np.log2(ranks + 1), 0.0)))
    best = float(np.sum(ideal / np.log2(np.arange(2, len(ideal) + 2))))
    first = 1 / ranks[0] if ranks[0] <= CUT else 0.0
    precision = float(np.mean(np.arange(1, len(ranks) + 1) / ranks))
    recalls = (float(np.mean(ranks <= depth)) for depth in (CUT, DEPTH))
    return np.array([gain / best, first, precision, *recalls])


def top_agreement(first: IntArray, second: IntArray, depth: int = CUT) -> float:
    """The share of the first `depth` passages of one ranking that are among those of the other."""
    return len({*first[:depth].tolist()} & {*second[:depth].tolist()}) / min(depth, len(first))


def rank_biased_overlap(first: IntArray, second: IntArray, p: float = PERSISTENCE) -> float:
    """Rank-biased overlap of two rankings of one length k, extrapolated beyond it.

    (X_k / k) p^k + (1 - p) / p sum_d (X_d / d) p^d, X_d being how many passages both have up to depth d: equation 30 of
    Webber, Moffat and Zobel 2010, "A similarity measure for indefinite rankings" (ACM TOIS 28).
    """
    seen_first, seen_second, both = set[int](), set[int](), 0
    total = 0.0
    for depth, (a, b) in enumerate(zip(first.tolist(), second.tolist(), strict=True), start=1):
        both += (a == b) + (a in seen_second) + (b in seen_first)
        seen_first.add(a)
        seen_second.add(b)
        total += both / depth * p**depth
    return both / len(first) * p ** len(first) + (1 - p) / p * total


def closest_lead(order: IntArray, scores: FloatArray, grades: dict[int, float]) -> float:
    """The smallest distance of two neighbours of different grades, by their scores in a ranking; infinite without."""
    of_order = np.array([grades.get(position, 0.0) for position in order.tolist()])
    gaps = -np.diff(scores)[np.diff(of_order) != 0]
    return float(gaps.min()) if len(gaps) else np.inf


def nearest(
    queries: NDArray[np.float32], passages: NDArray[np.float32], k: int, similarity: str = "cosine"
) -> tuple[IntArray, FloatArray]:
    """The `k` most similar passages of each query, best first, and their similarities: exact, [queries, k] each.

    Of equal ones the first passages are taken. A block of `BLOCK` similarities is held at once; float32.
    """
    k = min(k, len(passages))
    places, values = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float64)
    rows = max(1, BLOCK // min(len(passages), COLUMNS))
    for start in range(0, len(queries), rows):
        part = queries[start : start + rows]
        best = [(np.empty(0, np.int64), np.empty(0, np.float32))] * len(part)
        for begin in range(0, len(passages), COLUMNS):
            block = similarities(part, passages[begin : begin + COLUMNS], similarity)
            best = [_best(known, row, begin, k) for known, row in zip(best, block, strict=True)]
        for row, (positions, scores) in enumerate(best, start=start):
            places[row], values[row] = positions, scores
    return places, values


BLOCK, COLUMNS = 1 << 22, 1 << 14  # 16 MiB of float32; passages at once


def _best(
    known: tuple[IntArray, NDArray[np.float32]], row: NDArray[np.float32], begin: int, k: int
) -> tuple[IntArray, NDArray[np.float32]]:
    """The best of those that are known, all before `begin`, and of a row of further ones."""
    least = np.partition(row, len(row) - k)[len(row) - k] if len(row) > k else -np.inf
    kept = np.flatnonzero(row >= least)
    positions, scores = np.concatenate([known[0], begin + kept]), np.concatenate([known[1], row[kept]])
    order = np.argsort(-scores, kind="stable")[:k]
    return positions[order], scores[order]


def similarities(queries: NDArray[np.float32], passages: NDArray[np.float32], similarity: str) -> NDArray[np.float32]:
    """Of each query to each passage, [queries, passages]: higher is nearer, so distances have their sign changed.

    `cosine`, `dot`, `euclidean` or `manhattan`, as sentence-transformers' SimilarityFunction.
    """
    a, b = queries.astype(np.float32), passages.astype(np.float32)
    if similarity == "manhattan":
        return np.stack([-np.abs(b - row).sum(axis=1) for row in a]).astype(np.float32)
    if similarity == "cosine":
        a, b = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (a, b))
    if similarity == "euclidean":  # in float64: of long vectors near each other the difference of these sums is small
        long = [x.astype(np.float64) for x in (a, b)]
        squares = (long[0] ** 2).sum(axis=1)[:, None] + (long[1] ** 2).sum(axis=1) - 2 * long[0] @ long[1].T
        return np.asarray(-np.sqrt(np.maximum(squares, 0)), np.float32)
    return np.asarray(a @ b.T, np.float32)
