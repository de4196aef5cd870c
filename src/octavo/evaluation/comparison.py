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
    require_one_task,
    require_same_tokens,
    with_distinct_names,
)
from octavo.hardware import choose_threads, this_cpu
from octavo.predictor import UNKNOWN_SHARE, unknown_warning
from octavo.progress import Progress, Silent
from octavo.signature import Signature, lower_limit
from octavo.source import Checkpoint
from octavo.tasks import find_task


@dataclass(frozen=True)
class Latency:
    """Milliseconds for one row alone: median and 95th percentile."""

    p50: float
    p95: float


@dataclass(frozen=True)
class ComparedRow:
    """One model in the table.

    `bytes` is what inference needs; `seconds` for all rows, loading and tokenizing apart; `speedup` and `smaller`
    against the baseline. `quality` are scores against labels, the one to decide by first, and `difference` is that
    one's: empty and None without labels. `fidelity` says how near its outputs are to the baseline's: for classifiers
    the share of rows with the baseline's label (`agreement`) and the mean Kullback-Leibler divergence from it in nats
    (`kl`), for embeddings the cosine to the baseline's vector (mean, 1st percentile, smallest) and how many of the ten
    nearest neighbours are kept. `batch_effect` is the largest change of an answer (a score; 1 - cosine) when a row runs
    in a batch with longer ones instead of alone.
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
    quality: dict[str, float]
    difference: float | None
    fidelity: dict[str, float]
    batch_effect: float


@dataclass(frozen=True)
class Comparison:
    """A finished comparison; the baseline is the first row.

    `n` are the examples, `texts` what the models read of them: two for a pair where each text has its own answer.
    """

    task: str
    n: int
    texts: int
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
    require_one_task(entries)
    names = common_labels(entries)
    shortest = min(entry.signature.max_length for entry in entries)
    signature = entries[0].signature.model_copy(update={"labels": names, "max_length": shortest})
    signature = lower_limit(signature, file.max_length)
    for entry in entries:
        require_classes(entry.signature)
    examples = file.read(names, scored=find_task(signature.task).SCORED)
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
    module = find_task(signature.task)
    rows = module.rows(examples, signature)
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
        texts=len(rows),
        truncated=sum(row.truncated for row in encoded),
        tokens=tokens,
        tokenize_seconds=tokenize_seconds,
        threads=threads,
        cpu=cpu.name,
        cpu_kind=cpu.kind,
        rows=_rows(entries, timings, examples, signature),
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
    entries: Sequence[Entry], timings: Sequence[Timing], examples: Sequence[Example], signature: Signature
) -> tuple[ComparedRow, ...]:
    module = find_task(signature.task)
    texts = module.rows(examples, signature)
    if signature.labels:
        _warn_of_permuted(timings[0].outputs, examples, signature.labels)
    scores = [module.quality(timing.outputs, examples) for timing in timings]
    rows = []
    for entry, timing, score in zip(entries, timings, scores, strict=True):
        headline = next(iter(score), None)
        rows.append(
            ComparedRow(
                name=entry.name,
                method=entry.method,
                engine=entry.contender.engine,
                bytes=entry.bytes,
                smaller=entries[0].bytes / entry.bytes,
                seconds=timing.seconds,
                speedup=timings[0].seconds / timing.seconds,
                rows_per_second=len(texts) / timing.seconds,
                rounds=len(timing.rounds),
                load_seconds=timing.load_seconds,
                latency_ms=_latency(timing.single),
                quality=score,
                difference=None if headline is None else score[headline] - scores[0][headline],
                fidelity=module.fidelity(timings[0].outputs, timing.outputs, texts, signature),
                batch_effect=float(module.distances(timing.alone, timing.among, signature).max()),
            )
        )
    return tuple(rows)


def _warn_of_permuted(outputs: NDArray[np.float32], examples: Sequence[Example], labels: tuple[str, ...]) -> None:
    labelled = [index for index, example in enumerate(examples) if example.label is not None]
    gold = np.array([examples[index].label for index in labelled], np.int64)
    advice = better_assignment(outputs.argmax(axis=1)[labelled], gold, labels) if labelled else None
    if advice:
        warnings.warn(advice, OctavoWarning, stacklevel=4)


def _latency(seconds: NDArray[np.float64]) -> Latency:
    middle, high = np.percentile(seconds, [50, 95])
    return Latency(p50=float(middle * 1000), p95=float(high * 1000))
