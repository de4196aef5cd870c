import numpy as np
import onnx
import onnx_ir as ir
import pytest
from scipy.special import softmax

from octavo.graph.layers import find_layers
from octavo.graph.passes.attention import (
    attend_without_transposes,
    drop_attention_biases,
    drop_unattended_rows,
    merge_qkv,
    sum_before_layer_norm,
)
from octavo.graph.passes.constants import drop_no_ops, fold_constants, share_equal_weights
from octavo.graph.passes.order import PASSES, optimize

SHAPE = ["batch", 2, "length", 4]  # [batch, heads, length, width]
ZERO = np.zeros((), np.float32)


def masked_attention(graph, filler=ZERO):
    """What the exporter writes: Attention, then `filler` in the rows whose mask is zero everywhere."""
    q, k, v = (graph.input(name, SHAPE) for name in "qkv")
    mask = graph.input("mask", ["batch", 1, "length", "length"], ir.DataType.BOOL)
    attention = graph.node("attention/Attention", q, k, v, mask)
    counts = graph.node("attention/Cast", mask, to=ir.DataType.INT64)
    attended = graph.node("attention/ReduceMax", counts, graph.weight("last", np.array([-1])))
    nothing = graph.node("attention/Equal", attended, graph.weight("none", np.array(0)))
    return graph.node("attention/Where", nothing, graph.weight("filler", filler), attention)


def feed():
    rng = np.random.default_rng(5)
    tokens = np.array([[1, 1, 1], [1, 0, 0]], bool)  # the second text is padded; every row attends something
    mask = np.broadcast_to(tokens[:, None, None, :], (2, 1, 3, 3))
    return {name: rng.normal(size=(2, 2, 3, 4)).astype(np.float32) for name in "qkv"} | {"mask": mask}


def operators(model):
    return [node.op_type for node in model.graph]


@pytest.mark.parametrize("shape", [(), (1,), (1, 1, 1, 4)])
def test_where_goes_with_what_only_it_read_and_outputs_stay(graph, run, shape):
    model = graph.model(y=(graph.node("/Neg", masked_attention(graph, np.zeros(shape, np.float32))), SHAPE))
    (before,) = run(model, **feed())
    assert drop_unattended_rows(model) == 1
    assert operators(model) == ["Attention", "Neg"]
    (after,) = run(model, **feed())
    np.testing.assert_array_equal(after, before)
    q, k, v, mask = (feed()[name] for name in ("q", "k", "v", "mask"))
    weights = softmax(np.where(mask, q @ k.swapaxes(-1, -2) / 2.0, -np.inf), axis=-1)
    np.testing.assert_allclose(after, -(weights @ v), atol=1e-5)


def test_every_attention_is_freed_of_its_where(graph, run):
    first = masked_attention(graph)
    mask, zeros = graph.inputs[3], graph.weights[-1]
    nothing = graph.nodes[-1].inputs[0]
    attention = graph.node("second/Attention", first, first, first, mask)
    model = graph.model(y=(graph.node("/Neg", graph.node("second/Where", nothing, zeros, attention)), SHAPE))
    (before,) = run(model, **feed())
    assert drop_unattended_rows(model) == 2
    assert operators(model) == ["Attention", "Attention", "Neg"]
    np.testing.assert_array_equal(run(model, **feed())[0], before)


def test_nothing_is_left_to_drop_the_second_time(graph):
    model = graph.model(y=(graph.node("/Neg", masked_attention(graph)), SHAPE))
    assert [drop_unattended_rows(model), drop_unattended_rows(model)] == [1, 0]


