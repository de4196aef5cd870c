"""Stored vectors by the definitions of sentence-transformers 6.2, number by number."""

import math

import numpy as np
import pytest

from octavo.arithmetic.vectors import PRECISIONS, numbers, quantized, ranges_of, shortened


def by_definition(row, precision, ranges):
    if precision.startswith("float"):
        return [float(np.dtype(precision).type(x)) for x in row]
    if precision.endswith("int8"):
        codes = []
        for x, low, high in zip(row, *ranges.astype(np.float32), strict=True):
            step = np.float32(high - low) / np.float32(255)
            code = min(255, max(0, math.floor((np.float32(x) - low) / (step or np.float32(1)))))
            codes.append(code - (128 if precision == "int8" else 0))
        return codes
    bits = [int(x > 0) for x in row] + [0] * (-len(row) % 8)
    parts = [int("".join(map(str, bits[start : start + 8])), 2) for start in range(0, len(bits), 8)]
    return [part - (128 if precision == "binary" else 0) for part in parts]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_precisions(precision):
    for seed in range(200):
        generator = np.random.default_rng(seed)
        learnt = generator.normal(size=(9, int(generator.integers(1, 20)))).astype(np.float32)
        vectors = (1.5 * generator.normal(size=(5, learnt.shape[1]))).astype(np.float32)  # some are out of the ranges
        vectors[0, 0] = 0
        if seed % 2:
            learnt[:, 0] = 1  # of no width
        ranges = ranges_of(learnt)
        found = quantized(vectors, precision, ranges)
        assert found.tolist() == [by_definition(row, precision, ranges) for row in vectors]
        wanted = {"binary": np.int8, "ubinary": np.uint8}.get(precision) or np.dtype(precision)
        assert found.dtype == wanted


def test_what_is_searched_orders_as_the_codes_do():
    generator = np.random.default_rng(1)
    vectors = generator.normal(size=(40, 21)).astype(np.float32)
    for precision in ("binary", "ubinary"):
        found = numbers(quantized(vectors, precision), precision, 21)
        np.testing.assert_array_equal(found, np.where(vectors > 0, 1, -1))
        hamming = (vectors[:1] > 0) != (vectors > 0)
        np.testing.assert_array_equal(found @ found[0], 21 - 2 * hamming.sum(axis=1))
    ranges = ranges_of(vectors)
    one, other = (numbers(quantized(vectors, name, ranges), name, 21) for name in ("int8", "uint8"))
    np.testing.assert_array_equal(one, other)


def test_shortened_vectors_have_length_1_again():
    vectors = np.array([[3.0, 4, 12], [0, 0, 1]], np.float32)
    np.testing.assert_allclose(shortened(vectors, 2, normalize=True), [[0.6, 0.8], [0, 0]])
    np.testing.assert_array_equal(shortened(vectors, 2, normalize=False), vectors[:, :2])
