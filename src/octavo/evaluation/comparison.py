"""One table of models on the user's own data: size, speed, quality, fidelity.

Every row of the table runs identical token batches; where tokenizers differ, batches that have the same texts.
"""

import random
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from octavo.checkpoint.source import Checkpoint
from octavo.data.examples import DataFile, Example, example_hashes
from octavo.data.ranking import files_of
from octavo.encoding.tokenizing import Row
from octavo.errors import InputError, OctavoError, OctavoWarning
from octavo.evaluation.benchmark import Timing, run_benchmark
from octavo.evaluation.entries import (
    Entry,
    common_labels,
    find_entries,
    require_one_task,
    with_distinct_names,
)
from octavo.evaluation.machine_load import worst_load
from octavo.evaluation.measured_row import Compared, not_finite
from octavo.evaluation.readings import Reading, batches_of, read_entries
from octavo.evaluation.text_rates import Texts
from octavo.files import sha256_of
from octavo.hardware import choose_threads, this_cpu
from octavo.progress import Progress, Silent
from octavo.reporting.page import notebook_html
from octavo.schema.comparison import ComparedRow, ComparisonRecord, DataRecord, NotRun
from octavo.schema.signature import Signature, lower_limit
from octavo.tasks import find_task, task_over
from octavo.tasks.ranking import Retrieval
from octavo.tasks.stored_vectors import storings
from octavo.tasks.task import Task


class Comparison(ComparisonRecord):
    """A finished comparison; see `ComparisonRecord`. A notebook shows it as its report."""

    def _repr_html_(self) -> str:
        """The report, in a frame of its own so that styles do not mix."""
        return notebook_html(self)


Model = str | Path | Checkpoint


