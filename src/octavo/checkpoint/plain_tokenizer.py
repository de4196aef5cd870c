"""A `tokenizer.json` of the encoders that Octavo knows, read without transformers.

What `AutoTokenizer` would add to it, or make of a vocabulary, is told as a reason to install transformers.
"""

import json
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from octavo.checkpoint.added_tokens import CONFIG, SPECIAL, added_tokens, read_settings, with_added_tokens
from octavo.checkpoint.sentencepiece_model import NAMES
from octavo.checkpoint.tokenizer import TokenizerParts, check_vocabulary, make_parts, read_json_form, warn_of_lost
from octavo.errors import MissingExtraError, OctavoWarning

_TYPED = ("input_ids", "token_type_ids", "attention_mask")
_PLAIN = ("input_ids", "attention_mask")
_BERT = {"pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]"}
_ROBERTA = {"pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}
# Class of transformers -> the inputs that it makes, and its special tokens where the files name none.
_CLASSES: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "BertTokenizer": (_TYPED, _BERT),
    "ElectraTokenizer": (_TYPED, _BERT),
    "DistilBertTokenizer": (_PLAIN, _BERT),
    "RobertaTokenizer": (_PLAIN, _ROBERTA),
    "XLMRobertaTokenizer": (_PLAIN, _ROBERTA),
    "CamembertTokenizer": (_PLAIN, _ROBERTA),
    "MPNetTokenizer": (_PLAIN, _ROBERTA | {"unk_token": "[UNK]"}),
    "AlbertTokenizer": (_PLAIN, _ROBERTA | {"mask_token": "[MASK]"}),
}
_NORMALIZER = {"do_lower_case": "lowercase", "strip_accents": "strip_accents",
               "tokenize_chinese_chars": "handle_chinese_chars"}  # fmt: skip
_UNSET = object()


def read_plain_tokenizer(folder: Path) -> TokenizerParts:
    """Read `tokenizer.json` and the settings beside it.

    Raises:
        CheckpointError: a file is damaged, or two say two things.
        MissingExtraError: transformers is needed for what they say.
    """
    if not (folder / "tokenizer.json").exists():
        raise _needs("the tokenizer has no tokenizer.json", folder, "a vocabulary, which transformers converts")
    settings, special = read_settings(folder, CONFIG), read_settings(folder, SPECIAL)
    stored = settings.get("tokenizer_class")
    kind = str(stored).removesuffix("Fast")
    if kind not in _CLASSES:
        raise _needs("the class of the tokenizer is not known without transformers", folder, f"{stored!r:.60}")
    names, usual = _CLASSES[kind]
    tokens = {name: _token(name, settings, special, usual) for name in usual}
    stated = {
        *added_tokens(folder),
        *_special_tokens(settings),
        *_special_tokens(special),
        *filter(None, tokens.values()),
    }
    tokenizer = read_json_form(folder)
    if absent := sorted(token for token in stated if tokenizer.token_to_id(token) is None):
        raise _needs("tokens are not in tokenizer.json", folder, ", ".join(absent[:5]))
    tokenizer = with_added_tokens(tokenizer, folder, SimpleNamespace(added_tokens_decoder={}))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    check_vocabulary(tokenizer, None, folder, converted=False)
    warn_of_lost(tokenizer, added_tokens(folder), folder)
    _warn_of_others(json.loads(tokenizer.to_str()).get("normalizer") or {}, settings, folder)
    return make_parts(
        tokenizer,
        folder,
        SimpleNamespace(
            model_max_length=settings.get("model_max_length", settings.get("max_len")),  # as older files call it
            model_input_names=settings.get("model_input_names") or names,
            truncation_side=settings.get("truncation_side"),
            **tokens,
        ),
    )


def _needs(what: str, folder: Path, got: str) -> MissingExtraError:
    return MissingExtraError(f"{what}, and transformers is not installed", where=folder, got=got, then=_INSTALL)


_INSTALL = "pip install 'octavo[convert]'"


def _token(name: str, settings: dict[str, Any], special: dict[str, Any], usual: dict[str, str]) -> str | None:
    """A special token as the files name it: a string, a table with its `content`, or null where there is none."""
    stored = settings.get(name, special.get(name, _UNSET))
    if stored is _UNSET:
        return usual[name]
    return stored.get("content") if isinstance(stored, dict) else stored


def _special_tokens(settings: dict[str, Any]) -> list[str]:
    """What the settings name as special tokens: `AutoTokenizer` adds those that the vocabulary lacks."""
    named = [value for name, value in settings.items() if name.endswith("_token") and isinstance(value, str | dict)]
    return [str(value["content"] if isinstance(value, dict) else value) for value in named]


def _warn_of_others(normalizer: dict[str, Any], settings: dict[str, Any], folder: Path) -> None:
    """Warn of what the files beside `tokenizer.json` say otherwise, and of what is not looked at here."""
    told = []
    if normalizer.get("type") == "BertNormalizer":
        other = [name for name, own in _NORMALIZER.items() if settings.get(name, normalizer[own]) != normalizer[own]]
        if other:
            told.append(f"tokenizer.json, which Octavo uses, has another {', '.join(other)} than {CONFIG}")
    if models := [name for name in NAMES if (folder / name).exists()]:
        told.append(f"tokenizer.json was not held against {models[0]}, for which sentencepiece is needed: {_INSTALL}")
    for note in told:
        warnings.warn(f"{folder}: {note}", OctavoWarning, stacklevel=3)
