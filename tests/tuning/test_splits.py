"""Three parts that never overlap, and the same ones every time."""

from itertools import combinations

import pytest

from octavo.data.examples import Example
from octavo.errors import DataError
from octavo.tuning.splits import split_examples

PAIRS = [Example(f"전제 {n // 3}", f"가설 {n}", n % 3) for n in range(3000)]


def parts(splits):
    return {"calibration": splits.calibration, "selection": splits.selection, "confirmation": splits.confirmation}


def test_all_examples_are_in_one_part_each_and_no_text_is_in_two():
    found = parts(split_examples(PAIRS, 0, None))
    assert sorted(one.text_pair for part in found.values() for one in part) == sorted(one.text_pair for one in PAIRS)
    texts = [{text for one in part for text in (one.text, one.text_pair)} for part in found.values()]
    assert not any(a & b for a, b in combinations(texts, 2))
    sizes = {name: len(part) for name, part in found.items()}
    assert 200 <= sizes["calibration"] <= 400
    assert abs(sizes["selection"] - sizes["confirmation"]) < 300


def test_duplicates_stay_on_one_side_in_either_column():
    examples = [*PAIRS, *PAIRS[:300], *(Example(one.text_pair, f"또 {one.text_pair}", 0) for one in PAIRS[300:600])]
    found = parts(split_examples(examples, 0, None))
    sides = [{one.text for one in part} | {one.text_pair for one in part} for part in found.values()]
    assert not any(a & b for a, b in combinations(sides, 2))


def test_one_text_of_all_rows_does_not_tie_them_together():
    examples = [Example(f"문장 {n}", "긍정") for n in range(1000)]
    splits = split_examples(examples, 0, None)
    assert splits.together == "examples with the same texts"
    assert len(splits.selection) > 300


def test_a_part_follows_from_the_text_alone():
    first, second = split_examples(PAIRS, 0, None), split_examples(PAIRS[::-1], 7, None)
    assert {name: set(part) for name, part in parts(first).items()} == {
        name: set(part) for name, part in parts(second).items()
    }
    assert first.selection != second.selection
    assert first == split_examples(PAIRS, 0, None)


def test_examples_to_calibrate_on_that_are_given_are_in_no_other_part():
    splits = split_examples(PAIRS, 0, PAIRS[:300])
    assert splits.calibration == tuple(PAIRS[:300])
    assert len(splits.selection) + len(splits.confirmation) == 2700


def test_too_few_are_refused():
    with pytest.raises(DataError, match="too few examples"):
        split_examples(PAIRS[:60], 0, None)
