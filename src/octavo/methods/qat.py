"""`qat`: int8 as `static` writes it, with ranges that were learnt while the checkpoint was trained (`octavo.qat`).

Nothing is calibrated, chosen or corrected here: weights are rounded to the nearest code, as training has seen them.
That the graph then computes what the model did in training is proved by `octavo.qat.proof`.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from octavo.arithmetic.affine import INT7_LEVELS, INT8_LEVELS, affine_range, quantize_symmetric
from octavo.errors import CheckpointError, RecipeError
from octavo.graph.layers import Layer, find_layers
from octavo.graph.lowering import lower_static_linear
from octavo.graph.scaling import find_groups, scale_group, separable
from octavo.methods import Context, MethodResult
from octavo.methods.layer_results import can_saturate, int8_result, lower_layers, lower_rows
from octavo.schema.layers import LayerResult
from octavo.schema.ranges import RANGES, InputRange, Ranges
from octavo.schema.recipe import Recipe

FLOAT = "it was float when ranges were learnt"


def quantize_learnt(model: ir.Model, recipe: Recipe, context: Context) -> MethodResult:
    """Make the layers int8 that training has seen so, with its ranges, and leave the others float.

    Raises:
        CheckpointError: the checkpoint has no ranges, or layers that read the same values have several.
        RecipeError: settings that were settled when the checkpoint was trained, or a target that its weights, trained
            for 8 bits, could saturate on.
    """
    ranges = _require_fit(recipe, context)
    model = model.clone(deep_copy=False)
    levels = INT8_LEVELS if ranges.bits == 8 else INT7_LEVELS
    range_of = {path: one for one in ranges.inputs for path in one.layers}
    layers = find_layers(model)
    linears = [layer for layer in layers if layer.paths[0] in range_of]
    smoothed = _smooth(model, linears, range_of)
    reference = model.clone(deep_copy=False)

    def lower(layer: Layer) -> LayerResult:
        if layer.kind == "embedding":
            return lower_rows(model, layer)
        weight, learnt = quantize_symmetric(layer.matrix(), axis=0, levels=levels), range_of[layer.paths[0]]
        result = int8_result(layer, weight, levels, activation="static")
        span = affine_range(learnt.low, learnt.high)
        lower_static_linear(model, layer, weight, dict.fromkeys(layer.inputs, span))
        return result

    known = {*range_of, *ranges.embeddings}
    results = lower_layers([(layer, None if layer.paths[0] in known else FLOAT) for layer in layers], lower)
    return MethodResult(model, results, can_saturate(results), reference=reference if smoothed else None)


def _require_fit(recipe: Recipe, context: Context) -> Ranges:
    ranges = context.ranges
    if ranges is None:
        raise CheckpointError(
            f"the method qat takes ranges from {RANGES} beside the weights, and there is none",
            then="train the checkpoint for int8 with octavo.qat, or take static with --calibrate FILE",
        )
    if recipe.layers or recipe.smoothing != "auto":
        what = "layers and smoothing were settled when the checkpoint was trained"
        raise RecipeError(what, then="give them to octavo.qat.prepare, or take the method static")
    if ranges.bits == 8 and context.target.saturates:
        raise RecipeError(
            "the checkpoint was trained for weights of 8 bits, whose products saturate on this target",
            got=context.target.name,
            allowed="avx512_vnni, avx_vnni, arm64",
            then="train it for the target any",
        )
    return ranges


def _smooth(model: ir.Model, linears: Sequence[Layer], range_of: Mapping[str, InputRange]) -> bool:
    """Divide what layers read as it was divided in training, in place; whether there is anything to divide.

    Raises:
        CheckpointError: layers that read the same have other ranges, or a weight that others read too is to be scaled.
    """
    found = False
    for group in find_groups(linears):
        given = {range_of[path] for layer in group.layers for path in layer.paths}
        smoothing = next(iter(given)).smoothing
        if len(given) > 1 or (smoothing and not separable(group)):
            got = ", ".join(layer.path for layer in group.layers)
            raise CheckpointError("layers that read the same values have several ranges", got=got)
        if smoothing:
            scale_group(model, group, np.array(smoothing, np.float32))
            found = True
    return found
