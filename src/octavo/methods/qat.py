"""`qat`: int8 as `static` writes it, with ranges that were learnt while the checkpoint was trained (`octavo.qat`).

Nothing is calibrated, chosen or corrected here: weights are rounded to the nearest code, as training has seen them.
That the graph then computes what the model did in training is proved by `octavo.qat.proof`.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from octavo.arithmetic.affine import LEVELS, FloatArray, Quantized, affine_range
from octavo.arithmetic.saturation import quantize_by_steps
from octavo.errors import CheckpointError, RecipeError
from octavo.graph.layers import Layer, find_layers
from octavo.graph.lowering import lower_static_linear
from octavo.graph.scaling import find_groups, scale_group, separable
from octavo.methods import Context, MethodResult
from octavo.methods.layer_results import lower_layers, lower_rows, needs_exact, symmetric_result
from octavo.schema.layers import LayerResult
from octavo.schema.ranges import RANGES, InputRange, Ranges
from octavo.schema.recipe import Recipe

INT4_OPSET = 21  # the first opset of ONNX that casts int4
FLOAT = "it was float when ranges were learnt"


def quantize_learnt(model: ir.Model, recipe: Recipe, context: Context) -> MethodResult:
    """Make the layers int8 that training has seen so, with its ranges, and leave the others float.

    Raises:
        CheckpointError: the checkpoint has no ranges, or layers that read the same values have several.
        RecipeError: settings that were settled when the checkpoint was trained, or a target on which its products can
            saturate where it was trained for others.
    """
    ranges = require_fit(recipe, context)
    _require_opset(ranges, model.opset_imports[""])
    model = model.clone(deep_copy=False)
    range_of = {path: span for span in ranges.inputs for path in span.layers}
    layers = find_layers(model)
    linears = [layer for layer in layers if layer.paths[0] in range_of]
    before = {layer.path: layer.matrix() for layer in linears}
    smoothed = _smooth(model, linears, range_of)
    weights = {layer.path: _weight(layer, before[layer.path], range_of, ranges) for layer in linears}
    reference = model.clone(deep_copy=False)

    def lower(layer: Layer) -> LayerResult:
        if layer.kind == "embedding":
            return lower_rows(model, layer)
        weight, learnt = weights[layer.path], range_of[layer.paths[0]]
        result = symmetric_result(layer, weight, bits=learnt.bits, activation="static")
        span = affine_range(learnt.low, learnt.high)
        lower_static_linear(model, layer, weight, dict.fromkeys(layer.inputs, span), bits=learnt.bits)
        return result

    known = {*range_of, *ranges.embeddings}
    results = lower_layers([(layer, None if layer.paths[0] in known else FLOAT) for layer in layers], lower)
    return MethodResult(model, results, needs_exact(weights), reference=reference if smoothed else None)


def _weight(layer: Layer, before: FloatArray, range_of: Mapping[str, InputRange], ranges: Ranges) -> Quantized:
    """The codes of a Linear's weight [in, out] as training has seen it: `before` anything was folded into it.

    What a layer behind it was smoothed by may have been divided out of its columns, and so out of their steps.
    """
    steps = np.array([step for path in layer.paths for step in range_of[path].layers[path]], np.float32)[None]
    smoothing = np.array(range_of[layer.paths[0]].smoothing or 1.0, np.float32)
    trained = before * smoothing.reshape(-1, 1)
    folded = np.sum(layer.matrix() * trained, axis=0) / np.maximum(np.sum(np.square(trained), axis=0), 1e-30)
    levels = LEVELS[range_of[layer.paths[0]].bits]
    codes = quantize_by_steps(trained, steps, saturates=ranges.saturates, levels=levels).codes
    return Quantized(codes, np.asarray(steps * np.where(folded > 0, folded, 1), np.float32))


def require_fit(recipe: Recipe, context: Context) -> Ranges:
    """The ranges of the context, which the recipe and the target can use.

    Raises:
        OctavoError: there are none, or they were learnt for other settings.
    """
    ranges = context.ranges
    if ranges is None:
        raise CheckpointError(
            f"the method qat takes ranges from {RANGES} beside the weights, and there is none",
            then="train the checkpoint for int8 with octavo.qat, or take static with --calibrate FILE",
        )
    if recipe.layers or recipe.smoothing != "auto":
        what = "layers and smoothing were settled when the checkpoint was trained"
        raise RecipeError(what, then="give them to octavo.qat.prepare, or take the method static")
    if context.target.saturates and not ranges.saturates:
        raise RecipeError(
            "the checkpoint was trained for CPUs whose products do not saturate, and on this target they do",
            got=context.target.name,
            allowed="avx512_vnni, avx_vnni, arm64",
            then="train it for the target any",
        )
    if recipe.opset is not None:
        _require_opset(ranges, recipe.opset)
    return ranges


def _require_opset(ranges: Ranges, opset: int) -> None:
    """See that an operator set has numbers of 4 bits, where there are such; raises RecipeError."""
    if opset < INT4_OPSET and any(span.bits == 4 for span in ranges.inputs):
        raise RecipeError("weights of 4 bits need opset 21", got=opset, then="leave the opset out")


def _smooth(model: ir.Model, linears: Sequence[Layer], range_of: Mapping[str, InputRange]) -> bool:
    """Divide what layers read as it was divided in training, in place; whether there is anything to divide.

    Raises:
        CheckpointError: layers that read the same have other ranges, or a weight that others read too is to be scaled.
    """
    smoothed = False
    for group in find_groups(linears):
        given = [range_of[path] for layer in group.layers for path in layer.paths]
        smoothing = given[0].smoothing
        if any(span is not given[0] for span in given) or (smoothing and not separable(group)):
            got = ", ".join(layer.path for layer in group.layers)
            raise CheckpointError("layers that read the same values have several ranges", got=got)
        if smoothing:
            scale_group(model, group, np.array(smoothing, np.float32))
            smoothed = True
    return smoothed
