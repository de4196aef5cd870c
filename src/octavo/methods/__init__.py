"""What can be done to a graph: one file per method, one table. A method is a function of a graph and a recipe.

    apply(model: onnx_ir.Model, recipe: Recipe, context: Context) -> MethodResult

It leaves the graph that it is given alone, and accounts for every layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from octavo.encoding.batching import Inputs
from octavo.hardware import Target
from octavo.progress import Progress, Silent
from octavo.schema.layers import LayerResult, Overflow
from octavo.schema.ranges import Ranges
from octavo.schema.recipe import Recipe

if TYPE_CHECKING:
    import onnx_ir as ir

METHODS = {
    "float": "octavo.methods.unquantized:leave_float",
    "dynamic": "octavo.methods.dynamic:quantize_dynamic",
    "static": "octavo.methods.static:quantize_static",
    "weight-only": "octavo.methods.weight_only:quantize_weight_only",
    "qat": "octavo.methods.qat:quantize_learnt",
}


@dataclass(frozen=True)
class Context:
    """What a method may look at besides the graph and the recipe.

    `target` is the CPU that it works for; `calibration` the user's examples in batches, empty where none were given;
    `progress` hears of every step; `ranges` are those that the checkpoint was trained with, if it was.
    """

    target: Target
    calibration: tuple[Inputs, ...] = ()
    progress: Progress = Silent()  # noqa: RUF009 - it holds nothing
    ranges: Ranges | None = None


@dataclass(frozen=True)
class MethodResult:
    """A graph that a method has made, and what became of each layer.

    `exact_u8s8`: it needs a CPU on which products of unsigned and signed 8-bit numbers do not saturate. `overflow`:
    what would happen on one where they do, where the method has seen activations. `reference`: the float graph that the
    values of this one compare with, where the method has rewritten the one that it was given.
    """

    model: ir.Model
    layers: tuple[LayerResult, ...]
    exact_u8s8: bool = False
    overflow: Overflow | None = None
    reference: ir.Model | None = None


class Apply(Protocol):
    """The signature of a method."""

    def __call__(self, model: ir.Model, recipe: Recipe, context: Context) -> MethodResult:
        """Make the graph that the recipe asks for."""


def find_method(name: str) -> Apply:
    """The function behind a method's name, imported on first use."""
    module, _, attribute = METHODS[name].partition(":")
    function: Apply = getattr(import_module(module), attribute)
    return function
