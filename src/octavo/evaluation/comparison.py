"""One table of models on the user's own data: size, speed, quality, fidelity; every row on identical token batches."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from octavo.artifact import sha256_of
from octavo.batching import Encoded, make_batches
from octavo.calibration import example_hashes
from octavo.data import DataFile, Example, better_assignment, target_columns
from octavo.errors import OctavoWarning
from octavo.evaluation.breakdown import most_changed, score_groups
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
from octavo.evaluation.result import ComparedRow, Comparison, DataRecord, Latency, McNemar
from octavo.evaluation.stats import (
    DIFFERENCES,
    Estimate,
    identical,
    mcnemar,
    mean_estimate,
    ratio_estimate,
    share_estimate,
)
from octavo.hardware import choose_threads, this_cpu
from octavo.predictor import UNKNOWN_SHARE, unknown_warning
from octavo.progress import Progress, Silent
from octavo.signature import Signature, lower_limit
from octavo.source import Checkpoint
from octavo.tasks import Task, find_task
from octavo.tasks.text_generation import windows


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
    examples = _read(file, names, signature)
    _warn_of_calibrated(entries, examples)
    found = compare_entries(entries, examples, signature, threads=choose_threads(threads), seed=file.seed, progress=say)
    path = Path(file.path)
    return replace(found, data=DataRecord(path.name, sha256_of(path), file.limit, file.seed))


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
    tokenizer = module.make_tokenizer(entries[0].tokenizer_json, signature)
    if signature.task == "text-generation":  # what is compared are windows of the whole text
        encoded = windows(tokenizer, [text for text, _ in rows], signature)
        examples = [Example(tokenizer.decode(list(row.ids))) for row in encoded]
        rows = module.rows(examples, signature)
    else:
        encoded = module.encode(tokenizer, rows, signature)
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
        rows=_rows(entries, timings, examples, _lengths(encoded, len(examples)), signature),
        versions=_versions(entries),
    )


def _read(file: DataFile, names: tuple[str, ...], signature: Signature) -> tuple[Example, ...]:
    """The examples of a file, as the task reads them."""
    if signature.task == "text2text-generation":
        return replace(file, columns=file.columns or target_columns(Path(file.path), file.encoding)).read()
    if signature.task == "text-generation":  # the first rows, and no sample of them: lines go on from each other
        return replace(file, limit=None).read()[: file.limit]
    return file.read(names, scored=find_task(signature.task).SCORED)


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
    entries: Sequence[Entry],
    timings: Sequence[Timing],
    examples: Sequence[Example],
    lengths: NDArray[np.int64],
    signature: Signature,
) -> tuple[ComparedRow, ...]:
    module = find_task(signature.task)
    texts = module.rows(examples, signature)
    if signature.labels:
        _warn_of_permuted(timings[0].outputs, examples, signature.labels)
    first, rows = timings[0], []
    for entry, timing in zip(entries, timings, strict=True):
        fidelity = module.fidelity(first.outputs, timing.outputs, texts, signature)
        row = ComparedRow(
            name=entry.name,
            method=entry.method,
            engine=entry.contender.engine,
            bytes=entry.bytes,
            smaller=entries[0].bytes / entry.bytes,
            seconds=timing.seconds,
            speedup=identical(1.0) if timing is first else ratio_estimate(first.turns, timing.turns),
            rows_per_second=len(texts) / timing.seconds,
            rounds=len(timing.rounds),
            spread=float(np.ptp(timing.rounds) / np.median(timing.rounds)),
            load_seconds=timing.load_seconds,
            cold_start_seconds=timing.cold_start_seconds,
            peak_bytes=timing.peak_bytes,
            latency_ms=_latency(timing.single),
            quality=module.quality(timing.outputs, examples),
            differences=_differences(first.outputs, timing.outputs, examples, module),
            fidelity=fidelity,
            closeness=_closeness(fidelity, module.distances(first.outputs, timing.outputs, signature)),
            batch_effect=float(module.distances(timing.alone, timing.among, signature).max()),
            turns=tuple(tuple(part) for part in timing.turns.tolist()),
            singles_ms=tuple((1000 * timing.single).tolist()),
            mcnemar=None if timing is first else _mcnemar(first.outputs, timing.outputs, examples, module),
            origin=entry.origin,
        )
        if timing is not first:
            pair = first.outputs, timing.outputs
            groups = score_groups(module, *pair, examples, lengths, signature)
            row = replace(row, groups=groups, changed=most_changed(module, *pair, examples, signature))
        rows.append(row)
    return tuple(rows)


def _lengths(encoded: Sequence[Encoded], examples: int) -> NDArray[np.int64]:
    """The tokens of each example; of pairs whose texts are rows of their own, those of the first."""
    return np.array([len(row.ids) for row in encoded[:examples]], np.int64)


def _differences(
    reference: NDArray[np.float32], outputs: NDArray[np.float32], examples: Sequence[Example], module: Task
) -> dict[str, Estimate]:
    first, second = module.judged(reference, examples), module.judged(outputs, examples)
    if first is None or second is None:
        return {}
    names = module.quality(outputs, examples)
    if np.array_equal(reference, outputs):
        return {name: identical() for name in names}
    return {name: DIFFERENCES[name](first[0], first[1], second[1]) for name in names if name in DIFFERENCES}


def _mcnemar(
    reference: NDArray[np.float32], outputs: NDArray[np.float32], examples: Sequence[Example], module: Task
) -> McNemar | None:
    """The test on the rows that one model alone has right; None without labels."""
    first, second = module.judged(reference, examples), module.judged(outputs, examples)
    if module.SCORED or first is None or second is None:
        return None
    before, after = first[1] == first[0], second[1] == first[0]
    worse, better = int(np.sum(before & ~after)), int(np.sum(after & ~before))
    return McNemar(worse, better, mcnemar(worse, better))


def _versions(entries: Sequence[Entry]) -> dict[str, str]:
    engines = {entry.contender.engine.partition(":")[0] for entry in entries}
    return {name: version(name) for name in ("octavo", "numpy", "tokenizers", *sorted(engines)) if find_spec(name)}


def _closeness(fidelity: Mapping[str, float], distances: NDArray[np.float64]) -> dict[str, Estimate]:
    """The figure that a budget without labels is about; `distances` are all 0 where the outputs are the same."""
    if "agreement" in fidelity:
        same = not distances.any()
        share = fidelity["agreement"]
        return {"agreement": identical(1.0) if same else share_estimate(round(share * len(distances)), len(distances))}
    return {"cosine": mean_estimate(1 - distances) if distances.any() else identical(1.0)}


def _warn_of_permuted(outputs: NDArray[np.float32], examples: Sequence[Example], labels: tuple[str, ...]) -> None:
    labelled = [index for index, example in enumerate(examples) if example.label is not None]
    gold = np.array([examples[index].label for index in labelled], np.int64)
    advice = better_assignment(outputs.argmax(axis=1)[labelled], gold, labels) if labelled else None
    if advice:
        warnings.warn(advice, OctavoWarning, stacklevel=4)


def _latency(seconds: NDArray[np.float64]) -> Latency:
    middle, high = np.percentile(seconds, [50, 95])
    return Latency(p50=float(middle * 1000), p95=float(high * 1000))
