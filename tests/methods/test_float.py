import numpy as np
import onnx_ir as ir
import pytest

from octavo.errors import RecipeError
from octavo.hardware import TARGETS
from octavo.methods import Context, find_method
from octavo.methods.unquantized import leave_float
from octavo.schema.recipe import LayerRule, Recipe


@pytest.fixture
def model():
    """Rows of a table, then a Linear."""
    tensors = [ir.tensor(np.ones(shape, np.float32), name=name) for name, shape in (("table", (5, 4)), ("w", (4, 3)))]
    table, weight = (ir.val(tensor.name, tensor.dtype, tensor.shape, const_value=tensor) for tensor in tensors)
    ids = ir.val("ids", ir.DataType.INT64, ["batch"])
    gather = ir.node("Gather", [table, ids], name="embeddings.word/Gather")
    product = ir.node("MatMul", [gather.outputs[0], weight], name="classifier/MatMul")
    output = product.outputs[0]
    output.name, output.type, output.shape = "logits", ir.TensorType(ir.DataType.FLOAT), ir.Shape(["batch", 3])
    graph = ir.Graph(
        [ids], [output], nodes=[gather, product], initializers=[table, weight], opset_imports={"": 23}, name="test"
    )
    return ir.Model(graph, ir_version=11)


def apply(model, *rules):
    layers = tuple(LayerRule(match=match, keep=keep) for match, keep in rules)
    return leave_float(model, Recipe(method="float", layers=layers), Context(TARGETS["avx512_vnni"]))


def test_float_is_found_by_its_name():
    assert find_method("float") is leave_float


@pytest.mark.parametrize("rules", [(), (("classifier", "float"),), (("*", "int8"), ("*", "float"))])
def test_every_layer_is_accounted_for_and_nothing_changes(model, rules):
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    applied = apply(model, *rules)
    assert ir.to_proto(applied.model).SerializeToString(deterministic=True) == before
    assert applied.exact_u8s8 is False
    told = [
        (layer.path, layer.kind, layer.part, layer.dtype, layer.parameters, layer.bytes) for layer in applied.layers
    ]
    assert told == [
        ("embeddings.word", "embedding", "embedding", "float32", 20, 80),
        ("classifier", "linear", "head", "float32", 12, 48),
    ]
    assert all((layer.weight_bits, layer.activation, layer.error_db) == (None, None, None) for layer in applied.layers)


@pytest.mark.parametrize("rules", [(("classifier", "int8"),), (("*", "float"), ("embeddings.*", "int8"))])
def test_int8_is_refused(model, rules):
    with pytest.raises(RecipeError, match=r"the method float keeps every layer float; got: .*: int8"):
        apply(model, *rules)


def test_a_rule_that_matches_nothing_is_an_error(model):
    with pytest.raises(RecipeError, match="matches nothing; got: clasifier"):
        apply(model, ("clasifier", "float"))
