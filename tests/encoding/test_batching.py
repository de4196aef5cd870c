import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octavo.encoding.batching import MAX_ROWS, TOKEN_BUDGET, Encoded, equal_batches, make_batches, pad, plan_batches
from octavo.errors import InputError
from octavo.inference.predictor import Predictor
from octavo.schema.signature import Signature
from octavo.tasks import TASKS, task_class

SIGNATURE = Signature(
    task="text-classification",
    input_names=("input_ids", "attention_mask", "token_type_ids"),
    output_names=("logits",),
    max_length=64,
    pad_token_id=7,
)
LENGTHS = st.lists(st.integers(1, 600), max_size=700)


@given(lengths=LENGTHS, budget=st.integers(1, 5000))
def test_plan_has_each_row_once_within_the_budget(lengths, budget):
    plan = plan_batches(lengths, budget)
    assert sorted(row for batch in plan for row in batch) == list(range(len(lengths)))
    for batch in plan:
        assert 1 <= len(batch) <= MAX_ROWS
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= budget
    in_order = [lengths[row] for batch in plan for row in batch]
    assert in_order == sorted(in_order)


@given(lengths=LENGTHS, budget=st.integers(1, 5000))
def test_plan_does_not_end_a_batch_early(lengths, budget):
    plan = plan_batches(lengths, budget)
    for batch, following in itertools.pairwise(plan):
        assert len(batch) == MAX_ROWS or (len(batch) + 1) * lengths[following[0]] > budget


def test_equal_lengths_keep_their_order():
    assert plan_batches([3, 3, 1, 3], token_budget=9) == [(2, 0, 1), (3,)]


@given(lengths=st.lists(st.integers(1, 12), max_size=200), budget=st.integers(1, 100))
def test_exact_lengths_are_not_mixed(lengths, budget):
    plan = plan_batches(lengths, budget, exact=True)
    assert sorted(row for batch in plan for row in batch) == list(range(len(lengths)))
    for batch, following in itertools.pairwise([*plan, ()]):
        (length,) = {lengths[row] for row in batch}
        more = following and lengths[following[0]] == length
        assert not more or (len(batch) + 1) * length > budget  # nor is one cut without need


def test_batches_of_a_model_whose_answers_padding_changes_are_not_padded():
    rows = [Encoded(ids=list(range(8, 8 + count)), type_ids=[0] * count) for count in (3, 2, 3, 1)]
    signature = SIGNATURE.model_copy(update={"exact_lengths": True})
    for batches in (make_batches(rows, signature), *equal_batches([rows], [signature])):
        assert [batch.rows for batch in batches] == [(3,), (1,), (0, 2)]
        assert all(batch.inputs["attention_mask"].all() for batch in batches)
    with pytest.raises(InputError, match="cut texts otherwise; next: compare it with models of its own tokenizer"):
        equal_batches([rows, rows], [SIGNATURE, signature])


def test_no_rows_no_batches():
    assert plan_batches([]) == []
    assert make_batches([], SIGNATURE) == []


def test_short_rows_stop_at_the_most_rows():
    plan = plan_batches([1] * (2 * MAX_ROWS + 3))
    assert [len(batch) for batch in plan] == [MAX_ROWS, MAX_ROWS, 3]


def test_a_huge_row_is_alone():
    huge = TOKEN_BUDGET + 1
    plan = plan_batches([5, huge, 5, huge])
    assert plan == [(0, 2), (1,), (3,)]


