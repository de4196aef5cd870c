"""What is to be made, settled before any work begins."""

from dataclasses import dataclass
from pathlib import Path

from octavo.artifact.writing import check_free
from octavo.checkpoint.ranges import has_ranges
from octavo.checkpoint.source import Checkpoint
from octavo.data.examples import DataFile
from octavo.errors import RecipeError
from octavo.exporting.float_graphs import FloatGraphs
from octavo.hardware import Target, find_target
from octavo.progress import Progress, Silent
from octavo.schema.recipe import LEARNT, WITH_EXAMPLES, Recipe, recipe_from


@dataclass(frozen=True)
class Plan:
    """What is quantized, by which recipe, for which CPU, on which examples, and where the artifact goes."""

    checkpoint: str | Path | Checkpoint | FloatGraphs
    output: Path
    recipe: Recipe
    target: Target
    calibration: DataFile | None
    force: bool
    progress: Progress


def make_plan(  # noqa: PLR0913 - those of `quantize`
    checkpoint: str | Path | Checkpoint | FloatGraphs,
    output: str | Path,
    *,
    recipe: Recipe | str | Path | None,
    calibration: str | Path | DataFile | None,
    target: str,
    force: bool,
    progress: Progress | None,
) -> Plan:
    """The plan, where its parts fit each other and the output is free.

    Raises:
        OctavoError: they do not, or it is not.
    """
    output = Path(output).resolve()
    check_free(output, force=force)
    learnt = is_trained(checkpoint)
    chosen, cpu = choose_recipe(recipe, calibrated=calibration is not None, learnt=learnt), find_target(target)
    if isinstance(checkpoint, FloatGraphs) and chosen.format == "onnx":
        checkpoint.require_fit(chosen)
    file = calibration if calibration is None or isinstance(calibration, DataFile) else DataFile(calibration)
    return Plan(checkpoint, output, chosen, cpu, file, force, progress or Silent())


def require_one(**settings: object) -> None:
    """See that of two settings that say the same by two names one was given at most.

    Raises:
        RecipeError: both were.
    """
    given = [f"{name}={value}" for name, value in settings.items() if value is not None]
    if len(given) > 1:
        raise RecipeError(f"{' and '.join(settings)} exclude each other", got=", ".join(given))


def is_trained(checkpoint: str | Path | Checkpoint | FloatGraphs) -> bool:
    """Whether a checkpoint is a folder with ranges that it was trained for int8 with."""
    if isinstance(checkpoint, FloatGraphs):
        return checkpoint.settings.method == "qat"
    return has_ranges(checkpoint.path if isinstance(checkpoint, Checkpoint) else checkpoint)


def choose_recipe(recipe: Recipe | str | Path | None, *, calibrated: bool, learnt: bool = False) -> Recipe:
    """The recipe that was asked for, where it and the examples fit each other.

    `learnt`: the checkpoint was trained for int8, which is then what its default method takes.

    Raises:
        RecipeError: examples for a method that learns nothing from them, or a method that needs some and has none.
    """
    if recipe is None:
        recipe = WITH_EXAMPLES if calibrated else "qat" if learnt else "dynamic"
    if not isinstance(recipe, Recipe):
        toml = str(recipe).endswith(".toml")
        recipe = Recipe.from_toml(Path(recipe)) if toml else recipe_from({"method": str(recipe)})
    if calibrated and not recipe.calibrates:
        raise _in_vain(recipe)
    needs = [name for name in LEARNT if recipe.method == "dynamic" and recipe.sets(name)]
    if calibrated and recipe.own_sentences and recipe.method == "dynamic":
        raise RecipeError("own_sentences are Octavo's, and examples of yours were given", then="leave one of them out")
    if needs and not (calibrated or recipe.own_sentences):
        then = "give some 300 sentences of your own with --calibrate FILE"
        raise RecipeError(f"{' and '.join(needs)} are learnt from examples, and none were given", then=then)
    if recipe.method == "static" and not calibrated:
        raise RecipeError(
            "static int8 learns ranges from examples, and none were given",
            then="give some 300 sentences of your own with --calibrate FILE, or take the method dynamic",
        )
    return recipe


def _in_vain(recipe: Recipe) -> RecipeError:
    """The error about examples that would change nothing."""
    if recipe.method == "weight-only" and recipe.format == "onnx":
        then = "leave the examples out, or take 4 bits"
        return RecipeError("weights of 8 bits are rounded without examples", got=recipe.method, then=then)
    if recipe.format == "torch":
        then = "leave the examples out, or take the format onnx"
        return RecipeError("the format torch does not calibrate", got=recipe.method, then=then)
    then = "leave the examples out, or take dynamic, static or weight-only"
    return RecipeError("this method does not calibrate", got=recipe.method, then=then)
