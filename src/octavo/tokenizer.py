"""The tokenizer of a checkpoint as one `tokenizer.json` for the Rust library, with its padding and truncation off."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from octavo.errors import CheckpointError, MissingExtraError

SIDE_FILES = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
_VOCABULARIES = (
    "vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model", "spm.model", "tokenizer.model",
    "bpe.codes",
)  # fmt: skip
_UNLIMITED = 10**6  # transformers stores 1e30 for "no limit"
SAMPLE_TEXTS = (
    "한국어 문장은 조사와 어미가 붙어서 길어진다.",
    "The quick brown fox jumps over the lazy dog, 1234.5 times!",
    "   공백과\t기호… ☕ café naïve \uff21\uff22\uff23  ",
    "",
)


@dataclass(frozen=True)
class TokenizerParts:
    """A tokenizer: `json` for the Rust library, the files beside it, its limit and special ids; `bytes` as stored."""

    json: str
    side_files: dict[str, bytes]
    pad_token_id: int
    unk_token_id: int | None
    max_length: int | None
    bytes: int


def read_tokenizer(folder: Path, config: dict[str, Any]) -> TokenizerParts:
    """Read `tokenizer.json`, or make it of the vocabulary by transformers.

    Raises:
        CheckpointError: there is no tokenizer, or none that has a fast form.
    """
    settings = _read_settings(folder)
    stored = folder / "tokenizer.json"
    vocabularies = [folder / name for name in _VOCABULARIES if (folder / name).exists()]
    if stored.exists():
        try:
            tokenizer = Tokenizer.from_file(str(stored))
        except Exception as error:  # tokenizers raises a plain Exception for a file that it cannot read
            raise CheckpointError("tokenizer.json cannot be read", where=stored, got=error) from None
    elif vocabularies:
        tokenizer = _convert(folder)
    else:
        raise CheckpointError("no tokenizer", where=folder, then="name a folder that has one with --tokenizer")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    text = tokenizer.to_str()
    limit = settings.get("model_max_length")
    side = {name: (folder / name).read_bytes() for name in SIDE_FILES if (folder / name).exists()}
    used = [stored] if stored.exists() else vocabularies
    return TokenizerParts(
        json=text,
        side_files=side,
        pad_token_id=_pad_token_id(tokenizer, settings, config),
        unk_token_id=_unk_token_id(json.loads(text)["model"]),
        max_length=int(limit) if limit and limit < _UNLIMITED else None,
        bytes=sum(path.stat().st_size for path in used) + sum(len(content) for content in side.values()),
    )


def differing_text(tokenizer_json: str, folder: Path) -> str | None:
    """The first sample text that `AutoTokenizer` splits into other ids than our tokenizer, None where they agree.

    Raises:
        CheckpointError: transformers cannot load the tokenizer.
    """
    reference = _auto_tokenizer(folder)
    tokenizer = Tokenizer.from_str(tokenizer_json)
    pairs = [(text, other) for text in SAMPLE_TEXTS for other in (None, SAMPLE_TEXTS[0])]
    for text, other in pairs:
        ours = tokenizer.encode(text, other).ids
        if list(reference(text, other)["input_ids"]) != ours:
            return text
    return None


def _read_settings(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    if not path.exists():
        return {}
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError("tokenizer_config.json is not JSON", where=path, got=error) from None
    return settings if isinstance(settings, dict) else {}


def _convert(folder: Path) -> Tokenizer:
    """A vocabulary-only tokenizer in its fast form, checked against transformers and against the vocabulary itself."""
    reference = _auto_tokenizer(folder)
    if not getattr(reference, "is_fast", False):
        raise CheckpointError(
            "the tokenizer has no fast form",
            where=folder,
            got=type(reference).__name__,
            then="give a folder with tokenizer.json by --tokenizer",
        )
    tokenizer = Tokenizer.from_str(reference.backend_tokenizer.to_str())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    words = _whole_words(folder / "vocab.txt")
    lost = [word for word, index in words if index not in tokenizer.encode(word).ids]
    if len(lost) > len(words) // 2:  # some words never come out of a normalizer; most must
        raise CheckpointError(
            "the vocabulary was not taken over: its own words become unknown",
            where=folder,
            got=", ".join(lost[:5]),
            then="check do_lower_case and strip_accents in tokenizer_config.json",
        )
    text = differing_text(tokenizer.to_str(), folder)
    if text is not None:
        raise CheckpointError("the fast tokenizer gives other ids than AutoTokenizer", where=folder, got=repr(text))
    return tokenizer


def _whole_words(vocabulary: Path, most: int = 200) -> list[tuple[str, int]]:
    """Words of a WordPiece vocabulary that should stand for themselves, spread over it, with their ids."""
    if not vocabulary.exists():
        return []
    lines = vocabulary.read_text(encoding="utf-8").splitlines()
    words = [(word, index) for index, word in enumerate(lines) if len(word) > 1 and word.isalpha()]
    return words[:: max(1, len(words) // most)]


def _auto_tokenizer(folder: Path) -> Any:
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise MissingExtraError(
            "a tokenizer without tokenizer.json is converted by transformers, which is not installed",
            then="pip install 'octavo[convert]'",
        ) from None
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers raises whatever the tokenizer class raises
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError("transformers cannot load the tokenizer", where=folder, got=reason) from None


def _pad_token_id(tokenizer: Tokenizer, settings: dict[str, Any], config: dict[str, Any]) -> int:
    """The tokenizer's padding token, else the config's id; 0 where neither has one, since the mask hides it."""
    token = settings.get("pad_token")
    token = token.get("content") if isinstance(token, dict) else token
    found = tokenizer.token_to_id(token) if token else None
    if found is None:
        found = config.get("pad_token_id")
    return int(found) if found is not None else 0


def _unk_token_id(model: dict[str, Any]) -> int | None:
    """The id of the unknown token: WordPiece and BPE store the token, Unigram its id; byte-level ones have none."""
    if model.get("unk_id") is not None:
        return int(model["unk_id"])
    token, vocabulary = model.get("unk_token"), model.get("vocab")
    return vocabulary.get(token) if token and isinstance(vocabulary, dict) else None
