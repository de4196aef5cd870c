import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavo.schema.documents import json_text, not_finite
from octavo.schema.manifest import SelfTest

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(document=DOCUMENTS, indent=st.sampled_from([None, 1]))
def test_json_is_read_as_it_was_and_shows_no_control(document, indent):
    text = json_text(document, indent=indent)
    assert json.loads(text) == document
    assert not_finite(document) is None
    assert not {character for character in text if ord(character) < 32 or 0x7F <= ord(character) < 0xA0} - {"\n"}
    assert not {
        character for character in text if 0x202A <= ord(character) <= 0x202E or 0x2060 <= ord(character) <= 0x206F
    }


def test_json_of_usual_texts_is_readable():
    assert json_text({"label": "긍정", "score": 0.5}) == '{"label": "긍정", "score": 0.5}'
    assert json_text(["\x9b31m\u202e\U000e0041\x7f"]) == r'["\u009b31m\u202e\udb40\udc41\u007f"]'


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_the_place_of_a_number_that_is_not_finite(number):
    assert not_finite({"a": 1.0, "b": [{"c": 2}, {"d": number}]}) == f"b.1.d: {number}"
    assert not_finite(number) == f": {number}"
    assert not_finite({"a": [1e308, 5, "nan", None, True]}) is None


def test_a_deep_document_is_looked_through():
    document = math.nan
    for _ in range(100_000):
        document = [document]
    assert not_finite(document).endswith(".0: nan")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_a_record_has_no_such_number(number):
    text = f'{{"inputs": {{}}, "outputs": [], "distance": {number}, "range": 1.0}}'
    with pytest.raises(ValueError, match="distance"):
        SelfTest.model_validate_json(text)
