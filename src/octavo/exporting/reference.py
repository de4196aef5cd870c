"""What a checkpoint's model answers in torch: asked before the export, of an object that no export touches.

A model may compute otherwise above some length (BigBird attends to blocks, longrope has other factors), and may keep
what a length set (BigBird attends to everything for good after one short text). So it is asked on both sides of every
size in its config, the longest text first, and that one again at the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.engines import Session
from octavo.errors import ExportError, OctavoError
from octavo.exporting.numpy_reference import NumpyReference
from octavo.exporting.opsets import OpsetError
from octavo.exporting.tracing import end_token
from octavo.schema.signature import Signature

TOLERANCE = 1e-4  # of the largest torch output, or of 1 where that is smaller; float32 sums in another order give 1e-6
PADDING = 1e-4  # likewise, of a padded row's answer and that of the row alone, in torch
_SIZES = re.compile(r"block|window|chunk|bucket|segment|local|span|distance|stride|original_max_position")
_TABLES = {"id2label", "label2id", "task_specific_params"}  # keys of the user's
MOST_SIZES = 4  # of a config that are looked at: the smallest, the largest, and between them
WIDE = 1024  # tokens above which such a batch has one row
MOST_NUMBERS = 2**24  # of a batch's outputs that are kept and compared: all, or those of tokens spread over the text


@dataclass(frozen=True)
class Answer:
    """What a reference answered to a batch; `shape` is what the batch is called."""

    inputs: dict[str, NDArray[np.int64]]
    outputs: NDArray[np.float32]
    shape: str


def ask_reference(model: Any, signature: Signature) -> list[Answer]:
    """A model's answers at all shapes that are compared.

    Raises:
        ExportError: torch cannot run a shape, or answers with NaN, or with what depends on what it was asked before.
    """
    from octavo.engines.torch import TorchSession

    session = TorchSession(model)
    answers = ask(session, signature, model.config.to_dict())
    longest = max(answers, key=lambda answer: answer.inputs["input_ids"].shape[1])
    require_stateless(model, longest.outputs, run(session, longest.inputs)[0], longest.shape)
    _require_padding_unseen(session, answers, f"{model.config.model_type} models ({type(model).__name__})")
    return answers


def padding_effect(session: Session, inputs: Mapping[str, NDArray[np.int64]], outputs: NDArray[np.float32]) -> float:
    """How far the answer to a batch's last row, of its real tokens, lies from that to the row run alone."""
    length = int(inputs["attention_mask"][-1].sum())
    alone = session.run({name: array[-1:, :length] for name, array in inputs.items()})
    return float(np.max(np.abs(alone[0] - outputs[-1][: len(alone[0])])))


def _require_padding_unseen(session: Session, answers: Sequence[Answer], kind: str) -> None:
    """Check that a model answers a padded text as it answers it alone.

    Raises:
        ExportError: it does not, so that its answers depend on what stands beside a text.
    """
    padded = next((row for row in answers if len(row.outputs) > 1 and not row.inputs["attention_mask"].all()), None)
    if padded is None:
        return
    difference = padding_effect(session, padded.inputs, padded.outputs)
    allowed = PADDING * max(1.0, float(np.max(np.abs(padded.outputs))))
    if not difference <= allowed:
        what = f"padding changes what {kind} answer, in {session.name} too, so that a text has no one answer"
        raise ExportError(what, got=f"{difference:.2g} at {padded.shape}", allowed=f"{allowed:.2g}")


def ask(session: Session, signature: Signature, config: Mapping[str, Any]) -> list[Answer]:
    """A session's answers at all shapes that are compared, the longest asked first.

    Raises:
        ExportError: it cannot run a shape, or answers with NaN.
    """
    batches = _batches(signature, config)
    answers = {}
    for shape in sorted(batches, key=lambda shape: (-shape[1], shape[0])):
        outputs, name = run(session, batches[shape])
        answers[shape] = _answer(batches[shape], outputs, name, session.name)
    return [answers[shape] for shape in batches]


def ask_at_once(session: NumpyReference, signature: Signature, config: Mapping[str, Any]) -> list[Answer]:
    """The answers of the model in numpy, at the same shapes; it keeps nothing from one batch to the next.

    Raises:
        ExportError: it answers with NaN.
    """
    batches = list(_batches(signature, config).values())
    outputs = session.run_all(batches)
    return [
        _answer(batch, _spread(output), _shape_of(batch), session.name)
        for batch, output in zip(batches, outputs, strict=True)
    ]


def _batches(signature: Signature, config: Mapping[str, Any]) -> dict[tuple[int, int], dict[str, NDArray[np.int64]]]:
    return {
        (rows, length): probe(signature, rows, length, config) for rows, length in shapes(config, signature.max_length)
    }


def _answer(batch: dict[str, NDArray[np.int64]], outputs: NDArray[np.float32], shape: str, of: str) -> Answer:
    if not np.isfinite(outputs).all():
        raise ExportError(f"{of} answers with values that are not finite", got=f"a run at {shape}")
    return Answer(batch, outputs, shape)


def shapes(config: Mapping[str, Any], longest: int) -> list[tuple[int, int]]:
    """The shapes that are compared, (rows, length): small ones, both sides of each size in the config, the longest."""
    lengths = threshold_lengths(config, longest)
    more = [(2 if length <= WIDE else 1, length) for length in lengths]
    small = [(1, 1), (1, min(12, longest)), (3, min(9, longest))]
    return list(dict.fromkeys((*small, *more, (1, longest))))


