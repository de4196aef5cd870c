"""`float`: the graph as it was exported. The baseline takes the same road as every candidate.

With `storage = "float16"` weights are stored in 16 bits, and are 32-bit (or bf16) numbers again when an engine has
loaded them: half of the size at a loss of 2^-11 of each number. (The file is not called `float.py`: a module of that
name would hide the type in the annotations of this package.)
"""

import onnx_ir as ir

from octavo.errors import RecipeError
from octavo.graph.layers import find_layers
from octavo.methods import Context, MethodResult
from octavo.methods.layer_results import float_result, halved, store_half
from octavo.schema.recipe import Recipe, kept_as


def leave_float(model: ir.Model, recipe: Recipe, context: Context) -> MethodResult:  # noqa: ARG001 - as all methods
    """Account for the layers and change nothing.

    Raises:
        RecipeError: a layer rule matches nothing, or asks for int8.
    """
    layers = find_layers(model)
    for rule in kept_as(recipe, [path for layer in layers for path in layer.paths]).values():
        if rule.keep not in {"float", "float16"}:
            raise RecipeError("the method float keeps every layer float", got=f"{rule.match}: {rule.keep}")
    model = model.clone(deep_copy=False)
    if recipe.storage == "float16":
        return MethodResult(model, tuple(store_half(model, layer, "stored in 16 bits") for layer in find_layers(model)))
    results = tuple(float_result(layer, "the method is float") for layer in layers)
    return MethodResult(model, halved(model, results, recipe))
