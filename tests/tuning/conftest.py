"""Measurements that are drawn and not made: a model is a rule of which answers it changes."""

from dataclasses import dataclass, field
from zlib import crc32

import numpy as np
import pytest

from octavo.metrics.differences import accuracy_difference
from octavo.metrics.estimates import Estimate, identical, share_estimate
from octavo.schema.recipe import Recipe
from octavo.schema.search import FLOAT, Candidate, LayerState, Quality, Speed


def ratio(value, width=0.01):
    low, high = value * (1 - width), value * (1 + width)
    return Estimate(value, low, high, low, high, "bootstrap")


@dataclass
class Simulated:
    """A measurer. `wrong` is the share of the float model's right answers that a candidate loses, `mended` of wrong
    ones that it gets right; both, `speed` and `size` are functions of a candidate."""

    seed: int = 0
    selection: int = 1500
    confirmation: int = 1500
    wrong: object = lambda _: 0.01
    mended: object = lambda _: 0.01
    speed: object = lambda _: 2.0
    size: object = lambda _: 25
    layers: object = lambda _: ()
    asked: list = field(default_factory=list)
    dies_at: int | None = None

    def rows(self, split):
        return getattr(self, split)

    def _ask(self, *what):
        if len(self.asked) == self.dies_at:
            raise KeyboardInterrupt
        self.asked.append(what)

    def qualities(self, candidates, split, rows):
        for candidate in candidates:
            self._ask(candidate.key, split, rows)
            yield self.quality(candidate, split, rows)

    def quality(self, candidate, split, rows):
        model = np.random.default_rng([self.seed, split == "selection", crc32(candidate.key.encode())])
        right = np.random.default_rng([self.seed, split == "selection"]).random(self.rows(split)) < 0.8
        drawn = model.random(self.rows(split))
        lost, won = right & (drawn < self.wrong(candidate)), ~right & (drawn < self.mended(candidate))
        if candidate == FLOAT:
            lost, won = np.zeros((2, self.rows(split)), bool)
        first, second = right[:rows].astype(np.int64), (right & ~lost | won)[:rows].astype(np.int64)
        same, gold = candidate == FLOAT, np.ones(rows, np.int64)
        difference = identical() if same else accuracy_difference(gold, first, second)
        agreement = identical(1.0) if same else share_estimate(int(np.sum(first == second)), rows)
        return Quality(
            rows=rows,
            scores={"accuracy": float(second.mean())},
            differences={"accuracy": difference},
            closeness={"agreement": agreement},
            moved=0.0 if same else float(self.wrong(candidate)),
            bytes=100 if same else self.size(candidate),
            layers=tuple(LayerState(*layer) for layer in self.layers(candidate)),
        )

    def speeds(self, candidates, split):
        self._ask("speeds", split, *(one.key for one in candidates))
        values = [self.speed(one) for one in candidates]
        return [Speed(ratio(value), 100 * value, 10 / value, 10.0) for value in values]


@pytest.fixture
def simulated():
    return Simulated


@pytest.fixture
def equals():
    """Twenty candidates, of which the strategy knows nothing but that they differ."""
    return [Candidate(Recipe(method="static", observer="percentile", percentile=99 + n / 100)) for n in range(20)]
