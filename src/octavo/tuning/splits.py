"""The user's examples in three parts that never overlap: to calibrate on, to select by, and to confirm with.

An example's part follows from the hash of its text alone, so that no other example moves it to another part.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from octavo.data.examples import Example, example_hashes
from octavo.errors import DataError

CALIBRATION, SHARE = 300, 0.2  # examples to calibrate on, as far as that is no more than this share of all
LARGEST = 0.1  # of all examples, that may hang together by texts that they share
FEWEST = 40  # to select by, and to confirm with


@dataclass(frozen=True)
class Splits:
    """The parts, `selection` and `confirmation` in a seeded order; `together` says what was never parted."""

    calibration: tuple[Example, ...]
    selection: tuple[Example, ...]
    confirmation: tuple[Example, ...]
    together: str

    def hashes(self) -> dict[str, list[str]]:
        """The hashes of the examples of each part."""
        parts = {"calibration": self.calibration, "selection": self.selection, "confirmation": self.confirmation}
        return {name: list(example_hashes(part)) for name, part in parts.items()}


def split_examples(examples: Sequence[Example], seed: int, calibration: Sequence[Example] | None) -> Splits:
    """Split the examples; where `calibration` ones are given apart, those that share a text with them are left out.

    Raises:
        DataError: there are too few to select by and to confirm with.
    """
    keys, together = _keys(examples)
    places = [int(sha256(key.encode()).hexdigest()[:16], 16) / 2**64 for key in keys]
    share = 0.0 if calibration is not None else min(SHARE, CALIBRATION / len(examples))
    half = share + (1 - share) / 2
    apart = {text for example in calibration or () for text in _texts(example)}
    parts: dict[str, list[Example]] = {"calibration": [], "selection": [], "confirmation": []}
    for example, place in zip(examples, places, strict=True):
        if apart.isdisjoint(_texts(example)):
            parts["calibration" if place < share else "selection" if place < half else "confirmation"].append(example)
    few = {name: len(part) for name, part in parts.items() if name != "calibration" and len(part) < FEWEST}
    if few:
        got = ", ".join(f"{number} for {name}" for name, number in few.items())
        then = f"give at least {4 * FEWEST} different examples; a few thousand decide more"
        raise DataError("too few examples to select by and to confirm with", got=got, allowed=FEWEST, then=then)
    generator = np.random.default_rng(seed)
    mixed = {name: tuple(part[i] for i in generator.permutation(len(part))) for name, part in parts.items()}
    return Splits(tuple(calibration or parts["calibration"]), mixed["selection"], mixed["confirmation"], together)


def _texts(example: Example) -> list[str]:
    return [text for text in (example.text, example.text_pair) if text]


def _keys(examples: Sequence[Example]) -> tuple[list[str], str]:
    """The hash by which each example is placed, one for all that hang together by texts they share.

    Where that is more than `LARGEST` of them (a label's name as the second text), only equal examples share a hash.
    """
    own = list(example_hashes(examples))
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while parent.setdefault(key, key) != key:
            parent[key] = key = parent[parent[key]]
        return key

    for key, example in zip(own, examples, strict=True):
        for text in _texts(example):
            group, other = root(key), root(f"text {text}")
            parent[max(group, other)] = min(group, other)  # hashes sort before texts: a group has its smallest hash
    keys = [root(key) for key in own]
    if max(Counter(keys).values()) > max(1, LARGEST * len(examples)):
        return own, "examples with the same texts"
    return keys, "examples that share a text"
