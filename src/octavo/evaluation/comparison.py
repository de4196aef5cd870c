"""One table of models on the user's own data: size, speed, quality, fidelity; every row on identical token batches."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.checkpoint.source import Checkpoint
from octavo.data.examples import DataFile, Example, example_hashes
from octavo.encoding.batching import Encoded, Outputs, make_batches
from octavo.encoding.tokenizing import Asked
from octavo.errors import OctavoError, OctavoWarning
from octavo.evaluation.benchmark import Timing, run_contest
from octavo.evaluation.breakdown import most_changed, score_groups
from octavo.evaluation.entries import (
    Entry,
    common_labels,
    find_entries,
    require_classes,
    require_one_task,
    require_same_tokens,
    with_distinct_names,
)
from octavo.evaluation.label_order import better_assignment
from octavo.files import sha256_of
from octavo.hardware import choose_threads, this_cpu
from octavo.inference.predictor import UNKNOWN_SHARE, unknown_warning
from octavo.metrics.differences import DIFFERENCES
from octavo.metrics.estimates import Estimate, cosine_estimate, identical, mcnemar, ratio_estimate, share_estimate
from octavo.progress import Progress, Silent
from octavo.schema.comparison import ComparedRow, Comparison, DataRecord, Latency, McNemar
from octavo.schema.signature import Signature, lower_limit
from octavo.tasks import Task, find_task
from octavo.tasks.text_generation import WINDOW, windows


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
        data: a file of examples; its `max_length` is how many tokens are read at once, of language models by default
            1,024.
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
    if signature.task == "text-generation" and file.max_length is None:
        file = replace(file, max_length=min(shortest, WINDOW))
    signature = lower_limit(signature, file.max_length)
    for entry in entries:
        require_classes(entry.signature)
    examples = find_task(signature.task).read_examples(file, names)
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
    limit = {"max_length": signature.max_length}  # what a contender makes room for
    contenders = [
        replace(entry.contender, signature=entry.contender.signature.model_copy(update=limit)) for entry in entries
    ]
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
        rows=_rows(entries, timings, examples, Asked(rows, encoded, tokenizer, signature)),
        versions=_versions(entries),
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
    entries: Sequence[Entry],
    timings: Sequence[Timing],
    examples: Sequence[Example],
    asked: Asked,
) -> tuple[ComparedRow, ...]:
    signature, module, texts = asked.signature, find_task(asked.signature.task), asked.rows
    lengths = _lengths(asked.encoded, len(examples))
    first, rows = timings[0], []
    if _not_finite(first):
        got = f"NaN or infinity in {_not_finite(first):,} rows"
        raise OctavoError("the baseline's answers are not numbers", where=entries[0].name, got=got)
    reference = module.read(first.outputs, asked)
    if signature.task == "text-classification":
        _warn_of_permuted(reference, examples, signature.labels)
    for entry, timing in zip(entries, timings, strict=True):
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
            quality={},
            differences={},
            fidelity={},
            closeness={},
            batch_effect=None,
            not_finite=_not_finite(timing),
            turns=tuple(tuple(part) for part in timing.turns.tolist()),
            singles_ms=tuple((1000 * timing.single).tolist()),
            origin=entry.origin,
        )
        pair = reference, reference
        if not row.not_finite:
            found = reference if timing is first else module.read(timing.outputs, asked)
            pair, same = (reference, found), _same(first.outputs, timing.outputs)
            fidelity = module.fidelity(*pair, texts, signature)
            row = replace(
                row,
                quality=module.quality(found, examples),
                differences=_differences(*pair, examples, module, same=same),
                fidelity=fidelity,
                closeness=_closeness(fidelity, module.distances(*pair, signature), same=same),
                batch_effect=module.batch_effect(timing.alone, timing.among, signature),
            )
        if timing is not first and not row.not_finite:
            row = replace(
                row,
                groups=score_groups(module, *pair, examples, lengths, signature),
                changed=most_changed(module, *pair, examples, signature),
                mcnemar=_mcnemar(*pair, examples, module),
            )
        rows.append(row)
    return tuple(rows)


def _not_finite(timing: Timing) -> int:
    """How many rows have an answer with NaN or infinity in it."""
    parts = (timing.outputs, timing.alone, timing.among)
    return sum(not bool(np.isfinite(row).all()) for found in parts for row in found)


def _same(first: Outputs, second: Outputs) -> bool:
    """Whether two models answered the same to the last bit."""
    return all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


def _lengths(encoded: Sequence[Encoded], examples: int) -> NDArray[np.int64]:
    """The tokens of each example, all its parts together; of pairs whose texts are rows of their own, of the first."""
    lengths = np.zeros(examples, np.int64)
    for index, row in enumerate(encoded):
        owner = index if row.row is None else row.row
        lengths[owner : owner + 1] += len(row.ids)
    return lengths


def _differences(
    reference: Any, outputs: Any, examples: Sequence[Example], module: Task, *, same: bool
) -> dict[str, Estimate]:
    first, second = module.judged(reference, examples), module.judged(outputs, examples)
    if first is None or second is None:
        return {}
    names = module.quality(outputs, examples)
    if same:
        return {name: identical() for name in names}
    return {name: DIFFERENCES[name](first[0], first[1], second[1]) for name in names if name in DIFFERENCES}


def _mcnemar(reference: Any, outputs: Any, examples: Sequence[Example], module: Task) -> McNemar | None:
    """The test on the rows that one model alone has right; None without labels, or where more than one is of a row."""
    first, second = module.judged(reference, examples), module.judged(outputs, examples)
    if module.SCORED or first is None or second is None or first[1].ndim > 1:
        return None
    before, after = first[1] == first[0], second[1] == first[0]
    worse, better = int(np.sum(before & ~after)), int(np.sum(after & ~before))
    return McNemar(worse, better, mcnemar(worse, better))


def _versions(entries: Sequence[Entry]) -> dict[str, str]:
    engines = {entry.contender.engine.partition(":")[0] for entry in entries}
    return {name: version(name) for name in ("octavo", "numpy", "tokenizers", *sorted(engines)) if find_spec(name)}


def _closeness(fidelity: Mapping[str, float], distances: NDArray[np.float64], *, same: bool) -> dict[str, Estimate]:
    """The figure that a budget without labels is about."""
    if "agreement" in fidelity:
        share = fidelity["agreement"]
        return {"agreement": identical(1.0) if same else share_estimate(round(share * len(distances)), len(distances))}
    return {"cosine": identical(1.0) if same else cosine_estimate(distances)}


def _warn_of_permuted(outputs: NDArray[np.float32], examples: Sequence[Example], labels: tuple[str, ...]) -> None:
    labelled = [index for index, example in enumerate(examples) if example.label is not None]
    gold = np.array([examples[index].label for index in labelled], np.int64)
    advice = better_assignment(outputs.argmax(axis=1)[labelled], gold, labels) if labelled else None
    if advice:
        warnings.warn(advice, OctavoWarning, stacklevel=4)


def _latency(seconds: NDArray[np.float64]) -> Latency:
    middle, high = np.percentile(seconds, [50, 95])
    return Latency(p50=float(middle * 1000), p95=float(high * 1000))
