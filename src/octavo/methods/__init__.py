"""What can be done to a graph: one file per method, one table. A method is a function of a graph and a recipe.

    apply(model: onnx_ir.Model, recipe: Recipe, given: Given) -> Applied

It leaves the graph that it is given alone, and accounts for every layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from octavo.hardware import Target
from octavo.progress import Progress, Silent
from octavo.recipe import Recipe

if TYPE_CHECKING:
    import onnx_ir as ir

METHODS = {
    "float": "octavo.methods.unquantized:leave_float",
    "dynamic": "octavo.methods.dynamic:quantize_dynamic",
    "static": "octavo.methods.static:quantize_static",
    "weight-only": "octavo.methods.weight_only:quantize_weight_only",
}
Inputs = dict[str, NDArray[np.int64]]  # of one batch: name -> [batch, length]


@dataclass(frozen=True)
class Given:
    """What a method may look at besides the graph and the recipe.

    `target` is the CPU that it works for; `calibration` the user's examples in batches, empty where none were given;
    `progress` hears of every step.
    """

    target: Target
    calibration: tuple[Inputs, ...] = ()
    progress: Progress = Silent()  # noqa: RUF009 - it holds nothing


@dataclass(frozen=True)
class LayerOutcome:
    """What became of one layer.

    `dtype` of the stored weight; `reason` why it is so; `bytes` of the weight with its scales; `error_db` of the
    weight, signal over noise in decibels (None for a float layer); `activation`: what shares one scale at the input of
    an int8 Linear, "tensor", "token" or "block" (of a token); `output_db`: the same ratio of its output
    (`methods.layer_errors`; None where that is exact, or nothing was measured).
    """

    path: str
    kind: str
    part: str
    dtype: str
    reason: str
    parameters: int
    bytes: int
    weight_bits: int | None = None
    activation: str | None = None
    smoothing: float | None = None
    error_db: float | None = None
    output_db: float | None = None


@dataclass(frozen=True)
class Overflow:
    """Sums of two neighbouring u8 x s8 products that leave 16 bits, counted on the model's own activations and weights.

    Of `pairs` sums, `with_8_bits` overflow if the weights have 8 bits and `with_7_bits` if they have 7.
    """

    pairs: int
    with_8_bits: int
    with_7_bits: int


@dataclass(frozen=True)
class Applied:
    """A graph that a method has made, and what became of each layer.

    `exact_u8s8`: it needs a CPU on which products of unsigned and signed 8-bit numbers do not saturate. `overflow`:
    what would happen on one where they do, where the method has seen activations. `reference`: the float graph that the
    values of this one compare with, where the method has rewritten the one that it was given.
    """

    model: ir.Model
    layers: tuple[LayerOutcome, ...]
    exact_u8s8: bool = False
    overflow: Overflow | None = None
    reference: ir.Model | None = None


class Apply(Protocol):
    """The signature of a method."""

    def __call__(self, model: ir.Model, recipe: Recipe, given: Given) -> Applied:
        """Make the graph that the recipe asks for."""


def find_method(name: str) -> Apply:
    """The function behind a method's name, imported on first use."""
    module, _, attribute = METHODS[name].partition(":")
    function: Apply = getattr(import_module(module), attribute)
    return function
