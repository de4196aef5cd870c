"""What all methods do alike: which layers stay float and why, int8 rows of embeddings, and the records of layers."""

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from octavo.arithmetic.affine import Quantized, error_db, quantize_symmetric
from octavo.arithmetic.blocks import GROUP, quantize_rows
from octavo.arithmetic.saturation import can_saturate
from octavo.errors import OctavoWarning, RecipeError
from octavo.graph.layers import Layer, find_layers, paths_of
from octavo.graph.lowering import lower_block_rows, lower_embedding, lower_half
from octavo.schema.layers import Kind, LayerResult, part_of, place_of
from octavo.schema.recipe import LayerRule, Recipe, kept_as

FEW_ROWS = 8
LARGEST_HALF = 65504.0  # the largest finite number of IEEE 754's binary16


@dataclass(frozen=True)
class ModuleLayer:
    """A Linear or an Embedding of a torch model, with the properties of a layer of a graph (`graph.layers.Layer`)."""

    path: str
    kind: Kind
    weight: NDArray[np.float32]
    unlike: str | None = None  # the class of a module that computes something else with it than its kind does

    @property
    def parameters(self) -> int:
        """Numbers in the weight."""
        return int(self.weight.size)

    @property
    def part(self) -> str:
        """The part of a transformer that it is in."""
        return part_of(self.path, self.kind)

    def matrix(self) -> NDArray[np.float32]:
        """The weight as [in, out] for a Linear and [rows, width] for an Embedding."""
        return self.weight


AnyLayer = Layer | ModuleLayer
LayerT = TypeVar("LayerT", Layer, ModuleLayer)


def reason_for_float(layer: AnyLayer, rule: LayerRule | None) -> str | None:
    """Why a layer stays float; None where it is to be quantized.

    A table of a few rows stays float unless a rule asks for it. Every token reads one of the two rows of BERT's token
    types, so their rounding errors do not average out as those of words do: 2 KiB of int8 were half of the whole loss
    on film reviews.
    """
    if rule is not None and rule.keep in {"float", "float16"}:
        return f"kept by the rule {rule.match!r}"
    if not np.isfinite(layer.matrix()).all():
        return "its weight has values that are not finite"
    if layer.kind == "embedding" and len(layer.matrix()) <= FEW_ROWS and rule is None:
        return "so few rows that int8 shifts all tokens alike and saves nothing"
    return None


def four_bit_tables(decided: Sequence[tuple[Layer, str | None]], recipe: Recipe) -> set[str]:
    """The module paths of tables whose rows have 4 bits: those that a rule asks for, or the recipe for words.

    Words are the tables of as many rows as the largest has. Positions are a small table, and all texts read its rows.
    """
    every = [(layer, reason) for layer, reason in decided if layer.kind == "embedding"]
    rules = kept_as(recipe, [path for layer, _ in decided for path in layer.paths])
    most = max((len(layer.matrix()) for layer, _ in every), default=0)  # also where a rule keeps words float
    tables = [layer for layer, reason in every if reason is None]
    words = {layer.path for layer in tables if recipe.embedding == "int4" and len(layer.matrix()) == most}
    asked = {layer.path: rules[layer.path].keep for layer in tables if layer.path in rules}
    return {layer.path for layer in tables if asked.get(layer.path, "int4" if layer.path in words else "") == "int4"}


def rounded_by_token(decided: Sequence[tuple[Layer, str | None]], recipe: Recipe) -> set[str]:
    """The module paths of Linears whose input has one scale for each token.

    Warns where the recipe is `mixed` and knows none of the model's by its name.
    """
    quantized = [layer for layer, reason in decided if reason is None and layer.kind == "linear"]
    found = {layer.path for layer in quantized if recipe.rounds_by_token(layer.paths[0])}
    known = [layer for layer, _ in decided if layer.kind == "linear" and place_of(layer.paths[0])]
    if recipe.mixed and quantized and not known:
        last = quantized[-1].path
        warnings.warn(
            f"mixed knows no Linear of this model by its name (its last one: {last}): all ranges are learnt; "
            'take --method static, which OpenVINO runs too, or rules with keep = "per-token"',
            OctavoWarning,
            stacklevel=2,
        )
    return found


def lower_rows(model: ir.Model, layer: Layer, four_bits: Collection[str] = ()) -> LayerResult:
    """Make an embedding table int8, one scale per row, or give it 4 bits in groups where it is named; in place."""
    if layer.path in four_bits:
        rows = quantize_rows(layer.matrix())
        error = round(error_db(layer.matrix(), rows.dequantize().T), 2)
        reason = f"one scale and zero point per {GROUP} numbers of a row"
        lower_block_rows(model, layer, rows)
        return layer_result(layer, "int4", reason, rows.row_bytes, weight_bits=4, error_db=error)
    table = quantize_symmetric(layer.matrix(), axis=1)
    lower_embedding(model, layer, table)
    return symmetric_result(layer, table)


