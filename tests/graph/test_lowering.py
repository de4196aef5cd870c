import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from scipy.special import erf

import octavo
from octavo.arithmetic.affine import INT7_LEVELS, affine_range, quantize_asymmetric, quantize_symmetric
from octavo.graph.layers import find_layers
from octavo.graph.lower_dynamic import ROW_ZERO_POINT, lower_dynamic_linear, lower_ranged_linear, lower_row_linear
from octavo.graph.lowering import lower_embedding, lower_static_linear

GELU_LOWEST = -0.17
SHAPES = pytest.mark.parametrize("shape", [(5, 16), (2, 5, 16)])
SITES = pytest.mark.parametrize(("operator", "transposed"), [("MatMul", False), ("Gemm", False), ("Gemm", True)])


def random(*shape, seed=0, spread=1.0):
    return (np.random.default_rng([seed, *shape]).normal(size=shape) * spread).astype(np.float32)


def gelu(x):
    return x * (1 + erf(x / np.sqrt(2))) / 2


def quantize(layer):
    """Codes within 7 bits, so that no CPU saturates and the emulation is exact everywhere."""
    axis = 1 if layer.kind == "embedding" else 0
    return quantize_symmetric(layer.matrix(), axis=axis, levels=INT7_LEVELS)


def lower(model, layer, lowest=None):
    """Lower one layer, by rows where `lowest` is given; returns what its weight has become."""
    weight = quantize(layer)
    if layer.kind == "embedding":
        lower_embedding(model, layer, weight)
    elif lowest is None:
        lower_dynamic_linear(model, layer, weight)
    else:
        lower_row_linear(model, layer, weight, lowest)
    return weight


def by_tensor(x, weight, bias=0.0):
    """`lower_dynamic_linear` in numpy: an exact integer product, scaled in float64."""
    scale, zero_point = affine_range(x.min(), x.max())
    codes = quantize_asymmetric(x.astype(np.float32), scale, zero_point).astype(np.int64) - int(zero_point)
    return (codes @ weight.codes.astype(np.int64)) * (np.float64(scale) * weight.scale.astype(np.float64)) + bias


def by_row(x, weight, lowest, bias=0.0):
    """The formula in the documentation of `lower_row_linear` in numpy, in float64."""
    x, zero = x.astype(np.float64), ROW_ZERO_POINT
    scale = np.maximum(x.max(axis=-1, keepdims=True) / (255 - zero), max(-lowest / zero, 1e-9))
    codes = np.clip(np.rint(x / scale) + zero, 0, 255).astype(np.int64) - zero
    return (codes @ weight.codes.astype(np.int64)) * scale * weight.scale.astype(np.float64) + bias


def linear(graph, path, x, width, outputs, *, operator="MatMul", transposed=False, seed=1):
    """A Linear with a bias; returns its output and the bias."""
    weight, bias = random(width, outputs, seed=seed, spread=0.1), random(outputs, seed=seed)
    bias_value = graph.weight(f"{path}.bias", bias)
    if operator == "Gemm":
        matrix = graph.weight(f"{path}.weight", np.ascontiguousarray(weight.T) if transposed else weight)
        return graph.node(f"{path}/Gemm", x, matrix, bias_value, transB=int(transposed)), bias
    product = graph.node(f"{path}/MatMul", x, graph.weight(f"{path}.weight", weight))
    return graph.node(f"{path}/Add", product, bias_value), bias


def one_linear(graph, shape, *, activation=None, **kind):
    """Input, an activation function where one is named, Linear; returns the model and the bias."""
    value = graph.input("x", [None, *shape[1:]] if len(shape) == 2 else ["batch", "length", shape[-1]])
    if activation:
        value = graph.node(f"/{activation}", value)
    y, bias = linear(graph, "dense", value, shape[-1], 7, **kind)
    return graph.model(y=(y, [None] * (len(shape) - 1) + [7])), bias


def operators(model):
    return [node.op_type for node in model.graph]


