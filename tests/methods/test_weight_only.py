"""Weights in blocks: which layers, how many bits, what is computed with them, on which CPU."""

import numpy as np
import onnx_ir as ir
import pytest

import octavo
from octavo.engines.onnxruntime import open_graph
from octavo.errors import RecipeError
from octavo.hardware import TARGETS
from octavo.methods import Context, find_method
from octavo.methods.weight_only import quantize_weight_only
from octavo.schema.recipe import LayerRule, Recipe

WIDTH = 48


def model(width=WIDTH):
    """ids -> Gather -> MatMul, Add -> Tanh -> Gemm with a bias -> the head, which is the embedding table turned."""
    generator = np.random.default_rng(7)
    weights = {}

    def weight(name, *shape):
        tensor = ir.tensor(generator.normal(0, 0.3, shape).astype(np.float32), name=name)
        weights[name] = ir.val(name, tensor.dtype, tensor.shape, const_value=tensor)
        return weights[name]

    nodes = []

    def node(name, *inputs, **settings):
        nodes.append(ir.node(name.rpartition("/")[2], inputs, settings, name=name))
        nodes[-1].outputs[0].name = name
        return nodes[-1].outputs[0]

    ids = ir.val("ids", ir.DataType.INT64, ["rows"])
    table = weight("embed.weight", 30, width)
    x = node("embed/Gather", table, ids, axis=0)
    x = node("h.0.mlp.up/MatMul", x, weight("h.0.mlp.up.weight", width, 70))
    x = node("h.0.mlp.up/Add", x, weight("h.0.mlp.up.bias", 70))
    x = node("h.0.mlp/Tanh", x)
    x = node("h.0.mlp.down/Gemm", x, weight("h.0.mlp.down.weight", 70, width), weight("h.0.mlp.down.bias", width))
    turned = node("lm_head/Transpose", table, perm=[1, 0])
    turned.shape, turned.type = ir.Shape([width, 30]), ir.TensorType(ir.DataType.FLOAT)
    y = node("lm_head/MatMul", x, turned)
    y.name, y.type, y.shape = "logits", ir.TensorType(ir.DataType.FLOAT), ir.Shape(["rows", 30])
    graph = ir.Graph([ids], [y], nodes=nodes, initializers=list(weights.values()), opset_imports={"": 23}, name="test")
    return ir.Model(graph, ir_version=10)


def applied(recipe=None, target="avx512_vnni", calibration=()):
    recipe = recipe or Recipe(method="weight-only")
    return quantize_weight_only(model(), recipe, Context(TARGETS[target], calibration))


def run(graph):
    return open_graph(graph).fetch({"ids": np.arange(30)}, ["logits"])[0]


def test_products_in_float_are_of_the_numbers_that_the_codes_stand_for():
    """In float64: int8 rows and columns of the weights, the inputs not rounded; the blocks' products round them."""
    made = applied(Recipe(method="weight-only", products="float"), target="any")
    assert {layer.dtype for layer in made.layers} == {"int8"}
    assert not made.exact_u8s8
    held = {name: value.const_value.numpy().astype(np.float64) for name, value in made.model.graph.initializers.items()}

    def number(path):
        return held[f"{path}.weight_int8"] * held[f"{path}.weight_scale"]

    x = np.tanh(number("embed") @ number("h.0.mlp.up") + held["h.0.mlp.up.bias"])
    expected = (x @ number("h.0.mlp.down") + held["h.0.mlp.down.bias"]) @ number("lm_head")
    np.testing.assert_allclose(run(made.model), expected, rtol=1e-5, atol=1e-5)
    assert np.abs(run(applied().model) - expected).max() > 1e-3
    float32 = [
        value for value in made.model.graph.initializers.values() if value.const_value.dtype == ir.DataType.FLOAT
    ]
    assert max(value.const_value.size for value in float32) == 70, "scales and biases only"


def levels(graph):
    return {
        node.name.partition("/")[0]: (
            node.attributes.get_int("bits", 0),
            node.attributes.get_int("block_size", 0),
            node.attributes.get_int("accuracy_level", 0),
        )
        for node in graph.graph
        if node.op_type == "MatMulNBits"
    }


def test_the_method_is_found_by_its_name():
    assert find_method("weight-only") is quantize_weight_only


def test_eight_bits_everywhere():
    found = applied()
    assert levels(found.model) == {"h.0.mlp.up": (8, 32, 4), "h.0.mlp.down": (8, 64, 4), "lm_head": (8, 32, 4)}
    assert [(layer.path, layer.dtype, layer.activation) for layer in found.layers] == [
        ("embed", "int8", None),
        ("h.0.mlp.up", "int8", "block"),
        ("h.0.mlp.down", "int8", "block"),
        ("lm_head", "int8", "block"),
    ]
    assert np.abs(run(found.model) - run(model())).max() < 0.03 * np.abs(run(model())).max()
    assert not any(node.op_type == "Transpose" for node in found.model.graph)
    assert "embed.weight" not in found.model.graph.initializers


