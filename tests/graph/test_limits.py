"""What a small file may not make a machine do; and what large models and ordinary loops may."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from octavo.errors import InputError
from octavo.graph.limits import check_limits

PATH = Path("모델.onnx")


def model(nodes, constants=None, functions=()):
    stored = [numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], stored)
    return helper.make_model(graph, functions=functions)


def chain(depth, calls):
    """Functions of which each calls the one before it so often."""
    made = [helper.make_function("d", "f0", ["x"], ["y"], [helper.make_node("Neg", ["x"], ["y"])], [])]
    for level in range(1, depth):
        names = ["x", *(f"v{number}" for number in range(1, calls)), "y"]
        nodes = [helper.make_node(f"f{level - 1}", [a], [b], domain="d") for a, b in pairwise(names)]
        made.append(helper.make_function("d", f"f{level}", ["x"], ["y"], nodes, []))
    return model([helper.make_node(f"f{depth - 1}", ["x"], ["y"], domain="d")], functions=made)


def loop(trips, ends_itself=False):
    value = helper.make_tensor_value_info
    condition = helper.make_node("Not", ["go"], ["on"]) if ends_itself else helper.make_node("Identity", ["go"], ["on"])
    body = helper.make_graph(
        [condition, helper.make_node("Neg", ["v"], ["w"])],
        "body",
        [value("i", TensorProto.INT64, []), value("go", TensorProto.BOOL, []), value("v", TensorProto.FLOAT, None)],
        [value("on", TensorProto.BOOL, []), value("w", TensorProto.FLOAT, None)],
    )
    node = helper.make_node("Loop", ["trips", "yes", "x"], ["y"], body=body)
    return model([node], {"trips": np.int64(trips), "yes": np.array(True)})


def shaped(operator, numbers):
    inputs = ["size"] if operator == "ConstantOfShape" else ["x", "size"]
    return model([helper.make_node(operator, inputs, ["y"])], {"size": np.array(numbers, np.int64)})


def refused(proto, match):
    with pytest.raises(InputError, match=match) as caught:
        check_limits(proto, PATH)
    assert "모델.onnx" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_functions_are_counted_where_they_are_called():
    refused(chain(60, 2), "a function calls others.*more than 1,000,000 nodes")
    check_limits(chain(10, 2), PATH)  # 512 nodes
    check_limits(chain(2_000, 1), PATH)  # a long chain is no tower


def test_a_function_that_calls_itself():
    body = helper.make_node("f", ["x"], ["y"], domain="d")
    function = helper.make_function("d", "f", ["x"], ["y"], [body], [])
    refused(model([body], functions=[function]), "calls itself")


@pytest.mark.parametrize(
    ("trips", "ends_itself", "right"), [(2**62, False, False), (2**62, True, True), (9, False, True)]
)
def test_a_loop_that_only_its_count_ends(trips, ends_itself, right):
    if right:
        check_limits(loop(trips, ends_itself), PATH)
    else:
        refused(loop(trips, ends_itself), "Loop.*turns")


@pytest.mark.parametrize("operator", ["ConstantOfShape", "Expand", "Tile"])
def test_arrays_that_constants_fill(operator):
    refused(shaped(operator, [2**20, 2**20]), operator)
    check_limits(shaped(operator, [1, 1, 4096, 4096]), PATH)  # the mask of a long context


def test_what_stands_in_a_branch_is_seen():
    inner = helper.make_graph(
        [helper.make_node("ConstantOfShape", ["size"], ["z"])], "inner", [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
    )  # fmt: skip
    node = helper.make_node("If", ["yes"], ["y"], then_branch=inner, else_branch=inner)
    refused(model([node], {"yes": np.array(True), "size": np.array([2**40])}), "ConstantOfShape")


def test_a_range():
    ends = {"a": np.float32(0), "b": np.float32(2.0**40), "c": np.float32(1)}
    node = helper.make_node("Range", list(ends), ["y"])
    refused(model([node], ends), "Range")
    check_limits(model([node], ends | {"b": np.float32(512)}), PATH)


def test_constants_that_are_numbers_of_a_node():
    size = helper.make_node("Constant", [], ["size"], value_ints=[2**20, 2**20])
    refused(model([size, helper.make_node("ConstantOfShape", ["size"], ["y"])]), "ConstantOfShape")
    proto = loop(9)
    trips = helper.make_node("Constant", [], ["many"], value_int=2**62)
    proto.graph.node[0].input[0] = "many"
    proto.graph.node.insert(0, trips)
    refused(proto, "Loop.*turns")


def test_a_loop_without_a_count_that_nothing_ends():
    proto = loop(9)
    proto.graph.node[0].input[0] = ""
    refused(proto, "Loop.*inf turns")


@pytest.mark.parametrize("givers", [["on"], ["b", "on"]])
def test_a_condition_that_is_given_by_itself(givers):
    proto = loop(2**62)
    body = proto.graph.node[0].attribute[0].g
    del body.node[0]
    for value, name in zip(givers, [*givers[1:], givers[0]], strict=True):
        body.node.append(helper.make_node("Identity", [name], [value]))
    refused(proto, "Loop.*turns")


def test_constants_that_are_texts_are_no_sizes():
    node = helper.make_node("StringConcat", ["x", "text"], ["y"])
    check_limits(model([node], {"text": np.array(["한국어"], object)}), PATH)
