import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from octavo.errors import RecipeError
from octavo.graph.lower_dynamic import ROW_ZERO_POINT
from octavo.hardware import TARGETS
from octavo.methods import Context, find_method
from octavo.methods.dynamic import quantize_dynamic
from octavo.schema.recipe import LayerRule, Recipe

WIDTH = 16
SHAPES = {
    "embeddings.word": (20, WIDTH),
    "layer.0.attention.query": (WIDTH, WIDTH),
    "layer.0.intermediate": (WIDTH, 32),
    "layer.0.output": (32, WIDTH),
    "classifier.dense": (WIDTH, WIDTH),
    "classifier.out": (3, WIDTH),  # of a Gemm, [out, in]
}
PATHS = list(SHAPES)


def model_of(operators, shapes):
    """A chain of nodes that are named `<path>/<operator>`; those of `shapes` read a weight."""
    rng = np.random.default_rng(7)
    value = ids = ir.val("ids", ir.DataType.INT64, ["batch"])
    nodes, weights = [], {}
    for name in operators:
        path, _, operator = name.removesuffix("_2").partition("/")
        inputs = [value]
        if path in shapes:
            if path not in weights:
                tensor = ir.tensor(rng.normal(0, 0.3, shapes[path]).astype(np.float32), name=f"{path}.weight")
                weights[path] = ir.val(tensor.name, tensor.dtype, tensor.shape, const_value=tensor)
            inputs = [weights[path], value] if operator == "Gather" else [value, weights[path]]
        node = ir.node(operator, inputs, {"transB": 1} if operator == "Gemm" else {}, name=name)
        node.outputs[0].name = name
        nodes.append(node)
        value = node.outputs[0]
    value.name, value.type, value.shape = "logits", ir.TensorType(ir.DataType.FLOAT), ir.Shape(["batch", None])
    graph = ir.Graph(
        [ids], [value], nodes=nodes, initializers=list(weights.values()), opset_imports={"": 23}, name="test"
    )
    return ir.Model(graph, ir_version=11)


@pytest.fixture
def model():
    operators = [
        "embeddings.word/Gather",
        "layer.0.attention.query/MatMul",
        "layer.0.attention/Tanh",
        "layer.0.intermediate/MatMul",
        "layer.0.act/Gelu",
        "layer.0.output/MatMul",
        "layer.0/Tanh",
        "classifier.dense/MatMul",
        "classifier.act/Relu",
        "classifier.out/Gemm",
    ]
    return model_of(operators, SHAPES)


def recipe(*rules):
    return Recipe(layers=tuple(LayerRule(match=match, keep=keep) for match, keep in rules))


def apply(model, *rules, target="avx512_vnni", granularity="token"):
    chosen = recipe(*rules).model_copy(update={"granularity": granularity})
    return quantize_dynamic(model, chosen, Context(TARGETS[target]))


def run(model):
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto)
    return onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"ids": np.arange(20)})[0]


def dtypes(applied):
    return {outcome.path: outcome.dtype for outcome in applied.layers}


def initializer(applied, name):
    return applied.model.graph.initializers[name].const_value.numpy()


def test_dynamic_is_found_by_its_name():
    assert find_method("dynamic") is quantize_dynamic


def test_outcomes_account_for_every_layer(model):
    outcomes = apply(model).layers
    assert [outcome.path for outcome in outcomes] == PATHS
    assert [outcome.kind for outcome in outcomes] == ["embedding"] + 5 * ["linear"]
    assert [outcome.part for outcome in outcomes] == [
        "embedding",
        "attention",
        "feed-forward",
        "feed-forward",
        "head",
        "head",
    ]
    assert {outcome.dtype for outcome in outcomes} == {"int8"}
    assert [outcome.parameters for outcome in outcomes] == [np.prod(shape) for shape in SHAPES.values()]


def test_outcomes_tell_the_bytes_that_the_graph_holds(model):
    weights = {path: model.graph.initializers[f"{path}.weight"].const_value.numpy() for path in PATHS}
    applied = apply(model, ("*.query", "float"))
    for outcome in applied.layers:
        if outcome.dtype == "float32":
            assert outcome.bytes == weights[outcome.path].nbytes
            continue
        codes = initializer(applied, f"{outcome.path}.weight_int8")
        scale = initializer(applied, f"{outcome.path}.weight_scale")
        assert codes.dtype == np.int8
        assert outcome.bytes == codes.nbytes + scale.nbytes


