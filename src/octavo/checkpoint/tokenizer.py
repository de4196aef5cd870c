"""The tokenizer of a checkpoint as one `tokenizer.json` for the Rust library, with its padding and truncation off."""

import json
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tokenizers import Tokenizer

from octavo.checkpoint import sentencepiece_model
from octavo.checkpoint.added_tokens import ADDED, CONFIG, SPECIAL, added_tokens, read_settings, with_added_tokens
from octavo.checkpoint.libraries import silent_transformers
from octavo.checkpoint.sentencepiece_model import SentencePiece, read_sentencepiece
from octavo.encoding.sample_texts import FIXED, in_sentences, sample_texts
from octavo.errors import CheckpointError, MissingExtraError, OctavoError, OctavoWarning

SIDE_FILES = (CONFIG, SPECIAL, ADDED)
_VOCABULARIES = (
    "vocab.txt", "vocab.json", "merges.txt", *sentencepiece_model.NAMES, "bpe.codes",
)  # fmt: skip
_UNLIMITED = 10**6  # transformers stores 1e30 for "no limit"


@dataclass(frozen=True)
class TokenizerParts:
    """A tokenizer: `json` for the Rust library, the files beside it, and its settings in transformers.

    `input_names` are the inputs that transformers would make; `bytes` is the size as stored.
    """

    json: str
    side_files: dict[str, bytes]
    input_names: tuple[str, ...]
    truncation_side: Literal["left", "right"]
    pad_token_id: int | None
    unk_token_id: int | None
    mask_token_id: int | None
    max_length: int | None
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
    find_tokenizer(folder)
    stored = folder / "tokenizer.json"
    if stored.exists():
        tokenizer = read_json_form(folder)
    added_tokens(folder)  # a damaged file is told here, and not by transformers
    reference = _auto_tokenizer(folder)
    import transformers

    if not stored.exists():
        tokenizer = _convert(reference, folder)
    tokenizer = with_added_tokens(tokenizer, folder, reference)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    try:
        with silent_transformers(transformers):
            tokenizer = _checked(tokenizer, reference, folder, converted=not stored.exists())
    except (OctavoError, OctavoWarning):
        raise
    except Exception as error:  # tokenizers raises a plain Exception for a text that it cannot split
        raise CheckpointError("the tokenizer cannot split a text", where=folder, got=error) from None
    return make_parts(tokenizer, folder, reference)


def read_json_form(folder: Path) -> Tokenizer:
    """The tokenizer of `tokenizer.json`.

    Raises:
        CheckpointError: the file is damaged.
    """
    file = folder / "tokenizer.json"
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises a plain Exception for a file that it cannot read
        raise CheckpointError("tokenizer.json cannot be read", where=file, got=error) from None


def make_parts(tokenizer: Tokenizer, folder: Path, reference: Any) -> TokenizerParts:
    """The parts of a tokenizer of a folder; `reference` has the settings that its class in transformers has."""
    text, files = tokenizer.to_str(), find_tokenizer(folder)
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
        bytes=sum(path.stat().st_size for path in files) + sum(len(content) for content in side_files.values()),
    )


def _checked(tokenizer: Tokenizer, reference: Any, folder: Path, *, converted: bool) -> Tokenizer:
    """The tokenizer, held against the sentencepiece model, else against transformers; what differs is warned of.

    A converted one that splits otherwise than its sentencepiece model gets the model's own way with texts.

    Raises:
        CheckpointError: it does not know the vocabulary of its own files.
    """
    model, added = read_sentencepiece(folder, reference), added_tokens(folder)
    check_vocabulary(tokenizer, model, folder, converted=converted)
    texts = sample_texts(tokenizer, model.known if model else None)
    if model is not None:
        plain = [text for text in texts if not any(token in text for token in added)]
        tokenizer = _as_sentencepiece(tokenizer, model, plain, folder, converted=converted)
    warn_of_lost(tokenizer, added, folder)
    if model is not None and converted:  # how transformers splits texts was told
        return tokenizer
    unlike = [text for text in (*in_sentences(added), *texts) if _differs(tokenizer, reference, text)]
    if unlike:
        own = "the tokenizer converted from the vocabulary" if converted else "tokenizer.json"
        _warn(
            f"{folder}: {own}, which Octavo uses, splits {unlike[0]!r:.80} otherwise than AutoTokenizer does"
            f"{_more(unlike)}; {_AUTO}, else check do_lower_case and strip_accents in tokenizer_config.json"
        )
    return tokenizer


