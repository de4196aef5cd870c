"""What `static` and `dynamic` learn from the user's examples alike: smoothing, compensated rounding, biases.

The order: see what the layers read, smooth (`arithmetic.smoothquant`) where it pays, round (`arithmetic.ldlq`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from octavo.arithmetic.affine import FloatArray, Quantized
from octavo.arithmetic.ldlq import round_compensated
from octavo.arithmetic.smoothquant import Rounding, Sample, bias_correction, choose_factor, smoothing_factor
from octavo.graph.layers import Layer, find_bias
from octavo.graph.scaling import Group, correct_bias, find_maker, scale_group, separable
from octavo.hardware import give_back_memory
from octavo.methods import Context
from octavo.methods.activations import see_channels, see_covariances
from octavo.progress import Silent
from octavo.schema.recipe import Recipe

IN_MEMORY = 540 << 20  # bytes of covariances that are in memory at a time; a model of BERT base's shape has 516 MiB


@dataclass(frozen=True)
class Input:
    """What a layer reads, over the calibration examples.

    `low`, `high` extremes of each channel, float32 [in]; `mean` float64 [in]; `rows` a sample, float32 [n, in];
    `factor` what the value of that `name` was divided by since, float32 [in].
    """

    name: str

    low: FloatArray
    high: FloatArray
    mean: NDArray[np.float64]
    rows: FloatArray
    factor: FloatArray

    def divided(self, factor: FloatArray) -> Self:
        """The same behind a division of each channel by its factor [in]."""
        low, high, rows = (part / factor for part in (self.low, self.high, self.rows))
        return replace(self, low=low, high=high, mean=self.mean / factor, rows=rows, factor=self.factor * factor)

    def spread(self, covariance: FloatArray, *, centered: bool) -> FloatArray:
        """The covariance, or E[x x^T], [in, in]; `covariance` is that of the value as it was seen."""
        spread = covariance / self.factor
        spread /= self.factor[:, None]
        if not centered:
            mean = self.mean.astype(np.float32)
            spread += np.outer(mean, mean)
        return spread


@dataclass(frozen=True)
class Calibrated:
    """What examples say of layers.

    `seen`: what they read, by the value's name. By module path: the `strengths` of smoothing, where there is any, and
    the `weights`.
    """

    seen: Mapping[str, Input]
    strengths: Mapping[str, float]
    weights: Mapping[str, Quantized]

    def correct(self, model: ir.Model, layer: Layer) -> None:
        """Add to the layer's bias what makes its mean output that of the float layer, in place."""
        mean = np.mean([self.seen[name].mean for name in layer.inputs], axis=0)
        correct_bias(model, layer, bias_correction(mean, layer.matrix(), self.weights[layer.path].dequantize()))


RoundingOf = Callable[[Group], Rounding]  # how the input of a group of layers will be rounded


def calibrate(
    model: ir.Model, groups: Sequence[Group], recipe: Recipe, context: Context, rounding_of: RoundingOf
) -> Calibrated:
    """Smooth the groups as the recipe says, in place, and round their weights."""
    layers = [layer for group in groups for layer in group.layers]
    covariances = Covariances(model, layers, context)
    channels = see_channels(model, layers, context, moments=covariances.first)
    covariances.known = {name: channels[name].take_covariance() for name in covariances.first}
    seen = {
        name: Input(name, measured.low, measured.high, measured.mean, measured.rows, np.ones_like(measured.low))
        for name, measured in channels.items()
    }
    del channels
    smoothed, strengths = _smooth(model, groups, seen, recipe, context, rounding_of)
    seen = {
        name: smoothed[name] for layer in layers for name in layer.inputs
    }  # of others as they were no more is asked
    del smoothed
    rounded = _round(layers, seen, covariances, recipe, context)
    covariances.release()
    return Calibrated(seen, strengths, rounded)


