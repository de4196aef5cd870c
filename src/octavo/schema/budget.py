"""What a candidate may lose and must gain, and whether the figures show that it does.

PASS: the figure's one-sided 95 % bound on the bad side keeps the limit. FAIL: the bound on the good side breaks it.
UNSURE: neither, and how many rows would tell. A speed that was measured on a busy machine is UNSURE.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from octavo.errors import InputError
from octavo.metrics.estimates import Estimate, rows_to_decide
from octavo.metrics.quantiles import FEWEST, LOWEST

Verdict = Literal["PASS", "FAIL", "UNSURE"]
RANGES = {  # of the limits that mean something
    "max_drop": (0.0, 100.0),
    "min_speedup": (0.01, 1000.0),
    "max_size": (0.001, 10.0),  # more than all where the first one is an int8 model in use
    "min_agreement": (0.0, 1.0),
    "min_cosine": (-1.0, 1.0),
    "min_cosine_worst": (-1.0, 1.0),
}


@dataclass(frozen=True)
class Budget:
    """Limits, each None where there is none.

    `max_drop`: points (100 x) that the first score may fall; `min_speedup`: the baseline's seconds by the candidate's;
    `max_size`: share of the baseline's bytes; `min_agreement`: share of rows with the baseline's label; `min_cosine`:
    mean cosine to the baseline's vectors, `min_cosine_worst`: that of the worst texts, as the 1st percentile of all.
    """

    max_drop: float | None = None
    min_speedup: float | None = None
    max_size: float | None = None
    min_agreement: float | None = None
    min_cosine: float | None = None
    min_cosine_worst: float | None = None

    def __post_init__(self) -> None:
        """Refuse limits that mean nothing.

        Raises:
            InputError: a limit is out of its range, or all are None.
        """
        given = {name: getattr(self, name) for name in RANGES if getattr(self, name) is not None}
        if not given:
            raise InputError("a budget without a limit decides nothing", allowed=", ".join(RANGES))
        for name, value in given.items():
            low, high = RANGES[name]
            if not low <= value <= high:
                raise InputError(f"{name} is out of range", got=value, allowed=f"{low:g} to {high:g}")


@dataclass(frozen=True)
class Facts:
    """What a budget is held against: figures of one candidate on `rows` examples.

    `size` is a share of the baseline's, `not_finite` how many answers have NaN or infinity in them, `was_busy` whether
    other work took so much of the machine that the speed-up decides nothing.
    """

    rows: int
    differences: Mapping[str, Estimate]
    closeness: Mapping[str, Estimate]
    speedup: Estimate
    size: float
    not_finite: int = 0
    was_busy: bool = False


@dataclass(frozen=True)
class Check:
    """One limit: the figure, its one-sided 95 % bounds (None where there is no figure), and what follows.

    `rows_needed`: of an UNSURE one, how many rows would decide if the figure stays what it is; `was_busy`: it is UNSURE
    whatever the figure, because the machine was busy with other work.
    """

    name: str
    limit: float
    value: float | None
    lower: float | None
    upper: float | None
    verdict: Verdict
    rows_needed: int | None = None
    was_busy: bool = False


@dataclass(frozen=True)
class Judgement:
    """A candidate's verdict, the worst of its checks."""

    verdict: Verdict
    checks: tuple[Check, ...]


def judge(budget: Budget, facts: Facts) -> Judgement:
    """The verdict on a candidate. Where there is nothing to decide a limit on, it fails; so does NaN in its answers."""
    checks, broken = [], facts.not_finite
    if broken:
        checks.append(Check("not_finite", 0, broken, broken, broken, "FAIL"))
    if budget.max_drop is not None and not broken:
        headline = next(iter(facts.differences.values()), None)
        points = None if headline is None else _drop(headline)
        checks.append(_check("max_drop", budget.max_drop, points, facts.rows, at_most=True))
    if budget.min_speedup is not None:
        check = _check("min_speedup", budget.min_speedup, facts.speedup)
        checks.append(replace(check, verdict="UNSURE", was_busy=True) if facts.was_busy else check)
    if budget.max_size is not None:
        verdict: Verdict = "PASS" if facts.size <= budget.max_size else "FAIL"
        checks.append(Check("max_size", budget.max_size, facts.size, facts.size, facts.size, verdict))
    for name, figure in (("agreement", "agreement"), ("cosine", "cosine"), ("cosine_worst", "cosine_p1")):
        limit = getattr(budget, f"min_{name}")
        if limit is not None and not broken:
            checks.append(_check(f"min_{name}", limit, facts.closeness.get(figure), facts.rows))
    verdicts = {check.verdict for check in checks}
    worst: Verdict = "FAIL" if "FAIL" in verdicts else "UNSURE" if "UNSURE" in verdicts else "PASS"
    return Judgement(worst, tuple(checks))


def _drop(difference: Estimate) -> Estimate:
    """The drop in points: 100 x (baseline - candidate)."""
    figures = (difference.value, difference.high, difference.low, difference.upper, difference.lower)
    value, low, high, lower, upper = (-100 * figure + 0.0 for figure in figures)
    return Estimate(value, low, high, lower, upper, difference.method, difference.changed)


def _check(
    name: str, limit: float, figure: Estimate | None, rows: int | None = None, *, at_most: bool = False
) -> Check:
    """Whether a figure keeps a limit; `rows` is how many it was measured on, where more of them could decide."""
    if figure is None:
        return Check(name, limit, None, None, None, "FAIL")
    kept = figure.upper <= limit if at_most else figure.lower >= limit
    exceeded = figure.lower > limit if at_most else figure.upper < limit
    verdict: Verdict = "PASS" if kept else "FAIL" if exceeded else "UNSURE"
    needed = None
    if verdict == "UNSURE" and figure.method == "order":
        needed = FEWEST if figure.lower <= LOWEST else None
    elif verdict == "UNSURE" and rows:
        needed = rows_to_decide(figure, rows, limit)
    return Check(name, limit, figure.value, figure.lower, figure.upper, verdict, needed)
