"""`float`: the graph as it was exported. The baseline takes the same road as every candidate."""

from __future__ import annotations

import onnx_ir as ir

from octavo.errors import RecipeError
from octavo.graph.layers import find_layers
from octavo.methods import Applied, Given
from octavo.methods.outcomes import float_outcome
from octavo.recipe import Recipe, kept_as


def leave_float(model: ir.Model, recipe: Recipe, given: Given) -> Applied:  # noqa: ARG001 - as all methods
    """Account for the layers and change nothing.

    Raises:
        RecipeError: a layer rule matches nothing, or asks for int8.
    """
    layers = find_layers(model)
    for rule in kept_as(recipe, [path for layer in layers for path in layer.paths]).values():
        if rule.keep != "float":
            raise RecipeError("the method float keeps every layer float", got=f"{rule.match}: {rule.keep}")
    return Applied(model, tuple(float_outcome(layer, "the method is float") for layer in layers))