def threshold_lengths(config: Mapping[str, Any], longest: int) -> list[int]:
    """Lengths on both sides of the sizes in a config, of twice as much, and just below the limit; none without sizes.

    A window of n tokens may reach n to one side, or n/2 to both.
    """
    sizes = sorted({size for values in sizes_in(config, longest).values() for size in values})
    spread = sorted({round(place) for place in np.linspace(0, len(sizes) - 1, MOST_SIZES)}) if sizes else []
    sizes = [sizes[index] for index in spread]
    lengths = {length for size in sizes for length in (size, size + 1, 2 * size + 1) if length < longest}
    return sorted({*lengths, longest - 1} if sizes and longest <= WIDE else lengths)


def sizes_in(config: Mapping[str, Any], longest: int) -> dict[str, list[int]]:
    """The settings by which a model may compute otherwise from some length on: name -> sizes from 2 to the limit."""
    settings: dict[str, list[int]] = {}
    for name, values in _numbers(config):
        sizes = sorted({value for value in values if type(value) is int and 1 < value < longest})
        if sizes and _SIZES.search(name):
            settings[name] = sizes
    return settings


def _numbers(config: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    """The settings of a config and of the tables in it, each as a list."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            if name not in _TABLES:
                yield from _numbers(value)
        else:
            yield str(name), list(value) if isinstance(value, list | tuple) else [value]


def describe_sizes(config: Mapping[str, Any]) -> str:
    """The sizes in a config, as an error tells them."""
    settings = sizes_in(config, longest=2**31)
    return ", ".join(f"{name} {' '.join(map(str, sizes))}" for name, sizes in settings.items()) or "no size"


def describe_agreement(agreed: int, length: int, config: Mapping[str, Any]) -> str:
    """What to do where a graph agrees with torch on texts of up to `agreed` tokens, and not on those of `length`."""
    if not 0 < agreed < length:
        return ""
    return (
        f"lower model_max_length in tokenizer_config.json, as they agree up to {agreed} tokens (config.json has "
        f"{describe_sizes(config)})"
    )


def require_stateless(model: Any, before: NDArray[np.float32], after: NDArray[np.float32], shape: str) -> None:
    """Check that a model answers the longest text after shorter ones as it did before them.

    Raises:
        ExportError: it does not, so that no graph computes what it does.
    """
    difference = float(np.max(np.abs(after - before)))
    if not difference <= TOLERANCE * max(1.0, float(np.max(np.abs(before)))):
        config = model.config.to_dict()
        full = ' (attention_type "original_full")' if config.get("attention_type") == "block_sparse" else ""
        raise ExportError(
            f"{type(model).__name__} answers a text otherwise after shorter ones, which a graph cannot express",
            got=f"{difference:.2g} at {shape}, and {describe_sizes(config)} in config.json",
            then=f"make it compute all lengths alike in config.json{full}, or lower model_max_length in "
            "tokenizer_config.json to where it does",
        )


def require_near(difference: float, largest: float, shape: str, then: str = "", *, of: str = "torch") -> float:
    """Check that a graph's outputs differ from the reference's, whose largest is given, by no more than is returned.

    `then` is what to do where they do, `of` the name of the reference.

    Raises:
        ExportError: they do; the message names the shape.
    """
    allowed = TOLERANCE * max(1.0, largest)
    if not difference <= allowed:
        what = f"the exported graph differs from {of} at {shape}"
        raise OpsetError(what, got=f"{difference:.2g}", allowed=f"{allowed:.2g}", then=then or None)
    return allowed


def run(session: Session, batch: Mapping[str, NDArray[Any]]) -> tuple[NDArray[np.float32], str]:
    """The answer to a batch, and how its shape is called.

    Raises:
        ExportError: the run fails; the message names the shape.
    """
    shape = _shape_of(batch)
    try:
        return _spread(session.run(dict(batch))), shape
    except OctavoError as error:
        kind = OpsetError if session.name == "onnxruntime" else ExportError
        raise kind(f"a run at {shape} failed", got=error) from None


def _shape_of(batch: Mapping[str, NDArray[Any]]) -> str:
    rows, length = batch["input_ids"].shape
    mask = batch.get("attention_mask")
    padded = rows > 1 and (mask is None or not mask.all())
    return f"{rows} x {length}" + (", padded" if padded else "")


def _spread(outputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Outputs [rows, ...], or [rows, length, k] at tokens spread over the text where they would fill the memory."""
    if outputs.size <= MOST_NUMBERS or outputs.ndim != 3:
        return outputs
    length = outputs.shape[1]
    return outputs[:, np.linspace(0, length - 1, max(2, length * MOST_NUMBERS // outputs.size)).astype(int)]


def probe(signature: Signature, rows: int, length: int, config: Mapping[str, Any]) -> dict[str, NDArray[np.int64]]:
    """Inputs of a shape, the same for the same arguments; each row but the first is padded a little more.

    Not where padding changes the answers. Each has the end token that a classifier with a decoder needs.
    """
    generator, vocabulary = np.random.default_rng(rows * 1000 + length), config["vocab_size"]
    ids = generator.integers(0, vocabulary, (rows, length))
    ids[ids == signature.pad_token_id] = (signature.pad_token_id + 1) % vocabulary
    if (end := end_token(config, signature.task)) is not None:
        ids[ids == end] = next(token for token in range(vocabulary) if token not in {end, signature.pad_token_id})
    mask, types = np.ones((rows, length), np.int64), np.zeros((rows, length), np.int64)
    types[:, length // 2 :] = 1
    for row in range(1, 1 if signature.exact_lengths else rows):
        mask[row, max(1, length - 2 * row) :] = 0
    if end is not None:
        ids[np.arange(rows), mask.sum(axis=1) - 1] = end
    ids[mask == 0] = signature.pad_token_id
    types[mask == 0] = 0
    arrays = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    return {name: arrays[name] for name in signature.input_names}