class Covariances:
    """Those of what layers read, float32 [in, in]: of a large model in parts, each seen in a run of its own.

    `first` are the names of the part that the run for ranges sees too, `known` those of the present part.
    """

    def __init__(self, model: ir.Model, layers: Sequence[Layer], context: Context) -> None:
        """Of a model as it is now, which may be changed later."""
        self._model, self.known = model.clone(deep_copy=False), dict[str, FloatArray]()
        self._context = replace(context, progress=Silent())  # it runs while another step is told of
        self._parts: list[list[str]] = [[]]
        size = 0
        for name, width in {name: len(layer.matrix()) for layer in layers for name in layer.inputs}.items():
            if size + 4 * width * width > IN_MEMORY and self._parts[-1]:
                self._parts, size = [*self._parts, []], 0
            self._parts[-1].append(name)
            size += 4 * width * width
        self.first = self._parts[0]

    def of(self, names: Sequence[str]) -> list[FloatArray]:
        """Those of some values."""
        if not all(name in self.known for name in names):
            self.release()
            wanted = dict.fromkeys(name for part in self._parts if not {*part}.isdisjoint(names) for name in part)
            self.known = see_covariances(self._model, list(wanted), self._context)
        return [self.known[name] for name in names]

    def release(self) -> None:
        """Let the present part go."""
        self.known = {}
        if len(self._parts) > 1:
            give_back_memory()


def _smooth(
    model: ir.Model,
    groups: Sequence[Group],
    seen: dict[str, Input],
    recipe: Recipe,
    context: Context,
    rounding_of: RoundingOf,
) -> tuple[dict[str, Input], dict[str, float]]:
    """What layers read when the groups are smoothed, which they are in place, and each layer's strength."""
    smoothed, strengths = dict(seen), {}
    for group in groups:
        if not separable(group) or recipe.smoothing == "none":
            continue
        before = [seen[str(value.name)] for value in group.inputs]
        low, high = np.min([x.low for x in before], axis=0), np.max([x.high for x in before], axis=0)
        sample = Sample(np.concatenate([x.rows for x in before]), low, high)
        weights = [layer.matrix() for layer in group.layers]
        if recipe.smoothing == "auto":
            flags = {"saturates": context.target.saturates, "free": find_maker(group) is not None}
            chosen = choose_factor(sample, weights, rounding_of(group), **flags)
        else:
            chosen = recipe.smoothing, smoothing_factor(sample.largest, weights, recipe.smoothing)
        if chosen is None:
            continue
        strength, factor = chosen
        names = [list(layer.inputs) for layer in group.layers]
        scale_group(model, group, factor)
        for layer, names_before in zip(group.layers, names, strict=True):
            strengths[layer.path] = strength
            for name, name_before in zip(layer.inputs, names_before, strict=True):
                smoothed[name] = seen[name_before].divided(factor)
    return smoothed, strengths


def _round(
    layers: Sequence[Layer], seen: Mapping[str, Input], covariances: Covariances, recipe: Recipe, context: Context
) -> dict[str, Quantized]:
    """The integers of each layer's weight; layers that read the same values are rounded together."""
    together: dict[tuple[bool, tuple[str, ...]], list[Layer]] = {}
    for layer in layers:
        corrected = recipe.bias_correction and all(find_bias(node) for node in layer.nodes)
        together.setdefault((corrected, tuple(layer.inputs)), []).append(layer)
    rounded: dict[str, Quantized] = {}
    context.progress.start("rounding weights", len(together))
    for (corrected, names), members in together.items():
        inputs = [seen[name] for name in names]
        parts = zip(inputs, covariances.of([value.name for value in inputs]), strict=True)
        spreads = [value.spread(part, centered=corrected) for value, part in parts]
        spread = spreads[0] if len(spreads) == 1 else np.mean(spreads, axis=0)
        weights = round_compensated([layer.matrix() for layer in members], spread, saturates=context.target.saturates)
        rounded |= zip((layer.path for layer in members), weights, strict=True)
        context.progress.advance()
    return rounded
