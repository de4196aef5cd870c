"""A student trained by `transformers.Trainer` to answer as its teacher does; a run that was killed goes on."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from torch.utils.data import Subset
from transformers import EarlyStoppingCallback, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from octavo.data.json_text import read_json
from octavo.errors import MissingExtraError, OctavoError
from octavo.progress import Progress
from octavo.qat.trainer import Callback
from octavo.schema.lineage import CurvePoint
from octavo.shrinking.batches import Batches, Examination
from octavo.shrinking.losses import Lesson

LOOKS = 12  # times that a run is examined and saved
PATIENCE = 4  # examinations of the second half without a better answer, after which training ends
WARM_UP = 0.06  # of all steps; then the rate falls in a line to 0
MEASURED = 3  # batches whose time is taken before training starts
RATE = 1e-4  # of a model of WIDTH; a narrower one learns at a higher rate, a wider one at a lower: Yang et al. 2022
WIDTH = 256


@dataclass(frozen=True)
class FakeQuantization:
    """The bits of weights that a student is trained with, and batches that the ranges of activations start from."""

    bits: Literal[4, 8]
    starts: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Course:
    """A training: who teaches, on what, how fast, where it is kept until it is done, and what it rounds to."""

    teacher: Any
    lesson: Lesson
    batches: Batches
    examination: Examination
    rate: float
    seed: int
    folder: Path
    progress: Progress
    rounding: FakeQuantization | None = None


def usual_rate(config: Any) -> float:
    """The learning rate of a model by its width: of Adam's, the best one falls as 1 / width (Yang et al. 2022, muP)."""
    return float(RATE * WIDTH / config.hidden_size)


def train(student: Any, course: Course) -> tuple[CurvePoint, ...]:
    """Train a student in place: it ends as it was when held-out answers were nearest. Returns the curve.

    Kept in `course.folder`, and taken up from there: with the same student, course and number of threads the result is
    the same to the last bit on a CPU, however often it was interrupted.

    Raises:
        MissingExtraError: accelerate is not installed.
        OctavoError: the loss is not finite.
    """
    require_accelerate()
    steps, own = len(course.batches), vars(student).get("forward")
    trainer, last = _make_trainer(student, course), find_last(course.folder)
    first = course.examination.compare(student)["distance"]
    done = 0 if last is None else int(last.name.rpartition("-")[2])
    if last is not None and _has_ended(last):  # killed later: it would go on to its next look
        trainer.train_dataset, steps = Subset(course.batches, range(done)), done
    rows = [len(batch) for batch in course.batches.batches[:steps]]
    seconds = _seconds_needed(trainer, course, steps - done)
    course.progress.start(f"training: about {_told(seconds)}", total=sum(rows[done:]))
    trainer.train(resume_from_checkpoint=None if last is None else str(last))
    answer_in_float32(student, own)
    student.eval()
    return _curve(first, trainer.state.log_history)


def answer_in_float32(student: Any, own: Any) -> None:
    """Take off what accelerate put around `forward` for bf16; `own`: the forward that a task had put there before."""
    if vars(student).pop("_original_forward", None) is not None:
        del student.forward
        if own is not None:
            student.forward = own


def require_accelerate() -> None:
    """See that the Trainer can run.

    Raises:
        MissingExtraError: accelerate is not installed.
    """
    if find_spec("accelerate") is None:
        raise MissingExtraError("training needs accelerate, which is not installed", then="pip install 'octavo[train]'")


def find_last(folder: Path) -> Path | None:
    """The newest checkpoint of a Trainer that was written to its end: its state, a JSON, is what it writes last."""
    folders = {int(path.name.rpartition("-")[2]): path for path in folder.glob("checkpoint-*") if path.is_dir()}
    for step in sorted(folders, reverse=True):
        try:
            state = read_json(folders[step] / "trainer_state.json")
        except (OSError, ValueError):
            continue
        if isinstance(state, dict) and state.get("global_step") == step:
            return folders[step]
    return None


def _has_ended(checkpoint: Path) -> bool:
    """Whether a training was over when this was written, by its last step or because looks brought nothing."""
    state = read_json(checkpoint / "trainer_state.json")
    return bool(state["stateful_callbacks"]["TrainerControl"]["args"]["should_training_stop"])


