"""How a ColBERT model says that each token has a vector, and how it reads queries and documents.

Three forms: PyLate's folders (`models/colbert.py` there), those of sentence-transformers' MultiVectorEncoder, and
Stanford's (`HF_ColBERT`, with `artifact.metadata`). Any other encoder has vectors of tokens too, without a projection.
"""

import re
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer

from octavo.checkpoint.added_tokens import CONFIG, read_settings
from octavo.checkpoint.pooling import MODULES, SETTINGS, dense_step, pooling_files, read_prompts, read_table
from octavo.checkpoint.tokenizer import TokenizerParts
from octavo.checkpoint.weights import read_tensors
from octavo.errors import CheckpointError
from octavo.schema.signature import PROMPTS_BEFORE, Step, TextKind, TokenVectors

STANFORD = "HF_ColBERT"  # the class that such a config names
STANFORD_WEIGHT = "linear.weight"
METADATA = "artifact.metadata"
PYLATE = {"query_prefix", "document_prefix", "query_length", "document_length", "skiplist_words", "do_query_expansion"}
CHAIN = "Transformer, Dense of tokens, MultiVectorMask, Normalize"


class Reader(NamedTuple):
    """What reads the texts: the tokenizer, the width of a token's vector, the usual limit, and the positions."""

    parts: TokenizerParts
    width: int
    limit: int
    positions: int | None

    def token(self, text: str, where: Path, name: str) -> int:
        """The id of a token that a setting names.

        Raises:
            CheckpointError: there is none.
        """
        index: int | None = Tokenizer.from_str(self.parts.json).token_to_id(text)
        if index is None:
            then = "give the tokenizer that the model was trained with"
            raise CheckpointError(f"the tokenizer has no token for {name}", where=where, got=repr(text), then=then)
        return index

    def cut(self, query: int, document: int) -> dict[TextKind, int]:
        """The lengths of both, no longer than the model has positions for."""
        return {"query": min(query, self.positions or query), "document": min(document, self.positions or document)}


def is_colbert(folder: Path, architectures: Sequence[str]) -> bool:
    """Whether the folder is of a model that answers each token with a vector."""
    if STANFORD in architectures:
        return True
    if not (folder / MODULES).exists():
        return False
    settings = read_table(folder / SETTINGS, dict)
    kinds = [str(module.get("type", "")) for module in read_table(folder / MODULES, list)]
    own = settings.get("model_type") in {"ColBERT", "MultiVectorEncoder"} or not PYLATE.isdisjoint(settings)
    return own or any(kind.startswith("pylate.") or kind.endswith(".MultiVectorMask") for kind in kinds)


def read_token_vectors(folder: Path, architectures: Sequence[str], reader: Reader) -> TokenVectors:
    """The settings of a ColBERT model; of another encoder its vectors as they are, behind the prompts that it has.

    Raises:
        CheckpointError: a module or a setting that is not carried over.
    """
    if read_table(folder / "sentence_bert_config.json", dict).get("do_lower_case"):
        _refuse(folder, "do_lower_case in sentence_bert_config.json", "lower-casing in tokenizer.json")
    if STANFORD in architectures:
        return _apart(_stanford(folder, reader), reader, folder)
    settings = read_table(folder / SETTINGS, dict)
    if not is_colbert(folder, architectures):
        prompts, default = read_prompts(settings)
        before = {
            kind: next((prompts[name] for name in (*names, default) if name in prompts), "")
            for kind, names in PROMPTS_BEFORE.items()
        }
        lengths = reader.cut(reader.limit, reader.limit)
        return TokenVectors(dimension=reader.width, prompts=before, lengths=lengths)
    similarity = str(settings.get("similarity_fn_name") or "MaxSim")
    if similarity.lower() != "maxsim":
        _refuse(folder / SETTINGS, f"similarity_fn_name {similarity}", "MaxSim")
    if settings.get("model_type") == "MultiVectorEncoder":
        return _apart(_multi_vector(folder, settings, reader), reader, folder)
    return _apart(_pylate(folder, settings, reader), reader, folder)


def token_vector_files(folder: Path, architectures: Sequence[str]) -> dict[str, bytes]:
    """The files by which a folder says all this, path in it -> content; a projection's weights are in the graph."""
    if not is_colbert(folder, architectures):
        return {}
    stanford = {METADATA: (folder / METADATA).read_bytes()} if (folder / METADATA).is_file() else {}
    return pooling_files(folder) | stanford


