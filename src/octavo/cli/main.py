"""`octavo`: each verb is the public function of that name."""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from octavo.errors import InputError, OctavoError, OctavoWarning

if TYPE_CHECKING:
    from octavo.evaluation.budget import Budget
    from octavo.evaluation.comparison import Comparison
    from octavo.evaluation.profiling import Profile

app = typer.Typer(
    name="octavo",
    help="Make a Hugging Face transformer small and fast on CPU, and see that it still works.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Columns = Annotated[str | None, typer.Option(help="The data's columns: text=...,text_pair=...,label=...")]
Encoding = Annotated[str, typer.Option(help="Of the data file, such as cp949.")]
Labels = Annotated[str | None, typer.Option(help="Label names in id order, separated by commas.")]
MaxLength = Annotated[int | None, typer.Option(min=1, help="Cut inputs at fewer tokens than the model allows.")]
TaskName = Annotated[str | None, typer.Option("--task", help="Overrides the task that the config tells.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Default: the cores that this process may use.")]
TokenizerFolder = Annotated[Path | None, typer.Option("--tokenizer", help="Take the tokenizer from this folder.")]


@app.callback()
def _main() -> None:
    """Keep `octavo quantize` a subcommand whatever the number of verbs."""


@app.command()
def quantize(
    checkpoint: Annotated[str, typer.Argument(help="A Hugging Face folder, or a hub id.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write.")],
    method: Annotated[
        str | None, typer.Option(help="float, dynamic or static; default: static with --calibrate, else dynamic.")
    ] = None,
    recipe: Annotated[Path | None, typer.Option(help="A TOML file: method, settings, rules for layers.")] = None,
    calibrate: Annotated[
        Path | None, typer.Option(help="Examples of yours to learn ranges from: formats of --data, or .txt.")
    ] = None,
    calibrate_rows: Annotated[int | None, typer.Option(min=1, help="How many of them; a seeded sample.")] = None,
    half: Annotated[bool, typer.Option("--half", help="Method float with weights stored in 16 bits.")] = False,
    target: Annotated[
        str, typer.Option(help="The CPU it is for: auto (this one), any, avx2, avx_vnni, avx512, avx512_vnni, arm64.")
    ] = "auto",
    task: TaskName = None,
    tokenizer: TokenizerFolder = None,
    labels: Labels = None,
    opset: Annotated[int | None, typer.Option(help="For older runtimes: 20 to 23.")] = None,
    no_optimize: Annotated[bool, typer.Option("--no-optimize", help="Leave the exported graph as it is.")] = False,
    encoding: Encoding = "utf-8",
    columns: Columns = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an artifact that is there.")] = False,
) -> None:
    """Make an artifact of a checkpoint."""
    from octavo.build import quantize as run_quantize
    from octavo.cli.display import Steps, print_cells
    from octavo.data import DataFile
    from octavo.recipe import Recipe, recipe_from
    from octavo.reporting.tables import part_cells, quantization_notes
    from octavo.source import Checkpoint

    if method is not None and recipe is not None:
        raise InputError("--method and --recipe exclude each other", then="put the method into the recipe")
    if calibrate is None and calibrate_rows is not None:
        raise InputError("--calibrate-rows says how many examples of a file", then="--calibrate FILE")
    default = "float" if half else "static" if calibrate is not None else "dynamic"
    chosen = Recipe.from_toml(recipe) if recipe is not None else recipe_from({"method": method or default})
    if half:
        chosen = recipe_from(chosen.model_dump() | {"storage": "float16"}, where="--half")
    if opset is not None:
        chosen = recipe_from(chosen.model_dump() | {"opset": opset}, where="--opset")
    if no_optimize:
        chosen = recipe_from(chosen.model_dump() | {"optimize": False}, where="--no-optimize")
    with Steps() as steps:
        artifact = run_quantize(
            Checkpoint(checkpoint, task, tokenizer, _names(labels)),
            output,
            recipe=chosen,
            calibration=DataFile(calibrate, encoding, _mapping(columns), calibrate_rows) if calibrate else None,
            target=target,
            force=force,
            progress=steps,
        )
    print_cells(part_cells(artifact.manifest.layers))
    for note in quantization_notes(artifact.manifest, artifact.bytes):
        typer.echo(note)
    if method is None and recipe is None and not half:
        why = "examples to calibrate on were given" if calibrate else "no examples to calibrate on (--calibrate FILE)"
        typer.echo(f"method {chosen.method} was chosen: {why}")
    typer.echo(f"written to {output}")


@app.command()
def export(checkpoint: Annotated[str, typer.Argument()] = "CHECKPOINT") -> None:
    """Use `quantize --method float`."""
    raise InputError(
        "there is no separate export: the float model is a method like the others",
        then=f"octavo quantize {checkpoint} -o OUT --method float",
    )


@app.command()
def compare(
    baseline: Annotated[str, typer.Argument(help="A checkpoint (runs in torch), an artifact or an ONNX file.")],
    candidates: Annotated[list[str] | None, typer.Argument(help="What is compared with it.")] = None,
    data: Annotated[Path | None, typer.Option(help="Examples: .tsv, .csv, .jsonl or .json.")] = None,
    engine: Annotated[list[str] | None, typer.Option(help="For artifacts; one row for each.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="A seeded sample of that many rows.")] = None,
    max_length: MaxLength = None,
    threads: Threads = None,
    task: TaskName = None,
    tokenizer: TokenizerFolder = None,
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
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Compare models on your data: size, speed, accuracy, agreement. With a budget: a verdict, and exit code 1 unless
    every candidate passes.
    """  # noqa: D205 - one paragraph of help
    from octavo.cli.display import Steps
    from octavo.data import DataFile
    from octavo.evaluation.comparison import compare as run_compare
    from octavo.evaluation.entries import is_onnx
    from octavo.evaluation.profiling import profile as run_profile
    from octavo.source import Checkpoint

    if data is None:
        raise InputError("compare needs examples", then="--data FILE (.tsv, .csv, .jsonl or .json)")
    budget = _budget(max_drop, min_speedup, _share(max_size), min_agreement, min_cosine)
    if budget and not candidates and len(engine or ()) < 2:
        raise InputError("a budget judges candidates, and there is only the baseline", then="name a candidate")
    named = [Checkpoint(path, task, tokenizer, _names(labels)) for path in (baseline, *(candidates or ()))]
    file = DataFile(data, encoding, _mapping(columns), limit, max_length)
    with Steps() as steps:
        comparison = run_compare(
            named[0], named[1:], data=file, engines=engine or ("auto",), threads=threads, progress=steps
        )
        if budget:
            comparison = comparison.under(budget)
        profiles = []
        if profile:
            steps.start("profiling")
            models = [model for model in named if is_onnx(Path(model.path))]
            profiles = [run_profile(model, data=file, threads=threads) for model in models]
    if as_json:
        document = comparison.to_dict() | ({"profile": [found.to_dict() for found in profiles]} if profile else {})
        typer.echo(json.dumps(document, ensure_ascii=False, indent=1))
    else:
        _show(comparison, profiles, details=details)
    if comparison.verdict not in {None, "PASS", *(["UNSURE"] if allow_unsure else [])}:
        raise typer.Exit(1)


def _budget(*limits: float | None) -> Budget | None:
    from octavo.evaluation.budget import Budget

    return None if all(limit is None for limit in limits) else Budget(*limits)


def _show(comparison: Comparison, profiles: list[Profile], *, details: bool) -> None:
    from octavo.cli.display import print_cells
    from octavo.reporting import tables

    print_cells(tables.comparison_cells(comparison))
    for note in [*tables.comparison_notes(comparison), *tables.verdict_notes(comparison)]:
        typer.echo(note)
    for row in comparison.rows[1:] if details else ():
        for cells in (tables.group_cells(row), tables.changed_cells(row)):
            if len(cells) > 1:
                print_cells(cells)
    if profiles:
        print_cells(tables.profile_cells(profiles))
        for note in tables.profile_notes(profiles):
            typer.echo(note)


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="A checkpoint, an artifact, any ONNX file, or a folder with one.")],
    graph: Annotated[bool, typer.Option("--graph", help="Print the graph, one line per node.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Look inside: task, inputs, operators, what is int8 and what is float."""
    from octavo.cli.display import print_cells
    from octavo.inspection import inspect as run_inspect
    from octavo.inspection import read_model
    from octavo.reporting.anatomy import inspection_notes, pass_cells, weight_cells

    if graph:
        from octavo.graph.listing import list_graph

        for line in list_graph(read_model(path)):
            typer.echo(line)
        return
    found = run_inspect(path)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), ensure_ascii=False, indent=1))
        return
    for note in inspection_notes(found):
        typer.echo(note)
    for cells in (weight_cells(found), pass_cells(found)):
        if cells:
            print_cells(cells)


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False) -> None:
    """Say what this machine has, what Octavo will choose here, and what to expect."""
    from octavo.cli.display import print_cells
    from octavo.diagnosis import doctor as run_doctor
    from octavo.reporting.anatomy import diagnosis_cells

    found = run_doctor()
    if as_json:
        typer.echo(json.dumps(found.to_dict(), ensure_ascii=False, indent=1))
        return
    print_cells(diagnosis_cells(found))


