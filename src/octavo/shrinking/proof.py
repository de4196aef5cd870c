"""A model before and after, in torch, on texts whose tokens all stay: the same logits to the last bit."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.checkpoint.model import load_model
from octavo.checkpoint.source import Source
from octavo.data.examples import Example
from octavo.encoding.tokenizing import Row, encode_texts, make_tokenizer
from octavo.errors import DataError, OctavoError
from octavo.schema.lineage import SameLogits
from octavo.tasks import find_task

PROVED = 32  # texts
ALIGNMENT = 64  # bytes: where torch lays what it allocates on a CPU
OF_THE_RANGE = 1e-5  # a product with fewer columns may add up in another order

Inputs = dict[str, NDArray[np.int64]]


def proof_inputs(source: Source, examples: Sequence[Example]) -> list[Inputs]:
    """Each text as the model reads it, alone and so without padding, name -> [1, length]; at most `PROVED`, spread.

    Raises:
        DataError: none has a token.
    """
    task, tokenizer = find_task(source.signature), make_tokenizer(source.tokenizer.json, source.signature)
    chosen = [examples[place] for place in np.linspace(0, len(examples) - 1, PROVED).astype(int)]
    rows: list[Row] = [_plain(row) for row in task.rows(list(dict.fromkeys(chosen)))]
    inputs = []
    for encoding in encode_texts(tokenizer, rows):
        ids = np.array([encoding.ids], np.int64)
        row = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        if "token_type_ids" in source.signature.input_names:
            row["token_type_ids"] = np.array([encoding.type_ids], np.int64)
        if task.is_encoder_decoder:
            start = task.generation.decoder_start_token_id or 0
            row["decoder_input_ids"] = np.array([[start, *encoding.ids[:-1]]], np.int64)
        inputs.append(row)
    if not any(row["input_ids"].size for row in inputs):
        raise DataError("texts whose tokens all stay are empty, so nothing is proved", then="a larger --keep")
    return [row for row in inputs if row["input_ids"].size]


def _plain(row: Row) -> Row:
    text, pair = row
    return text, pair[0] if isinstance(pair, tuple) else pair


def align(model: Any) -> Any:
    """The model, each of its tensors where one of torch's own lies, and not where its file had it; in place.

    MKL adds up in an order that depends on where its operands lie (seen on AMD's CPUs), so the same weights out of two
    files would give answers that differ in the last bits:
    https://www.intel.com/content/www/us/en/docs/onemkl/developer-guide-linux/current/getting-reproducible-results.html
    """
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.data_ptr() % ALIGNMENT:
            tensor.data = tensor.data.clone()
    return model


def logits_of(source: Source, inputs: Sequence[Inputs], columns: Sequence[int] | None) -> list[NDArray[np.float32]]:
    """What the checkpoint answers in torch, loaded for this; `columns`: of the logits for all tokens these alone."""
    from octavo.engines.torch import TorchSession

    session = TorchSession(align(load_model(source)))
    answers = (session.run(row) for row in inputs)
    return [answer if columns is None else answer[..., list(columns)] for answer in answers]


def require_same(
    before: Sequence[NDArray[np.float32]],
    after: Sequence[NDArray[np.float32]],
    inputs: Sequence[Inputs],
    *,
    columns: bool,
) -> SameLogits:
    """See that answers are the same to the last bit; logits over tokens but for the rounding of one product.

    Raises:
        OctavoError: they differ by more.
    """
    pairs = list(zip(before, after, strict=True))
    differences = [float(np.abs(old - new).max()) if old.shape == new.shape else float("inf") for old, new in pairs]
    largest = max(differences)
    allowed = OF_THE_RANGE * max(float(np.abs(old).max()) for old in before) if columns else 0.0
    if not largest <= allowed:
        got, where = f"{largest:.3g}", f"example {1 + differences.index(largest)}"
        raise OctavoError(
            "the trimmed model answers otherwise: a defect", where=where, got=got, allowed=f"{allowed:.3g}"
        )
    tokens = sum(row["input_ids"].size for row in inputs)
    return SameLogits(texts=len(inputs), tokens=tokens, difference=largest, columns=columns)


def renumbered_inputs(inputs: Sequence[Inputs], new_ids: dict[int, int]) -> list[Inputs]:
    """The same texts by their new ids."""

    def new(name: str, array: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.vectorize(new_ids.__getitem__, otypes=[np.int64])(array) if name.endswith("input_ids") else array

    return [{name: new(name, array) for name, array in row.items()} for row in inputs]
