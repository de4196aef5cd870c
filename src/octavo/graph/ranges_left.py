"""Makes a static int8 graph tell by how much numbers leave the ranges that it was given: they are clipped silently."""

import numpy as np
import onnx_ir as ir

from octavo.graph.layers import constant, numbers_of
from octavo.graph.lowering import add_node

_NUMBERS_END = {"Shape", "Size"}  # behind these operators no number of a text is left


def tell_ranges_left(model: ir.Model) -> list[str]:
    """Give the graph an output more for each range that it knows; in place. Their names.

    Of x [..., width], whose codes are those of [low, high], an output is [...]:

        max(max(x) - high, low - min(x), 0) / (high - low)    over the last axis

    What does not depend on the texts, such as a table of relative positions, is left out.
    """
    names, texts = [], set(model.graph.inputs)
    for node in list(model.graph):
        if node.op_type not in _NUMBERS_END and texts & set(node.inputs):
            texts |= set(node.outputs)
        if node.op_type != "QuantizeLinear":
            continue
        x, scale, zero = node.inputs[:3]
        if x not in texts or x is None or scale is None or scale.const_value is None:  # or computed for each token
            continue
        step, middle = float(numbers_of(scale)), float(numbers_of(zero))
        nodes: list[ir.Node] = []
        left = _distance(model, nodes, x, -middle * step, (255 - middle) * step)
        model.graph.insert_after(node, nodes)
        model.graph.outputs.append(left)
        names.append(str(left.name))
    return names


def _distance(model: ir.Model, nodes: list[ir.Node], x: ir.Value, low: float, high: float) -> ir.Value:
    stem, axis = f"{x.name}_left", constant(model, "last_axis", np.array([-1], np.int64))
    ends = {
        name: constant(model, f"{stem}_{name}", np.array(end, np.float32))
        for name, end in (("low", low), ("high", high), ("width", high - low), ("nothing", 0.0))
    }
    largest = add_node(nodes, "ReduceMax", [x, axis], f"{stem}_max", keepdims=0)
    smallest = add_node(nodes, "ReduceMin", [x, axis], f"{stem}_min", keepdims=0)
    above = add_node(nodes, "Sub", [largest, ends["high"]], f"{stem}_above")
    below = add_node(nodes, "Sub", [ends["low"], smallest], f"{stem}_below")
    farther = add_node(nodes, "Max", [above, below, ends["nothing"]], f"{stem}_distance")
    return add_node(nodes, "Div", [farther, ends["width"]], stem)
