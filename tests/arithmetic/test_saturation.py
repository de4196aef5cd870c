import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavo.arithmetic.affine import INT7_LEVELS
from octavo.arithmetic.saturation import HIGH, LOW, count_saturated, saturating_product


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
