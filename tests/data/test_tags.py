"""Entities of tags, held against seqeval."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from octavo.data.tags import as_iob2, entities, split_tag, spread, types

SCHEMES = ("BI", "IE", "BIES", "BIESO")
tag = st.one_of(
    st.just("O"),
    st.sampled_from("BIES"),
    st.tuples(st.sampled_from("BIES"), st.sampled_from(("PER", "LOC", "A-B"))).map("-".join),
)


@settings(max_examples=300)
@given(st.lists(tag, max_size=12))
def test_as_seqeval_on_any_tags(tags):
    assert entities(tags) == [tuple(one) for one in get_entities(tags)]


def test_every_scheme_marks_the_same_entities():
    wanted = [("PER", 0, 1), ("PER", 2, 2), ("LOC", 4, 6)]
    assert entities(["B-PER", "I-PER", "B-PER", "O", "B-LOC", "I-LOC", "I-LOC"]) == wanted  # IOB2
    assert entities(["I-PER", "I-PER", "B-PER", "O", "I-LOC", "I-LOC", "I-LOC"]) == wanted  # IOB1
    assert entities(["I-PER", "E-PER", "E-PER", "O", "I-LOC", "I-LOC", "E-LOC"]) == wanted  # IOE
    assert entities(["B-PER", "E-PER", "S-PER", "O", "B-LOC", "I-LOC", "E-LOC"]) == wanted  # BIOES
    assert entities(["B-PER", "L-PER", "U-PER", "O", "B-LOC", "I-LOC", "L-LOC"]) == wanted  # BILOU
    assert entities(["PER_B", "PER_I", "PER_B", "O", "LOC_B", "LOC_I", "LOC_I"]) == wanted  # the type first


def test_a_tag_without_a_place_goes_on():
    assert split_tag("NOUN") == ("I", "NOUN")
    assert entities(["NOUN", "NOUN", "VERB"]) == [("NOUN", 0, 1), ("VERB", 2, 2)]
    assert types(["B-PER", "O", "I-PER", "NOUN"]) == ["PER", "NOUN"]


def test_the_scheme_says_nothing():
    wanted = ["B-PER", "I-PER", "B-PER", "O"]
    for tags in (wanted, ["I-PER", "I-PER", "B-PER", "O"], ["B-PER", "E-PER", "S-PER", "O"]):
        assert as_iob2(tags) == wanted


@pytest.mark.parametrize("one", ["B-X", "I-X", "E-X", "S-X", "O"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_token_over_several_letters_is_the_same_entity(one, count):
    alone, after = entities([one, "I-X", "O"]), entities([*spread(one, count), "I-X", "O"])
    more = count - 1  # letters: whatever comes behind them moves
    assert [(kind, a + more * (a > 0), b + more) for kind, a, b in alone] == after
