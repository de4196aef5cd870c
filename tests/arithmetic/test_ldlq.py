import itertools

import numpy as np
import pytest

from octavo.arithmetic.affine import Quantized, symmetric_scale
from octavo.arithmetic.ldlq import BLOCK, COLUMNS, DAMPING, cholesky, round_compensated
from octavo.arithmetic.saturation import can_saturate, quantize_linear


def layer(seed=0, width=96, out=24):
    """A weight and inputs whose channels go together, as a transformer's do."""
    generator = np.random.default_rng(seed)
    x = generator.normal(0, 1, (2000, width // 4)) @ generator.normal(0, 1, (width // 4, width))
    x += generator.normal(0, 0.3, x.shape)
    moment = (x.T @ x / len(x)).astype(np.float32)
    return generator.normal(0, 0.05, (width, out)).astype(np.float32), moment


def restored(weight):
    return weight.codes * weight.scale.astype(np.float64)


def loss(w, rounded, moment):
    lost = w - restored(rounded)
    return np.trace(lost.T @ moment @ lost)


def allowed(value, beside, saturates):
    """The code nearest to a number that, with the other one of its pair, can be added up in 16 bits."""
    fits = [
        code
        for code in range(-127, 128)
        if not saturates or 255 * min(code, 0, beside, code + beside) >= -32768
        if not saturates or 255 * max(code, 0, beside, code + beside) <= 32767
    ]
    return min(fits, key=lambda code: abs(code - value))


def literally(w, scale, moment, saturates):
    """Optimal brain surgeon, weight by weight as its paper has it: the inverse is taken anew after each."""
    damped = moment.astype(np.float64) + DAMPING * np.mean(np.diag(moment)) * np.eye(len(moment))
    rest, left, codes = (w / scale).astype(np.float64), np.argsort(-np.diag(moment), kind="stable"), np.zeros(w.shape)
    while len(left):
        inverse = np.linalg.inv(damped[np.ix_(left, left)])
        codes[left[0]] = [
            allowed(value, codes[left[0] ^ 1, column] if left[0] ^ 1 < len(w) else 0, saturates)
            for column, value in enumerate(rest[left[0]])
        ]
        lost = (rest[left[0]] - codes[left[0]]) / inverse[0, 0]
        rest[left] -= np.outer(inverse[0], lost)
        left = left[1:]
    return codes


def test_with_few_levels_it_loses_less_than_the_nearest_codes_do():
    w, moment = layer()
    (rounded,) = round_compensated([w], moment, saturates=True, levels=7)
    assert np.abs(rounded.codes).max() == 7
    scales = [symmetric_scale(w, axis=0, levels=7), rounded.scale]
    nearest = [Quantized(np.clip(np.rint(w / scale), -7, 7).astype(np.int8), scale) for scale in scales]
    losses = [loss(w, one, moment) for one in (*nearest, rounded)]
    assert losses == sorted(losses, reverse=True)
    assert losses[2] < 0.5 * losses[0]


@pytest.mark.parametrize("saturates", [False, True])
def test_it_is_the_surgeon_to_the_last_code(saturates):
    w, moment = layer(width=BLOCK + 21)
    w[6:8] = np.abs(w).max(axis=0)  # the largest pair of each output, so that the second one of it has no room to grow
    (found,) = round_compensated([w], moment, saturates=saturates)
    np.testing.assert_array_equal(found.codes, literally(w, found.scale, moment, saturates))


@pytest.mark.parametrize("width", [1, 96, COLUMNS, 2 * COLUMNS + 56])
def test_the_factor_is_numpys(width):
    moment = layer(width=width + -width % 4)[1][:width, :width] + DAMPING * np.eye(width, dtype=np.float32)
    found, expected = cholesky(moment), np.linalg.cholesky(moment.astype(np.float64))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("seed", range(3))
def test_the_output_is_nearer_than_with_the_nearest_codes(seed):
    w, moment = layer(seed)
    (found,) = round_compensated([w], moment, saturates=True)
    nearest = quantize_linear(w, saturates=True)
    assert loss(w, found, moment) < 0.5 * loss(w, nearest, moment)
    np.testing.assert_array_equal(found.scale, nearest.scale)
    assert not can_saturate(found.codes)


def test_it_comes_near_the_best_codes_there_are():
    w, moment = layer(width=8, out=1)
    (found,) = round_compensated([w], moment, saturates=True)
    down = np.floor(w / found.scale)
    best = min(
        np.trace(lost.T @ moment @ lost)
        for up in itertools.product((0, 1), repeat=8)
        for lost in [w - (down + np.reshape(up, (8, 1))) * found.scale]
    )
    nearest = loss(w, quantize_linear(w, saturates=True), moment)
    assert loss(w, found, moment) < best + 0.25 * (nearest - best)


@pytest.mark.parametrize("moment", [np.eye(16), 0 * np.eye(16), np.diag(np.arange(16.0))])
def test_channels_that_have_nothing_in_common_go_to_the_nearest(moment):
    w = layer(width=16)[0]
    (found,) = round_compensated([w], moment.astype(np.float32), saturates=True)
    np.testing.assert_array_equal(found.codes, quantize_linear(w, saturates=True).codes)


def test_layers_rounded_together_are_what_they_are_alone():
    w, moment = layer()
    parts = [w[:, :5], w[:, 5:6], w[:, 6:]]
    for part, found in zip(parts, round_compensated(parts, moment, saturates=True), strict=True):
        (alone,) = round_compensated([part], moment, saturates=True)
        np.testing.assert_array_equal(found.codes, alone.codes)
        np.testing.assert_array_equal(found.scale, alone.scale)


def test_outputs_of_zeros_stay_zero():
    w, moment = layer()
    w[:, 3] = 0
    (found,) = round_compensated([w], moment, saturates=True)
    assert np.all(found.codes[:, 3] == 0)
    assert np.all(np.isfinite(found.scale))