@app.command()
def predict(
    artifact: Annotated[str, typer.Argument(help="An artifact, or a checkpoint.")],
    source: Annotated[str, typer.Argument(metavar="[FILE|-]", help="JSONL: text, text_pair. Default: stdin.")] = "-",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="JSONL. Default: stdout.")] = None,
    engine: Annotated[str, typer.Option(help="For artifacts.")] = "auto",
    threads: Threads = None,
    max_length: MaxLength = None,
    prompt: Annotated[str | None, typer.Option(metavar="NAME", help="One of a sentence embedder's prompts.")] = None,
) -> None:
    """Predict JSONL, one object a line, in order."""
    from octavo.predictor import predict as run_predict

    counts = run_predict(artifact, source, output, engine=engine, threads=threads, max_length=max_length, prompt=prompt)
    cut = f", {counts.truncated} of them cut at the limit" if counts.truncated else ""
    typer.echo(f"{counts.rows} rows{cut}", err=True)


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",")) if text else ()


def _share(text: str | None) -> float | None:
    """`30%` or `30` as 0.3."""
    if text is None:
        return None
    try:
        return float(text.strip().removesuffix("%")) / 100
    except ValueError:
        raise InputError("--max-size is not understood", got=text, allowed="a percentage, such as 30%") from None


