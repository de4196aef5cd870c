"""A torch model prepared for training towards int8, and turned back: which layers, which ranges.

Layers, rules and reasons are those of the methods for graphs. A LayerNorm, a softmax, a bias, an activation function
and the sums between stay float, as they do in the graph.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, Self

import numpy as np
import torch

from octavo.arithmetic.affine import LEVELS
from octavo.arithmetic.ldlq import round_compensated
from octavo.arithmetic.observers import Channels
from octavo.arithmetic.smoothquant import Sample, bias_correction, choose_factor, round_sample, smoothing_factor
from octavo.errors import DataError, InputError, RecipeError
from octavo.hardware import find_target
from octavo.methods.layer_results import ModuleLayer, reason_for_float
from octavo.methods.torch_modules import find_modules
from octavo.qat.calibration import Batch, find_running, find_shared, see_channels
from octavo.qat.fake import FakeEmbedding, FakeLinear, LearntInput, WeightSteps
from octavo.schema.ranges import InputRange, Ranges
from octavo.schema.recipe import Recipe, kept_as

HELD = "quantization_ranges"  # the module of the prepared model that holds what is learnt beside its weights


class LearntRanges(torch.nn.Module):
    """All inputs of a prepared model, each with the module paths of its Linears, and the paths of its int8 tables."""

    def __init__(
        self,
        inputs: dict[tuple[str, ...], LearntInput],
        steps: dict[str, WeightSteps],
        embeddings: tuple[str, ...],
        *,
        saturates: bool,
    ) -> None:
        """`steps` are those of each Linear's weight, by its path."""
        super().__init__()
        self.inputs = torch.nn.ModuleList(inputs.values())
        made = (steps[path] for group in inputs for path in group)
        self.steps = torch.nn.ModuleList(made)
        self.groups, self.embeddings, self.saturates = tuple(inputs), embeddings, saturates

    def linears(self) -> Iterator[tuple[str, LearntInput, WeightSteps]]:
        """The path of each Linear, what it reads, and the steps of its weight."""
        steps = iter(self.steps)
        for group, learnt in zip(self.groups, self.inputs, strict=True):
            for path in group:
                yield path, learnt, next(steps)

    @classmethod
    def of(cls, ranges: Ranges) -> Self:
        """Those that a checkpoint has beside its weights."""
        inputs = {
            tuple(span.layers): LearntInput(
                span.low, span.high, torch.tensor(span.smoothing) if span.smoothing else None
            )
            for span in ranges.inputs
        }
        steps = {
            path: WeightSteps(torch.tensor(row)[:, None], saturates=ranges.saturates, bits=span.bits)
            for span in ranges.inputs
            for path, row in span.layers.items()
        }
        return cls(inputs, steps, ranges.embeddings, saturates=ranges.saturates)

    def records(self) -> tuple[InputRange, ...]:
        """What was learnt so far."""
        steps = {path: own for path, _, own in self.linears()}
        spans = []
        for group, learnt in zip(self.groups, self.inputs, strict=True):
            low, high = learnt.ends().tolist()
            layers = {path: tuple(steps[path].steps[:, 0].tolist()) for path in group}
            smoothing, bits = tuple(learnt.factor.tolist()), steps[group[0]].bits
            spans.append(InputRange(layers=layers, low=low, high=high, smoothing=smoothing, bits=bits))
        return tuple(spans)


def prepare(
    model: Any,
    batches: Iterable[Batch],
    recipe: Recipe | None = None,
    *,
    target: str = "any",
    bits: Literal[4, 8] = 8,
) -> Any:
    """Make a model compute what its int8 artifact will compute, and learn with it; in place. Returns the model.

    Its parameters and their names stay, and `quantization_ranges` comes to them, so the optimizer has to be made
    afterwards; whatever trains the model trains it. Ranges, weights and biases start from where the method `static`
    would put them for these batches.

    Args:
        model: a float32 encoder of transformers, on any device.
        batches: some 300 examples, tokenized: name -> [batch, length].
        recipe: of the method `qat`: its `smoothing` and rules for layers.
        target: the CPU it is for; `any` keeps products within what every CPU adds up.
        bits: of each weight of a Linear; with 4 those of a head have 8.

    Raises:
        DataError: no batches.
        RecipeError: another method's recipe, a layer rule that matches nothing, or an unknown target.
        InputError: the model is prepared already, nothing in it would be int8, or other bits.
    """
    recipe, saturates = recipe or Recipe(method="qat"), find_target(target).saturates
    if recipe.method != "qat":
        raise RecipeError("a model is prepared for the method qat", got=recipe.method)
    if bits not in LEVELS:
        raise InputError("weights are trained for 8 or 4 bits", got=bits)
    batches = list(batches)
    if is_prepared(model):
        raise InputError("the model is prepared already", then="octavo.qat.convert gives the float model back")
    if not batches:
        raise DataError("no batches to learn ranges from", then="give some 300 examples, tokenized")
    layers = {layer.path: layer for layer in chosen_layers(model, recipe)}
    groups = find_shared(model, [path for path, layer in layers.items() if layer.kind == "linear"], batches[0])
    if not groups:
        raise InputError("no Linear of the model would be int8", got=type(model).__name__)
    channels = see_channels(model, groups, batches)
    tied = _tied(model)
    inputs: dict[tuple[str, ...], Any] = {}
    steps: dict[str, Any] = {}
    for group in groups:
        weights = [np.asarray(layers[path].matrix()) for path in group]
        alone = not any(path in tied for path in group)
        factor = _factor(channels[group], weights, recipe, saturates=saturates) if alone else None
        inputs[group] = _learnt(channels[group], factor)
        modules = [model.get_submodule(path) for path in group]
        own: Literal[4, 8] = 8 if any(layers[path].part == "head" for path in group) else bits
        widths = round_weights(modules, channels[group], factor, saturates=saturates, move=alone, bits=own)
        made = (WeightSteps(width, saturates=saturates, bits=own) for width in widths)
        steps |= zip(group, made, strict=True)
    tables = [path for path, layer in layers.items() if layer.kind == "embedding"]
    running = find_running(model, tables, batches[0])
    device = next(model.parameters()).device
    tables = [path for path in tables if path in running]
    put_fakes(model, LearntRanges(inputs, steps, tuple(tables), saturates=saturates).to(device))
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
    for path, learnt, steps in ranges.linears():
        if path in modules:
            modules[path].__class__, modules[path].int8 = FakeLinear, (learnt, steps)
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