@pytest.mark.parametrize("filler", [np.array(1, np.float32), np.array([0, 0, 0, -1], np.float32)])
def test_where_that_fills_in_something_else_is_left(graph, run, filler):
    model = graph.model(y=(graph.node("/Neg", masked_attention(graph, filler)), SHAPE))
    before = operators(model)
    assert drop_unattended_rows(model) == 0
    assert operators(model) == before
    inputs = feed()
    inputs["mask"] = inputs["mask"] & np.array([True, False]).reshape(2, 1, 1, 1)
    np.testing.assert_array_equal(run(model, **inputs)[0][1], np.broadcast_to(-filler, (2, 3, 4)))


def test_where_with_a_filler_that_is_not_constant_is_left(graph):
    q, mask = graph.input("q", SHAPE), graph.input("mask", ["batch", 1, 1, 1], ir.DataType.BOOL)
    filler = graph.input("filler", [])
    where = graph.node("attention/Where", mask, filler, graph.node("attention/Attention", q, q, q))
    model = graph.model(y=(graph.node("/Neg", where), SHAPE))
    assert drop_unattended_rows(model) == 0
    assert "Where" in operators(model)


@pytest.mark.parametrize("operator", ["Relu", "Softmax"])
def test_where_after_another_operator_is_left(graph, operator):
    q, mask = graph.input("q", SHAPE), graph.input("mask", ["batch", 1, 1, 1], ir.DataType.BOOL)
    where = graph.node("/Where", mask, graph.weight("zero", ZERO), graph.node(f"/{operator}", q))
    model = graph.model(y=(graph.node("/Neg", where), SHAPE))
    assert drop_unattended_rows(model) == 0
    assert operators(model) == [operator, "Where", "Neg"]


def test_where_that_keeps_attention_where_the_condition_holds_is_left(graph):
    q, mask = graph.input("q", SHAPE), graph.input("mask", ["batch", 1, 1, 1], ir.DataType.BOOL)
    attention = graph.node("attention/Attention", q, q, q)
    where = graph.node("attention/Where", mask, attention, graph.weight("zero", ZERO))
    model = graph.model(y=(graph.node("/Neg", where), SHAPE))
    assert drop_unattended_rows(model) == 0
    assert "Where" in operators(model)


def test_where_on_another_output_of_attention_is_left(graph, run):
    q, past = graph.input("q", SHAPE), graph.input("past", SHAPE)
    mask = graph.input("mask", ["batch", 1, 1, 1], ir.DataType.BOOL)
    outputs = graph.node("attention/Attention", q, q, q, None, past, past, num_outputs=3)
    keys = graph.node("/Neg", graph.node("cache/Where", mask, graph.weight("zero", ZERO), outputs[1]))
    longer = ["batch", 2, "total", 4]
    model = graph.model(
        y=(outputs[0], SHAPE), present=(outputs[1], longer), v=(outputs[2], longer), keys=(keys, longer)
    )
    rng = np.random.default_rng(6)
    inputs = {name: rng.normal(size=(2, 2, 3, 4)).astype(np.float32) for name in ("q", "past")}
    inputs["mask"] = np.zeros((2, 1, 1, 1), bool)
    before = run(model, **inputs)
    drop_unattended_rows(model)
    for old, new in zip(before, run(model, **inputs), strict=True):
        np.testing.assert_array_equal(new, old)


def test_where_that_is_an_output_of_the_graph_keeps_the_name_and_the_numbers(graph, run):
    model = graph.model(y=(masked_attention(graph), SHAPE))
    (before,) = run(model, **feed())
    drop_unattended_rows(model)
    assert [value.name for value in model.graph.outputs] == ["y"]
    np.testing.assert_array_equal(run(model, **feed())[0], before)


# --- Each of the others on the smallest graph that it is for, and on one that it must leave. ---

WIDE = ["batch", "length", 6]