@pytest.mark.parametrize("shape", [(6,), (2, 3)])
def test_embedding_is_exact_to_float32(graph, run, shape):
    ids = graph.input("ids", [None] * len(shape), ir.DataType.INT64)
    y = graph.node("word/Gather", graph.weight("word.weight", random(10, 16)), ids)
    model = graph.model(y=(y, [None] * len(shape) + [16]))
    rows = np.array([0, 9, 3, 3, 5, 1]).reshape(shape)
    (before,) = run(model, ids=rows)
    (layer,) = find_layers(model)
    table = lower(model, layer)
    (after,) = run(model, ids=rows)
    np.testing.assert_array_equal(after, table.codes[rows].astype(np.float32) * table.scale[rows])
    assert np.all(np.abs(after - before) <= table.scale[rows] * 0.5001)
    assert "word.weight" not in model.graph.initializers


@SITES
def test_dynamic_linear_is_integer_arithmetic(graph, run, operator, transposed):
    model, bias = one_linear(graph, (5, 16), operator=operator, transposed=transposed)
    x = random(5, 16) + np.float32(0.3)
    (layer,) = find_layers(model)
    weight = lower(model, layer)
    assert operators(model).count("MatMulInteger") == 1
    np.testing.assert_allclose(run(model, x=x)[0], by_tensor(x, weight, bias), rtol=1e-5, atol=1e-5)
    assert "dense.weight" not in model.graph.initializers


