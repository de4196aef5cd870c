"""`transformers.Trainer` with fake quantization: prepared before the optimizer is made, ranges frozen near the end."""

from collections.abc import Iterable
from typing import Any, Literal

from transformers import TrainerCallback

from octavo.errors import InputError
from octavo.qat.calibration import Batch
from octavo.qat.model import freeze, is_prepared, prepare
from octavo.schema.recipe import Recipe

SETTLE = 0.2  # of the steps, the last ones: weights are trained with ranges that stay


class Callback(TrainerCallback):
    """Prepares the model of a Trainer for int8: `Trainer(model, ..., callbacks=[Callback(batches)])`.

    It has to be given when the Trainer is made, which makes the optimizer later. The Trainer's checkpoints have what
    was learnt in them, so it resumes from them; `octavo.qat.save(trainer.model, folder, tokenizer)` writes the result.
    """

    def __init__(
        self,
        batches: Iterable[Batch],
        recipe: Recipe | None = None,
        *,
        target: str = "any",
        bits: Literal[4, 8] = 8,
        settle: float = SETTLE,
    ) -> None:
        """See `octavo.qat.prepare`; ranges are not learnt in the last `settle` of all steps."""
        self._batches, self._recipe, self._settle = list(batches), recipe, settle
        self._target, self._bits = target, bits

    def on_init_end(self, *_: Any, model: Any = None, **__: Any) -> None:
        """Calibrate, and put fake quantization into the model, unless it is there."""
        if not is_prepared(model):
            prepare(model, self._batches, self._recipe, target=self._target, bits=self._bits)

    def on_train_begin(self, *_: Any, model: Any = None, **__: Any) -> None:
        """See that the model was prepared before the optimizer was made.

        Raises:
            InputError: it was not.
        """
        if not is_prepared(_unwrapped(model)):
            then = "give it where the Trainer is made: Trainer(..., callbacks=[...])"
            raise InputError("the callback came to the Trainer too late to prepare its model", then=then)

    def on_step_begin(self, _: Any, state: Any, *__: Any, model: Any = None, **___: Any) -> None:
        """Freeze the ranges once their time is over; also in a run that was resumed."""
        if state.global_step >= (1 - self._settle) * state.max_steps:
            freeze(_unwrapped(model))


def _unwrapped(model: Any) -> Any:
    """The model behind what accelerate puts around it for several GPUs."""
    return getattr(model, "module", model)