def attention_block(graph, *, perm=(0, 2, 1, 3), bias=True, projected=False):
    """Query, key and value of one value, two heads of width 3, joined again, and a residual LayerNormalization.

    `projected`: behind the heads, as in BERT, a Linear of its own.
    """
    rng = np.random.default_rng(8)
    x = graph.input("x", WIDE)
    heads, join = graph.weight("heads", np.array([0, 0, 2, 3])), graph.weight("join", np.array([0, 0, 6]))
    split = []
    for name in ("query", "key", "value"):
        weight = graph.weight(f"attention.{name}.weight", rng.normal(size=(6, 6)).astype(np.float32))
        y = graph.node(f"attention.{name}/MatMul", x, weight)
        if bias:
            added = graph.weight(f"attention.{name}.bias", rng.normal(size=6).astype(np.float32))
            y = graph.node(f"attention.{name}/Add", y, added)
        y.shape = ir.Shape(WIDE)
        four = graph.node(f"attention/Reshape_{name}", y, heads)
        four.shape = ir.Shape(["batch", "length", 2, 3])
        split.append(graph.node(f"attention/Transpose_{name}", four, perm=perm))
    attended = graph.node("attention/Attention", *split)
    joined = graph.node("attention/Reshape", graph.node("attention/Transpose", attended, perm=[0, 2, 1, 3]), join)
    joined.shape = ir.Shape(WIDE)
    if projected:
        weight = graph.weight("output.weight", rng.normal(size=(6, 6)).astype(np.float32))
        added = graph.weight("output.bias", rng.normal(size=6).astype(np.float32))
        joined = graph.node("output/Add", graph.node("output/MatMul", joined, weight), added)
    total = graph.node("norm/Add", joined, x)
    scale = graph.weight("norm.weight", np.linspace(0.5, 1.5, 6).astype(np.float32))
    return graph.model(y=(graph.node("norm/LayerNormalization", total, scale), WIDE))


def check_equal(run, model, rewrite, expected=1):
    x = np.random.default_rng(9).normal(size=(2, 5, 6)).astype(np.float32)
    (before,) = run(model, x=x)
    assert rewrite(model) == expected
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    (after,) = run(model, x=x)
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-5 * np.abs(before).max())


def test_attention_splits_the_heads_itself(graph, run):
    model = attention_block(graph)
    check_equal(run, model, attend_without_transposes)
    assert not {"Transpose", "Reshape"} & set(operators(model))


def test_heads_that_are_split_otherwise_are_left(graph):
    assert attend_without_transposes(attention_block(graph, perm=(0, 2, 3, 1))) == 0


def test_attention_needs_no_bias_of_key_and_value(graph, run):
    model = attention_block(graph, projected=True)
    assert drop_attention_biases(model) == 0, "heads are still split outside"
    check_equal(run, model, attend_without_transposes)
    check_equal(run, model, drop_attention_biases, 2)
    assert not {"attention.key.bias", "attention.value.bias"} & set(model.graph.initializers)
    assert drop_attention_biases(model) == 0
    check_equal(run, model, merge_qkv)
    (joint, _) = find_layers(model)
    assert joint.path == "attention.{query,key,value}"


def test_a_value_keeps_its_bias_where_no_projection_follows(graph, run):
    model = attention_block(graph)
    check_equal(run, model, attend_without_transposes)
    check_equal(run, model, drop_attention_biases, 1)
    assert "attention.value.bias" in model.graph.initializers


@pytest.mark.parametrize("name", ["attention.key.bias", "attention.value.bias", "output.bias"])
def test_biases_that_others_read_too_stay(graph, run, name):
    model = attention_block(graph, projected=True)
    attend_without_transposes(model)
    norm = model.graph.node("norm/LayerNormalization")
    norm.resize_inputs(3)
    norm.replace_input_with(2, model.graph.initializers[name])
    check_equal(run, model, drop_attention_biases, 1)
    assert name in model.graph.initializers


def test_scores_that_are_capped_keep_their_biases(graph):
    model = attention_block(graph, projected=True)
    attend_without_transposes(model)
    next(node for node in model.graph if node.op_type == "Attention").attributes.add(ir.AttrFloat32("softcap", 5.0))
    assert drop_attention_biases(model) == 0


