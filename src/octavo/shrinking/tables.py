"""The tensors of a checkpoint that have a row for each token: found by their length and name, all accounted for."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from octavo.checkpoint.source import Source
from octavo.checkpoint.weights import load_state
from octavo.errors import CheckpointError

# Embeddings, and heads over the vocabulary with their biases, as transformers calls them.
_TABLE = re.compile(
    r"(^|\.)(word_embeddings?|tok_embeddings|embed_tokens|shared|wte|tokens_embed|embed_in|embed_out|embeddings|lm_head"
    r"|decoder|predictions|vocab_projector|lm_loss|generator_lm_head|pred_layer\.proj)\.(weight|bias)$"
    r"|(^|\.)final_logits_bias$"
)


def find_tables(source: Source, config: Mapping[str, Any], rows: int) -> dict[str, int]:
    """The names of tensors with an entry for each of `rows` tokens, and the axis that these stand on.

    Raises:
        CheckpointError: one of that length is not known to belong to the vocabulary, or there is none.
    """
    sizes = [value for name, value in config.items() if not name.endswith("vocab_size")]
    tables, unknown = dict[str, int](), list[str]()
    for name, tensor in source.weights.tensors.items():
        if rows not in tensor.shape:
            continue
        if _TABLE.search(name):
            tables[name] = tensor.shape.index(rows)
        elif rows not in sizes:  # else it may be as long by chance, and the model that is loaded anew tells
            unknown.append(f"{name} {tuple(tensor.shape)}")
    if unknown:
        what = "tensors as long as the vocabulary, and not known to belong to it"
        raise CheckpointError(what, where=source.folder, got=", ".join(unknown[:4]))
    if not any(len(source.weights.tensors[name].shape) == 2 for name in tables):
        raise CheckpointError("no table of the vocabulary", where=source.folder, allowed=f"a tensor of {rows} rows")
    return tables


def write_weights(source: Source, tables: Mapping[str, int], order: Sequence[int], file: Path) -> None:
    """Write all tensors to one file of safetensors, of tables the rows of `order`; each in its own dtype."""
    from safetensors.torch import save_file

    kept = {}
    for name, tensor in _tensors(source):
        axis = tables.get(name)
        kept[name] = tensor.clone() if axis is None else tensor[list(order)] if axis == 0 else tensor[:, list(order)]
    save_file({name: tensor.contiguous() for name, tensor in kept.items()}, file, metadata={"format": "pt"})


def _tensors(source: Source) -> Iterator[tuple[str, Any]]:
    from safetensors import safe_open

    for file in source.weights.files:
        if file.suffix == ".safetensors":
            with safe_open(file, "pt") as stored:
                yield from ((name, stored.get_tensor(name)) for name in stored.keys())  # noqa: SIM118 - not a mapping
        else:
            yield from ((name, value) for name, value in load_state(file).items() if hasattr(value, "numel"))
