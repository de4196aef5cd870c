"""Rows stay rows between products: fewer nodes, and the same bits."""

from collections import Counter

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from octavo.checkpoint.source import read_source
from octavo.exporting.float_graphs import export_source
from octavo.graph.flat_rows import keep_rows_flat
from octavo.hardware import find_target
from octavo.methods import Context
from octavo.methods.dynamic import quantize_dynamic
from octavo.progress import Silent
from octavo.schema.recipe import LayerRule, Recipe

KEPT = LayerRule(match="*.attention.*dense", keep="float")


def outputs(model, shape):
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    generator = np.random.default_rng(5)
    inputs = {one.name: np.ones(shape, np.int64) for one in session.get_inputs()}
    inputs["input_ids"] = generator.integers(5, 60, shape)
    inputs["attention_mask"][-1, shape[1] // 2 :] = 0
    return session.run(None, inputs)[0]


@pytest.mark.slow
@pytest.mark.parametrize("rules", [(), (KEPT,)], ids=["all int8", "some float"])
@pytest.mark.parametrize("family", ["bert", "roberta", "electra", "albert"])
def test_the_bits_stay_and_reshapes_go(family, rules, checkpoint):
    recipe = Recipe(method="dynamic", layers=rules)
    floats = export_source(read_source(checkpoint(family)), recipe, Silent())
    made = quantize_dynamic(floats.graphs["model"], recipe, Context(find_target("any"))).model
    flat = made.clone()
    keep_rows_flat(flat)
    count, after = (Counter(node.op_type for node in one.graph) for one in (made, flat))
    assert after["Reshape"] <= 0.75 * count["Reshape"]
    assert count - Counter(Reshape=count["Reshape"], Shape=count["Shape"]) == after - Counter(
        Reshape=after["Reshape"], Shape=after["Shape"]
    )
    for shape in ((1, 1), (3, 9), (2, 40)):
        np.testing.assert_array_equal(outputs(flat, shape), outputs(made, shape))