def test_a_table_that_is_embedding_and_head_is_stored_once():
    given = model(64)
    found = quantize_weight_only(given, Recipe(method="weight-only"), Context(TARGETS["avx512_vnni"]))
    assert sorted(name for name in found.model.graph.initializers if "int8" in name) == [
        "h.0.mlp.down.weight_int8",
        "h.0.mlp.up.weight_int8",
        "lm_head.weight_int8",
    ]
    embedding, head = found.layers[0], found.layers[-1]
    assert (embedding.path, embedding.dtype, embedding.bytes) == ("embed", "int8", 0)
    assert embedding.reason == "rows of the codes of lm_head"
    assert embedding.error_db == head.error_db > 40
    assert np.abs(run(found.model) - run(given)).max() < 0.03 * np.abs(run(given)).max()
    rows = {value.name for node in found.model.graph for value in node.outputs}
    assert "embed/Gather" in rows
    watched = found.model.clone(deep_copy=False)
    value = next(out for node in watched.graph for out in node.outputs if out.name == "embed/Gather")
    value.type = ir.TensorType(ir.DataType.FLOAT)
    watched.graph.outputs.append(value)
    table = given.graph.initializers["embed.weight"].const_value.numpy()
    read = open_graph(watched).fetch({"ids": np.arange(30)}, ["embed/Gather"])[0]
    assert np.abs(read - table).max() <= 0.5 * np.abs(table).max() / 127 * 1.001


def test_four_bits_but_for_head_and_embedding():
    found = applied(Recipe(method="weight-only", bits=4, block=16))
    assert levels(found.model) == {"h.0.mlp.up": (4, 16, 4), "h.0.mlp.down": (4, 16, 4), "lm_head": (8, 16, 4)}
    assert {layer.path: layer.dtype for layer in found.layers} == {
        "embed": "int8",
        "h.0.mlp.up": "int4",
        "h.0.mlp.down": "int4",
        "lm_head": "int8",
    }
    stored = {layer.path: layer.bytes for layer in found.layers}
    assert stored["h.0.mlp.up"] < 0.8 * WIDTH * 70


def test_rules_for_single_layers():
    rules = (LayerRule(match="h.0.mlp.up", keep="int4"), LayerRule(match="lm_head", keep="float"))
    found = applied(Recipe(method="weight-only", layers=rules))
    assert {layer.path: layer.dtype for layer in found.layers} == {
        "embed": "int8",
        "h.0.mlp.up": "int4",
        "h.0.mlp.down": "int8",
        "lm_head": "float32",
    }
    assert np.isfinite(run(found.model)).all()
    for rules, message in (
        ((LayerRule(match="*", keep="float"),), "no layer would be quantized"),
        ((LayerRule(match="nothing", keep="float"),), "matches nothing"),
    ):
        with pytest.raises(RecipeError, match=message):
            applied(Recipe(method="weight-only", layers=rules))


def test_nothing_is_made_for_one_cpu_alone():
    for target in ("any", "avx2", "avx512_vnni", "arm64"):
        found = applied(target=target)
        assert not found.exact_u8s8
        assert np.array_equal(run(found.model), run(applied().model))


def test_the_graph_that_was_given_is_left_alone():
    given = model()
    before = run(given)
    quantize_weight_only(given, Recipe(method="weight-only"), Context(TARGETS["avx2"]))
    assert np.array_equal(run(given), before)


def test_an_encoder_takes_the_same_road(checkpoint, tmp_path, sentences):
    int8, int4 = (
        octavo.quantize(checkpoint("bert"), tmp_path / str(bits), recipe=Recipe(method="weight-only", bits=bits))
        for bits in (8, 4)
    )
    texts = list(sentences)
    before = octavo.load(checkpoint("bert"))(texts)
    for artifact, near in ((int8, 0.03), (int4, 0.25)):
        after = octavo.load(artifact.folder)(texts)
        moved = [
            abs(one["score"] - other["score"])
            for one, other in zip(before, after, strict=True)
            if one["label"] == other["label"]
        ]
        assert len(moved) >= 8
        assert np.mean(moved) < near
        assert all(layer.error_db is not None or layer.dtype == "float32" for layer in artifact.manifest.layers)
    assert int4.model_file.stat().st_size < int8.model_file.stat().st_size