def _mapping(text: str | None) -> dict[str, str] | None:
    if not text:
        return None
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(name and separator and column for name, separator, column in pairs):
        raise InputError("--columns is not understood", got=text, allowed="text=...,text_pair=...,label=...")
    return {name.strip(): column.strip() for name, _, column in pairs}


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, OctavoWarning):
        typer.echo(f"warning: {message}", err=True)


def _end(number: int, _: Any) -> None:
    sys.exit(128 + number)


def run() -> None:
    """Run the command line: an error is one line on stderr, and the exit code says whose it is."""
    warnings.showwarning = _show_warning
    warnings.simplefilter("always", OctavoWarning)
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, _end)  # so that what is half written goes: the default ends the process on the spot
    try:
        app()
    except OctavoError as error:
        for line in str(error).splitlines():
            typer.echo(f"error: {line}", err=True)
        sys.exit(error.exit_code)
    except SystemExit as end:  # typer turns an interruption into this, without a word
        if end.code == 130:
            typer.echo("interrupted", err=True)
        raise
    except OSError as error:  # a full disk, a folder that may not be written
        typer.echo(f"error: {error}", err=True)
        sys.exit(3)
    except Exception as error:  # a traceback is for us: users get a line, and a way to see it
        if os.environ.get("OCTAVO_DEBUG"):
            raise
        reason = str(error).strip().partition("\n")[0]
        typer.echo(f"error: a defect of Octavo: {type(error).__name__}: {reason}; next: set OCTAVO_DEBUG=1", err=True)
        sys.exit(3)
