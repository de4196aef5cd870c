"""What the Linears of a torch model read: a look at some batches, before it is trained."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import torch

from octavo.arithmetic.observers import Channels
from octavo.engines.torch import ask
from octavo.methods.activations import KEPT_ROWS, real_rows

Batch = Mapping[str, Any]  # name -> tensor or array [batch, length], or [batch, choices, length], as the model takes it
See = Callable[[str, torch.Tensor, "np.ndarray[Any, Any]"], None]  # a path, what it reads, the mask [rows, length]


def find_shared(model: torch.nn.Module, paths: Sequence[str], batch: Batch) -> list[tuple[str, ...]]:
    """The Linears of these paths that run, in groups whose members read the same values; found by one batch.

    One that runs at several places (ALBERT) joins what is read at each of them. The order is that of the first run.
    """
    groups: dict[str, list[str]] = {}  # of each path the list of all that belong to it
    readers: dict[tuple[Any, ...], str] = {}
    alive: list[torch.Tensor] = []  # so that no two have one place in memory

    def see(path: str, x: torch.Tensor, _mask: Any) -> None:
        alive.append(x)
        own = groups.setdefault(path, [path])
        other = groups[readers.setdefault((x.data_ptr(), x.shape, x.stride()), path)]
        if own is not other:
            other += own
            groups.update(dict.fromkeys(own, other))

    watch(model, paths, (batch,), see)
    return [tuple(group) for group in {id(group): group for group in groups.values()}.values()]


def find_running(model: torch.nn.Module, paths: Sequence[str], batch: Batch) -> set[str]:
    """Those of the modules of these paths that run: DeBERTa reads the weight of one, and does not call it."""
    running: set[str] = set()
    watch(model, paths, (batch,), lambda path, *_: running.add(path))
    return running


def see_channels(
    model: torch.nn.Module, groups: Sequence[tuple[str, ...]], batches: Sequence[Batch]
) -> dict[tuple[str, ...], Channels]:
    """The extremes, moments and a sample of rows of what each group reads; real tokens only."""
    channels = {group: Channels(KEPT_ROWS) for group in groups}
    group_of = {path: group for group in groups for path in group}

    def see(path: str, x: torch.Tensor, mask: "np.ndarray[Any, Any]") -> None:
        channels[group_of[path]].update(real_rows(x.float().cpu().numpy(), mask))

    watch(model, [group[0] for group in groups], batches, see)
    return channels


def watch(model: torch.nn.Module, paths: Sequence[str], batches: Sequence[Batch], see: See) -> None:
    """Run the batches in evaluation mode and show what the modules of these paths read, each time that they run."""
    training, device = model.training, next(model.parameters()).device
    mask = np.empty(0, np.int64)

    def hook(path: str, _module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        see(path, inputs[0], mask)

    model.eval()
    with ExitStack() as hooks, torch.no_grad():
        for path in paths:
            hooks.enter_context(model.get_submodule(path).register_forward_pre_hook(partial(hook, path)))
        for batch in batches:
            inputs = {name: torch.as_tensor(array).to(device) for name, array in batch.items()}
            ids = inputs["input_ids"]
            real = inputs.get("attention_mask", torch.ones_like(ids))
            mask = real.reshape(-1, ids.shape[-1]).cpu().numpy()
            ask(model, inputs) if ids.ndim == 2 else model(**inputs)
    model.train(training)
