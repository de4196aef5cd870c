"""One row of a comparison: what was measured of one model, and how it compares with the baseline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.data.examples import Example
from octavo.encoding.batching import Encoded, Outputs
from octavo.evaluation.benchmark import Timing
from octavo.evaluation.breakdown import most_changed, score_groups
from octavo.evaluation.entries import Entry
from octavo.evaluation.readings import Reading
from octavo.metrics.differences import DIFFERENCES, MARGINED
from octavo.metrics.estimates import (
    Estimate,
    cosine_estimate,
    identical,
    mcnemar,
    ratio_estimate,
    share_estimate,
    tau_estimate,
)
from octavo.metrics.movement import modelled_accuracy
from octavo.metrics.quantiles import low_percentile_estimate
from octavo.schema.comparison import ComparedRow, Latency, McNemar
from octavo.tasks.task import Task


@dataclass(frozen=True)
class Compared:
    """What is the same for all rows: how the baseline reads the examples, and its answers.

    `mixed`: not all rows have its tokens, so that all answers are held against its own by the text (`Task.by_text`).
    """

    reading: Reading
    baseline: Entry
    timing: Timing
    reference: Any
    mixed: bool = False

    @property
    def task(self) -> Task[Any]:
        """The baseline's."""
        return self.reading.task

    @property
    def examples(self) -> Sequence[Example]:
        """What was asked."""
        return self.reading.examples

    def row(self, entry: Entry, reading: Reading, timing: Timing) -> ComparedRow:
        """The row of one model, which may be the baseline."""
        row = self._measured(entry, reading, timing)
        if row.not_finite:
            return row
        is_baseline = timing is self.timing
        outputs = self.reference if is_baseline else reading.task.read(timing.outputs, reading.asked)
        same = is_baseline or _same(self.timing.outputs, timing.outputs)
        told = [
            self.task.by_text(answers, self.examples) if self.mixed else answers
            for answers in (self.reference, outputs)
        ]
        fidelity = self.task.fidelity(told[0], told[1], self.reading.asked.rows)
        row = replace(
            row,
            quality=self.task.quality(outputs, self.examples),
            differences=differences(self.task, self.examples, (self.reference, outputs), same=same),
            fidelity=fidelity,
            closeness=closeness(self.task, fidelity, (told[0], told[1]), same=same),
            batch_effect=self.task.batch_effect(timing.alone, timing.among),
            stored=self.task.stored_vectors(self.reference, outputs, self.examples),
        )
        if is_baseline:
            return row
        lengths = _lengths(self.reading.asked.encoded, len(self.examples))
        return replace(
            row,
            groups=score_groups(self.task, self.reference, outputs, self.examples, lengths),
            changed=most_changed(self.task, told[0], told[1], self.examples),
            mcnemar=self._mcnemar(outputs),
            modelled=self._modelled(outputs),
        )

    def _measured(self, entry: Entry, reading: Reading, timing: Timing) -> ComparedRow:
        """The row without what its answers say."""
        is_baseline = timing is self.timing
        middle, high = np.percentile(timing.single, [50, 95])
        return ComparedRow(
            name=entry.name,
            method=entry.method,
            engine=entry.contender.engine,
            bytes=entry.bytes,
            smaller=self.baseline.bytes / entry.bytes,
            seconds=timing.seconds,
            speedup=identical(1.0) if is_baseline else ratio_estimate(self.timing.turns, timing.turns),
            rows_per_second=len(reading.asked.rows) / timing.seconds,
            text_rows_per_second=timing.text_rows_per_second,
            rounds=len(timing.rounds),
            spread=float(np.ptp(timing.rounds) / np.median(timing.rounds)),
            load_seconds=timing.load_seconds,
            cold_start_seconds=timing.cold_start_seconds,
            peak_bytes=timing.peak_bytes,
            latency_ms=Latency(p50=float(middle * 1000), p95=float(high * 1000)),
            quality={},
            differences={},
            fidelity={},
            closeness={},
            batch_effect=None,
            not_finite=not_finite(timing),
            turns=tuple(tuple(part) for part in timing.turns.tolist()),
            singles_ms=tuple((1000 * timing.single).tolist()),
            origin=entry.origin,
            tokens=reading.tokens,
            truncated=reading.truncated,
        )

    def _modelled(self, outputs: Any) -> Estimate | None:
        """The difference of accuracies by margins; None where another score is the first, or nothing moved."""
        margins = self.task.margins(self.reference, outputs, self.examples)
        return None if margins is None else modelled_accuracy(margins)

    def _mcnemar(self, outputs: Any) -> McNemar | None:
        """The test on rows that only one model has right; None without labels, or where a row has several."""
        first, second = self.task.judged(self.reference, self.examples), self.task.judged(outputs, self.examples)
        if first is None or second is None or first[1].ndim > 1 or first[1].dtype.kind != "i":
            return None
        before, after = first[1] == first[0], second[1] == first[0]
        worse, better = int(np.sum(before & ~after)), int(np.sum(after & ~before))
        return McNemar(worse, better, mcnemar(worse, better))


