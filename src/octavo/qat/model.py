"""A torch model prepared for training towards int8, and turned back: which layers, which ranges.

Layers, rules and reasons are those of the methods for graphs. A LayerNorm, a softmax, a bias, an activation function
and the sums between stay float, as they do in the graph.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Self, cast

import numpy as np
import torch

from octavo.arithmetic.affine import INT7_LEVELS, INT8_LEVELS
from octavo.arithmetic.observers import Channels
from octavo.arithmetic.smoothquant import choose_factor, smoothing_factor
from octavo.errors import DataError, InputError
from octavo.hardware import find_target
from octavo.methods.layer_results import ModuleLayer, reason_for_float, weight_levels
from octavo.methods.torch_modules import find_modules
from octavo.qat.calibration import Batch, find_shared, see_channels
from octavo.qat.fake import FakeEmbedding, FakeLinear, LearntInput
from octavo.schema.ranges import InputRange, Ranges
from octavo.schema.recipe import Recipe, kept_as

HELD = "quantization_ranges"  # the module of the prepared model that holds what is learnt beside its weights


class LearntRanges(torch.nn.Module):
    """All inputs of a prepared model, each with the module paths of its Linears, and the paths of its int8 tables."""

    def __init__(self, inputs: dict[tuple[str, ...], LearntInput], embeddings: tuple[str, ...], levels: int) -> None:
        super().__init__()
        self.inputs = torch.nn.ModuleList(inputs.values())
        self.groups, self.embeddings, self.levels = tuple(inputs), embeddings, levels

    @classmethod
    def of(cls, ranges: Ranges) -> Self:
        """Those that a checkpoint has beside its weights."""
        inputs = {
            one.layers: LearntInput(one.low, one.high, torch.tensor(one.smoothing) if one.smoothing else None)
            for one in ranges.inputs
        }
        return cls(inputs, ranges.embeddings, INT8_LEVELS if ranges.bits == 8 else INT7_LEVELS)

    def records(self) -> tuple[InputRange, ...]:
        """What was learnt so far."""
        found = []
        for group, learnt in zip(self.groups, cast("Iterable[LearntInput]", self.inputs), strict=True):
            low, high = learnt.ends().tolist()
            found.append(InputRange(layers=group, low=low, high=high, smoothing=tuple(learnt.factor().tolist())))
        return tuple(found)


def prepare(model: Any, batches: Iterable[Batch], recipe: Recipe | None = None, *, target: str = "any") -> Any:
    """Make a model compute what its int8 artifact will compute, and learn with it; in place. Returns the model.

    Its parameters and their names stay, and `quantization_ranges` comes to them, so the optimizer has to be made
    afterwards; whatever trains the model trains it. Ranges start from what calibration finds in the batches.

    Args:
        model: a float32 encoder of transformers, on any device.
        batches: some 300 examples, tokenized: name -> [batch, length].
        recipe: of the method `qat`: its `smoothing` and rules for layers.
        target: the CPU it is for; `any` keeps weights within 7 bits, which run everywhere.

    Raises:
        DataError: no batches.
        RecipeError: a layer rule matches nothing, or the target is unknown.
        InputError: the model is prepared already, or nothing in it would be int8.
    """
    recipe, levels = recipe or Recipe(method="qat"), weight_levels(find_target(target))
    batches = list(batches)
    if hasattr(model, HELD):
        raise InputError("the model is prepared already", then="octavo.qat.convert gives the float model back")
    if not batches:
        raise DataError("no batches to learn ranges from", then="give some 300 examples, tokenized")
    layers = {layer.path: layer for layer in chosen_layers(model, recipe)}
    groups = find_shared(model, [path for path, layer in layers.items() if layer.kind == "linear"], batches[0])
    if not groups:
        raise InputError("no Linear of the model would be int8", got=type(model).__name__)
    channels = see_channels(model, groups, batches)
    tied = _tied(model)
    inputs = {}
    for group in groups:
        weights = [np.asarray(layers[path].matrix()) for path in group]
        alone = not any(path in tied for path in group)
        factor = _factor(channels[group], weights, recipe, levels) if alone else None
        inputs[group] = _learnt(channels[group], factor)
    tables = tuple(path for path, layer in layers.items() if layer.kind == "embedding")
    device = next(model.parameters()).device
    put_fakes(model, LearntRanges(inputs, tables, levels).to(device))
    return model


def chosen_layers(model: torch.nn.Module, recipe: Recipe) -> list[ModuleLayer]:
    """Every Linear and Embedding that is to be int8."""
    layers = find_modules(model)
    rules = kept_as(recipe, [layer.path for layer in layers])
    plain = [layer for layer in layers if layer.unlike is None and type(model.get_submodule(layer.path)) in _FAKES]
    return [layer for layer in plain if reason_for_float(layer, rules.get(layer.path)) is None]


def put_fakes(model: Any, ranges: LearntRanges) -> None:
    """Put fake quantization into those layers that the model has; in place. An embedder may have lost its pooler."""
    modules = dict(model.named_modules())
    for group, learnt in zip(ranges.groups, ranges.inputs, strict=True):
        for module in (modules[path] for path in group if path in modules):
            module.__class__, module.int8 = FakeLinear, (learnt, ranges.levels)
    for module in (modules[path] for path in ranges.embeddings if path in modules):
        module.__class__ = FakeEmbedding
    setattr(model, HELD, ranges)


def convert(model: Any) -> tuple[Any, tuple[InputRange, ...]]:
    """The plain float model that a prepared one is, in place, and the ranges that were learnt.

    Raises:
        InputError: the model was not prepared.
    """
    ranges = held(model)
    for module in model.modules():
        if isinstance(module, FakeLinear):
            module.__class__ = torch.nn.Linear
            del module.int8
        elif isinstance(module, FakeEmbedding):
            module.__class__ = torch.nn.Embedding
    delattr(model, HELD)
    return model, ranges.records()


def held(model: Any) -> LearntRanges:
    """What a prepared model has learnt beside its weights.

    Raises:
        InputError: it was not prepared.
    """
    ranges = getattr(model, HELD, None)
    if not isinstance(ranges, LearntRanges):
        raise InputError("the model is not prepared", got=type(model).__name__, then="octavo.qat.prepare(model, ...)")
    return ranges


def freeze(model: Any) -> None:
    """Learn no ranges any more: the weights settle into them."""
    held(model).requires_grad_(False)


_FAKES = {torch.nn.Linear: FakeLinear, torch.nn.Embedding: FakeEmbedding}


def _tied(model: torch.nn.Module) -> set[str]:
    """The paths of modules that share their weight with another: its rows must not be scaled."""
    paths: dict[int, list[str]] = {}
    for path, module in model.named_modules():
        if isinstance(getattr(module, "weight", None), torch.Tensor):
            paths.setdefault(module.weight.data_ptr(), []).append(path)  # type: ignore[union-attr,operator]
    return {path for shared in paths.values() if len(shared) > 1 for path in shared}


def _factor(seen: Channels, weights: Sequence[Any], recipe: Recipe, levels: int) -> Any:
    """What to divide each channel by, [in], or None; as the method `static` chooses it."""
    if recipe.smoothing == "none":
        return None
    if recipe.smoothing == "auto":
        chosen = choose_factor(seen.rows, (seen.low, seen.high), weights, levels, free=False)
        return None if chosen is None else chosen[1]
    return smoothing_factor(np.maximum(np.abs(seen.low), np.abs(seen.high)), weights, recipe.smoothing)


def _learnt(seen: Channels, factor: Any) -> LearntInput:
    divisor = 1 if factor is None else factor
    low, high = float((seen.low / divisor).min()), float((seen.high / divisor).max())
    return LearntInput(min(0.0, low), max(0.0, high), None if factor is None else torch.from_numpy(factor))
