"""A search as cells and sentences: what was tried, what became of it, and what was chosen."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from octavo.metrics.estimates import Estimate
from octavo.reporting.comparison_tables import COLUMNS, MIB, NOTHING, Cells, check_reason, points
from octavo.reporting.languages import Say, english
from octavo.schema.budget import Budget
from octavo.schema.search import FLOAT, Candidate, Outcome, Quality, SearchRecord, Trial


def latest_trials(record: SearchRecord) -> list[Trial]:
    """The trial of each candidate on the most examples of the selection; layers that were alone are left out."""
    latest: dict[str, Trial] = {}
    for trial in record.trials:
        if trial.split == "selection" and not trial.timed and trial.step != "sensitivity":
            known = latest.get(trial.candidate.key)
            if known is None or trial.rows >= known.rows:
                latest[trial.candidate.key] = trial
    return list(latest.values())


def timed_trials(record: SearchRecord) -> dict[str, Trial]:
    """The timing of each candidate that was timed on the selection, by its key."""
    trials = (trial for trial in record.trials if trial.timed and trial.speed and trial.split == "selection")
    return {trial.candidate.key: trial for trial in trials}


def step_name(step: str, say: Say = english) -> str:
    """A step in words; those of the ladder have what they change behind a colon."""
    head, colon, rest = step.partition(": ")
    rest = "embeddings of more bits" if rest == "embeddings float" else rest  # as studies of 0.1.0 call it
    return say(head) + (f": {say(rest)}" if colon else "")


def reason(trial: Trial, say: Say = english) -> str:
    """Why a trial has its verdict."""
    score = next(iter(trial.quality.scores), None) if trial.quality else None
    return "; ".join(check_reason(check, say, score) for check in trial.checks) or trial.reason


def trial_cells(record: SearchRecord, say: Say = english) -> Cells:
    """A row for each candidate: how far it came, its quality against float, size, speed and verdict."""
    head = ("candidate", "step", "rows", "against float", "MiB", "faster", "1 row, ms p95", "verdict")
    speeds, cells = timed_trials(record), [[say(name) for name in head]]
    numbers = {point.key: number for number, point in enumerate(record.outcome.front, 1)} if record.outcome else {}
    for trial in latest_trials(record):
        quality, timed = trial.quality, speeds.get(trial.candidate.key)
        speed = timed.speed if timed else None
        number = numbers.get(trial.candidate.key)
        name = trial.candidate.name if number is None else f"[{number}] {trial.candidate.name}"
        cells.append(
            [
                name,
                step_name(trial.step, say),
                f"{trial.rows:,}",
                against_float(quality, record.identity.budget, say),
                f"{quality.bytes / MIB:.1f}" if quality else NOTHING,
                f"{speed.speedup.value:.2f}x" if speed else NOTHING,
                f"{speed.p95_ms:.1f}" if speed else NOTHING,
                trial.verdict,
            ]
        )
    return cells


def deciding(quality: Quality, budget: Budget) -> tuple[str, Estimate]:
    """The figure that the budget is about: the difference of the first score, or the likeness to float's answers."""
    if budget.max_drop is not None and quality.differences:
        return next(iter(quality.differences.items()))
    limits = {"agreement": budget.min_agreement, "cosine": budget.min_cosine, "cosine_p1": budget.min_cosine_worst}
    named = [name for name, limit in limits.items() if limit is not None and name in quality.closeness]
    name = named[0] if named else next(iter(quality.closeness))
    return name, quality.closeness[name]


def against_float(quality: Quality | None, budget: Budget, say: Say = english) -> str:
    """The figure that decides, with its interval; a difference in points."""
    if quality is None or quality.not_finite:
        return NOTHING
    name, estimate = deciding(quality, budget)
    title, show = COLUMNS[name]
    if name in quality.differences:
        return f"{say(title)} {points(estimate, say)}"
    return f"{say(title)} {show(estimate.value)} ({show(estimate.low)} - {show(estimate.high)})"


def dropped_cells(record: SearchRecord, say: Say = english) -> Cells:
    """What did not pass, and why."""
    trials = [trial for trial in latest_trials(record) if trial.verdict != "PASS"]
    rows = [[trial.candidate.name, step_name(trial.step, say), trial.verdict, reason(trial, say)] for trial in trials]
    return [[say(name) for name in ("candidate", "step", "verdict", "reason")], *rows]


def ladder_cells(record: SearchRecord, say: Say = english) -> Cells:
    """Each step of the ladder, what it tried and what came of it."""
    trials = [trial for trial in record.trials if trial.step.startswith("ladder")]
    rows = [
        [
            step_name(trial.step, say).partition(": ")[2],
            trial.candidate.name + layers_named(trial.candidate, say),
            f"{trial.rows:,}",
            against_float(trial.quality, record.identity.budget, say),
            trial.verdict,
        ]
        for trial in trials
    ]
    return [[say(name) for name in ("changed", "candidate", "rows", "against float", "verdict")], *rows]


