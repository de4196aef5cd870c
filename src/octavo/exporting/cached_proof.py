"""A model that writes to float graphs with a cache, proved against torch: prompts, padded ones, token by token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from octavo.engines.cache import PAST, PRESENT
from octavo.errors import OctavoError
from octavo.exporting.opsets import OpsetError
from octavo.exporting.proof import Proved, newest_opset, open_checked, optimize_checked, require_near
from octavo.progress import Progress
from octavo.schema.manifest import PassRecord
from octavo.schema.recipe import Recipe
from octavo.schema.signature import Signature
from octavo.tasks import find_task

if TYPE_CHECKING:
    import onnx_ir as ir

    from octavo.engines.onnxruntime_writer import OnnxWriter

LONGEST = 512  # tokens that are compared: logits of all of them are made
AHEAD = (1, 3)  # tokens that are read after the prompt, in two steps
SHAPES = ((1,), (12,), (9, 7, 4))  # tokens of each row of a batch
Graphs = dict[str, "ir.Model"]


def export_writer(model: Any, signature: Signature, recipe: Recipe, progress: Progress) -> Proved:
    """The float graphs of a model that writes; their components are `model`, or `encoder` and `decoder`.

    Raises:
        ExportError: no opset gives graphs that run and agree with torch.
    """
    from octavo.engines.onnxruntime_writer import OnnxWriter
    from octavo.exporting.cached import export_answering_decoder, export_decoder, export_encoder

    answers = find_task(signature).is_encoder_decoder

    def attempt(opset: int) -> tuple[Graphs, dict[str, float], list[PassRecord]]:
        batches = [_ids(model, lengths, left=False) for lengths in SHAPES[1:]]
        read = [{"input_ids": ids, "attention_mask": mask} for ids, mask in batches]
        if not answers:
            graph = export_decoder(model, opset)
            passes = optimize_checked(graph, read, recipe, progress)
            return {"model": graph}, _compare(model, OnnxWriter(open_checked(graph)), signature), passes
        encoder, decoder = export_encoder(model, opset), export_answering_decoder(model, opset)
        passes = _prefixed("encoder", optimize_checked(encoder, read, recipe, progress))
        session = open_checked(encoder)
        answered = [_encode(session, batch) | {"input_ids": batch["input_ids"][:, :3]} for batch in read]
        passes += _prefixed("decoder", optimize_checked(decoder, answered, recipe, progress))
        writer = OnnxWriter(open_checked(decoder), open_checked(encoder))
        return {"encoder": encoder, "decoder": decoder}, _compare(model, writer, signature), passes

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


def _compare(model: Any, writer: OnnxWriter, signature: Signature) -> dict[str, float]:
    """The largest difference of logits from torch's without a cache, by shape: behind a prompt and behind more tokens.

    Raises:
        ExportError: a shape fails or differs by more than the tolerance; the message names it.
    """
    longest = min(LONGEST, signature.max_length) - sum(AHEAD)
    differences = {}
    for lengths in (*SHAPES, (longest,)):
        rows = [min(length, longest) for length in lengths]
        shape = f"{len(rows)} x {max(rows)}{', padded' if len(rows) > 1 else ''}, then {' and '.join(map(str, AHEAD))}"
        try:
            difference, largest = _difference(model, writer, rows, signature)
        except OctavoError as error:
            raise OpsetError(f"a run at {shape} failed", got=error) from None
        require_near(difference, largest, shape)
        differences[shape] = difference
    return differences


def _difference(model: Any, writer: OnnxWriter, lengths: Sequence[int], signature: Signature) -> tuple[float, float]:
    """The largest difference of a batch's logits, and the largest of torch's logits."""
    answers = find_task(signature).is_encoder_decoder  # an encoder's positions begin where its padding does
    ids, mask = _ids(model, lengths, left=not answers)
    generator = np.random.default_rng(1)
    ahead = [generator.integers(0, model.config.vocab_size, (len(lengths), count)) for count in AHEAD]
    start = signature.generation.decoder_start_token_id if signature.generation else None
    prompts = np.full((len(lengths), 1), start or 0, np.int64)
    steps = writer.begin(ids, mask, prompts)
    actual = [steps.advance(np.empty((len(lengths), 0), np.int64)), *(steps.advance(tokens) for tokens in ahead)]
    worst = largest = 0.0
    for row in range(len(lengths)):
        own = ids[row][mask[row] != 0][None]
        more = np.concatenate([tokens[row : row + 1] for tokens in ahead], axis=1)
        reads = np.concatenate([prompts[:1] if answers else own, more], axis=1)
        expected = _torch_logits(model, own if answers else None, reads)
        positions = [reads.shape[1] - 1 - sum(AHEAD[count:]) for count in range(len(AHEAD) + 1)]
        for position, logits in zip(positions, actual, strict=True):
            worst = max(worst, float(np.abs(logits[row] - expected[position]).max()))
        largest = max(largest, float(np.abs(expected).max()))
    return worst, largest


def _torch_logits(model: Any, text: NDArray[np.int64] | None, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    """Torch's logits [tokens, vocabulary] of one row, without a cache; `text` is what an encoder reads."""
    from octavo.engines.torch import TorchSession

    inputs = {"input_ids": ids} if text is None else {"input_ids": text, "decoder_input_ids": ids}
    logits: NDArray[np.float32] = TorchSession(model).run(inputs)[0]
    return logits
