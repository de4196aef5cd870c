"""Weights in blocks: what they stand for, how they are packed, and that ONNX Runtime reads them so."""

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octavo.arithmetic.blocks import quantize_blocks
from octavo.engines.onnxruntime import open_graph


def matrix(inputs, outputs, seed=0):
    return np.random.default_rng(seed).normal(0, 1, (inputs, outputs)).astype(np.float32)


@given(st.integers(1, 80), st.integers(1, 9), st.sampled_from([4, 8]), st.sampled_from([16, 32]), st.integers(0, 99))
@settings(max_examples=80)
def test_no_number_moves_by_more_than_a_step(inputs, outputs, bits, block, seed):
    weight = matrix(inputs, outputs, seed)
    found = quantize_blocks(weight, bits, block)
    steps = np.repeat(found.scale, block, axis=0)[:inputs]
    limit = 0.5 if bits == 8 else 3.0  # a 4-bit block may be clipped by a share of its 15 steps
    assert found.dequantize().shape == weight.shape
    assert np.all(np.abs(found.dequantize() - weight) <= limit * steps * 1.0001 + 1e-7)


@given(st.integers(0, 99))
@settings(max_examples=20)
def test_clipping_never_loses_against_the_whole_range(seed):
    weight = matrix(32, 5, seed)
    low, high = np.minimum(weight.min(axis=0), 0), np.maximum(weight.max(axis=0), 0)
    step = (high - low) / 15
    zero = np.clip(np.rint(-low / step), 0, 15)
    plain = (np.clip(np.rint(weight / step) + zero, 0, 15) - zero) * step
    found = quantize_blocks(weight, 4, 32).dequantize()
    assert np.square(found - weight).sum() <= np.square(plain - weight).sum() * 1.0001


def test_zeros_come_back_as_zeros():
    for bits in (4, 8):
        assert not quantize_blocks(np.zeros((40, 3), np.float32), bits, 16).dequantize().any()


def test_compensated_rounding_is_nearer_in_what_comes_out():
    generator = np.random.default_rng(1)
    x = (generator.normal(size=(2000, 64)) @ generator.normal(size=(64, 64))).astype(np.float32)
    weight = matrix(64, 20, 2)
    moment = (x.T @ x / len(x)).astype(np.float32)
    plain, made_up = (quantize_blocks(weight, 4, 32, one).dequantize() for one in (None, moment))
    lost = [np.square(x @ (found - weight)).mean() for found in (plain, made_up)]
    assert lost[1] < 0.7 * lost[0]


def product(weight, accuracy):
    """A graph that multiplies by the weight as MatMulNBits reads it."""

    def held(name, array):
        value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
        value.shape, value.dtype = ir.Shape(array.shape), value.const_value.dtype
        return value

    weights = [held("codes", weight.packed()), held("scale", weight.packed_scale())]
    weights += [held("zeros", weight.packed_zeros())] if weight.bits == 4 else []
    settings = {
        "K": weight.inputs,
        "N": weight.codes.shape[2],
        "bits": weight.bits,
        "block_size": weight.codes.shape[1],
    }
    x = ir.val("x", ir.DataType.FLOAT, ["rows", weight.inputs])
    settings["accuracy_level"] = accuracy
    node = ir.node("MatMulNBits", [x, *weights], settings, domain="com.microsoft")
    y = node.outputs[0]
    y.name, y.dtype, y.shape = "y", ir.DataType.FLOAT, ir.Shape(["rows", weight.codes.shape[2]])
    opsets = {"": 22, "com.microsoft": 1}
    return ir.Model(ir.Graph([x], [y], nodes=[node], initializers=weights, opset_imports=opsets), ir_version=10)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize(("inputs", "block"), [(64, 32), (64, 64), (172, 16), (96, 128), (40, 16)])
@pytest.mark.parametrize("accuracy", [1, 4])
def test_onnx_runtime_multiplies_by_what_the_codes_stand_for(bits, inputs, block, accuracy):
    weight = quantize_blocks(matrix(inputs, 24), bits, block)
    x = matrix(5, inputs, 3)
    found = open_graph(product(weight, accuracy)).fetch({"x": x}, ["y"])[0]
    right = x @ weight.dequantize()
    # At level 4 the input is rounded to 8 bits too.
    assert np.abs(found - right).max() <= (1e-4 if accuracy == 1 else 0.03) * np.abs(right).max()
