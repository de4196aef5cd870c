"""`float`: the graph as it was exported. The baseline takes the same road as every candidate.

With `storage = "float16"` weights are stored in 16 bits, and are 32-bit (or bf16) numbers again when an engine has
loaded them: half of the size at a loss of 2^-11 of each number. (The file is not called `float.py`: a module of that
name would hide the type in the annotations of this package.)
"""

import numpy as np
import onnx_ir as ir

from octavo.errors import RecipeError
from octavo.graph.layers import find_layers
from octavo.graph.lowering import lower_half
from octavo.methods import Context, MethodResult
from octavo.methods.layer_results import float_result, layer_result
from octavo.schema.recipe import Recipe, kept_as

LARGEST_HALF = 65504.0  # the largest finite number of IEEE 754's binary16


def leave_float(model: ir.Model, recipe: Recipe, context: Context) -> MethodResult:  # noqa: ARG001 - as all methods
    """Account for the layers and change nothing.

    Raises:
        RecipeError: a layer rule matches nothing, or asks for int8.
    """
    layers = find_layers(model)
    for rule in kept_as(recipe, [path for layer in layers for path in layer.paths]).values():
        if rule.keep != "float":
            raise RecipeError("the method float keeps every layer float", got=f"{rule.match}: {rule.keep}")
    if recipe.storage == "float32":
        return MethodResult(model, tuple(float_result(layer, "the method is float") for layer in layers))
    model = model.clone(deep_copy=False)
    results, done = [], set()
    for layer in find_layers(model):
        if np.abs(layer.matrix()).max(initial=0) > LARGEST_HALF:
            results.append(float_result(layer, "a number of its weight is too large for 16 bits"))
            continue
        results.append(layer_result(layer, "float16", "stored in 16 bits", 2 * layer.parameters))
        if layer.weight.name not in done:  # several layers may read one weight
            done.add(layer.weight.name)
            lower_half(model, layer)
    return MethodResult(model, tuple(results))
