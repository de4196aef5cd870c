"""Texts and pairs to token ids, as every encoder reads them."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from tokenizers import Tokenizer

from octavo.encoding.batching import Encoded
from octavo.errors import DataError, InputError, did_you_mean
from octavo.schema.signature import Signature

Row = tuple[str, str | tuple[str, ...] | None]  # a text, alone, with another, or with several to choose from
Options = Mapping[str, Any]
NO_OPTIONS: Options = MappingProxyType({})
UNSAID: Any = object()  # the default of an option for which None says something; of any kind


@dataclass(frozen=True)
class Asked:
    """What a model was asked: rows as texts and as tokens, and the tokenizer that made these."""

    rows: Sequence[Row]
    encoded: Sequence[Encoded]
    tokenizer: Tokenizer


def parse_row(row: Any) -> Row:
    """A text, or a pair: a string, a tuple `(a, b)`, or a mapping with `text` and perhaps `text_pair`.

    Raises:
        DataError: it is none of these.
    """
    first, second = row, None
    if isinstance(row, tuple) and len(row) == 2:
        first, second = row
    elif isinstance(row, Mapping) and "text" in row and set(row) <= {"text", "text_pair"}:
        first, second = row["text"], row.get("text_pair")
    for text in (first, second):
        if isinstance(text, str) and not _is_unicode(text):
            raise DataError("a text has half a surrogate pair", got=ascii(text)[:80])
    if not isinstance(first, str) or not (second is None or isinstance(second, str)):
        allowed = 'a string, a tuple (a, b), or {"text": a, "text_pair": b}'
        raise DataError("a row is a text or a pair", got=describe_row(row), allowed=allowed)
    return first, second


def describe_row(row: Any) -> str:
    """A row that cannot be read, as an error shows it."""
    return f"keys {', '.join(map(str, row))}" if isinstance(row, Mapping) else f"{type(row).__name__} {row!r:.80}"


def _is_unicode(text: str) -> bool:
    """Whether the text can be encoded: JSON can carry halves of surrogate pairs, which no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def make_tokenizer(tokenizer_json: str, signature: Signature) -> Tokenizer:
    """The tokenizer with truncation at `signature.max_length`, from the longer text first as Hugging Face does it.

    Raises:
        InputError: the limit leaves no room for text beside the special tokens, or the tokenizer has tokens that the
            model has no vectors for.
    """
    try:
        tokenizer = Tokenizer.from_str(tokenizer_json)
    except Exception as error:  # tokenizers raises a plain Exception
        raise InputError("tokenizer.json cannot be read", got=error) from None
    _require_vectors(tokenizer, signature.vocab_size)
    special = tokenizer.num_special_tokens_to_add(is_pair=True)
    if signature.max_length <= special:
        raise InputError("max_length leaves no room for text", got=signature.max_length, allowed=f"above {special}")
    tokenizer.no_padding()
    tokenizer.enable_truncation(signature.max_length, strategy="longest_first", direction=signature.truncation_side)
    return tokenizer


def _require_vectors(tokenizer: Tokenizer, rows: int | None) -> None:
    """See that every id is a row of the model's table; the table may have more.

    Raises:
        InputError: one is not.
    """
    if rows is None:
        return
    beyond = sorted((number, token) for token, number in tokenizer.get_vocab().items() if number >= rows)
    if beyond:
        what = "the tokenizer has tokens that the model has no vectors for"
        got = ", ".join(f"{token!r} {number}" for number, token in beyond[:3]) + (", ..." if len(beyond) > 3 else "")
        allowed, then = (
            f"ids below {rows}, the rows of its table (vocab_size)",
            "give the tokenizer that the model was trained with",
        )
        raise InputError(what, got=got, allowed=allowed, then=then)


def settings(options: Options, defaults: Options) -> dict[str, Any]:
    """What a call sets, with the defaults of what it does not; one string where several may be said is a list of one.

    Raises:
        InputError: the task has no such option, or a value is of another kind than its default.
    """
    chosen = dict(defaults)
    for name, option in options.items():
        if name not in defaults:
            raise InputError("unknown option", got=name, allowed=did_you_mean(name, defaults) if defaults else "none")
        default = defaults[name]
        several = isinstance(default, tuple)
        value = [option] if several and isinstance(option, str) else option
        fits = isinstance(value, list | tuple) if several else type(value) is type(default)
        if default is not None and default is not UNSAID and not fits:
            kind = "list" if several else type(default).__name__
            raise InputError(f"{name} is of another kind", got=f"{value!r:.40}", allowed=f"{kind}, such as {default!r}")
        chosen[name] = value
    return chosen


def encode(tokenizer: Tokenizer, rows: Sequence[Row], signature: Signature) -> list[Encoded]:
    """Token ids of each row, cut at the tokenizer's limit."""
    return [as_encoded(encoding, signature) for encoding in encode_texts(tokenizer, rows)]


def encode_texts(tokenizer: Tokenizer, rows: Sequence[Row]) -> list[Any]:
    """What tokenizers makes of texts and pairs; a pair with an empty second text is the first alone.

    So the pipelines of transformers read it (`tokenizer("a", "")`), though not its batches (`tokenizer(["a"], [""])`).
    """
    return list(tokenizer.encode_batch([(text, pair) if pair else text for text, pair in rows]))


def keep_tokenizers_to(threads: int) -> None:
    """Let texts be cut by so many threads, unless the environment says otherwise or a text was cut already.

    The threads of tokenizers are the process's, and made on first use; rayon reads their number from the environment.
    """
    os.environ.setdefault("RAYON_NUM_THREADS", str(threads))


def as_encoded(encoding: Any, signature: Signature, **more: Any) -> Encoded:
    """What tokenizers made of a row; `more` are other fields of `Encoded`, or other values of these."""
    fields = {"ids": encoding.ids, "type_ids": encoding.type_ids, "truncated": bool(encoding.overflowing)} | more
    return Encoded(unknown=count_unknown(fields["ids"], signature), **fields)


def characters_of(encoding: Any) -> dict[str, Any]:
    """The fields `spans` and `sides` of `Encoded`: which characters, and of which text, each token stands for."""
    sides = [-1 if side is None else side for side in encoding.sequence_ids]
    return {"spans": encoding.offsets, "sides": sides}


def count_unknown(ids: Sequence[int], signature: Signature) -> int:
    """How many of the tokens are [UNK]."""
    return 0 if signature.unk_token_id is None else ids.count(signature.unk_token_id)
