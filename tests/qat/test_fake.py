"""Fake quantization is the project's own arithmetic, to the last bit, and its gradients are those of the papers."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from octavo.arithmetic.affine import LEVELS, affine_range, clipped_scale, quantize_asymmetric, quantize_symmetric
from octavo.arithmetic.saturation import can_saturate, quantize_by_steps, quantize_linear
from octavo.qat.fake import PACE, FakeLinear, LearntInput, WeightSteps, round_rows

NUMBERS = st.floats(-100, 100, width=32)
MATRICES = hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=NUMBERS)
ENDS = st.floats(0, 50, width=32)


@given(MATRICES)
def test_rows_of_a_table_are_rounded_as_the_graph_stores_them(table):
    found = round_rows(torch.from_numpy(table)).numpy()
    np.testing.assert_array_equal(found, quantize_symmetric(table, axis=1).dequantize())


@given(MATRICES, st.floats(0.25, 1.5, width=32), st.booleans())
def test_a_weight_is_rounded_as_the_graph_stores_it(weight, share, saturates):
    """With the steps that it starts from, and with smaller ones, to which it has grown."""
    scale = quantize_linear(weight.T, saturates=saturates).scale * np.float32(share)
    expected = quantize_by_steps(weight.T, scale, saturates=saturates)
    found = WeightSteps(torch.from_numpy(scale.T.copy()), saturates=saturates)(torch.from_numpy(weight)).numpy()
    np.testing.assert_array_equal(found, expected.dequantize().T)
    assert not (saturates and can_saturate(expected.codes))


@given(MATRICES)
def test_a_weight_of_four_bits_is_rounded_as_the_graph_stores_it(weight):
    scale = clipped_scale(weight.T, np.ones(weight.shape[1], np.float32), levels=LEVELS[4])
    expected = quantize_by_steps(weight.T, scale, saturates=False, levels=LEVELS[4])
    steps = WeightSteps(torch.from_numpy(scale.T.copy()), saturates=True, bits=4)
    np.testing.assert_array_equal(steps(torch.from_numpy(weight)).detach().numpy(), expected.dequantize().T)
    assert np.abs(expected.codes).max() <= 7


@given(MATRICES, ENDS, ENDS)
def test_an_activation_is_rounded_as_the_graph_rounds_it(x, below, above):
    found = LearntInput(-below, above)(torch.from_numpy(x)).detach().numpy()
    scale, zero = affine_range(-below, above)
    expected = (quantize_asymmetric(x, scale, zero).astype(np.float32) - np.float32(zero)) * scale
    np.testing.assert_array_equal(found, expected)


def straight(value):
    """Rounded, with the slope of what is rounded."""
    return value + (value.round() - value).detach()


def test_the_gradients_are_those_of_a_straight_through_estimator():
    generator = torch.Generator().manual_seed(3)
    x = 3 * torch.randn(64, 16, generator=generator, dtype=torch.float64)
    weights = torch.randn(64, 16, generator=generator, dtype=torch.float64)
    learnt = LearntInput(-2.0, 3.0).double()
    seen = x.clone().requires_grad_()
    (learnt(seen) * weights).sum().backward()
    low, high = (torch.tensor(end, dtype=torch.float64, requires_grad=True) for end in (-2.0, 3.0))
    other = x.clone().requires_grad_()
    scale = (high - low) / 255
    zero = straight(-low / scale)
    rounded = (torch.clamp(straight(other / scale) + zero, 0, 255) - zero) * scale
    (rounded * weights).sum().backward()
    assert 0.05 < float((seen.grad == 0).double().mean()) < 0.9, "some are outside, and some are not"
    torch.testing.assert_close(seen.grad, other.grad)
    pace = (255 * x.numel()) ** -0.5
    ends = torch.stack([low.grad * low, high.grad * high]).detach() * PACE * pace
    torch.testing.assert_close(learnt.moved.grad, ends, rtol=1e-6, atol=1e-12)


def test_the_gradients_of_steps_are_those_of_a_straight_through_estimator():
    generator = torch.Generator().manual_seed(5)
    weight = torch.randn(6, 40, generator=generator, dtype=torch.float64)
    slopes = torch.randn(6, 40, generator=generator, dtype=torch.float64)
    start = torch.full((6, 1), 0.2, dtype=torch.float64)
    learnt = WeightSteps(start, saturates=False, bits=4).double()
    seen = weight.clone().requires_grad_()
    (learnt(seen) * slopes).sum().backward()
    other, steps = weight.clone().requires_grad_(), start.clone().requires_grad_()
    (straight(torch.clamp(other / steps, -7, 7)) * steps * slopes).sum().backward()
    assert 0.05 < float((seen.grad == 0).double().mean()) < 0.9, "some are outside, and some are not"
    torch.testing.assert_close(seen.grad, other.grad)
    torch.testing.assert_close(learnt.moved.grad, steps.grad * start * PACE * (7 * 40) ** -0.5)


def test_a_factor_changes_nothing_but_how_errors_are_shared():
    x, linear = torch.randn(32, 8), FakeLinear(8, 5)
    factor = torch.tensor([1.0, 2, 4, 8, 16, 32, 64, 100])
    exact = torch.nn.functional.linear(x, linear.weight, linear.bias)
    scaled = x * factor  # channels that only a factor makes alike
    weight = linear.weight.detach() / factor
    linear.weight.data = weight
    errors = []
    for given_factor in (None, factor):
        smooth = scaled if given_factor is None else x
        seen = weight if given_factor is None else weight * factor
        steps = WeightSteps(seen.abs().amax(dim=1, keepdim=True) / 127, saturates=False)
        linear.int8 = (LearntInput(float(smooth.min()), float(smooth.max()), given_factor), steps)
        errors.append(float((linear(scaled) - exact).detach().square().mean()))
    assert errors[1] < errors[0] / 20


@pytest.mark.parametrize("saturates", [True, False])
def test_gradients_pass_a_weight(saturates):
    weight = torch.randn(4, 6, requires_grad=True)
    WeightSteps(torch.full((4, 1), 0.02), saturates=saturates)(weight).sum().backward()
    assert torch.equal(weight.grad, torch.ones(4, 6))