def test_dynamic_linear_of_three_dimensions(graph, run):
    model, bias = one_linear(graph, (2, 5, 16))
    x = random(2, 5, 16)
    (layer,) = find_layers(model)
    weight = lower(model, layer)
    np.testing.assert_allclose(run(model, x=x)[0], by_tensor(x, weight, bias), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shift", [-9, 9])
def test_dynamic_linear_of_inputs_of_one_sign(graph, run, shift):
    model, bias = one_linear(graph, (5, 16))
    x = random(5, 16) + np.float32(shift)
    (layer,) = find_layers(model)
    weight = lower(model, layer)
    np.testing.assert_allclose(run(model, x=x)[0], by_tensor(x, weight, bias), rtol=1e-5, atol=1e-5)


@SHAPES
@pytest.mark.parametrize("lowest", [GELU_LOWEST, 0.0])
def test_row_linear_is_the_formula_of_its_documentation(graph, run, shape, lowest):
    model, bias = one_linear(graph, shape)
    x = np.maximum(random(*shape) * np.geomspace(0.01, 100, 5, dtype=np.float32)[:, None], np.float32(lowest))
    (layer,) = find_layers(model)
    weight = lower(model, layer, lowest)
    assert operators(model).count("MatMulInteger") == 1
    (y,) = run(model, x=x)
    expected = by_row(x, weight, lowest, bias)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("transposed", [False, True])
def test_row_linear_of_a_gemm_adds_its_bias(graph, run, transposed):
    model, bias = one_linear(graph, (5, 16), operator="Gemm", transposed=transposed)
    x = np.maximum(random(5, 16), 0)
    (layer,) = find_layers(model)
    weight = lower(model, layer, 0.0)
    np.testing.assert_allclose(run(model, x=x)[0], by_row(x, weight, 0.0, bias), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", ["dynamic", "row"])
def test_a_gemm_without_bias(graph, run, rows):
    x = graph.input("x", [None, 16])
    y = graph.node("dense/Gemm", x, graph.weight("dense.weight", random(16, 7)))
    model = graph.model(y=(y, [None, 7]))
    (layer,) = find_layers(model)
    weight = lower(model, layer, 0.0 if rows == "row" else None)
    x = np.maximum(random(5, 16), 0)
    expected = by_row(x, weight, 0.0) if rows == "row" else by_tensor(x, weight)
    np.testing.assert_allclose(run(model, x=x)[0], expected, rtol=1e-5, atol=1e-5)


@SHAPES
def test_row_linear_gives_a_row_the_same_numbers_beside_any_other(graph, run, shape):
    model, _ = one_linear(graph, shape)
    (layer,) = find_layers(model)
    weight = lower(model, layer, GELU_LOWEST)
    row = np.maximum(random(*shape), np.float32(GELU_LOWEST))[..., :1, :]
    (alone,) = run(model, x=row)
    (beside,) = run(model, x=np.concatenate([100 * np.abs(row), row], axis=-2))
    np.testing.assert_allclose(beside[..., 1:, :], alone, rtol=1e-6, atol=1e-6)
    # The same rows under one scale for all lose most of what is in the small one: what this test would see.
    pair = np.concatenate([100 * np.abs(row), row], axis=-2)
    assert np.abs(by_tensor(pair, weight)[..., 1:, :] - by_tensor(row, weight)).max() > 1e-3


def test_row_linear_keeps_a_row_that_is_all_negative_or_zero(graph, run):
    model, bias = one_linear(graph, (4, 16))
    (layer,) = find_layers(model)
    weight = lower(model, layer, GELU_LOWEST)
    x = np.stack([np.full(16, GELU_LOWEST), np.full(16, -0.01), np.zeros(16), np.full(16, 3)]).astype(np.float32)
    (y,) = run(model, x=x)
    np.testing.assert_allclose(y, by_row(x, weight, GELU_LOWEST, bias), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(y[2], bias, atol=1e-7)
    # `lowest` itself is in range: nothing of the first row is cut off
    exact = x[0].astype(np.float64) @ weight.dequantize() + bias
    np.testing.assert_allclose(y[0], exact, atol=1e-4)


@pytest.mark.parametrize(("spread", "least"), [(0.3, 40.0), (1.0, 46.4), (3.0, 47.4)])
def test_the_zero_point_of_a_row_suits_small_and_large_outputs_of_gelu(graph, run, spread, least):
    """In decibels, through an identity: a zero point of 16 has 34 of the smallest outputs here, one of 64 loses 1.3."""
    x = graph.input("x", [None, 64])
    y = graph.node("dense/MatMul", x, graph.weight("dense.weight", np.eye(64, dtype=np.float32)))
    model = graph.model(y=(y, [None, 64]))
    (layer,) = find_layers(model)
    assert np.array_equal(lower(model, layer, GELU_LOWEST).dequantize(), np.eye(64))
    x = gelu(random(500, 64, spread=spread)).astype(np.float32)
    (y,) = run(model, x=x)
    assert 10 * np.log10(np.sum(x.astype(np.float64) ** 2) / np.sum((x.astype(np.float64) - y) ** 2)) > least


def test_row_linear_of_zeros_only(graph, run):
    model, bias = one_linear(graph, (3, 16))
    (layer,) = find_layers(model)
    lower(model, layer, 0.0)
    (y,) = run(model, x=np.zeros((3, 16), np.float32))
    np.testing.assert_allclose(y, np.broadcast_to(bias, (3, 7)), atol=1e-7)


def transformer(graph):
    """Embedding, Linear, Gelu, Linear, Gemm; returns the model and the biases by path."""
    ids = graph.input("ids", ["batch"], ir.DataType.INT64)
    x = graph.node("word/Gather", graph.weight("word.weight", random(10, 16)), ids)
    biases = {}
    x, biases["up"] = linear(graph, "up", x, 16, 32, seed=2)
    x, biases["down"] = linear(graph, "down", graph.node("/Gelu", x), 32, 16, seed=3)
    x, biases["classifier"] = linear(graph, "classifier", x, 16, 3, operator="Gemm", transposed=True, seed=4)
    return graph.model(logits=(x, ["batch", 3])), biases


def test_a_whole_model_is_integer_arithmetic(graph, run):
    model, biases = transformer(graph)
    ids = np.array([1, 5, 2, 9, 0])
    (exact,) = run(model, ids=ids)
    weights = {
        layer.path: lower(model, layer, GELU_LOWEST if layer.path == "down" else None) for layer in find_layers(model)
    }
    x = by_tensor(weights["word"].dequantize()[ids], weights["up"], biases["up"])
    x = by_row(gelu(x), weights["down"], GELU_LOWEST, biases["down"])
    expected = by_tensor(x, weights["classifier"], biases["classifier"])
    (y,) = run(model, ids=ids)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    assert np.abs(y - exact).max() < 0.05 * np.abs(exact).max()
    assert [value.name for value in model.graph.outputs] == ["logits"]
    assert not {"MatMul", "Gemm"} & set(operators(model))
    assert not {"word.weight", "up.weight", "down.weight", "classifier.weight"} & set(model.graph.initializers)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)


@pytest.mark.parametrize("lowest", [None, GELU_LOWEST], ids=["dynamic", "row"])
@SHAPES
def test_a_lowered_linear_passes_the_checker(graph, shape, lowest):
    model, _ = one_linear(graph, shape, activation="Gelu")
    (layer,) = find_layers(model)
    lower(model, layer, lowest)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)


@pytest.mark.parametrize("lowest", [None, GELU_LOWEST], ids=["dynamic", "row"])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_lowered_gemm_passes_the_checker(graph, transposed, lowest):
    model, _ = one_linear(graph, (5, 16), activation="Gelu", operator="Gemm", transposed=transposed)
    (layer,) = find_layers(model)
    lower(model, layer, lowest)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)


