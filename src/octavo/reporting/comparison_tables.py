"""A comparison as cells and sentences: the same rows for the terminal, for Markdown and for the page.

Every word goes through `say`, which puts it into a language; see `octavo.reporting.languages`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from octavo.metrics.estimates import Estimate
from octavo.reporting.languages import Say, english
from octavo.schema.budget import Check
from octavo.schema.comparison import Answer, ComparedRow, ComparisonRecord

MIB = 2**20
UNSTABLE = 0.25  # range of the rounds' times by their median, from which on speed is not to be trusted
NOTHING = "-"  # where there is no figure
Cells = list[list[str]]  # the first row is the header
# What a task measures -> how its column is headed and written; scores in percent, differences in points
# (of perplexities in percent of the baseline's, with the sign of a score: below 0 where it rose).
COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "accuracy": ("accuracy", lambda value: f"{100 * value:.2f}"),
    "macro_f1": ("macro-F1", lambda value: f"{100 * value:.2f}"),
    "spearman": ("Spearman", lambda value: f"{100 * value:.2f}"),
    "pearson": ("Pearson", lambda value: f"{100 * value:.2f}"),
    "perplexity": ("perplexity", lambda value: f"{value:.4f}"),
    "exact_match": ("exact match", lambda value: f"{100 * value:.2f}"),
    "chrf": ("chrF", lambda value: f"{value:.2f}"),
    "bleu": ("BLEU", lambda value: f"{value:.2f}"),
    "agreement": ("agreement", lambda value: f"{100 * value:.2f}%"),
    "cosine": ("cosine", lambda value: f"{value:.4f}"),
    "kl": ("KL x 1e5", lambda value: f"{1e5 * value:.1f}"),
    "cosine_mean": ("cosine", lambda value: f"{value:.4f}"),
    "cosine_p1": ("1st percentile", lambda value: f"{value:.4f}"),
    "cosine_min": ("smallest", lambda value: f"{value:.4f}"),
    "entity_f1": ("entity F1", lambda value: f"{100 * value:.2f}"),
    "precision": ("precision", lambda value: f"{100 * value:.2f}"),
    "recall": ("recall", lambda value: f"{100 * value:.2f}"),
    "tag_accuracy": ("tags right", lambda value: f"{100 * value:.2f}"),
    "span_agreement": ("entity agreement", lambda value: f"{100 * value:.2f}%"),
    "tag_agreement": ("tag agreement", lambda value: f"{100 * value:.2f}%"),
    "answer_f1": ("F1", lambda value: f"{100 * value:.2f}"),
    "answer_overlap": ("F1 with baseline", lambda value: f"{100 * value:.2f}%"),
    "margin": ("margin left", lambda value: f"{100 * value:.1f}%"),
    "recall_at_10": ("recall@10", lambda value: f"{100 * value:.1f}%"),
}
CORRELATIONS = frozenset({"spearman", "pearson"})  # whose hundredths are no percentage points


def quality_cells(comparison: ComparisonRecord, say: Say = english) -> Cells:
    """One row per model: scores in percent and the first one's difference in points, and likeness to the baseline."""
    first = comparison.rows[0]
    scores = [say(COLUMNS[name][0]) for name in first.quality]
    header = [say("model"), say("engine"), *scores[:1]]
    header += (
        [say("{points} (95 % interval)").format(points=score_unit(next(iter(first.quality)), say))] if scores else []
    )
    header += [*scores[1:], *(say(COLUMNS[name][0]) for name in first.fidelity), say("batch effect")]
    cells = [header]
    for row in comparison.rows:
        scores = [_shown(name, row.quality.get(name)) for name in first.quality]
        differences = [points(row.differences.get(name), say) for name in list(first.quality)[:1]]
        likeness = [_shown(name, row.fidelity.get(name)) for name in first.fidelity]
        effect = NOTHING if row.batch_effect is None else f"{row.batch_effect:.1g}"
        cells.append([title(row), row.engine, *scores[:1], *differences, *scores[1:], *likeness, effect])
    return cells


