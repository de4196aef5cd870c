"""What examples bring a method, piece by piece, on a graph of two Linears whose input has an outlier and a mean."""

import math

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from octavo.arithmetic.affine import error_db
from octavo.hardware import TARGETS
from octavo.methods import Context, find_method
from octavo.schema.recipe import LayerRule, Recipe

WIDTH, INNER, WORDS, OUTLIER = 32, 64, 400, 5
FLOAT_WORDS = (LayerRule(match="words", keep="float"),)


def ids(seed):
    inputs = {"input_ids": np.random.default_rng(seed).integers(0, WORDS, (16, 24))}
    return inputs | {"attention_mask": np.ones((16, 24), np.int64)}


@pytest.fixture(scope="module")
def weights():
    """Words whose channels go together, one of them large, none centred; two layers, the first with a bias."""
    rng = np.random.default_rng(4)
    words = rng.normal(0.3, 1, (WORDS, 8)) @ rng.normal(0, 0.4, (8, WIDTH)) + rng.normal(0, 0.2, (WORDS, WIDTH))
    words[:, OUTLIER] *= 20
    shapes = {"up": (WIDTH, INNER), "down": (INNER, WIDTH)}
    found = {path: rng.normal(0, 0.3, shape).astype(np.float32) for path, shape in shapes.items()}
    found["up"][OUTLIER] /= 20
    return found | {"words": words.astype(np.float32), "bias": rng.normal(0, 0.1, INNER).astype(np.float32)}


@pytest.fixture(scope="module")
def model(weights):
    shape = ["batch", "length"]
    inputs = [ir.val(name, ir.DataType.INT64, shape) for name in ("input_ids", "attention_mask")]
    known = {name: ir.val(name, ir.DataType.FLOAT, array.shape) for name, array in weights.items()}
    for name, array in weights.items():
        known[name].const_value = ir.tensor(array, name=name)
    x, nodes = inputs[0], []
    for name, operator, operand in (
        ("words/Gather", "Gather", "words"),
        ("up/MatMul", "MatMul", "up"),
        ("up/Add", "Add", "bias"),
        ("act/Gelu", "Gelu", None),
        ("down/MatMul", "MatMul", "down"),
    ):
        operands = [x] if operand is None else [known[operand], x] if operator == "Gather" else [x, known[operand]]
        nodes.append(ir.node(operator, operands, name=name))
        x = nodes[-1].outputs[0]
        x.name, x.type, x.shape = name, ir.TensorType(ir.DataType.FLOAT), ir.Shape([*shape, None])
    graph = ir.Graph(inputs, [x], nodes=nodes, initializers=list(known.values()), opset_imports={"": 23}, name="two")
    return ir.Model(graph, ir_version=11)


def make(model, recipe, *, examples=True, target="avx2"):
    context = Context(TARGETS[target], (ids(1), ids(2)) if examples else ())
    return find_method(recipe.method)(model, recipe, context)


def answers(model):
    proto = ir.to_proto(model).SerializeToString()
    return onnxruntime.InferenceSession(proto).run(None, ids(3))[0]


def closeness(model, *, examples=True, **settings):
    """Signal over noise of the answers to other texts, in decibels."""
    made = make(model, Recipe(**{"method": "dynamic", "layers": FLOAT_WORDS} | settings), examples=examples)
    return error_db(answers(model), answers(made.model))


@pytest.mark.parametrize("granularity", ["token", "tensor"])
def test_smoothing_rounding_and_the_bias_bring_dynamic_nearer_each(model, granularity):
    nothing = {"granularity": granularity, "smoothing": "none", "bias_correction": False}
    without, rounded = closeness(model, examples=False, granularity=granularity), closeness(model, **nothing)
    smoothed = closeness(model, **nothing | {"smoothing": "auto"})
    assert rounded > without + 0.2
    assert smoothed > rounded + 3
    assert closeness(model, **nothing | {"bias_correction": True}) > rounded + 0.01


def test_a_strength_of_smoothing_is_taken_as_it_is_given(model):
    for method in ("dynamic", "static"):
        made = make(model, Recipe(method=method, smoothing=0.6))
        assert {layer.smoothing for layer in made.layers if layer.kind == "linear"} == {0.6}


def test_one_scale_per_token_is_nearer_than_ranges(model):
    assert closeness(model) > closeness(model, method="static") + 0.5


def test_a_range_is_cut_where_that_leaves_the_outputs_nearer(model):
    settings = {"method": "static", "smoothing": "none"}
    assert closeness(model, **settings, observer="output") > closeness(model, **settings) + 0.2
    held = make(model, Recipe(**settings, layers=FLOAT_WORDS)).model.graph.initializers
    cut = make(model, Recipe(**settings, layers=FLOAT_WORDS, observer="output")).model.graph.initializers
    shares = {
        round(float(cut[name].const_value.numpy() / held[name].const_value.numpy()), 3)
        for name in held
        if name.endswith("_scale") and "weight" not in name
    }
    assert shares <= {1.0, 0.9, 0.8, 0.7, 0.6, 0.5}
    assert shares != {1.0}


def test_a_layers_mean_output_is_that_of_the_float_layer(model, weights):
    """Over the examples, of the first layer, recomputed in float64 from the codes that the graph holds."""
    made = make(model, Recipe(layers=FLOAT_WORDS, smoothing="none"))
    held = {name: value.const_value.numpy().astype(np.float64) for name, value in made.model.graph.initializers.items()}
    x = weights["words"].astype(np.float64)[np.concatenate([ids(seed)["input_ids"].ravel() for seed in (1, 2)])]
    wanted = (x @ weights["up"] + weights["bias"]).mean(axis=0)
    weight = held["up.weight_int8"] * held["up.weight_scale"]
    np.testing.assert_allclose((x @ weight + held["up.bias_corrected"]).mean(axis=0), wanted, atol=1e-5)
    assert np.abs((x @ weight + weights["bias"]).mean(axis=0) - wanted).max() > 1e-3


def test_the_graph_computes_what_its_codes_say(model, weights):
    """In float64: the smoothed input, codes of each token, the product of codes, scales and the corrected bias."""
    made = make(model, Recipe(layers=(*FLOAT_WORDS, LayerRule(match="down", keep="float")), smoothing=0.5))
    held = {name: value.const_value.numpy().astype(np.float64) for name, value in made.model.graph.initializers.items()}
    x = weights["words"].astype(np.float64)[ids(3)["input_ids"]] * held["up.smoothing"]
    scale = np.abs(x).max(axis=-1, keepdims=True) / 127
    up = np.rint(x / scale) * scale @ (held["up.weight_int8"] * held["up.weight_scale"]) + held["up.bias_corrected"]
    erf = np.vectorize(math.erf)
    expected = up * (1 + erf(up / np.sqrt(2))) / 2 @ weights["down"].astype(np.float64)
    found = answers(made.model)
    assert error_db(expected.astype(np.float32), found) > 50, "the same, but for a code that is rounded the other way"
    assert error_db(answers(model), found) < 45, "and not the float model's"


def test_weights_leave_room_for_their_neighbours(model):
    for target in ("avx2", "avx512_vnni"):
        assert make(model, Recipe(), target=target).exact_u8s8 is not TARGETS[target].saturates


def test_the_graph_that_is_given_stays_as_it_is(model):
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    make(model, Recipe())
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before
