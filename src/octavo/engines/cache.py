"""What a decoder reads besides ids and mask: the positions of the tokens, and the keys and values of earlier ones.

The cache's inputs are called `past_key_values.<layer>....`, its outputs `present.<layer>....`, [batch, heads, length,
width] each.
"""

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

KEEP = "logits_to_keep"  # of how many of the last tokens there are to be logits
ALL = np.array([2**31], np.int64)
PAST, PRESENT = "past_key_values.", "present."


class Port(NamedTuple):
    """An input of a graph: its type, as `tensor(float)`, and its sizes, with names where they vary."""

    type: str
    shape: tuple[Any, ...]


def name_in_torch(model: Any) -> str:
    """What a model of transformers calls its cache, as an input and as an output: `cache` since version 5.24."""
    old = "past_key_values"
    return old if old in inspect.signature(model.forward).parameters else "cache"


def complete(inputs: Mapping[str, NDArray[Any]], ports: Mapping[str, Port]) -> dict[str, NDArray[Any]]:
    """The inputs with what a graph reads besides: positions counted along the mask, and an empty cache.

    Logits are of all tokens where nothing is said.
    """
    cache = {name: port for name, port in ports.items() if name.startswith(PAST) and name not in inputs}
    usual: dict[str, NDArray[Any]] = {name: empty(port, len(inputs["input_ids"])) for name, port in cache.items()}
    if "position_ids" in ports and "position_ids" not in inputs:
        usual["position_ids"] = positions(inputs["attention_mask"], inputs["input_ids"].shape[1])
    return usual | ({KEEP: ALL} if KEEP in ports else {}) | dict(inputs)


def positions(mask: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The positions [rows, count] of the last `count` tokens: how many real ones stand before each."""
    return np.maximum(np.cumsum(mask, axis=1) - 1, 0)[:, mask.shape[1] - count :]


def empty(port: Port, rows: int) -> NDArray[np.float32]:
    """A cache of no tokens."""
    _, heads, _, width = port.shape
    return np.zeros((rows, heads, 0, width), np.float32)