def test_outcomes_tell_the_error_of_the_weight_that_the_graph_holds(model):
    weights = {path: model.graph.initializers[f"{path}.weight"].const_value.numpy() for path in PATHS}
    applied = apply(model, target="avx2")
    for outcome in applied.layers:
        exact = weights[outcome.path].astype(np.float64)
        exact = exact.T if outcome.path == "classifier.out" else exact
        codes = initializer(applied, f"{outcome.path}.weight_int8").astype(np.float64)
        noise = exact - codes * initializer(applied, f"{outcome.path}.weight_scale")
        assert outcome.error_db == pytest.approx(10 * np.log10((exact**2).sum() / (noise**2).sum()), abs=0.006)


def test_every_layer_gets_one_scale_per_token(model):
    applied = apply(model)
    assert {outcome.activation for outcome in applied.layers if outcome.kind == "linear"} == {"token"}
    operators = [node.op_type for node in applied.model.graph]
    assert operators.count("DynamicQuantizeLinear") == 0
    assert operators.count("QuantizeLinear") == 5


def test_one_scale_per_tensor_is_for_layers_that_are_not_behind_an_activation_function(model):
    applied = apply(model, granularity="tensor")
    assert {outcome.path: outcome.activation for outcome in applied.layers} == {
        "embeddings.word": None,
        "layer.0.attention.query": "tensor",
        "layer.0.intermediate": "tensor",
        "layer.0.output": "token",
        "classifier.dense": "tensor",
        "classifier.out": "token",
    }
    operators = [node.op_type for node in applied.model.graph]
    assert operators.count("DynamicQuantizeLinear") == 3
    assert operators.count("QuantizeLinear") == 2


SHARED = {"word": (20, WIDTH), "shared": (WIDTH, WIDTH)}


@pytest.mark.parametrize(
    "sites",
    [
        ["word/Gather", "shared/MatMul", "act/Gelu", "shared/MatMul_2"],
        ["word/Gather", "act/Gelu", "shared/MatMul", "act/Tanh", "shared/MatMul_2"],
    ],
)
def test_a_layer_with_one_call_site_elsewhere_gets_one_scale_per_tensor(sites):
    applied = apply(model_of(sites, SHARED), granularity="tensor")
    assert {outcome.path: outcome.activation for outcome in applied.layers} == {"word": None, "shared": "tensor"}


@pytest.mark.parametrize("order", [("Gelu", "Relu"), ("Relu", "Gelu")])
def test_a_layer_after_two_activation_functions_has_room_for_the_lower_one(order):
    first, second = order
    sites = ["word/Gather", f"act/{first}", "shared/MatMul", f"act/{second}", "shared/MatMul_2"]
    applied = apply(model_of(sites, SHARED))
    assert applied.layers[1].activation == "token"
    floors = [name for name in applied.model.graph.initializers if name.startswith("row_floor_")]
    room = 0.17 / ROW_ZERO_POINT * (255 - ROW_ZERO_POINT)
    assert [initializer(applied, name).item() for name in floors] == pytest.approx([room])


def test_the_quantized_graph_computes_about_the_same(model):
    exact = run(model)
    quantized = run(apply(model, target="avx2").model)  # within 7 bits: any CPU runs it
    assert 0 < np.abs(quantized - exact).max() < 0.05 * np.abs(exact).max()


def saturates(codes):
    """Whether neighbours' products with activations of 0 or 255 leave 16 bits: codes [in, out]."""
    pairs = np.pad(codes, ((0, len(codes) % 2), (0, 0))).reshape(-1, 2, codes.shape[1])
    return max(np.maximum(pairs, 0).sum(axis=1).max(), np.maximum(-pairs, 0).sum(axis=1).max()) * 255 > 32767


@pytest.mark.parametrize("target", list(TARGETS))
def test_no_product_can_saturate_where_the_target_would(model, target):
    applied = apply(model, target=target)
    assert applied.exact_u8s8 is not TARGETS[target].saturates
    for outcome in applied.layers:
        codes = initializer(applied, f"{outcome.path}.weight_int8").astype(int)
        embedding = outcome.kind == "embedding"  # nothing is multiplied
        assert outcome.weight_bits == 8
        largest = np.abs(codes).max(axis=1 if embedding else 0)
        if embedding or not TARGETS[target].saturates:
            assert np.all(largest == 127)
        else:
            assert not saturates(codes)
            assert largest.min() >= 63
            assert largest.max() > 64, "more than 7 bits, where the neighbours are small"


def test_embeddings_alone_need_no_exact_products(model):
    applied = apply(model, ("*", "float"), ("embeddings.*", "int8"), target="avx512_vnni")
    assert [path for path, dtype in dtypes(applied).items() if dtype == "int8"] == ["embeddings.word"]
    assert applied.exact_u8s8 is False


