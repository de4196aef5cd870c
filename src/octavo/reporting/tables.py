"""A comparison and a quantization as cells, and as Markdown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from octavo.artifact import Manifest
from octavo.card import overflow_note
from octavo.engines import choose_engine
from octavo.evaluation.budget import Check
from octavo.evaluation.comparison import ComparedRow, Comparison
from octavo.evaluation.profiling import PARTS, Profile
from octavo.evaluation.stats import Estimate
from octavo.methods import LayerOutcome
from octavo.tasks import Answer

MIB = 2**20
UNSTABLE = 0.25  # range of the rounds' times by their median, from which on speed is not to be trusted
Cells = list[list[str]]  # the first row is the header


# What a task measures -> how its column is headed and written; scores in percent, differences in points.
COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "accuracy": ("accuracy", lambda value: f"{100 * value:.2f}"),
    "macro_f1": ("macro-F1", lambda value: f"{100 * value:.2f}"),
    "spearman": ("Spearman", lambda value: f"{100 * value:.2f}"),
    "pearson": ("Pearson", lambda value: f"{100 * value:.2f}"),
    "agreement": ("agreement", lambda value: f"{100 * value:.2f}%"),
    "kl": ("KL x 1e5", lambda value: f"{1e5 * value:.1f}"),
    "cosine_mean": ("cosine", lambda value: f"{value:.4f}"),
    "cosine_p1": ("1st percentile", lambda value: f"{value:.4f}"),
    "cosine_min": ("smallest", lambda value: f"{value:.4f}"),
    "margin": ("margin left", lambda value: f"{100 * value:.1f}%"),
    "recall_at_10": ("recall@10", lambda value: f"{100 * value:.1f}%"),
}


def comparison_cells(comparison: Comparison) -> Cells:
    """One row per model; scores in percent, differences in points."""
    first = comparison.rows[0]
    scores = [COLUMNS[name][0] for name in first.quality]
    header = ["model", "engine", "MiB", "smaller", "seconds", "rows/s", "faster", "1 row, ms p50 / p95"]
    header += [*scores[:1], *(["points"] if scores else []), *scores[1:]]
    cells = [[*header, *(COLUMNS[name][0] for name in first.fidelity), "batch effect", "load, s"]]
    for row in comparison.rows:
        scores = [COLUMNS[name][1](value) for name, value in row.quality.items()]
        points = [_points(found) for found in list(row.differences.values())[:1]]
        cells.append(
            [
                f"{row.name} ({row.method})",
                row.engine,
                f"{row.bytes / MIB:.1f}",
                f"{row.smaller:.2f}x",
                f"{row.seconds:.2f}",
                f"{row.rows_per_second:,.0f}",
                f"{row.speedup.value:.2f}x",
                f"{row.latency_ms.p50:.1f} / {row.latency_ms.p95:.1f}",
                *scores[:1],
                *points,
                *scores[1:],
                *(COLUMNS[name][1](value) for name, value in row.fidelity.items()),
                f"{row.batch_effect:.1g}",
                f"{row.load_seconds:.2f}",
            ]
        )
    return cells


def _points(found: Estimate) -> str:
    """A difference in points, with its interval where there is anything to doubt."""
    if found.low == found.high:
        return f"{100 * found.value:+.2f}"
    return f"{100 * found.value:+.2f} ({100 * found.low:+.2f} to {100 * found.high:+.2f})"


def group_cells(row: ComparedRow) -> Cells:
    """The first score by class and by length, against the baseline's; the header alone where there are no labels."""
    cells = [["", "", "rows", "baseline", row.name, "points"]]
    for group in row.groups:
        scores = [f"{100 * group.baseline:.2f}", f"{100 * group.value:.2f}"]
        name = f"{group.name} tokens" if group.kind == "length" else group.name
        cells.append([group.kind, name, f"{group.n:,}", *scores, _points(group.difference)])
    return cells


