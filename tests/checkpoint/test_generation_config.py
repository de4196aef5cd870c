"""What a checkpoint says of how it wants to write, and what a user may change."""

import json

import pytest

from octavo.checkpoint.generation_config import read_generation
from octavo.errors import CheckpointError, InputError, OctavoWarning
from octavo.schema.signature import GenerationConfig, change_generation_config


def stored(folder, **settings):
    (folder / "generation_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


@pytest.mark.filterwarnings("ignore:.*bad_words_ids of several tokens")
def test_settings_and_tokens_come_from_generation_config(tmp_path):
    folder = stored(
        tmp_path,
        eos_token_id=[7, 8],
        decoder_start_token_id=3,
        forced_bos_token_id=11,
        forced_eos_token_id=7,
        bad_words_ids=[[5], [1, 2]],
        num_beams=4,
        max_length=40,
        length_penalty=0.6,
        early_stopping=True,
        no_repeat_ngram_size=3,
    )
    found = read_generation(folder, {"eos_token_id": 1}, answers=True)
    assert found.eos_token_ids == (7, 8)
    assert (found.decoder_start_token_id, found.forced_bos_token_id, found.forced_eos_token_id) == (3, 11, 7)
    assert found.suppress_token_ids == (5,)
    assert found.sampling == GenerationConfig(
        num_beams=4, max_new_tokens=39, length_penalty=0.6, early_stopping=True, no_repeat_ngram_size=3
    )


def test_without_the_file_tokens_come_from_the_config(tmp_path):
    found = read_generation(tmp_path, {"eos_token_id": 2, "decoder_start_token_id": 0, "d_model": 5}, answers=True)
    assert (found.eos_token_ids, found.decoder_start_token_id, found.sampling) == ((2,), 0, GenerationConfig())
    assert read_generation(tmp_path, {"eos_token_id": 2}, answers=False).decoder_start_token_id is None


def test_a_temperature_that_is_stored_does_not_make_greedy_models_draw(tmp_path):
    folder = stored(tmp_path, temperature=0.6, top_p=0.9, do_sample=False)
    assert not read_generation(folder, {}, answers=False).sampling.do_sample
    assert read_generation(stored(tmp_path, temperature=0.6, do_sample=True), {}, answers=False).sampling.do_sample


def test_settings_that_would_change_the_text_are_named(tmp_path):
    with pytest.warns(OctavoWarning, match="typical_p"):
        read_generation(stored(tmp_path, typical_p=0.5, use_cache=True), {}, answers=False)


@pytest.mark.parametrize("content", ["[1]", "{", '{"top_p": 3}'])
def test_a_damaged_file_is_an_error(tmp_path, content):
    (tmp_path / "generation_config.json").write_text(content, encoding="utf-8")
    with pytest.raises(CheckpointError, match="generation_config"):
        read_generation(tmp_path, {}, answers=False)


def test_a_temperature_asks_for_samples_and_a_temperature_of_zero_for_none():
    assert change_generation_config(GenerationConfig(), {"temperature": 0.7}) == GenerationConfig(
        do_sample=True, temperature=0.7
    )
    assert change_generation_config(GenerationConfig(do_sample=True), {"temperature": 0}) == GenerationConfig()
    assert change_generation_config(GenerationConfig(), {"top_k": 5, "do_sample": False}) == GenerationConfig(top_k=5)
    assert change_generation_config(GenerationConfig(), {"stop": "\n", "seed": None}).stop == ("\n",)


def test_unknown_settings_and_values_out_of_range_are_named():
    with pytest.raises(InputError, match="did you mean 'temperature'"):
        change_generation_config(GenerationConfig(), {"temperatur": 1})
    with pytest.raises(InputError, match="top_p"):
        change_generation_config(GenerationConfig(), {"top_p": 1.5})


def test_lengths_of_answers_count_their_start(tmp_path):
    lengths = {"max_length": 142, "min_length": 56, "num_beams": 4}
    for found in (
        read_generation(tmp_path, lengths, answers=True),
        read_generation(stored(tmp_path, **lengths), {}, answers=True),
    ):
        assert found.sampling == GenerationConfig(max_new_tokens=141, min_new_tokens=55, num_beams=4)
    assert read_generation(tmp_path, {}, answers=False).sampling.max_new_tokens == GenerationConfig().max_new_tokens


def test_what_octavo_does_not_have_is_told(tmp_path):
    with pytest.warns(OctavoWarning, match=r"does not have: penalty_alpha, bad_words_ids of several tokens"):
        read_generation(stored(tmp_path, penalty_alpha=0.6, bad_words_ids=[[5], [1, 2]]), {}, answers=False)


def test_a_stop_string_has_letters():
    with pytest.raises(InputError, match="this one is empty"):
        change_generation_config(GenerationConfig(), {"stop": ""})
    with pytest.raises(InputError, match=r"stop: .*got: 5"):
        change_generation_config(GenerationConfig(), {"stop": 5})
