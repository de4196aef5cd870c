"""The interval of a share of tokens, which come in texts: by simulation."""

import numpy as np

from octavo.metrics.estimates import clustered_share, share_estimate


def test_bounds_hold_where_tokens_of_a_text_are_alike():
    generator, held, narrow = np.random.default_rng(5), 0, 0
    for _ in range(400):
        totals = generator.integers(5, 40, 300).astype(float)
        shares = generator.beta(0.5, 9.5, 300)  # 5 % of the tokens, and of some texts many
        counts = generator.binomial(totals.astype(int), shares).astype(float)
        found = clustered_share(counts, totals)
        alone = share_estimate(float(counts.sum()), int(totals.sum()))
        held += found.low <= 0.05 <= found.high
        narrow += alone.low <= 0.05 <= alone.high
        assert found.value == counts.sum() / totals.sum()
    assert held >= 0.92 * 400
    assert narrow < 0.85 * 400  # what it would be if tokens were drawn one by one


def test_where_nothing_changes_each_text_is_one_part():
    found, expected = clustered_share(np.zeros(50), np.full(50, 30.0)), share_estimate(0, 50)
    assert (found.value, found.low, found.high) == (0, 0, expected.high)


def test_tokens_that_are_independent_count_alone():
    generator = np.random.default_rng(2)
    totals = np.full(5000, 20.0)
    counts = generator.binomial(20, 0.1, 5000).astype(float)
    found, expected = clustered_share(counts, totals), share_estimate(float(counts.sum()), 100_000)
    assert abs((found.high - found.low) / (expected.high - expected.low) - 1) < 0.1
