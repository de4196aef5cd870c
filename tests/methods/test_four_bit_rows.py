"""Rows of 4 bits: what the graph reads is held against bytes that are taken apart here, on both engines."""

import json

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import openvino
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import octavo
from octavo.arithmetic.blocks import TABLE_ROWS, quantize_rows
from octavo.cli.quantize import choose_recipes
from octavo.errors import RecipeError
from octavo.hardware import TARGETS
from octavo.inspection.anatomy import find_weights
from octavo.methods import Context, find_method
from octavo.schema.recipe import LayerRule, Recipe

ROWS, POSITIONS = 40, 12
IDS = np.arange(ROWS).reshape(4, 10)
INPUTS = {"ids": IDS, "places": IDS % POSITIONS, "attention_mask": np.ones_like(IDS)}


def model(width=48, tied=False):
    """Words and positions, a MatMul of their sum, and with `tied` a head that is the table of words turned."""
    generator = np.random.default_rng(11)
    shapes = {"embeddings.word": (ROWS, width), "embeddings.position": (POSITIONS, width), "dense": (width, width)}
    weights = {}
    for name, shape in shapes.items():
        spread = generator.lognormal(0, 1, (shape[0], 1))  # rows of different sizes, as frequent and rare words have
        tensor = ir.tensor((generator.normal(0, 0.1, shape) * spread).astype(np.float32), name=f"{name}.weight")
        weights[name] = ir.val(tensor.name, tensor.dtype, tensor.shape, const_value=tensor)
    ids, places = (ir.val(name, ir.DataType.INT64, ["rows", "length"]) for name in ("ids", "places"))
    mask = ir.val("attention_mask", ir.DataType.INT64, ["rows", "length"])  # which is not read
    nodes = []

    def node(name, *inputs, **attributes):
        nodes.append(ir.node(name.rpartition("/")[2], inputs, attributes, name=name))
        nodes[-1].outputs[0].name = name
        return nodes[-1].outputs[0]

    words = node("embeddings.word/Gather", weights["embeddings.word"], ids, axis=0)
    x = node(
        "embeddings/Add", words, node("embeddings.position/Gather", weights["embeddings.position"], places, axis=0)
    )
    y = node("dense/MatMul", x, weights["dense"])
    if tied:
        turned = node("lm_head/Transpose", weights["embeddings.word"], perm=[1, 0])
        turned.shape, turned.type = ir.Shape([width, ROWS]), ir.TensorType(ir.DataType.FLOAT)
        y = node("lm_head/MatMul", y, turned)
    y.name, y.shape, y.type = "logits", ir.Shape(["rows", "length", None]), ir.TensorType(ir.DataType.FLOAT)
    words.type, words.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(["rows", "length", width])
    graph = ir.Graph(
        [ids, places, mask],
        [y, words],
        nodes=nodes,
        initializers=list(weights.values()),
        opset_imports={"": 20},
        name="test",
    )
    return ir.Model(graph, ir_version=10)


def applied(given, method="dynamic", rules=(), **settings):
    recipe = Recipe(method=method, layers=tuple(LayerRule(match=a, keep=b) for a, b in rules), **settings)
    calibration = (INPUTS,) if method == "static" else ()
    return find_method(method)(given, recipe, Context(TARGETS["avx512_vnni"], calibration))


