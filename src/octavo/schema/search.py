"""What a search measures and finds: candidates, trials (a line of the study each), the outcome, and how they are read.

A study is a file of JSON lines: what it is of (`Identity`), a line for each `Trial`, and the `Outcome` where it ended.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

from octavo.data.json_text import parse_json
from octavo.errors import DataError
from octavo.metrics.estimates import Estimate
from octavo.schema.budget import Budget, Check, Verdict
from octavo.schema.documents import json_text
from octavo.schema.recipe import Recipe

STUDY: Literal["octavo-study-1"] = "octavo-study-1"
Split = Literal["selection", "confirmation"]
Aim = Literal["speed", "latency", "size", "quality"]


@dataclass(frozen=True)
class Candidate:
    """A recipe on an engine. The float graph itself is one, and what all others are compared with."""

    recipe: Recipe
    engine: str = "onnxruntime"

    @cached_property
    def key(self) -> str:
        """What tells it from every other one."""
        return json_text(self.recipe.model_dump(mode="json") | {"engine": self.engine}, sort_keys=True)

    @property
    def name(self) -> str:
        """What is not as it is by default, in one line."""
        given = self.recipe.model_dump(mode="json", exclude_defaults=True, exclude={"method", "layers"})
        kept = [rule for rule in self.recipe.layers if rule.keep.startswith("float")]
        parts = [self.recipe.method, *(f"{name}={value}" for name, value in given.items())]
        parts += [f"{len(kept)} rule{'s' if len(kept) > 1 else ''} for float layers"] if kept else []
        tokens = sum(rule.keep == "per-token" for rule in self.recipe.layers)
        parts += [f"{tokens} rule{'s' if tokens > 1 else ''} for layers per token"] if tokens else []
        return ", ".join([*parts, self.engine])


FLOAT = Candidate(Recipe(method="float"))


@dataclass(frozen=True)
class LayerState:
    """A layer of a candidate: its path, kind and dtype, and the error of its output (or of its weight) in decibels."""

    path: str
    kind: str
    dtype: str
    decibels: float | None


@dataclass(frozen=True)
class Quality:
    """What a candidate answered to the first `rows` examples of a split, against the float graph.

    `scores`, `differences`, `closeness` and `not_finite` as in `ComparedRow`; `moved` is the mean of `distances`, how
    far each answer lies from the float graph's (`Task.distances`); `answers` what was scored of each example
    (`Task.judged`). `bytes` are the artifact's, `sha256` that of its model.
    """

    rows: int
    scores: dict[str, float]
    differences: dict[str, Estimate]
    closeness: dict[str, Estimate]
    moved: float
    bytes: int
    sha256: str = ""
    not_finite: int = 0
    layers: tuple[LayerState, ...] = ()
    answers: list[Any] = field(default_factory=list)
    distances: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Speed:
    """How fast a candidate is: against the float graph, which ran in turns with it, and in rows a second.

    `p95_ms` of one row alone, and `float_p95_ms` that of the float graph in the same turns; `busy` whether other work
    took the machine (`MachineLoad`).
    """

    speedup: Estimate
    rows_per_second: float
    p95_ms: float
    float_p95_ms: float
    busy: bool | None = None


@dataclass(frozen=True)
class Trial:
    """One measurement of one candidate: of its quality or of its speed, or why it could not be made.

    `step` is the part of the search that it was made for, `timed` whether it is of speed, `seconds` how long it took,
    building included.
    """

    step: str
    split: Split
    rows: int
    candidate: Candidate
    verdict: Verdict
    reason: str
    quality: Quality | None = None
    speed: Speed | None = None
    timed: bool = False
    checks: tuple[Check, ...] = ()
    seconds: float = 0.0

    @property
    def measures(self) -> tuple[str, Split, int, bool]:
        """What it is a measurement of."""
        return self.candidate.key, self.split, self.rows, self.timed

    def __repr__(self) -> str:
        return f"<Trial {self.step}: {self.candidate.name}, {self.rows:,} rows: {self.verdict}, {self.reason}>"


@dataclass(frozen=True)
class Damage:
    """A layer that was int8 alone: its stored error in decibels, and how far answers moved (`Quality.moved`)."""

    path: str
    decibels: float
    moved: float


@dataclass(frozen=True)
class Sensitivity:
    """What single layers of a candidate cost, the worst first, and the rank correlation of noise and damage."""

    candidate: Candidate
    layers: tuple[Damage, ...]
    correlation: float | None


@dataclass(frozen=True)
class Outcome:
    """How a search ended.

    `verdict` is that of `confirmed`, on examples that the search never saw, and of the speed; `selected` is the trial
    that `chosen` was chosen by. `front` are the timed candidates that no other one beats in everything, by number from
    1; `rows_needed` of an UNSURE one how many rows would decide. Where `chosen` is the float graph the answer is not to
    quantize, and FAIL.
    """

    chosen: Candidate
    verdict: Verdict
    selected: Trial
    confirmed: Trial
    speed: Speed | None
    front: tuple[Candidate, ...]
    sensitivity: tuple[Sensitivity, ...] = ()
    rows_needed: int | None = None


@dataclass(frozen=True)
class Machine:
    """Where it is measured: figures of quality are of a kind of CPU, those of speed of a machine and its threads."""

    cpu: str
    kind: str
    threads: int


@dataclass(frozen=True)
class Identity:
    """What a study is of; measurements of another model or of other data are none of it.

    `splits` are the hashes of the examples, by what they are for; `together` says which are never parted.
    `answers_sha256` is of all that answers follow from, tokenizer and config too (`Source.answers_sha256`).
    """

    source: str
    source_sha256: str
    task: str
    data: str
    data_sha256: str
    reading: str
    seed: int
    target: str
    versions: dict[str, str]
    machine: Machine
    budget: Budget
    aim: Aim
    together: str
    splits: dict[str, list[str]]
    answers_sha256: str = ""
    format: Literal["octavo-study-1"] = STUDY


@dataclass(frozen=True)
class SearchRecord:
    """A study that was read; `outcome` is None where the search has not ended, `length` the bytes of whole lines."""

    identity: Identity
    trials: tuple[Trial, ...]
    outcome: Outcome | None
    length: int


@cache
def _adapters() -> dict[Any, Any]:
    from pydantic import TypeAdapter

    return {Identity: TypeAdapter(Identity), Trial: TypeAdapter(Trial), Outcome: TypeAdapter(Outcome)}


def line_of(record: Identity | Trial | Outcome) -> str:
    """A record as a line of a study."""
    return json_text(_adapters()[type(record)].dump_python(record, mode="json")) + "\n"


def read_study(path: Path) -> SearchRecord:
    """Read a study; a last line that a killed search left half-written is left out.

    Raises:
        DataError: there is none, or it is not a study that Octavo wrote.
    """
    from pydantic import ValidationError

    then = "octavo search writes one"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError("the study cannot be read", where=path, got=error.strerror, then=then) from None
    whole, length = content.rpartition(b"\n")[0], content.rfind(b"\n") + 1
    records: list[Any] = []
    for number, line in enumerate(whole.split(b"\n") if length else [], start=1):
        try:
            value = parse_json(line.decode())
            keys = value.keys() if isinstance(value, dict) else ()
            kind = Identity if not records or "format" in keys else Outcome if "chosen" in keys else Trial
            records.append(_adapters()[kind].validate_python(value))
        except (ValueError, ValidationError) as error:
            got = str(error).partition("\n")[0]
            raise DataError("this is no line of a study", where=f"{path}, line {number}", got=got, then=then) from None
    if not records or not isinstance(records[0], Identity):
        raise DataError("this is no study", where=path, allowed=STUDY, then=then)
    # What was judged again is there twice, and the budget may have changed: the last of each counts.
    trials = {trial.measures: trial for trial in records if isinstance(trial, Trial)}
    identity = next(record for record in reversed(records) if isinstance(record, Identity))
    outcome = records[-1] if isinstance(records[-1], Outcome) else None
    return SearchRecord(identity, tuple(trials.values()), outcome, length)
