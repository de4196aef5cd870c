import numpy as np
import onnx_ir as ir
import pytest

from octavo.graph.layers import Layer, find_layers

MATRIX = np.arange(12, dtype=np.float32).reshape(4, 3)


def only(layers):
    (layer,) = layers
    return layer


def test_matmul_with_a_constant_matrix_is_a_linear(graph):
    x = graph.input("x", ["batch", "length", 4])
    y = graph.node("layer.0.dense/MatMul", x, graph.weight("w", MATRIX))
    layer = only(find_layers(graph.model(y=(y, ["batch", "length", 3]))))
    assert (layer.path, layer.kind, layer.transposed) == ("layer.0.dense", "linear", False)
    assert layer.weight.name == "w"
    assert [node.name for node in layer.nodes] == ["layer.0.dense/MatMul"]
    assert layer.parameters == 12
    np.testing.assert_array_equal(layer.matrix(), MATRIX)


@pytest.mark.parametrize("transposed", [False, True])
def test_gemm_is_a_linear_whose_matrix_is_in_by_out(graph, transposed):
    weight = graph.weight("w", np.ascontiguousarray(MATRIX.T) if transposed else MATRIX)
    bias = graph.weight("b", np.zeros(3, np.float32))
    y = graph.node("head/Gemm", graph.input("x", ["batch", 4]), weight, bias, transB=int(transposed))
    layer = only(find_layers(graph.model(y=(y, ["batch", 3]))))
    assert (layer.path, layer.kind, layer.transposed) == ("head", "linear", transposed)
    assert layer.parameters == 12
    np.testing.assert_array_equal(layer.matrix(), MATRIX)


@pytest.mark.parametrize(
    ("attributes", "taken"),
    [({"alpha": 1.0, "beta": 1.0}, True), ({"alpha": 0.5}, False), ({"beta": 2.0}, False), ({"transA": 1}, False)],
)
def test_gemm_that_is_more_than_x_w_plus_b_is_none(graph, attributes, taken):
    x, bias = graph.input("x", [4, 4]), graph.weight("b", np.zeros(3, np.float32))
    y = graph.node("head/Gemm", x, graph.weight("w", MATRIX), bias, **attributes)
    assert bool(find_layers(graph.model(y=(y, [4, 3])))) is taken


def test_matmul_of_two_activations_is_none(graph):
    x = graph.input("x", ["batch", 4, 4])
    assert find_layers(graph.model(y=(graph.node("attention/MatMul", x, x), ["batch", 4, 4]))) == ()


def test_matmul_of_a_constant_on_the_left_is_none(graph):
    x = graph.input("x", [3, "batch"])
    y = graph.node("a/MatMul", graph.weight("w", MATRIX), x)
    assert find_layers(graph.model(y=(y, [4, "batch"]))) == ()


@pytest.mark.parametrize(
    "weight", [MATRIX.reshape(1, 4, 3), MATRIX[:, 0], MATRIX.astype(np.float16), MATRIX.astype(np.int32)]
)
def test_matmul_with_what_is_no_float32_matrix_is_none(graph, weight):
    x = graph.input("x", ["batch", 4])
    y = graph.node("a/MatMul", x, graph.weight("w", weight))
    assert find_layers(graph.model(y=(y, ["any"]))) == ()


def test_gather_of_rows_of_a_table_is_an_embedding(graph):
    ids = graph.input("ids", ["batch", "length"], ir.DataType.INT64)
    y = graph.node("embeddings.word/Gather", graph.weight("table", MATRIX), ids)
    layer = only(find_layers(graph.model(y=(y, ["batch", "length", 3]))))
    assert (layer.path, layer.kind, layer.part, layer.parameters) == ("embeddings.word", "embedding", "embedding", 12)
    np.testing.assert_array_equal(layer.matrix(), MATRIX)


