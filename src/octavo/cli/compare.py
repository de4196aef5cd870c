"""`octavo compare` and `octavo report`: the figures, the verdict, and the page."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from octavo.cli.options import (
    Columns,
    Device,
    Encoding,
    Labels,
    Lang,
    MaxLength,
    TargetTokenizer,
    TaskName,
    Threads,
    TokenizerFolder,
    mapping,
    names,
)
from octavo.errors import InputError

if TYPE_CHECKING:
    from octavo.reporting.languages import Language
    from octavo.schema.budget import Budget
    from octavo.schema.comparison import Comparison, Profile


def compare(
    baseline: Annotated[str, typer.Argument(help="A checkpoint (runs in torch), an artifact or an ONNX file.")],
    candidates: Annotated[list[str] | None, typer.Argument(help="What is compared with it.")] = None,
    data: Annotated[Path | None, typer.Option(help="Examples: .tsv, .csv, .jsonl or .json.")] = None,
    engine: Annotated[list[str] | None, typer.Option(help="For artifacts; one row for each.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="A seeded sample of that many rows.")] = None,
    max_length: MaxLength = None,
    threads: Threads = None,
    device: Device = "cpu",
    task: TaskName = None,
    tokenizer: TokenizerFolder = None,
    target_tokenizer: TargetTokenizer = None,
    labels: Labels = None,
    encoding: Encoding = "utf-8",
    columns: Columns = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Also show where the time of each ONNX model goes.")
    ] = False,
    details: Annotated[
        bool, typer.Option("--details", help="Also scores by class and by length, and the most changed examples.")
    ] = False,
    max_drop: Annotated[float | None, typer.Option(metavar="POINTS", help="Budget: the score may fall so far.")] = None,
    min_speedup: Annotated[float | None, typer.Option(metavar="TIMES", help="Budget: as many times as fast.")] = None,
    max_size: Annotated[str | None, typer.Option(metavar="PERCENT", help="Budget: of the first one's bytes.")] = None,
    min_agreement: Annotated[float | None, typer.Option(help="Budget without labels: share of equal labels.")] = None,
    min_cosine: Annotated[float | None, typer.Option(help="Budget without scores: mean cosine.")] = None,
    allow_unsure: Annotated[bool, typer.Option("--allow-unsure", help="UNSURE ends with exit code 0 too.")] = False,
    report: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A page (.html), or .md, or .json; several times for several."),
    ] = None,
    lang: Lang = None,
    write_card: Annotated[
        bool, typer.Option("--write-card", help="Put the result on the cards of the artifacts that were compared.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Compare models on your data: size, speed, accuracy, agreement. With a budget: a verdict, and exit code 1 unless
    every candidate passes.
    """  # noqa: D205 - one paragraph of help
    from octavo.checkpoint.source import Checkpoint
    from octavo.cli.display import Steps
    from octavo.data.examples import DataFile
    from octavo.engines import on_device
    from octavo.evaluation.comparison import compare as run_compare
    from octavo.evaluation.entries import find_entries, is_onnx
    from octavo.evaluation.profiling import profile as run_profile
    from octavo.evaluation.profiling import require_profiled
    from octavo.reporting.languages import find_language
    from octavo.reporting.page import check_report, comparison_json
    from octavo.reporting.page import report as run_report
    from octavo.schema.comparison import require_candidates

    if data is None:
        raise InputError("compare needs examples", then="--data FILE (.tsv, .csv, .jsonl or .json)")
    budget = _budget(max_drop, min_speedup, _share(max_size), min_agreement, min_cosine)
    language, engines = find_language(lang), [on_device(name, device) for name in engine or ("auto",)]
    for path in report or ():
        check_report(path)
    named = [
        Checkpoint(path, task, tokenizer, names(labels), target_tokenizer) for path in (baseline, *(candidates or ()))
    ]
    if budget and not candidates:
        require_candidates(find_entries(named[0], engines))
    models = [model for model in named if profile and is_onnx(Path(model.path))]
    require_profiled(models)
    file = DataFile(data, encoding, mapping(columns), limit, max_length)
    with Steps() as steps:
        comparison = run_compare(named[0], named[1:], data=file, engines=engines, threads=threads, progress=steps)
        if budget:
            comparison = comparison.under(budget)
        profiles = []
        if profile:
            steps.start("profiling")
            profiles = [run_profile(model, data=file, threads=threads) for model in models]
    command = shlex.join(["octavo", *sys.argv[1:]])
    comparison = replace(comparison, command=command, profile=tuple(found.to_dict() for found in profiles))
    for path in report or ():
        run_report(comparison, path, language=language)
    if write_card:
        _write_cards(comparison, [Path(one.path) for one in named], language)
    if as_json:
        typer.echo(comparison_json(comparison), nl=False)
    else:
        _show(comparison, profiles, details=details)
    if budget and comparison.verdict not in {"PASS", *(["UNSURE"] if allow_unsure else [])}:
        raise typer.Exit(1)


def _write_cards(comparison: Comparison, paths: list[Path], language: Language) -> None:
    """Put each artifact's rows on its card; the baseline of a comparison gets none."""
    from octavo.reporting.card import add_comparison
    from octavo.reporting.page import summary_markdown
    from octavo.schema.manifest import MANIFEST

    for folder in (path for path in paths[1:] if (path / MANIFEST).exists()):
        rows = [row for row in comparison.rows[1:] if row.name in {str(folder), folder.resolve().name}]
        if rows:
            add_comparison(folder, summary_markdown(comparison, rows, language))
            typer.echo(f"the result is on {folder / 'README.md'}", err=True)


def _budget(*limits: float | None) -> Budget | None:
    from octavo.schema.budget import Budget

    return None if all(limit is None for limit in limits) else Budget(*limits)


def _show(comparison: Comparison, profiles: list[Profile], *, details: bool) -> None:
    from octavo.cli.display import print_cells
    from octavo.reporting import comparison_tables as tables
    from octavo.reporting import profile_tables as profiling

    print_cells(tables.quality_cells(comparison))
    print_cells(tables.speed_cells(comparison))
    for note in [*tables.comparison_notes(comparison), *tables.verdict_notes(comparison)]:
        typer.echo(note)
    for row in comparison.rows[1:] if details else ():
        for cells in (tables.group_cells(row), tables.changed_cells(row)):
            if len(cells) > 1:
                print_cells(cells)
    if profiles:
        print_cells(profiling.profile_cells(profiles))
        for note in profiling.profile_notes(profiles):
            typer.echo(note)


def _share(text: str | None) -> float | None:
    """`30%` or `30` as 0.3."""
    if text is None:
        return None
    try:
        return float(text.strip().removesuffix("%")) / 100
    except ValueError:
        raise InputError("--max-size is not understood", got=text, allowed="a percentage, such as 30%") from None
