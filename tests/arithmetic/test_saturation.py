import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavo.arithmetic.affine import INT7_LEVELS
from octavo.arithmetic.saturation import HIGH, LOW, can_saturate, count_saturated, quantize_linear, round_linear
from saturating import saturating_product


def slow_product(x, weight):
    """Pair by pair, in Python's integers."""
    found, saturated = np.zeros((len(x), weight.shape[1]), np.int64), 0
    for i in range(len(x)):
        for j in range(weight.shape[1]):
            for k in range(0, x.shape[1], 2):
                pair = sum(int(x[i, m]) * int(weight[m, j]) for m in range(k, min(k + 2, x.shape[1])))
                saturated += not LOW <= pair <= HIGH
                found[i, j] += min(max(pair, LOW), HIGH)
    return found, saturated


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 9), st.integers(1, 4), st.booleans())
def test_the_emulation_is_that_of_single_pairs(seed, rows, inner, outputs, extreme):
    rng = np.random.default_rng(seed)
    x = rng.integers(200 if extreme else 0, 256, (rows, inner)).astype(np.uint8)
    weight = rng.integers(-127, 128, (inner, outputs)).astype(np.int8)
    expected, saturated = slow_product(x, weight)
    found, count = saturating_product(x, weight)
    np.testing.assert_array_equal(found, expected)
    assert count == saturated
    assert count_saturated(x, weight) == saturated


def test_the_largest_8_bit_pair_saturates_and_the_largest_7_bit_pair_does_not():
    x = np.full((1, 2), 255, np.uint8)
    assert count_saturated(x, np.full((2, 1), 127, np.int8)) == 1
    assert count_saturated(x, np.full((2, 1), -127, np.int8)) == 1
    assert count_saturated(x, np.full((2, 1), INT7_LEVELS, np.int8)) == 0
    assert count_saturated(x, np.full((2, 1), -INT7_LEVELS, np.int8)) == 0
    assert count_saturated(x, np.full((2, 1), INT7_LEVELS + 1, np.int8)) == 1


@pytest.mark.parametrize("inner", [7, 64])
def test_7_bits_never_saturate_and_are_then_exact(inner):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (20, inner)).astype(np.uint8)
    weight = rng.integers(-INT7_LEVELS, INT7_LEVELS + 1, (inner, 30)).astype(np.int8)
    found, count = saturating_product(x, weight)
    assert count == 0
    np.testing.assert_array_equal(found, x.astype(np.int32) @ weight.astype(np.int32))


def worst(weight):
    """Whether any pair of these codes leaves 16 bits, each activation being 0 or 255, in Python's integers."""
    padded = np.vstack([weight, np.zeros((len(weight) % 2, weight.shape[1]), np.int8)]).astype(int).tolist()
    sums = [
        255 * (first * one + second * other)
        for above, below in zip(padded[0::2], padded[1::2], strict=True)
        for one, other in zip(above, below, strict=True)
        for first in (0, 1)
        for second in (0, 1)
    ]
    return not all(LOW <= pair <= HIGH for pair in sums)


@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 4), st.sampled_from([40, 70, 127]))
def test_what_can_saturate_is_what_the_worst_activations_do(seed, inner, outputs, largest):
    weight = np.random.default_rng(seed).integers(-largest, largest + 1, (inner, outputs)).astype(np.int8)
    assert can_saturate(weight) == worst(weight)


@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 4))
def test_a_weight_in_pairs_never_saturates_and_no_step_is_larger_than_that_of_7_bits(seed, inner, outputs):
    weight = np.random.default_rng(seed).standard_t(3, (inner, outputs)).astype(np.float32)
    quantized = quantize_linear(weight, saturates=True)
    assert not worst(quantized.codes)
    assert (np.abs(quantized.dequantize() - weight) <= 0.5001 * quantized.scale).all()
    assert (quantized.scale >= np.abs(weight).max(axis=0) / 127 * 0.9999).all()
    assert (quantized.scale <= np.abs(weight).max(axis=0) / 63.5 * 1.0001).all()


@pytest.mark.parametrize("inner", [1, 2, 7, 64])
@pytest.mark.parametrize("saturates", [False, True])
def test_what_is_rounded_is_what_the_codes_stand_for(inner, saturates):
    weight = np.random.default_rng(inner).normal(0, 1, (inner, 9)).astype(np.float32)
    weight[:, 3] = 0
    codes = quantize_linear(weight, saturates=saturates)
    np.testing.assert_array_equal(round_linear(weight, saturates=saturates), codes.dequantize())


def test_only_two_large_neighbours_of_one_sign_need_a_larger_step():
    weight = np.array([[127, 127, 127, 63.5], [-127, 127, 1, 63.5], [60, 0, -127, 0]], np.float32)
    quantized = quantize_linear(weight, saturates=True)
    np.testing.assert_allclose(quantized.scale, [[1, 2, 128 / 127, 1]], rtol=1e-6)
    np.testing.assert_array_equal(quantized.codes[:, 0], [127, -127, 60])
    np.testing.assert_array_equal(quantize_linear(weight, saturates=False).scale, [[1, 1, 1, 0.5]])
