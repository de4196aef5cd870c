"""`octavo search`: the best artifact within a budget, found, repaired and confirmed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from octavo.cli.compare import Reports
from octavo.cli.echo import language, say, words
from octavo.cli.limits import MaxDrop, MaxSize, MinAgreement, MinCosine, MinCosineWorst, MinSpeedup, read_budget
from octavo.cli.options import (
    Address,
    Columns,
    Encoding,
    IgnoreWeights,
    Labels,
    MaxLength,
    TargetTokenizer,
    TaskName,
    Threads,
    TokenizerFolder,
    cluster_address,
    mapping,
    names,
)
from octavo.cli.order import check_quantize
from octavo.errors import InputError
from octavo.schema.documents import json_text

if TYPE_CHECKING:
    from octavo.checkpoint.source import Checkpoint
    from octavo.schema.search import Trial
    from octavo.tuning.search import Search

Data = Annotated[Path, typer.Option("--data", help="Examples: .tsv, .csv, .jsonl or .json; split in three parts.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="The folder to write.")]
Prefer = Annotated[str, typer.Option(help="What counts within the budget: speed, latency, size or quality.")]
Space = Annotated[Path | None, typer.Option(help="Your own candidates: a TOML file of [[space]] tables.")]
Examples = Annotated[Path | None, typer.Option(help="Examples to calibrate on, in the place of a part of the data.")]
StudyFile = Annotated[Path | None, typer.Option("--study", help="The file of trials; default: OUTPUT.study.jsonl.")]
Pick = Annotated[int | None, typer.Option(min=1, help="Write another point of a finished study's front.")]
Jobs = Annotated[int, typer.Option(min=1, help="Candidates that answer at once; timings run alone.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and about how long it takes, and end.")]
Limit = Annotated[int | None, typer.Option(min=1, help="A seeded sample of that many rows.")]
Seed = Annotated[int, typer.Option(min=0, help="Of the order of the examples.")]
Target = Annotated[str, typer.Option(help="The CPU it is for: see quantize.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an artifact that is there.")]
Ray = Annotated[bool, typer.Option("--ray", help="Measure on a Ray cluster; timings take a whole node.")]
WIDTHS = (32, 7, 7, 7)  # of the first columns of the table that grows while it runs
AsJson = Annotated[bool, typer.Option("--json", help="The outcome as one JSON document on stdout.")]


def search(
    checkpoint: Annotated[str, typer.Argument(help="A Hugging Face folder, or a hub id.")],
    data: Data,
    output: Output,
    max_drop: MaxDrop = None,
    min_agreement: MinAgreement = None,
    min_cosine: MinCosine = None,
    min_cosine_worst: MinCosineWorst = None,
    min_speedup: MinSpeedup = None,
    max_size: MaxSize = None,
    prefer: Prefer = "speed",
    space: Space = None,
    calibrate: Examples = None,
    study: StudyFile = None,
    pick: Pick = None,
    jobs: Jobs = 1,
    dry_run: DryRun = False,
    limit: Limit = None,
    seed: Seed = 0,
    target: Target = "auto",
    max_length: MaxLength = None,
    threads: Threads = None,
    task: TaskName = None,
    tokenizer: TokenizerFolder = None,
    target_tokenizer: TargetTokenizer = None,
    labels: Labels = None,
    ignore_weights: IgnoreWeights = None,
    encoding: Encoding = "utf-8",
    columns: Columns = None,
    report: Reports = None,
    force: Force = False,
    ray: Ray = False,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Find, repair and confirm the best model within a budget.

    Exit code 1 where nothing passes.
    """
    from octavo.checkpoint.source import Checkpoint

    check_quantize(checkpoint, output)
    limits = {"max_drop": max_drop, "min_speedup": min_speedup, "max_size": max_size, "min_agreement": min_agreement}
    limits |= {"min_cosine": min_cosine, "min_cosine_worst": min_cosine_worst}
    tell, read = _reports(report), {"encoding": encoding, "columns": mapping(columns)}
    model = Checkpoint(checkpoint, task, tokenizer, names(labels), target_tokenizer, tuple(ignore_weights or ()))
    settings: dict[str, Any] = {"prefer": prefer, "space": space, "study": study, "threads": threads, "jobs": jobs}
    settings |= {"target": target, "force": force, "ray": ray, "address": cluster_address(address, ray=ray)}
    settings |= _files(data, calibrate, read, {"limit": limit, "max_length": max_length, "seed": seed})
    tuning = _run(model, output, limits, settings, None if dry_run else pick or 0)
    if not dry_run:
        tell(tuning)
        _show(tuning, as_json=as_json, picked=pick is not None)


