"""`octavo.search`: the best model within a budget, found, repaired and confirmed; and another point of its front."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

from octavo.artifact.folder import Artifact, open_artifact
from octavo.artifact.writing import check_free, replace_folder
from octavo.checkpoint.ranges import has_ranges
from octavo.checkpoint.source import Checkpoint, Source, read_source
from octavo.data.examples import DataFile, Example
from octavo.data.ranking import files_of
from octavo.errors import HardwareError, InputError, OctavoError, did_you_mean
from octavo.files import sha256_of
from octavo.hardware import Target, choose_threads, find_target, installed_packages, this_cpu
from octavo.progress import Progress, Silent
from octavo.reporting.card import add_comparison
from octavo.reporting.search_page import search_summary
from octavo.schema.budget import Budget
from octavo.schema.search import (
    FLOAT,
    Aim,
    Candidate,
    Identity,
    Machine,
    Outcome,
    SearchRecord,
    Trial,
    read_study,
)
from octavo.tasks import find_task, task_over
from octavo.tuning.cluster import ClusterWorkshop
from octavo.tuning.measuring import Settings, Workshop
from octavo.tuning.run import Run
from octavo.tuning.space import Setting, default_space, distinct, read_space, sixteen_bits
from octavo.tuning.splits import Splits, split_examples
from octavo.tuning.strategy import search_steps, wave_sizes
from octavo.tuning.study import Study, require_same

PACKAGES = ("octavo", "onnxruntime", "openvino", "torch", "transformers")
TIMING = 75.0  # seconds of a benchmark: a minute of rounds, and what is around them
LABEL_FREE = ("min_agreement", "min_cosine", "min_cosine_worst")


@dataclass(frozen=True)
class SearchPlan:
    """What a search is going to do: its candidates, the examples of each split and wave, and about how long it takes.

    `seconds` come of measurements of this machine: the export, and two candidates that were built and run.
    """

    candidates: tuple[Candidate, ...]
    splits: dict[str, int]
    waves: tuple[int, int]
    seconds: float


class Search:
    """A search: iterating over it runs it and gives each trial as it is known; `run` gives the outcome at once.

    `outcome` and `artifact` are there when it has ended; `artifact` is None where the answer is not to quantize.
    """

    def __init__(self, identity: Identity, output: Path, study: Path, workshop: Workshop, space: _Space) -> None:
        """Made by `search`."""
        self.identity, self.output, self.study = identity, output, study
        self.outcome: Outcome | None = None
        self.artifact: Artifact | None = None
        self._workshop, self._space = workshop, space
        self._run: Run | None = None

    def __repr__(self) -> str:
        state = f": {self.outcome.chosen.name}, {self.outcome.verdict}" if self.outcome else ""
        return f"<Search of {self.identity.source}, {len(self._space.candidates)} candidates{state}>"

    @property
    def seconds_left(self) -> float:
        """About how long the rest takes, as far as it is known what comes."""
        return self._run.seconds_left if self._run else 0.0

    def __iter__(self) -> Iterator[Trial]:
        """Run the search, or take it up where its study ends.

        Raises:
            OctavoError: see `octavo.errors` for the kinds.
        """
        study = Study(self.identity, self.study)
        try:
            self._run = Run(self._workshop, study, self.identity.budget, self.identity.aim)
            self.outcome = yield from search_steps(self._run, self._space.candidates, self._space.late)
            study.end(self.outcome)
            if self.outcome.chosen != FLOAT:
                self.artifact = self._write(self.outcome.chosen)
        finally:
            study.close()
            self._workshop.close()

    def run(self) -> Outcome:
        """Run it to its end."""
        for _ in self:
            pass
        assert self.outcome is not None
        return self.outcome

    def record(self) -> SearchRecord:
        """What the study holds, for a report."""
        return read_study(self.study)

    def pick(self, number: int) -> Artifact:
        """Write another point of the front, by its number from 1, without measuring again.

        Raises:
            InputError: the study has not ended, is of something else, or its front has no such point.
        DataError: there is no study.
        """
        record = self.record()  # read only: with another budget it is the outcome that it was
        require_same(record.identity, self.identity, record.trials, self.study)
        outcome = record.outcome
        if outcome is None:
            raise InputError("the search has not ended", where=self.study, then="run it to its end without --pick")
        if not 1 <= number <= len(outcome.front) or outcome.front[number - 1] == FLOAT:
            known = [f"{n} ({point.name})" for n, point in enumerate(outcome.front, 1) if point != FLOAT]
            raise InputError("the front has no such point to write", got=number, allowed=", ".join(known))
        self.outcome = outcome
        try:
            self.artifact = self._write(outcome.front[number - 1])
        finally:
            self._workshop.close()
        return self.artifact

    def plan(self) -> SearchPlan:
        """What it is going to do, and about how long it takes; measures two candidates to know."""
        shop, candidates = self._workshop, self._space.candidates
        small, full = wave_sizes(shop.rows("selection"))
        sample = list({candidate.recipe.method: candidate for candidate in reversed(candidates)}.values())[-2:]
        try:
            begin, first, again = (_seconds(shop, part, small) for part in ([FLOAT], sample, sample))
        finally:
            shop.close()
        built, answered = first / len(sample), again / len(sample)  # the second time nothing is built
        rows = (full * (len(candidates) + 1) + shop.rows("confirmation")) / small
        seconds = begin + built * len(candidates) + answered * rows + 2 * TIMING
        splits = {name: len(part) for name, part in self.identity.splits.items()}
        return SearchPlan(candidates, splits, (small, full), seconds)

    def _write(self, candidate: Candidate) -> Artifact:
        """Write a candidate, and see that it is the model that was measured.

        Raises:
            OctavoError: it is another one.
        """
        record = self.record()
        measured = [trial.quality for trial in record.trials if trial.candidate == candidate and trial.quality]
        # What is there stays until the new artifact is seen to be right.
        with TemporaryDirectory(prefix="octavo-search-") as box:
            artifact = self._workshop.build(candidate.recipe, Path(box) / "artifact")
            sha256 = artifact.manifest.files[artifact.model_file.name].sha256
            if not measured or sha256 != measured[-1].sha256:
                raise OctavoError("the artifact is not the one that was measured", where=self.output, got=sha256[:16])
            add_comparison(artifact.folder, search_summary(record, candidate))
            with replace_folder(self.output, force=self._space.force) as aside:
                shutil.copytree(artifact.folder, aside, dirs_exist_ok=True)
        return open_artifact(self.output)


def _seconds(shop: Workshop, candidates: Sequence[Candidate], rows: int) -> float:
    """How long it takes to measure candidates.

    Raises:
        OctavoError: one cannot be measured.
    """
    start = time.perf_counter()
    for measured in shop.qualities(candidates, "selection", rows):
        if isinstance(measured, str):
            raise OctavoError(measured)
    return time.perf_counter() - start


@dataclass(frozen=True)
class _Space:
    candidates: tuple[Candidate, ...]
    late: tuple[Candidate, ...]
    force: bool


def search(  # noqa: PLR0913 - each is one thing to say
    checkpoint: str | Path | Checkpoint,
    output: str | Path,
    *,
    data: str | Path | DataFile,
    budget: Budget,
    prefer: Aim = "speed",
    space: str | Path | Sequence[Candidate] | None = None,
    calibrate: str | Path | DataFile | None = None,
    study: str | Path | None = None,
    threads: int | None = None,
    jobs: int = 1,
    target: str = "auto",
    force: bool = False,
    ray: bool = False,
    address: str | None = None,
    progress: Progress | None = None,
) -> Search:
    """Search the best artifact of a checkpoint within a budget: `for trial in octavo.search(...)`, or `.run()`.

    Args:
        checkpoint: a Hugging Face folder or a hub id; a `Checkpoint` says what its files do not tell.
        output: the folder to write.
        data: examples, of which a part is calibrated on, one selected by, and one confirmed with.
        budget: what may be lost and must be gained; it needs a limit on quality.
        prefer: what the best one is of those within: `speed` in rows a second, `latency` of a row alone (p95), `size`,
            or `quality`.
        space: a TOML file of `[[space]]` tables, or candidates; by default those of the CPU and the task.
        calibrate: examples to calibrate on, in the place of a part of `data`.
        study: the file of trials; by default the output's name with `.study.jsonl`. One that is there is taken up.
        threads: of every model; by default as many as this process may use cores.
        jobs: how many candidates answer at once; timings always run alone.
        target: the CPU to make it for.
        force: replace an artifact that is there.
        ray: measure on a Ray cluster: quality of several candidates at once, and speed on a whole node.
        address: of the cluster; by default the one that Ray finds, or one on this machine.
        progress: hears of every step.

    Raises:
        OctavoError: see `octavo.errors` for the kinds.
    """
    output, progress = Path(output).resolve(), progress or Silent()
    check_free(output, force=force)
    file = data if isinstance(data, DataFile) else DataFile(data)
    _check(budget, prefer, (jobs, file.seed), find_target(target))
    progress.start("reading the checkpoint and the data")
    source = read_source(checkpoint)
    find_task(source.signature).require_comparable(find_task(source.signature))
    task = task_over(source.signature, file)
    labelled = replace(
        file, labels_told=file.labels_told or bool(isinstance(checkpoint, Checkpoint) and checkpoint.labels)
    )
    examples = task.read_examples(labelled, source.signature.labels)
    splits = split_examples(examples, file.seed, _calibration(calibrate, source))
    settings = Settings(find_target(target), choose_threads(threads), jobs, file.max_length, file.seed)
    parts = source, task, splits, settings, progress
    workshop = ClusterWorkshop(*parts, address) if ray else Workshop(*parts)
    small = prefer == "size" or budget.max_size is not None
    setting = Setting(this_cpu(), workshop.calibrates, task.writes, small, has_ranges(source.folder))
    candidates = _candidates(space, setting)
    identity = _identity(source, file, splits, workshop, (budget, prefer))
    place = Path(study) if study is not None else output.with_name(f"{output.name}.study.jsonl")
    return Search(identity, output, place, workshop, _Space(candidates, sixteen_bits(setting), force))


def _candidates(space: str | Path | Sequence[Candidate] | None, setting: Setting) -> tuple[Candidate, ...]:
    if space is None:
        return default_space(setting)
    return read_space(Path(space), setting) if isinstance(space, str | Path) else distinct(space)


def _identity(
    source: Source, file: DataFile, splits: Splits, workshop: Workshop, wanted: tuple[Budget, Aim]
) -> Identity:
    """What the study is of."""
    cpu, settings = workshop.cpu, workshop.settings
    return Identity(
        source=source.name,
        source_sha256=source.sha256,
        task=source.signature.task,
        data=Path(file.path).name,
        data_sha256=sha256_of(*files_of(Path(file.path))),
        reading=f"columns {dict(file.columns or {})}, limit {file.limit}, tokens {file.max_length}",
        seed=file.seed,
        target=settings.target.name,
        versions=installed_packages(PACKAGES),
        machine=Machine(cpu.name, cpu.kind, settings.threads),
        budget=wanted[0],
        aim=wanted[1],
        together=splits.together,
        splits=splits.hashes(),
        answers_sha256=source.answers_sha256,
    )


def _check(budget: Budget, prefer: str, numbers: tuple[int, int], target: Target) -> None:
    """Refuse what no search can be made of.

    Raises:
        InputError: the budget has no limit on quality, the aim is none, or `numbers`, jobs and seed, are too small.
        HardwareError: what is made for the target cannot be measured on this CPU.
    """
    jobs, seed = numbers
    if this_cpu().saturates and not target.saturates:
        raise HardwareError("a search runs what it makes, and this CPU would run it wrongly", got=target.name)
    if budget.max_drop is None and all(getattr(budget, name) is None for name in LABEL_FREE):
        allowed = "max_drop, or without labels min_agreement or min_cosine"
        raise InputError("a search needs a limit on quality: without, the worst model wins", allowed=allowed)
    if prefer not in get_args(Aim):
        raise InputError("unknown aim", got=prefer, allowed=did_you_mean(prefer, get_args(Aim)))
    if seed < 0:
        raise InputError("a seed that makes no sense", got=seed, allowed="0 or more")
    if jobs < 1:
        raise InputError("a number of jobs that makes no sense", got=jobs, allowed="1 or more")


def _calibration(file: str | Path | DataFile | None, source: Source) -> tuple[Example, ...] | None:
    if file is None:
        return None
    data = file if isinstance(file, DataFile) else DataFile(file, limit=300)
    return tuple(task_over(source.signature, data).read_examples(data))
