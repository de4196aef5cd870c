"""JSON within limits."""

import json
import os

import pytest

from octavo.data.json_text import DEEPEST, parse_json, read_json


def nested(depth):
    return "[" * depth + "]" * depth


@pytest.mark.parametrize("depth", [DEEPEST + 1, 900, 100_000])
def test_what_is_too_deep_is_a_value_error(depth):
    with pytest.raises(ValueError, match="100 deep"):
        parse_json(nested(depth))
    with pytest.raises(ValueError, match="100 deep"):
        parse_json(f'{{"가": [1, {{"나": {nested(depth)}}}]}}')


def test_what_is_not_too_deep_is_what_json_makes_of_it():
    for text in (nested(DEEPEST), '{"가": [1, 2.5, null, true, "[[["], "나": {}}', "3", '"문장"'):
        assert parse_json(text) == json.loads(text)


def test_numbers_of_too_many_digits():
    with pytest.raises(ValueError, match="digits"):
        parse_json("9" * 5_000)


def test_a_pipe_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(OSError, match="pipe"):
        read_json(tmp_path / "config.json")
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "없다.json")
