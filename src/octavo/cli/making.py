"""`octavo quantize` and `octavo predict`: make an artifact, and use it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from octavo.cli.options import (
    Columns,
    Device,
    Encoding,
    Labels,
    MaxLength,
    TargetTokenizer,
    TaskName,
    Threads,
    TokenizerFolder,
    mapping,
    names,
)
from octavo.errors import InputError


def quantize(
    checkpoint: Annotated[str, typer.Argument(help="A Hugging Face folder, or a hub id.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write.")],
    method: Annotated[
        str | None,
        typer.Option(help="float, dynamic, static or weight-only; default: static with --calibrate, else dynamic."),
    ] = None,
    recipe: Annotated[Path | None, typer.Option(help="A TOML file: method, settings, rules for layers.")] = None,
    calibrate: Annotated[
        Path | None, typer.Option(help="Examples of yours to learn ranges from: formats of --data, or .txt.")
    ] = None,
    calibrate_rows: Annotated[int | None, typer.Option(min=1, help="How many of them; a seeded sample.")] = None,
    output_format: Annotated[
        str | None, typer.Option("--format", help="onnx, or torch: a model of transformers with int8 layers.")
    ] = None,
    bits: Annotated[int | None, typer.Option(help="Of weights, method weight-only: 8 or 4.")] = None,
    block: Annotated[
        int | None, typer.Option(help="Weights that share a scale, method weight-only: 16 to 256.")
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Method float with weights stored in 16 bits.")] = False,
    target: Annotated[
        str, typer.Option(help="The CPU it is for: auto (this one), any, avx2, avx_vnni, avx512, avx512_vnni, arm64.")
    ] = "auto",
    task: TaskName = None,
    tokenizer: TokenizerFolder = None,
    target_tokenizer: TargetTokenizer = None,
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
    from octavo.reporting.outcomes import part_cells, quantization_notes
    from octavo.source import Checkpoint

    if method is not None and recipe is not None:
        raise InputError("--method and --recipe exclude each other", then="put the method into the recipe")
    if calibrate is None and calibrate_rows is not None:
        raise InputError("--calibrate-rows says how many examples of a file", then="--calibrate FILE")
    default = "float" if half else "static" if calibrate is not None else "dynamic"
    chosen = (
        Recipe.from_toml(recipe)
        if recipe is not None
        else recipe_from({"method": method or default} | ({"format": output_format} if output_format else {}))
    )
    if recipe is not None and output_format is not None:
        chosen = recipe_from(chosen.model_dump(exclude_unset=True) | {"format": output_format}, where="--format")
    if half:
        chosen = recipe_from(chosen.model_dump() | {"storage": "float16"}, where="--half")
    blocks = {name: value for name, value in (("bits", bits), ("block", block)) if value is not None}
    if blocks:
        chosen = recipe_from(chosen.model_dump() | blocks, where=" and ".join(f"--{name}" for name in blocks))
    if opset is not None:
        chosen = recipe_from(chosen.model_dump() | {"opset": opset}, where="--opset")
    if no_optimize:
        chosen = recipe_from(chosen.model_dump() | {"optimize": False}, where="--no-optimize")
    with Steps() as steps:
        artifact = run_quantize(
            Checkpoint(checkpoint, task, tokenizer, names(labels), target_tokenizer),
            output,
            recipe=chosen,
            calibration=DataFile(calibrate, encoding, mapping(columns), calibrate_rows) if calibrate else None,
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


def export(checkpoint: Annotated[str, typer.Argument()] = "CHECKPOINT") -> None:
    """Use `quantize --method float`."""
    raise InputError(
        "there is no separate export: the float model is a method like the others",
        then=f"octavo quantize {checkpoint} -o OUT --method float",
    )


def predict(
    artifact: Annotated[str, typer.Argument(help="An artifact, or a checkpoint.")],
    source: Annotated[
        str, typer.Argument(metavar="[FILE|-]", help="JSONL: text, text_pair, or what the task reads. Default: stdin.")
    ] = "-",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="JSONL. Default: stdout.")] = None,
    engine: Annotated[str, typer.Option(help="For artifacts.")] = "auto",
    threads: Threads = None,
    max_length: MaxLength = None,
    device: Device = "cpu",
    prompt: Annotated[str | None, typer.Option(metavar="NAME", help="One of a sentence embedder's prompts.")] = None,
    task: Annotated[str | None, typer.Option(help="What the model has to be for; an error where it is not.")] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Of the task, such as aggregation_strategy=simple.")
    ] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="Models that write: the longest text.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Draw, instead of taking the most likely token.")] = None,
    top_k: Annotated[int | None, typer.Option(help="Draw from so many.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Draw from the fewest that are so likely together.")] = None,
    repetition_penalty: Annotated[float | None, typer.Option(help="Above 1: say less again.")] = None,
    num_beams: Annotated[int | None, typer.Option(help="Search for the likeliest text.")] = None,
    stop: Annotated[list[str] | None, typer.Option(help="End before this string; may be given several times.")] = None,
    seed: Annotated[int | None, typer.Option(help="Draw the same again.")] = None,
) -> None:
    """Predict JSONL, one object a line, in order."""
    from octavo.predictor import predict as run_predict

    sampling = {
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "repetition_penalty": repetition_penalty,
        "num_beams": num_beams,
        "stop": tuple(stop) if stop else None,
        "seed": seed,
    }
    settings: dict[str, Any] = {
        "engine": engine,
        "threads": threads,
        "max_length": max_length,
        "device": device,
        "prompt": prompt,
        "task": task,
        "options": _options(option or ()) | {name: value for name, value in sampling.items() if value is not None},
    }
    counts = run_predict(artifact, source, output, **settings)
    cut = f", {counts.truncated} of them cut at the limit" if counts.truncated else ""
    typer.echo(f"{counts.rows} rows{cut}", err=True)


def _options(given: Sequence[str]) -> dict[str, Any]:
    """`NAME=VALUE`, the values as JSON where they are, else as text."""
    found: dict[str, Any] = {}
    for one in given:
        name, sign, value = one.partition("=")
        if not sign or not name:
            raise InputError("--option is not understood", got=one, allowed="NAME=VALUE, such as top_k=3")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found
