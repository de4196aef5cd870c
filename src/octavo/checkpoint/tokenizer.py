"""The tokenizer of a checkpoint as one `tokenizer.json` for the Rust library, with its padding and truncation off."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tokenizers import Tokenizer

from octavo.data.json_text import read_json
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
    """A tokenizer: `json` for the Rust library, the files beside it, and its settings in transformers.

    `input_names` are the inputs that transformers would make; `differing` is the first sample text that `AutoTokenizer`
    splits into other ids than `json` does, None where they agree; `bytes` is the size as stored.
    """

    json: str
    side_files: dict[str, bytes]
    input_names: tuple[str, ...]
    truncation_side: Literal["left", "right"]
    pad_token_id: int | None
    unk_token_id: int | None
    mask_token_id: int | None
    max_length: int | None
    differing: str | None
    bytes: int


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds a tokenizer."""
    return any((folder / name).exists() for name in ("tokenizer.json", *_VOCABULARIES))


def find_tokenizer(folder: Path) -> tuple[Path, ...]:
    """`tokenizer.json`, or the files of a vocabulary.

    Raises:
        CheckpointError: there are none.
    """
    stored = folder / "tokenizer.json"
    files = (stored,) if stored.exists() else tuple(folder / name for name in _VOCABULARIES if (folder / name).exists())
    if not files:
        raise CheckpointError("no tokenizer", where=folder, then="name a folder that has one with --tokenizer")
    return files


def read_tokenizer(folder: Path) -> TokenizerParts:
    """Read `tokenizer.json`, or make it of the vocabulary by transformers.

    Raises:
        CheckpointError: the tokenizer is damaged, or has no fast form.
        MissingExtraError: transformers is not installed.
    """
    files, stored = find_tokenizer(folder), folder / "tokenizer.json"
    if stored.exists():
        try:
            tokenizer = Tokenizer.from_file(str(stored))
        except Exception as error:  # tokenizers raises a plain Exception for a file that it cannot read
            raise CheckpointError("tokenizer.json cannot be read", where=stored, got=error) from None
    settings = folder / "tokenizer_config.json"
    try:
        _ = read_json(settings) if settings.exists() else {}
    except (OSError, ValueError) as error:
        raise CheckpointError("tokenizer_config.json is not JSON", where=settings, got=error) from None
    reference = _auto_tokenizer(folder)
    if not stored.exists():
        tokenizer = _convert(reference, folder)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    differing = _differing_text(tokenizer, reference)
    if differing is not None and not stored.exists():
        what = "the fast tokenizer gives other ids than AutoTokenizer"
        raise CheckpointError(what, where=folder, got=repr(differing))
    text = tokenizer.to_str()
    side_files = {name: (folder / name).read_bytes() for name in SIDE_FILES if (folder / name).exists()}
    limit = reference.model_max_length
    return TokenizerParts(
        json=text,
        side_files=side_files,
        input_names=tuple(reference.model_input_names),
        truncation_side="left" if reference.truncation_side == "left" else "right",
        pad_token_id=tokenizer.token_to_id(reference.pad_token) if reference.pad_token else None,
        mask_token_id=tokenizer.token_to_id(reference.mask_token) if reference.mask_token else None,
        unk_token_id=_unk_token_id(json.loads(text)["model"]),
        max_length=int(limit) if limit and limit < _UNLIMITED else None,
        differing=differing,
        bytes=sum(path.stat().st_size for path in files) + sum(len(content) for content in side_files.values()),
    )


def _differing_text(tokenizer: Tokenizer, reference: Any) -> str | None:
    for text in SAMPLE_TEXTS:
        for pair in (None, SAMPLE_TEXTS[0]):
            if list(reference(text, pair)["input_ids"]) != tokenizer.encode(text, pair).ids:
                return text
    return None


def _convert(reference: Any, folder: Path) -> Tokenizer:
    """A vocabulary-only tokenizer in its fast form, checked against the vocabulary itself."""
    if not getattr(reference, "is_fast", False):
        raise CheckpointError(
            "the tokenizer has no fast form",
            where=folder,
            got=type(reference).__name__,
            then="give a folder with tokenizer.json by --tokenizer",
        )
    tokenizer = Tokenizer.from_str(reference.backend_tokenizer.to_str())
    words = _whole_words(folder / "vocab.txt")
    lost = [word for word, index in words if index not in tokenizer.encode(word).ids]
    if len(lost) > len(words) // 2:  # some words never come out of a normalizer; most must
        raise CheckpointError(
            "the vocabulary was not taken over: its own words become unknown",
            where=folder,
            got=", ".join(lost[:5]),
            then="check do_lower_case and strip_accents in tokenizer_config.json",
        )
    return tokenizer


def _whole_words(vocabulary: Path, most: int = 200) -> list[tuple[str, int]]:
    """Words of a WordPiece vocabulary that should be one token each, spread over it, with their ids."""
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
            "a checkpoint's tokenizer is read by transformers, which is not installed",
            then="pip install 'octavo[convert]'",
        ) from None
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers raises whatever the tokenizer class raises
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError("transformers cannot load the tokenizer", where=folder, got=reason) from None


def _unk_token_id(model: dict[str, Any]) -> int | None:
    """The id of the unknown token: WordPiece and BPE store the token, Unigram its id; byte-level ones have none."""
    if model.get("unk_id") is not None:
        return int(model["unk_id"])
    token, vocabulary = model.get("unk_token"), model.get("vocab")
    return vocabulary.get(token) if token and isinstance(vocabulary, dict) else None
