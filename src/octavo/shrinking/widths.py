"""The feed-forward part of each layer, made narrower: units go whose answer hardly changes from token to token."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from octavo.errors import CheckpointError, InputError
from octavo.shrinking.layers import Stack

_SIZES = ("intermediate_size", "hidden_dim")  # as configs call it: DistilBERT the latter


def check_width(asked: int, stack: Stack) -> int:
    """The width of a model's feed-forward parts; see that they can have so many units.

    Raises:
        InputError: they cannot.
        CheckpointError: see `_width`.
    """
    _, width = _width(stack)
    if not 1 <= asked < width:
        raise InputError("--ffn says how many units stay in each layer", got=asked, allowed=f"1 to {width - 1}")
    return width


def _width(stack: Stack) -> tuple[str, int]:
    """What the config of a model calls the width of its feed-forward parts, and that width.

    Raises:
        CheckpointError: a layer has no two plain Linears, one into that width and one back, as where gates are.
    """
    config = stack.model.config
    name = next((size for size in _SIZES if isinstance(getattr(config, size, None), int)), None)
    width = getattr(config, name) if name else 0
    if name is None or any(_pair(layer, width) is None for layer in stack.layers):
        allowed = "one Linear into intermediate_size and one back"
        raise CheckpointError(f"the feed-forward part of {type(stack.model).__name__} is not narrowed", allowed=allowed)
    return name, width


def _pair(layer: Any, width: int) -> tuple[str, str] | None:
    linears = {path: part for path, part in layer.named_modules() if isinstance(part, torch.nn.Linear)}
    into = [path for path, part in linears.items() if part.out_features == width != part.in_features]
    back = [path for path, part in linears.items() if part.in_features == width != part.out_features]
    return (into[0], back[0]) if len(into) == len(back) == 1 else None


def narrow(stack: Stack, asked: int, batches: Iterable[Mapping[str, Any]]) -> None:
    """Keep so many units of each layer's feed-forward part, in place; `batches` are inputs of the model.

    A unit is worth the variance of its value over tokens, times the square of its weights; what one that goes says on
    average goes into the bias (An et al. 2024, "Fluctuation-based adaptive structured pruning").
    """
    name, width = _width(stack)
    pairs = [(layer, *(_pair(layer, width) or ("", ""))) for layer in stack.layers]
    seen = [Moments() for _ in pairs]
    hooks = []
    for (layer, _, back), values in zip(pairs, seen, strict=True):

        def keep(_: Any, inputs: tuple[Any, ...], values: Moments = values) -> None:
            values.add(inputs[0].flatten(0, -2)[real])

        hooks.append(layer.get_submodule(back).register_forward_pre_hook(keep))
    with torch.no_grad():
        for batch in batches:
            real = batch["attention_mask"].flatten().bool()
            stack.model(**batch)
    for hook in hooks:
        hook.remove()
    for (layer, into, back), values in zip(pairs, seen, strict=True):
        _cut(layer.get_submodule(into), layer.get_submodule(back), values, asked)
    setattr(stack.model.config, name, asked)


class Moments:
    """Mean and variance of what units say of tokens, in float64, tokens added in parts (Chan et al. 1979)."""

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, torch.zeros((), dtype=torch.float64), torch.zeros(())

    def add(self, values: Any) -> None:
        """`values` [tokens, units]."""
        part = values.double()
        count, mean = len(part), part.mean(0)
        apart, total = mean - self.mean, self.count + count
        self.squares = self.squares + (part - mean).square().sum(0) + apart.square() * self.count * count / total
        self.mean = self.mean + apart * count / total
        self.count = total

    def variance(self) -> Any:
        """Of each unit, float32 [units]."""
        return (self.squares / (self.count - 1)).float()


def _cut(into: Any, back: Any, said: Moments, asked: int) -> None:
    """The units that are worth most stay, in their order; `said` is what all of them say of tokens."""
    with torch.no_grad():
        worth = said.variance() * back.weight.square().sum(0)
        stay = torch.zeros(len(worth), dtype=torch.bool)
        stay[worth.argsort(descending=True, stable=True)[:asked]] = True
        if back.bias is not None:
            back.bias += back.weight[:, ~stay] @ said.mean.float()[~stay]
        into.weight, into.out_features = torch.nn.Parameter(into.weight[stay]), asked
        if into.bias is not None:
            into.bias = torch.nn.Parameter(into.bias[stay])
        back.weight, back.in_features = torch.nn.Parameter(back.weight[:, stay].contiguous()), asked
