import numpy as np
import onnx_ir as ir
import pytest
from scipy.special import softmax

from octavo.graph.passes import drop_unattended_rows

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