def _make_trainer(student: Any, course: Course) -> Any:
    """A Trainer whose loss is a teacher's, and whose examination is the task's own."""
    arguments = _arguments(course)
    teacher = course.teacher.to(arguments.device)

    def compute_loss(model: Any, inputs: Any, *_: Any, **__: Any) -> Any:
        model.eval()  # nothing is dropped out: the teacher's answer is to these very inputs
        reads = course.batches.reads(inputs)
        with torch.no_grad():
            taught = teacher(**reads, output_hidden_states=True)
        return course.lesson.loss(model(**reads, output_hidden_states=True), taught, inputs)

    def evaluate(*_: Any, **__: Any) -> dict[str, float]:
        scores = {f"eval_{name}": value for name, value in course.examination.compare(trainer.model).items()}
        trainer.log(scores)
        trainer.control = trainer.callback_handler.on_evaluate(trainer.args, trainer.state, trainer.control, scores)
        return scores

    trainer = Trainer(
        model=student,
        args=arguments,
        train_dataset=course.batches,
        eval_dataset=course.batches,  # asked for, and not looked at: see `evaluate`
        data_collator=course.batches.collate,
        callbacks=[
            _LateStopping(PATIENCE),
            _listener(course),
            *([Callback(course.rounding.starts, bits=course.rounding.bits)] if course.rounding else []),
        ],
    )
    trainer.compute_loss, trainer.evaluate = compute_loss, evaluate
    trainer.remove_callback(PrinterCallback)  # it prints to stdout
    return trainer


class _LateStopping(EarlyStoppingCallback):
    """Ends a training that gains nothing, in its second half: while the rate is high, answers waver."""

    def on_evaluate(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        if 2 * state.global_step > state.max_steps:
            super().on_evaluate(args, state, control, **others)


def _listener(course: Course) -> Any:
    """Tells progress of each step, and ends what cannot become anything."""
    listener = TrainerCallback()

    def on_step_end(_: Any, state: Any, *__: Any, **___: Any) -> None:
        course.progress.advance(len(course.batches.batches[state.global_step - 1]))

    def on_log(_: Any, state: Any, *__: Any, logs: dict[str, float], **___: Any) -> None:
        if not math.isfinite(logs.get("grad_norm", 0.0)):
            got, then = f"step {state.global_step}", "give a lower --learning-rate"
            raise OctavoError("training ran away: a gradient is not finite", got=got, then=then)

    listener.on_step_end, listener.on_log = on_step_end, on_log
    return listener


class _Arguments(TrainingArguments):
    """Of several GPUs one is used: steps, looks and the rate are planned for one batch a step."""

    @property
    def n_gpu(self) -> int:
        """None or one."""
        count: int = super().n_gpu
        return min(1, count)


def _arguments(course: Course) -> TrainingArguments:
    steps = len(course.batches)
    every = max(1, round(steps / LOOKS))
    gpu = torch.cuda.is_available()
    return _Arguments(
        output_dir=str(course.folder),
        num_train_epochs=1,  # of batches that hold all epochs
        per_device_train_batch_size=1,  # an item is a batch
        train_sampling_strategy="sequential",
        learning_rate=course.rate,
        lr_scheduler_type="linear",
        warmup_steps=max(1, round(WARM_UP * steps)),
        weight_decay=0.0,
        use_cpu=not gpu,  # and no other accelerator: what is held out is asked on a CPU or by CUDA
        bf16=gpu and torch.cuda.is_bf16_supported() and not course.rounding,  # codes are numbers of float32
        seed=course.seed,
        eval_strategy="steps",
        eval_steps=every,
        logging_steps=every,
        save_steps=every,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="distance",
        greater_is_better=False,
        restore_callback_states_from_checkpoint=True,  # else early stopping would begin to count anew
        remove_unused_columns=False,
        dataloader_pin_memory=gpu,
        disable_tqdm=True,
        report_to="none",
    )


def _seconds_needed(trainer: Any, course: Course, steps: int) -> float:
    """About how long so many last steps take: measured on a few batches, by their tokens; nothing is learnt."""
    batches, model, times = course.batches, trainer.model, list[float]()
    optimizer = torch.optim.AdamW(
        [weight for weight in model.parameters() if weight.requires_grad], lr=0.0, weight_decay=0.0
    )
    chosen = [len(batches) * place // (MEASURED + 1) for place in range(MEASURED + 1)]
    for number in chosen:
        start = time.perf_counter()
        inputs = {name: value.to(trainer.args.device) for name, value in batches.collate([batches[number]]).items()}
        with trainer.compute_loss_context_manager():
            loss = trainer.compute_loss(model, inputs)
        loss.backward()
        optimizer.step()
        model.zero_grad()
        times.append(time.perf_counter() - start)
    tokens = [batches.tokens(number) for number in range(len(batches))]
    rate = sum(times[1:]) / max(1, sum(tokens[number] for number in chosen[1:]))  # the first one warms up
    start = time.perf_counter()
    course.examination.compare(model)
    looks = LOOKS * steps / max(1, len(batches))
    return rate * sum(tokens[len(batches) - steps :]) + looks * (time.perf_counter() - start)


def _told(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} minutes"
        if seconds < 5400
        else f"{seconds / 3600:.1f} hours"
    )


def _curve(first: float, history: Sequence[dict[str, float]]) -> tuple[CurvePoint, ...]:
    losses = {entry["step"]: entry["loss"] for entry in history if "loss" in entry}
    examined = {entry["step"]: entry["eval_distance"] for entry in history if "eval_distance" in entry}
    points = [CurvePoint(step=int(step), loss=losses.get(step), distance=examined[step]) for step in examined]
    return (CurvePoint(step=0, distance=first), *points)
