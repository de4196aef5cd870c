import itertools

import numpy as np
import onnxruntime
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import TensorProto, helper
from scipy import linalg

from octavo.arithmetic.affine import (
    INT7_LEVELS,
    INT8_LEVELS,
    affine_range,
    clipped_scale,
    error_db,
    quantize_asymmetric,
    quantize_symmetric,
)

TINY = np.finfo(np.float32).tiny
SLACK = 1e-4  # of a step: 127 roundings of float32 are 1e-5 of it
MATRICES = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
    elements=st.floats(-1e6, 1e6, width=32) | st.just(0.0),
)
AXES = st.sampled_from([0, 1])
LEVELS = st.sampled_from([INT7_LEVELS, INT8_LEVELS])


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("levels", [INT7_LEVELS, INT8_LEVELS])
def test_symmetric_equals_a_float64_reference(axis, levels):
    weight = np.random.default_rng(1).normal(0, 0.04, (48, 32)).astype(np.float32)
    exact = weight.astype(np.float64)
    scale = np.abs(exact).max(axis=axis, keepdims=True) / levels
    quantized = quantize_symmetric(weight, axis=axis, levels=levels)
    assert quantized.codes.dtype == np.int8
    assert quantized.scale.dtype == np.float32
    assert quantized.scale.shape == scale.shape
    np.testing.assert_allclose(quantized.scale, scale, rtol=1e-6)
    np.testing.assert_array_equal(quantized.codes, np.round(exact / scale))
    np.testing.assert_allclose(quantized.dequantize(), np.round(exact / scale) * scale, rtol=1e-6)
    assert quantized.dequantize().dtype == np.float32


@given(weight=MATRICES, axis=AXES, levels=LEVELS)
def test_symmetric_is_off_by_half_a_step_at_most(weight, axis, levels):
    quantized = quantize_symmetric(weight, axis=axis, levels=levels)
    error = np.abs(quantized.dequantize().astype(np.float64) - weight)
    assert np.all(error <= quantized.scale.astype(np.float64) * (0.5 + SLACK))


@given(weight=MATRICES, axis=AXES, levels=LEVELS)
def test_symmetric_puts_the_largest_of_each_slice_on_levels_and_nothing_beyond(weight, axis, levels):
    largest_code = np.abs(quantize_symmetric(weight, axis=axis, levels=levels).codes.astype(int)).max(axis=axis)
    largest = np.abs(weight).max(axis=axis)
    normal = largest > levels * TINY * 1.01
    assert np.all(largest_code[normal] == levels)
    assert np.all(largest_code[largest < levels * TINY * 0.99] == 0)


@given(weight=MATRICES, axis=AXES, levels=LEVELS)
def test_symmetric_gives_minus_x_the_code_of_x_negated(weight, axis, levels):
    quantized = quantize_symmetric(weight, axis=axis, levels=levels)
    mirrored = quantize_symmetric(-weight, axis=axis, levels=levels)
    np.testing.assert_array_equal(mirrored.codes, -quantized.codes)
    np.testing.assert_array_equal(mirrored.scale, quantized.scale)


@pytest.mark.parametrize("axis", [0, 1])
def test_slices_of_zeros_come_back_as_zeros_beside_others(axis):
    weight = np.array([[0, 0, 0], [1, -2, 0.5]], np.float32)
    weight = weight if axis == 1 else weight.T
    quantized = quantize_symmetric(weight, axis=axis)
    assert quantized.scale.ravel()[0] == 1
    np.testing.assert_allclose(quantized.dequantize(), weight, atol=2 / 127 / 2 * 1.001)
    assert not quantized.dequantize()[weight == 0].any()


@pytest.mark.parametrize("magnitude", [1e-45, 1e-40, TINY])
def test_slices_of_subnormal_numbers_are_as_good_as_zero(magnitude):
    weight = np.array([[magnitude, -magnitude], [1, -1]], np.float32)
    quantized = quantize_symmetric(weight, axis=1)  # a division by zero would warn, and a warning fails the test
    np.testing.assert_array_equal(quantized.codes, [[0, 0], [127, -127]])
    assert quantized.scale[0, 0] == 1


