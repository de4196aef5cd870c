"""What measures for a search: candidates are built from one export into a folder that vanishes, and run here.

Answers are compared as `compare` compares them, speeds are taken by its benchmark: each model in its own process, in
turns, while nothing else of the search runs.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from octavo.artifact.folder import Artifact
from octavo.checkpoint.ranges import has_ranges
from octavo.checkpoint.source import Source
from octavo.data.examples import Example
from octavo.encoding.batching import Batch, Outputs, in_order, make_batches
from octavo.encoding.tokenizing import Asked
from octavo.engines import run_batches
from octavo.errors import OctavoError
from octavo.evaluation.benchmark import Contender, Timing, run_benchmark
from octavo.evaluation.entries import Entry, find_entries
from octavo.evaluation.machine_load import worst_load
from octavo.evaluation.measured_row import broken_rows, closeness, differences
from octavo.evaluation.worker import open_contender
from octavo.exporting.float_graphs import FloatGraphs, export_source
from octavo.hardware import Cpu, Target, this_cpu
from octavo.metrics.estimates import ratio_estimate
from octavo.pipeline.calibration import Calibration, encode_calibration
from octavo.pipeline.plan import Plan, choose_recipe
from octavo.pipeline.quantization import FloatModel, Prepared, apply_method, write_artifact
from octavo.progress import Progress, Silent
from octavo.schema.layers import LayerResult
from octavo.schema.recipe import Recipe
from octavo.schema.search import FLOAT, Candidate, LayerState, Quality, Speed, Split
from octavo.schema.signature import Signature, lower_limit
from octavo.tasks import find_task
from octavo.tasks.task import Task
from octavo.tuning.splits import Splits

SPEED_ROWS = 256  # a seeded sample of them has the user's own mix of lengths
KEPT = 16  # artifacts that are kept at a time, or as many as are timed together
TRIES, WAIT = 3, 10.0  # timings on a machine that was busy, and seconds before the next one
DIGITS = 6  # of figures of single examples


@dataclass(frozen=True)
class Asking:
    """The first examples of a split as models read them."""

    examples: Sequence[Example]
    asked: Asked
    batches: list[Batch]


@dataclass(frozen=True)
class Settings:
    """How it is measured: threads of one model, how many models answer at once, the limit of tokens, the seed."""

    target: Target
    threads: int
    jobs: int = 1
    max_length: int | None = None
    seed: int = 0


class Workshop:
    """Builds candidates of a checkpoint and measures them on splits of the user's examples (`tuning.run.Measurer`)."""

    def __init__(
        self, source: Source, task: Task[Any], splits: Splits, settings: Settings, progress: Progress | None = None
    ) -> None:
        """`task` is that of the model over the user's examples (`tasks.task_over`)."""
        self.source, self.splits, self.settings, self.progress = source, splits, settings, progress or Silent()
        usual = settings.max_length if settings.max_length is not None else task.usual_length
        longest = source.signature.max_length
        self.signature: Signature = lower_limit(source.signature, None if usual is None else min(longest, usual))
        self.task = task.bound_to(self.signature)
        self._built: OrderedDict[str, Artifact] = OrderedDict()
        self._kept = KEPT
        self._lock = Lock()
        self._asking: dict[tuple[Split, int], Asking] = {}
        self._floats: dict[tuple[Split, int], Outputs] = {}

    def close(self) -> None:
        """Remove what was built."""
        if "_folder" in vars(self):
            self._folder.cleanup()
            del self._folder
        self._built.clear()

    @cached_property
    def _folder(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(prefix="octavo-search-")

    @cached_property
    def floats(self) -> FloatGraphs:
        """The checkpoint, exported once."""
        trained = has_ranges(self.source.folder)
        return export_source(self.source, Recipe(method="qat" if trained else "dynamic"), self.progress)

    @property
    def cpu(self) -> Cpu:
        """The CPU that timings are of."""
        return this_cpu()

    @property
    def calibrates(self) -> bool:
        """Whether there are examples to calibrate on, and the task learns from them."""
        return self.task.calibrates and bool(self.splits.calibration)

    @cached_property
    def calibration(self) -> Calibration:
        """The examples of the calibration split; of queries as many passages."""
        examples = self.splits.calibration
        plain = find_task(self.signature)
        task = (plain.ranking() if examples[0].relevance is not None else None) or plain
        return encode_calibration(task.with_passages(examples, len(examples)), self.source.tokenizer.json, task)

    def build(self, recipe: Recipe, folder: Path, *, force: bool = False) -> Artifact:
        """Make the artifact of a recipe."""
        examples = self.calibration if recipe.calibrates and self.calibrates else None
        chosen = choose_recipe(recipe, calibrated=examples is not None)  # or it says why it cannot be made
        plan = Plan(self.floats, folder, chosen, self.settings.target, None, force, self.progress)
        return write_artifact(apply_method(FloatModel(Prepared(plan, self.source, examples), graphs=self.floats)))

    def rows(self, split: Split) -> int:
        """How many examples a split has."""
        return len(getattr(self.splits, split))

    def qualities(self, candidates: Sequence[Candidate], split: Split, rows: int) -> Iterator[Quality | str]:
        """Of each candidate what it answers to the first `rows` examples; several at once where `jobs` says so."""
        self._float_outputs(split, rows)
        measure = partial(self._try_quality, split, rows)
        if self.settings.jobs == 1:
            yield from map(measure, candidates)
            return
        with ThreadPoolExecutor(self.settings.jobs) as pool:
            yield from pool.map(measure, candidates)

    def speeds(self, candidates: Sequence[Candidate], split: Split) -> list[Speed | str]:
        """The speeds of candidates and the float graph, in turns; anew while other work takes the machine."""
        asking = self.to_time(split)
        self._kept = max(KEPT, len(candidates) + 1)  # they are run together
        try:
            contenders = [self._contender(self._entry(candidate)) for candidate in (FLOAT, *candidates)]
            for attempt in range(TRIES):
                if attempt:
                    self.progress.start("waiting: the machine is busy with other work")
                    time.sleep(WAIT)
                settings: dict[str, Any] = {"threads": self.settings.threads, "seed": self.settings.seed}
                timings = run_benchmark(
                    contenders, [asking.batches] * len(contenders), **settings, progress=self.progress
                )
                loads = [timing.load for timing in timings if isinstance(timing, Timing) and timing.load]
                busy = worst_load(loads).busy
                if not busy:
                    break
        except OctavoError as error:
            return [str(error)] * len(candidates)
        floats = timings[0]
        if not isinstance(floats, Timing):
            return [floats] * len(candidates)
        rows = len(asking.asked.rows)
        return [
            _speed(floats, timing, rows, busy=busy) if isinstance(timing, Timing) else timing for timing in timings[1:]
        ]

    def to_time(self, split: Split) -> Asking:
        """What is asked of models that are timed; of queries as many passages."""
        return self._read(self.task.with_passages(getattr(self.splits, split)[:SPEED_ROWS], SPEED_ROWS))

    def _artifact(self, recipe: Recipe) -> Artifact:
        """The artifact of a recipe, built if it is not there: one at a time, since building takes all cores."""
        key = Candidate(recipe).key
        with self._lock:
            if key not in self._built:
                self._built[key] = self.build(recipe, Path(self._folder.name) / f"{time.monotonic_ns()}")
                if len(self._built) > self._kept:
                    shutil.rmtree(self._built.popitem(last=False)[1].folder)
            self._built.move_to_end(key)
            return self._built[key]

    def _entry(self, candidate: Candidate) -> Entry:
        artifact = self._artifact(candidate.recipe)
        return find_entries(artifact.folder, [candidate.engine])[0]

    def _contender(self, entry: Entry) -> Contender:
        limit = {"max_length": self.signature.max_length}
        return replace(entry.contender, signature=entry.contender.signature.model_copy(update=limit))

    def _asked(self, split: Split, rows: int) -> Asking:
        if (split, rows) not in self._asking:
            self._asking[split, rows] = self._read(getattr(self.splits, split)[:rows])
        return self._asking[split, rows]

    def _read(self, chosen: Sequence[Example]) -> Asking:
        tokenizer = self.task.make_tokenizer(self.source.tokenizer.json)
        examples, asked, encoded = self.task.prepare(tokenizer, chosen)
        batches = make_batches(encoded, self.signature, self.task.token_budget)
        return Asking(examples, Asked(asked, encoded, tokenizer), batches)

    def _outputs(self, contender: Contender, asking: Asking) -> Outputs:
        threads = max(1, self.settings.threads // self.settings.jobs)
        session = open_contender(vars(contender) | {"threads": threads}, contender.signature)
        names = contender.signature.input_names
        inputs = [{name: batch.inputs[name] for name in names} for batch in asking.batches]
        return in_order(run_batches(session, inputs), asking.batches, self.signature)

    def _float_outputs(self, split: Split, rows: int) -> Outputs:
        if (split, rows) not in self._floats:
            outputs = self._outputs(self._contender(self._entry(FLOAT)), self._asked(split, rows))
            if broken_rows(outputs):
                raise OctavoError("the float model's answers are not numbers", where=self.source.name)
            self._floats[split, rows] = outputs
        return self._floats[split, rows]

    def _try_quality(self, split: Split, rows: int, candidate: Candidate) -> Quality | str:
        try:
            return self._quality(split, rows, candidate)
        except OctavoError as error:
            return str(error)

    def _quality(self, split: Split, rows: int, candidate: Candidate) -> Quality:
        entry, asking, reference = self._entry(candidate), self._asked(split, rows), self._float_outputs(split, rows)
        layers = tuple(map(_state, self._artifact(candidate.recipe).manifest.layers))
        outputs = reference if candidate == FLOAT else self._outputs(self._contender(entry), asking)
        quality = Quality(
            rows=len(asking.examples),
            scores={},
            differences={},
            closeness={},
            moved=0.0,
            bytes=entry.bytes,
            sha256=entry.origin.sha256 if entry.origin else "",
            not_finite=broken_rows(outputs),
            layers=layers,
        )
        if quality.not_finite:
            return quality
        task, examples = self.task, asking.examples
        before, after = (task.read(raw, asking.asked) for raw in (reference, outputs))
        same = all(np.array_equal(*pair) for pair in zip(reference, outputs, strict=True))  # to the last bit
        distances, judged = task.distances(before, after), task.judged(after, examples)
        return replace(
            quality,
            scores=task.quality(after, examples),
            differences=differences(task, examples, (before, after), same=same),
            closeness=closeness(task, task.fidelity(before, after, asking.asked.rows), (before, after), same=same),
            moved=float(distances.mean()),
            answers=[] if judged is None else _rounded(judged[1]),
            distances=_rounded(distances),
        )


def _speed(floats: Timing, timing: Timing, rows: int, *, busy: bool | None) -> Speed:
    p95, float_p95 = (1000 * float(np.percentile(measured.single, 95)) for measured in (timing, floats))
    return Speed(ratio_estimate(floats.turns, timing.turns), rows / timing.seconds, p95, float_p95, busy)


def _state(layer: LayerResult) -> LayerState:
    error = layer.output_db if layer.output_db is not None else layer.error_db
    return LayerState(layer.path, layer.kind, layer.dtype, error)


def _rounded(values: Any) -> list[Any]:
    """Figures of examples as JSON takes them, to `DIGITS` digits."""
    array = np.asarray(values)
    if array.dtype.kind != "f":
        return list(array.tolist())
    if array.ndim > 1:
        return [_rounded(row) for row in array]
    return [float(f"{value:.{DIGITS}g}") for value in array.tolist()]
