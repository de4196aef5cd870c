import pytest

from octavo.errors import CheckpointError
from octavo.shrinking.settings import named_ids, renumbered, require_renumbered, side_files, trimmed_config

STORED = {
    "bos_token_id": 9,
    "eos_token_id": [9, 7],
    "pad_token_id": None,
    "suppress_tokens": [-1, 5],
    "bad_words_ids": [[3, 5], [7]],
    "mask_index": 5,
    "max_new_tokens": 9,
    "is_decoder": True,
    "num_hidden_layers": 9,
    "id2label": {"0": "pad_token_id"},
    "task_specific_params": {"summary": {"forced_bos_token_id": 7, "max_length": 7}},
}


def test_every_id_is_found_and_nothing_else():
    assert named_ids(STORED) == {9, 7, 5, 3}
    new = renumbered(STORED, {9: 3, 7: 2, 5: 1, 3: 0}.__getitem__)
    assert new == STORED | {
        "bos_token_id": 3,
        "eos_token_id": [3, 2],
        "suppress_tokens": [-1, 1],
        "bad_words_ids": [[0, 1], [2]],
        "mask_index": 1,
        "task_specific_params": {"summary": {"forced_bos_token_id": 2, "max_length": 7}},
    }


def test_a_default_of_the_class_is_written_where_it_moves():
    filled = {"vocab_size": 10, "bos_token_id": 9, "eos_token_id": 2, "pad_token_id": None, "decoder_vocab_size": 10}
    new = trimmed_config({"eos_token_id": 2, "decoder_vocab_size": 10}, filled, {2: 2, 9: 3}, 4)
    assert new == {"eos_token_id": 2, "bos_token_id": 3, "vocab_size": 4, "decoder_vocab_size": 4}


def test_an_id_that_is_no_row_stays():
    assert trimmed_config({"eos_token_id": 50256}, {"vocab_size": 10, "eos_token_id": 50256}, {2: 0}, 1) == {
        "eos_token_id": 50256,
        "vocab_size": 1,
    }


@pytest.mark.parametrize(
    "settings",
    [{"forced_decoder_ids": [[1, 5]]}, {"sequence_bias": [[[1], 0.5]]}, {"text_config": {"vocab_size": 9}}],
)
def test_ids_in_a_way_of_their_own_are_refused(settings):
    with pytest.raises(CheckpointError, match=f"not renumbered in 모델; got: {next(iter(settings))}; next"):
        require_renumbered(settings | {"vocab_size": 9, "id2label": {"0": "a"}}, "모델")
    require_renumbered({"forced_decoder_ids": None, "vocab_size": 9}, "모델")


def test_files_beside_the_tokenizer_get_the_new_ids():
    files = {
        "tokenizer_config.json": {"added_tokens_decoder": {"9": {"content": "<b>"}}, "pad_token": "<b>"},
        "added_tokens.json": {"<b>": 9},
        "special_tokens_map.json": {"pad_token": "<b>"},
    }
    assert dict(side_files(files, {9: 1})) == files | {
        "tokenizer_config.json": {"added_tokens_decoder": {"1": {"content": "<b>"}}, "pad_token": "<b>"},
        "added_tokens.json": {"<b>": 1},
    }
