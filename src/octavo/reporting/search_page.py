"""A search as a page, as Markdown, and as a part of an artifact's card."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import tomli_w

from octavo.files import whole_file
from octavo.reporting.charts import Range, mark, scatter
from octavo.reporting.languages import LANGUAGES, Language, Say, find_language
from octavo.reporting.layer_heatmap import heat_cells, heat_level
from octavo.reporting.markdown import bullets, code_block, plain, table
from octavo.reporting.page import check_report, find_template
from octavo.reporting.search_tables import (
    deciding,
    dropped_cells,
    front_lines,
    ladder_cells,
    latest_trials,
    outcome_sentences,
    sensitivity_cells,
    timed_trials,
    trial_cells,
)
from octavo.schema.budget import Budget
from octavo.schema.search import Candidate, Quality, SearchRecord, Trial, read_study

MIB = 2**20


def report_search(study: SearchRecord | str | Path, output: str | Path, *, language: str | None = None) -> None:
    """Write what a study holds as `.html` or `.md`.

    Raises:
        InputError: see `octavo.reporting.page.check_report`.
        DataError: the file is no study.
    """
    path = check_report(output, (".html", ".md"))
    record = study if isinstance(study, SearchRecord) else read_study(Path(study))
    make = search_html if path.suffix == ".html" else search_markdown
    text = make(record, find_language(language))
    with whole_file(path) as stream:
        stream.write(text)


def search_html(record: SearchRecord, language: Language = "en") -> str:
    """The page."""
    say, trials = LANGUAGES[language], latest_trials(record)
    sentences = outcome_sentences(record, say)
    timed = [trial for trial in trials if trial.candidate.key in timed_trials(record)]
    page = find_template("search.html.j2").render(
        lang=language,
        t=say,
        level=heat_level,
        title=say("Search for a model"),
        task=record.identity.task,
        verdict=record.outcome.verdict if record.outcome else None,
        headline=sentences[0].partition(": ")[2] if record.outcome else sentences[0],
        lead=sentences[1:],
        names=["float", *(trial.candidate.name for trial in timed)],
        marks=[mark(index, 7, 7) for index in range(len(timed) + 1)],
        charts=[chart for chart in (_by_time(record, timed, say), _by_size(record, trials, say)) if chart],
        tables=_tables(record, say),
        heat=[(trial.candidate.name, cells) for trial in _heat(record) if (cells := _heat_cells(trial, say))],
        recipe=toml_of(record.outcome.chosen).split("\n") if record.outcome else [],
        facts=_facts(record, say),
        made=say("Made by Octavo {version}.").format(version=record.identity.versions.get("octavo", "")),
    )
    return re.sub(r"https?:/*", "", page)  # a page that needs nothing else has no address, whatever users wrote


def search_markdown(record: SearchRecord, language: Language = "en") -> str:
    """The same in Markdown, without the drawings."""
    say = LANGUAGES[language]
    parts = [f"# {say('Search for a model')}"]
    if record.outcome:
        first, *rest = outcome_sentences(record, say)
        parts += [f"**{plain(first)}**", bullets([*rest, *front_lines(record.outcome.front, say)])]
        parts += [code_block(toml_of(record.outcome.chosen))]
    for name, cells in _tables(record, say):
        parts += [f"## {name}", table(cells)]
    for trial in _heat(record):
        if cells := _heat_cells(trial, say):
            parts += [f"## {say('Error of each layer')}, {plain(trial.candidate.name)}", table(cells)]
    parts += [f"## {say('How to reproduce')}", bullets([f"{name}: {value}" for name, value in _facts(record, say)])]
    return "\n\n".join(parts) + "\n"


def search_summary(record: SearchRecord, candidate: Candidate, language: Language = "en") -> str:
    """The search on the card of an artifact that it wrote: the chosen one's, or that of another point of the front."""
    say, outcome = LANGUAGES[language], record.outcome
    assert outcome is not None
    parts = [f"## {say('Search for a model')}"]
    if candidate == outcome.chosen:
        parts.append(bullets(outcome_sentences(record, say)))
    else:
        parts.append(plain(say("Another point of the front than the one that was chosen, and not confirmed.")))
    parts += [table(trial_cells(record, say)), code_block(toml_of(candidate))]
    parts.append(bullets([f"{name}: {value}" for name, value in _facts(record, say)]))
    return "\n\n".join(parts) + "\n"


def toml_of(candidate: Candidate) -> str:
    """The recipe to type again, and the engine that it was measured on."""
    recipe = candidate.recipe
    settings = {"method": recipe.method} | recipe.model_dump(mode="json", exclude_defaults=True)
    if recipe.format == "torch":
        settings["granularity"] = recipe.granularity  # the format torch has another default
    return f"# octavo quantize ... --recipe FILE; engine {candidate.engine}\n{tomli_w.dumps(settings)}".strip()


