"""`octavo quantize` and `octavo predict`: make an artifact, and use it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from octavo.cli.options import Columns, Encoding, Labels, TargetTokenizer, TaskName, TokenizerFolder, mapping, names
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
    from octavo.checkpoint.source import Checkpoint
    from octavo.cli.display import Steps, print_cells
    from octavo.data.examples import DataFile
    from octavo.pipeline.quantization import quantize as run_quantize
    from octavo.reporting.quantization_tables import part_cells, quantization_notes
    from octavo.schema.recipe import Recipe, recipe_from

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
