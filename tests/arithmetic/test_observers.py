import numpy as np
import pytest

from octavo.arithmetic.affine import affine_range, quantize_asymmetric
from octavo.arithmetic.ldlq import round_compensated
from octavo.arithmetic.observers import (
    BINS,
    STRIP,
    Channels,
    Histogram,
    mse_range,
    percentile_range,
)


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(0.3, 1.0, (5000, 6)).astype(np.float32)


def parts(array):
    return np.split(array, [1, 40, 41, 900, 3000])


def test_channels_are_those_of_the_whole(x):
    seen = Channels(keep=100)
    for part in parts(x):
        seen.update(part)
    np.testing.assert_array_equal(seen.low, x.min(axis=0))
    np.testing.assert_array_equal(seen.high, x.max(axis=0))
    np.testing.assert_allclose(seen.mean, x.mean(axis=0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(seen.take_moment(), x.T.astype(np.float64) @ x / len(x), rtol=1e-4)
    assert seen.count == len(x)


@pytest.mark.parametrize("width", [6, STRIP + 40])
def test_the_covariance_is_numpys_and_the_moment_has_the_mean(width):
    generator = np.random.default_rng(1)
    mixed = generator.normal(0, 1, (9 * width, width)) @ generator.normal(0, 1, (width, width))
    x = (100 + mixed).astype(np.float32)
    found = []
    for take in (Channels.take_covariance, Channels.take_moment):
        seen = Channels(keep=100)
        for part in np.array_split(x, 7):
            seen.update(part)
        found.append(take(seen))
    expected = np.cov(x.astype(np.float64), rowvar=False, bias=True)
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    mean = x.mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(found[1], found[0] + np.outer(mean, mean), rtol=1e-5)


def nearly_equal(generator, count, spread, scale):
    return scale * generator.normal(0, 1, 300) * (1 + spread * generator.normal(0, 1, (count, 300)))


def of_one_value(generator, count, spread, scale):
    return scale * 2.9 * np.ones((count, 300))


def with_a_constant(generator, count, spread, scale):
    return np.where(np.arange(300) == 7, 570.0 * scale, generator.normal(0, 1, (count, 300)))


@pytest.mark.parametrize("make", [nearly_equal, of_one_value, with_a_constant])
@pytest.mark.parametrize("count", [1, 2, 3, 50, 333, 3000])
@pytest.mark.parametrize(("spread", "scale"), [(0.0, 1.0), (1e-6, 1.0), (1e-4, 1000.0), (0.0, 0.0)])
def test_rows_that_are_alike_have_a_covariance_that_weights_are_rounded_by(make, count, spread, scale):
    generator = np.random.default_rng(count)
    x = make(generator, count, spread, scale).astype(np.float32)
    seen = Channels(keep=100)
    for part in np.array_split(x, min(count, 3)):
        seen.update(part)
    covariance = seen.take_covariance()
    expected = np.cov(x.astype(np.float64), rowvar=False, bias=True)
    largest = np.square(x - x.mean(axis=0)).mean(axis=0).max()
    np.testing.assert_allclose(covariance, expected, rtol=0, atol=1e-5 * largest + 1e-30)
    weight = generator.normal(0, 1, (300, 5)).astype(np.float32)
    (found,) = round_compensated([weight], covariance, saturates=True)
    assert np.abs(found.dequantize() - weight).max() < 0.2


@pytest.mark.parametrize(("first", "times", "noise"), [(1, 1.0, 0.0), (1, 100.0, 1e-4), (10, 1.0, 1e-4)])
def test_a_first_part_unlike_all_others_leaves_a_covariance_that_weights_are_rounded_by(first, times, noise):
    generator = np.random.default_rng(first)
    alike = generator.normal(0, 1, 768) * (1 + noise * generator.normal(0, 1, (3000, 768)))
    parts = [part.astype(np.float32) for part in (times * generator.normal(0, 1, (first, 768)), *np.split(alike, 100))]
    seen = Channels(keep=100)
    for part in parts:
        seen.update(part)
    covariance = seen.take_covariance()
    expected = np.cov(np.concatenate(parts).astype(np.float64), rowvar=False, bias=True)
    np.testing.assert_allclose(covariance, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    weight = generator.normal(0, 1, (768, 5)).astype(np.float32)
    (found,) = round_compensated([weight], covariance, saturates=True)
    assert np.abs(found.dequantize() - weight).max() < 0.2


@pytest.mark.parametrize("count", [1, 99, 100, 199, 200, 201, 777, 5000])
def test_the_sample_is_even_and_bounded(count):
    rows = np.arange(count, dtype=np.float32)[:, None]
    seen = Channels(keep=100)
    for part in np.array_split(rows, min(count, 7)):
        seen.update(part)
    found = seen.rows[:, 0]
    assert min(count, 100) <= len(found) < 200
    steps = set(np.diff(found).tolist())
    assert found[0] == 0
    assert len(steps) <= 1, "a strided sample"


def test_histogram_in_parts_is_numpys(x):
    low, high = float(x.min()), float(x.max())
    seen = Histogram(low, high)
    for part in parts(x):
        seen.update(part)
    np.testing.assert_array_equal(seen.counts, np.histogram(x, BINS, (low, high))[0])


@pytest.mark.parametrize("percentile", [90.0, 99.0])
def test_percentiles_are_numpys_to_a_bin(x, percentile):
    seen = Histogram(float(x.min()), float(x.max()))
    seen.update(x)
    half = (100 - percentile) / 2
    np.testing.assert_allclose(percentile_range(seen, percentile), np.percentile(x, [half, 100 - half]), atol=0.03)


def test_the_hundredth_percentile_is_the_extremes(x):
    seen = Histogram(float(x.min()), float(x.max()))
    seen.update(x)
    np.testing.assert_allclose(percentile_range(seen, 100), (seen.low, seen.high))


def error(x, span):
    scale, zero = affine_range(*span)
    back = (quantize_asymmetric(x, scale, zero).astype(np.float64) - zero) * scale
    return float(np.mean((x - back) ** 2))


def test_the_range_of_the_smallest_error_beats_the_extremes_where_there_is_an_outlier(x):
    x[0, 0] = 60
    seen = Histogram(float(x.min()), 60.0)
    seen.update(x)
    low, high = mse_range(seen)
    assert high < 60
    assert error(x, (low, high)) <= error(x, (float(x.min()), 60.0))


def test_a_tensor_of_one_number_has_a_range():
    seen = Histogram(0.0, 0.0)
    seen.update(np.zeros(9, np.float32))
    assert seen.counts.sum() == 9
    assert mse_range(seen) == (0.0, 0.0)
