"""Runs the same batches through several models, each in its own process, in turns: batches and times, no labels."""

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.encoding.batching import Batch, IntArray, Outputs, in_order, real_answers
from octavo.engines import modes_of
from octavo.errors import InputError, OctavoError, raise_together
from octavo.evaluation.machine_load import Cores, Usage, machine_load, read_cores
from octavo.evaluation.text_rates import Texts, text_rates
from octavo.progress import Progress
from octavo.schema.comparison import MachineLoad
from octavo.schema.signature import Signature

WORKER = [sys.executable, "-P", "-m", "octavo.evaluation.worker"]  # -P: no module of the working folder
TURNS = 8  # parts that the data is cut into, so that slow minutes of the machine fall on every contender
MAX_ROUNDS = 5
ROUNDS_SECONDS = 60.0  # for the repeated rounds of all contenders together
SINGLE_ROWS = 100
INVARIANCE_ROWS = 64
NEIGHBOURS = 7  # of the longest rows, in the batch of a sampled one
PAUSE = 0.05  # seconds between two turns, for threads of the last one to fall asleep
Rows = list[tuple[int, int]]  # (batch, part of it)


@dataclass(frozen=True)
class Contender:
    """One row of a comparison: its model and how it is run; `home` has pooling files, tokenizers as `Checkpoint`.

    With `texts` it is also timed from these to answers.
    """

    path: Path
    engine: str
    signature: Signature
    home: Path
    tokenizer: str | Path | None = None
    target_tokenizer: str | Path | None = None
    ignore_weights: tuple[str, ...] = ()
    texts: Texts | None = None


@dataclass(frozen=True)
class Timing:
    """What was measured of one contender.

    `outputs` of the rows in the order of the data; `turns` [parts, rounds] the seconds of each part of the data in each
    round, which all contenders ran in turns; `single` seconds of one row alone, one value per sampled row;
    `load_seconds` from starting the process to a loaded model, `cold_start_seconds` to its first answer; `peak_bytes`
    the most memory that it held; `alone` and `among` the outputs of sampled rows that ran by themselves, and the same
    rows' in a batch with the longest ones; `load` how busy the machine was meanwhile; `text_rows_per_second` from texts
    to answers.
    """

    outputs: Outputs
    alone: Outputs
    among: Outputs
    turns: NDArray[np.float64]
    single: NDArray[np.float64]
    load_seconds: float
    cold_start_seconds: float
    peak_bytes: int
    load: MachineLoad | None = None
    text_rows_per_second: float | None = None

    @property
    def seconds(self) -> float:
        """For all rows: the sum, over the parts of the data, of the median over the rounds."""
        return float(np.median(self.turns, axis=1).sum())

    @property
    def rounds(self) -> NDArray[np.float64]:
        """[rounds], the seconds of each."""
        return np.asarray(self.turns.sum(axis=0), np.float64)


@dataclass(frozen=True)
class _Asked:
    """What contenders with the same tokens run: batches, and then `sampled`; see `_invariance_inputs`. `file` has all.

    `signature` is that of the first of them, by which the batches are padded.
    """

    batches: Sequence[Batch]
    sampled: list[dict[str, IntArray]]
    signature: Signature
    file: Path


