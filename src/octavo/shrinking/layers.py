"""The layers of an encoder: where they are, the model without some of them, and which can best be left out."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any, Literal

import numpy as np

from octavo.checkpoint.source import Source
from octavo.errors import CheckpointError, InputError

TRIED = 40  # sets of layers that are all tried; of more, one layer after the other is left out

OF_NO_LAYER = ("architectures", "pos_att_type")  # lists of a config that may be as long as the layers, by chance

How = Literal["asked", "all tried", "one after the other", "evenly spaced"]


@dataclass(frozen=True)
class Stack:
    """The layers of a model, in order; `path` is that of the list they are in, `first`: the first has to stay."""

    model: Any
    path: str
    layers: tuple[Any, ...]
    first: bool

    def keep(self, chosen: Sequence[int]) -> None:
        """Let the model have these of its layers alone, in place; its config says how many, and what is of each."""
        import torch

        parent, _, name = self.path.rpartition(".")
        setattr(self.model.get_submodule(parent), name, torch.nn.ModuleList(self.layers[place] for place in chosen))

    def keep_for_good(self, chosen: Sequence[int]) -> None:
        """The same, and the config says so: lists in it that are as long as the layers are those of each."""
        self.keep(chosen)
        config, count = self.model.config, len(self.layers)
        for name, value in config.to_dict().items():
            if isinstance(value, list) and len(value) == count and name not in OF_NO_LAYER:
                setattr(config, name, [value[place] for place in chosen])
        config.num_hidden_layers = len(chosen)


def find_layers(model: Any, source: Source) -> Stack:
    """Where an encoder has its layers: the only list of modules of one class that is as long as its config says.

    Raises:
        CheckpointError: it has no such list, as where layers share their weights.
    """
    import torch

    count = getattr(model.config, "num_hidden_layers", None)
    lists = {path: part for path, part in model.named_modules() if isinstance(part, torch.nn.ModuleList)}
    paths = [path for path, part in lists.items() if len(part) == count and len({type(module) for module in part}) == 1]
    paths = [path for path in paths if not any(path.startswith(f"{other}.") for other in paths)]
    if len(paths) != 1 or not isinstance(count, int):
        lengths = ", ".join(f"{path} ({len(part)})" for path, part in lists.items())
        raise CheckpointError(
            f"the layers of {type(model).__name__} are not found: it may share one among all, as ALBERT does",
            where=source.folder,
            got=f"lists {lengths or 'none'}",
            allowed=f"one list of num_hidden_layers = {count} modules of a class",
        )
    layers = tuple(lists[paths[0]])
    shapes = [{name: tuple(value.shape) for name, value in layer.state_dict().items()} for layer in layers]
    unlike = [place for place, shape in enumerate(shapes) if shape != shapes[-1]]
    if unlike not in ([], [0]):
        raise CheckpointError("layers that are unlike each other", where=source.folder, got=unlike)
    return Stack(model, paths[0], layers, first=bool(unlike))


def check_asked(layers: int | Sequence[int], stack: Stack, *, narrower: bool = False) -> None:
    """See that so many layers, or these, can be kept; all of them where they become `narrower`.

    Raises:
        InputError: they cannot.
    """
    count = len(stack.layers)
    most = count if narrower else count - 1
    if isinstance(layers, int):
        if not 1 <= layers <= most:
            raise InputError("--layers says how many stay", got=layers, allowed=f"1 to {most}, of {count}")
        return
    if not layers or list(layers) != sorted(set(layers)) or not 0 <= layers[0] <= layers[-1] < count:
        allowed = f"numbers from 0 to {count - 1}, rising"
        raise InputError("--layers names layers that stay", got=",".join(map(str, layers)), allowed=allowed)
    if stack.first and layers[0] != 0:
        raise InputError("the first layer is unlike the others, so it stays", got=layers[0], allowed=0)


def evenly_spaced(count: int, kept: int) -> tuple[int, ...]:
    """So many layers of `count`, the first among them, as DistilBERT was made of every other one of BERT's."""
    return tuple(place * count // kept for place in range(kept))


def choose_layers(stack: Stack, kept: int, loss: Callable[[], float]) -> tuple[tuple[int, ...], How, float]:
    """The layers that the model answers best with before it is trained; how they were found, and their loss.

    The loss is infinite where none of what was tried has a finite one.

    All sets are tried where there are few; else, of all layers, one after the other is left out that is missed least,
    and the evenly spaced ones are taken where they are better. Ties go to the earlier set.
    """
    count = len(stack.layers)

    def measured(chosen: tuple[int, ...]) -> float:
        stack.keep(chosen)
        value = loss()
        return value if np.isfinite(value) else float("inf")

    first, rest = ((0,), range(1, count)) if stack.first else ((), range(count))
    if comb(len(rest), kept - len(first)) <= TRIED:
        sets = ((*first, *others) for others in itertools.combinations(rest, kept - len(first)))
        least, best = min((measured(chosen), chosen) for chosen in sets)
        return (
            (best, "all tried", least) if np.isfinite(least) else (evenly_spaced(count, kept), "evenly spaced", least)
        )
    best, least = tuple(range(count)), float("inf")
    while len(best) > kept:
        options = [best[:place] + best[place + 1 :] for place in range(len(first), len(best))]
        least, best = min((measured(chosen), chosen) for chosen in options)
    even = evenly_spaced(count, kept)
    spaced = measured(even)
    return (even, "evenly spaced", spaced) if spaced <= least else (best, "one after the other", least)
