"""TODO-DOC pipeline.plan."""

from __future__ import annotations

from pathlib import Path

from octavo.errors import RecipeError
from octavo.schema.recipe import Recipe, recipe_from


def choose_recipe(recipe: Recipe | str | Path | None, *, calibrated: bool) -> Recipe:
    """The recipe that was asked for, where it and the examples fit each other.

    Raises:
        RecipeError: examples for a method that learns nothing from them, or a method that needs some and has none.
    """
    if recipe is None:
        recipe = "static" if calibrated else "dynamic"
    if not isinstance(recipe, Recipe):
        toml = str(recipe).endswith(".toml")
        recipe = Recipe.from_toml(Path(recipe)) if toml else recipe_from({"method": str(recipe)})
    if calibrated and recipe.method not in {"static", "weight-only"}:
        then = "leave the examples out, or take static or weight-only"
        raise RecipeError("this method does not calibrate", got=recipe.method, then=then)
    if (
        calibrated
        and recipe.method == "weight-only"
        and recipe.bits == 8
        and not any(rule.keep == "int4" for rule in recipe.layers)
    ):
        then = "leave the examples out, or take 4 bits"
        raise RecipeError("weights of 8 bits are rounded without examples", got=recipe.method, then=then)
    if recipe.method == "static" and not calibrated:
        raise RecipeError(
            "static int8 learns ranges from examples, and none were given",
            then="give some 300 sentences of your own with --calibrate FILE, or take the method dynamic",
        )
    return recipe