def changed_cells(row: ComparedRow) -> Cells:
    """The examples whose answer changed or moved most."""
    cells = [["row", "text", "gold", "baseline", row.name, "moved"]]
    for one in row.changed:
        text = one.text if one.text_pair is None else f"{one.text} / {one.text_pair}"
        gold = "" if one.gold is None else str(one.gold)
        cells.append([f"{one.row:,}", text, gold, _answer(one.before), _answer(one.after), f"{one.moved:.3f}"])
    return cells


def _answer(answer: Answer) -> str:
    score = "" if answer.score is None else f"{answer.score:.3f}"
    return " ".join(part for part in (answer.label, score) if part)


def profile_cells(profiles: Sequence[Profile]) -> Cells:
    """Shares of the time, one row per model."""
    cells = [["model", *PARTS, "int8 operations, 1e9/s", "of the peak here"]]
    for found in profiles:
        total = sum(found.seconds.values()) or 1.0
        speed = ["", ""]
        if found.operations is not None:
            speed = [f"{found.operations / 1e9:.0f}", f"{100 * found.operations / found.peak:.0f} %"]
        cells.append([found.name, *(f"{100 * found.seconds[part] / total:.1f} %" for part in PARTS), *speed])
    return cells


def profile_notes(profiles: Sequence[Profile]) -> list[str]:
    """What the shares are of."""
    peak = f"{profiles[0].peak / 1e9:.0f}e9 operations/s"
    sampled = f"where the time goes, by ONNX Runtime's profiler on {profiles[0].rows:,} rows"
    notes = [f"{sampled}; the peak is that of a large u8 x s8 product here: {peak}"]
    for found in profiles:
        total = sum(found.seconds.values()) or 1.0
        largest = ", ".join(f"{name} {100 * spent / total:.1f} %" for name, spent in found.largest_of_the_rest.items())
        notes.append(f"{found.name}, largest of the rest: {largest}")
    return notes


def comparison_notes(comparison: Comparison) -> list[str]:
    """What holds for the whole table."""
    cut = f", {comparison.truncated:,} of them cut at the limit" if comparison.truncated else ""
    read = f", {comparison.texts:,} texts" if comparison.texts != comparison.n else ""
    rounds = min(row.rounds for row in comparison.rows)
    machine = f"{comparison.threads} threads, {comparison.cpu} ({comparison.cpu_kind})"
    tokenized = f"tokenizing took {comparison.tokenize_seconds:.2f} s"
    notes = [
        f"{comparison.n:,} rows{read}, {comparison.tokens:,} tokens{cut}; {tokenized}",
        f"{machine}; identical batches, interleaved, median of {rounds} rounds",
    ]
    if not comparison.rows[0].quality:
        notes.append("no labels: this shows how near the models are to the first one, not how right any of them is")
    wild = [f"{row.name} ({100 * row.spread:.0f} %)" for row in comparison.rows if row.spread > UNSTABLE]
    if wild:
        notes.append(f"unstable: the rounds differ by more than {100 * UNSTABLE:.0f} %: {', '.join(wild)}")
    return notes


# A limit of a budget -> what is limited, how it is written, and what to do where there is no figure.
CHECKS: dict[str, tuple[str, Callable[[float], str], str]] = {
    "max_drop": ("drop at most", lambda value: f"{value:.2f} points", "examples with labels"),
    "min_speedup": ("faster at least", lambda value: f"{value:.2f}x", ""),
    "max_size": ("size at most", lambda value: f"{100 * value:.1f}%", ""),
    "min_agreement": ("agreement at least", lambda value: f"{100 * value:.2f}%", "a classifier"),
    "min_cosine": ("cosine at least", lambda value: f"{value:.4f}", "a sentence embedder"),
}


