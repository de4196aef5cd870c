"""How a model is asked and how it answers: what a checkpoint, an artifact and a predictor have to agree on."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from octavo.errors import InputError, did_you_mean

TASKS = (
    "text-classification",
    "feature-extraction",
    "token-classification",
    "question-answering",
    "multiple-choice",
    "fill-mask",
    "text-generation",
    "text2text-generation",
)
SYNONYMS = {
    "default": "feature-extraction",
    "sequence-classification": "text-classification",
    "sentiment-analysis": "text-classification",
    "ner": "token-classification",
    "masked-lm": "fill-mask",
    "causal-lm": "text-generation",
    "seq2seq-lm": "text2text-generation",
}


PoolingMode = Literal["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]


class Step(BaseModel):
    """What is done to a pooled vector: `dense`, with weights in `folder` and torch's activation, or `normalize`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["dense", "normalize"]
    folder: str = ""
    activation: Literal["Identity", "Tanh", "ReLU", "Sigmoid"] = "Identity"


class Pooling(BaseModel):
    """How token vectors become one vector: `modes`, their results side by side, then `steps` in order.

    `dimension` is the vector's; `prompts` are names and what they put before a text, `default_prompt` is the name of
    the one in force where none is asked for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    modes: tuple[PoolingMode, ...]
    dimension: int
    steps: tuple[Step, ...] = ()
    prompts: dict[str, str] = {}
    default_prompt: str | None = None


class Signature(BaseModel):
    """How a model is asked and how it answers.

    `input_names` are the graph's inputs, int64 [batch, length]; `max_length` counts tokens, special ones included;
    `labels` stand in id order; `problem_type` is the config's (`regression`, `single_label_classification`,
    `multi_label_classification`), None where it says nothing;
    `truncation_side` is the end of a text that is cut; `pooling` is there where the answer is one vector for a text,
    `mask_token_id` where the answer is what stands behind masks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    task: str
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    max_length: int
    pad_token_id: int
    unk_token_id: int | None = None
    labels: tuple[str, ...] = ()
    problem_type: str | None = None
    truncation_side: Literal["left", "right"] = "right"
    pooling: Pooling | None = None
    mask_token_id: int | None = None

    def prompt(self, name: str | None = None) -> str:
        """What goes before every text: the prompt of that name, or the default one, which may be empty.

        Raises:
            InputError: the model has no such prompt.
        """
        prompts = self.pooling.prompts if self.pooling else {}
        name = name if name is not None or self.pooling is None else self.pooling.default_prompt
        if name is None:
            return ""
        if name not in prompts:
            allowed = did_you_mean(name, tuple(prompts)) if prompts else "none: the model has no prompts"
            raise InputError("no such prompt", got=name, allowed=allowed)
        return prompts[name]


def task_name(name: str) -> str:
    """The Hub's name of a task, for that name or an old export name.

    Raises:
        InputError: there is no such task.
    """
    name = SYNONYMS.get(name, name)
    if name not in TASKS:
        raise InputError("unknown task", got=name, allowed=did_you_mean(name, (*TASKS, *SYNONYMS)))
    return name


def require_task(found: str, asked: str | None, where: object) -> None:
    """See that a model is for the task that was asked for, where one was.

    Raises:
        InputError: it is for another one.
    """
    if asked is not None and task_name(asked) != found:
        raise InputError(
            f"this is a model for {found}, and not for {task_name(asked)}",
            where=where,
            then=f"load it as {found} (or without a task), or quantize a checkpoint that was trained for "
            f"{task_name(asked)}",
        )


def lower_limit(signature: Signature, max_length: int | None) -> Signature:
    """The signature with a lower limit.

    Raises:
        InputError: the limit is above the model's.
    """
    if max_length is None:
        return signature
    if not 1 <= max_length <= signature.max_length:
        raise InputError("max_length can only be lowered", got=max_length, allowed=f"1 to {signature.max_length}")
    return signature.model_copy(update={"max_length": max_length})
