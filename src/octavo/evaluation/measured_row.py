"""One row of a comparison: what was measured of one model, and what that says beside the baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.data.examples import Example
from octavo.encoding.batching import Encoded, Outputs
from octavo.encoding.tokenizing import Asked
from octavo.evaluation.benchmark import Timing
from octavo.evaluation.breakdown import most_changed, score_groups
from octavo.evaluation.entries import Entry
from octavo.metrics.differences import DIFFERENCES
from octavo.metrics.estimates import Estimate, cosine_estimate, identical, mcnemar, ratio_estimate, share_estimate
from octavo.schema.comparison import ComparedRow, Latency, McNemar
from octavo.tasks.task import Task


@dataclass(frozen=True)
class Compared:
    """What is the same for all rows: the task, the examples and how they were asked, and the baseline's answers."""

    task: Task[Any]
    examples: Sequence[Example]
    asked: Asked
    baseline: Entry
    timing: Timing
    reference: Any

    def row(self, entry: Entry, timing: Timing) -> ComparedRow:
        """The row of one model, which may be the baseline."""
        row = self._measured(entry, timing)
        if row.not_finite:
            return row
        first = timing is self.timing
        found = self.reference if first else self.task.read(timing.outputs, self.asked)
        same = _same(self.timing.outputs, timing.outputs)
        fidelity = self.task.fidelity(self.reference, found, self.asked.rows)
        row = replace(
            row,
            quality=self.task.quality(found, self.examples),
            differences=self._differences(found, same=same),
            fidelity=fidelity,
            closeness=_closeness(fidelity, self.task.distances(self.reference, found), same=same),
            batch_effect=self.task.batch_effect(timing.alone, timing.among),
        )
        if first:
            return row
        pair, lengths = (self.reference, found), _lengths(self.asked.encoded, len(self.examples))
        return replace(
            row,
            groups=score_groups(self.task, *pair, self.examples, lengths),
            changed=most_changed(self.task, *pair, self.examples),
            mcnemar=self._mcnemar(found),
        )

    def _measured(self, entry: Entry, timing: Timing) -> ComparedRow:
        """The row without what its answers say."""
        same = timing is self.timing
        return ComparedRow(
            name=entry.name,
            method=entry.method,
            engine=entry.contender.engine,
            bytes=entry.bytes,
            smaller=self.baseline.bytes / entry.bytes,
            seconds=timing.seconds,
            speedup=identical(1.0) if same else ratio_estimate(self.timing.turns, timing.turns),
            rows_per_second=len(self.asked.rows) / timing.seconds,
            rounds=len(timing.rounds),
            spread=float(np.ptp(timing.rounds) / np.median(timing.rounds)),
            load_seconds=timing.load_seconds,
            cold_start_seconds=timing.cold_start_seconds,
            peak_bytes=timing.peak_bytes,
            latency_ms=_latency(timing.single),
            quality={},
            differences={},
            fidelity={},
            closeness={},
            batch_effect=None,
            not_finite=not_finite(timing),
            turns=tuple(tuple(part) for part in timing.turns.tolist()),
            singles_ms=tuple((1000 * timing.single).tolist()),
            origin=entry.origin,
        )

    def _differences(self, found: Any, *, same: bool) -> dict[str, Estimate]:
        first, second = (self.task.judged(one, self.examples) for one in (self.reference, found))
        if first is None or second is None:
            return {}
        names = self.task.quality(found, self.examples)
        if same:
            return {name: identical() for name in names}
        return {name: DIFFERENCES[name](first[0], first[1], second[1]) for name in names if name in DIFFERENCES}

    def _mcnemar(self, found: Any) -> McNemar | None:
        """The test on rows that one model alone has right; None without labels, or where more than one is of a row."""
        first, second = (self.task.judged(one, self.examples) for one in (self.reference, found))
        if self.task.scored or first is None or second is None or first[1].ndim > 1:
            return None
        before, after = first[1] == first[0], second[1] == first[0]
        worse, better = int(np.sum(before & ~after)), int(np.sum(after & ~before))
        return McNemar(worse, better, mcnemar(worse, better))


def not_finite(timing: Timing) -> int:
    """How many rows have an answer with NaN or infinity in it."""
    parts = (timing.outputs, timing.alone, timing.among)
    return sum(not bool(np.isfinite(row).all()) for found in parts for row in found)


def _same(first: Outputs, second: Outputs) -> bool:
    """Whether two models answered the same to the last bit."""
    return all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


def _lengths(encoded: Sequence[Encoded], examples: int) -> NDArray[np.int64]:
    """The tokens of each example, all its parts together; of pairs whose texts are rows of their own, of the first."""
    lengths = np.zeros(examples, np.int64)
    for index, row in enumerate(encoded):
        owner = index if row.row is None else row.row
        lengths[owner : owner + 1] += len(row.ids)
    return lengths


def _closeness(fidelity: Mapping[str, float], distances: NDArray[np.float64], *, same: bool) -> dict[str, Estimate]:
    """The figure that a budget without labels is about."""
    if "agreement" in fidelity:
        share = fidelity["agreement"]
        return {"agreement": identical(1.0) if same else share_estimate(round(share * len(distances)), len(distances))}
    return {"cosine": identical(1.0) if same else cosine_estimate(distances)}


def _latency(seconds: NDArray[np.float64]) -> Latency:
    middle, high = np.percentile(seconds, [50, 95])
    return Latency(p50=float(middle * 1000), p95=float(high * 1000))
