"""`octavo quantize`: make an artifact, or several of one export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from octavo.cli.echo import say, words
from octavo.cli.options import (
    Columns,
    Encoding,
    IgnoreWeights,
    Labels,
    TargetTokenizer,
    TaskName,
    TokenizerFolder,
    mapping,
    names,
)
from octavo.cli.order import check_quantize, command_line
from octavo.errors import HardwareError, InputError
from octavo.schema.ranges import RANGES

if TYPE_CHECKING:
    from octavo.artifact.folder import Artifact
    from octavo.checkpoint.source import Checkpoint
    from octavo.data.examples import DataFile
    from octavo.schema.recipe import Recipe

Source = Annotated[str, typer.Argument(metavar="CHECKPOINT", help="A Hugging Face folder, or a hub id.")]
Output = Annotated[
    Path, typer.Option("--output", "-o", help="The folder to write; of several methods one in it for each.")
]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        help="float, dynamic, static, weight-only or qat; default: static and --mixed with --calibrate, qat where the "
        "checkpoint was trained for int8, else dynamic. Several times for several artifacts of one export."
    ),
]
RecipeFile = Annotated[Path | None, typer.Option(help="A TOML file: method, settings, rules for layers.")]
Examples = Annotated[
    Path | None, typer.Option(help="Examples of yours to learn ranges from: formats of --data, or .txt.")
]
Rows = Annotated[int | None, typer.Option(min=1, help="How many of them; a seeded sample.")]
Format = Annotated[
    str | None, typer.Option("--format", help="onnx, or torch: a model of transformers with int8 layers.")
]
Bits = Annotated[int | None, typer.Option(help="Of weights, method weight-only: 8 or 4.")]
Block = Annotated[int | None, typer.Option(help="Weights that share a scale, method weight-only: 16 to 256.")]
Embedding = Annotated[
    str | None, typer.Option(help="Rows of the table of words: int8, or int4 in groups of 32 numbers.")
]
Mixed = Annotated[
    bool, typer.Option("--mixed", help="Method static: one scale per token where a few are far larger than the others.")
]
Half = Annotated[bool, typer.Option("--half", help="Method float with weights stored in 16 bits.")]
Target = Annotated[
    str, typer.Option(help="The CPU it is for: auto (this one), any, avx2, avx_vnni, avx512, avx512_vnni, arm64.")
]
Opset = Annotated[int | None, typer.Option(help="For older runtimes: 20 to 23.")]
NoOptimize = Annotated[bool, typer.Option("--no-optimize", help="Leave the exported graph as it is.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an artifact that is there.")]


def quantize(
    checkpoint: Source,
    output: Output,
    method: Methods = None,
    recipe: RecipeFile = None,
    calibrate: Examples = None,
    calibrate_rows: Rows = None,
    output_format: Format = None,
    bits: Bits = None,
    block: Block = None,
    embedding: Embedding = None,
    mixed: Mixed = False,
    half: Half = False,
    target: Target = "auto",
    task: TaskName = None,
    tokenizer: TokenizerFolder = None,
    target_tokenizer: TargetTokenizer = None,
    labels: Labels = None,
    ignore_weights: IgnoreWeights = None,
    opset: Opset = None,
    no_optimize: NoOptimize = False,
    encoding: Encoding = "utf-8",
    columns: Columns = None,
    force: Force = False,
) -> None:
    """Make an artifact of a checkpoint."""
    from octavo.checkpoint.source import Checkpoint
    from octavo.data.examples import DataFile

    check_quantize(checkpoint, output)
    if calibrate is None and calibrate_rows is not None:
        raise InputError("--calibrate-rows says how many examples of a file", then="--calibrate FILE")
    if mixed and calibrate is None and recipe is None and method is None:
        raise InputError("--mixed is static int8, which learns from examples", then="--calibrate FILE")
    settings = {"format": output_format, "bits": bits, "block": block, "embedding": embedding, "opset": opset}
    settings |= {"storage": "float16" if half else None, "optimize": False if no_optimize else None}
    settings["mixed"] = mixed or None
    learnt = (Path(checkpoint) / RANGES).is_file()
    recipes = choose_recipes(method, recipe, settings, calibrated=calibrate is not None, learnt=learnt)
    model = Checkpoint(checkpoint, task, tokenizer, names(labels), target_tokenizer, tuple(ignore_weights or ()))
    examples = DataFile(calibrate, encoding, mapping(columns), calibrate_rows) if calibrate else None
    folders = [output if len(recipes) == 1 else output / chosen.method for chosen in recipes]
    artifacts = _make(model, dict(zip(folders, recipes, strict=True)), examples, target=target, force=force)
    for folder, artifact in zip(folders, artifacts, strict=True):
        _show(artifact)
        if method is None and recipe is None and not half:
            say(words(_why(recipes[0])).format(method=artifact.manifest.recipe.method))
        say(words("written to {path}").format(path=folder))
    say(words("next, with examples of yours: {command} --data FILE").format(command=_comparison(model, folders)))


def _why(recipe: Recipe) -> str:
    """Why it was chosen where none was asked for."""
    if recipe.method == "qat":
        return "method {method} was chosen: the checkpoint was trained for int8"
    if recipe.method == "static":
        return "method {method}, mixed, was chosen: there are examples; with --method static OpenVINO runs it too"
    return "method {method} was chosen: no examples to calibrate on (--calibrate FILE)"


def _comparison(model: Checkpoint, folders: list[Path]) -> str:
    """The command that compares artifacts with their checkpoint, which torch runs, where it is; up to its data."""
    from octavo.checkpoint.libraries import has_torch

    if not has_torch():
        return command_line("compare", *folders)
    words = [model.path, *folders]
    given = {"--task": model.task, "--tokenizer": model.tokenizer, "--target-tokenizer": model.target_tokenizer}
    given["--labels"] = ",".join(model.labels) or None
    words += [word for option, value in given.items() if value is not None for word in (option, value)]
    words += [word for pattern in model.ignore_weights for word in ("--ignore-weights", pattern)]
    return command_line("compare", *words)


def choose_recipes(
    methods: list[str] | None, file: Path | None, settings: dict[str, Any], *, calibrated: bool, learnt: bool = False
) -> list[Recipe]:
    """The recipe of each method with its settings; of several methods, each gets the settings that belong to it."""
    from octavo.schema.recipe import BELONGS, WITH_EXAMPLES, Recipe, recipe_from

    if methods and file is not None:
        raise InputError("--method and --recipe exclude each other", then="put the method into the recipe")
    settings = {name: value for name, value in settings.items() if value is not None}
    default = "float" if "storage" in settings else "static" if calibrated else "dynamic"
    if default == "dynamic" and learnt and BELONGS.keys().isdisjoint(settings) and settings.get("format") != "torch":
        default = "qat"
    if default == "static" and not methods and file is None and settings.get("format") != "torch":
        settings = {"mixed": WITH_EXAMPLES.mixed} | settings
    options = {"storage": "--half", "optimize": "--no-optimize"}
    recipes = []
    for method in dict.fromkeys(methods or [default]):
        own = settings
        if methods and len(methods) > 1:
            own = {name: value for name, value in settings.items() if method in BELONGS.get(name, (method,))}
        start = {"method": method} | {name: own[name] for name in ("format",) if name in own}
        recipe = Recipe.from_toml(file) if file is not None else recipe_from(start)
        for group in (
            (("format",) if file else ()),
            ("storage",),
            ("bits", "block"),
            ("embedding",),
            ("mixed",),
            ("opset",),
            ("optimize",),
        ):
            if values := {name: own[name] for name in group if name in own}:
                where = " and ".join(options.get(name, f"--{name}") for name in values)
                recipe = recipe_from(recipe.model_dump(exclude_unset=True) | values, where=where)
        recipes.append(recipe)
    return recipes


def _make(
    model: Checkpoint, recipes: dict[Path, Recipe], examples: DataFile | None, *, target: str, force: bool
) -> list[Artifact]:
    """The artifacts, from one export where there are several."""
    from octavo.cli.display import TerminalProgress
    from octavo.exporting.float_graphs import FloatGraphs, export
    from octavo.pipeline.plan import make_plan
    from octavo.pipeline.quantization import quantize as run_quantize

    several = len(recipes) > 1
    calibrations = {
        folder: examples if recipe.calibrates or not several else None for folder, recipe in recipes.items()
    }
    shared: dict[str, Any] = {"target": target, "force": force}
    with TerminalProgress() as progress:
        floats: Checkpoint | FloatGraphs = model
        if several:
            for folder, recipe in recipes.items():  # the errors of each are raised before the export
                make_plan(model, folder, recipe=recipe, calibration=calibrations[folder], progress=None, **shared)
            if all(recipe.format == "onnx" for recipe in recipes.values()):
                first = next(
                    (recipe for recipe in recipes.values() if recipe.method == "qat"), next(iter(recipes.values()))
                )
                floats = export(model, recipe=first, progress=progress)
        return [
            run_quantize(floats, folder, recipe=recipe, calibration=calibrations[folder], progress=progress, **shared)
            for folder, recipe in recipes.items()
        ]


def _show(artifact: Artifact) -> None:
    from octavo.cli.display import print_cells
    from octavo.reporting.quantization_tables import part_cells, quantization_notes

    print_cells(part_cells(artifact.manifest.layers, words))
    say(*quantization_notes(artifact.manifest, artifact.bytes, artifact.chosen_engine, words), _loads(artifact))


def _loads(artifact: Artifact) -> str:
    """Whether this CPU runs the artifact, which may be made for another."""
    from octavo.artifact.compatibility import check_cpu
    from octavo.hardware import this_cpu

    cpu = this_cpu()
    try:
        note = check_cpu(artifact.manifest, artifact.engine())
    except HardwareError as error:
        return f"{words('does not load on this CPU')}: {error}"
    return f"{words('loads on this CPU')}: {cpu.name} ({cpu.kind})" + (f"; {note}" if note else "")