def _pylate(folder: Path, settings: dict[str, Any], reader: Reader) -> TokenVectors:
    """As PyLate's `ColBERT` reads it; its defaults where a setting is not there."""
    where, given = folder / SETTINGS, {name: value for name, value in settings.items() if value is not None}
    prompts, default = read_prompts(settings)
    if named := [name for name in (*PROMPTS_BEFORE, default) if name is not None and prompts.get(name)]:
        _refuse(where, f"the prompt {named[0]} {prompts[named[0]]!r:.40}", "query_prefix and document_prefix alone")
    markers: dict[TextKind, int] = {}
    kinds: dict[TextKind, str] = {"query": "[Q] ", "document": "[D] "}
    for kind, usual in kinds.items():
        if text := str(given.get(f"{kind}_prefix", usual)):
            markers[kind] = reader.token(text, where, f"{kind}_prefix")
    steps, dimension, _ = _modules(folder, reader.width, pylate=True)
    lengths = reader.cut(int(given.get("query_length", 32)), int(given.get("document_length", 180)))
    expands = bool(given.get("do_query_expansion", True))
    return TokenVectors(
        dimension=dimension,
        steps=steps,
        markers=markers,
        lengths=lengths,
        expansion=lengths["query"] if expands else 0,
        expansion_token_id=_expansion_token(folder, reader) if expands else None,
        attended=bool(given.get("attend_to_expansion_tokens", False)) or not expands,
        skipped=_skipped(given.get("skiplist_words", list(string.punctuation)), reader, unknown=True),
    )


def _multi_vector(folder: Path, settings: dict[str, Any], reader: Reader) -> TokenVectors:
    """As sentence-transformers' `MultiVectorEncoder` reads it; its Transformer has the lengths and the expansion."""
    prompts, _ = read_prompts(settings)
    steps, dimension, mask = _modules(folder, reader.width, pylate=False)
    own = read_table(folder / "sentence_bert_config.json", dict)
    expansion: dict[str, Any] = own.get("query_expansion") or {}
    filled, query = int(expansion.get("length") or 0), int(own.get("query_length") or reader.limit)
    if expansion:
        query = filled if expansion.get("strategy") == "fixed" else max(query, filled)
    lengths = reader.cut(query, int(own.get("document_length") or reader.limit))
    token = expansion.get("token")
    return TokenVectors(
        dimension=dimension,
        steps=steps,
        prompts={kind: prompts.get(kind, "") for kind in PROMPTS_BEFORE},
        lengths=lengths,
        expansion=min(filled, lengths["query"]),
        expansion_token_id=(
            None if not expansion else reader.token(token, folder, "query_expansion") if token
            else _expansion_token(folder, reader)
        ),
        attended=bool(expansion.get("attend", not expansion)),
        skipped=_skipped(mask.get("skiplist_words") or [], reader, unknown=False),
    )  # fmt: skip


def _stanford(folder: Path, reader: Reader) -> TokenVectors:
    """As `ColBERTConfig` of stanford-futuredata/ColBERT reads it; its defaults where a setting is not there."""
    stored, where = read_table(folder / METADATA, dict), folder / METADATA
    if (similarity := stored.get("similarity", "cosine")) != "cosine":
        _refuse(where, f"similarity {similarity}", "cosine")
    if (weight := read_tensors(folder).get(STANFORD_WEIGHT)) is None or len(weight.shape) != 2:
        raise CheckpointError(f"a checkpoint of {STANFORD} has no {STANFORD_WEIGHT}", where=folder)
    dimension, width = weight.shape
    if width != reader.width or stored.get("dim", dimension) != dimension:
        got = f"{STANFORD_WEIGHT} {list(weight.shape)}"
        allowed = f"{[stored.get('dim', dimension), reader.width]}"
        raise CheckpointError("the projection has another size", where=folder, got=got, allowed=allowed)
    query = reader.token(stored.get("query_token_id") or "[unused0]", where, "query_token_id")
    document = reader.token(stored.get("doc_token_id") or "[unused1]", where, "doc_token_id")
    lengths = reader.cut(int(stored.get("query_maxlen") or 32), int(stored.get("doc_maxlen") or 220))
    words = list(string.punctuation) if stored.get("mask_punctuation", True) else []
    return TokenVectors(
        dimension=dimension,
        steps=(Step(kind="dense"),),
        markers={"query": query, "document": document},
        lengths=lengths,
        expansion=lengths["query"],
        expansion_token_id=_expansion_token(folder, reader),
        attended=bool(stored.get("attend_to_mask_tokens", False)),
        skipped=_skipped(words, reader, unknown=False),
    )


