"""The tokens that files of a tokenizer add to its vocabulary, and one `tokenizer.json` that has them all.

`added_tokens.json` and `added_tokens_decoder` of tokenizer_config.json give ids, `special_tokens_map.json` and lists of
special tokens give names alone. Where `tokenizer.json` lacks one, `AutoTokenizer` adds it, and so does this.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from octavo.data.json_text import read_json
from octavo.errors import CheckpointError

CONFIG, SPECIAL, ADDED = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"
_LISTS = ("additional_special_tokens", "extra_special_tokens")


def read_settings(folder: Path, name: str) -> dict[str, Any]:
    """A JSON table of settings; empty where there is no such file.

    Raises:
        CheckpointError: the file is not JSON, or no table.
    """
    file = folder / name
    try:
        settings = read_json(file) if file.exists() else {}
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{name} is not JSON", where=file, got=error) from None
    if not isinstance(settings, dict):
        raise CheckpointError(f"{name} is not a table", where=file, got=type(settings).__name__)
    return settings


def added_tokens(folder: Path) -> dict[str, dict[str, int | None]]:
    """The added tokens of all files: token -> file -> id, or None where the file gives a name alone.

    Raises:
        CheckpointError: a file is not JSON.
    """
    tokens: dict[str, dict[str, int | None]] = {}
    for file, token, index in _listed(folder):
        tokens.setdefault(token, {})[file] = index
    return tokens


def _listed(folder: Path) -> Iterator[tuple[str, str, int | None]]:
    for token, index in read_settings(folder, ADDED).items():
        yield ADDED, token, _id(index, folder / ADDED)
    config = read_settings(folder, CONFIG)
    for index, token in _table(config.get("added_tokens_decoder")).items():
        yield CONFIG, _content(token), _id(index, folder / CONFIG)
    for name, settings in ((CONFIG, config), (SPECIAL, read_settings(folder, SPECIAL))):
        for key in _LISTS:
            listed = settings.get(key) or ()
            for token in listed.values() if isinstance(listed, dict) else listed:
                yield name, _content(token), None


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _content(token: Any) -> str:
    """A token stands as a string, or as a table with its `content`."""
    return str(token.get("content", "")) if isinstance(token, Mapping) else str(token)


def _id(value: Any, file: Path) -> int:
    if not str(value).isdigit():
        raise CheckpointError("the id of an added token is no number", where=file, got=f"{value!r:.40}")
    return int(value)


def with_added_tokens(tokenizer: Tokenizer, folder: Path, reference: Any) -> Tokenizer:
    """A tokenizer with the added tokens of all files; `reference` is the one of transformers.

    Raises:
        CheckpointError: two files give a token two ids, or two tokens one id, or a token cannot have its id.
    """
    stated = added_tokens(folder)
    known = {str(token): (index, token) for index, token in reference.added_tokens_decoder.items()}
    ids: dict[str, int] = {}
    for token, files in stated.items():
        numbers = {file: index for file, index in files.items() if index is not None}
        own = tokenizer.token_to_id(token)
        told = {"tokenizer.json": own} | numbers if own is not None else numbers
        if len(set(told.values())) > 1:
            got = ", ".join(f"{index} in {file}" for file, index in told.items())
            raise CheckpointError(f"the token {token!r} has several ids", where=folder, got=got)
        index = next(iter(told.values()), known[token][0] if token in known else None)
        if index is not None:
            ids[token] = index
    missing = {token: index for token, index in ids.items() if tokenizer.token_to_id(token) is None}
    taken = {token: tokenizer.id_to_token(index) for token, index in missing.items()}
    extended = _extend(tokenizer, missing, {token: known[token][1] for token in missing if token in known})
    for token, index in ids.items():
        holds = taken.get(token) or extended.id_to_token(index)
        if extended.token_to_id(token) != index or holds != token:
            got = f"{token!r} for {index}, which is {holds!r}"
            raise CheckpointError("an added token cannot have its id", where=folder, got=got)
    return extended


def _extend(tokenizer: Tokenizer, missing: Mapping[str, int], kinds: Mapping[str, Any]) -> Tokenizer:
    """Add tokens under their ids; `kinds` tell what transformers knows of them."""
    if not missing:
        return tokenizer
    content = json.loads(tokenizer.to_str())
    names = ("single_word", "lstrip", "rstrip", "normalized", "special")
    for token, index in sorted(missing.items(), key=lambda item: item[1]):
        kind = {name: bool(getattr(kinds.get(token), name, False)) for name in names}
        content["added_tokens"].append({"id": index, "content": token} | kind)
        if isinstance(content["model"].get("vocab"), dict):  # else tokenizers gives the next id
            content["model"]["vocab"].setdefault(token, index)
    return Tokenizer.from_str(json.dumps(content, ensure_ascii=False))
