"""A comparison as cells and sentences: the same rows for the terminal, for Markdown and for the page.

Every word goes through `say`, which puts it into a language; see `octavo.reporting.languages`.
"""

from collections.abc import Callable

from octavo.metrics.estimates import Estimate
from octavo.metrics.scores import CORRELATIONS
from octavo.reporting.languages import Say, english
from octavo.schema.budget import Check
from octavo.schema.comparison import Answer, ComparedRow, ComparisonRecord, NotRun

MIB = 2**20
UNSTABLE = 0.25  # range of the rounds' times over their median; above it speeds are not reliable
NOTHING = "-"  # where there is no figure
Cells = list[list[str]]  # the first row is the header
# Metric -> title and format of its column; scores in percent, differences in points
# (of perplexities in percent of the baseline's, with the sign of a score: below 0 where it rose).
COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "accuracy": ("accuracy", lambda value: f"{100 * value:.2f}"),
    "macro_f1": ("macro-F1", lambda value: f"{100 * value:.2f}"),
    "micro_f1": ("micro-F1", lambda value: f"{100 * value:.2f}"),
    "subset_accuracy": ("all labels right", lambda value: f"{100 * value:.2f}"),
    "binary_accuracy": ("accuracy", lambda value: f"{100 * value:.2f}"),
    "auc": ("AUC", lambda value: f"{100 * value:.2f}"),
    "mae": ("mean error", lambda value: f"{value:.4f}"),
    "tau": ("Kendall's tau", lambda value: f"{value:.4f}"),
    "moved": ("moved, deviations", lambda value: f"{value:.4f}"),
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
    "recall_at_100": ("recall@100", lambda value: f"{100 * value:.1f}%"),
    "ndcg_at_10": ("nDCG@10", lambda value: f"{100 * value:.2f}"),
    "mrr_at_10": ("MRR@10", lambda value: f"{100 * value:.2f}"),
    "map": ("MAP", lambda value: f"{100 * value:.2f}"),
    "top_10": ("top 10 kept", lambda value: f"{100 * value:.1f}%"),
    "rbo": ("rank-biased overlap", lambda value: f"{value:.4f}"),
}


def quality_cells(comparison: ComparisonRecord, say: Say = english) -> Cells:
    """One row per model: scores in percent and the first one's difference in points, and likeness to the baseline."""
    first = comparison.rows[0]
    scores = [say(COLUMNS[name][0]) for name in first.quality]
    scores[1:1] = [_interval_title(name, say) for name in list(first.quality)[:1]]
    fidelity = [say(COLUMNS[name][0]) for name in first.fidelity]
    cells = [[say("model"), say("engine"), *scores, *fidelity, say("batch effect")]]
    for row in comparison.rows:
        scores = [_score(name, row.quality.get(name)) for name in first.quality]
        scores[1:1] = [points(row.differences.get(name), say) for name in list(first.quality)[:1]]
        fidelity = [_score(name, row.fidelity.get(name)) for name in first.fidelity]
        effect = NOTHING if row.batch_effect is None else f"{row.batch_effect:.1g}"
        cells.append([title(row), row.engine, *scores, *fidelity, effect])
    return cells + _not_run_cells(comparison, len(cells[0]))


def speed_cells(comparison: ComparisonRecord, say: Say = english) -> Cells:
    """One row per model: its storage, time and memory."""
    names = (
        "model",
        "engine",
        "MiB",
        "smaller",
        "seconds",
        "rows/s",
        "text to answer, rows/s",
        "faster",
        "1 row, ms p50 / p95",
    )
    times = say("{:.2f}x").format
    faster = say("{:.2f}x, UNSURE").format if comparison.was_busy else times
    header = [say(name) for name in (*names, "load, s", "first answer, s", "peak MiB")]
    rows = [
        [
            title(row),
            row.engine,
            f"{row.bytes / MIB:.1f}",
            times(row.smaller),
            f"{row.seconds:.2f}",
            f"{row.rows_per_second:,.0f}",
            NOTHING if row.text_rows_per_second is None else f"{row.text_rows_per_second:,.0f}",
            (times if row is comparison.rows[0] else faster)(row.speedup.value),
            f"{row.latency_ms.p50:.1f} / {row.latency_ms.p95:.1f}",
            f"{row.load_seconds:.2f}",
            f"{row.cold_start_seconds:.2f}",
            f"{row.peak_bytes / MIB:,.0f}",
        ]
        for row in comparison.rows
    ]
    return [header, *rows, *_not_run_cells(comparison, len(header))]


