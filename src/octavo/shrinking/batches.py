"""Texts of a user as batches to train on, in an order that a seed settles, and as an examination on texts held out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch

from octavo.checkpoint.source import Source
from octavo.data.examples import Example
from octavo.encoding.batching import TOKEN_BUDGET, Encoded, in_order, make_batches, pad
from octavo.encoding.tokenizing import Asked
from octavo.engines import run_batches
from octavo.engines.pooled import pooled
from octavo.engines.torch import TorchSession
from octavo.shrinking.losses import GOLD, OWNER, UNKNOWN
from octavo.tasks import find_task

SORTED = 32  # batches that are sorted by length together: less padding, and still hardly an order
HIDDEN_SHARE = 0.15  # of the tokens of a text for fill-mask: Devlin et al. 2018
STARTS = 300  # units that the ranges of int8 layers start from
MOST_TOKENS = 2 * TOKEN_BUDGET  # of a batch


@dataclass(frozen=True)
class Unit:
    """What goes into one batch together: rows of tokens, several where they are choices; and the right label."""

    rows: tuple[Encoded, ...]
    gold: int

    @property
    def tokens(self) -> int:
        """Of the longest row, for each."""
        return len(self.rows) * max(len(row.ids) for row in self.rows)


def make_units(source: Source, examples: Sequence[Example]) -> list[Unit]:
    """Examples as they are trained on; those without a token are left out."""
    task = find_task(source.signature)
    rows = task.rows(examples)
    encoded = task.encode(task.make_tokenizer(source.tokenizer.json), rows)
    labels = [UNKNOWN if example.label is None else example.label for example in examples]
    if task.chooses:
        groups = [(row or 0, tuple(group)) for row, group in groupby(encoded, key=lambda choice: choice.row)]
        return [Unit(group, labels[row]) for row, group in groups]
    gold = labels if len(encoded) == len(labels) else [UNKNOWN] * len(encoded)
    return [Unit((row,), label) for row, label in zip(encoded, gold, strict=True) if len(row.ids)]


def plan(units: Sequence[Unit], batch_size: int, epochs: int, seed: int) -> list[tuple[int, ...]]:
    """The batches of all epochs, as positions of units: another order in each, and units of like length together."""
    generator, batches = np.random.default_rng(seed), list[tuple[int, ...]]()
    for _ in range(epochs):
        order = generator.permutation(len(units)).tolist()
        for start in range(0, len(order), SORTED * batch_size):
            chunk = sorted(order[start : start + SORTED * batch_size], key=lambda place: units[place].tokens)
            parts = list(_split(chunk, units, batch_size))
            batches += [parts[place] for place in generator.permutation(len(parts)).tolist()]
    return batches


def _split(chunk: Sequence[int], units: Sequence[Unit], batch_size: int) -> Iterator[tuple[int, ...]]:
    current = list[int]()
    for place in chunk:  # of rising length
        if current and (len(current) == batch_size or (len(current) + 1) * units[place].tokens > MOST_TOKENS):
            yield tuple(current)
            current = []
        current.append(place)
    yield tuple(current)


class Batches:
    """Batches of units, each an item of a dataset: what a step trains on depends on its number and the seed alone."""

    def __init__(self, source: Source, units: Sequence[Unit], batches: Sequence[tuple[int, ...]], seed: int) -> None:
        self.units, self.batches = units, batches
        self._signature, self._seed = source.signature, seed

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> list[Unit]:
        units = [self.units[place] for place in self.batches[number]]
        if self._signature.mask_token_id is None:
            return units
        generator = np.random.default_rng((self._seed, number))
        return [Unit(tuple(self._hide(row, generator) for row in unit.rows), unit.gold) for unit in units]

    def sample(self, count: int) -> list[dict[str, Any]]:
        """About so many units, in batches from all over."""
        many = min(len(self), max(1, count // max(map(len, self.batches))))
        return [self.collate([self[len(self) * place // many]]) for place in range(many)]

    def reads(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Of a batch what the model takes."""
        return {name: batch[name] for name in self._signature.input_names}

    def tokens(self, number: int) -> int:
        """Of a batch, padding included, whose units are of like length."""
        return sum(self.units[place].tokens for place in self.batches[number])

    def _hide(self, row: Encoded, generator: np.random.Generator) -> Encoded:
        """The row with masks for other tokens in each epoch, its own mask among them: any but the first and last."""
        ids = np.array(row.ids)
        inner = np.arange(1, len(ids) - 1)
        ids[inner[generator.random(len(inner)) < HIDDEN_SHARE]] = self._signature.mask_token_id
        return Encoded(ids.tolist(), row.type_ids)

    def collate(self, items: Sequence[list[Unit]]) -> dict[str, Any]:
        """Items as one batch: int64 [rows, length] for each input of the model, the right labels, whose choice it is.

        The mask is there for models that do not take one, too.
        """
        units = [unit for item in items for unit in item]
        rows = [row for unit in units for row in unit.rows]
        names = tuple(dict.fromkeys([*self._signature.input_names, "attention_mask"]))
        arrays = pad(rows, self._signature.model_copy(update={"input_names": names}))
        batch = {name: torch.from_numpy(array) for name, array in arrays.items()}
        owners = [place for place, unit in enumerate(units) for _ in unit.rows]
        return batch | {GOLD: torch.tensor([unit.gold for unit in units]), OWNER: torch.tensor(owners)}


def starting_batches(batches: Batches) -> list[dict[str, Any]]:
    """Batches of some `STARTS` units, spread over the training, to see what layers read before it."""
    every = max(1, len(batches) * len(batches[0]) // STARTS)
    return [batches.reads(batches.collate([batches[number]])) for number in range(0, len(batches), every)]


class Examination:
    """Examples that nothing is trained on, and the teacher's answers to them."""

    def __init__(self, source: Source, examples: Sequence[Example], teacher: Any) -> None:
        self._folder, self._signature, self._task = Path(source.folder), source.signature, find_task(source.signature)
        self._tokenizer = self._task.make_tokenizer(source.tokenizer.json)
        _, self._rows, self._encoded = self._task.prepare(self._tokenizer, examples)
        self._batches = make_batches(self._encoded, self._signature, self._task.token_budget)
        self._reference = self._ask(teacher)

    def _ask(self, model: Any) -> Any:
        session = pooled(TorchSession(model.eval(), device=_device(model)), self._signature, self._folder)
        outputs = in_order(
            run_batches(session, [batch.inputs for batch in self._batches]), self._batches, self._signature
        )
        return self._task.read(outputs, Asked(self._rows, self._encoded, self._tokenizer))

    def compare(self, student: Any) -> dict[str, float]:
        """How near the student's answers are (the task's fidelity), and `distance`, which is 0 where they are the same.

        That is the divergence; of vectors 1 - cosine; of numbers, and several labels at once, the largest difference of
        a score, on average.
        """
        answers = self._ask(student)
        signature = self._signature
        if signature.problem_type in {"regression", "multi_label_classification"} or len(signature.labels) == 1:
            return {"distance": float(self._task.distances(self._reference, answers).mean())}
        scores = self._task.fidelity(self._reference, answers, self._rows)
        return scores | {"distance": scores["kl"] if "kl" in scores else 1 - scores["cosine_mean"]}


def _device(model: Any) -> str:
    return "cuda" if next(model.parameters()).is_cuda else "cpu"