def test_a_rule_keeps_layers_float_by_glob(model):
    applied = apply(model, ("classifier.*", "float"))
    assert dtypes(applied) == {path: "float32" if path.startswith("classifier.") else "int8" for path in PATHS}
    kept = applied.layers[-1]
    assert kept.reason == "kept by the rule 'classifier.*'"
    assert (kept.weight_bits, kept.activation, kept.error_db) == (None, None, None)
    names = set(applied.model.graph.initializers)
    assert {"classifier.dense.weight", "classifier.out.weight", "layer.0.output.weight_int8"} <= names
    assert not {"classifier.out.weight_int8", "layer.0.output.weight"} & names
    assert [node.op_type for node in applied.model.graph].count("Gemm") == 1


def test_a_rule_stores_layers_in_16_bits(model):
    applied = apply(model, ("classifier.*", "float16"), ("classifier.out", "float"))
    assert dtypes(applied) == dict.fromkeys(PATHS, "int8") | {
        "classifier.dense": "float16",
        "classifier.out": "float32",
    }
    (kept,) = (outcome for outcome in applied.layers if outcome.dtype == "float16")
    weight = model.graph.initializers["classifier.dense.weight"].const_value.numpy()
    stored = initializer(applied, "classifier.dense.weight_float16")
    np.testing.assert_array_equal(stored, weight.astype(np.float16))
    assert (kept.bytes, kept.reason) == (stored.nbytes, "stored in 16 bits by the rule 'classifier.*'")
    assert "classifier.dense.weight" not in applied.model.graph.initializers
    nearly = run(apply(model, ("classifier.*", "float")).model)
    assert 0 < np.abs(run(applied.model) - nearly).max() < 0.01 * np.abs(nearly).max()


def test_the_method_float_stores_single_layers_in_16_bits_too(model):
    rules = LayerRule(match="classifier.dense", keep="float16"), LayerRule(match="layer.0.output", keep="float16")
    applied = find_method("float")(model, Recipe(method="float", layers=rules), Context(TARGETS["any"]))
    assert [outcome.path for outcome in applied.layers if outcome.dtype == "float16"] == [
        "layer.0.output",
        "classifier.dense",
    ]
    assert (
        sum(value.const_value.dtype == ir.DataType.FLOAT16 for value in applied.model.graph.initializers.values()) == 2
    )
    assert np.abs(run(applied.model) - run(model)).max() < 0.01 * np.abs(run(model)).max()


def test_the_last_rule_wins_also_to_int8(model):
    applied = apply(model, ("layer.*", "float"), ("*.output", "int8"))
    assert [path for path, dtype in dtypes(applied).items() if dtype == "float32"] == [
        "layer.0.attention.query",
        "layer.0.intermediate",
    ]
    applied = apply(model, ("*.output", "int8"), ("layer.*", "float"))
    assert dtypes(applied)["layer.0.output"] == "float32"


def test_all_kept_float_is_an_error(model):
    with pytest.raises(RecipeError, match="no layer would be quantized; got: 6 layers, all kept float"):
        apply(model, ("*", "float"))


def test_a_graph_without_layers_is_an_error():
    with pytest.raises(RecipeError, match="no layer would be quantized"):
        apply(model_of(["/Identity"], {}))


def test_a_rule_that_matches_nothing_is_an_error(model):
    with pytest.raises(RecipeError, match=r"matches nothing; got: clasifier\.out; .*did you mean 'classifier\.out'"):
        apply(model, ("clasifier.out", "float"))


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_not_finite_stays_float(model, number):
    weight = model.graph.initializers["layer.0.output.weight"]
    array = weight.const_value.numpy().copy()
    array[0, 0] = number
    weight.const_value = ir.tensor(array, name=weight.name)
    applied = apply(model)
    outcome = next(outcome for outcome in applied.layers if outcome.path == "layer.0.output")
    assert (outcome.dtype, outcome.reason) == ("float32", "its weight has values that are not finite")
    assert set(dtypes(applied).values()) == {"int8", "float32"}


def test_the_graph_that_is_given_stays_as_it_is(model):
    before, numbers = ir.to_proto(model).SerializeToString(deterministic=True), run(model)
    first = apply(model)
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before
    np.testing.assert_array_equal(run(model), numbers)
    second = apply(model)  # and the same is made of it again
    assert ir.to_proto(first.model).SerializeToString(deterministic=True) == ir.to_proto(
        second.model
    ).SerializeToString(deterministic=True)
