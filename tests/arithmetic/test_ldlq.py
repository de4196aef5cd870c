import itertools

import numpy as np
import pytest

from octavo.arithmetic.affine import quantize_symmetric
from octavo.arithmetic.ldlq import BLOCK, DAMPING, round_compensated


def layer(seed=0, width=96, out=24, levels=63):
    """A weight and inputs whose channels go together, as a transformer's do."""
    generator = np.random.default_rng(seed)
    x = generator.normal(0, 1, (2000, width // 4)) @ generator.normal(0, 1, (width // 4, width))
    x += generator.normal(0, 0.3, x.shape)
    moment = (x.T @ x / len(x)).astype(np.float32)
    return generator.normal(0, 0.05, (width, out)).astype(np.float32), moment, levels


def restored(weight):
    return weight.codes * weight.scale.astype(np.float64)


def loss(w, rounded, moment):
    lost = w - restored(rounded)
    return np.trace(lost.T @ moment @ lost)


def literally(w, scale, moment, levels):
    """Optimal brain surgeon, weight by weight as its paper has it: the inverse is taken anew after each."""
    damped = moment.astype(np.float64) + DAMPING * np.mean(np.diag(moment)) * np.eye(len(moment))
    rest, left, codes = (w / scale).astype(np.float64), np.argsort(-np.diag(moment), kind="stable"), np.zeros(w.shape)
    while len(left):
        inverse = np.linalg.inv(damped[np.ix_(left, left)])
        codes[left[0]] = np.clip(np.rint(rest[left[0]]), -levels, levels)
        lost = (rest[left[0]] - codes[left[0]]) / inverse[0, 0]
        rest[left] -= np.outer(inverse[0], lost)
        left = left[1:]
    return codes


@pytest.mark.parametrize("levels", [63, 127])
def test_it_is_the_surgeon_to_the_last_code(levels):
    w, moment, _ = layer(width=BLOCK + 21)
    (found,) = round_compensated([w], moment, levels)
    np.testing.assert_array_equal(found.codes, literally(w, found.scale, moment, levels))


@pytest.mark.parametrize("seed", range(3))
def test_the_output_is_nearer_than_with_the_nearest_codes(seed):
    w, moment, levels = layer(seed)
    (found,) = round_compensated([w], moment, levels)
    nearest = quantize_symmetric(w, axis=0, levels=levels)
    assert loss(w, found, moment) < 0.5 * loss(w, nearest, moment)
    np.testing.assert_array_equal(found.scale, nearest.scale)
    assert np.abs(found.codes.astype(int)).max() <= levels


def test_it_comes_near_the_best_codes_there_are():
    w, moment, levels = layer(width=8, out=1)
    (found,) = round_compensated([w], moment, levels)
    down = np.floor(w / found.scale)
    best = min(
        np.trace(lost.T @ moment @ lost)
        for up in itertools.product((0, 1), repeat=8)
        for lost in [w - (down + np.reshape(up, (8, 1))) * found.scale]
    )
    nearest = loss(w, quantize_symmetric(w, axis=0, levels=levels), moment)
    assert loss(w, found, moment) < best + 0.25 * (nearest - best)


@pytest.mark.parametrize("moment", [np.eye(16), 0 * np.eye(16), np.diag(np.arange(16.0))])
def test_channels_that_have_nothing_in_common_go_to_the_nearest(moment):
    w = layer(width=16)[0]
    (found,) = round_compensated([w], moment.astype(np.float32), 127)
    np.testing.assert_array_equal(found.codes, quantize_symmetric(w, axis=0, levels=127).codes)


def test_layers_rounded_together_are_what_they_are_alone():
    w, moment, levels = layer()
    parts = [w[:, :5], w[:, 5:6], w[:, 6:]]
    for part, found in zip(parts, round_compensated(parts, moment, levels), strict=True):
        (alone,) = round_compensated([part], moment, levels)
        np.testing.assert_array_equal(found.codes, alone.codes)
        np.testing.assert_array_equal(found.scale, alone.scale)


def test_outputs_of_zeros_stay_zero():
    w, moment, levels = layer()
    w[:, 3] = 0
    (found,) = round_compensated([w], moment, levels)
    assert np.all(found.codes[:, 3] == 0)
    assert np.all(np.isfinite(found.scale))