def compare(  # noqa: PLR0913 - each is one thing to say
    baseline: Model,
    candidates: Model | Sequence[Model] = (),
    *,
    data: str | Path | DataFile,
    limit: int | None = None,
    columns: Mapping[str, str] | None = None,
    labels: Sequence[str] = (),
    engines: str | Sequence[str] = ("auto",),
    dimensions: Sequence[int] = (),
    precision: Sequence[str] = (),
    threads: int | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compare artifacts, checkpoints and other tools' ONNX files on a file of examples.

    Args:
        baseline: a checkpoint (which runs in torch, in float32) or an artifact; the first row.
        candidates: a further one, or several.
        data: a file of examples, or a `DataFile`, which says how it is read; its `max_length` is how many tokens are
            read at once, of language models by default 1,024.
        limit: compare on a sample of so many rows, as `DataFile(limit=...)` does.
        columns: the columns of the file, as `DataFile(columns=...)` names them: `{"text": ..., "label": ...}`.
        labels: names in id order for all models, as `Checkpoint(labels=...)` gives them to one.
        engines: one or several, a row for each, for artifacts.
        dimensions: of an embedder over queries and passages: how many numbers of a vector might be stored, one or
            several; a search over these is scored too.
        precision: in which precisions (`octavo.Predictor.embed`), with each of these dimensions.
        threads: of every model; by default `hardware.default_threads`.
        progress: hears of every step.

    A candidate that its engine cannot load or run has its reason in `not_run`; the others have their rows.

    Raises:
        OctavoError: see `octavo.errors` for the kinds; a candidate that cannot be run where there is no other.
    """
    progress = progress or Silent()
    progress.start("reading models and data")
    candidates = [candidates] if isinstance(candidates, str | Path | Checkpoint) else candidates
    engines = [engines] if isinstance(engines, str) else engines
    models = [_with_labels(model, labels) for model in (baseline, *candidates)]
    file = _as_data_file(data, limit, columns)
    if any(model.labels for model in models):
        file = replace(file, labels_told=True)
    entries = with_distinct_names([entry for model in models for entry in find_entries(model, engines)])
    require_one_task(entries)
    signature = common_signature(entries, file)
    for entry in entries:
        find_task(entry.signature).require_comparable(find_task(entries[0].signature))
    task = _storing(task_over(signature, file), dimensions, precision)
    examples = task.read_examples(file, signature.labels)
    _warn_of_calibrated(entries, examples)
    settings = {"threads": choose_threads(threads), "seed": file.seed}
    comparison = compare_entries(entries, examples, task, **settings, progress=progress)
    path = Path(file.path)
    return replace(comparison, data=DataRecord(path.name, sha256_of(*files_of(path)), file.limit, file.seed))


def _storing(task: Task[Any], dimensions: Sequence[int], precision: Sequence[str]) -> Task[Any]:
    """The task, which also scores vectors as they might be stored.

    Raises:
        InputError: it is no search, or see `storings`.
    """
    if not dimensions and not precision:
        return task
    if not isinstance(task, Retrieval) or not task.pools:
        allowed = "an embedder, and data of queries and passages"
        raise InputError("stored vectors are scored by a search", got=f"a model for {task.name}", allowed=allowed)
    return Retrieval(task.signature, storings(task.signature, tuple(dimensions), tuple(precision)))


def _with_labels(model: Model, labels: Sequence[str]) -> Checkpoint:
    """A model with the labels that are given for all.

    Raises:
        InputError: it has others of its own, or a text is given in the place of names.
    """
    checkpoint = model if isinstance(model, Checkpoint) else Checkpoint(model)
    if isinstance(labels, str):
        raise InputError("labels are several names, in id order", got=labels, allowed="a list of names")
    if labels and checkpoint.labels:
        raise InputError("labels are given twice, for all models and for one", where=checkpoint.path)
    return replace(checkpoint, labels=tuple(labels)) if labels else checkpoint


def _as_data_file(data: str | Path | DataFile, limit: int | None, columns: Mapping[str, str] | None) -> DataFile:
    """The file with the limit and columns that are given beside it.

    Raises:
        InputError: it has one of them already.
    """
    file = data if isinstance(data, DataFile) else DataFile(data)
    given = {name: value for name, value in (("limit", limit), ("columns", columns)) if value is not None}
    if twice := [name for name in given if getattr(file, name) is not None]:
        raise InputError("said twice: to compare and in the DataFile", got=", ".join(twice))
    settings: dict[str, Any] = given
    return replace(file, **settings)


def common_signature(entries: Sequence[Entry], file: DataFile) -> Signature:
    """The signature that all models run under: their common labels, and the shortest limit or a lower one."""
    shortest = min(entry.signature.max_length for entry in entries)
    labels = common_labels(entries)
    signature = entries[0].signature.model_copy(update={"labels": labels, "max_length": shortest})
    usual = find_task(signature).usual_length
    limit = min(shortest, usual) if file.max_length is None and usual is not None else file.max_length
    return lower_limit(signature, limit)


def compare_entries(
    entries: Sequence[Entry],
    examples: Sequence[Example],
    task: Task[Any],
    *,
    threads: int,
    seed: int = 0,
    progress: Progress | None = None,
) -> Comparison:
    """Run all entries on the examples, each with its own tokenizer, under the limit and labels of the task's signature.

    `task` also says how answers are scored; see `compare`.
    """
    signature = task.signature
    readings = read_entries(entries, examples, task)
    first, batches = readings[0], batches_of(readings, entries)
    limit = {"max_length": signature.max_length}  # what a contender makes room for
    contenders = [
        replace(
            entry.contender,
            signature=entry.contender.signature.model_copy(update=limit),
            texts=None if task.writes else Texts(_drawn(own.asked.rows, seed), entry.tokenizer_json),
        )
        for entry, own in zip(entries, readings, strict=True)
    ]
    timings = run_benchmark(contenders, batches, threads=threads, seed=seed, progress=progress or Silent())
    all_of_them = list(zip(entries, readings, timings, strict=True))
    measured = [(entry, own, timing) for entry, own, timing in all_of_them if isinstance(timing, Timing)]
    cpu, engines = this_cpu(), sorted({entry.contender.engine.partition(":")[0] for entry in entries})
    packages = [name for name in ("octavo", "numpy", "tokenizers", *engines) if find_spec(name)]
    return Comparison(
        task=signature.task,
        n=len(first.examples),
        texts=len(first.asked.rows),
        truncated=first.truncated,
        tokens=first.tokens,
        tokenize_seconds=first.seconds,
        threads=threads,
        cpu=cpu.name,
        cpu_kind=cpu.kind,
        rows=_rows(measured),
        versions={name: version(name) for name in packages},
        load=worst_load([timing.load for _, _, timing in measured if timing.load]),
        own_tokenizers=len(set(map(id, readings))) > 1,
        not_run=tuple(
            NotRun(entry.name, entry.method, entry.contender.engine, reason)
            for entry, _, reason in all_of_them
            if isinstance(reason, str)
        ),
    )


def _drawn(rows: Sequence[Row], seed: int) -> list[Row]:
    """The rows in a drawn order, so that the first of them are like all."""
    return random.Random(seed).sample(list(rows), len(rows))  # noqa: S311 - a sample, no secret


def _rows(measured: Sequence[tuple[Entry, Reading, Timing]]) -> tuple[ComparedRow, ...]:
    """The rows of the table, the baseline's first.

    Raises:
        OctavoError: the baseline's answers are not numbers.
    """
    baseline, reading, first = measured[0]
    if not_finite(first):
        got = f"NaN or infinity in {not_finite(first):,} rows"
        raise OctavoError("the baseline's answers are not numbers", where=baseline.name, got=got)
    mixed = any(own is not reading for _, own, _ in measured)
    compared = Compared(reading, baseline, first, reading.task.read(first.outputs, reading.asked), mixed=mixed)
    if warning := reading.task.doubt_labels(compared.reference, reading.examples):
        warnings.warn(warning, OctavoWarning, stacklevel=4)
    return tuple(compared.row(*model) for model in measured)


def _warn_of_calibrated(entries: Sequence[Entry], examples: Sequence[Example]) -> None:
    """Warn where rows to be scored are rows that ranges were learnt from."""
    hashes = example_hashes(examples)
    for entry in entries:
        if seen := sum(row in entry.calibrated for row in hashes):
            warning = f"{seen:,} of {len(hashes):,} rows were calibrated on, so its figures may flatter it"
            warnings.warn(f"{entry.name}: {warning}", OctavoWarning, stacklevel=4)
