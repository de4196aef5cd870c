"""The strategy: what is measured next, and what is chosen. It depends on nothing but measurements.

So a search that is taken up finds its measurements in the study and comes to the same choice. The order: the float
graph; every candidate on a small subset, where clear failures are dropped; the rest in full, and those that are UNSURE
there on more examples; the ladder where a fast method has no candidate that passes; timings; the choice; and the chosen
one once more, on examples that decided nothing.
"""

from collections.abc import Generator, Sequence
from dataclasses import replace

from octavo.errors import InputError, OctavoError
from octavo.metrics.estimates import identical, share_estimate
from octavo.metrics.quantiles import FEWEST
from octavo.reporting.comparison_tables import check_reason
from octavo.schema.budget import Check, Verdict
from octavo.schema.search import FLOAT, Candidate, Outcome, Sensitivity, Speed, Trial
from octavo.tuning.choice import Timed, choose, pareto_front, worth_timing
from octavo.tuning.ladder import climb
from octavo.tuning.run import Run, moved, risk, rows_needed

SMALL, SHARE = 100, 0.1  # examples of the subset: so many at least, or such a share
FULL = 2000  # examples that are enough for most
CLIMBS = ("static", "dynamic")  # methods that are fast enough to be rescued


def search_steps(
    run: Run, space: Sequence[Candidate], late: Sequence[Candidate] = ()
) -> Generator[Trial, None, Outcome]:
    """Search the space; `late` are candidates of 16 bits, measured where no other one is left."""
    small, full = wave_sizes(run.measurer.rows("selection"))
    for step, trials in (("subset", len(space)), ("full", len(space)), ("timing", 4), ("confirmation", 1)):
        run.expect(step, trials)
    for trial in run.qualities([FLOAT], full, "baseline"):
        _require_decidable(trial)
        yield trial
    yield from run.qualities(space, small, "subset")
    alive = [candidate for candidate in space if run.latest[candidate.key].verdict != "FAIL"]
    run.expect("full", len(alive) if full > small else 0)
    yield from run.qualities(alive if full > small else [], full, "full")
    yield from _more(run, alive)
    sensitivity = yield from _rescue(run, space, small, full)
    if not [trial for trial in _others(run) if trial.verdict != "FAIL"]:
        yield from run.qualities(late, full, "ladder: 16-bit storage")
    yield from run.timings(_to_time(run), "selection", "timing")
    chosen, front = _choose(run)
    return (yield from _confirm(run, chosen, front, sensitivity))


def _require_decidable(trial: Trial) -> None:
    """See that the float graph could be measured, and keeps every limit itself.

    Raises:
        OctavoError: it could not be run.
        InputError: there is nothing to decide a limit on, such as labels.
    """
    if trial.quality is None:
        raise OctavoError("the float graph could not be measured", got=trial.reason)
    if missing := [check for check in trial.checks if check.value is None]:
        then = "where there are no labels: min_agreement, or min_cosine for embeddings"
        raise InputError("a limit that these examples decide nothing on", got=check_reason(missing[0]), then=then)


def wave_sizes(rows: int) -> tuple[int, int]:
    """Examples of the subset and of the full measurement; the same where there are few."""
    full = min(rows, FULL)
    small = max(SMALL, round(SHARE * full))
    return (small if 2 * small <= full else full), full


def _more(run: Run, candidates: Sequence[Candidate]) -> Generator[Trial, None, None]:
    """Measure those that are UNSURE on as many examples as would decide the nearest of them, while there are more."""
    total = run.measurer.rows("selection")
    while unsure := [
        candidate
        for candidate in candidates
        if run.latest[candidate.key].verdict == "UNSURE" and run.latest[candidate.key].rows < total
    ]:
        rows = max(run.latest[candidate.key].rows for candidate in unsure)
        needed = [rows_needed(run.latest[candidate.key]) or total for candidate in unsure]
        wave = min(total, max(min(needed), round(1.5 * rows)))
        run.expect("more", len(unsure))
        yield from run.qualities(unsure, wave, "more")