def speed_cells(comparison: ComparisonRecord, say: Say = english) -> Cells:
    """One row per model: what it takes of storage, time and memory."""
    names = ("model", "engine", "MiB", "smaller", "seconds", "rows/s", "faster", "1 row, ms p50 / p95")
    times = say("{:.2f}x").format
    cells = [[say(name) for name in (*names, "load, s", "first answer, s", "peak MiB")]]
    cells += [
        [
            title(row),
            row.engine,
            f"{row.bytes / MIB:.1f}",
            times(row.smaller),
            f"{row.seconds:.2f}",
            f"{row.rows_per_second:,.0f}",
            times(row.speedup.value),
            f"{row.latency_ms.p50:.1f} / {row.latency_ms.p95:.1f}",
            f"{row.load_seconds:.2f}",
            f"{row.cold_start_seconds:.2f}",
            f"{row.peak_bytes / MIB:,.0f}",
        ]
        for row in comparison.rows
    ]
    return cells


def _shown(name: str, value: float | None) -> str:
    return NOTHING if value is None else COLUMNS[name][1](value)


def score_unit(score: str, say: Say) -> str:
    """What hundredths of a score's difference are called."""
    if score == "perplexity":
        return say("% of the baseline's, below 0 where it rose")
    return say("points (x 100)" if score in CORRELATIONS else "points")


def title(row: ComparedRow) -> str:
    """What a model is called: its name and its method."""
    return f"{row.name} ({row.method})"


def told_apart(row: ComparedRow, comparison: ComparisonRecord) -> str:
    """What a model is called in a sentence: with its engine, where another row is called alike."""
    alike = [one for one in comparison.rows if title(one) == title(row)]
    return f"{title(row)}, {row.engine}" if len(alike) > 1 else title(row)


def points(found: Estimate | None, say: Say = english) -> str:
    """A difference in points, with its interval where there is anything to doubt."""
    if found is None:
        return NOTHING
    if found.low == found.high:
        return f"{100 * found.value:+.2f}"
    return say("{value:+.2f} ({low:+.2f} to {high:+.2f})").format(
        value=100 * found.value, low=100 * found.low, high=100 * found.high
    )


def group_cells(row: ComparedRow, say: Say = english) -> Cells:
    """The first score by class and by length, against the baseline's; the header alone where there are no labels."""
    unit = score_unit(next(iter(row.quality), ""), say)
    interval = say("{points} (95 % interval)").format(points=unit)
    cells = [["", "", say("rows"), say("baseline"), row.name, interval]]
    show = COLUMNS[next(iter(row.quality), "accuracy")][1]
    for group in row.groups:
        scores = [show(group.baseline), show(group.value)]
        difference = points(group.difference, say)
        cells.append([say(group.kind), group_title(group.kind, group.name, say), f"{group.n:,}", *scores, difference])
    return cells


def group_title(kind: str, name: str, say: Say = english) -> str:
    """A class by its name, a bucket of lengths in tokens."""
    low, _, high = name.partition(" to ")
    return say("{low}-{high} tokens").format(low=low, high=high) if kind == "length" else name


def changed_cells(row: ComparedRow, say: Say = english) -> Cells:
    """The examples whose answer changed or moved most."""
    cells = [[*(say(name) for name in ("row", "text", "gold", "baseline")), row.name, say("moved")]]
    for one in row.changed:
        text = one.text if one.text_pair is None else f"{one.text} / {one.text_pair}"
        gold = "" if one.gold is None else str(one.gold)
        cells.append([f"{one.row:,}", text, gold, _answer(one.before), _answer(one.after), f"{one.moved:.3f}"])
    return cells


def _answer(answer: Answer) -> str:
    score = "" if answer.score is None else f"{answer.score:.3f}"
    return " ".join(part for part in (answer.label, score) if part)