def layers_named(candidate: Candidate, say: Say = english) -> str:
    """The layers that a candidate's rules keep float, or round per token, and those that are int8 all the same."""
    rules = candidate.recipe.layers
    floats = [rule.match for rule in rules if rule.keep.startswith("float")]
    tokens = [rule.match for rule in rules if rule.keep == "per-token"]
    others = [f"{rule.keep}: {rule.match}" for rule in rules if rule.keep.startswith("int")]
    told = [f"{say('float')}: {', '.join(floats)}"] if floats else []
    told += [f"{say('per token')}: {', '.join(tokens)}"] if tokens else []
    return "".join(f"; {part}" for part in [*told, *others])


def reasons_of_layers(outcome: Outcome, say: Say = english) -> list[str]:
    """Why each layer that the chosen one keeps float is kept so."""
    measured = {layer.path: layer for sensitivity in outcome.sensitivity for layer in sensitivity.layers}
    sentences = []
    for rule in outcome.chosen.recipe.layers:
        known = next((layer for path, layer in measured.items() if fnmatchcase(path, rule.match)), None)
        if known and rule.keep.startswith("float"):
            text = say("{layer} stays float: in int8, alone, it moved answers by {moved:.2g} (its error {db:.1f} dB)")
            sentences.append(text.format(layer=known.path, moved=known.moved, db=known.decibels))
    return sentences


def sensitivity_cells(outcome: Outcome, say: Say = english) -> Cells:
    """The layers that were int8 alone: the stored error, and what it did to answers."""
    rows = [
        [sensitivity.candidate.name, layer.path, f"{layer.decibels:.1f}", f"{layer.moved:.2g}"]
        for sensitivity in outcome.sensitivity
        for layer in sensitivity.layers
    ]
    return [[say(name) for name in ("candidate", "layer", "dB", "moved")], *rows]


def outcome_sentences(record: SearchRecord, say: Say = english) -> list[str]:
    """What was chosen, what it is on examples that the search never saw, and what it was chosen by."""
    outcome, budget = record.outcome, record.identity.budget
    if outcome is None:
        return [say("The search has not ended.")]
    chosen, quality = outcome.chosen, outcome.confirmed.quality
    if chosen == FLOAT:
        timed = [trial for trial in record.trials if trial.timed and trial.candidate != FLOAT]
        if timed and not any(trial.speed for trial in timed):
            return [say("Nothing could be timed, so nothing was chosen: {reason}").format(reason=timed[-1].reason)]
        return [say("Do not quantize: no candidate keeps the budget.")]
    sentences = [f"{outcome.verdict}: {chosen.name}{layers_named(chosen, say)}"]
    text = say("on {n:,} examples that the search never saw: {figure}")
    sentences.append(text.format(n=outcome.confirmed.rows, figure=against_float(quality, budget, say)))
    text = say("it was chosen by {n:,} others, which flatter it: {figure}")
    sentences.append(text.format(n=outcome.selected.rows, figure=against_float(outcome.selected.quality, budget, say)))
    checks = outcome.confirmed.checks
    score = next(iter(quality.scores), None) if quality else None
    sentences += [f"{check.verdict}: {check_reason(check, say, score)}" for check in checks]
    if speed := outcome.speed:
        speedup = speed.speedup
        text = say("{faster:.2f}x as fast as the float graph ({low:.2f} to {high:.2f}), {ms:.1f} ms for a row (p95)")
        sentences.append(text.format(faster=speedup.value, low=speedup.low, high=speedup.high, ms=speed.p95_ms))
        if speed.busy:
            sentences.append(say("the machine was busy while it was timed: no speed here is to be believed"))
    sentences += reasons_of_layers(outcome, say)
    for layers in outcome.sensitivity:
        if layers.correlation is not None:
            text = say("stored errors and real damage of {n} layers of {name}: rank correlation {value:.2f}")
            sentences.append(text.format(n=len(layers.layers), name=layers.candidate.name, value=layers.correlation))
    if outcome.rows_needed:
        sentences.append(say("about {n:,} rows would decide").format(n=outcome.rows_needed))
    return sentences


def front_lines(front: Sequence[Candidate], say: Say = english) -> list[str]:
    """The points of the front that `--pick` takes, by their numbers."""
    return [
        say("--pick {n}: {name}").format(n=n, name=point.name) for n, point in enumerate(front, 1) if point != FLOAT
    ]