def stored_cells(comparison: ComparisonRecord, say: Say = english) -> Cells:
    """One row for each way in which a model's vectors might be stored; the header alone where none was asked for."""
    scores = [name for name in ("ndcg_at_10", "recall_at_10") if name in comparison.rows[0].quality]
    interval = [_interval_title(scores[0], say)] if scores else []
    titles = [say(COLUMNS[name][0]) for name in scores]
    header = [say(name) for name in ("model", "vectors", "rescored", "bytes")]
    cells = [[*header, *titles[:1], *interval, *titles[1:], say("top 10 kept")]]
    for row in comparison.rows:
        for stored in row.stored:
            figures = [_score(name, stored.quality.get(name)) for name in scores]
            figures[1:1] = [points(stored.differences.get(name), say) for name in scores[:1]]
            kind = f"{stored.dimensions:,} {stored.precision}", say("yes") if stored.rescored else say("no")
            cells.append([title(row), *kind, f"{stored.bytes:,}", *figures, _score("top_10", stored.top_10)])
    return cells


def _not_run_cells(comparison: ComparisonRecord, width: int) -> Cells:
    return [[title(row), row.engine, *[NOTHING] * (width - 2)] for row in comparison.not_run]


def _score(name: str, value: float | None) -> str:
    return NOTHING if value is None else COLUMNS[name][1](value)


def score_unit(score: str, say: Say) -> str:
    """The unit of hundredths of a score's difference."""
    if score == "perplexity":
        return say("% of the baseline's, below 0 where it rose")
    return say("points (x 100)" if score in CORRELATIONS else "points")


def _interval_title(score: str, say: Say) -> str:
    return say("{points} (95 % interval)").format(points=score_unit(score, say))


def title(row: ComparedRow | NotRun) -> str:
    """The name and the method of a model."""
    return f"{row.name} ({row.method})"


def full_title(row: ComparedRow | NotRun) -> str:
    """The name, the method and the engine of a model."""
    return f"{title(row)}, {row.engine}"


def _unique_title(row: ComparedRow, comparison: ComparisonRecord) -> str:
    """The title of a model in a sentence: with its engine, where another row has the same title."""
    titles = [title(other) for other in comparison.rows]
    return full_title(row) if titles.count(title(row)) > 1 else title(row)


def points(estimate: Estimate | None, say: Say = english) -> str:
    """A difference in points, with its interval where that is not empty."""
    if estimate is None:
        return NOTHING
    low, value, high = (100 * end for end in (estimate.low, estimate.value, estimate.high))
    if estimate.low == estimate.high:
        return f"{value:+.2f}"
    return say("{value:+.2f} ({low:+.2f} to {high:+.2f})").format(value=value, low=low, high=high)


def group_cells(row: ComparedRow, say: Say = english) -> Cells:
    """The first score by class and by length, against the baseline's; the header alone where there are no labels."""
    interval = _interval_title(next(iter(row.quality), ""), say)
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
    for example in row.changed:
        text = example.text if example.text_pair is None else f"{example.text} / {example.text_pair}"
        gold = "" if example.gold is None else str(example.gold)
        answers = _answer(example.before), _answer(example.after)
        cells.append([f"{example.row:,}", text, gold, *answers, f"{example.moved:.3f}"])
    return cells


def _answer(answer: Answer) -> str:
    score = "" if answer.score is None else f"{answer.score:.3f}"
    return " ".join(part for part in (answer.label, score) if part)


def _asked_notes(comparison: ComparisonRecord, say: Say) -> list[str]:
    """What the models were asked, and how."""
    counts = [say("{n:,} rows").format(n=comparison.n)]
    if comparison.texts != comparison.n:
        counts.append(say("{n:,} texts").format(n=comparison.texts))
    if not comparison.own_tokenizers:
        counts += _read(comparison.tokens, comparison.truncated, say)
    rounds = min(row.rounds for row in comparison.rows)
    text = "{threads} threads, {cpu} ({kind}); identical batches, interleaved, "
    if comparison.own_tokenizers:
        text = "{threads} threads, {cpu} ({kind}); the same rows in each batch, interleaved, "
    machine = say(text).format(threads=comparison.threads, cpu=comparison.cpu, kind=comparison.cpu_kind)
    timing = say("timed once") if rounds == 1 else say("median of {rounds} rounds").format(rounds=rounds)
    tokenizing = say("tokenizing took {s:.2f} s").format(s=comparison.tokenize_seconds)
    notes = [f"{', '.join(counts)}; {tokenizing}", machine + timing]
    if comparison.own_tokenizers:
        read = [(title(row), _read(row.tokens, row.truncated, say)) for row in comparison.rows]
        models = "; ".join(f"{name}: {', '.join(counts)}" for name, counts in dict(read).items())
        notes.append(say("each model reads with its own tokenizer: {models}").format(models=models))
    return notes