def test_a_lowered_embedding_passes_the_checker(graph):
    ids = graph.input("ids", ["batch", "length"], ir.DataType.INT64)
    y = graph.node("word/Gather", graph.weight("word.weight", random(10, 16)), ids)
    model = graph.model(y=(y, ["batch", "length", 16]))
    (layer,) = find_layers(model)
    lower(model, layer)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)


def test_layers_that_read_the_same_input_share_its_quantization(graph, run):
    x = graph.input("x", [None, 16])
    outputs = {name: linear(graph, name, x, 16, 4, seed=index) for index, name in enumerate("qkv")}
    model = graph.model(**{f"{name}_out": (value, [None, 4]) for name, (value, _) in outputs.items()})
    weights = [lower(model, layer) for layer in find_layers(model)]
    assert operators(model).count("DynamicQuantizeLinear") == 1
    x = random(5, 16)
    for y, weight, (_, bias) in zip(run(model, x=x), weights, outputs.values(), strict=True):
        np.testing.assert_allclose(y, by_tensor(x, weight, bias), rtol=1e-5, atol=1e-5)


def lower_by_token(model, layer):
    """Lower a Linear whose input has both signs, one scale per token."""
    weight = quantize(layer)
    lower_row_linear(model, layer, weight)
    return weight


def by_token(x, weight, bias=0.0):
    """The formula for inputs of both signs, in float64."""
    x = x.astype(np.float64)
    scale = np.maximum(np.abs(x).max(axis=-1, keepdims=True) / 127, 1e-9)
    codes = np.clip(np.rint(x / scale) + 128, 0, 255).astype(np.int64) - 128
    return (codes @ weight.codes.astype(np.int64)) * scale * weight.scale.astype(np.float64) + bias


@pytest.mark.parametrize(
    ("operator", "transposed", "shape"),
    [("MatMul", False, (5, 16)), ("MatMul", False, (2, 5, 16)), ("Gemm", False, (5, 16)), ("Gemm", True, (5, 16))],
)
def test_inputs_of_both_signs_get_one_scale_per_token(graph, run, shape, operator, transposed):
    model, bias = one_linear(graph, shape, operator=operator, transposed=transposed)
    (layer,) = find_layers(model)
    weight = lower_by_token(model, layer)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    x = random(*shape) * np.logspace(-3, 2, shape[-2], dtype=np.float32)[:, None]  # tokens of very different sizes
    x[..., 0, :] = 0
    x[..., 1, :] = -np.abs(x[..., 1, :])
    expected = by_token(x, weight, bias)
    size = np.abs(expected).max(axis=-1, keepdims=True)
    np.testing.assert_allclose(run(model, x=x)[0] / size, expected / size, atol=1e-4)