def comparison_notes(comparison: ComparisonRecord, say: Say = english) -> list[str]:
    """What holds for the whole table."""
    counted = [say("{n:,} rows").format(n=comparison.n)]
    if comparison.texts != comparison.n:
        counted.append(say("{n:,} texts").format(n=comparison.texts))
    counted.append(say("{n:,} tokens").format(n=comparison.tokens))
    if comparison.truncated:
        counted.append(say("{n:,} rows cut at the limit").format(n=comparison.truncated))
    rounds = min(row.rounds for row in comparison.rows)
    machine = say("{threads} threads, {cpu} ({kind}); identical batches, interleaved, ").format(
        threads=comparison.threads, cpu=comparison.cpu, kind=comparison.cpu_kind
    )
    timed = say("timed once") if rounds == 1 else say("median of {rounds} rounds").format(rounds=rounds)
    tokenizing = say("tokenizing took {s:.2f} s").format(s=comparison.tokenize_seconds)
    notes = [f"{', '.join(counted)}; {tokenizing}", machine + timed]
    if not comparison.rows[0].quality:
        notes.append(
            say("no labels: this shows how near the models are to the first one, not how right any of them is")
        )
    broken = say("{name}: NaN or infinity in {n:,} answers")
    told = say(
        "{name}: {worse:,} rows that only the baseline has right, {better:,} that only this one has; "
        "McNemar's exact p {p:.2g}"
    )
    for row in comparison.rows:
        if row.not_finite:
            notes.append(broken.format(name=told_apart(row, comparison), n=row.not_finite))
        if row.mcnemar:
            notes.append(told.format(name=told_apart(row, comparison), **vars(row.mcnemar)))
    percent = say("{:.0f} %").format
    spread = [(told_apart(row, comparison), 100 * row.spread) for row in comparison.rows if row.spread > UNSTABLE]
    if spread:
        models = ", ".join(f"{name} ({percent(share)})" for name, share in spread)
        told = say("unstable: the rounds differ by more than {share}: {models}")
        notes.append(told.format(share=percent(100 * UNSTABLE), models=models))
    return notes


# A limit of a budget -> what is limited, how it is written, and what to do where there is no figure.
CHECKS: dict[str, tuple[str, str, str]] = {
    "not_finite": ("answers with NaN or infinity at most {}", "{:.0f}", ""),
    "max_drop": ("drop at most {}", "{:.2f} points", "examples with labels"),
    "min_speedup": ("faster at least {}", "{:.2f}x", ""),
    "max_size": ("size at most {}", "{:.1%}", ""),
    "min_agreement": ("agreement at least {}", "{:.2%}", "a model that chooses"),
    "min_cosine": ("cosine at least {}", "{:.4f}", "a sentence embedder"),
}


def headlines(comparison: ComparisonRecord, say: Say = english) -> list[str]:
    """The verdict on all candidates, if there is a budget, and a sentence for each of what it gives for what."""
    rows = comparison.rows[1:]
    if not rows:
        alone = say("One model alone: {name}, {mib:.1f} MiB, {speed:,.0f} rows/s.").format(
            name=title(comparison.rows[0]), mib=comparison.rows[0].bytes / MIB, speed=comparison.rows[0].rows_per_second
        )
        return [alone]
    verdict = comparison.verdict
    if verdict is None:
        return [_gain(row, comparison, say) for row in rows]
    worst = [row for row in rows if row.judgement and row.judgement.verdict == verdict]
    names = ", ".join(told_apart(row, comparison) for row in worst)
    told = {
        "PASS": "PASS: the budget is kept by {names}.",
        "FAIL": "FAIL: the budget is broken by {names}.",
        "UNSURE": "UNSURE: the data does not decide whether the budget is kept by {names}.",
    }[verdict]
    return [say(told).format(names=names), *(_gain(row, comparison, say) for row in worst)]


