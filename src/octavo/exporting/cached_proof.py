"""A model that writes to float graphs with a cache, proved against torch: prompts, padded ones, token by token."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from octavo.engines.cache import PAST, PRESENT
from octavo.errors import ExportError, OctavoError, OctavoWarning
from octavo.exporting.opsets import OpsetError
from octavo.exporting.proof import LoadAgain, Proved, newest_opset, open_checked, optimize_checked
from octavo.exporting.reference import (
    describe_agreement,
    require_near,
    require_stateless,
    sizes_in,
    threshold_lengths,
)
from octavo.progress import Progress
from octavo.schema.manifest import PassRecord
from octavo.schema.recipe import Recipe
from octavo.schema.signature import Signature
from octavo.tasks import find_task

if TYPE_CHECKING:
    import onnx_ir as ir

    from octavo.engines.onnxruntime_writer import OnnxWriter

LONGEST = 512  # tokens that are compared in any case: logits of all of them are made
MOST_LOGITS = 2**28  # of a text that is compared because of a size in the config
AHEAD = (1, 3)  # tokens that are read after the prompt, in two steps
SHAPES = ((1,), (12,), (9, 7, 4))  # tokens of each row of a batch
Graphs = dict[str, "ir.Model"]


@dataclass(frozen=True)
class Text:
    """What torch answered to a batch that a model goes on with.

    `ids` and `mask` [rows, length] are read first (by the encoder, where there is one), then `start` by a decoder
    behind it, then each of `ahead`; `logits` [rows, steps, vocabulary] are those of the next token behind each.
    """

    ids: NDArray[np.int64]
    mask: NDArray[np.int64]
    start: NDArray[np.int64]
    ahead: tuple[NDArray[np.int64], ...]
    logits: NDArray[np.float32]
    largest: float
    shape: str


def export_writer(
    reference: Any, load_again: LoadAgain, signature: Signature, recipe: Recipe, progress: Progress
) -> Proved:
    """The float graphs of a model that writes; their components are `model`, or `encoder` and `decoder`.

    `reference` is asked and `load_again` gives what is exported: see `proof.export_checked`.

    Raises:
        ExportError: no opset gives graphs that run and agree with torch.
    """
    from octavo.engines.onnxruntime_writer import OnnxWriter
    from octavo.exporting.cached import export_answering_decoder, export_decoder, export_encoder

    answers = find_task(signature).is_encoder_decoder
    texts, config = ask_writer(reference, signature), reference.config.to_dict()

    def attempt(opset: int) -> tuple[Graphs, dict[str, float], list[PassRecord]]:
        batches = [_ids(reference, lengths, left=False) for lengths in SHAPES[1:]]
        read = [{"input_ids": ids, "attention_mask": mask} for ids, mask in batches]
        if not answers:
            graph = export_decoder(load_again(), opset)
            passes = optimize_checked(graph, read, recipe, progress)
            return {"model": graph}, _compare(OnnxWriter(open_checked(graph)), texts, config), passes
        decoder = export_answering_decoder(load_again(), opset)  # first: where an opset does not do, it fails here
        encoder = export_encoder(load_again(), opset)
        passes = _prefixed("encoder", optimize_checked(encoder, read, recipe, progress))
        session = open_checked(encoder)
        answered = [_encode(session, batch) | {"input_ids": batch["input_ids"][:, :3]} for batch in read]
        passes += _prefixed("decoder", optimize_checked(decoder, answered, recipe, progress))
        writer = OnnxWriter(open_checked(decoder), open_checked(encoder))
        return {"encoder": encoder, "decoder": decoder}, _compare(writer, texts, config), passes

    return newest_opset(attempt, recipe, progress)


def _prefixed(component: str, passes: Sequence[PassRecord]) -> list[PassRecord]:
    return [record.model_copy(update={"name": f"{component}: {record.name}"}) for record in passes]


def _encode(encoder: Any, batch: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The inputs that a decoder takes from its encoder."""
    names = [PAST + name.removeprefix(PRESENT) for name in encoder.outputs]
    values = encoder.fetch(batch, encoder.outputs)
    return dict(zip(names, values, strict=True)) | {"encoder_attention_mask": batch["attention_mask"]}