def _rescue(
    run: Run, space: Sequence[Candidate], small: int, full: int
) -> Generator[Trial, None, tuple[Sensitivity, ...]]:
    """Climb the ladder for each fast method of which no candidate passes, from its nearest candidate."""
    sensitivities = []
    for method in CLIMBS:
        trials = [trial for trial in _others(run) if trial.candidate.recipe.method == method]
        tried = [trial for trial in trials if trial.candidate in space and moved(trial) < float("inf")]
        if not tried or any(run.passes(trial.candidate) for trial in trials) or not _enough(run, full):
            continue
        base = min(tried, key=lambda trial: (risk(trial), moved(trial))).candidate
        sensitivity = yield from climb(run, base, small, full)
        sensitivities += [sensitivity] if sensitivity else []
    return tuple(sensitivities)


def _enough(run: Run, rows: int) -> bool:
    """Whether a candidate that answers just as float does would be seen to pass on so many examples."""
    agreement, worst = run.budget.min_agreement, run.budget.min_cosine_worst
    return (agreement is None or share_estimate(rows, rows).lower >= agreement) and (worst is None or rows >= FEWEST)


def _others(run: Run) -> list[Trial]:
    """The latest trial of each candidate, without the float graph and without layers that were measured alone."""
    return [trial for trial in run.latest.values() if trial.candidate != FLOAT and trial.step != "sensitivity"]


def _to_time(run: Run) -> list[Candidate]:
    """Those that pass; where none does, the nearest."""
    passing = [trial for trial in _others(run) if trial.verdict == "PASS"]
    if passing:
        return worth_timing(passing)
    unsure = [trial for trial in _others(run) if trial.verdict == "UNSURE"]
    return [min(unsure, key=risk).candidate] if unsure else []


def _choose(run: Run) -> tuple[Candidate, tuple[Candidate, ...]]:
    """The chosen candidate, and the Pareto front of all that were timed."""
    trials = {trial.candidate.key: trial for trial in _others(run)}
    timed = [Timed(trials[key].candidate, trials[key], speed) for key, speed in run.timed.items() if key in trials]
    if not timed:
        return FLOAT, (FLOAT,)
    verdicts = {option.candidate.key: run.judge(option.trial.quality, option.speed).verdict for option in timed}
    ranks: tuple[Verdict, ...] = ("PASS", "UNSURE", "FAIL")
    best = min(verdicts.values(), key=ranks.index)
    near = [option for option in timed if verdicts[option.candidate.key] == best]
    floats = run.latest[FLOAT.key]
    alone = Timed(FLOAT, floats, Speed(identical(1.0), 0.0, 1.0, 1.0))
    return choose(near, run.aim).candidate, pareto_front([*timed, alone])


def _confirm(
    run: Run, chosen: Candidate, front: tuple[Candidate, ...], sensitivity: tuple[Sensitivity, ...]
) -> Generator[Trial, None, Outcome]:
    """Measure the chosen one on the examples that the search never saw, and time it once more."""
    rows = run.measurer.rows("confirmation")
    selected, confirmed, speed = run.latest[chosen.key], None, None
    for trial in run.qualities([chosen], rows, "confirmation", "confirmation"):
        confirmed = trial
        yield trial
    assert confirmed is not None
    if chosen != FLOAT:
        for trial in run.timings([chosen], "confirmation", "confirmation: timing"):
            speed = trial.speed
            yield trial
    judgement = run.judge(confirmed.quality, speed) if confirmed.quality else None
    verdict: Verdict = judgement.verdict if judgement and chosen != FLOAT else "FAIL"
    checks = judgement.checks if judgement else ()
    limit = run.budget.min_speedup
    if chosen != FLOAT and limit is not None and speed is None:  # it could not be timed once more
        checks += (Check("min_speedup", limit, None, None, None, "UNSURE"),)
        verdict = "UNSURE" if verdict == "PASS" else verdict
    if judgement:
        confirmed = replace(confirmed, verdict=judgement.verdict, checks=checks)
    needed = rows_needed(confirmed) if verdict == "UNSURE" else None
    return Outcome(chosen, verdict, selected, confirmed, speed, front, sensitivity, needed)
