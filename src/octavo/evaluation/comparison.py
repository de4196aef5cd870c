"""One table of models on the user's own data: size, speed, quality, fidelity; every row on identical token batches."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.batching import make_batches
from octavo.calibration import example_hashes
from octavo.data import DataFile, Example, better_assignment
from octavo.errors import OctavoWarning
from octavo.evaluation.contest import Timing, run_contest
from octavo.evaluation.entries import (
    Entry,
    common_labels,
    find_entries,
    require_classes,
    require_same_tokens,
    with_distinct_names,
)
from octavo.hardware import choose_threads, this_cpu
from octavo.predictor import UNKNOWN_SHARE, unknown_warning
from octavo.progress import Progress, Silent
from octavo.signature import Signature, lower_limit
from octavo.source import Checkpoint
from octavo.tasks import find_task
from octavo.tasks.metrics import accuracy, macro_f1, mean_kl


@dataclass(frozen=True)
class Quality:
    """A score against labels, between 0 and 1."""

    name: str
    value: float


@dataclass(frozen=True)
class Latency:
    """Milliseconds for one row alone: median and 95th percentile."""

    p50: float
    p95: float


@dataclass(frozen=True)
class ComparedRow:
    """One model in the table.

    `bytes` is what inference needs; `seconds` for all rows, loading and tokenizing apart; `speedup` and `smaller`
    against the baseline; `difference` of quality, is None without labels; `agreement` is the share
    of rows with the baseline's label, `kl` the mean Kullback-Leibler divergence from the baseline in nats.
    """

    name: str
    method: str
    engine: str
    bytes: int
    smaller: float
    seconds: float
    speedup: float
    rows_per_second: float
    rounds: int
    load_seconds: float
    latency_ms: Latency
    quality: Quality | None
    macro_f1: float | None
    difference: float | None
    agreement: float
    kl: float


@dataclass(frozen=True)
class Comparison:
    """A finished comparison; the baseline is the first row."""

    task: str
    n: int
    truncated: int
    tokens: int
    tokenize_seconds: float
    threads: int
    cpu: str
    cpu_kind: str
    rows: tuple[ComparedRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """The comparison as JSON takes it."""
        return asdict(self)


def compare(
    baseline: str | Path | Checkpoint,
    candidates: Sequence[str | Path | Checkpoint] = (),
    *,
    data: str | Path | DataFile,
    engines: Sequence[str] = ("auto",),
    threads: int | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compare artifacts, checkpoints and other tools' ONNX files on a file of examples.

    Args:
        baseline: a checkpoint (which runs in torch, in float32) or an artifact; the first row.
        candidates: further ones.
        data: a file of examples.
        engines: a row for each, for artifacts.
        threads: of every model; by default as many as this process may use cores.
        progress: hears of every step.

    Raises:
        OctavoError: see `octavo.errors` for the kinds.
    """
    say = progress or Silent()
    say.start("reading models and data")
    file = data if isinstance(data, DataFile) else DataFile(data)
    entries = [entry for path in (baseline, *candidates) for entry in find_entries(path, engines)]
    entries = with_distinct_names(entries)
    names = common_labels(entries)
    shortest = min(entry.signature.max_length for entry in entries)
    signature = entries[0].signature.model_copy(update={"labels": names, "max_length": shortest})
    signature = lower_limit(signature, file.max_length)
    for entry in entries:
        require_classes(entry.signature)
    examples = file.read(names)
    _warn_of_calibrated(entries, examples)
    return compare_entries(entries, examples, signature, threads=choose_threads(threads), seed=file.seed, progress=say)