class _Process:
    """A worker and the pipe to it."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec, self._started = spec, time.perf_counter()
        self._process = subprocess.Popen(
            WORKER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("OCTAVO_DEBUG") else subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        self.load_seconds = self.cold_start_seconds = 0.0
        self.reason = ""  # why it could not be run
        self._wall = self._cpu = 0.0  # of batches

    def load(self) -> None:
        """Load the model and run the shortest row."""
        self.ask(self._spec)
        self.load_seconds = time.perf_counter() - self._started
        self.ask({"single": [(0, 0)]})
        self.cold_start_seconds = time.perf_counter() - self._started

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request and wait for its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request, default=str) + "\n")  # paths
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": f"the process ended: {self._process.wait()}"}
        if "error" in answer:
            kind = InputError if answer.get("exit_code") == InputError.exit_code else OctavoError
            then = None if "exit_code" in answer else "set OCTAVO_DEBUG=1 to see why"
            self.reason = answer["error"]
            raise kind(answer["error"], where=self._spec["path"], then=then)
        return answer

    def run(self, numbers: Sequence[int], keep: str | None = None) -> float:
        """Run batches by their numbers; `keep` is the file for their outputs. Returns the seconds of all together."""
        answer = self.ask({"run": list(numbers), "keep": keep})
        seconds = float(sum(answer["seconds"]))
        self._wall, self._cpu = self._wall + seconds, self._cpu + answer["cpu"]
        return seconds

    def usage(self) -> Usage:
        """What the process took since it started."""
        return Usage(self._wall, self._cpu, **self.ask({"usage": True}))

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def run_benchmark(
    contenders: Sequence[Contender], batches: Sequence[Sequence[Batch]], *, threads: int, seed: int, progress: Progress
) -> list[Timing | str]:
    """Run every batch through every contender, in turns: what was measured of each, or why it could not be run.

    `batches` are those of each contender: the same list for those with the same tokens, and of the others as many, with
    the same rows in each.

    The first round runs all batches, and its outputs are kept; further rounds repeat it while time allows. Then the
    latency of single rows, on a seeded sample of all rows.

    Raises:
        OctavoError: the first contender cannot be loaded or run, or none of the others can.
    """
    count = len(batches[0])
    parts = [list(range(turn, count, TURNS)) for turn in range(min(TURNS, count))]
    rows = [(index, part) for index, batch in enumerate(batches[0]) for part in range(len(batch.parts))]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        asked = _store(contenders, batches, rows, random.Random(seed), Path(folder))  # noqa: S311 - a sample, no secret
        started_ones = _start(contenders, asked, threads, stack, progress)
        running = [trio for trio in zip(contenders, started_ones, asked, strict=True) if not trio[1].reason]
        processes, own = [process for _, process, _ in running], [kept for *_, kept in running]
        started = _read_load(processes)
        seconds, outputs = _first_round(processes, parts, Path(folder), progress)
        _more_rounds(processes, parts, seconds, random.Random(seed), progress)  # noqa: S311 - an order, no secret
        # before single rows: one may be shorter than the waking of threads
        loads = _loads(started, _read_load(processes), [contender for contender, *_ in running])
        singles = _single_rows(processes, own, rows, random.Random(seed), progress)  # noqa: S311
        whole = sum(part[0] for contender in seconds for part in contender)
        peaks = [int(process.ask({"peak": True})["peak"]) for process in processes]  # of the models, without texts
        rates = text_rates(
            [process.ask for process in processes], [contender.texts for contender, *_ in running], whole, progress
        )
        extra = [
            _run_part(process, range(count, count + len(kept.sampled)), Path(folder))[1] for _, process, kept in running
        ]
    timings = (
        Timing(
            outputs=in_order([outputs[index][number] for number in range(count)], kept.batches, kept.signature),
            turns=np.array(seconds[index]),
            single=np.array(singles[index]),
            load_seconds=process.load_seconds,
            cold_start_seconds=process.cold_start_seconds,
            peak_bytes=peaks[index],
            alone=_first_rows(extra[index][::2], kept.sampled[::2], kept.signature),
            among=_first_rows(extra[index][1::2], kept.sampled[1::2], kept.signature),
            load=loads[index],
            text_rows_per_second=rates[index],
        )
        for index, (_, process, kept) in enumerate(running)
    )
    return [process.reason or next(timings) for process in started_ones]


def _store(
    contenders: Sequence[Contender],
    batches: Sequence[Sequence[Batch]],
    rows: Rows,
    generator: random.Random,
    folder: Path,
) -> list[_Asked]:
    """What each contender runs, in one file for all with the same tokens."""
    stored: dict[int, _Asked] = {}
    sample = generator.sample(rows, min(INVARIANCE_ROWS, len(rows)))
    for contender, own in zip(contenders, batches, strict=True):
        if id(own) not in stored:
            exact = any(
                other.signature.exact_lengths for other, its in zip(contenders, batches, strict=True) if its is own
            )
            signature = contender.signature.model_copy(update={"exact_lengths": exact})
            sampled = _invariance_inputs(own, sample, signature)
            asked = stored[id(own)] = _Asked(own, sampled, contender.signature, folder / f"batches{len(stored)}.npz")
            inputs = enumerate([*(batch.inputs for batch in own), *sampled])
            arrays: dict[str, Any] = {
                f"{name}/{number}": array for number, batch in inputs for name, array in batch.items()
            }
            np.savez(asked.file, **arrays)  # Any: the stub takes `**` for allow_pickle
    return [stored[id(own)] for own in batches]


def _start(
    contenders: Sequence[Contender],
    asked: Sequence[_Asked],
    threads: int,
    stack: contextlib.ExitStack,
    progress: Progress,
) -> list[_Process]:
    """The process of each contender, which has run its first batches; one that could not has a `reason`, and ended.

    Raises:
        OctavoError: the first one could not, or none of the others.
    """
    processes: list[_Process] = []
    errors: list[OctavoError] = []
    progress.start("loading", len(contenders))
    for contender, own in zip(contenders, asked, strict=True):
        settings: dict[str, Any] = {"threads": threads, "texts": None}
        settings |= {"batches": own.file, "signature": contender.signature.model_dump(mode="json")}
        if contender.texts:  # in a file: reading them is no part of loading
            settings["texts"] = own.file.with_name(f"texts{len(processes)}.json")
            settings["texts"].write_text(json.dumps(vars(contender.texts)), encoding="utf-8")
        processes.append(_Process(vars(contender) | settings))
        stack.callback(processes[-1].end)
        try:
            processes[-1].load()  # and warm up on the longest batch, the shortest and one between
            processes[-1].run(sorted({0, len(own.batches) // 2, len(own.batches) - 1}))
        except OctavoError as error:
            if len(processes) == 1:
                raise
            errors.append(error)
        progress.advance()
    if len(errors) == len(contenders) - 1:
        raise_together(errors)
    return processes


_Reading = tuple[Cores | None, float, list[Usage]]  # of the machine, CPU time of this process, and of the others


def _read_load(processes: Sequence[_Process]) -> _Reading:
    return read_cores(), time.process_time(), [process.usage() for process in processes]


def _loads(before: _Reading, after: _Reading, contenders: Sequence[Contender]) -> list[MachineLoad]:
    """How busy the machine was between two readings, by contender; what Octavo ran itself is not counted."""
    usages = list(zip(before[2], after[2], strict=True))
    own = after[1] - before[1] + sum(end.all_cpu - begin.all_cpu for begin, end in usages)
    devices = [modes_of(contender.engine).get("device", "cpu") for contender in contenders]
    return [
        machine_load((before[0], after[0]), own, usage, on_cpu=device == "cpu")
        for usage, device in zip(usages, devices, strict=True)
    ]


def _run_part(process: _Process, numbers: Sequence[int], folder: Path) -> tuple[float, list[NDArray[np.float32]]]:
    """Run batches by their numbers; returns the seconds of all together, and the outputs of each."""
    file = folder / "outputs.npz"
    seconds = process.run(numbers, str(file))
    with np.load(file, allow_pickle=False) as stored:
        return seconds, [stored[str(number)] for number in numbers]


def _invariance_inputs(batches: Sequence[Batch], sample: Rows, signature: Signature) -> list[dict[str, IntArray]]:
    """Inputs of sampled rows: of each it alone, then it as the first of a batch with the longest rows of the data."""
    sampled = []
    for index, part in sample:
        row = batches[index].parts[part]
        length = int(batches[index].inputs["attention_mask"][row].sum())
        alone = {name: array[row : row + 1, :length] for name, array in batches[index].inputs.items()}
        others = batches[index if signature.exact_lengths else -1]
        among = {name: array[-NEIGHBOURS:] for name, array in others.inputs.items()}
        for name, array in alone.items():
            padding = signature.pad_token_id if name == "input_ids" else 0
            wide = max(length, among[name].shape[1])
            pair = [
                np.pad(inputs, ((0, 0), (0, wide - inputs.shape[1])), constant_values=padding)
                for inputs in (array, among[name])
            ]
            among[name] = np.concatenate(pair)
        sampled += [alone, among]
    return sampled


def _first_round(
    processes: Sequence[_Process], parts: Sequence[list[int]], folder: Path, progress: Progress
) -> tuple[list[list[list[float]]], list[dict[int, NDArray[np.float32]]]]:
    """Run all parts once; returns seconds [contender][part] -> one measurement, and outputs [contender][batch]."""
    seconds: list[list[list[float]]] = [[] for _ in processes]
    outputs: list[dict[int, NDArray[np.float32]]] = [{} for _ in processes]
    progress.start("predicting", len(parts) * len(processes))
    for part in parts:
        for index, process in enumerate(processes):
            part_seconds, part_outputs = _run_part(process, part, folder)
            seconds[index].append([part_seconds])
            outputs[index].update(zip(part, part_outputs, strict=True))
            progress.advance()
            time.sleep(PAUSE)
    return seconds, outputs


def _more_rounds(
    processes: Sequence[_Process],
    parts: Sequence[list[int]],
    seconds: list[list[list[float]]],
    generator: random.Random,
    progress: Progress,
) -> None:
    """Repeat the round while time allows, the contenders shuffled each time; appends to `seconds`."""
    one_round = sum(part[0] for contender in seconds for part in contender)
    fewest = 2 if len(parts) < 4 else 0  # for an interval of the ratio (`metrics.estimates.ratio_estimate`)
    rounds = min(MAX_ROUNDS - 1, max(fewest, int(ROUNDS_SECONDS / max(one_round, 1e-9))))
    progress.start("timing", rounds * len(parts) * len(processes))
    for _ in range(rounds):
        for number, part in enumerate(parts):
            order = list(range(len(processes)))
            generator.shuffle(order)
            for index in order:
                seconds[index][number].append(processes[index].run(part))
                progress.advance()
                time.sleep(PAUSE)


def _single_rows(
    processes: Sequence[_Process],
    asked: Sequence[_Asked],
    rows: Rows,
    generator: random.Random,
    progress: Progress,
) -> list[list[float]]:
    """Latency of one row: [contender] -> seconds, the same rows for all, in turns of ten."""
    drawn = [generator.choice(rows) for _ in range(SINGLE_ROWS)]
    samples = [[(index, own.batches[index].parts[part]) for index, part in drawn] for own in asked]
    singles: list[list[float]] = [[] for _ in processes]
    progress.start("timing single rows", len(processes) * (SINGLE_ROWS // 10))
    for process, sample in zip(processes, samples, strict=True):
        process.ask({"single": sample[:5]})
    for turn in range(0, SINGLE_ROWS, 10):
        for index, process in enumerate(processes):
            singles[index] += process.ask({"single": samples[index][turn : turn + 10]})["seconds"]
            progress.advance()
            time.sleep(PAUSE)
    return singles


def _first_rows(
    parts: Sequence[NDArray[np.float32]], inputs: Sequence[dict[str, IntArray]], signature: Signature
) -> Outputs:
    """The answer of the first row of each batch."""
    if parts[0].ndim == 2:
        return np.concatenate([part[:1] for part in parts])
    first = [{name: array[:1] for name, array in batch.items()} for batch in inputs]
    return [real_answers(part[:1], row, signature)[0] for part, row in zip(parts, first, strict=True)]
