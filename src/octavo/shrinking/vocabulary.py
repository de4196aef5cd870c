"""Which tokens of a `tokenizer.json` stay, and the file with these alone. It knows ids and counts, no texts, no model.

Tokens are left out so that a text whose tokens all stay is split as before:

- WordPiece takes the longest piece that fits. Where it stays it still is the longest.
- BPE merges the pair of the lowest rank. A token stays with both parts of every merge that makes it, and those with
  theirs; so the merges that a text needs are there, and of the others none is new.
- Unigram takes the path of the best score. Where it stays it still is the best: there are fewer others. What an unknown
  character scores follows from the lowest score of all, so the piece that has it stays.
"""

import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Literal

from tokenizers import Tokenizer

from octavo.errors import CheckpointError

Characters = Literal["all", "kept"]
KINDS = ("WordPiece", "BPE", "Unigram")
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_UNUSED = re.compile(r"\[unused\d+\]")  # of BERT: no text has them


def require_known(content: Mapping[str, Any]) -> None:
    """See that tokens of such a tokenizer can be left out, and texts are then still split in one way.

    Raises:
        CheckpointError: they cannot.
    """
    kind = content["model"].get("type")
    if kind not in KINDS:
        what = "tokens of this kind of tokenizer cannot be left out: their texts would become unknown"
        raise CheckpointError(what, got=kind, allowed=", ".join(KINDS))
    if content["model"].get("dropout"):
        raise CheckpointError("the tokenizer draws at random how it splits a text", got="dropout", allowed="none")


def fixed_tokens(content: Mapping[str, Any], names: Collection[str]) -> set[int]:
    """Ids that stay whatever texts say: of added tokens, the post-processor, bytes, the unknown one, and `names`."""
    model, pieces = content["model"], _pieces(content)
    stay = {token["id"] for token in content["added_tokens"]} | set(_processor_ids(content.get("post_processor")))
    named = {*names, model.get("unk_token")}
    stay |= {index for piece, index in pieces.items() if piece in named or _BYTE.fullmatch(piece)}
    if model["type"] == "Unigram":
        scores = [score for _, score in model["vocab"]]
        stay |= {scores.index(min(scores))} | ({model["unk_id"]} - {None})
    return stay


def close(content: Mapping[str, Any], kept: Collection[int], characters: Characters) -> list[int]:
    """The tokens that stay with those of `kept`, in the order of their new ids; ids without a token come last.

    `characters`: all that are a token stay, or those that the kept tokens are made of. Where "all", tokens with a
    character that is no token of its own stay too; of tokenizers of bytes all bytes stay in any case.
    """
    model, pieces, kept = content["model"], _pieces(content), set(kept)
    forms = {piece: _forms(piece, model) for piece in pieces}
    chosen = {piece for piece, index in pieces.items() if index in kept}
    if characters == "all" or '"ByteLevel"' in json.dumps([content.get("pre_tokenizer"), content.get("decoder")]):
        chosen |= {piece for piece, parts in forms.items() if parts == [piece]}
        lacking = {piece for piece, parts in forms.items() if not all(part in pieces for part in parts)}
        chosen |= {piece for piece in lacking if not _UNUSED.fullmatch(piece)}
    else:
        chosen |= {part for piece in chosen for part in forms[piece] if part in pieces}
    if model["type"] == "BPE":
        chosen = _with_parts(chosen, model)
    own = sorted(pieces[piece] for piece in chosen)
    others = {token["id"] for token in content["added_tokens"]} - set(own)
    return [*own, *sorted(others), *sorted(kept - set(own) - others)]


def _pieces(content: Mapping[str, Any]) -> dict[str, int]:
    """The model's own tokens; added ones may stand beside them."""
    vocabulary = content["model"]["vocab"]
    if isinstance(vocabulary, dict):
        return vocabulary
    return {piece: index for index, (piece, _) in enumerate(vocabulary)}