def headline(comparison: ComparisonRecord, say: Say = english) -> str:
    """The same in one line."""
    return " ".join(headlines(comparison, say))


def _gain(row: ComparedRow, comparison: ComparisonRecord, say: Say) -> str:
    gain = say("{name} has {size:.1%} of the baseline's size and is {faster:.2f}x as fast").format(
        name=told_apart(row, comparison), size=1 / row.smaller, faster=row.speedup.value
    )
    if row.not_finite:
        return say("{gain}; {n:,} of its answers are NaN or infinity.").format(gain=gain, n=row.not_finite)
    if row.differences:
        name, found = next(iter(row.differences.items()))
        score, unit = say(COLUMNS[name][0]), score_unit(name, say)
        if name == "perplexity":  # whose differences have the sign of a score's
            told = say("{gain}; its perplexity changed by {value:+.2f} % (95 % interval {low:+.2f} to {high:+.2f}).")
            return told.format(gain=gain, value=-100 * found.value, low=-100 * found.high, high=-100 * found.low)
        if found.low == found.high:
            told = say("{gain}; its {score} differs by {value:+.2f} {unit}.")
            return told.format(gain=gain, score=score, value=100 * found.value, unit=unit)
        told = say("{gain}; its {score} differs by {value:+.2f} {unit} (95 % interval {low:+.2f} to {high:+.2f}).")
        low, value, high = (100 * end for end in (found.low, found.value, found.high))
        return told.format(gain=gain, score=score, unit=unit, low=low, value=value, high=high)
    name, found = next(iter(row.closeness.items()))
    told = say("{gain}; {closeness} with it is {value}, of labels nothing is known.")
    return told.format(gain=gain, closeness=say(COLUMNS[name][0]), value=COLUMNS[name][1](found.value))


def verdict_notes(comparison: ComparisonRecord, say: Say = english) -> list[str]:
    """One line for each candidate's verdict, and one for each of its checks, with the reason."""
    notes = []
    for row in comparison.rows[1:]:
        if row.judgement is not None:
            notes.append(f"{row.judgement.verdict}  {title(row)}, {row.engine}")
            score = next(iter(comparison.rows[0].quality), None)
            notes += [f"  {check.verdict}  {check_reason(check, say, score)}" for check in row.judgement.checks]
    return notes


def check_reason(check: Check, say: Say = english, score: str | None = None) -> str:
    """Why a check came out as it did; `score` is what a drop is of."""
    asked, shape, needs = CHECKS[check.name]
    if check.name == "max_drop" and score in CORRELATIONS:
        shape = "{:.2f} points (x 100)"
    if check.name == "max_drop" and score == "perplexity":
        asked, shape = "perplexity higher by at most {}", "{:.2f} %"
    show = say(shape).format
    limit = say(asked).format(show(check.limit))
    if check.value is None or check.lower is None or check.upper is None:
        return say("{limit}: nothing to decide it on, this needs {needs}").format(limit=limit, needs=say(needs))
    if check.lower == check.upper:
        return say("{limit}: it is {value}").format(limit=limit, value=show(check.value))
    most = check.name == "max_drop"
    if check.verdict == "UNSURE":
        told = say("{limit}: {value}, between {lower} and {upper} with 90 % confidence")
        told = told.format(limit=limit, value=show(check.value), lower=show(check.lower), upper=show(check.upper))
        more = say("; about {n:,} rows would decide").format(n=check.rows_needed) if check.rows_needed else ""
        return told + more
    above = (check.verdict == "PASS") == most
    told = "{limit}: {value}, with 95 % confidence at most {bound}"
    if not above:
        told = "{limit}: {value}, with 95 % confidence at least {bound}"
    bound = check.upper if above else check.lower
    return say(told).format(limit=limit, value=show(check.value), bound=show(bound))


def markdown(cells: Sequence[Sequence[str]]) -> str:
    """Cells as a Markdown table."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "---|" * len(cells[0]), *lines[1:]])