def _tables(record: SearchRecord, say: Say) -> list[tuple[str, list[list[str]]]]:
    tables = [(say("What was tried"), trial_cells(record, say)), (say("What was dropped"), dropped_cells(record, say))]
    tables.append((say("The ladder"), ladder_cells(record, say)))
    if record.outcome:
        tables.append((say("What single layers cost"), sensitivity_cells(record.outcome, say)))
    return [(name, cells) for name, cells in tables if len(cells) > 1]


def _level(quality: Quality, budget: Budget) -> Range:
    """The figure that decides, in percent."""
    _, estimate = deciding(quality, budget)
    return 100 * estimate.low, 100 * estimate.value, 100 * estimate.high


def _limit(record: SearchRecord) -> float:
    """The level from which on the budget is kept."""
    budget = record.identity.budget
    if budget.max_drop is not None:
        return -budget.max_drop
    limits = [budget.min_agreement, budget.min_cosine, budget.min_cosine_worst]
    return next((100 * limit for limit in limits if limit is not None), -math.inf)


def _by_time(record: SearchRecord, timed: list[Trial], say: Say) -> tuple[str, str, bool] | None:
    speeds, points = timed_trials(record), list[tuple[Range, Range] | None]()
    for trial in timed:
        speed = speeds[trial.candidate.key].speed
        if speed is None or trial.quality is None or trial.quality.not_finite:
            points.append(None)
            continue
        ms, ratio = 1000 / speed.rows_per_second, speed.speedup
        points.append(
            (
                (ms * ratio.value / ratio.high, ms, ms * ratio.value / ratio.low),
                _level(trial.quality, record.identity.budget),
            )
        )
    if not any(points):
        return None
    known = next(timing.speed for timing in speeds.values() if timing.speed)  # the float graph ran in turns with it
    ms, level = (
        1000 / known.rows_per_second * known.speedup.value,
        100.0 if record.identity.budget.max_drop is None else 0.0,
    )
    points.insert(0, ((ms, ms, ms), (level, level, level)))
    titles = say("Time and quality"), say("milliseconds per row, in batches"), say("against float (%)")
    return titles[0], scatter(points, titles, (math.inf, _limit(record))), True


def _by_size(record: SearchRecord, trials: list[Trial], say: Say) -> tuple[str, str, bool] | None:
    known = [trial.quality for trial in trials if trial.quality and not trial.quality.not_finite]
    if not known:
        return None
    points: list[tuple[Range, Range] | None] = [
        ((quality.bytes / MIB,) * 3, _level(quality, record.identity.budget)) for quality in known
    ]
    titles = say("Size and quality of all that was tried"), "MiB", say("against float (%)")
    return titles[0], scatter(points, titles, (math.inf, _limit(record))), False


def _heat(record: SearchRecord) -> list[Trial]:
    """The trials whose layers are shown: the chosen candidate's, and of those whose layers were looked at alone."""
    if record.outcome is None:
        return []
    keys = {record.outcome.chosen.key, *(sensitivity.candidate.key for sensitivity in record.outcome.sensitivity)}
    return [trial for trial in latest_trials(record) if trial.candidate.key in keys]


def _heat_cells(trial: Trial, say: Say) -> list[list[str]]:
    layers = trial.quality.layers if trial.quality else ()
    errors = {layer.path: layer.decibels for layer in layers if layer.decibels is not None}
    return heat_cells(errors, say) if not all(layer.dtype.startswith("float") for layer in layers) else []


def _facts(record: SearchRecord, say: Say) -> list[tuple[str, str]]:
    """What it is of, so that it can be made again."""
    identity = record.identity
    splits = ", ".join(f"{say(name)} {len(hashes):,}" for name, hashes in identity.splits.items())
    limits = {name: value for name, value in vars(identity.budget).items() if value is not None}
    facts: dict[str, Any] = {
        "checkpoint": f"{identity.source}, SHA-256 {identity.source_sha256}",
        "data": f"{identity.data}, SHA-256 {identity.data_sha256}",
        "examples": f"{splits}; {say('never parted')}: {say(identity.together)}",
        "budget": ", ".join(f"{name} {value:g}" for name, value in limits.items()) + f"; {identity.aim}",
        "seed": str(identity.seed),
        "target": identity.target,
        "machine": f"{identity.machine.cpu} ({identity.machine.kind}), {identity.machine.threads} threads",
        "versions": ", ".join(f"{name} {number}" for name, number in identity.versions.items()),
    }
    return [(say(name), value) for name, value in facts.items()]
