"""Ids of tokens in a checkpoint's settings: `config.json`, `generation_config.json`, the files of its tokenizer."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from octavo.errors import CheckpointError

_IDS = re.compile(
    r"(.*_)?token_ids?|(begin_)?suppress_tokens|(bad|force)_words_ids|(bos|eos|pad|unk|mask|sep|cls)_index"
)
_OTHER_IDS = re.compile(r"forced_decoder_ids|sequence_bias|lang_to_id|task_to_id|(.*_)?token_index|entity_vocab_size")
_SIZES = ("vocab_size", "decoder_vocab_size")


def require_renumbered(settings: Mapping[str, Any], where: object) -> None:
    """See that all ids in settings can be found, and that there is one vocabulary.

    Raises:
        CheckpointError: a setting holds ids in a way of its own, or is of a model inside the model.
    """
    got = [name for name, value in settings.items() if _OTHER_IDS.fullmatch(name) and value]
    got += [name for name, value in settings.items() if isinstance(value, dict) and value.get("vocab_size")]
    if got:
        what = "settings that depend on the vocabulary, and that are not renumbered"
        raise CheckpointError(what, where=where, got=", ".join(got), then="give a checkpoint without them")


def named_ids(settings: Mapping[str, Any]) -> set[int]:
    """The ids of tokens that settings name; a token that one names stays."""
    ids = set[int]()

    def note(index: int) -> int:
        ids.add(index)
        return index

    renumbered(settings, note)
    return ids


def renumbered(settings: Mapping[str, Any], new_id: Callable[[int], int]) -> dict[str, Any]:
    """The settings with the new ids of tokens, in tables within them too; what is no id (-1) stays as it is."""

    def of(value: Any) -> Any:
        if isinstance(value, list):
            return [of(item) for item in value]
        is_id = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        return new_id(value) if is_id else value

    return {
        name: of(value)
        if _IDS.fullmatch(name)
        else renumbered(value, new_id)
        if isinstance(value, dict) and name not in {"id2label", "label2id"}
        else value
        for name, value in settings.items()
    }


def trimmed_config(
    stored: Mapping[str, Any], filled: Mapping[str, Any], new_ids: Mapping[int, int], rows: int
) -> dict[str, Any]:
    """`config.json` for a vocabulary of `rows`; ids that are only a default of its class are written where they move.

    `stored` is the file, `filled` the same with the defaults.
    """

    def new_id(index: int) -> int:
        return new_ids.get(index, index)

    sizes = {name: rows for name in _SIZES if stored.get(name, filled.get(name))}
    defaults = {name: value for name, value in filled.items() if _IDS.fullmatch(name) and stored.get(name) is None}
    moved = renumbered(defaults, new_id)
    return renumbered(stored, new_id) | {name: moved[name] for name in moved if moved[name] != defaults[name]} | sizes


def side_files(files: Mapping[str, Any], new_ids: Mapping[int, int]) -> Iterator[tuple[str, Any]]:
    """The files beside `tokenizer.json`, name -> table, with the new ids of added tokens."""
    for name, settings in files.items():
        changed = settings
        if name == "added_tokens.json":
            changed = {token: new_ids[int(index)] for token, index in settings.items()}
        elif isinstance(added := settings.get("added_tokens_decoder"), dict):
            changed = settings | {
                "added_tokens_decoder": {str(new_ids[int(old)]): token for old, token in added.items()}
            }
        yield name, changed