def test_a_token_gets_the_same_bits_whatever_stands_beside_it(graph, run):
    model, _ = one_linear(graph, (2, 5, 16))
    (layer,) = find_layers(model)
    lower_by_token(model, layer)
    x = random(2, 5, 16)
    large = np.concatenate([x, 1000 * random(3, 5, 16, seed=7)])
    np.testing.assert_array_equal(run(model, x=large)[0][:2], run(model, x=x)[0])


def test_layers_that_read_one_value_share_its_codes(graph, run):
    x = graph.input("x", ["batch", "length", 16])
    outputs = {name: linear(graph, name, x, 16, 4, seed=index) for index, name in enumerate("qkv")}
    model = graph.model(**{f"{name}_out": (value, [None, None, 4]) for name, (value, _) in outputs.items()})
    weights = [lower_by_token(model, layer) for layer in reversed(find_layers(model))][::-1]
    assert [operators(model).count(name) for name in ("QuantizeLinear", "ReduceMax", "Expand")] == [1, 2, 1]
    model.graph.sort()
    x = random(2, 5, 16)
    for y, weight, (_, bias) in zip(run(model, x=x), weights, outputs.values(), strict=True):
        np.testing.assert_allclose(y, by_token(x, weight, bias), rtol=1e-4, atol=1e-4)


