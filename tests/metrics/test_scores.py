import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.special import softmax
from scipy.stats import entropy
from sklearn.metrics import accuracy_score, f1_score

from octavo.metrics.scores import accuracy, macro_f1, mean_kl


@st.composite
def label_pairs(draw):
    rows = draw(st.integers(1, 60))
    gold = st.lists(st.integers(0, draw(st.integers(0, 5))), min_size=rows, max_size=rows)
    predicted = st.lists(st.integers(0, draw(st.integers(0, 5))), min_size=rows, max_size=rows)
    return np.array(draw(gold), np.int64), np.array(draw(predicted), np.int64)


@given(pair=label_pairs())
def test_accuracy_and_f1_are_those_of_scikit_learn(pair):
    gold, predicted = pair
    assert accuracy(gold, predicted) == pytest.approx(accuracy_score(gold, predicted), abs=1e-12)
    assert macro_f1(gold, predicted) == pytest.approx(f1_score(gold, predicted, average="macro"), abs=1e-12)


def test_f1_by_hand_with_a_label_that_is_never_predicted_and_one_that_is_never_gold():
    gold, predicted = np.array([0, 0, 1, 1, 2]), np.array([0, 0, 0, 3, 3])
    assert accuracy(gold, predicted) == 2 / 5
    # label 0: tp 2, fp 1, fn 0 -> 4/5; labels 1, 2 and 3 have no hit
    assert macro_f1(gold, predicted) == pytest.approx((4 / 5) / 4)


def test_f1_is_not_accuracy_where_labels_are_rare():
    gold, predicted = np.array([0] * 9 + [1]), np.zeros(10, np.int64)
    assert accuracy(gold, predicted) == 0.9
    assert macro_f1(gold, predicted) == pytest.approx(18 / 19 / 2)


def test_scores_are_plain_floats():
    labels, logits = np.array([0, 1]), np.zeros((2, 3), np.float32)
    assert {type(accuracy(labels, labels)), type(macro_f1(labels, labels)), type(mean_kl(logits, logits))} == {float}


def logits(rows, columns):
    values = st.floats(-30, 30, width=32)
    return arrays.arrays(np.float32, (rows, columns), elements=values)


@given(data=st.data(), rows=st.integers(1, 8), columns=st.integers(2, 5))
def test_kl_is_that_of_scipy(data, rows, columns):
    reference, candidate = data.draw(logits(rows, columns)), data.draw(logits(rows, columns))
    p, q = (softmax(values.astype(np.float64), axis=1) for values in (reference, candidate))
    assert mean_kl(reference, candidate) == pytest.approx(float(np.mean(entropy(p, q, axis=1))), rel=1e-6, abs=1e-9)


def test_kl_is_taken_from_the_reference_to_the_candidate():
    reference, candidate = np.array([[4.0, 0.0, 0.0]], np.float32), np.array([[0.0, 0.0, 0.0]], np.float32)
    p = softmax([4.0, 0.0, 0.0])
    assert mean_kl(reference, candidate) == pytest.approx(np.log(3) + np.sum(p * np.log(p)), rel=1e-9)
    assert mean_kl(candidate, reference) == pytest.approx(-np.log(3) - np.mean(np.log(p)), rel=1e-9)
    assert abs(mean_kl(reference, candidate) - mean_kl(candidate, reference)) > 0.1


def test_kl_does_not_see_a_constant_added_to_all_logits():
    rng = np.random.default_rng(3)
    reference, candidate = rng.normal(size=(2, 50, 3)).astype(np.float32)
    expected = mean_kl(reference, candidate)
    assert expected > 0.1
    assert mean_kl(reference + np.float32(8), candidate - np.float32(4)) == pytest.approx(expected, rel=1e-5)


def test_kl_of_sure_answers_is_finite():
    reference, candidate = np.array([[2000.0, -2000.0]], np.float32), np.array([[-2000.0, 2000.0]], np.float32)
    assert mean_kl(reference, reference) == 0
    assert mean_kl(reference, candidate) == pytest.approx(4000)


def test_kl_of_nearly_equal_answers_is_not_lost_in_rounding():
    reference = np.array([[1.0, 2.0, 3.0]], np.float32)
    candidate = np.array([[1.0, 2.0, 3.001]], np.float32)
    p, q = (softmax(values.astype(np.float64), axis=1) for values in (reference, candidate))
    expected = float(entropy(p, q, axis=1)[0])
    assert 0 < expected < 1e-6
    assert mean_kl(reference, candidate) == pytest.approx(expected, rel=1e-3)
