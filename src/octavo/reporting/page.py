"""A comparison as a page and as Markdown: one file each, that needs nothing else and runs no script."""

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template

from octavo.errors import InputError, printable
from octavo.files import whole_file
from octavo.metrics.estimates import Estimate
from octavo.reporting.charts import Range, boxes, mark, scatter, whiskers
from octavo.reporting.comparison_tables import (
    COLUMNS,
    Cells,
    changed_cells,
    check_reason,
    comparison_notes,
    full_title,
    group_cells,
    group_title,
    headline,
    headlines,
    quality_cells,
    score_unit,
    speed_cells,
    stored_cells,
)
from octavo.reporting.languages import LANGUAGES, Language, Say, find_language
from octavo.reporting.layer_heatmap import heat_cells, heat_level, other_cells
from octavo.reporting.markdown import bullets, code_block, plain, table
from octavo.reporting.wholeness import require_whole
from octavo.schema.comparison import FEWEST, ComparedRow, ComparisonRecord, read_comparison
from octavo.schema.documents import json_text

FORMATS = (".html", ".md", ".json")
SHOWN = 5  # examples of answers without labels that are not folded


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
    if isinstance(result, ComparisonRecord):
        comparison = result
    else:
        comparison = read_comparison(result)
        require_whole(comparison, result)
    if path.suffix == ".json":
        text = comparison_json(comparison)
    else:
        text = (report_html if path.suffix == ".html" else report_markdown)(comparison, find_language(language))
    with whole_file(path) as stream:
        stream.write(text)


def check_report(path: str | Path, formats: Sequence[str] = FORMATS) -> Path:
    """Check that a report can be written there, before the work starts.

    Raises:
        InputError: another ending than `.html`, `.md` and `.json`, or than those of `formats`; no such folder.
    """
    path = Path(path)
    if path.suffix not in formats:
        raise InputError("a report's ending says what it is", got=path.name, allowed=", ".join(formats))
    if not path.resolve().parent.is_dir() or path.is_dir():
        raise InputError("a report cannot be written there", got=path, then="make the folder first")
    return path


def comparison_json(comparison: ComparisonRecord) -> str:
    """The comparison as JSON."""
    return json_text(comparison.to_dict(), indent=1, allow_nan=False) + "\n"


def report_html(comparison: ComparisonRecord, language: Language = "en") -> str:
    """The page."""
    say, rows = LANGUAGES[language], comparison.rows
    sentences, score = headlines(comparison, say), next(iter(rows[0].quality), None)
    page = find_template("page.html.j2").render(
        lang=language,
        t=say,
        level=heat_level,
        title=say("Comparison of models"),
        task=comparison.task,
        verdict=comparison.verdict,
        headline=sentences[0].removeprefix(f"{comparison.verdict}: "),
        lead=sentences[1:],
        judged=[{"name": full_title(row), "checks": _checks(row, say, score)} for row in rows if row.judgement],
        note=comparison.note,
        tables=[(say(name), cells, [*zip(*cells, strict=True)]) for name, cells in _tables(comparison, say)],
        notes=comparison_notes(comparison, say),
        names=[full_title(row) for row in rows],
        marks=[mark(index, 7, 7) for index in range(len(rows))],
        pareto=_pareto(comparison, say),
        band=any(map(math.isfinite, _band(comparison))),
        latency=boxes([row.singles_ms for row in rows], (say("Latency of single rows"), say("milliseconds"))),
        groups=[
            {
                "name": full_title(row),
                "charts": _group_charts(row, index, say),
                "cells": group_cells(row, say),
            }
            for index, row in enumerate(rows)
            if row.groups
        ],
        fewest=say("Groups of fewer than {n} rows are left out.").format(n=FEWEST),
        heat=[
            {"name": full_title(row), "cells": heat_cells(layers, say), "other": other_cells(layers, say)}
            for row, layers in _measured_layers(rows)
        ],
        changed=[_changed(row, say) for row in rows if row.changed],
        command=comparison.command,
        facts=[{"name": name, "facts": facts} for name, facts in _facts(comparison, say)],
        made=say("Made by Octavo {version}.").format(version=comparison.versions.get("octavo", "")),
    )
    return re.sub(r"https?:/*", "", page)  # a page that needs nothing else has no address, whatever users wrote


