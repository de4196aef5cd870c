"""A comparison as a page and as Markdown: one file each, that needs nothing else and runs no script."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from octavo.errors import InputError
from octavo.files import whole_file
from octavo.reporting.charts import Range, boxes, mark, scatter, whiskers
from octavo.reporting.comparison_tables import (
    COLUMNS,
    Cells,
    changed_cells,
    check_reason,
    comparison_notes,
    group_cells,
    group_title,
    headline,
    headlines,
    markdown,
    quality_cells,
    score_unit,
    speed_cells,
    title,
)
from octavo.reporting.languages import LANGUAGES, Language, Say, find_language
from octavo.reporting.layer_heatmap import heat_cells, heat_level, other_cells
from octavo.schema.comparison import FEWEST, ComparedRow, ComparisonRecord, read_comparison

FORMATS = (".html", ".md", ".json")


def report(result: ComparisonRecord | str | Path, output: str | Path, *, language: str | None = None) -> None:
    """Write a comparison, or the JSON of one, as `.html`, `.md` or `.json`.

    Args:
        result: what `compare` returned, or the path of the JSON that it wrote.
        output: the file, which appears when all of it is written.
        language: `ko` or `en`; by default that of the locale.

    Raises:
        InputError: see `check_report`.
        DataError: the JSON is not that of a comparison.
    """
    path = check_report(output)
    comparison = result if isinstance(result, ComparisonRecord) else read_comparison(result)
    if path.suffix == ".json":
        text = comparison_json(comparison)
    else:
        text = (report_html if path.suffix == ".html" else report_markdown)(comparison, find_language(language))
    with whole_file(path) as stream:
        stream.write(text)


def check_report(path: str | Path) -> Path:
    """See that a report may be written there, before the work starts.

    Raises:
        InputError: another ending than `.html`, `.md` and `.json`; no such folder.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise InputError("a report's ending says what it is", got=path.name, allowed=", ".join(FORMATS))
    if not path.resolve().parent.is_dir() or path.is_dir():
        raise InputError("a report cannot be written there", got=path, then="make the folder first")
    return path


def comparison_json(comparison: ComparisonRecord) -> str:
    """The comparison as JSON."""
    return json.dumps(comparison.to_dict(), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def report_html(comparison: ComparisonRecord, language: Language = "en") -> str:
    """The page."""
    say, rows = LANGUAGES[language], comparison.rows
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("octavo.reporting").joinpath("page.html.j2").read_text(encoding="utf-8"))
    sentences, score = headlines(comparison, say), next(iter(rows[0].quality), None)
    page = template.render(
        lang=language,
        t=say,
        level=heat_level,
        title=say("Comparison of models"),
        task=comparison.task,
        verdict=comparison.verdict,
        headline=sentences[0].removeprefix(f"{comparison.verdict}: "),
        lead=sentences[1:],
        judged=[
            {
                "name": _named(row),
                "checks": [(check.verdict, check_reason(check, say, score)) for check in row.judgement.checks],
            }
            for row in rows
            if row.judgement
        ],
        note=comparison.note,
        tables=[(say(name), cells) for name, cells in _tables(comparison, say)],
        notes=comparison_notes(comparison, say),
        names=[_named(row) for row in rows],
        marks=[mark(index, 7, 7) for index in range(len(rows))],
        pareto=_pareto(comparison, say),
        band=any(math.isfinite(end) for end in _band(comparison)),
        latency=boxes([row.singles_ms for row in rows], (say("Latency of single rows"), say("milliseconds"))),
        groups=[
            {
                "name": _named(row),
                "charts": [(say(kind), _groups(row, kind, index, say)) for kind in _kinds(row)],
                "cells": group_cells(row, say),
            }
            for index, row in enumerate(rows)
            if row.groups
        ],
        fewest=say("Groups of fewer than {n} rows are left out.").format(n=FEWEST),
        heat=_heat(rows, say),
        changed=[{"name": _named(row), "cells": changed_cells(row, say)} for row in rows if row.changed],
        command=comparison.command,
        facts=[{"name": name, "facts": facts} for name, facts in _facts(comparison, say)],
        made=say("Made by Octavo {version}.").format(version=comparison.versions.get("octavo", "")),
    )
    return re.sub(r"https?:/*", "", page)  # a page that needs nothing else has no address, whatever users wrote