def warn_of_lost(tokenizer: Tokenizer, added: Iterable[str], folder: Path) -> None:
    """Warn of added tokens that are not found in a text."""
    index_of = {token: tokenizer.token_to_id(token) for token in added}
    lost = [word for word, index in index_of.items() if index not in {None, *tokenizer.encode(f"오늘 {word} now").ids}]
    if lost:
        _warn(f"{folder}: added tokens are not found in texts: {', '.join(map(repr, lost[:5]))}{_more(lost)}")


_AUTO = "for AutoTokenizer's way save it to a folder by save_pretrained, and name that with --tokenizer"


def _as_sentencepiece(
    tokenizer: Tokenizer, model: SentencePiece, texts: Sequence[str], folder: Path, *, converted: bool
) -> Tokenizer:
    """A tokenizer.json as it is; a converted tokenizer with the way with texts that is nearest to sentencepiece's."""
    best, differing = tokenizer, model.differing(tokenizer, texts)
    left = differing
    for mended in model.mended(tokenizer) if converted and differing else ():
        if len(fewer := model.differing(mended, texts)) < len(left):
            best, left = mended, fewer
    if left:
        own = f"the tokenizer converted from {model.name}" if converted else "tokenizer.json"
        then = _AUTO if converted else f"for the way of {model.name} give a folder without tokenizer.json"
        _warn(
            f"{folder}: {own}, which Octavo uses, splits {left[0]!r:.80} otherwise than {model.name} does"
            f"{_more(left)}; {then}"
        )
    elif differing:
        _warn(
            f"{folder}: transformers splits {differing[0]!r:.80} otherwise than {model.name} does{_more(differing)}; "
            f"Octavo takes the way of {model.name}; {_AUTO}"
        )
    return best


def _more(texts: Sequence[str]) -> str:
    return f" (and {len(texts) - 1} more of those that were tried)" if len(texts) > 1 else ""


def _warn(message: str) -> None:
    warnings.warn(" ".join(message.split()), OctavoWarning, stacklevel=4)


def _differs(tokenizer: Tokenizer, reference: Any, text: str) -> bool:
    """Whether transformers makes other ids of a text, alone or before another one."""
    return any(
        list(reference(*given)["input_ids"]) != tokenizer.encode(*given).ids for given in ((text,), (text, FIXED[0]))
    )


def check_vocabulary(tokenizer: Tokenizer, model: SentencePiece | None, folder: Path, *, converted: bool) -> None:
    """Check that tokens have the ids that the files of the vocabulary give them.

    Raises:
        CheckpointError: they have others.
    """
    name, moved = "vocab.txt or vocab.json", []
    if model is not None:
        name, moved = model.name, model.moved(tokenizer)
    else:
        kind = type(tokenizer.model).__name__
        moved = [token for token, index in _vocabulary(folder, kind).items() if tokenizer.token_to_id(token) != index]
    if not moved:
        return
    got = f"{len(moved)} tokens, such as {', '.join(map(repr, moved[:3]))}"
    if converted:
        raise CheckpointError(f"tokens have other ids than in {name}", where=folder, got=got)
    _warn(
        f"{folder}: tokenizer.json, which Octavo uses, has other ids than {name} for {got}; for the ids of {name} give "
        "a folder without tokenizer.json"
    )


def _vocabulary(folder: Path, kind: str) -> dict[str, int]:
    """Token -> id of the file that a kind of tokenizer keeps its vocabulary in; of equal lines the last counts."""
    file = folder / "vocab.txt"
    if kind == "WordPiece" and file.exists():
        lines = file.read_text(encoding="utf-8").split("\n")
        return {line.rstrip("\r"): index for index, line in enumerate(lines) if line.strip()}
    stored = read_settings(folder, "vocab.json") if kind == "BPE" else {}
    return {token: index for token, index in stored.items() if isinstance(index, int)}


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
