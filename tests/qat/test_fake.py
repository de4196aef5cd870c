"""Fake quantization is the project's own arithmetic, to the last bit, and its gradients are those of the papers."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from octavo.arithmetic.affine import affine_range, quantize_asymmetric, quantize_symmetric
from octavo.qat.fake import PACE, FakeLinear, LearntInput, round_weight

NUMBERS = st.floats(-100, 100, width=32)
MATRICES = hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=NUMBERS)
ENDS = st.floats(0, 50, width=32)


@given(MATRICES, st.sampled_from([127, 64]))
def test_a_weight_is_rounded_as_the_graph_stores_it(weight, levels):
    found = round_weight(torch.from_numpy(weight), levels).numpy()
    np.testing.assert_array_equal(found, quantize_symmetric(weight, axis=1, levels=levels).dequantize())


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
        linear.int8 = (LearntInput(float(smooth.min()), float(smooth.max()), given_factor), 127)
        errors.append(float((linear(scaled) - exact).detach().square().mean()))
    assert errors[1] < errors[0] / 20
    linear(scaled).sum().backward()
    assert linear.int8[0].shared.grad.abs().sum() > 0


@pytest.mark.parametrize("levels", [127, 64])
def test_gradients_pass_a_weight(levels):
    weight = torch.randn(4, 6, requires_grad=True)
    round_weight(weight, levels).sum().backward()
    assert torch.equal(weight.grad, torch.ones(4, 6))