def comparison_notes(comparison: ComparisonRecord, say: Say = english) -> list[str]:
    """The notes on the whole table."""
    notes = _asked_notes(comparison, say)
    if not comparison.rows[0].quality:
        note = "no labels: this shows how near the models are to the first one, not how right any of them is"
        notes.append(say(note))
    not_finite = say("{name}: NaN or infinity in {n:,} answers")
    mcnemar = say(
        "{name}: {worse:,} rows that only the baseline has right, {better:,} that only this one has; "
        "McNemar's exact p {p:.2g}"
    )
    modelled = say(
        "{name}: by how far its logits moved, accuracy differs by {value:+.2f} points (95 % interval {low:+.2f} to "
        "{high:+.2f}); the counted difference decides"
    )
    for row in comparison.rows:
        if row.not_finite:
            notes.append(not_finite.format(name=_unique_title(row, comparison), n=row.not_finite))
        if row.mcnemar:
            notes.append(mcnemar.format(name=_unique_title(row, comparison), **vars(row.mcnemar)))
        if row.modelled:
            low, value, high = (100 * end for end in (row.modelled.low, row.modelled.value, row.modelled.high))
            notes.append(modelled.format(name=_unique_title(row, comparison), low=low, value=value, high=high))
    notes += not_run_notes(comparison, say)
    percent = say("{:.0f} %").format
    unstable = [row for row in comparison.rows if row.spread > UNSTABLE]
    if unstable:
        models = ", ".join(f"{_unique_title(row, comparison)} ({percent(100 * row.spread)})" for row in unstable)
        text = say("unstable: the rounds differ by more than {share}: {models}")
        notes.append(text.format(share=percent(100 * UNSTABLE), models=models))
    return notes + _load_notes(comparison, say)


def _read(tokens: int | None, truncated: int | None, say: Say) -> list[str]:
    """How much a model reads."""
    counts = [] if tokens is None else [say("{n:,} tokens").format(n=tokens)]
    return counts + ([say("{n:,} rows cut at the limit").format(n=truncated)] if truncated else [])


def not_run_notes(comparison: ComparisonRecord, say: Say = english) -> list[str]:
    """A sentence for each candidate that could not be run."""
    text = say("{name} could not be run: {reason}")
    return [text.format(name=full_title(row), reason=row.reason) for row in comparison.not_run]


LOADS = {  # share of a load -> what it is
    "foreign": "other processes took {} of the cores",
    "stolen": "other machines took {} of the cores",
    "waiting": "models waited for a core {} of their time",
    "idle": "models ran on no core {} of their time",
}


def _load_notes(comparison: ComparisonRecord, say: Say) -> list[str]:
    """Whether the machine was busy, or that this is not known; nothing where it was quiet."""
    load = comparison.load
    if load is None or load.busy is False:
        return []
    if load.busy is None:
        return [say("whether the machine was busy with other work is not known here: speeds are as they were measured")]
    percent = say("{:.0f} %").format
    shares = ((text, getattr(load, name)) for name, text in LOADS.items())
    told = ", ".join(say(text).format(percent(100 * share)) for text, share in shares if share is not None)
    return [say("machine busy: {told}; speeds are UNSURE, quality is not affected").format(told=told)]


# Limit of a budget -> its sentence, the format of its value, and what it needs where there is no figure.
CHECKS: dict[str, tuple[str, str, str]] = {
    "not_finite": ("answers with NaN or infinity at most {}", "{:.0f}", ""),
    "max_drop": ("drop at most {} (below 0: it fell)", "{:.2f} points", "examples with labels"),
    "min_speedup": ("faster at least {}", "{:.2f}x", "a timing that does not fail"),
    "max_size": ("size at most {}", "{:.1%}", ""),
    "min_agreement": ("agreement at least {}", "{:.2%}", "a model that chooses"),
    "min_cosine": ("cosine at least {}", "{:.4f}", "a sentence embedder"),
    "min_cosine_worst": ("1st percentile of the cosines at least {}", "{:.4f}", "a sentence embedder"),
}


def headlines(comparison: ComparisonRecord, say: Say = english) -> list[str]:
    """The verdict on all candidates, if there is a budget, and a sentence for each: its size, speed and quality."""
    first, *rows = comparison.rows
    if not rows:
        text = say("One model alone: {name}, {mib:.1f} MiB, {speed:,.0f} rows/s.")
        return [text.format(name=title(first), mib=first.bytes / MIB, speed=first.rows_per_second)]
    verdict = comparison.verdict
    if verdict is None:
        return [_gain(row, comparison, say) for row in rows]
    worst = [row for row in rows if row.judgement and row.judgement.verdict == verdict]
    names = ", ".join([_unique_title(row, comparison) for row in worst] + [*map(full_title, comparison.not_run)])
    unsure = [check for row in worst if row.judgement for check in row.judgement.checks if check.verdict == "UNSURE"]
    busy = verdict == "UNSURE" and all(check.was_busy for check in unsure)
    text = {
        "PASS": "PASS: the budget is kept by {names}.",
        "FAIL": "FAIL: the budget is broken by {names}.",
        "UNSURE": "UNSURE: the data does not decide whether the budget is kept by {names}.",
        "BUSY": "UNSURE: the machine was busy, so it is not decided whether the budget is kept by {names}.",
    }["BUSY" if busy else verdict]
    return [say(text).format(names=names), *(_gain(row, comparison, say) for row in worst)]