def test_smallest_slice_with_a_normal_scale_is_still_quantized():
    weight = np.array([[127 * TINY * 1.01, -127 * TINY * 0.5]], np.float32)
    np.testing.assert_array_equal(quantize_symmetric(weight, axis=1).codes, [[127, -63]])


def test_symmetric_takes_large_numbers():
    weight = np.array([[3e38, -3e38 / 4]], np.float32)
    quantized = quantize_symmetric(weight, axis=1)
    np.testing.assert_array_equal(quantized.codes, [[127, -32]])
    np.testing.assert_allclose(quantized.dequantize(), weight, rtol=0.01)


def test_symmetric_rounds_half_to_even():
    weight = np.array([[127, 0.5, 1.5, 2.5, 3.5, -0.5, -1.5, -2.5]], np.float32)  # the scale is 1
    np.testing.assert_array_equal(quantize_symmetric(weight, axis=1).codes, [[127, 0, 2, 2, 4, 0, -2, -2]])


def test_asymmetric_rounds_half_to_even_and_saturates():
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 300, -300], np.float32)
    codes = quantize_asymmetric(x, np.float32(1), np.uint8(10))
    np.testing.assert_array_equal(codes, [10, 12, 12, 10, 8, 255, 0])


def pair_sums_saturate(levels):
    """Whether any sum of two u8 x s8 products, with codes within +-levels, is not the same in 16 bits."""
    activations = np.array([0, 1, 127, 128, 254, 255], np.int32)
    codes = np.array([-levels, -levels + 1, -1, 0, 1, levels - 1, levels], np.int32)
    pairs = np.array(list(itertools.product(activations, codes, activations, codes)), np.int32)
    sums = pairs[:, 0] * pairs[:, 1] + pairs[:, 2] * pairs[:, 3]
    limits = np.iinfo(np.int16)
    return bool(np.any(np.clip(sums, limits.min, limits.max) != sums))


def test_int7_levels_are_the_most_that_never_saturate_a_16_bit_pair_sum():
    assert not pair_sums_saturate(INT7_LEVELS)
    assert pair_sums_saturate(INT7_LEVELS + 1)
    assert pair_sums_saturate(INT8_LEVELS)