def _files(data: Path, calibrate: Path | None, read: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """The examples, and those to calibrate on, which are read as these are."""
    from octavo.data.examples import DataFile

    return {
        "data": DataFile(data, **read, **more),
        "calibrate": DataFile(calibrate, **read, limit=300) if calibrate else None,
    }


def _reports(paths: list[Path] | None) -> Callable[[Search], None]:
    """What writes the reports; that they can be written is checked at once."""
    from octavo.reporting import page
    from octavo.reporting.search_page import report_search

    checked = [page.check_report(path, (".html", ".md")) for path in paths or ()]

    def write(tuning: Search) -> None:
        for path in checked:
            report_search(tuning.study, path, language=language())

    return write


def _run(
    model: Checkpoint, output: Path, limits: dict[str, str | None], settings: dict[str, Any], pick: int | None
) -> Search:
    """The search, run to its end; or where `pick` is above 0 that point written; or where it is None the plan shown.

    Raises:
        InputError: no limit is given.
    """
    from octavo.cli.display import TerminalProgress
    from octavo.tuning.search import search as make_search

    budget = read_budget(limits)
    if budget is None:
        raise InputError("a search needs a budget", then="--max-drop 1.0, or without labels --min-agreement 99%")
    with TerminalProgress() as progress:
        tuning = make_search(model, output, budget=budget, **settings, progress=progress)
        if pick is None:
            _show_plan(tuning)
        elif pick:
            tuning.pick(pick)
        else:
            titles = _row(map(words, ("step", "rows", "verdict", "left")))
            say(f"{titles}    {words('candidate')}", err=True)
            for trial in tuning:
                _tell(tuning, trial)
    return tuning


def _tell(tuning: Search, trial: Trial) -> None:
    """A row of the table that grows on the terminal: what was measured, and about how many seconds are left."""
    from octavo.reporting.search_tables import layers_named, reason, step_name

    rows = words("timed") if trial.timed else f"{trial.rows:,}"
    cells = step_name(trial.step, words), rows, trial.verdict, f"{tuning.seconds_left:,.0f}"
    name = trial.candidate.name + layers_named(trial.candidate, words)
    told = reason(trial, words)
    if trial.speed and trial.checks:
        text = words("{faster:.2f}x as fast as float, {ms:.1f} ms for a row alone (p95)")
        told = f"{text.format(faster=trial.speed.speedup.value, ms=trial.speed.p95_ms)}; {told}"
    say(f"{_row(cells)} s  {name}: {told}", err=True)


def _row(cells: Iterable[str]) -> str:
    """Cells as wide as their columns, names on the left and numbers on the right."""
    from rich.cells import cell_len

    padded = []
    for cell, width, side in zip(cells, WIDTHS, "<><>", strict=True):
        blank = " " * (width - cell_len(cell))
        padded.append(cell + blank if side == "<" else blank + cell)
    return " ".join(padded)


def _show_plan(tuning: Search) -> None:
    plan = tuning.plan()
    say(
        words("{n} candidates:").format(n=len(plan.candidates)),
        *(f"  {candidate.name}" for candidate in plan.candidates),
    )
    parts = (words("{n:,} for {name}").format(n=number, name=words(name)) for name, number in plan.splits.items())
    say(f"{words('examples')}: {', '.join(parts)}")
    text = words("each on {first:,} first; those that are not clear failures on {more:,}, or as many as decide")
    say(text.format(first=plan.waves[0], more=plan.waves[1]))
    text = words("about {m:.1f} minutes on this machine, more where a ladder is climbed; nothing was written")
    say(text.format(m=plan.seconds / 60))


def _show(tuning: Search, *, as_json: bool, picked: bool) -> None:
    """The outcome; exit code 1 where it is not PASS."""
    from octavo.cli.display import print_cells
    from octavo.reporting.search_tables import front_lines, ladder_cells, outcome_sentences, trial_cells
    from octavo.schema.search import FLOAT, line_of

    outcome, record = tuning.outcome, tuning.record()
    assert outcome is not None
    if as_json:
        from octavo.data.json_text import parse_json

        say(*json_text(parse_json(line_of(outcome)), indent=1).split("\n"))
    else:
        print_cells(trial_cells(record, words))
        if len(cells := ladder_cells(record, words)) > 1:
            print_cells(cells)
        say(*outcome_sentences(record, words), *front_lines(outcome.front, words))
    if tuning.artifact is not None:
        say(words("written to {path}").format(path=tuning.output), err=True)
        engine = tuning.artifact.engine()
        chosen: Any = outcome.chosen if not picked else None
        if chosen is not None and chosen.engine != engine:
            say(
                words("it was measured on {engine}: run it with --engine {engine}").format(engine=chosen.engine),
                err=True,
            )
    if not picked and (outcome.verdict != "PASS" or outcome.chosen == FLOAT):
        raise typer.Exit(1)
