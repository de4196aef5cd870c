"""What becomes of each layer, in all methods: which stay float and why, int8 rows of embeddings, and the records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from octavo.arithmetic.affine import INT7_LEVELS, INT8_LEVELS, Quantized, error_db, quantize_symmetric
from octavo.errors import RecipeError
from octavo.graph.layers import Layer, find_layers
from octavo.graph.lowering import lower_embedding
from octavo.hardware import Target
from octavo.methods import MethodResult
from octavo.schema.layers import Kind, LayerResult, Overflow
from octavo.schema.recipe import LayerRule, Recipe, kept_as

FEW_ROWS = 8


class AnyLayer(Protocol):
    """What rules and records see of a layer, in a graph (`graph.layers.Layer`) or in a torch model."""

    @property
    def path(self) -> str:
        """Its module path."""

    @property
    def kind(self) -> Kind:
        """Linear or embedding."""

    @property
    def part(self) -> str:
        """Where in a transformer it stands."""

    @property
    def parameters(self) -> int:
        """Numbers in the weight."""

    def matrix(self) -> NDArray[np.float32]:
        """The weight as [in, out] for a Linear and [rows, width] for an Embedding."""


def weight_levels(target: Target) -> int:
    """The largest weight code: within 7 bits where products of 8-bit ones could saturate."""
    return INT7_LEVELS if target.saturates else INT8_LEVELS


def reason_for_float(layer: AnyLayer, rule: LayerRule | None) -> str | None:
    """Why a layer stays float; None where it is to become int8.

    A table of a few rows stays float unless a rule asks for it. Every token reads one of the two rows of BERT's token
    types, so their rounding errors do not average out as those of words do: 2 KiB of int8 were half of the whole loss
    on film reviews.
    """
    if rule is not None and rule.keep == "float":
        return f"kept by the rule {rule.match!r}"
    if not np.isfinite(layer.matrix()).all():
        return "its weight has values that are not finite"
    if layer.kind == "embedding" and len(layer.matrix()) <= FEW_ROWS and rule is None:
        return "so few rows that int8 shifts all tokens alike and saves nothing"
    return None


def lower_rows(model: ir.Model, layer: Layer) -> LayerResult:
    """Make an embedding table int8, one scale per row; in place."""
    table = quantize_symmetric(layer.matrix(), axis=1)
    lower_embedding(model, layer, table)
    return int8_result(layer, table, "one scale per row", INT8_LEVELS)


def float_result(layer: AnyLayer, reason: str) -> LayerResult:
    """The outcome of a layer that stays as it is."""
    size = layer.parameters
    return LayerResult(layer.path, layer.kind, layer.part, "float32", reason, parameters=size, bytes=4 * size)


def int8_result(
    layer: AnyLayer,
    weight: Quantized,
    reason: str,
    levels: int,
    activation: str | None = None,
    smoothing: float | None = None,
) -> LayerResult:
    """The outcome of a layer whose weight was quantized; the weight that the layer has now is the reference."""
    return LayerResult(
        path=layer.path,
        kind=layer.kind,
        part=layer.part,
        dtype="int8",
        reason=reason,
        parameters=layer.parameters,
        bytes=weight.codes.nbytes + weight.scale.nbytes,
        weight_bits=8 if levels > INT7_LEVELS else 7,
        activation=activation,
        smoothing=smoothing,
        error_db=round(error_db(layer.matrix(), weight.dequantize()), 2),
    )


def decide(model: ir.Model, recipe: Recipe) -> list[tuple[Layer, str | None]]:
    """Every layer, and why it stays float; None for those that are to become int8.

    Raises:
        RecipeError: a layer rule matches nothing.
    """
    layers = find_layers(model)
    rules = kept_as(recipe, [path for layer in layers for path in layer.paths])
    return [(layer, reason_for_float(layer, rules.get(layer.paths[0]))) for layer in layers]


def lower_layers(
    model: ir.Model,
    decided: Sequence[tuple[Layer, str | None]],
    lower_linear: Callable[[Layer], LayerResult],
    levels: int,
    overflow: Overflow | None = None,
) -> MethodResult:
    """Make int8 what was decided to be; in place. `lower_linear` is what tells one method from another.

    Raises:
        RecipeError: no layer is left to quantize.
    """
    outcomes = []
    for layer, reason in decided:
        if reason is not None:
            outcomes.append(float_result(layer, reason))
        else:
            outcomes.append(lower_rows(model, layer) if layer.kind == "embedding" else lower_linear(layer))
    if not any(outcome.dtype == "int8" for outcome in outcomes):
        raise RecipeError("no layer would be quantized", got=f"{len(outcomes)} layers, all kept float")
    multiplies = any(outcome.activation for outcome in outcomes)
    return MethodResult(model, tuple(outcomes), exact_u8s8=multiplies and levels > INT7_LEVELS, overflow=overflow)
