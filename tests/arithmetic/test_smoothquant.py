import numpy as np
import pytest

from octavo.arithmetic import smoothquant
from octavo.arithmetic.affine import quantize_symmetric, round_range, round_rows
from octavo.arithmetic.saturation import round_linear
from octavo.arithmetic.smoothquant import (
    LARGEST,
    TRIED,
    Sample,
    bias_correction,
    choose_factor,
    exact_outputs,
    output_error,
    smoothing_factor,
)


@pytest.fixture
def outliers():
    rng = np.random.default_rng(1)
    rows = rng.normal(0, 1, (400, 32)).astype(np.float32)
    rows[:, 3] *= 40
    return rows, [rng.normal(0, 0.1, (32, 24)).astype(np.float32), rng.normal(0, 0.1, (32, 8)).astype(np.float32)]


def sample(rows):
    return Sample(rows, rows.min(axis=0), rows.max(axis=0))


def by_range(one):
    return round_range(one.rows, one.low.min(), one.high.max())


def by_row(one):
    return round_rows(one.rows)


def choose(rows, weights, rounding=by_range, *, free=False):
    return choose_factor(sample(rows), weights, rounding, saturates=False, free=free)


@pytest.mark.parametrize("strength", [0.0, 0.5, 0.7, 1.0])
def test_the_factor_is_that_of_the_paper_up_to_a_constant(outliers, strength):
    rows, weights = outliers
    largest = np.abs(rows).max(axis=0)
    expected = largest**strength / np.abs(np.hstack(weights)).max(axis=1) ** (1 - strength)
    found = smoothing_factor(largest, weights, strength)
    np.testing.assert_allclose(found / found[0], expected / expected[0], rtol=1e-5)
    assert np.exp(np.log(found).mean()) == pytest.approx(1, rel=1e-5)


def test_a_channel_that_is_never_used_does_not_run_away(outliers):
    rows, weights = outliers
    rows[:, 5] = 0
    found = smoothing_factor(np.abs(rows).max(axis=0), weights, 0.8)
    assert np.isfinite(found).all()
    assert found.min() >= np.float32(1 / LARGEST)


@pytest.mark.parametrize("rounding", [by_range, by_row])
def test_a_huge_channel_is_smoothed_and_the_error_falls(outliers, rounding):
    rows, weights = outliers
    strength, factor = choose(rows, weights, rounding)
    assert 0 < strength < 1
    exact = exact_outputs(rows, weights)
    before = output_error(exact, rounding(sample(rows)), weights, saturates=False)
    divided, scaled = sample(rows).divided(factor), [weight * factor[:, None] for weight in weights]
    after = output_error(exact, rounding(divided), scaled, saturates=False)
    assert after < 0.5 * before


@pytest.mark.parametrize("outputs", [(5 * TRIED, 5 * TRIED), (8 * TRIED, TRIED, TRIED)])
def test_a_part_of_many_outputs_chooses_what_all_of_them_would(monkeypatch, outputs):
    """Of layers of one width, and of keys and values that several queries share: in the proportion of their widths."""
    rng = np.random.default_rng(4)
    rows = (rng.normal(0, 1, (400, 32)) * rng.lognormal(0, 1.2, 32)).astype(np.float32)
    weights = [rng.normal(0, 0.1 * (1 + place), (32, width)).astype(np.float32) for place, width in enumerate(outputs)]
    weights[0][7, 1] = 3.0  # the largest weight of its channel counts, whether its output is tried or not
    seen = []
    monkeypatch.setattr(
        smoothquant,
        "round_linear",
        lambda weight, **asked: seen.append(weight.shape[1]) or round_linear(weight, **asked),
    )
    found, tried = choose(rows, weights), seen[: len(weights)]
    assert TRIED * len(weights) <= sum(tried) < 2 * TRIED * len(weights)
    np.testing.assert_allclose(np.divide(tried, outputs), tried[0] / outputs[0], rtol=0.02)
    monkeypatch.setattr(smoothquant, "TRIED", 10**6)
    of_all = choose(rows, weights)
    assert seen[-len(weights) :] == list(outputs)
    assert found[0] == of_all[0]
    np.testing.assert_array_equal(found[1], of_all[1])


def test_none_is_chosen_where_no_factor_pays():
    rng = np.random.default_rng(2)
    rows = rng.uniform(-1, 1, (500, 16)).astype(np.float32)
    weights = [np.sign(rng.normal(0, 1, (16, 8))).astype(np.float32)]
    assert choose(rows, weights) is None


@pytest.mark.parametrize(("outlier", "free", "chosen"), [(1.2, True, True), (1.2, False, False), (1.4, False, True)])
def test_a_factor_that_costs_a_multiplication_has_to_bring_a_tenth(outlier, free, chosen):
    """Of the error: the first channel's outlier makes the best factor worth 7 % of it, the second one's 29 %."""
    rng = np.random.default_rng(2)
    rows = rng.uniform(-1, 1, (500, 16)).astype(np.float32)
    rows[:, 3] *= outlier
    weights = [np.sign(rng.normal(0, 1, (16, 8))).astype(np.float32)]
    assert (choose(rows, weights, free=free) is not None) == chosen


def test_the_corrected_bias_keeps_the_mean_output():
    rng = np.random.default_rng(3)
    rows = rng.normal(2, 1, (1000, 16)).astype(np.float32)
    weight = rng.normal(0, 1, (16, 5)).astype(np.float32)
    rounded = quantize_symmetric(weight, axis=0, levels=7).dequantize()
    correction = bias_correction(rows.mean(axis=0, dtype=np.float64), weight, rounded)
    np.testing.assert_allclose((rows @ rounded + correction).mean(axis=0), (rows @ weight).mean(axis=0), atol=1e-4)
    assert np.abs((rows @ rounded - rows @ weight).mean(axis=0)).max() > 0.01