def _heat(rows: Sequence[ComparedRow], say: Say) -> list[dict[str, Any]]:
    """The errors of each model's layers, of those that have some."""
    measured = [(row, row.origin.layers) for row in rows if row.origin and row.origin.layers]
    return [
        {"name": _named(row), "cells": heat_cells(layers, say), "other": other_cells(layers, say)}
        for row, layers in measured
    ]


def report_markdown(comparison: ComparisonRecord, language: Language = "en") -> str:
    """The same in Markdown, without the drawings."""
    say, rows = LANGUAGES[language], comparison.rows
    parts = [f"# {say('Comparison of models')}", f"**{headline(comparison, say)}**"]
    parts += [comparison.note] if comparison.note else []
    for row in rows:
        if row.judgement:
            parts += [f"### {_named(row)}", _checked(comparison, row, say)]
    for name, cells in _tables(comparison, say):
        parts += [f"## {say(name)}", markdown(cells)]
    parts.append(_listed(comparison_notes(comparison, say)))
    for name, cells_of in (("By class and by length", group_cells), ("The most changed examples", changed_cells)):
        tables = [(row, cells_of(row, say)) for row in rows]
        found = [part for row, cells in tables if len(cells) > 1 for part in (f"### {_named(row)}", markdown(cells))]
        parts += [f"## {say(name)}", *found] if found else []
    measured = [(row, row.origin.layers) for row in rows if row.origin and row.origin.layers]
    if measured:
        parts += [f"## {say('Error of each layer')}"]
        parts.append(say("Signal over noise of each layer's output against float, in dB: higher is closer."))
    for row, layers in measured:
        tables_ = [cells for cells in (heat_cells(layers, say), other_cells(layers, say)) if len(cells) > 1]
        parts += [f"### {_named(row)}", *(markdown(cells) for cells in tables_)]
    parts.append(f"## {say('How to reproduce')}")
    if comparison.command:
        parts.append(f"```\n{comparison.command}\n```")
    for name, facts in _facts(comparison, say):
        parts += [f"### {name}"] if name else []
        parts.append(_listed([f"{what}: {value}" for what, value in facts]))
    return "\n\n".join(parts) + "\n"


def summary_markdown(comparison: ComparisonRecord, rows: Sequence[ComparedRow], language: Language = "en") -> str:
    """What an artifact's card says of a comparison: its own rows, one for each engine, beside the baseline's."""
    say = LANGUAGES[language]
    alone = replace(comparison, rows=(comparison.rows[0], *rows))
    parts = [f"## {say('Comparison')}", f"**{headline(alone, say)}**"]
    for row in rows:
        if row.judgement:
            parts += [f"### {_named(row)}", _checked(comparison, row, say)]
    parts += [markdown(cells) for _, cells in _tables(alone, say)]
    return "\n\n".join([*parts, _listed(comparison_notes(alone, say))]) + "\n"


def notebook_html(comparison: ComparisonRecord) -> str:
    """The page in a frame of its own."""
    page = escape(report_html(comparison, find_language()), quote=True)
    return f'<iframe srcdoc="{page}" style="width:100%;height:720px;border:0" title="Octavo"></iframe>'


def _named(row: ComparedRow) -> str:
    return f"{title(row)}, {row.engine}"


def _tables(comparison: ComparisonRecord, say: Say) -> list[tuple[str, Cells]]:
    """Heading and cells of the two tables of all models."""
    return [("Quality", quality_cells(comparison, say)), ("Size and speed", speed_cells(comparison, say))]


def _checked(comparison: ComparisonRecord, row: ComparedRow, say: Say) -> str:
    score = next(iter(comparison.rows[0].quality), None)
    checks = row.judgement.checks if row.judgement else ()
    return _listed([f"{check.verdict}: {check_reason(check, say, score)}" for check in checks])


def _kinds(row: ComparedRow) -> list[str]:
    return list(dict.fromkeys(group.kind for group in row.groups))


