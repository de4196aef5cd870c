"""Int8 modules in the place of a torch model's: what `dynamic` and `weight-only` do where the format is `torch`.

The arithmetic, the rules and the records are those of the graphs; only the place of the weights differs.
"""

import copy
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from octavo.arithmetic.affine import INT7_LEVELS, INT8_LEVELS, Quantized, error_db, quantize_symmetric
from octavo.encoding.batching import Inputs
from octavo.engines.torch import ask
from octavo.engines.torch_int8 import Activation, Int8Embedding, Int8Linear
from octavo.methods.layer_results import ModuleLayer, lower_layers, reason_for_float, symmetric_result
from octavo.schema.layers import Kind, LayerResult
from octavo.schema.recipe import Recipe, kept_as


@dataclass(frozen=True)
class Modules:
    """A model with int8 modules, and what became of each layer; see `methods.MethodResult`."""

    model: torch.nn.Module
    layers: tuple[LayerResult, ...]
    exact_u8s8: bool


def find_modules(model: torch.nn.Module) -> list[ModuleLayer]:
    """Every Linear, Conv1D (GPT-2's Linear, stored [in, out]) and Embedding, in the model's own order."""
    from transformers.pytorch_utils import Conv1D

    layers = []
    kinds = {torch.nn.Embedding: "embedding", torch.nn.Linear: "linear", Conv1D: "linear"}
    for path, module in model.named_modules():
        plain = next((known for known in kinds if isinstance(module, known)), None)
        if plain is None:
            continue
        weight = module.weight.detach().numpy()
        unlike = None if type(module).forward is plain.forward else type(module).__name__  # positions, scaled words
        kind = cast("Kind", kinds[plain])
        layers.append(ModuleLayer(path, kind, weight.T if plain is torch.nn.Linear else weight, unlike))
    return layers


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
    quantized: Any = copy.deepcopy(model)
    vars(quantized).pop("forward", None)  # of the given model: `engines.torch.ask` asks both alike
    known: dict[int, tuple[Quantized, torch.Tensor, torch.Tensor]] = {}

    def lower(layer: ModuleLayer) -> LayerResult:
        old = model.get_submodule(layer.path)
        linear = layer.kind == "linear"
        key = old.weight.data_ptr()
        levels = linear_levels if key in heads else INT8_LEVELS
        if key not in known:  # embedding rows and output channels of a tied head are the same slices
            rows = quantize_symmetric(layer.matrix().T if linear else layer.matrix(), axis=1, levels=levels)
            known[key] = rows, torch.from_numpy(rows.codes), torch.from_numpy(rows.scale[:, 0].copy())
        rows, stored, scale = known[key]
        bits = 7 if levels == INT7_LEVELS else 8
        if not linear:
            quantized.set_submodule(layer.path, Int8Embedding(stored, scale))
            return symmetric_result(layer, rows, bits=bits)
        bias = None if old.bias is None else old.bias.detach().clone()
        quantized.set_submodule(layer.path, Int8Linear(stored, scale, bias, activation))
        return symmetric_result(layer, Quantized(rows.codes.T, rows.scale.T), bits=bits, activation=activation)

    unlike = {layer.path: f"{layer.unlike} computes something else" for layer in layers if layer.unlike}
    reasons = [unlike.get(layer.path) or reason_for_float(layer, rules.get(layer.path)) for layer in layers]
    results = lower_layers(list(zip(layers, reasons, strict=True)), lower)
    return Modules(quantized, results, activation is not None and linear_levels > INT7_LEVELS)


def module_errors(
    reference: torch.nn.Module, model: torch.nn.Module, layers: Sequence[LayerResult], batches: Sequence[Inputs]
) -> tuple[LayerResult, ...]:
    """The layers with the signal-to-noise ratio of each one's output in decibels, as in `methods.layer_errors`.

    Padding is left out; of a layer that runs several times all outputs count together.
    """
    paths = [layer.path for layer in layers]
    expected, actual = (_outputs(module, paths, batches) for module in (reference, model))
    errors = {path: error_db(expected[path], actual[path]) for path in paths if path in expected}
    finite = {path: round(error, 2) for path, error in errors.items() if np.isfinite(error)}
    return tuple(replace(layer, output_db=finite.get(layer.path)) for layer in layers)


def _outputs(model: torch.nn.Module, paths: Sequence[str], batches: Sequence[Inputs]) -> dict[str, NDArray[np.float32]]:
    """What each layer gives for the real tokens of all batches, [n, width]."""
    seen: dict[str, list[NDArray[np.float32]]] = {}
    mask = torch.empty(0)

    def see(path: str, _module: torch.nn.Module, _inputs: Any, output: torch.Tensor) -> None:
        real = output[mask] if output.shape[:2] == mask.shape else output.reshape(-1, output.shape[-1])
        seen.setdefault(path, []).append(real.numpy())

    with ExitStack() as hooks, torch.inference_mode():
        for path in paths:
            hooks.enter_context(model.get_submodule(path).register_forward_hook(partial(see, path)))
        for batch in batches:
            inputs = {name: torch.from_numpy(array) for name, array in batch.items()}
            mask = inputs["attention_mask"] != 0
            ask(model, inputs)
    return {path: np.concatenate(parts) for path, parts in seen.items()}