@pytest.mark.parametrize("table", [MATRIX[:, 0], MATRIX.reshape(4, 3, 1), MATRIX.astype(np.int64)])
def test_gather_of_what_is_no_float32_matrix_is_none(graph, table):
    ids = graph.input("ids", ["batch"], ir.DataType.INT64)
    y = graph.node("a/Gather", graph.weight("table", table), ids)
    assert find_layers(graph.model(y=(y, ["any"]))) == ()


def test_gather_of_columns_is_none(graph):
    ids = graph.input("ids", ["batch"], ir.DataType.INT64)
    y = graph.node("a/Gather", graph.weight("table", MATRIX), ids, axis=1)
    assert find_layers(graph.model(y=(y, [4, "batch"]))) == ()


def test_gather_of_constant_rows_and_of_an_activation_are_none(graph):
    x = graph.input("x", [4, 3])
    ids = graph.weight("ids", np.array([0, 2]))
    y = graph.node("a/Gather", graph.weight("table", MATRIX), ids)
    z = graph.node("b/Gather", x, ids)
    assert find_layers(graph.model(y=(y, [2, 3]), z=(z, [2, 3]))) == ()


def test_one_path_that_is_run_many_times_is_one_layer(graph):
    square, other = graph.weight("w", np.eye(4, dtype=np.float32)), graph.weight("v", np.ones((4, 4), np.float32))
    x = graph.input("x", ["batch", 4])
    for suffix in ("", "_2", "_3"):  # as ALBERT: the layers of one group, again and again
        x = graph.node(f"group.ffn/MatMul{suffix}", x, square)
        x = graph.node(f"group.out/MatMul{suffix}", x, other)
    layers = find_layers(graph.model(y=(x, ["batch", 4])))
    assert [layer.path for layer in layers] == ["group.ffn", "group.out"]
    for layer in layers:
        assert [node.name for node in layer.nodes] == [f"{layer.path}/MatMul{suffix}" for suffix in ("", "_2", "_3")]
        assert layer.parameters == 16


def test_two_paths_that_read_one_weight_are_two_layers(graph):
    weight = graph.weight("shared", np.eye(4, dtype=np.float32))
    x = graph.input("x", ["batch", 4])
    y = graph.node("second/MatMul", graph.node("first/MatMul", x, weight), weight)
    layers = find_layers(graph.model(y=(y, ["batch", 4])))
    assert [(layer.path, layer.weight.name) for layer in layers] == [("first", "shared"), ("second", "shared")]


def test_one_path_with_two_weights_is_two_layers(graph):
    x = graph.input("x", ["batch", 4])
    y = graph.node("experts/MatMul", x, graph.weight("one", np.eye(4, dtype=np.float32)))
    y = graph.node("experts/MatMul_2", y, graph.weight("two", np.eye(4, dtype=np.float32)))
    layers = find_layers(graph.model(y=(y, ["batch", 4])))
    assert [(layer.path, layer.weight.name) for layer in layers] == [("experts", "one"), ("experts", "two")]


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("bert.encoder.layer.0.attention.self.query", "attention"),
        ("bert.encoder.layer.0.attention.output.dense", "attention"),
        ("distilbert.transformer.layer.1.attention.q_lin", "attention"),
        ("model.layers.0.self_attn.q_proj", "attention"),
        ("model.layers.0.attn.Wqkv", "attention"),
        ("bert.encoder.layer.0.intermediate.dense", "feed-forward"),
        ("bert.encoder.layer.0.output.dense", "feed-forward"),
        ("electra.embeddings_project", "feed-forward"),
        ("bert.pooler.dense", "head"),
        ("classifier.out_proj", "head"),
        ("qa_outputs", "head"),
        ("cls.predictions.decoder", "head"),
        ("my_classifier_like.attention_free", "feed-forward"),  # whole names count, not parts of names
    ],
)
def test_part_is_told_by_the_names_on_the_path(graph, path, part):
    assert Layer(path, "linear", (), graph.weight("w", MATRIX)).part == part
    assert Layer(path, "embedding", (), graph.weight("w", MATRIX)).part == "embedding"