def find_template(name: str) -> Template:
    """A page of this folder, which escapes whatever is put into it."""
    home = files("octavo.reporting")
    environment = Environment(
        loader=FunctionLoader(lambda file: home.joinpath(file).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    return environment.get_template(name)


def _shown(value: Any) -> Any:
    """What stands on the page for a value; what is markup already has been escaped."""
    return printable(value) if type(value) is str else value


def _measured_layers(rows: Sequence[ComparedRow]) -> list[tuple[ComparedRow, dict[str, float]]]:
    """The rows whose layers' errors were measured, with these by module path."""
    return [(row, row.origin.layers) for row in rows if row.origin and row.origin.layers]


def report_markdown(comparison: ComparisonRecord, language: Language = "en") -> str:
    """The same in Markdown, without the drawings."""
    say, rows = LANGUAGES[language], comparison.rows
    parts = [f"# {say('Comparison of models')}", f"**{plain(headline(comparison, say))}**"]
    parts += [plain(comparison.note)] if comparison.note else []
    parts += _verdicts(comparison, rows, say)
    for name, cells in _tables(comparison, say):
        parts += [f"## {say(name)}", table(cells)]
    parts.append(bullets(comparison_notes(comparison, say)))
    parts += _sections("By class and by length", group_cells, rows, say)
    measured = _measured_layers(rows)
    if measured:
        explanation = say("Signal over noise of each layer's output against float, in dB: higher is closer.")
        parts += [f"## {say('Error of each layer')}", explanation]
    for row, layers in measured:
        maps = heat_cells(layers, say), other_cells(layers, say)
        parts += [_heading(row), *(table(cells) for cells in maps if len(cells) > 1)]
    parts.append(f"## {say('How to reproduce')}")
    if comparison.command:
        parts.append(code_block(comparison.command))
    for name, facts in _facts(comparison, say):
        parts += [f"### {plain(name)}"] if name else []
        parts.append(bullets([f"{fact}: {value}" for fact, value in facts]))
    parts += _sections("The most changed examples", changed_cells, rows, say)
    return "\n\n".join(parts) + "\n"


def _sections(
    name: str, cells_of: Callable[[ComparedRow, Say], Cells], rows: Sequence[ComparedRow], say: Say
) -> list[str]:
    """A heading and a table of each row that has one; nothing where none has."""
    tables = [(row, cells_of(row, say)) for row in rows]
    parts = [part for row, cells in tables if len(cells) > 1 for part in (_heading(row), table(cells))]
    return [f"## {say(name)}", *parts] if parts else []


def summary_markdown(comparison: ComparisonRecord, rows: Sequence[ComparedRow], language: Language = "en") -> str:
    """The comparison on an artifact's card: its own rows, one for each engine, beside the baseline's."""
    say = LANGUAGES[language]
    alone = replace(comparison, rows=(comparison.rows[0], *rows), not_run=())
    parts = [f"## {say('Comparison')}", f"**{plain(headline(alone, say))}**", *_verdicts(comparison, rows, say)]
    parts += [table(cells) for _, cells in _tables(alone, say)]
    return "\n\n".join([*parts, bullets(comparison_notes(alone, say))]) + "\n"


def notebook_html(comparison: ComparisonRecord) -> str:
    """The page in a frame of its own."""
    page = escape(report_html(comparison, find_language()), quote=True)
    return f'<iframe srcdoc="{page}" style="width:100%;height:720px;border:0" title="Octavo"></iframe>'


def _tables(comparison: ComparisonRecord, say: Say) -> list[tuple[str, Cells]]:
    """Heading and cells of the tables of all models."""
    tables = [("Quality", quality_cells(comparison, say)), ("Size and speed", speed_cells(comparison, say))]
    stored = stored_cells(comparison, say)
    return [*tables, ("Stored vectors", stored)] if len(stored) > 1 else tables


def _checks(row: ComparedRow, say: Say, score: str | None) -> list[tuple[str, str]]:
    """Verdict and reason of each check of a row; `score` is the one that a drop is of."""
    checks = row.judgement.checks if row.judgement else ()
    return [(check.verdict, check_reason(check, say, score)) for check in checks]


def _verdicts(comparison: ComparisonRecord, rows: Sequence[ComparedRow], say: Say) -> list[str]:
    """Heading and checks of each row that was judged, as Markdown."""
    score, parts = next(iter(comparison.rows[0].quality), None), list[str]()
    for row in rows:
        if row.judgement:
            lines = [f"{verdict}: {reason}" for verdict, reason in _checks(row, say, score)]
            parts += [_heading(row), bullets(lines)]
    return parts


def _heading(row: ComparedRow) -> str:
    return f"### {plain(full_title(row))}"


def _band(comparison: ComparisonRecord) -> tuple[float, float]:
    """Up to which time, and from which quality on, a model keeps the budget; infinite where it sets no such limit."""
    budget, first, time, quality = comparison.budget, comparison.rows[0], math.inf, -math.inf
    if budget is None:
        return time, quality
    if budget.min_speedup:
        time = 1000 * first.seconds / comparison.texts / budget.min_speedup
    if first.quality and budget.max_drop is not None:
        quality = 100 * _level(first) - budget.max_drop
    elif not first.quality:
        limits = {"agreement": budget.min_agreement, "cosine": budget.min_cosine}
        limit = limits.get(next(iter(first.closeness)))
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
    each = 1000 / comparison.texts
    for row in comparison.rows:
        if row.not_finite or (name not in row.differences and name not in row.closeness):
            points.append(None)
            continue
        fastest, slowest = (each * first.seconds / end for end in (row.speedup.high, row.speedup.low))
        value = each * row.seconds
        scores = _percent(row.differences[name], _level(first)) if first.quality else _percent(row.closeness[name])
        points.append(((min(fastest, value), value, max(slowest, value)), scores))
    quality = f"{say(COLUMNS[name][0])} (%)"
    titles = say("Time and quality"), say("milliseconds per row, in batches"), quality
    return scatter(points, titles, _band(comparison))


def _percent(estimate: Estimate, base: float = 0.0) -> Range:
    """An estimate and its interval on top of `base`, in percent."""
    return 100 * (base + estimate.low), 100 * (base + estimate.value), 100 * (base + estimate.high)


def _group_charts(row: ComparedRow, index: int, say: Say) -> list[tuple[str, str]]:
    """Title and chart of each kind of groups; `index` is the model's."""
    axis = say("difference, {unit}").format(unit=score_unit(next(iter(row.quality), ""), say))
    kinds: dict[str, list[tuple[str, Range]]] = {}
    for group in row.groups:
        name = group_title(group.kind, group.name, say)
        kinds.setdefault(group.kind, []).append((name, _percent(group.difference)))
    titles = {kind: say("{title}, {name}").format(title=say(kind), name=full_title(row)) for kind in kinds}
    return [(say(kind), whiskers(ranges, (titles[kind], axis), index)) for kind, ranges in kinds.items()]


def _changed(row: ComparedRow, say: Say) -> dict[str, Any]:
    """The examples of a row: those whose label changed (of answers without labels the first few), and the rest."""
    head, *cells = changed_cells(row, say)
    labels = [(example.before.label, example.after.label) for example in row.changed]
    labelled = any(map(any, labels))
    parts: dict[bool, Cells] = {True: [], False: []}
    for number, (cell, (before, after)) in enumerate(zip(cells, labels, strict=True)):
        parts[before != after if labelled else number < SHOWN].append(cell)
    return {
        "name": full_title(row),
        "cells": [head, *parts[True]] if parts[True] else [],
        "rest": [head, *parts[False]] if parts[False] else [],
        "folded": say("{n:,} more, which moved less").format(n=len(parts[False])),
    }


def _facts(comparison: ComparisonRecord, say: Say) -> list[tuple[str, list[tuple[str, str]]]]:
    """How to reproduce the comparison: the data, the machine, and each model's recipe and hashes."""
    common = {
        "machine": f"{comparison.cpu} ({comparison.cpu_kind})",
        "threads": str(comparison.threads),
        "versions": ", ".join(f"{name} {number}" for name, number in comparison.versions.items()),
    }
    if data := comparison.data:
        text = say("a sample of {n:,} rows, seed {seed}") if data.limit else say("all rows")
        sample = text.format(n=data.limit, seed=data.seed)
        common = {"data": f"{data.name} ({sample}), SHA-256 {data.sha256}"} | common
    facts = [("", [(say(name), value) for name, value in common.items()])]
    for row in comparison.rows:
        if origin := row.origin:
            values = {
                "weights, SHA-256": origin.sha256,
                "recipe": None if origin.recipe is None else json.dumps(origin.recipe, ensure_ascii=False),
                "target": origin.target,
                "made from": f"{origin.source}, SHA-256 {origin.source_sha256}" if origin.source else None,
                "examples calibrated on, SHA-256": origin.calibration_sha256,
            }
            facts.append((full_title(row), [(say(name), value) for name, value in values.items() if value]))
    return facts