def test_one_value_may_be_read_with_and_without_a_bound(graph, run):
    hidden = graph.node("/Gelu", graph.input("x", [None, 16]))
    outputs = {name: linear(graph, name, hidden, 16, 4, seed=index) for index, name in enumerate("ab")}
    model = graph.model(**{f"{name}_out": (value, [None, 4]) for name, (value, _) in outputs.items()})
    first, second = find_layers(model)
    weights = lower(model, first, GELU_LOWEST), lower_by_token(model, second)
    x = random(5, 16)
    found = run(model, x=x)
    np.testing.assert_allclose(
        found[0], by_row(gelu(x), weights[0], GELU_LOWEST, outputs["a"][1]), rtol=1e-3, atol=1e-3
    )
    np.testing.assert_allclose(found[1], by_token(gelu(x), weights[1], outputs["b"][1]), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("lowest", [None, 0.0], ids=["dynamic", "row"])
@pytest.mark.parametrize("one_value", [True, False])
def test_equal_weights_of_two_paths_survive(graph, run, one_value, lowest):
    matrix = random(16, 16)
    x = graph.input("x", [None, 16])
    first = graph.weight("first.weight", matrix)
    second = first if one_value else graph.weight("second.weight", matrix)
    hidden = graph.node("/Relu", graph.node("first/MatMul", x, first))
    model = graph.model(y=(graph.node("second/MatMul", hidden, second), [None, 16]))
    x = np.maximum(random(5, 16), 0)
    layers = find_layers(model)
    weight = lower(model, layers[0], lowest)

    def product(x):
        return by_tensor(x, weight) if lowest is None else by_row(x, weight, lowest)

    hidden = np.maximum(product(x), 0)
    np.testing.assert_allclose(run(model, x=x)[0], hidden @ matrix, rtol=1e-4, atol=1e-4)  # the second is float yet
    lower(model, layers[1], lowest)
    np.testing.assert_allclose(run(model, x=x)[0], product(hidden), rtol=1e-4, atol=1e-4)
    assert not {"first.weight", "second.weight"} & set(model.graph.initializers)


def test_a_table_that_is_also_the_head_survives(graph, run):
    table = random(10, 16)
    ids = graph.input("ids", [None], ir.DataType.INT64)
    tied = graph.weight("word.weight", table)
    x = graph.node("word/Gather", tied, ids)
    model = graph.model(y=(graph.node("lm_head/Gemm", x, tied, transB=1), [None, 10]))
    word, head = find_layers(model)
    rows = lower(model, word)
    ids = np.array([3, 9])
    hidden = rows.dequantize()[ids]
    np.testing.assert_allclose(run(model, ids=ids)[0], hidden @ table.T, rtol=1e-5, atol=1e-5)
    weight = lower(model, head)
    np.testing.assert_allclose(run(model, ids=ids)[0], by_tensor(hidden, weight), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("lowest", [None, 0.0], ids=["dynamic", "row"])
def test_a_layer_that_is_run_twice_holds_its_constants_once(graph, run, lowest):
    weight = graph.weight("shared.weight", random(16, 16))
    x = graph.node("/Relu", graph.input("x", [None, 16]))
    x = graph.node("/Relu_2", graph.node("shared/MatMul", x, weight))
    model = graph.model(y=(graph.node("shared/MatMul_2", x, weight), [None, 16]))
    (layer,) = find_layers(model)
    quantized = lower(model, layer, lowest)
    names = [node.name for node in model.graph]
    assert len(set(names)) == len(names)  # ONNX Runtime refuses two nodes of one name
    stored = [value.const_value.numpy() for value in model.graph.initializers.values()]
    assert len({(array.dtype, array.shape, array.tobytes()) for array in stored}) == len(stored)

    def product(x):
        return by_tensor(x, quantized) if lowest is None else by_row(x, quantized, lowest)

    x = np.maximum(random(5, 16), 0)
    expected = product(np.maximum(product(x), 0))
    np.testing.assert_allclose(run(model, x=x)[0], expected, rtol=1e-4, atol=1e-4)


def test_a_table_that_is_read_twice_is_stored_once(graph, run):
    table = graph.weight("word.weight", random(10, 16))
    ids = [graph.input(name, [None], ir.DataType.INT64) for name in ("a", "b")]
    rows = [graph.node(name, table, value) for name, value in zip(("word/Gather", "word/Gather_2"), ids, strict=True)]
    model = graph.model(y=(graph.node("/Add", *rows), [None, 16]))
    (layer,) = find_layers(model)
    quantized = lower(model, layer)
    assert len(model.graph.initializers) == 2
    (y,) = run(model, a=np.array([1]), b=np.array([7]))
    np.testing.assert_allclose(y[0], quantized.dequantize()[1] + quantized.dequantize()[7], rtol=1e-6)


def test_two_weights_under_one_path_stay_apart(graph, run):
    x = graph.input("x", [None, 16])
    hidden = graph.node("experts/Tanh", graph.node("experts/MatMul", x, graph.weight("one", random(16, 16, seed=1))))
    y = graph.node("experts/MatMul_2", hidden, graph.weight("two", random(16, 16, seed=2)))
    model = graph.model(y=(y, [None, 16]))
    first, second = (lower(model, layer) for layer in find_layers(model))
    x = random(5, 16)
    expected = by_tensor(np.tanh(by_tensor(x, first)), second)
    np.testing.assert_allclose(run(model, x=x)[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("operator", ["MatMul", "Gemm"])
def test_a_linear_that_reads_another_one_directly(graph, run, operator):
    x = graph.input("x", [None, 16])
    hidden = graph.node(f"first/{operator}", x, graph.weight("first.weight", random(16, 16, seed=1)))
    y = graph.node(f"second/{operator}", hidden, graph.weight("second.weight", random(16, 16, seed=2)))
    model = graph.model(y=(y, [None, 16]))
    first, second = (lower(model, layer) for layer in find_layers(model))
    x = random(5, 16)
    np.testing.assert_allclose(run(model, x=x)[0], by_tensor(by_tensor(x, first), second), rtol=1e-4, atol=1e-4)


RANGED = {"ranged": lower_ranged_linear, "static": lower_static_linear}


@SHAPES
@SITES
@pytest.mark.parametrize("form", RANGED)
def test_a_linear_of_a_known_range_is_integer_arithmetic(graph, run, form, shape, operator, transposed):
    if operator == "Gemm" and len(shape) > 2:
        pytest.skip("Gemm is of two dimensions")
    model, bias = one_linear(graph, shape, operator=operator, transposed=transposed)
    layer, x = find_layers(model)[0], random(*shape)
    weight = quantize(layer)
    RANGED[form](model, layer, weight, {"x": affine_range(x.min(), x.max())})
    onnx.checker.check_model(ir.to_proto(model))
    np.testing.assert_allclose(run(model, x=x)[0], by_tensor(x, weight, bias), rtol=1e-5, atol=1e-5)


@SITES
def test_codes_of_four_bits_answer_as_the_same_ones_in_eight(graph, run, operator, transposed):
    answers, sizes, x = [], [], random(5, 16)
    floats, _ = one_linear(graph, (5, 16), operator=operator, transposed=transposed)
    for bits in (8, 4):
        model = floats.clone()
        layer = find_layers(model)[0]
        weight = quantize_symmetric(layer.matrix(), axis=0, levels=7)
        lower_static_linear(model, layer, weight, {"x": affine_range(x.min(), x.max())}, bits=bits)
        onnx.checker.check_model(ir.to_proto(model))
        sizes.append(
            next(v.const_value for n, v in model.graph.initializers.items() if f"weight_int{bits}" in n).nbytes
        )
        answers.append(run(model, x=x)[0])
    np.testing.assert_array_equal(*answers)
    assert sizes[0] == 2 * sizes[1]


@pytest.mark.parametrize("operator", ["MatMul", "Gemm"])
@pytest.mark.parametrize("forms", [("ranged", "ranged"), ("row", "ranged"), ("ranged", "row")], ids="-".join)
def test_a_linear_that_reads_another_one_in_any_form(graph, run, operator, forms):
    value = graph.input("x", [None, 16])
    hidden = graph.node(f"first/{operator}", value, graph.weight("first.weight", random(16, 16, seed=1)))
    y = graph.node(f"second/{operator}", hidden, graph.weight("second.weight", random(16, 16, seed=2)))
    model, x = graph.model(y=(y, [None, 16])), random(5, 16)
    layers = find_layers(model)
    seen = {"x": x, str(hidden.name): x @ layers[0].matrix()}
    exact = seen[str(hidden.name)] @ layers[1].matrix()
    ranges = {name: affine_range(array.min(), array.max()) for name, array in seen.items()}
    for form, layer in zip(forms, layers, strict=True):
        if form == "row":
            lower_row_linear(model, layer, quantize(layer))
        else:
            lower_ranged_linear(model, layer, quantize(layer), ranges)
    onnx.checker.check_model(ir.to_proto(model))
    found = run(model, x=x)[0]
    assert np.linalg.norm(found - exact) < 0.03 * np.linalg.norm(exact)


def test_nodes_stay_in_order_where_a_layer_runs_again_after_another_that_shares_its_input(graph):
    matrix, other = graph.weight("a.weight", random(4, 4, seed=1)), graph.weight("b.weight", random(4, 4, seed=2))
    hidden = graph.node("/Tanh", graph.node("a/MatMul", graph.input("x", [None, 4]), matrix))
    early = graph.node("b/MatMul", hidden, other)
    late = graph.node("a/MatMul_2", hidden, matrix)
    model = graph.model(y=(graph.node("/Add", early, late), [None, 4]))
    for layer in find_layers(model):  # `a` first: it quantizes what `b` reads, and `b` stands before
        lower(model, layer)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dynamic", "static"])
def test_a_bias_and_gelu_stay_two_operators_where_that_pays(method, checkpoint, tmp_path, sentences):
    """And the numbers are the same: it is the engine that would make one of them."""
    (tmp_path / "texts.txt").write_text("\n".join(sentences * 12), encoding="utf-8")
    calibration = tmp_path / "texts.txt" if method == "static" else None
    floats, fused, answers = octavo.export(checkpoint("bert")), {}, []
    for target in ("avx_vnni", "avx512_vnni"):
        made = octavo.quantize(floats, tmp_path / target, recipe=method, target=target, calibration=calibration)
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / f"{target}.onnx")
        session = onnxruntime.InferenceSession(made.model_file, options)
        fused[target] = sum(node.op_type == "BiasGelu" for node in onnx.load(tmp_path / f"{target}.onnx").graph.node)
        inputs = {one.name: np.ones((2, 7), np.int64) for one in session.get_inputs()}
        answers.append(session.run(None, inputs)[0])
    assert fused == {"avx_vnni": 2, "avx512_vnni": 0}
    np.testing.assert_allclose(*answers, rtol=0, atol=1e-5)
