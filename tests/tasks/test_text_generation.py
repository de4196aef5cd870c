"""Windows of texts, perplexity, and how near a next-token distribution is to another."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from octavo.errors import DataError, InputError
from octavo.evaluation.writers import LIKELIEST, ScoringSession
from octavo.metrics.differences import perplexity_difference
from octavo.metrics.scores import perplexity
from octavo.schema.signature import Generation, Signature
from octavo.tasks import find_task
from octavo.tasks.text_generation import windows

FEW = settings(max_examples=40)


def signature(size):
    return Signature(
        task="text-generation",
        input_names=("input_ids", "attention_mask"),
        output_names=("logits",),
        max_length=size,
        pad_token_id=0,
        generation=Generation(),
    )


def tokenizer():
    letters = Tokenizer(
        models.WordLevel({letter: index for index, letter in enumerate("?abcdefghij\n")}, unk_token="?")
    )
    letters.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return letters


class Fixed:
    """A model whose logits are a function of the last token."""

    name, threads, streams = "fixed", 1, 1

    def __init__(self, table):
        self.table = table

    def logits(self, inputs):
        return self.table[inputs["input_ids"]]


@given(st.integers(2, 60), st.integers(2, 16), st.data())
@FEW
def test_every_token_but_the_first_is_scored_once(length, size, data):
    stride = data.draw(st.integers(1, size))
    text = "".join("abcdefghij"[index % 10] for index in range(length))
    found = windows(tokenizer(), [text], signature(size), stride)
    assert all(2 <= len(row.ids) <= size for row in found)
    scored = sum(sum(row.type_ids[1:]) for row in found)
    firsts = 1 if stride < size else len(range(0, length, size))  # tokens that nothing stands before
    assert scored == length - firsts
    if stride == 1 and length > size:
        assert all(sum(row.type_ids) == 1 for row in found[1:])  # each with all the context that there is room for


def test_windows_are_of_all_texts_together():
    (row,) = windows(tokenizer(), ["ab", "cd"], signature(10))
    assert tokenizer().decode(row.ids, skip_special_tokens=False).replace(" ", "") == "ab\ncd"


def test_strides_that_leave_tokens_out_and_texts_too_short_are_errors():
    with pytest.raises(InputError, match="stride"):
        windows(tokenizer(), ["abcdef"], signature(4), 5)
    with pytest.raises(DataError, match="too short"):
        windows(tokenizer(), ["a"], signature(4))


def test_perplexity_is_the_exponential_of_the_mean_loss():
    table = np.random.default_rng(0).normal(size=(12, 12)).astype(np.float32)
    ids = np.array([[1, 2, 3, 4, 5], [6, 7, 8, 0, 0]])
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    task = find_task(signature(9))
    outputs = ScoringSession(Fixed(table), 9).run({"input_ids": ids, "attention_mask": mask})
    log_p = table - np.log(np.exp(table).sum(axis=1, keepdims=True))
    pairs = [(1, 2), (2, 3), (3, 4), (4, 5), (6, 7), (7, 8)]
    expected = np.exp(-np.mean([log_p[pair] for pair in pairs]))
    assert outputs.shape == (2, 9, 1 + 2 * LIKELIEST)
    assert task.quality(outputs, ())["perplexity"] == pytest.approx(expected, rel=1e-5)
    context = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.array([[0, 0, 0, 1, 1], [0, 0, 1, 0, 0]])}
    outputs = ScoringSession(Fixed(table), 9).run(context)
    expected = np.exp(-np.mean([log_p[pair] for pair in ((3, 4), (4, 5), (7, 8))]))
    assert task.quality(outputs, ())["perplexity"] == pytest.approx(expected, rel=1e-5)


def outputs_of(tables):
    ids = np.random.default_rng(5).integers(0, len(tables[0]), (4, 20))
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    log_p = [table - np.log(np.exp(table).sum(axis=1, keepdims=True)) for table in tables]
    last = ids[:, :-1]
    whole = np.mean((np.exp(log_p[0]) * (log_p[0] - log_p[1])).sum(axis=1)[last])
    return [ScoringSession(Fixed(table), 20).run(inputs) for table in tables], float(whole)


def test_divergence_of_a_small_vocabulary_is_exact():
    generator = np.random.default_rng(1)
    table = generator.normal(size=(12, 12)).astype(np.float32)
    found, whole = outputs_of([table, table + 0.1 * generator.normal(size=table.shape).astype(np.float32)])
    assert find_task(signature(20)).fidelity(*found, ())["kl"] == pytest.approx(whole, rel=1e-3)


@pytest.mark.parametrize("moved", [0.02, 0.3, 2.0])
def test_divergence_of_a_large_vocabulary_is_bounded_from_below_and_near(moved):
    generator = np.random.default_rng(2)
    table = 4 * generator.normal(size=(300, 300)).astype(np.float32)
    found, whole = outputs_of([table, table + moved * generator.normal(size=table.shape).astype(np.float32)])
    kl = find_task(signature(20)).fidelity(*found, ())["kl"]
    assert 0.6 * whole <= kl <= whole * 1.001


def test_models_that_are_the_same_agree():
    table = np.random.default_rng(3).normal(size=(40, 40)).astype(np.float32)
    found, _ = outputs_of([table, table])
    task = find_task(signature(20))
    assert task.fidelity(*found, ()) == {"agreement": 1.0, "kl": pytest.approx(0, abs=1e-6)}
    assert not task.distances(*found).any()


@given(st.integers(60, 200), st.floats(-0.05, 0.05), st.integers(0, 99))
@FEW
def test_the_difference_of_perplexities_is_relative_and_holds_the_truth_of_resampling(n, shift, seed):
    generator = np.random.default_rng(seed)
    counts = generator.integers(20, 256, n).astype(np.float64)
    first = counts * generator.normal(1.5, 0.2, n)
    second = first + counts * generator.normal(shift, 0.03, n)
    found = perplexity_difference(counts, first, second, seed=seed)
    assert found.value == pytest.approx(1 - perplexity(counts, second) / perplexity(counts, first), abs=1e-9)
    drawn = []
    for _ in range(400):
        rows = generator.integers(0, n, n)
        drawn.append(1 - perplexity(counts[rows], second[rows]) / perplexity(counts[rows], first[rows]))
    spread = np.std(drawn)
    normal = 2 * 1.96 * spread  # the score interval is wider: it counts on windows that were not seen
    assert 0.8 * normal <= found.high - found.low <= 1.6 * normal
    assert found.low <= found.value <= found.high
