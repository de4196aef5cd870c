"""What is done to scores equals what transformers' processors do, on random scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octavo.generation import processors
from octavo.schema.signature import Generation, GenerationConfig

torch = pytest.importorskip("torch")
hf = pytest.importorskip("transformers.generation.logits_process")

SHAPES = st.tuples(st.integers(1, 3), st.integers(4, 40), st.integers(0, 2**32 - 1))
FEW = settings(max_examples=60)


def drawn(shape):
    rows, vocabulary, seed = shape
    generator = np.random.default_rng(seed)
    ids = generator.integers(0, vocabulary, (rows, 6))
    return generator.normal(0, 3, (rows, vocabulary)).astype(np.float32), ids


def expected(processor, scores, ids):
    return processor(torch.from_numpy(ids), torch.from_numpy(scores.copy())).numpy()


@given(SHAPES, st.floats(0.5, 2.0))
@FEW
def test_repetition_penalty(shape, penalty):
    scores, ids = drawn(shape)
    found = processors.penalize_repetition(scores, ids.tolist(), penalty)
    assert np.allclose(found, expected(hf.RepetitionPenaltyLogitsProcessor(penalty), scores, ids), rtol=1e-6)


@given(SHAPES, st.integers(1, 4))
@FEW
def test_no_ngram_comes_twice(shape, size):
    scores, ids = drawn(shape)
    ids %= 3  # so that n-grams do come again
    found = processors.forbid_repeated_ngrams(scores, ids.tolist(), size)
    assert np.array_equal(found, expected(hf.NoRepeatNGramLogitsProcessor(size), scores, ids))


@given(SHAPES, st.integers(1, 50))
@FEW
def test_top_k(shape, count):
    scores, ids = drawn(shape)
    assert np.array_equal(processors.keep_best(scores, count), expected(hf.TopKLogitsWarper(count), scores, ids))


@given(SHAPES, st.floats(0.05, 0.99))
@FEW
def test_top_p(shape, share):
    scores, ids = drawn(shape)
    found, right = processors.keep_nucleus(scores, share), expected(hf.TopPLogitsWarper(share), scores, ids)
    differ = np.isinf(found) != np.isinf(right)
    # Sums of probabilities in another order may fall on the other side of the limit, of one token a row.
    assert differ.sum(axis=1).max() <= 1
    assert np.mean(differ) < 0.1
    assert np.array_equal(found[~differ], right[~differ])


@given(SHAPES, st.floats(0.2, 3), st.integers(0, 10), st.sampled_from([1.0, 0.9, 0.5]))
@FEW
def test_the_order_of_warpers(shape, temperature, count, share):
    scores, ids = drawn(shape)
    warpers = [hf.TemperatureLogitsWarper(temperature)]
    warpers += [hf.TopKLogitsWarper(count)] if count else []
    warpers += [hf.TopPLogitsWarper(share)] if share < 1 else []
    right = expected(hf.LogitsProcessorList(warpers), scores, ids)
    found = processors.warp(scores, GenerationConfig(temperature=temperature, top_k=count, top_p=share))
    same = np.isinf(found) == np.isinf(right)
    assert (~same).sum(axis=1).max() <= 1
    assert np.allclose(found[same & ~np.isinf(found)], right[same & ~np.isinf(found)], rtol=1e-5)


@pytest.mark.parametrize("new", [0, 1, 2, 3])
def test_forced_and_suppressed_tokens_and_the_shortest_text(new):
    scores, _ = drawn((1, 9, 1))
    ids = [[4, *range(new)]]
    model = Generation(
        sampling=GenerationConfig(max_new_tokens=4, min_new_tokens=2),
        eos_token_ids=(7,),
        forced_bos_token_id=5,
        forced_eos_token_id=7,
        suppress_token_ids=(2, 3),
    )
    right = expected(
        hf.LogitsProcessorList(
            [
                hf.SuppressTokensLogitsProcessor([2, 3]),
                hf.MinNewTokensLengthLogitsProcessor(1, 2, 7),
                hf.ForcedBOSTokenLogitsProcessor(5),
                hf.ForcedEOSTokenLogitsProcessor(5, 7),
            ]
        ),
        scores,
        np.array(ids),
    )
    assert np.array_equal(processors.process(scores, ids, [1], model), right)


def test_draws_are_as_likely_as_the_scores_say():
    scores = np.log(np.array([[0.1, 0.0001, 0.6, 0.2999]], np.float32))
    points = (np.arange(20_000, dtype=np.float32) + 0.5) / 20_000
    drawn_tokens = processors.draw(np.repeat(scores, len(points), axis=0), points)
    assert np.bincount(drawn_tokens, minlength=4) / len(points) == pytest.approx([0.1, 0.0001, 0.6, 0.2999], abs=1e-3)


def test_what_is_forbidden_is_never_drawn():
    scores = np.array([[-np.inf, 0.0, -np.inf]], np.float32)
    assert [processors.draw(scores, np.array([point], np.float32))[0] for point in (0.0, 0.5, 0.9999999)] == [1, 1, 1]
