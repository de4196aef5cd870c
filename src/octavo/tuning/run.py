"""One search under way: it asks for measurements, judges them, and keeps each in the study before it goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from octavo.metrics.estimates import identical
from octavo.reporting.comparison_tables import check_reason
from octavo.schema.budget import Budget, Check, Facts, Judgement, judge
from octavo.schema.search import FLOAT, Aim, Candidate, Quality, Speed, Split, Trial
from octavo.tuning.study import Study

Measured = Quality | str  # a figure, or why there is none


class Measurer(Protocol):
    """What a strategy asks: the real one builds and runs models, a simulated one draws numbers."""

    def rows(self, split: Split) -> int:
        """How many examples a split has."""

    def qualities(self, candidates: Sequence[Candidate], split: Split, rows: int) -> Iterator[Measured]:
        """Of each candidate the answers to the first `rows` examples of the split, or why there are none."""

    def speeds(self, candidates: Sequence[Candidate], split: Split) -> list[Speed | str]:
        """The speeds of candidates, which run in turns with the float graph and with nothing else."""


class Run:
    """The state of a search: `latest` is the trial on the most rows of the selection of each candidate, by its key."""

    def __init__(self, measurer: Measurer, study: Study, budget: Budget, aim: Aim) -> None:
        self.measurer, self.study, self.budget, self.aim = measurer, study, budget, aim
        self.latest: dict[str, Trial] = {}
        self.timed: dict[str, Speed] = {}
        self.expected: dict[str, int] = {}  # trials to come, by the step that they are of
        self._float_bytes = 0

    def qualities(
        self, candidates: Sequence[Candidate], rows: int, step: str, split: Split = "selection"
    ) -> Iterator[Trial]:
        """Measure candidates on so many examples, but those that the study has; a trial for each."""
        missing = [candidate for candidate in candidates if self.study.find(candidate, split, rows) is None]
        figures = iter(self.measurer.qualities(missing, split, rows)) if missing else iter(())
        for candidate in candidates:
            trial = self.study.find(candidate, split, rows)
            if trial is None:
                start = time.perf_counter()
                measured = next(figures)
                quality = None if isinstance(measured, str) else measured
                reason = measured if isinstance(measured, str) else ""
                seconds = time.perf_counter() - start
                trial = Trial(step, split, rows, candidate, "FAIL", reason, quality, seconds=seconds)
                trial = self._judged(trial)
                self.study.append(trial)
            else:
                trial = self._again(trial, step)
            if split == "selection" and rows >= getattr(self.latest.get(candidate.key), "rows", 0):
                self.latest[candidate.key] = trial
            self._count(step)
            yield trial

    def timings(self, candidates: Sequence[Candidate], split: Split, step: str) -> Iterator[Trial]:
        """Time candidates, those together that the study has not timed, or while other work took the machine."""
        rows = self.measurer.rows(split)
        known = {candidate.key: self.study.find(candidate, split, rows, timed=True) for candidate in candidates}
        missing = [
            candidate
            for candidate in candidates
            if (trial := known[candidate.key]) is None or (trial.speed and trial.speed.busy)
        ]
        start = time.perf_counter()
        speeds = self.measurer.speeds(missing, split) if missing else []
        seconds = (time.perf_counter() - start) / max(1, len(missing))
        new = [
            Trial(step, split, rows, candidate, "FAIL", speed, timed=True, seconds=seconds)
            if isinstance(speed, str)
            else Trial(step, split, rows, candidate, "PASS", "", speed=speed, timed=True, seconds=seconds)
            for candidate, speed in zip(missing, speeds, strict=True)
        ]
        new = [self._judged(trial) for trial in new]
        if new:
            self.study.append(*new)
        known |= {trial.candidate.key: trial for trial in new}
        for candidate in candidates:
            trial = known[candidate.key]
            assert trial is not None
            trial = self._again(trial, step)
            if trial.speed and split == "selection":
                self.timed[candidate.key] = trial.speed
            self._count(step)
            yield trial

    def judge(self, quality: Quality | None, speed: Speed | None) -> Judgement:
        """The verdict on what is known: limits of quality and size, and of speed, each where it was measured."""
        limits = self.budget if speed else replace(self.budget, min_speedup=None)
        if quality is None:
            if not (speed and limits.min_speedup):
                return Judgement("PASS", ())
            limits = Budget(min_speedup=limits.min_speedup)
            quality = Quality(0, {}, {}, {}, 0.0, 1)
        speedup, busy = (speed.speedup, bool(speed.busy)) if speed else (identical(1.0), False)
        size = quality.bytes / max(1, self._float_bytes)
        figures = quality.differences, quality.closeness, speedup, size, quality.not_finite
        return judge(limits, Facts(quality.rows, *figures, was_busy=busy))

    def passes(self, candidate: Candidate) -> bool:
        """Whether it keeps the limits of quality and size on the most examples that it was measured on."""
        trial = self.latest.get(candidate.key)
        return trial is not None and trial.verdict == "PASS"

    def _judged(self, trial: Trial) -> Trial:
        if trial.quality is None and trial.speed is None:
            return trial
        if trial.candidate == FLOAT and trial.quality:
            self._float_bytes = trial.quality.bytes
        judgement = self.judge(trial.quality, trial.speed)
        score = next(iter(trial.quality.scores), None) if trial.quality else None
        reason = "; ".join(check_reason(check, score=score) for check in judgement.checks)
        if trial.speed:
            speed = trial.speed
            measured = f"{speed.speedup.value:.2f}x as fast as float, {speed.p95_ms:.1f} ms for a row alone (p95)"
            reason = f"{measured}; {reason}" if reason else measured
        return replace(trial, verdict=judgement.verdict, checks=judgement.checks, reason=reason)

    def _again(self, known: Trial, step: str) -> Trial:
        """A trial that the study has, judged by the budget of now; kept where that says otherwise."""
        trial = self._judged(replace(known, step=step))
        if (trial.verdict, trial.checks) != (known.verdict, known.checks):
            self.study.append(trial)
        return trial

    def expect(self, step: str, trials: int) -> None:
        """Note how many trials of a step are to come."""
        self.expected[step] = trials

    def _count(self, step: str) -> None:
        if self.expected.get(step, 0) > 0:
            self.expected[step] -= 1

    @property
    def seconds_left(self) -> float:
        """About how long the trials that are sure to come take, by the mean of those that were made."""
        known = [trial for trial in self.study.trials if trial.seconds]
        mean = sum(trial.seconds for trial in known) / max(1, len(known))
        left = 0.0
        for step, trials in self.expected.items():
            own = [trial.seconds for trial in known if trial.step == step]
            left += trials * (sum(own) / len(own) if own else mean)
        return left


def first_check(trial: Trial) -> Check | None:
    """The check of quality that decides first; None where nothing was measured."""
    checks = [check for check in trial.checks if check.name not in {"max_size", "min_speedup"}]
    return checks[0] if checks and checks[0].name != "not_finite" else None


def risk(trial: Trial) -> float:
    """By how much the 95 % bound on the bad side of the first check exceeds the limit; below 0 where it passes."""
    check = first_check(trial)
    if check is None or check.upper is None or check.lower is None:
        return float("inf")
    return check.upper - check.limit if check.name == "max_drop" else check.limit - check.lower


def moved(trial: Trial | None) -> float:
    """How far answers moved on the mean; infinite where there are none."""
    quality = trial.quality if trial else None
    return float("inf") if quality is None or quality.not_finite else quality.moved


def rows_needed(trial: Trial) -> int | None:
    """How many rows would decide every check that is UNSURE; None where none does, or none is."""
    needed = [check.rows_needed for check in trial.checks if check.verdict == "UNSURE" and not check.was_busy]
    return max((rows for rows in needed if rows), default=None) if None not in needed else None
