"""`octavo.distill`: a checkpoint with some of the layers of another, trained to answer as that one does.

The student is made of the teacher's own layers, so it answers in its manner before it is trained. No labels are needed.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

import numpy as np

from octavo.artifact.writing import check_free, replace_folder
from octavo.checkpoint.libraries import require_torch, silent_transformers
from octavo.checkpoint.model import load_model
from octavo.checkpoint.pooling import read_steps
from octavo.checkpoint.source import Checkpoint, Source
from octavo.data.examples import DataFile, Example
from octavo.data.json_text import read_json
from octavo.errors import DataError, InputError, OctavoWarning
from octavo.files import whole_file
from octavo.hardware import choose_threads
from octavo.metrics.estimates import share_estimate
from octavo.progress import Progress, Silent
from octavo.schema.documents import json_text
from octavo.schema.lineage import CurvePoint, Distilling, Share, SourceRecord
from octavo.shrinking.carried import told_of, write_lineage
from octavo.shrinking.layers import How, Stack, check_asked, choose_layers, find_layers
from octavo.shrinking.proof import proof_inputs
from octavo.shrinking.student import make_student, read_teacher, require_loads_same, write_student
from octavo.shrinking.texts import SplitTexts, read_texts
from octavo.shrinking.work_folder import work_folder
from octavo.tasks import find_task

if TYPE_CHECKING:
    from octavo.shrinking.batches import Batches
    from octavo.shrinking.losses import Lesson

EXAMINED = 2000  # texts held out, at most, by which a moment of the training is chosen
JUDGED = 10_000  # those, at most, that tell how near it is
LOGITS = 50_000_000  # numbers, at most, of a half of those where an answer has one for each word: 200 MB
SAMPLE = 64  # units that layers are chosen with
ROUNDED = 1 / 10  # of the usual rate, where all layers stay and only the rounding of int8 is to be learnt
CHOSEN = "layers.json"  # in the work folder: which layers stay
PROVED = 8  # texts to which a student answers the same when it is loaded


@dataclass(frozen=True)
class Distilled:
    """A checkpoint that was written: its folder, and what was done."""

    folder: Path
    record: Distilling


@dataclass(frozen=True)
class StudentSettings:
    """How a student is to be made; see `distill`. It decides, with the checkpoint and the texts, what comes out."""

    layers: int | tuple[int, ...]
    ffn: int | None
    epochs: int
    batch_size: int
    learning_rate: float | None
    temperature: float
    use_labels: bool
    seed: int
    int8: bool
    int4: bool

    @property
    def weight_bits(self) -> Literal[4, 8] | None:
        """Of the weights that it is trained with; None without rounding."""
        return 4 if self.int4 else 8 if self.int8 else None


@dataclass(frozen=True)
class Place:
    """Where a training is kept until it is done, where its result goes, and who hears of it."""

    work: Path
    output: Path
    force: bool
    progress: Progress


@dataclass(frozen=True)
class Parts:
    """The texts that are learnt from, those that choose a moment of the training, and those that judge it."""

    learnt: list[Example]
    choosing: list[Example]
    telling: list[Example]


@dataclass(frozen=True)
class ChosenLayers:
    """The layers that stay, how they were found, and their loss untrained where that was measured."""

    layers: tuple[int, ...]
    how: How
    untrained: float | None


@dataclass(frozen=True)
class Learnt:
    """What came of a training; `before`: how many layers the teacher has, and units in each, where some of these go."""

    chosen: ChosenLayers
    before: tuple[int, int | None]
    rate: float
    curve: tuple[CurvePoint, ...]
    fidelity: dict[str, float]


def distill(  # noqa: PLR0913 - each is one thing to say
    checkpoint: str | Path | Checkpoint,
    output: str | Path,
    *,
    data: str | Path | DataFile | Sequence[str | Path | DataFile],
    layers: int | Sequence[int],
    ffn: int | None = None,
    epochs: int = 3,
    batch_size: int = 32,
    learning_rate: float | None = None,
    temperature: float = 2.0,
    use_labels: bool = False,
    seed: int = 0,
    int8: bool = False,
    int4: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> Distilled:
    """Make an encoder with fewer layers answer as it did with all of them.

    A run that was interrupted goes on when it is called again in the same way: what it has is kept in `OUTPUT.training`
    until it is done. On a CPU the same call gives the same weights to the last bit, interrupted or not, where versions
    and the number of threads are the same.

    Args:
        checkpoint: a Hugging Face folder or a hub id of an encoder; a `Checkpoint` says what its files do not tell.
        output: the folder to write: a checkpoint, for `quantize` and for transformers.
        data: files of examples, as the task reads them; labels are not needed. One text of ten is held out: one half
            of these chooses the best moment of the training, the other tells how near the student is.
        layers: how many stay, which are then chosen by the loss before training, or their numbers from 0.
        ffn: the units of each layer's feed-forward part that stay; all by default. With it all layers may stay.
        epochs: how often each text is learnt from, at most.
        batch_size: texts of a step.
        learning_rate: of AdamW at its highest; by default 1e-4 at a width of 256, falling as 1 / width.
        temperature: that both answers are softened by before they are compared.
        use_labels: learn from the labels of the texts too; rows without one are left out then.
        seed: of the order of the texts.
        int8: train it with the rounding of static int8, for any CPU, and learn the ranges of activations, which
            `quantize` takes. All of the layers may stay then.
        int4: the same with weights of 4 bits; those of heads and tables keep 8, and products are those of int8. Not
            together with `int8`.
        force: replace a checkpoint that this wrote.
        progress: hears of every step.

    Raises:
        OctavoError: see `octavo.errors` for the kinds.
    """
    chosen = layers if isinstance(layers, int) else tuple(layers)
    asked = StudentSettings(chosen, ffn, epochs, batch_size, learning_rate, temperature, use_labels, seed, int8, int4)
    place, progress = Path(output).resolve(), progress or Silent()
    _check(asked)
    check_free(place, force=force)
    files = [data] if isinstance(data, str | Path | DataFile) else list(data)
    progress.start("reading the checkpoint")
    source = read_teacher(checkpoint)
    progress.start("reading the texts")
    data_files = [file if isinstance(file, DataFile) else DataFile(file) for file in files]
    labels = source.signature.labels if use_labels else ()
    texts = read_texts(data_files, find_task(source.signature), labels)
    settings = {
        "teacher": source.answers_sha256,
        "texts": texts.sha256,
        "data": [[file.sha256, file.rows] for file in texts.files],
    } | asdict(asked)
    settings |= {name: version(name) for name in ("octavo", "torch", "transformers")}
    with work_folder(place, settings) as folder, silent_transformers(require_torch()[1]):
        return _distill(source, texts, asked, Place(folder, place, force, progress))


def _check(asked: StudentSettings) -> None:
    """See that the numbers are possible, as far as they tell by themselves.

    Raises:
        InputError: one is not.
    """
    for option, value, allowed, fits in (
        ("--epochs", asked.epochs, "1 or more", asked.epochs >= 1),
        ("--batch-size", asked.batch_size, "1 or more", asked.batch_size >= 1),
        ("--learning-rate", asked.learning_rate, "above 0", asked.learning_rate is None or asked.learning_rate > 0),
        ("--temperature", asked.temperature, "above 0", asked.temperature > 0),
        ("--seed", asked.seed, "0 or more", 0 <= asked.seed < 2**32),
    ):
        if not fits:
            raise InputError(f"{option} is out of range", got=value, allowed=allowed)
    if asked.int8 and asked.int4:
        raise InputError("weights are trained for 8 or 4 bits", got="--int8 --int4", then="leave one of them out")


def _distill(source: Source, texts: SplitTexts, asked: StudentSettings, place: Place) -> Distilled:
    """Choose the layers, train, and write what came out where it answers the same when it is loaded."""
    import torch

    from octavo.shrinking.batches import Examination, starting_batches
    from octavo.shrinking.training import Course, FakeQuantization, train, usual_rate
    from octavo.shrinking.widths import check_width, narrow

    torch.set_num_threads(choose_threads(None))
    teacher = load_model(source)
    stack = find_layers(teacher, source)
    bits, all_layers = asked.weight_bits, (len(stack.layers), tuple(range(len(stack.layers))))
    whole = bits is not None and asked.ffn is None and asked.layers in all_layers
    check_asked(asked.layers, stack, narrower=asked.ffn is not None or whole)
    width = None if asked.ffn is None else check_width(asked.ffn, stack)
    most = LOGITS // source.config["vocab_size"] if find_task(source.signature).fills else JUDGED
    parts = split_texts(texts, max(most, SAMPLE))
    batches, lesson, chosen = _prepare(source, parts.learnt, asked, stack, place)
    rounding = None if bits is None else FakeQuantization(bits, starting_batches(batches))
    student, inputs = make_student(source, chosen.layers), proof_inputs(source, parts.learnt)[:PROVED]
    if asked.ffn is not None:
        narrow(find_layers(student, source), asked.ffn, [batches.reads(batch) for batch in batches.sample(SAMPLE)])
    with TemporaryDirectory(dir=place.work) as box:
        require_loads_same(student, write_student(student, source, Path(box)), inputs)
    place.progress.start("asking the model about texts held out")
    examination = Examination(source, parts.choosing, teacher)
    rate = asked.learning_rate or usual_rate(student.config) * (ROUNDED if whole and bits == 8 else 1)
    course = Course(teacher, lesson, batches, examination, rate, asked.seed, place.work, place.progress, rounding)
    curve = train(student, course)
    if min(point.distance for point in curve[1:]) >= curve[0].distance:
        what = "training brought nothing: held-out answers are no nearer than before; next: give more texts or --epochs"
        warnings.warn(what, OctavoWarning, stacklevel=3)
    place.progress.start("writing the checkpoint")
    fidelity = Examination(source, parts.telling, teacher).compare(student)
    learnt = Learnt(chosen, (len(stack.layers), width), rate, curve, fidelity)
    with replace_folder(place.output, force=place.force) as aside, told_of(aside, place.output):
        written = write_student(student, source, aside)
        require_loads_same(student, written, inputs)
        record = _describe(source, texts, asked, parts, learnt, written.bytes)
        write_lineage(source, record, aside)
    return Distilled(place.output, record)


def _describe(
    source: Source, texts: SplitTexts, asked: StudentSettings, parts: Parts, learnt: Learnt, size: int
) -> Distilling:
    layers_before, ffn_before = learnt.before
    return Distilling(
        version=version("octavo"),
        source=SourceRecord(name=source.name, dtype=source.weights.dtype, bytes=source.bytes, sha256=source.sha256),
        layers_before=layers_before,
        layers=learnt.chosen.layers,
        chosen=learnt.chosen.how,
        untrained=learnt.chosen.untrained,
        ffn_before=ffn_before,
        ffn=asked.ffn,
        epochs=asked.epochs,
        batch_size=asked.batch_size,
        learning_rate=learnt.rate,
        temperature=asked.temperature,
        use_labels=asked.use_labels,
        seed=asked.seed,
        int8=asked.int8,
        int4=asked.int4,
        data=texts.files,
        trained=len(parts.learnt),
        held_out=len(parts.choosing) + len(parts.telling),
        judged=len(parts.telling),
        curve=learnt.curve,
        fidelity=learnt.fidelity,
        agreement=_share(learnt.fidelity.get("agreement"), len(parts.telling)),
        bytes_before=source.bytes,
        bytes=size,
    )


def _share(value: float | None, count: int) -> Share | None:
    if value is None:
        return None
    estimate = share_estimate(round(value * count), count)
    return Share(value=estimate.value, low=estimate.low, high=estimate.high)


def split_texts(texts: SplitTexts, most: int) -> Parts:
    """The texts that are learnt, and two halves of those held out, drawn by their hash; `most`: of each, at most.

    What is held out and not needed is learnt.

    Raises:
        DataError: a half is empty.
    """
    rows = sorted(range(len(texts.examples)), key=lambda row: int(texts.draw[row]))
    halves = [[row for row in rows if texts.held_out[row] and texts.draw[row] % 2 == odd] for odd in (1, 0)]
    choosing, telling = (half[: min(cap, most)] for half, cap in zip(halves, (EXAMINED, JUDGED), strict=True))
    if not choosing or not telling:
        different = len(np.unique(texts.draw))  # those that share a text are on one side
        raise DataError("too few texts: some are held out", got=different, then="give some thousand of yours")
    drawn = {int(texts.draw[row]) for row in (*choosing, *telling)}
    learnt = [example for example, draw in zip(texts.examples, texts.draw, strict=True) if int(draw) not in drawn]
    return Parts(learnt, *([texts.examples[row] for row in half] for half in (choosing, telling)))


def _prepare(
    source: Source, learnt: Sequence[Example], asked: StudentSettings, stack: Stack, place: Place
) -> tuple[Batches, Lesson, ChosenLayers]:
    """The batches of all epochs, the lesson, and the layers that stay."""
    from octavo.shrinking.batches import Batches, make_units, plan
    from octavo.shrinking.losses import make_lesson

    if asked.use_labels and not find_task(source.signature).takes_labels:
        raise InputError("labels of this task are not learnt from", got=source.signature.task, then="no --use-labels")
    units = make_units(source, learnt)
    batches = Batches(source, units, plan(units, asked.batch_size, asked.epochs, asked.seed), asked.seed)
    steps = read_steps(source.folder, source.signature.pooling) if source.signature.pooling else {}
    lesson = make_lesson(source.signature, steps, temperature=asked.temperature, use_labels=asked.use_labels)
    place.progress.start("choosing layers")
    file = place.work / CHOSEN
    if file.exists():  # by a run that was interrupted: measured again, a near tie could end otherwise
        stored = read_json(file)
        chosen = ChosenLayers(tuple(stored["layers"]), stored["how"], stored["untrained"])
    else:
        chosen = _choose(asked.layers, stack, batches, lesson)
        with whole_file(file) as stream:
            stream.write(json_text(asdict(chosen), indent=1) + "\n")
    return batches, lesson.of_layers(chosen.layers, len(stack.layers)), chosen


def _choose(asked: int | tuple[int, ...], stack: Stack, batches: Batches, lesson: Lesson) -> ChosenLayers:
    """The layers that were asked for, or so many of them by the loss before training; the teacher stays whole."""
    if not isinstance(asked, int) or asked == len(stack.layers):
        return ChosenLayers(tuple(range(asked)) if isinstance(asked, int) else asked, "asked", None)
    import torch

    sample = batches.sample(SAMPLE)
    with torch.inference_mode():
        taught = [stack.model(**batches.reads(batch)) for batch in sample]

        def loss() -> float:
            learnt = (stack.model(**batches.reads(batch)) for batch in sample)
            losses = [lesson.answer_loss(*three) for three in zip(learnt, taught, sample, strict=True)]
            return float(sum(losses)) / len(losses)

        layers, how, least = choose_layers(stack, asked, loss)
    stack.keep(range(len(stack.layers)))
    return ChosenLayers(layers, how, least if math.isfinite(least) else None)
