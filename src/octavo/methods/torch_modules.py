"""Int8 modules in the place of a torch model's: what `dynamic` and `weight-only` do where the format is `torch`.

The arithmetic, the rules and the records are those of the graphs; only the place differs where a weight stands.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from octavo.arithmetic.affine import INT7_LEVELS, INT8_LEVELS, Quantized, error_db, quantize_symmetric
from octavo.encoding.batching import Inputs
from octavo.engines.torch import ask
from octavo.engines.torch_int8 import Activation, Int8Embedding, Int8Linear
from octavo.errors import RecipeError
from octavo.methods.layer_results import float_result, int8_result, reason_for_float
from octavo.schema.layers import Kind, LayerResult, part_of
from octavo.schema.recipe import Recipe, kept_as


@dataclass(frozen=True)
class ModuleLayer:
    """A Linear or an Embedding of a torch model, as the rules and records of layers see one (`graph.layers.Layer`)."""

    path: str
    kind: Kind
    weight: NDArray[np.float32]
    unlike: str | None = None  # the class of a module that computes something else with it than its kind does

    @property
    def paths(self) -> tuple[str, ...]:
        """Its module path alone."""
        return (self.path,)

    @property
    def parameters(self) -> int:
        """Numbers in the weight."""
        return int(self.weight.size)

    @property
    def part(self) -> str:
        """Where in a transformer it stands."""
        return part_of(self.path, self.kind)

    def matrix(self) -> NDArray[np.float32]:
        """The weight as [in, out] for a Linear and [rows, width] for an Embedding."""
        return self.weight


@dataclass(frozen=True)
class Modules:
    """A model with int8 modules, and what became of each layer; see `methods.Applied`."""

    model: torch.nn.Module
    layers: tuple[LayerResult, ...]
    exact_u8s8: bool


def find_modules(model: torch.nn.Module) -> list[ModuleLayer]:
    """Every Linear, Conv1D (GPT-2's Linear, stored [in, out]) and Embedding, in the model's own order."""
    from transformers.pytorch_utils import Conv1D

    found = []
    kinds = {torch.nn.Embedding: "embedding", torch.nn.Linear: "linear", Conv1D: "linear"}
    for path, module in model.named_modules():
        plain = next((one for one in kinds if isinstance(module, one)), None)
        if plain is None:
            continue
        weight = module.weight.detach().numpy()
        unlike = None if type(module).forward is plain.forward else type(module).__name__  # positions, scaled words
        kind = cast("Kind", kinds[plain])
        found.append(ModuleLayer(path, kind, weight.T if plain is torch.nn.Linear else weight, unlike))
    return found


def quantize_modules(model: torch.nn.Module, recipe: Recipe, *, saturates: bool) -> Modules:
    """Make every layer int8 but those that a rule keeps float, and tables of a few rows that no rule asks for.

    `saturates`: products of 8-bit codes can saturate on the target, so weights stay within 7 bits. The model that is
    given is left as it is. Layers that share a weight share its codes.

    Raises:
        RecipeError: a layer rule matches nothing, or no layer is left to quantize.
    """
    layers = find_modules(model)
    rules = kept_as(recipe, [layer.path for layer in layers])
    activation: Activation | None = recipe.granularity if recipe.method == "dynamic" else None
    linear_levels = INT7_LEVELS if saturates and activation else INT8_LEVELS
    heads = {model.get_submodule(layer.path).weight.data_ptr() for layer in layers if layer.kind == "linear"}
    found: Any = copy.deepcopy(model)
    vars(found).pop("forward", None)  # of the one that is given: `engines.torch.ask` asks both alike
    outcomes, known = [], {}
    for layer in layers:
        reason = f"{layer.unlike} computes something else" if layer.unlike else None
        reason = reason or reason_for_float(layer, rules.get(layer.path))
        if reason is not None:
            outcomes.append(float_result(layer, reason))
            continue
        old = model.get_submodule(layer.path)
        linear = layer.kind == "linear"
        key = old.weight.data_ptr()
        levels = linear_levels if key in heads else INT8_LEVELS
        if key not in known:  # embedding rows and output channels of a tied head are the same slices
            rows = quantize_symmetric(layer.matrix().T if linear else layer.matrix(), axis=1, levels=levels)
            known[key] = rows, torch.from_numpy(rows.codes), torch.from_numpy(rows.scale[:, 0].copy())
        rows, stored, scale = known[key]
        weight = Quantized(rows.codes.T, rows.scale.T) if linear else rows
        if linear:
            bias = None if old.bias is None else old.bias.detach().clone()
            found.set_submodule(layer.path, Int8Linear(stored, scale, bias, activation))
            outcomes.append(int8_result(layer, weight, "one scale per output channel", levels, activation))
        else:
            found.set_submodule(layer.path, Int8Embedding(stored, scale))
            outcomes.append(int8_result(layer, weight, "one scale per row", levels))
    if not any(outcome.dtype == "int8" for outcome in outcomes):
        raise RecipeError("no layer would be quantized", got=f"{len(outcomes)} layers, all kept float")
    exact = activation is not None and linear_levels > INT7_LEVELS
    return Modules(found, tuple(outcomes), exact)


def module_errors(
    reference: torch.nn.Module, model: torch.nn.Module, layers: Sequence[LayerResult], batches: Sequence[Inputs]
) -> tuple[LayerResult, ...]:
    """The layers with the signal-to-noise ratio of each one's output, in decibels, as `methods.layer_errors` has it.

    Padding is left out; of a layer that runs several times all outputs count together.
    """
    paths = [layer.path for layer in layers]
    expected, found = (_outputs(one, paths, batches) for one in (reference, model))
    errors = {path: error_db(expected[path], found[path]) for path in paths if path in expected}
    finite = {path: round(error, 2) for path, error in errors.items() if np.isfinite(error)}
    return tuple(replace(layer, output_db=finite.get(layer.path)) for layer in layers)


def _outputs(model: torch.nn.Module, paths: Sequence[str], batches: Sequence[Inputs]) -> dict[str, NDArray[np.float32]]:
    """What each layer gives for the real tokens of all batches, [n, width]."""
    seen: dict[str, list[NDArray[np.float32]]] = {}
    mask = torch.empty(0)

    def see(path: str, output: torch.Tensor) -> None:
        real = output[mask] if output.shape[:2] == mask.shape else output.reshape(-1, output.shape[-1])
        seen.setdefault(path, []).append(real.numpy())

    hooks = [
        model.get_submodule(path).register_forward_hook(lambda _, __, output, path=path: see(path, output))
        for path in paths
    ]
    try:
        with torch.inference_mode():
            for batch in batches:
                inputs = {name: torch.from_numpy(array) for name, array in batch.items()}
                mask = inputs["attention_mask"] != 0
                ask(model, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return {path: np.concatenate(parts) for path, parts in seen.items()}
