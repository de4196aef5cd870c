"""A checkpoint's generation settings: `generation_config.json`, and `config.json` where there is none."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from octavo.data.json_text import read_json
from octavo.errors import CheckpointError, InputError, OctavoWarning
from octavo.schema.documents import not_finite
from octavo.schema.signature import Generation, GenerationConfig, change_generation_config

FILE = "generation_config.json"
TARGET_TOKENIZER = "target_tokenizer.json"
_OURS = {
    "min_new_tokens", "do_sample", "temperature", "top_k", "top_p", "repetition_penalty", "no_repeat_ngram_size",
    "num_beams", "length_penalty", "early_stopping", "max_new_tokens",
}  # fmt: skip
_TOKENS = {
    "bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "forced_bos_token_id",
    "forced_eos_token_id", "bad_words_ids", "suppress_tokens",
}  # fmt: skip
_LENGTHS = {"max_length", "min_length"}  # of an answer with its start; of a continued text with its prompt, not read
_WITHOUT_EFFECT = {
    "use_cache", "transformers_version", "output_attentions", "output_hidden_states",
    "output_scores", "return_dict_in_generate", "num_return_sequences", "trust_remote_code", "renormalize_logits",
    "cache_implementation", "return_legacy_cache", "low_memory", "num_assistant_tokens",
}  # fmt: skip


def read_generation(folder: Path, config: Mapping[str, Any], *, answers: bool) -> Generation:
    """A model's settings and tokens; `answers`: it is a text2text model, whose length counts from its own start.

    Warns of settings that would change the text and that Octavo does not have.

    Raises:
        CheckpointError: the file is not a table of settings, or a value is out of its range.
    """
    stored = _stored(folder)
    known = _OURS | _TOKENS | _LENGTHS
    settings = stored if stored is not None else {name: config[name] for name in known if name in config}
    given = {name: value for name, value in settings.items() if value is not None}
    other = sorted(name for name in given.keys() - known - _WITHOUT_EFFECT if not name.startswith("_"))
    words = given.get("bad_words_ids") or []
    if any(len(word) > 1 for word in words):
        other.append("bad_words_ids of several tokens")
    if stored is not None and other:
        warnings.warn(f"{folder / FILE}: settings that Octavo does not have: {', '.join(other)}", OctavoWarning, 2)
    ours = {name: value for name, value in given.items() if name in _OURS and (name != "temperature" or value > 0)}
    ours["do_sample"] = bool(given.get("do_sample", False))
    for name, length in (("max_new_tokens", "max_length"), ("min_new_tokens", "min_length")):
        if answers and name not in given and given.get(length, 0) > 1:
            ours[name] = given[length] - 1
    try:
        chosen = change_generation_config(GenerationConfig(), ours)
    except InputError as error:
        raise CheckpointError("a setting is out of its range", where=folder / FILE, got=error) from None
    suppressed = [*(given.get("suppress_tokens") or []), *(word[0] for word in words if len(word) == 1)]
    ends = given.get("eos_token_id", config.get("eos_token_id"))
    start = given.get("decoder_start_token_id", config.get("decoder_start_token_id", given.get("bos_token_id")))
    return Generation(
        sampling=chosen,
        eos_token_ids=tuple(ends) if isinstance(ends, list) else () if ends is None else (ends,),
        decoder_start_token_id=start if answers else None,
        forced_bos_token_id=given.get("forced_bos_token_id"),
        forced_eos_token_id=given.get("forced_eos_token_id"),
        suppress_token_ids=tuple(dict.fromkeys(token for token in suppressed if token >= 0)),
        target_tokenizer=(folder / TARGET_TOKENIZER).exists(),
    )


def _stored(folder: Path) -> dict[str, Any] | None:
    path = folder / FILE
    if not path.exists():
        return None
    try:
        settings = read_json(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{FILE} is not JSON", where=path, got=error) from None
    if not isinstance(settings, dict):
        raise CheckpointError(f"{FILE} is not a table", where=path, got=type(settings).__name__)
    if number := not_finite(settings):
        raise CheckpointError("a setting is NaN or infinite", where=path, got=number)
    return settings