def run(made, engine="onnxruntime"):
    """The logits, and the rows of words as the graph reads them."""
    proto = ir.to_proto(made)
    onnx.checker.check_model(proto)
    if engine == "onnxruntime":
        return onnxruntime.InferenceSession(proto.SerializeToString()).run(None, INPUTS)
    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(proto.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    return list(compiled({name: INPUTS[name] for name in ("ids", "places")}).values())


def taken_apart(made, width):
    """The table [rows, width] of the stored bytes."""
    stored = {name: value.const_value.numpy() for name, value in made.graph.initializers.items()}
    codes, scale = stored["embeddings.word.weight_int4"], stored["embeddings.word.weight_scale"]
    zero = stored["embeddings.word.rows_zero_point"]
    assert (codes.dtype, scale.dtype, zero.dtype) == (np.uint8, np.float16, np.uint8)
    table = np.empty((ROWS, codes.shape[1] * 32), np.float32)
    for row in range(ROWS):
        for group in range(codes.shape[1]):
            for place in range(32):
                byte = int(codes[row, group, place // 2])
                code = byte // 16 if place % 2 else byte % 16
                real = np.float32(code - int(zero[row, group])) * np.float32(scale[row, group])
                table[row, 32 * group + place] = real
    return table[:, :width]


@pytest.mark.parametrize("width", [32, 48, 64])  # 48: the last group is half filled
@pytest.mark.parametrize("method", ["dynamic", "static", "weight-only"])
def test_what_is_read_is_what_is_stored_to_the_bit(width, method):
    given = model(width)
    made = applied(given, method, embedding="int4")
    expected = taken_apart(made.model, width)
    for engine in ("onnxruntime",) if method == "weight-only" else ("onnxruntime", "openvino"):
        if engine == "openvino" and method == "dynamic":
            made = applied(given, method, embedding="int4", granularity="tensor")
        read = run(made.model, engine)[1].reshape(ROWS, width)
        assert np.array_equal(read, expected), engine
    table = given.graph.initializers["embeddings.word.weight"].const_value.numpy()
    lost = 10 * np.log10(np.sum(table**2) / np.sum((table - expected) ** 2))
    words, positions, dense = made.layers
    assert words.error_db == pytest.approx(lost, abs=0.01)
    assert lost > 20
    groups = ROWS * -(-width // 32)
    assert (words.dtype, words.weight_bits, words.bytes) == ("int4", 4, groups * (16 + 2 + 1))
    assert words.reason == "one scale and zero point per 32 numbers of a row"
    assert (positions.dtype, dense.dtype) == ("int8", "int8")
    assert "embeddings.word.weight" not in made.model.graph.initializers


def test_it_is_not_the_default_and_a_rule_says_it_of_one_table():
    def dtypes(*rules, **settings):
        return [layer.dtype for layer in applied(model(), "dynamic", rules, **settings).layers]

    assert dtypes() == ["int8", "int8", "int8"]
    assert dtypes(("embeddings.position", "int4")) == ["int8", "int4", "int8"]
    assert dtypes(("embeddings.word", "int8"), embedding="int4") == ["int8", "int8", "int8"]
    assert dtypes(("embeddings.word", "float"), embedding="int4") == ["float32", "int8", "int8"]
    with pytest.raises(
        RecipeError, match=r"products of the method dynamic have 8 bits; got: dense: dense; .*weight-only"
    ):
        dtypes(("dense", "int4"))


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ((), ["int8", "int8"]),  # rows of the head's codes cost nothing
        ((("embeddings.word", "int4"),), ["int4", "int8"]),
        ((("lm_head", "int4"),), ["int4", "int4"]),
    ],
)
def test_a_table_that_is_also_the_head(rules, expected):
    given = model(64, tied=True)
    made = applied(given, "weight-only", rules, embedding="int4", block=32)
    found = {layer.path: layer for layer in made.layers}
    words, head = found["embeddings.word"], found["lm_head"]
    assert [words.dtype, head.dtype] == expected
    shared = words.reason == "rows of the codes of lm_head"
    assert shared == (expected != ["int4", "int8"])
    stored = sorted(name for name in made.model.graph.initializers if ".weight_int" in name and "dense" not in name)
    assert len(stored) == (2 if shared else 3)  # with the positions
    before, after = run(given), run(made.model)
    table = given.graph.initializers["embeddings.word.weight"].const_value.numpy()
    error = np.abs(after[1].reshape(table.shape) - table).max(axis=1)
    steps = np.ptp(np.concatenate([table, np.zeros((ROWS, 1), np.float32)], axis=1), axis=1)
    assert np.all(error <= steps / (15 if words.dtype == "int4" else 255) * 4)
    if words.dtype == head.dtype:
        assert words.error_db == head.error_db
    assert np.abs(after[0] - before[0]).max() < 0.25 * np.abs(before[0]).max()


@settings(deadline=None, max_examples=60)
@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 5), st.integers(1, 70)),
        elements=st.floats(-1e4, 1e4, width=32) | st.floats(-(2.0**-20), 2.0**-20, width=32),
    )
)
def test_no_number_is_further_off_than_a_step(table):
    rows = quantize_rows(table)
    assert np.array_equal(rows.scale, rows.scale.astype(np.float16).astype(np.float32))
    found = rows.dequantize().T
    for group in range(rows.codes.shape[0]):
        part, read = table[:, 32 * group : 32 * group + 32], found[:, 32 * group : 32 * group + 32]
        wide = np.maximum(part.max(axis=1), 0) - np.minimum(part.min(axis=1), 0)
        limit = np.maximum(wide * 0.3, 1e-4)  # a clipped end is off by more than a rounded number
        assert np.all(np.abs(part - read).max(axis=1) <= limit)


def test_a_long_table_is_rounded_in_parts(monkeypatch):
    table = np.random.default_rng(0).normal(size=(70, 64)).astype(np.float32)
    whole = quantize_rows(table)
    assert TABLE_ROWS > 70
    monkeypatch.setattr("octavo.arithmetic.blocks.TABLE_ROWS", 16)
    parts = quantize_rows(table)
    for name in ("codes", "scale", "zero"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))


def test_inspect_knows_them():
    weights = {weight.path: weight for weight in find_weights(applied(model(64), embedding="int4").model)}
    assert weights.keys() == {"embeddings.word", "embeddings.position", "dense"}
    words = weights["embeddings.word"]
    assert (words.kind, words.dtype, words.shape, words.parameters) == ("embedding", "int4", (ROWS, 64), ROWS * 64)


def test_an_artifact_with_them(checkpoint, artifact, sentences, tmp_path):
    made = octavo.quantize(checkpoint("bert"), tmp_path / "int4", recipe=Recipe(embedding="int4"))
    words = next(layer for layer in made.manifest.layers if layer.path.endswith("word_embeddings"))
    assert (words.dtype, words.weight_bits) == ("int4", 4)
    assert words.error_db == pytest.approx(words.output_db, abs=8)  # of the rows that the texts read
    others = {layer.dtype for layer in made.manifest.layers if layer.kind == "embedding" and layer is not words}
    assert others <= {"int8", "float32"}
    assert json.loads((tmp_path / "int4" / "octavo.json").read_text(encoding="utf-8"))["recipe"]["embedding"] == "int4"
    assert "int4" in (tmp_path / "int4" / "README.md").read_text(encoding="utf-8")
    before = octavo.load(artifact("bert", "float").folder).logits(list(sentences))
    after = octavo.load(made.folder).logits(list(sentences))
    assert np.abs(before - after).max() < 0.3 * np.abs(before).max()


def test_the_command_line_asks_for_them():
    both = choose_recipes(["float", "static"], None, {"embedding": "int4"}, calibrated=True)
    assert both == [Recipe(method="float"), Recipe(method="static", embedding="int4")]
    with pytest.raises(RecipeError, match="embedding is a setting of the method dynamic, static, weight-only"):
        choose_recipes(["float"], None, {"embedding": "int4"}, calibrated=False)