def layer_result(layer: AnyLayer, dtype: str, reason: str, size: int, **details: Any) -> LayerResult:
    """The record of a layer whose weight takes `size` bytes; `details` are further fields of `LayerResult`."""
    return LayerResult(layer.path, layer.kind, layer.part, dtype, reason, layer.parameters, size, **details)


def float_result(layer: AnyLayer, reason: str) -> LayerResult:
    """The record of a layer that stays as it is."""
    return layer_result(layer, "float32", reason, 4 * layer.parameters)


def store_half(model: ir.Model, layer: Layer, reason: str) -> LayerResult:
    """Store the layer's weight in 16 bits, in place, unless one of its numbers is too large for them."""
    if np.abs(layer.matrix()).max(initial=0) > LARGEST_HALF:
        return float_result(layer, "a number of its weight is too large for 16 bits")
    if layer.weight.uses():  # another layer that reads the same weight may have done it
        lower_half(model, layer)
    return layer_result(layer, "float16", reason, 2 * layer.parameters)


def halved(model: ir.Model, results: Sequence[LayerResult], recipe: Recipe) -> tuple[LayerResult, ...]:
    """The records of all layers when what a rule keeps in 16 bits is stored so, in place, for all its readers."""
    rules = kept_as(recipe, [path for result in results for path in paths_of(result.path)])
    layers = find_layers(model)
    named = {str(layer.weight.name): rules[layer.paths[0]] for layer in layers if layer.paths[0] in rules}
    halves = {
        layer.path: store_half(model, layer, f"stored in 16 bits by the rule {named[str(layer.weight.name)].match!r}")
        for layer in layers
        if str(layer.weight.name) in named and named[str(layer.weight.name)].keep == "float16"
    }
    return tuple(halves.get(result.path, result) for result in results)


def symmetric_result(layer: AnyLayer, weight: Quantized, *, bits: int = 8, **details: Any) -> LayerResult:
    """The record of a layer whose weight was quantized; its error is that against the layer's present weight."""
    reason = f"one scale per {'row' if layer.kind == 'embedding' else 'output channel'}"
    dtype = "int4" if bits == 4 else "int8"
    size = weight.codes.nbytes * (4 if bits == 4 else 8) // 8 + weight.scale.nbytes
    error = round(weight.error_db(layer.matrix()), 2)
    return layer_result(layer, dtype, reason, size, weight_bits=bits, error_db=error, **details)


def decide(model: ir.Model, recipe: Recipe) -> list[tuple[Layer, str | None]]:
    """Every layer, and why it stays float; None for those that are to be quantized.

    Raises:
        RecipeError: a layer rule matches nothing, asks for products of 4 bits where the method has none, or for a table
            that is rounded per token.
    """
    layers = find_layers(model)
    rules = kept_as(recipe, [path for layer in layers for path in layer.paths])
    for layer in layers if recipe.method != "weight-only" else ():
        rule = rules.get(layer.paths[0])
        if rule is not None and rule.keep == "int4" and layer.kind == "linear":
            got, allowed = f"{rule.match}: {layer.path}", "embeddings, or the method weight-only"
            raise RecipeError(f"products of the method {recipe.method} have 8 bits", got=got, allowed=allowed)
        if rule is not None and rule.keep == "per-token" and layer.kind == "embedding":
            got = f"{rule.match}: {layer.path}"
            raise RecipeError("rows of a table are looked up, not rounded per token", got=got, allowed="Linear layers")
    return [(layer, reason_for_float(layer, rules.get(layer.paths[0]))) for layer in layers]


def lower_layers(
    decided: Sequence[tuple[LayerT, str | None]], lower: Callable[[LayerT], LayerResult]
) -> tuple[LayerResult, ...]:
    """Call `lower` for every layer that has no reason to stay float; returns the records of all layers.

    Raises:
        RecipeError: no layer is left to quantize.
    """
    results = tuple(lower(layer) if reason is None else float_result(layer, reason) for layer, reason in decided)
    if all(result.dtype.startswith("float") for result in results):
        raise RecipeError("no layer would be quantized", got=f"{len(results)} layers, all kept float")
    return results


def needs_exact(weights: Mapping[str, Quantized]) -> bool:
    """Whether there are activations with which a product of one of these weights [in, out] saturates."""
    return any(can_saturate(weight.codes) for weight in weights.values())