def compare_entries(
    entries: Sequence[Entry],
    examples: Sequence[Example],
    signature: Signature,
    *,
    threads: int,
    seed: int = 0,
    progress: Progress | None = None,
) -> Comparison:
    """Run all entries on the examples, encoded once by the first one's tokenizer under `signature`; see `compare`."""
    rows = [(example.text, example.text_pair) for example in examples]
    module = find_task(signature.task)
    start = time.perf_counter()
    encoded = module.encode(module.make_tokenizer(entries[0].tokenizer_json, signature), rows, signature)
    tokenize_seconds = time.perf_counter() - start
    for entry in entries[1:]:
        require_same_tokens(entry, entries[0], rows[:200], signature)
    tokens = sum(len(row.ids) for row in encoded)
    unknown = sum(row.unknown for row in encoded) / tokens
    if unknown > UNKNOWN_SHARE:
        warnings.warn(unknown_warning(unknown), OctavoWarning, stacklevel=3)
    batches = make_batches(encoded, _widest(entries, signature))
    contenders = [entry.contender for entry in entries]
    timings = run_contest(contenders, batches, threads=threads, seed=seed, progress=progress or Silent())
    cpu = this_cpu()
    return Comparison(
        task=signature.task,
        n=len(examples),
        truncated=sum(row.truncated for row in encoded),
        tokens=tokens,
        tokenize_seconds=tokenize_seconds,
        threads=threads,
        cpu=cpu.name,
        cpu_kind=cpu.kind,
        rows=_rows(entries, timings, examples, signature.labels),
    )


def _warn_of_calibrated(entries: Sequence[Entry], examples: Sequence[Example]) -> None:
    """Say where rows to be scored are rows that ranges were learnt from."""
    hashes = example_hashes(examples)
    for entry in entries:
        seen = sum(one in entry.calibrated for one in hashes)
        if seen:
            warnings.warn(
                f"{entry.name}: {seen:,} of {len(hashes):,} rows were calibrated on, so its figures may flatter it",
                OctavoWarning,
                stacklevel=4,
            )


def _widest(entries: Sequence[Entry], signature: Signature) -> Signature:
    """The signature with every input that any of the models has."""
    names = dict.fromkeys(name for entry in entries for name in entry.signature.input_names)
    return signature.model_copy(update={"input_names": tuple(names)})


def _rows(
    entries: Sequence[Entry], timings: Sequence[Timing], examples: Sequence[Example], labels: tuple[str, ...]
) -> tuple[ComparedRow, ...]:
    labelled = np.array([index for index, example in enumerate(examples) if example.label is not None], np.int64)
    gold = np.array([example.label for example in examples if example.label is not None], np.int64)
    predicted = [np.asarray(timing.outputs.argmax(axis=1), np.int64) for timing in timings]
    if len(gold):
        advice = better_assignment(predicted[0][labelled], gold, labels)
        if advice:
            warnings.warn(advice, OctavoWarning, stacklevel=3)
    scores = [accuracy(gold, found[labelled]) if len(gold) else None for found in predicted]
    rows = []
    for entry, timing, found, score in zip(entries, timings, predicted, scores, strict=True):
        rows.append(
            ComparedRow(
                name=entry.name,
                method=entry.method,
                engine=entry.contender.engine,
                bytes=entry.bytes,
                smaller=entries[0].bytes / entry.bytes,
                seconds=timing.seconds,
                speedup=timings[0].seconds / timing.seconds,
                rows_per_second=len(examples) / timing.seconds,
                rounds=timing.rounds,
                load_seconds=timing.load_seconds,
                latency_ms=_latency(timing.single),
                quality=None if score is None else Quality("accuracy", score),
                macro_f1=macro_f1(gold, found[labelled]) if len(gold) else None,
                difference=None if score is None or scores[0] is None else score - scores[0],
                agreement=float(np.mean(found == predicted[0])),
                kl=mean_kl(timings[0].outputs, timing.outputs),
            )
        )
    return tuple(rows)


def _latency(seconds: NDArray[np.float64]) -> Latency:
    middle, high = np.percentile(seconds, [50, 95])
    return Latency(p50=float(middle * 1000), p95=float(high * 1000))
