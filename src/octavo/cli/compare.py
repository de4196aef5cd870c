"""`octavo compare`: the figures and the verdict."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from octavo.cli.echo import language, say, words
from octavo.cli.limits import (
    MaxDrop,
    MaxSize,
    MinAgreement,
    MinCosine,
    MinCosineWorst,
    MinSpeedup,
    read_budget,
)
from octavo.cli.options import (
    Columns,
    Device,
    Encoding,
    IgnoreWeights,
    Labels,
    MaxLength,
    TargetTokenizer,
    TaskName,
    Threads,
    TokenizerFolder,
    mapping,
    names,
)
from octavo.cli.order import check_compare

if TYPE_CHECKING:
    from octavo.checkpoint.source import Checkpoint
    from octavo.data.examples import DataFile
    from octavo.evaluation.comparison import Comparison
    from octavo.schema.budget import Budget

Data = Annotated[Path | None, typer.Option(help="Examples: .tsv, .csv, .jsonl or .json.")]
Engines = Annotated[list[str] | None, typer.Option(help="For artifacts; one row for each.")]
Limit = Annotated[int | None, typer.Option(min=1, help="A seeded sample of that many rows.")]
WithProfile = Annotated[bool, typer.Option("--profile", help="Also show where the time of each ONNX model goes.")]
Details = Annotated[
    bool, typer.Option("--details", help="Also scores by class and by length, and the most changed examples.")
]
AllowUnsure = Annotated[bool, typer.Option("--allow-unsure", help="UNSURE ends with exit code 0 too.")]
Reports = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="A page (.html), or .md, or .json; several times for several."),
]
WriteCard = Annotated[
    bool, typer.Option("--write-card", help="Put the result on the cards of the artifacts that were compared.")
]
Dimensions = Annotated[
    list[int] | None,
    typer.Option(
        min=1, help="Embedders over queries and passages: so many numbers of a vector; several times for several."
    ),
]
Precision = Annotated[
    list[str] | None, typer.Option(help="The same, stored as float16, int8, uint8, binary or ubinary; or several.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def compare(
    baseline: Annotated[str, typer.Argument(help="A checkpoint (runs in torch), an artifact or an ONNX file.")],
    candidates: Annotated[list[str] | None, typer.Argument(help="What is compared with it.")] = None,
    data: Data = None,
    engine: Engines = None,
    limit: Limit = None,
    max_length: MaxLength = None,
    threads: Threads = None,
    device: Device = "cpu",
    task: TaskName = None,
    tokenizer: TokenizerFolder = None,
    target_tokenizer: TargetTokenizer = None,
    labels: Labels = None,
    ignore_weights: IgnoreWeights = None,
    encoding: Encoding = "utf-8",
    columns: Columns = None,
    dimensions: Dimensions = None,
    precision: Precision = None,
    profile: WithProfile = False,
    details: Details = False,
    max_drop: MaxDrop = None,
    min_speedup: MinSpeedup = None,
    max_size: MaxSize = None,
    min_agreement: MinAgreement = None,
    min_cosine: MinCosine = None,
    min_cosine_worst: MinCosineWorst = None,
    allow_unsure: AllowUnsure = False,
    report: Reports = None,
    write_card: WriteCard = False,
    as_json: AsJson = False,
) -> None:
    """Compare models on your data: size, speed, accuracy, agreement. With a budget: a verdict, and exit code 1 unless
    every candidate passes.
    """  # noqa: D205 - one paragraph of help
    from octavo.checkpoint.source import Checkpoint
    from octavo.data.examples import DataFile
    from octavo.reporting import page

    paths = baseline, *(candidates or ())
    examples = DataFile(check_compare(paths, data), encoding, mapping(columns), limit, max_length)
    alike = {"min_agreement": min_agreement, "min_cosine": min_cosine, "min_cosine_worst": min_cosine_worst}
    budget = read_budget({"max_drop": max_drop, "min_speedup": min_speedup, "max_size": max_size} | alike)
    reports = [page.check_report(path) for path in report or ()]
    rest = tuple(ignore_weights or ())
    models = [Checkpoint(path, task, tokenizer, names(labels), target_tokenizer, rest) for path in paths]
    settings = {"engines": engine, "threads": threads, "dimensions": dimensions, "precision": precision}
    comparison = _measure(models, examples, settings, device, budget=budget, profiled=profile)
    _write(comparison, reports, [Path(model.path) for model in models if write_card])
    _show(comparison, details=details, as_json=as_json)
    if comparison.not_run or (budget and comparison.verdict not in {"PASS", "UNSURE" if allow_unsure else ""}):
        raise typer.Exit(1)


def _measure(
    models: list[Checkpoint],
    file: DataFile,
    settings: Mapping[str, Any],
    device: str,
    *,
    budget: Budget | None,
    profiled: bool,
) -> Comparison:
    """The comparison, with its verdict and profiles where these are asked for; checks the models for them first."""
    from octavo.cli.display import TerminalProgress
    from octavo.engines import on_device
    from octavo.evaluation.comparison import compare as run_compare
    from octavo.evaluation.entries import find_entries
    from octavo.evaluation.profiling import profile, require_profiled, with_graphs
    from octavo.schema.comparison import require_candidates

    given = {name: value for name, value in settings.items() if value}
    given["engines"] = [on_device(name, device) for name in given.get("engines", ("auto",))]
    if budget and len(models) == 1:
        require_candidates(find_entries(models[0], given["engines"]))
    graphs = with_graphs(models) if profiled else []
    require_profiled(graphs)
    with TerminalProgress() as progress:
        comparison = run_compare(models[0], models[1:], data=file, progress=progress, **given)
        if budget:
            comparison = comparison.under(budget)
        if profiled:
            progress.start("profiling", len(graphs))
        profiles = []
        for model in graphs:
            profiles.append(profile(model, data=file, threads=settings["threads"]))
            progress.advance()
    return replace(comparison, command=shlex.join(["octavo", *sys.argv[1:]]), profile=tuple(profiles))


def _write(comparison: Comparison, reports: list[Path], paths: list[Path]) -> None:
    """Write the reports, and put each artifact's rows on its card; the baseline of a comparison gets none."""
    from octavo.checkpoint.paths import kind_of
    from octavo.reporting.card import add_comparison
    from octavo.reporting.page import report, summary_markdown

    for path in reports:
        report(comparison, path, language=language())
    for folder in (path for path in paths[1:] if kind_of(path) == "artifact"):
        rows = [row for row in comparison.rows[1:] if row.name in {str(folder), folder.resolve().name}]
        if rows:
            add_comparison(folder, summary_markdown(comparison, rows, language()))
            say(words("the result is on {path}").format(path=folder / "README.md"), err=True)


def _show(comparison: Comparison, *, details: bool, as_json: bool) -> None:
    from octavo.cli.display import print_cells
    from octavo.reporting import comparison_tables as tables
    from octavo.reporting.page import comparison_json
    from octavo.reporting.profile_tables import profile_cells, profile_notes

    if as_json:
        typer.echo(comparison_json(comparison), nl=False)
        return
    print_cells(tables.quality_cells(comparison, words))
    print_cells(tables.speed_cells(comparison, words))
    if any(row.stored for row in comparison.rows):
        print_cells(tables.stored_cells(comparison, words))
    say(*tables.comparison_notes(comparison, words), *tables.verdict_notes(comparison, words))
    for row in comparison.rows[1:] if details else ():
        for cells in (tables.group_cells(row, words), tables.changed_cells(row, words)):
            if len(cells) > 1:
                print_cells(cells)
    if comparison.profile:
        print_cells(profile_cells(comparison.profile, words))
        say(*profile_notes(comparison.profile, words))