def is_prepared(model: Any) -> bool:
    """Whether a model was prepared, and not turned back."""
    return isinstance(getattr(model, HELD, None), LearntRanges)


def float_weights(model: Any) -> dict[str, Any]:
    """The state of a model without what was learnt beside its weights."""
    return {name: value for name, value in model.state_dict().items() if not name.startswith(f"{HELD}.")}


def freeze(model: Any) -> None:
    """Learn no ranges any more: the weights settle into them."""
    held(model).requires_grad_(False)


_FAKES = {torch.nn.Linear: FakeLinear, torch.nn.Embedding: FakeEmbedding}


def _tied(model: torch.nn.Module) -> set[str]:
    """The paths of modules that share their weight with another: its rows must not be scaled."""
    paths: dict[int, list[str]] = {}
    for path, module in model.named_modules():
        if isinstance(getattr(module, "weight", None), torch.Tensor):
            paths.setdefault(module.weight.data_ptr(), []).append(path)
    return {path for shared in paths.values() if len(shared) > 1 for path in shared}


def _factor(seen: Channels, weights: Sequence[Any], recipe: Recipe, *, saturates: bool) -> Any:
    """What to divide each channel by, [in], or None; as the method `static` chooses it."""
    if recipe.smoothing == "none":
        return None
    if recipe.smoothing == "auto":
        sample = Sample(seen.rows, seen.low, seen.high)
        chosen = choose_factor(sample, weights, round_sample, saturates=saturates, free=False)
        return None if chosen is None else chosen[1]
    return smoothing_factor(np.maximum(np.abs(seen.low), np.abs(seen.high)), weights, recipe.smoothing)


def round_weights(
    modules: Sequence[Any], seen: Channels, factor: Any, *, saturates: bool, move: bool, bits: int
) -> list[torch.Tensor]:
    """Put the weights of Linears that read the same where `static` would, and their biases, in place; their steps.

    Steps are [out, 1]. Without `move`, as of a table that others read too, weights and biases stay.

    Codes that make up for each other (`arithmetic.ldlq`) are a better place to start from than the nearest ones, and a
    calmer one: a weight has to move by half a step before its code changes, and an optimizer's noise is less.
    """
    divisor = np.ones_like(seen.low) if factor is None else factor
    corrected = all(module.bias is not None for module in modules)
    mean, spread = seen.mean / divisor, seen.take_covariance() if corrected else seen.take_moment()
    spread = np.asarray(spread / np.outer(divisor, divisor), np.float32)
    scaled = [module.weight.detach().float().cpu().numpy().T * divisor[:, None] for module in modules]
    steps = []
    compensated = round_compensated(scaled, spread, saturates=saturates, levels=LEVELS[bits])
    for module, weight, codes in zip(modules, scaled, compensated, strict=True):
        steps.append(torch.from_numpy(codes.scale.T.copy()))
        rounded = codes.dequantize()
        if not move:
            continue
        module.weight.data.copy_(torch.from_numpy((rounded / divisor[:, None]).T))
        if corrected:
            module.bias.data += torch.from_numpy(bias_correction(mean, weight, rounded)).to(module.bias.device)
    return steps


def _learnt(seen: Channels, factor: Any) -> LearntInput:
    divisor = 1 if factor is None else factor
    low, high = float((seen.low / divisor).min()), float((seen.high / divisor).max())
    return LearntInput(min(0.0, low), max(0.0, high), None if factor is None else torch.from_numpy(factor))
