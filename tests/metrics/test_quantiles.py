"""The interval of the lowest percentile, against the binomial distribution of scipy and by simulation."""

import numpy as np
import pytest
import scipy.stats

from octavo.metrics.quantiles import FEWEST, SHARE, low_percentile_estimate


@pytest.mark.parametrize("n", [300, 1000, 5001])
def test_bounds_are_the_order_statistics_that_the_binomial_gives(n):
    values = np.random.default_rng(n).permutation(np.arange(n)).astype(float)  # a value is its rank
    found = low_percentile_estimate(values, -1.0, n)
    binomial = scipy.stats.binom(n, SHARE)
    for low, high, confidence in ((found.low, found.high, 0.975), (found.lower, found.upper, 0.95)):
        if low >= 0:  # fewer than low + 1 rows lie below the percentile: with at most the rest of the confidence
            assert binomial.cdf(low) <= 1 - confidence < binomial.cdf(low + 1)
        else:
            assert binomial.cdf(0) > 1 - confidence
        assert binomial.cdf(high - 1) < confidence <= binomial.cdf(high)


def test_too_few_rows_bound_nothing_from_below():
    assert low_percentile_estimate(np.full(FEWEST - 1, 0.99)).lower == -1.0
    assert low_percentile_estimate(np.full(FEWEST, 0.99)).lower == 0.99


@pytest.mark.parametrize("n", [50, 300, 2000])
def test_bounds_hold_as_often_as_they_say(n):
    draw, repetitions = np.random.default_rng(7), 600
    truth = 1 - scipy.stats.gamma(0.5).ppf(1 - SHARE) / 20  # of cosines with a long tail
    found = [low_percentile_estimate(1 - draw.gamma(0.5, size=n) / 20) for _ in range(repetitions)]
    assert np.mean([one.lower <= truth for one in found]) >= 0.93
    assert np.mean([one.upper >= truth for one in found]) >= 0.93
    assert np.mean([one.low <= truth <= one.high for one in found]) >= 0.93