def _modules(folder: Path, width: int, *, pylate: bool) -> tuple[tuple[Step, ...], int, dict[str, Any]]:
    """The projections, the dimension that they lead to, and the settings of `MultiVectorMask`.

    PyLate takes every Dense for one of tokens, and brings vectors to length 1 without being told.
    """
    steps, mask, normalizes = list[Step](), dict[str, Any](), pylate
    for index, module in enumerate(read_table(folder / MODULES, list)):
        kind, path = str(module.get("type", "")).rpartition(".")[2], str(module.get("path", ""))
        if not re.fullmatch(r"(\w[\w-]*)?", path):
            _refuse(folder / MODULES, f"the path {path!r}", "a folder beside modules.json")
        own = read_table(folder / path / "config.json", dict) if path and kind != "Transformer" else {}
        of_tokens = pylate or own.get("module_input_name", "sentence_embedding") == "token_embeddings"
        if kind == "Dense" and of_tokens and not mask:
            if int(own.get("in_features", width)) != width:
                got, allowed = f"in_features {own.get('in_features')!s:.20}", width
                raise CheckpointError("a Dense reads another width", where=folder / path, got=got, allowed=allowed)
            steps.append(dense_step(folder, path))
            width = int(own["out_features"])
        elif kind == "MultiVectorMask" and not pylate and not mask:
            mask = {"skiplist_words": own.get("skiplist_words")}
            if own.get("keep_only_token_ids") or own.get("skiplist_tasks") not in (None, ["document"]):
                _refuse(folder / path, "keep_only_token_ids or skiplist_tasks", "a skip list of documents")
        elif kind == "Normalize" and of_tokens:
            normalizes = True
        elif kind != "Dropout" and (kind != "Transformer" or index):
            _refuse(folder / MODULES, f"the module {kind or module}", CHAIN)
    if not normalizes:
        _refuse(folder / MODULES, "no Normalize", CHAIN)
    return tuple(steps), width, mask


def _apart(how: TokenVectors, reader: Reader, folder: Path) -> TokenVectors:
    """The same; what is not seen behind a query's text is known by its id, so no text may end with it.

    Raises:
        CheckpointError: every text ends with it.
    """
    if how.unseen is not None and how.unseen in Tokenizer.from_str(reader.parts.json).encode("").ids:
        what, then = "queries are filled up with a token that ends every text", "give the tokenizer a mask token"
        raise CheckpointError(what, where=folder, got=how.unseen, then=then)
    return how


def _expansion_token(folder: Path, reader: Reader) -> int:
    """What a query is filled up with: the mask token, else the end token, else the padding, as PyLate takes it."""
    if reader.parts.mask_token_id is not None:
        return reader.parts.mask_token_id
    stored = read_settings(folder, CONFIG).get("eos_token")
    end = stored.get("content") if isinstance(stored, dict) else stored
    if isinstance(end, str):
        return reader.token(end, folder / CONFIG, "eos_token")
    if reader.parts.pad_token_id is None:
        raise CheckpointError("the tokenizer has no token to fill a query up with", where=folder, allowed="[MASK]")
    return reader.parts.pad_token_id


def _skipped(words: Sequence[str], reader: Reader, *, unknown: bool) -> tuple[int, ...]:
    """The ids of the words; `unknown`: one that the tokenizer does not know stands for [UNK], as PyLate has it."""
    tokenizer = Tokenizer.from_str(reader.parts.json)
    ids = [tokenizer.token_to_id(str(word)) for word in words]
    if unknown and None in ids:
        ids.append(reader.parts.unk_token_id)
    return tuple(sorted({index for index in ids if index is not None}))


def _refuse(where: Path, got: str, allowed: str) -> None:
    raise CheckpointError("this ColBERT model is not carried over", where=where, got=got, allowed=allowed)