def test_pad_by_hand():
    rows = [Encoded(ids=[2, 5, 3], type_ids=[0, 0, 1]), Encoded(ids=[2], type_ids=[1])]
    padded = pad(rows, SIGNATURE)
    assert padded["input_ids"].tolist() == [[2, 5, 3], [2, 7, 7]]
    assert padded["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert padded["token_type_ids"].tolist() == [[0, 0, 1], [1, 0, 0]]
    assert {array.dtype for array in padded.values()} == {np.dtype(np.int64)}


def test_pad_gives_only_the_inputs_of_the_model_in_its_order():
    names = ("attention_mask", "input_ids")
    padded = pad([Encoded([1], [0])], SIGNATURE.model_copy(update={"input_names": names}))
    assert tuple(padded) == names


def test_a_padding_id_inside_a_row_is_attended():
    padded = pad([Encoded([7, 7], [0, 0]), Encoded([1], [0])], SIGNATURE)
    assert padded["attention_mask"].tolist() == [[1, 1], [1, 0]]


@settings(max_examples=50)
@given(data=st.lists(st.lists(st.integers(8, 100), min_size=1, max_size=40), max_size=60), budget=st.integers(1, 300))
def test_batches_give_every_row_back(data, budget):
    encoded = [Encoded(ids, [index % 2] * len(ids)) for index, ids in enumerate(data)]
    found = {}
    for batch in make_batches(encoded, SIGNATURE, budget):
        ids, mask, types = (batch.inputs[name] for name in SIGNATURE.input_names)
        assert ids.shape == mask.shape == types.shape
        assert ids.shape == (len(batch.rows), max(len(data[row]) for row in batch.rows))
        for position, row in enumerate(batch.rows):
            kept = mask[position] == 1
            found[row] = ids[position][kept].tolist()
            assert types[position][kept].tolist() == encoded[row].type_ids
            assert set(ids[position][~kept]) <= {SIGNATURE.pad_token_id}
            assert not types[position][~kept].any()
    assert found == dict(enumerate(data))


def test_rows_and_batches_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Encoded([1], [0]).unknown = 3


class Spy:
    """A model that fills masks, and remembers how many tokens each batch had."""

    name, threads, streams = "spy", 1, 1

    def __init__(self):
        self.tokens = []

    def run(self, inputs):
        self.tokens.append(inputs["input_ids"].size)
        return np.zeros((len(inputs["input_ids"]), 1, 7), np.float32)


def test_what_a_batch_answers_for_a_whole_vocabulary_fits_into_64_mib():
    demo = Path(__file__).parents[2] / "examples" / "korean-nli"
    signature = Signature(
        task="fill-mask",
        input_names=("input_ids", "attention_mask"),
        output_names=("logits",),
        max_length=256,
        pad_token_id=0,
        mask_token_id=4,
    )
    spy = Spy()
    Predictor(spy, (demo / "tokenizer.json").read_text(encoding="utf-8"), signature).logits(["공원에서 논다"] * 500)
    vocabulary, number = 32_000, 4  # words, and bytes of a float32
    assert 4 * 2**20 < max(spy.tokens) * vocabulary * number < 64 * 2**20
    wide = {name for name in TASKS if task_class(name).token_budget < TOKEN_BUDGET}
    assert wide == {"fill-mask", "sparse-encoding", "text-generation"}, (
        "tasks whose answer to a token is as wide as the vocabulary"
    )


def windows(counts, lengths, first=0):
    """Rows of `counts` windows each, with lengths in turn; ids tell the row and the window."""
    encoded = []
    for row, count in enumerate(counts):
        for number in range(count):
            length = lengths[len(encoded) % len(lengths)]
            encoded.append(Encoded([first + row, number] + [7] * length, [0] * (length + 2), row=row))
    return encoded


class TestBatchesOfSeveralModels:
    @settings(deadline=None)
    @given(st.lists(st.integers(1, 60), max_size=200), st.integers(1, 200))
    def test_of_one_model_they_are_its_batches(self, data, budget):
        encoded = [Encoded([1] * length, [0] * length) for length in data]
        (found,) = equal_batches([encoded], [SIGNATURE], budget)
        expected = make_batches(encoded, SIGNATURE, budget)
        assert [batch.rows for batch in found] == [batch.rows for batch in expected]
        assert all(batch.parts == tuple(range(len(batch.rows))) for batch in found)
        for one, other in zip(found, expected, strict=True):
            assert all(np.array_equal(one.inputs[name], other.inputs[name]) for name in other.inputs)

    @settings(deadline=None)
    @given(
        st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=30),
        st.lists(st.integers(1, 40), min_size=1, max_size=5),
        st.integers(1, 300),
    )
    def test_each_batch_has_the_same_rows(self, counts, lengths, budget):
        both = [windows([pair[model] for pair in counts], lengths[model:] or lengths) for model in (0, 1)]
        first, second = equal_batches(both, [SIGNATURE, SIGNATURE], budget)
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            owners = [
                [encoded[batch.rows[place]].row for place in batch.parts]
                for encoded, batch in zip(both, (one, other), strict=True)
            ]
            assert owners[0] == owners[1], "part by part the same row, in the same order"
            largest = max(batch.inputs["input_ids"].size for batch in (one, other))
            assert largest <= budget or len(one.parts) == 1
        for encoded, batches in zip(both, (first, second), strict=True):
            assert sorted(row for batch in batches for row in batch.rows) == list(range(len(encoded)))
            for batch in batches:
                heads = batch.inputs["input_ids"][:, :2].tolist()
                assert heads == [list(encoded[row].ids[:2]) for row in batch.rows]

    def test_a_long_context_does_not_become_one_batch(self):
        both = [windows([40], [100]), windows([50], [100])]
        first, second = equal_batches(both, [SIGNATURE, SIGNATURE], 1000)
        assert len(first) == len(second) > 5
        assert sum(len(batch.rows) for batch in second) == 50