def verdict_notes(comparison: Comparison) -> list[str]:
    """One line for each candidate's verdict, and one for each of its checks, with the reason."""
    notes = []
    for row in comparison.rows[1:]:
        if row.judgement is not None:
            notes.append(f"{row.judgement.verdict}  {row.name} ({row.method}), {row.engine}")
            notes += [f"  {check.verdict}  {check_reason(check)}" for check in row.judgement.checks]
    return notes


def check_reason(check: Check) -> str:
    """Why a check came out as it did."""
    title, show, needs = CHECKS[check.name]
    asked = f"{title} {show(check.limit)}"
    if check.value is None or check.lower is None or check.upper is None:
        return f"{asked}: nothing to decide it on, this needs {needs}"
    if check.lower == check.upper:
        return f"{asked}: it is {show(check.value)}"
    most = check.name == "max_drop"
    good, bad = ("at most", "at least") if most else ("at least", "at most")
    safe, sure = (check.upper, check.lower) if most else (check.lower, check.upper)
    if check.verdict == "PASS":
        return f"{asked}: {show(check.value)}, with 95 % confidence {good} {show(safe)}"
    if check.verdict == "FAIL":
        return f"{asked}: {show(check.value)}, with 95 % confidence {bad} {show(sure)}"
    more = f"; about {check.rows_needed:,} rows would decide" if check.rows_needed else ""
    return (
        f"{asked}: {show(check.value)}, between {show(check.lower)} and {show(check.upper)} with 90 % confidence{more}"
    )


def part_cells(layers: Sequence[LayerOutcome]) -> Cells:
    """Bytes before and after by part of the model."""
    groups: dict[tuple[str, str], list[LayerOutcome]] = defaultdict(list)
    for layer in layers:
        groups[layer.part, layer.dtype].append(layer)
    cells = [["part", "stored as", "layers", "float MiB", "MiB", "weight error, dB"]]
    for (part, dtype), members in groups.items():
        errors = [layer.error_db for layer in members if layer.error_db is not None]
        bits = {layer.weight_bits for layer in members}
        kind = f"{dtype} (7 of 8 bits used)" if bits == {7} else dtype
        cells.append(
            [
                part,
                kind,
                str(len(members)),
                f"{4 * sum(layer.parameters for layer in members) / MIB:.2f}",
                f"{sum(layer.bytes for layer in members) / MIB:.2f}",
                f"{min(errors):.1f} to {max(errors):.1f}" if errors else "",
            ]
        )
    return cells


def quantization_notes(manifest: Manifest, size: int) -> list[str]:
    """What became of the checkpoint, in sentences."""
    engine, why = choose_engine(manifest.recipe.method, half=manifest.recipe.storage == "float16")
    floats = [layer for layer in manifest.layers if layer.dtype != "int8"]
    share = f"{100 * size / manifest.source.bytes:.1f} %; the checkpoint is stored as {manifest.source.dtype}"
    notes = [
        f"{size / MIB:.1f} MiB of {manifest.source.bytes / MIB:.1f} ({share})",
        f"method {manifest.recipe.method}, target {manifest.target}, opset {manifest.export.opset}",
        f"engine here: {engine} ({why})",
    ]
    if manifest.calibration:
        notes.append(f"calibrated on {manifest.calibration.rows:,} examples, {manifest.calibration.tokens:,} tokens")
    if manifest.overflow:
        notes.append(overflow_note(manifest.overflow))
    if manifest.export.note:
        notes.append(manifest.export.note)
    reasons: dict[str, list[str]] = defaultdict(list)
    for layer in floats:
        reasons[layer.reason].append(layer.path)
    for reason, paths in reasons.items():
        shown = ", ".join(paths[:3]) + (", ..." if len(paths) > 3 else "")
        notes.append(f"{len(paths)} of {len(manifest.layers)} layers stayed float, {reason}: {shown}")
    if not floats:
        notes.append(f"all {len(manifest.layers)} layers are int8; biases and normalizations stay float")
    return notes


def markdown(cells: Cells) -> str:
    """Cells as a Markdown table."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "---|" * len(cells[0]), *lines[1:]])
