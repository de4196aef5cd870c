import dataclasses

import numpy as np
import pytest

from octavo.errors import InputError
from octavo.metrics.differences import accuracy_difference
from octavo.metrics.estimates import cosine_estimate, identical, share_estimate
from octavo.metrics.quantiles import low_percentile_estimate
from octavo.schema.budget import Budget, Facts, judge


def facts(n=1000, better=0, worse=0, size=0.25, speedup=None):
    gold, first, second = (np.zeros(n, np.int64) for _ in range(3))
    first[:better] = 1
    second[better : better + worse] = 1
    found = {"accuracy": accuracy_difference(gold, first, second)} if n else {}
    close = {"agreement": share_estimate(n - better - worse, n)} if n else {}
    return Facts(n, found, close, speedup or identical(3.0), size)


@pytest.mark.parametrize(
    ("n", "worse", "limit", "verdict"),
    [(5000, 5, 0.5, "PASS"), (5000, 100, 0.5, "FAIL"), (20, 0, 0.5, "UNSURE"), (1000, 4, 0.5, "UNSURE")],
)
def test_a_drop_is_judged_by_its_bounds(n, worse, limit, verdict):
    judged = judge(Budget(max_drop=limit), facts(n, worse=worse))
    (check,) = judged.checks
    assert (judged.verdict, check.verdict) == (verdict, verdict)
    assert check.value == pytest.approx(100 * worse / n)
    assert check.lower <= check.value <= check.upper
    assert (check.rows_needed is not None) == (verdict == "UNSURE")


def test_a_gain_is_no_drop():
    (check,) = judge(Budget(max_drop=0.0), facts(better=60)).checks
    assert check.verdict == "PASS"
    assert check.value == pytest.approx(-6)


def test_the_rows_that_would_decide_do():
    (check,) = judge(Budget(max_drop=0.5), facts(20)).checks
    assert judge(Budget(max_drop=0.5), facts(check.rows_needed)).verdict == "PASS"


@pytest.mark.parametrize(("limit", "quiet"), [(2.0, "PASS"), (4.0, "FAIL")])
def test_on_a_busy_machine_no_speed_is_judged_and_quality_is(limit, quiet):
    budget = Budget(min_speedup=limit, max_drop=0.5, max_size=0.3)
    assert judge(budget, facts(5000)).verdict == quiet
    judged = judge(budget, dataclasses.replace(facts(5000), was_busy=True))
    assert {check.name: check.verdict for check in judged.checks} == {
        "max_drop": "PASS",
        "min_speedup": "UNSURE",
        "max_size": "PASS",
    }
    assert (judged.verdict, [check.was_busy for check in judged.checks]) == ("UNSURE", [False, True, False])


@pytest.mark.parametrize(
    ("budget", "verdict"),
    [
        (Budget(min_speedup=3.0), "PASS"),
        (Budget(min_speedup=3.01), "FAIL"),
        (Budget(max_size=0.25), "PASS"),
        (Budget(max_size=0.24), "FAIL"),
        (Budget(min_agreement=0.98), "PASS"),
        (Budget(min_agreement=0.999), "UNSURE"),
        (Budget(min_cosine=0.9), "FAIL"),
        (Budget(min_speedup=3.0, min_agreement=0.999), "UNSURE"),
        (Budget(min_agreement=0.999, max_size=0.1), "FAIL"),
    ],
)
def test_every_limit_is_judged_and_the_worst_counts(budget, verdict):
    assert judge(budget, facts()).verdict == verdict


def test_nothing_to_decide_on_fails():
    judged = judge(Budget(max_drop=5), Facts(30, {}, {}, identical(1.0), 1.0))
    assert judged.verdict == "FAIL"
    assert judged.checks[0].value is None


def test_answers_that_are_no_numbers_fail_whatever_else_is_kept():
    judged = judge(Budget(max_size=0.5, max_drop=5, min_agreement=0.1), Facts(30, {}, {}, identical(1.0), 0.2, 7))
    assert judged.verdict == "FAIL"
    assert [(check.name, check.value, check.verdict) for check in judged.checks] == [
        ("not_finite", 7, "FAIL"),
        ("max_size", 0.2, "PASS"),
    ]


@pytest.mark.parametrize(
    "limits", [{}, {"max_drop": -1.0}, {"max_drop": float("nan")}, {"min_agreement": 98.0}, {"max_size": -0.1}]
)
def test_limits_that_mean_nothing_are_refused(limits):
    with pytest.raises(InputError):
        Budget(**limits)


def near(worst, n=1000):
    """Facts of an embedder whose cosines are near 1, but for one text in fifty."""
    values = np.full(n, 0.999)
    values[: n // 50] = worst
    close = {"cosine": cosine_estimate(1 - values), "cosine_p1": low_percentile_estimate(values)}
    return Facts(n, {}, close, identical(3.0), 0.25)


@pytest.mark.parametrize(("worst", "verdict"), [(0.5, "FAIL"), (0.97, "PASS")])
def test_the_worst_texts_are_judged_where_their_mean_is_good(worst, verdict):
    assert judge(Budget(min_cosine=0.95), near(worst)).verdict == "PASS"
    (check,) = judge(Budget(min_cosine_worst=0.95), near(worst)).checks
    assert (check.name, check.verdict, check.value) == ("min_cosine_worst", verdict, worst)


def test_fewer_rows_than_bound_a_percentile_are_unsure():
    (check,) = judge(Budget(min_cosine_worst=0.9), near(0.97, n=100)).checks
    assert (check.verdict, check.lower, check.rows_needed) == ("UNSURE", -1.0, 299)