@pytest.fixture(scope="module")
def onnx_runtime():
    """ONNX Runtime's DynamicQuantizeLinear: a vector to codes, scale, zero point."""
    graph = helper.make_graph(
        [helper.make_node("DynamicQuantizeLinear", ["x"], ["codes", "scale", "zero_point"])],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [
            helper.make_tensor_value_info("codes", TensorProto.UINT8, ["n"]),
            helper.make_tensor_value_info("scale", TensorProto.FLOAT, []),
            helper.make_tensor_value_info("zero_point", TensorProto.UINT8, []),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return lambda x: session.run(None, {"x": x})


def assert_as_onnx_runtime(onnx_runtime, x):
    codes, scale, zero_point = onnx_runtime(x)
    ours = affine_range(x.min(), x.max())
    assert ours[0].dtype == np.float32
    assert ours == (scale, zero_point)
    np.testing.assert_array_equal(quantize_asymmetric(x, *ours), codes)


@pytest.mark.parametrize(
    ("low", "high"), [(-1, 1), (0.5, 4), (-4, -0.5), (-0.01, 7), (-7, 0.01), (-1e-6, 2e-6), (-1e6, 3e6)]
)
@pytest.mark.parametrize("seed", range(3))
def test_dynamic_range_is_that_of_onnx_runtime(onnx_runtime, low, high, seed):
    x = np.random.default_rng(seed).uniform(low, high, 1000).astype(np.float32)
    assert_as_onnx_runtime(onnx_runtime, x)


@given(
    x=hnp.arrays(
        np.float32,
        st.integers(1, 40),
        elements=st.floats(-1e6, 1e6, width=32).map(lambda number: number if abs(number) > 1e-30 else 0.0),
    )
)
def test_dynamic_range_is_that_of_onnx_runtime_on_any_tensor(onnx_runtime, x):
    assume(x.any())
    assert_as_onnx_runtime(onnx_runtime, x)


def test_dynamic_range_keeps_zero_exact_and_in_range():
    for values in ([3.0, 5.0], [-5.0, -3.0], [-1.0, 2.0]):
        scale, zero_point = affine_range(min(values), max(values))
        assert quantize_asymmetric(np.zeros(1, np.float32), scale, zero_point)[0] == zero_point
        assert float(scale) * 255 == pytest.approx(max(0, *values) - min(0, *values))


def test_dynamic_range_of_zeros_has_scale_one():
    scale, zero_point = affine_range(0.0, 0.0)
    assert (scale, zero_point) == (1, 0)


@pytest.mark.parametrize("noise", [1e-4, 1e-2, 1.0, 10.0])
def test_error_db_equals_the_formula_in_float64(noise):
    rng = np.random.default_rng(3)
    reference = rng.normal(size=(40, 30)).astype(np.float32)
    approximation = reference + rng.normal(0, noise, reference.shape).astype(np.float32)
    exact, wrong = reference.astype(np.float64), approximation.astype(np.float64)
    expected = 20 * np.log10(linalg.norm(exact) / linalg.norm(exact - wrong))
    assert error_db(reference, approximation) == pytest.approx(expected, rel=1e-12)


def test_error_db_does_not_overflow_where_float32_would():
    reference = np.full(3, 1e30, np.float32)
    assert error_db(reference, reference * np.float32(0.9)) == pytest.approx(20, abs=1e-5)


def test_error_db_of_no_noise_and_of_no_signal():
    ones, zeros = np.ones(3, np.float32), np.zeros(3, np.float32)
    assert error_db(ones, ones) == float("inf")
    assert error_db(zeros, zeros) == float("inf")
    assert error_db(zeros, ones) == float("-inf")


@pytest.mark.parametrize("levels", [INT7_LEVELS, INT8_LEVELS])
def test_error_db_of_rounded_weights_is_that_of_uniform_noise(levels):
    weight = np.random.default_rng(4).normal(0, 0.04, (768, 64)).astype(np.float32)
    steps = np.abs(weight.astype(np.float64)).max(axis=0) / levels
    expected = 10 * np.log10(np.mean(weight.astype(np.float64) ** 2) / np.mean(steps**2 / 12))
    assert error_db(weight, quantize_symmetric(weight, axis=0, levels=levels).dequantize()) == pytest.approx(
        expected, abs=0.1
    )


def test_a_clipped_scale_loses_least_of_all_that_are_tried():
    """By each share and output channel on its own, in float64."""
    generator = np.random.default_rng(4)
    weight = (generator.standard_t(3, (40, 6)) * generator.uniform(0.1, 3, 6)).astype(np.float32)
    weight[:, 2] = 0
    importance = (generator.uniform(0.01, 1, 40) ** 4).astype(np.float32)
    scale = clipped_scale(weight, importance, levels=7)
    assert scale.shape == (1, 6)
    assert scale[0, 2] == 1
    chosen = []
    for column, own in zip(weight.T.astype(np.float64), scale[0], strict=True):
        widest = np.abs(column).max() / 7 or 1.0
        losses = [
            importance @ (column - np.clip(np.rint(column / step), -7, 7) * step) ** 2
            for step in widest * np.linspace(1, 0.5, 11)
        ]
        chosen.append(int(np.argmin(losses)))
        assert own == pytest.approx(widest * np.linspace(1, 0.5, 11)[chosen[-1]], rel=1e-6)
    assert len(set(chosen)) > 2, "channels are clipped by different shares"
    alike = clipped_scale(weight, np.ones(40, np.float32), levels=7)
    assert not np.array_equal(scale, alike), "what an input counts matters"