def differences(
    task: Task[Any], examples: Sequence[Example], answers: tuple[Any, Any], *, same: bool
) -> dict[str, Estimate]:
    """Those of the scores of two models' answers, the second less the first; none without labels.

    `same`: the answers are the same to the last bit.
    """
    reference, outputs = answers
    first, second = task.judged(reference, examples), task.judged(outputs, examples)
    if first is None or second is None:
        return {}
    names = task.quality(outputs, examples)
    if same:
        return {name: identical() for name in names}
    margins = {"margins": task.margins(reference, outputs, examples)}
    judged = first[0], first[1], second[1]
    known = [name for name in names if name in DIFFERENCES]
    return {name: DIFFERENCES[name](*judged, **(margins if name in MARGINED else {})) for name in known}


def not_finite(timing: Timing) -> int:
    """How many rows have an answer with NaN or infinity in it."""
    return sum(broken_rows(outputs) for outputs in (timing.outputs, timing.alone, timing.among))


def broken_rows(outputs: Outputs) -> int:
    """How many rows of a session's outputs have NaN or infinity in them."""
    return sum(not bool(np.isfinite(row).all()) for row in outputs)


def _same(first: Outputs, second: Outputs) -> bool:
    """Whether all answers are the same to the last bit."""
    return len(first) == len(second) and all(np.array_equal(*pair) for pair in zip(first, second, strict=True))


def _lengths(encoded: Sequence[Encoded], examples: int) -> NDArray[np.int64]:
    """The tokens of each example, all its parts together; of pairs whose texts are rows of their own, of the first."""
    lengths = np.zeros(examples, np.int64)
    for index, row in enumerate(encoded):
        owner = index if row.row is None else row.row
        lengths[owner : owner + 1] += len(row.ids)
    return lengths


def closeness(
    task: Task[Any], fidelity: Mapping[str, float], answers: tuple[Any, Any], *, same: bool
) -> dict[str, Estimate]:
    """The figures that a budget without labels is about, the one to decide by first; none of vectors of two widths."""
    reference, outputs = answers
    if orders := task.orders(reference, outputs) if "agreement" not in fidelity else None:
        return {"tau": identical(1.0) if same else tau_estimate(*orders)}
    if "agreement" not in fidelity and "cosine_mean" not in fidelity:
        return {}
    distances = task.distances(reference, outputs)
    if "agreement" in fidelity:
        share, n = fidelity["agreement"], len(distances)
        return {"agreement": identical(1.0) if same else share_estimate(round(share * n), n)}
    if same:
        return {"cosine": identical(1.0), "cosine_p1": identical(1.0)}
    return {"cosine": cosine_estimate(distances), "cosine_p1": low_percentile_estimate(1 - distances)}
