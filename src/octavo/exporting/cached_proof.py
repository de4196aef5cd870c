"""A model that writes to float graphs with a cache, proved against torch: prompts, padded ones, token by token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from octavo.engines.cache import PAST, PRESENT
from octavo.errors import ExportError, OctavoError
from octavo.exporting.proof import TOLERANCE, newest_opset, open_checked, optimize_checked
from octavo.progress import Progress
from octavo.schema.recipe import Recipe
from octavo.schema.signature import Signature

if TYPE_CHECKING:
    from octavo.engines.onnxruntime_writer import OnnxWriter

LONGEST = 512  # tokens that are compared: logits of all of them are made
AHEAD = (1, 3)  # tokens that are read after the prompt, in two steps
SHAPES = ((1,), (12,), (9, 7, 4))  # tokens of each row of a batch
Graphs = dict[str, "ir.Model"]


def export_writer(
    model: Any, signature: Signature, recipe: Recipe, say: Progress
) -> tuple[Graphs, dict[str, Any], list[dict[str, Any]]]:
    """The optimized graphs by component, the export record, and what the passes did.

    Components are `model`, or `encoder` and `decoder`.

    Raises:
        ExportError: no opset gives graphs that run and agree with torch.
    """
    from octavo.engines.onnxruntime_writer import OnnxWriter
    from octavo.exporting.cached import export_answering_decoder, export_decoder, export_encoder

    answers = signature.task == "text2text-generation"

    def attempt(opset: int) -> tuple[Graphs, dict[str, float], list[dict[str, Any]]]:
        batches = [_ids(model, lengths, left=False) for lengths in SHAPES[1:]]
        read = [{"input_ids": ids, "attention_mask": mask} for ids, mask in batches]
        if not answers:
            graph = export_decoder(model, opset)
            passes = optimize_checked(graph, read, recipe, say)
            return {"model": graph}, _compare(model, OnnxWriter(open_checked(graph)), signature), passes
        encoder, decoder = export_encoder(model, opset), export_answering_decoder(model, opset)
        passes = [{**one, "name": f"encoder: {one['name']}"} for one in optimize_checked(encoder, read, recipe, say)]
        session = open_checked(encoder)
        answered = [_read(session, one) | {"input_ids": one["input_ids"][:, :3]} for one in read]
        found = optimize_checked(decoder, answered, recipe, say)
        passes += [{**one, "name": f"decoder: {one['name']}"} for one in found]
        writer = OnnxWriter(open_checked(decoder), open_checked(encoder))
        return {"encoder": encoder, "decoder": decoder}, _compare(model, writer, signature), passes

    (graphs, differences, passes), record = newest_opset(attempt, recipe, say)
    return graphs, record | {"differences": differences}, passes


def _read(encoder: Any, batch: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """What an encoder hands on to the decoder."""
    found = encoder.fetch(batch, encoder.outputs)
    names = [PAST + name.removeprefix(PRESENT) for name in encoder.outputs]
    return dict(zip(names, found, strict=True)) | {"encoder_attention_mask": batch["attention_mask"]}


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
            raise ExportError(f"a run at {shape} failed", got=error) from None
        allowed = TOLERANCE * max(1.0, largest)
        if not difference <= allowed:
            raise ExportError(
                f"the exported graph differs from torch at {shape}", got=f"{difference:.2g}", allowed=f"{allowed:.2g}"
            )
        differences[shape] = difference
    return differences


def _difference(model: Any, writer: OnnxWriter, lengths: Sequence[int], signature: Signature) -> tuple[float, float]:
    """The largest difference of a batch's logits, and the largest of torch's logits."""
    answers = signature.task == "text2text-generation"  # an encoder's positions begin where its padding does
    ids, mask = _ids(model, lengths, left=not answers)
    generator = np.random.default_rng(1)
    ahead = [generator.integers(0, model.config.vocab_size, (len(lengths), count)) for count in AHEAD]
    start = signature.generation.decoder_start_token_id if signature.generation else None
    prompts = np.full((len(lengths), 1), start or 0, np.int64)
    steps = writer.begin(ids, mask, prompts)
    found = [steps.advance(np.empty((len(lengths), 0), np.int64)), *(steps.advance(tokens) for tokens in ahead)]
    worst = largest = 0.0
    for row in range(len(lengths)):
        own = ids[row][mask[row] != 0][None]
        more = np.concatenate([tokens[row : row + 1] for tokens in ahead], axis=1)
        reads = np.concatenate([prompts[:1] if answers else own, more], axis=1)
        expected = _torch_logits(model, own if answers else None, reads)
        places = (
            reads.shape[1] - 1 - np.array([sum(AHEAD), *(sum(AHEAD[count:]) for count in range(1, len(AHEAD) + 1))])
        )
        for place, logits in zip(places, found, strict=True):
            worst = max(worst, float(np.abs(logits[row] - expected[place]).max()))
        largest = max(largest, float(np.abs(expected).max()))
    return worst, largest


def _torch_logits(model: Any, text: NDArray[np.int64] | None, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    """Torch's logits [tokens, vocabulary] of one row, without a cache; `text` is what an encoder reads."""
    from octavo.engines.torch import TorchSession

    names = {"input_ids": ids} if text is None else {"input_ids": text, "decoder_input_ids": ids}
    logits: NDArray[np.float32] = TorchSession(model).run(names)[0]
    return logits
