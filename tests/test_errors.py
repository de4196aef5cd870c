import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavo import errors
from octavo.errors import (
    CheckpointError,
    DataError,
    ExportError,
    InputError,
    OctavoError,
    RecipeError,
    did_you_mean,
    printable,
    raise_together,
)


def test_message_joins_what_where_got_allowed_next_in_this_order():
    error = OctavoError("bad row", then="fix it", allowed="0 or 1", got=2, where="a.csv")
    assert str(error) == "bad row in a.csv; got: 2; allowed: 0 or 1; next: fix it"


HOSTILE = "\x1b]0;제목\x07\x1b[31m빨강\x9b0m\u202e거꾸로\u2066\x00\r\u200b\ud83d"


def test_nothing_in_a_message_is_obeyed_by_a_terminal():
    error = OctavoError("bad row", where=HOSTILE, got=HOSTILE)
    assert not unobeyed(str(error))
    assert r"\x1b]0;제목\x07\x1b[31m빨강\x9b0m\u202e거꾸로\u2066\x00" in str(error)


@pytest.mark.parametrize("text", ["", "평범한 글", "👩\u200d🔬", "می\u200cخواهم", "soft\u00adhyphen", "[red]", "a  b"])
def test_texts_that_are_shown_as_they_are(text):
    assert printable(text) == text


@given(text=st.text(st.characters()))
def test_no_character_is_lost_and_none_obeyed(text):
    shown = printable(text)
    assert not unobeyed(shown)
    assert len(shown) >= len(text)
    assert printable(shown) == shown


def unobeyed(text):
    """The characters that move a cursor, colour, ring, or turn text around."""
    return {
        character
        for character in text
        if ord(character) < 32
        or 0x7F <= ord(character) < 0xA0
        or character in "\u200b\u200e\u200f\u061c\u2028\u2029\ufeff"
        or 0x202A <= ord(character) <= 0x202E
        or 0x2060 <= ord(character) <= 0x206F
        or 0xD800 <= ord(character) <= 0xDFFF
        or 0xE0000 <= ord(character) <= 0xE007F
    }


def test_message_leaves_out_parts_that_are_not_given():
    assert str(OctavoError("bad row")) == "bad row"
    assert str(OctavoError("bad row", allowed="0 or 1")) == "bad row; allowed: 0 or 1"


def test_message_keeps_values_that_are_false_but_given():
    assert str(OctavoError("bad label", got=0)) == "bad label; got: 0"
    assert str(OctavoError("bad flag", got=False)) == "bad flag; got: False"


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\n\n  ", "\u2028"])
def test_message_is_one_line_whatever_its_parts_hold(newline):
    part = f"one{newline}two"
    error = OctavoError(part, where=part, got=part, allowed=part, then=part)
    assert str(error).splitlines() == [str(error)]
    assert str(error) == "one two in one two; got: one two; allowed: one two; next: one two"


def test_exit_code_is_2_for_what_the_user_gave_and_3_for_the_rest():
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, OctavoError)]
    codes = {kind.__name__: kind("x").exit_code for kind in kinds}
    assert codes == {
        "OctavoError": 3,
        "ExportError": 3,
        "InputError": 2,
        "CheckpointError": 2,
        "RecipeError": 2,
        "DataError": 2,
        "ArtifactError": 2,
        "HardwareError": 2,
        "MissingExtraError": 2,
    }
    assert {kind.__name__ for kind in kinds if issubclass(kind, InputError)} == {
        name for name, code in codes.items() if code == 2
    }


def test_raise_together_does_nothing_without_a_problem():
    raise_together([])


def test_raise_together_raises_the_only_problem_itself():
    problem = DataError("no such column", got="labl")
    with pytest.raises(DataError) as caught:
        raise_together([problem])
    assert caught.value is problem


def test_raise_together_gives_each_problem_its_own_line():
    with pytest.raises(RecipeError) as caught:
        raise_together([RecipeError("one\nfolded", got=1), RecipeError("two"), RecipeError("three", where="here")])
    assert str(caught.value).splitlines() == ["one folded; got: 1", "two", "three in here"]


@pytest.mark.parametrize("kind", [ExportError, CheckpointError])
def test_raise_together_keeps_the_kind_and_its_exit_code(kind):
    with pytest.raises(kind) as caught:
        raise_together([kind("one"), kind("two")])
    assert type(caught.value) is kind
    assert caught.value.exit_code == kind.exit_code


def test_did_you_mean_names_the_closest_and_lists_all():
    assert did_you_mean("dinamic", ["float", "dynamic"]) == "float, dynamic (did you mean 'dynamic'?)"
    assert did_you_mean("dinamic", iter(["float", "dynamic"])) == "float, dynamic (did you mean 'dynamic'?)"


def test_did_you_mean_guesses_nothing_where_nothing_is_near():
    assert did_you_mean("zzz", ["float", "dynamic"]) == "float, dynamic"


def test_an_error_that_was_told_elsewhere_is_told_whole():
    error = OctavoError("")
    error.args = ("on the node a: made for any",)
    assert error.told_in(str, str) == str(error) == "on the node a: made for any"