def _listed(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _band(comparison: ComparisonRecord) -> tuple[float, float]:
    """Up to which time, and from which quality on, a model keeps the budget; infinite where it sets no such limit."""
    budget, first = comparison.budget, comparison.rows[0]
    if budget is None:
        return math.inf, -math.inf
    time, quality = math.inf, -math.inf
    if budget.min_speedup:
        time = 1000 * first.seconds / comparison.texts / budget.min_speedup
    if first.quality and budget.max_drop is not None:
        quality = 100 * _level(first) - budget.max_drop
    elif not first.quality:
        limits = {"agreement": budget.min_agreement, "cosine": budget.min_cosine}
        limit = limits[next(iter(first.closeness))]
        quality = -math.inf if limit is None else 100 * limit
    return time, quality


def _level(first: ComparedRow) -> float:
    """The baseline's first score; 1 for a perplexity, whose differences are shares of the baseline's."""
    name, value = next(iter(first.quality.items()))
    return 1.0 if name == "perplexity" else value


def _pareto(comparison: ComparisonRecord, say: Say) -> str:
    """Time against the first score; without labels against the likeness to the baseline."""
    first = comparison.rows[0]
    points: list[tuple[Range, Range] | None] = []
    name = next(iter(first.quality or first.closeness))
    for row in comparison.rows:
        if row.not_finite:
            points.append(None)
            continue
        each = 1000 / comparison.texts
        fastest, slowest = (each * first.seconds / end for end in (row.speedup.high, row.speedup.low))
        value = each * row.seconds
        times: Range = (min(fastest, value), value, max(slowest, value))
        if first.quality:
            base, found = _level(first), row.differences[name]
            scores: Range = (100 * (base + found.low), 100 * (base + found.value), 100 * (base + found.high))
        else:
            found = row.closeness[name]
            scores = (100 * found.low, 100 * found.value, 100 * found.high)
        points.append((times, scores))
    quality = f"{say(COLUMNS[name][0])} (%)"
    titles = say("Time and quality"), say("milliseconds per row, in batches"), quality
    return scatter(points, titles, _band(comparison))


def _groups(row: ComparedRow, kind: str, index: int, say: Say) -> str:
    rows = [
        (
            group_title(group.kind, group.name, say),
            (100 * group.difference.low, 100 * group.difference.value, 100 * group.difference.high),
        )
        for group in row.groups
        if group.kind == kind
    ]
    name = say("{title}, {name}").format(title=say(kind), name=_named(row))
    return whiskers(
        rows, (name, say("difference, {unit}").format(unit=score_unit(next(iter(row.quality), ""), say))), index
    )


def _facts(comparison: ComparisonRecord, say: Say) -> list[tuple[str, list[tuple[str, str]]]]:
    """How to have the comparison again: the data, the machine, and each model's recipe and hashes."""
    whole = []
    if comparison.data:
        sample = say("all rows")
        if comparison.data.limit:
            told = say("a sample of {n:,} rows, seed {seed}")
            sample = told.format(n=comparison.data.limit, seed=comparison.data.seed)
        whole.append((say("data"), f"{comparison.data.name} ({sample}), SHA-256 {comparison.data.sha256}"))
    whole.append((say("machine"), f"{comparison.cpu} ({comparison.cpu_kind})"))
    whole.append((say("threads"), str(comparison.threads)))
    whole.append((say("versions"), ", ".join(f"{name} {number}" for name, number in comparison.versions.items())))
    found = [("", whole)]
    for row in comparison.rows:
        origin = row.origin
        if origin is None:
            continue
        facts = [(say("weights, SHA-256"), origin.sha256)]
        if origin.recipe is not None:
            facts.append((say("recipe"), json.dumps(origin.recipe, ensure_ascii=False)))
        if origin.target:
            facts.append((say("target"), origin.target))
        if origin.source:
            facts.append((say("made from"), f"{origin.source}, SHA-256 {origin.source_sha256}"))
        if origin.calibration_sha256:
            facts.append((say("examples calibrated on, SHA-256"), origin.calibration_sha256))
        found.append((_named(row), facts))
    return found
