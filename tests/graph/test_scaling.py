import numpy as np
import onnx_ir as ir
import pytest

from octavo.graph.layers import find_layers
from octavo.graph.scaling import correct_bias, find_groups, find_maker, scale_group, separable

WIDTH, HEADS = 8, 2
RNG = np.random.default_rng(5)
X = RNG.normal(0, 1, (2, 5, WIDTH)).astype(np.float32)
FACTOR = RNG.uniform(0.2, 5, WIDTH).astype(np.float32)


def normal(*shape):
    return RNG.normal(0, 0.5, shape).astype(np.float32)


def linear(graph, path, x, bias=True, weight=None):
    weight = graph.weight(f"{path}.weight", normal(WIDTH, WIDTH)) if weight is None else weight
    product = graph.node(f"{path}/MatMul", x, weight)
    return graph.node(f"{path}/Add", product, graph.weight(f"{path}.bias", normal(WIDTH))) if bias else product


@pytest.fixture
def attention(graph):
    """An attention block as BERT has it: the projections read x, which also feeds the residual sum."""
    x = graph.input("x", ["batch", "length", WIDTH])
    parts = [linear(graph, f"self.{name}", x) for name in ("query", "key", "value")]
    mixed = graph.node("self/Attention", *parts, q_num_heads=HEADS, kv_num_heads=HEADS)
    total = graph.node("out/Sum", linear(graph, "out.dense", mixed), x)
    norm = graph.node(
        "norm/LayerNormalization", total, graph.weight("g", normal(WIDTH)), graph.weight("b", normal(WIDTH))
    )
    return graph.model(y=(linear(graph, "last", norm), ["batch", "length", WIDTH]))


def groups_of(model):
    return {"+".join(layer.path for layer in group.layers): group for group in find_groups(find_layers(model))}


def check(run, model, name, free):
    before = run(model, x=X)[0]
    nodes = len(list(model.graph))
    assert scale_group(model, groups_of(model)[name], FACTOR) is free
    np.testing.assert_allclose(run(model, x=X)[0], before, rtol=2e-4, atol=2e-5)
    assert len(list(model.graph)) == nodes + (0 if free else 1)


def test_layers_that_read_one_value_are_a_group(attention):
    assert list(groups_of(attention)) == ["self.query+self.key+self.value", "out.dense", "last"]


def test_what_also_feeds_the_residual_sum_gets_a_division_of_its_own(attention, run):
    check(run, attention, "self.query+self.key+self.value", free=False)


def test_the_output_of_an_attention_is_divided_in_its_value_projection(attention, run):
    check(run, attention, "out.dense", free=True)


def test_a_normalization_that_only_the_group_reads_is_divided(attention, run):
    check(run, attention, "last", free=True)


def test_all_at_once(attention, run):
    before = run(attention, x=X)[0]
    for name in list(groups_of(attention)):
        scale_group(attention, groups_of(attention)[name], FACTOR)
    np.testing.assert_allclose(run(attention, x=X)[0], before, rtol=5e-4, atol=5e-5)


def test_a_bias_that_two_layers_share_is_divided_for_one_only(graph, run):
    x, bias = graph.input("x", ["batch", "length", WIDTH]), graph.weight("zeros", normal(WIDTH))
    parts = []
    for name in ("query", "key", "value"):
        product = graph.node(f"self.{name}/MatMul", x, graph.weight(f"self.{name}.weight", normal(WIDTH, WIDTH)))
        parts.append(graph.node(f"self.{name}/Add", product, bias))
    mixed = graph.node("self/Attention", *parts, q_num_heads=HEADS, kv_num_heads=HEADS)
    model = graph.model(y=(linear(graph, "out.dense", mixed), ["batch", "length", WIDTH]))
    check(run, model, "out.dense", free=True)


def test_a_value_that_is_read_twice_has_no_free_place(graph):
    x = graph.input("x", ["batch", "length", WIDTH])
    norm = graph.node("norm/LayerNormalization", x, graph.weight("g", normal(WIDTH)), graph.weight("b", normal(WIDTH)))
    model = graph.model(y=(graph.node("out/Sum", linear(graph, "a", norm), norm), ["batch", "length", WIDTH]))
    assert find_maker(groups_of(model)["a"]) is None


def test_a_weight_at_two_places_gets_one_joint_factor(graph, run):
    x, weight = graph.input("x", ["batch", "length", WIDTH]), graph.weight("w", normal(WIDTH, WIDTH))
    once = graph.node("a/Tanh", linear(graph, "a", x, weight=weight))
    product = graph.node("a/MatMul_2", once, weight)
    model = graph.model(y=(product, ["batch", "length", WIDTH]))
    group = groups_of(model)["a"]
    assert len(group.inputs) == 2
    before = run(model, x=X)[0]
    assert scale_group(model, group, FACTOR) is False
    np.testing.assert_allclose(run(model, x=X)[0], before, rtol=2e-4, atol=2e-5)
    assert len([value for value in model.graph.initializers if "smoothing" in value]) == 1


def test_a_weight_that_is_a_table_too_is_not_separable(graph):
    ids, table = graph.input("ids", ["batch"], ir.DataType.INT64), graph.weight("table", normal(WIDTH, WIDTH))
    row = graph.node("word/Gather", table, ids)
    model = graph.model(y=(graph.node("head/MatMul", row, table), ["batch", WIDTH]))
    assert not separable(groups_of(model)["head"])


def test_a_correction_is_added_to_the_bias(attention, run):
    layer = next(layer for layer in find_layers(attention) if layer.path == "last")
    before = run(attention, x=X)[0]
    assert correct_bias(attention, layer, FACTOR)
    np.testing.assert_allclose(run(attention, x=X)[0], before + FACTOR, rtol=1e-5, atol=1e-5)


def test_a_layer_without_a_bias_is_not_corrected(graph):
    x = graph.input("x", ["batch", "length", WIDTH])
    model = graph.model(y=(linear(graph, "a", x, bias=False), ["batch", "length", WIDTH]))
    assert not correct_bias(model, find_layers(model)[0], FACTOR)