def headline(comparison: ComparisonRecord, say: Say = english) -> str:
    """The same in one line."""
    return " ".join(headlines(comparison, say))


def _gain(row: ComparedRow, comparison: ComparisonRecord, say: Say) -> str:
    text = say("{name} has {size:.1%} of the baseline's size and is {faster:.2f}x as fast")
    if comparison.was_busy:
        text = say("{name} has {size:.1%} of the baseline's size; its speed is UNSURE, since the machine was busy")
    gain = text.format(name=_unique_title(row, comparison), size=1 / row.smaller, faster=row.speedup.value)
    if row.not_finite:
        return say("{gain}; {n:,} of its answers are NaN or infinity.").format(gain=gain, n=row.not_finite)
    if row.differences:
        name, estimate = next(iter(row.differences.items()))
        low, value, high = (100 * end for end in (estimate.low, estimate.value, estimate.high))
        text = "{gain}; its {score} differs by {value:+.2f} {unit}."
        if estimate.low != estimate.high:
            text = "{gain}; its {score} differs by {value:+.2f} {unit} (95 % interval {low:+.2f} to {high:+.2f})."
        score, unit = say(COLUMNS[name][0]), score_unit(name, say)
        return say(text).format(gain=gain, score=score, unit=unit, low=low, value=value, high=high)
    if not row.closeness:
        return say("{gain}; its vectors have another width, so labels alone could tell how near it is.").format(
            gain=gain
        )
    name, estimate = next(iter(row.closeness.items()))
    text = say("{gain}; {closeness} with it is {value}, of labels nothing is known.")
    return text.format(gain=gain, closeness=say(COLUMNS[name][0]), value=COLUMNS[name][1](estimate.value))


def verdict_notes(comparison: ComparisonRecord, say: Say = english) -> list[str]:
    """One line for each candidate's verdict, and one for each of its checks, with the reason."""
    notes = []
    for row in comparison.rows[1:]:
        if row.judgement is not None:
            notes.append(f"{row.judgement.verdict}  {full_title(row)}")
            score = next(iter(comparison.rows[0].quality), None)
            notes += [f"  {check.verdict}  {check_reason(check, say, score)}" for check in row.judgement.checks]
    notes += [f"FAIL  {note}" for note in not_run_notes(comparison, say) if comparison.budget]
    return notes


def check_reason(check: Check, say: Say = english, score: str | None = None) -> str:
    """The reason of a check's verdict; `score` is the one that a drop is of.

    A drop is told as the tables tell it, as a difference that is below 0 where it is worse.
    """
    sentence, unit, needs = CHECKS[check.name]
    value, lower, upper, figure = check.value, check.lower, check.upper, unit
    if check.name == "max_drop":
        if score in CORRELATIONS:
            unit = "{:.2f} points (x 100)"
        if score == "perplexity":
            sentence, unit = "perplexity higher by at most {} (below 0: it rose)", "{:.2f} %"
        value, lower, upper = (None if bound is None else 0.0 - bound for bound in (value, upper, lower))
        figure = unit.replace("{:", "{:+")
    show, limit = say(figure).format, say(sentence).format(say(unit).format(check.limit))
    if value is None or lower is None or upper is None:
        return say("{limit}: nothing to decide it on, this needs {needs}").format(limit=limit, needs=say(needs))
    if check.was_busy:
        return say("{limit}: {value} was measured, but the machine was busy").format(limit=limit, value=show(value))
    if lower == upper:
        return say("{limit}: it is {value}").format(limit=limit, value=show(value))
    if check.verdict == "UNSURE":
        text = say("{limit}: {value}, at least {lower} and at most {upper} with 95 % confidence each")
        text = text.format(limit=limit, value=show(value), lower=show(lower), upper=show(upper))
        return text + (say("; about {n:,} rows would decide").format(n=check.rows_needed) if check.rows_needed else "")
    bound, text = lower, "{limit}: {value}, with 95 % confidence at least {bound}"
    if check.verdict == "FAIL":
        bound, text = upper, "{limit}: {value}, with 95 % confidence at most {bound}"
    return say(text).format(limit=limit, value=show(value), bound=show(bound))