def _ids(model: Any, lengths: Sequence[int], *, left: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Random tokens in rows of these lengths and their mask, padded on one side to the longest."""
    generator = np.random.default_rng(sum(lengths) + len(lengths))
    longest = max(lengths)
    ids = generator.integers(0, model.config.vocab_size, (len(lengths), longest))
    mask = np.zeros_like(ids)
    for row, length in enumerate(lengths):
        mask[row, longest - length if left else 0 : longest if left else length] = 1
    return ids * mask, mask


def ask_writer(model: Any, signature: Signature) -> list[Text]:
    """Torch's logits without a cache: behind a prompt and behind more tokens, on both sides of each size in the config.

    Raises:
        ExportError: torch cannot run a text, or answers with what depends on what it was asked before.
    """
    config, most = model.config.to_dict(), MOST_LOGITS // model.config.vocab_size
    limit = signature.max_length
    ends = threshold_lengths(config, min(limit, most))  # of all tokens that are read
    longest = min(max(LONGEST, *ends, 0), limit)
    unseen = {name: sizes for name, sizes in sizes_in(config, limit).items() if sizes[-1] >= longest}
    if unseen:
        named = ", ".join(f"{name} {sizes[-1]}" for name, sizes in unseen.items())
        warnings.warn(
            f"texts of more than {longest} tokens are not compared with torch, and config.json has {named}",
            OctavoWarning,
            stacklevel=2,
        )
    ends = [end - sum(AHEAD) for end in (*ends, longest) if end > sum(AHEAD)] or [1]
    small = [tuple(min(length, ends[-1]) for length in rows) for rows in SHAPES]
    batches = list(dict.fromkeys((*small, *((end,) for end in ends))))
    texts = {lengths: _ask(model, lengths, signature) for lengths in sorted(batches, key=max, reverse=True)}
    first = next(iter(texts))
    require_stateless(model, texts[first].logits, _ask(model, first, signature).logits, texts[first].shape)
    return [texts[lengths] for lengths in batches]


def _ask(model: Any, lengths: Sequence[int], signature: Signature) -> Text:
    """A batch of random texts, and what torch answers to each of them alone."""
    task = find_task(signature)
    answers = task.is_encoder_decoder  # an encoder's positions begin where its padding does
    ids, mask = _ids(model, lengths, left=not answers)
    generator = np.random.default_rng(1)
    ahead = tuple(generator.integers(0, model.config.vocab_size, (len(lengths), count)) for count in AHEAD)
    start = np.full((len(lengths), 1), task.generation.decoder_start_token_id or 0, np.int64)
    shape = f"{len(lengths)} x {max(lengths)}{', padded' if len(lengths) > 1 else ''}, then {AHEAD[0]} and {AHEAD[1]}"
    logits, largest = [], 0.0
    for row in range(len(lengths)):
        own = ids[row][mask[row] != 0][None]
        more = np.concatenate([tokens[row : row + 1] for tokens in ahead], axis=1)
        reads = np.concatenate([start[:1] if answers else own, more], axis=1)
        try:
            expected = _torch_logits(model, own if answers else None, reads)
        except OctavoError as error:
            raise ExportError(f"a run at {shape} failed", got=error) from None
        logits.append(expected[[reads.shape[1] - 1 - sum(AHEAD[count:]) for count in range(len(AHEAD) + 1)]])
        largest = max(largest, float(np.abs(expected).max()))
    return Text(ids, mask, start, ahead, np.stack(logits), largest, shape)


def _compare(writer: OnnxWriter, texts: Sequence[Text], config: dict[str, Any]) -> dict[str, float]:
    """The largest difference of logits from torch's, by shape.

    Raises:
        ExportError: a shape fails or differs by more than the tolerance; the message names it.
    """
    differences, agreed = dict[str, float](), 0
    for text in texts:
        try:
            steps = writer.begin(text.ids, text.mask, text.start)
            actual = [steps.advance(tokens) for tokens in (np.empty((len(text.ids), 0), np.int64), *text.ahead)]
        except OctavoError as error:
            raise OpsetError(f"a run at {text.shape} failed", got=error) from None
        difference, length = float(np.abs(np.stack(actual, axis=1) - text.logits).max()), text.ids.shape[1]
        require_near(difference, text.largest, text.shape, describe_agreement(agreed, length, config))
        differences[text.shape], agreed = difference, max(agreed, length)
    return differences


def _torch_logits(model: Any, text: NDArray[np.int64] | None, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    """Torch's logits [tokens, vocabulary] of one row, without a cache; `text` is what an encoder reads."""
    from octavo.engines.torch import TorchSession

    inputs = {"input_ids": ids} if text is None else {"input_ids": text, "decoder_input_ids": ids}
    logits: NDArray[np.float32] = TorchSession(model).run(inputs)[0]
    return logits