def test_residuals_before_a_normalization_become_sums(graph, run):
    model = attention_block(graph)
    check_equal(run, model, sum_before_layer_norm)
    assert "Sum" in operators(model)
    assert sum_before_layer_norm(model) == 0


@pytest.mark.parametrize("bias", [True, False])
def test_query_key_and_value_are_one_product(graph, run, bias):
    model = attention_block(graph, bias=bias)
    check_equal(run, model, merge_qkv)
    assert operators(model).count("MatMul") == 1
    (layer,) = find_layers(model)
    assert layer.path == "attention.{query,key,value}"
    assert layer.paths == ("attention.query", "attention.key", "attention.value")
    assert layer.matrix().shape == (6, 18)
    assert set(model.graph.initializers) & {"attention.query.weight", "attention.query.bias"} == set()


def test_layers_that_a_rule_sets_apart_are_not_merged(graph, run):
    model = attention_block(graph)
    check_equal(run, model, lambda model: merge_qkv(model, {"attention.key": "float"}))
    assert {layer.path for layer in find_layers(model)} == {"attention.{query,value}", "attention.key"}


def test_linears_of_different_values_are_not_merged(graph):
    x, y = graph.input("x", WIDE), graph.input("y", WIDE)
    weights = [graph.weight(f"attention.{name}.weight", np.eye(6, dtype=np.float32) * 2) for name in ("query", "key")]
    query = graph.node("attention.query/MatMul", x, weights[0])
    total = graph.node("/Add", query, graph.node("attention.key/MatMul", y, weights[1]))
    assert merge_qkv(graph.model(z=(total, WIDE))) == 0


def test_what_hands_on_its_input_goes(graph, run):
    x = graph.input("x", WIDE)
    y = graph.node("/Identity", x)
    y.dtype = ir.DataType.FLOAT
    y = graph.node("/Transpose", graph.node("/Cast", y, to=ir.DataType.FLOAT), perm=[0, 1, 2])
    kept = graph.node("/Transpose_2", y, perm=[0, 2, 1])
    model = graph.model(y=(graph.node("/Neg", kept), ["batch", 6, "length"]))
    check_equal(run, model, drop_no_ops, 3)
    assert operators(model) == ["Transpose", "Neg"]


def test_equal_weights_are_stored_once(graph, run):
    x = graph.input("x", WIDE)
    first, second, other = (np.full(6, number, np.float32) for number in (1.5, 1.5, 2.5))
    y = graph.node("/Mul", graph.node("/Add", x, graph.weight("val_1", first)), graph.weight("a.weight", second))
    model = graph.model(y=(graph.node("/Sub", y, graph.weight("b.weight", other)), WIDE))
    check_equal(run, model, share_equal_weights)
    assert set(model.graph.initializers) == {"a.weight", "b.weight"}


def test_constants_are_folded(graph, run):
    x = graph.input("x", WIDE)
    two = graph.node("/Add", graph.weight("one", np.ones(6, np.float32)), graph.weight("more", np.ones(6, np.float32)))
    model = graph.model(y=(graph.node("/Mul", x, two), WIDE))
    check_equal(run, model, fold_constants)
    assert operators(model) == ["Mul"]


def test_passes_report_what_they_did_and_find_nothing_twice(graph):
    model = attention_block(graph)
    first = {done.name: done for done in optimize(model, merge=True)}
    assert list(first) == [*PASSES, "merge_qkv"]
    assert first["attend_without_transposes"].nodes_before - first["attend_without_transposes"].nodes_after == 8
    assert {name for name, done in first.items() if done.applied} == {
        "attend_without_transposes",
        "drop_attention_biases",
        "sum_before_layer_norm",
        "merge_qkv",
    }
    assert all(done.applied == 0 and done.nodes_before == done.nodes_after for done in optimize(model, merge=True))