def _forms(piece: str, model: Mapping[str, Any]) -> list[str]:
    """The tokens of one character each that a token could be written with: of `##ab` in WordPiece `##a`, `##b`."""
    prefix, suffix = model.get("continuing_subword_prefix") or "", model.get("end_of_word_suffix") or ""
    inner = bool(prefix) and piece.startswith(prefix) and piece != prefix
    ends = bool(suffix) and piece.endswith(suffix) and piece != suffix
    body = piece.removeprefix(prefix) if inner else piece
    body = body.removesuffix(suffix) if ends else body
    parts = [(prefix if inner or place else "") + letter for place, letter in enumerate(body)]
    return [*parts[:-1], parts[-1] + (suffix if ends else "")] if parts else [piece]


def _with_parts(chosen: Collection[str], model: Mapping[str, Any]) -> set[str]:
    """Tokens with the parts of all merges that make them, and with the parts of these."""
    parts = defaultdict[str, list[str]](list)
    for left, right in model["merges"]:
        parts[_merged(left, right, model)] += [left, right]
    tokens, pending = set(chosen), list(chosen)
    while pending:
        new = {part for part in parts.get(pending.pop(), ()) if part not in tokens}
        tokens |= new
        pending += new
    return tokens


def _merged(left: str, right: str, model: Mapping[str, Any]) -> str:
    return left + str(right)[len(model.get("continuing_subword_prefix") or "") :]


def _processor_ids(processor: Mapping[str, Any] | None) -> Iterator[int]:
    processor = processor or {}
    for inner in processor.get("processors", ()):
        yield from _processor_ids(inner)
    for token in processor.get("special_tokens", {}).values():
        yield from token["ids"]
    for name in ("sep", "cls"):
        if name in processor:
            yield processor[name][1]


def trimmed_tokenizer(content: Mapping[str, Any], order: Sequence[int]) -> str:
    """The `tokenizer.json` with the tokens of `order` alone, each with its place there for an id.

    Raises:
        CheckpointError: the tokenizers library gives them other ids.
    """
    new_ids = {old: new for new, old in enumerate(order)}
    model, pieces = content["model"], _pieces(content)
    stay = {piece: new_ids[index] for piece, index in pieces.items() if index in new_ids}
    changed: dict[str, Any] = {"vocab": dict(sorted(stay.items(), key=lambda item: item[1]))}
    if model["type"] == "Unigram":
        own = set(pieces.values())
        changed["vocab"] = [model["vocab"][index] for index in order if index in own]
        changed["unk_id"] = new_ids.get(model["unk_id"])
    if model["type"] == "BPE":
        whole = ((left, right, _merged(left, right, model)) for left, right in model["merges"])
        changed["merges"] = [[left, right] for left, right, both in whole if {left, right, both} <= stay.keys()]
    added = [token | {"id": new_ids[token["id"]]} for token in content["added_tokens"]]
    text = json.dumps(
        dict(content)
        | {"model": model | changed, "added_tokens": sorted(added, key=lambda token: token["id"])}
        | {"post_processor": _renumbered(content.get("post_processor"), new_ids)},
        ensure_ascii=False,
    )
    tokenizer = Tokenizer.from_str(text)
    expected = stay | {token["content"]: token["id"] for token in added}
    if moved := sorted(token for token in expected if tokenizer.token_to_id(token) != expected[token]):
        raise CheckpointError("tokens cannot have the ids that are left", got=", ".join(map(repr, moved[:3])))
    return str(tokenizer.to_str())


def _renumbered(processor: Mapping[str, Any] | None, new_ids: Mapping[int, int]) -> dict[str, Any] | None:
    if processor is None:
        return None
    changed = dict(processor)
    if "processors" in processor:
        changed["processors"] = [_renumbered(inner, new_ids) for inner in processor["processors"]]
    if "special_tokens" in processor:
        tokens = processor["special_tokens"].items()
        changed["special_tokens"] = {
            name: token | {"ids": [new_ids[index] for index in token["ids"]]} for name, token in tokens
        }
    for name in {"sep", "cls"} & processor.keys():
        token, index = processor[name]
        changed[name] = [token, new_ids[index]]
    return changed
