"""Rewrites of a float graph that leave its outputs as they are."""

from __future__ import annotations

import hashlib

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes


def drop_unattended_rows(model: ir.Model) -> int:
    """Remove the `Where` after each Attention that zeroes the rows which attend to nothing; in place.

    Returns how many went. The exporter writes them for rows whose mask is zero everywhere, where runtimes disagree on a
    softmax over nothing. Equal wherever every row of the batch has at least one token, as every encoded text has.
    """
    dropped = 0
    for node in list(model.graph):
        source = node.inputs[2].producer() if node.op_type == "Where" and node.inputs[2] is not None else None
        zeros = node.inputs[1].const_value if source is not None and node.inputs[1] is not None else None
        if source is None or source.op_type != "Attention" or node.inputs[2] is not source.outputs[0]:
            continue
        if zeros is None or zeros.numpy().any() or node.outputs[0].is_graph_output():
            continue
        ir.convenience.replace_all_uses_with(node.outputs[0], source.outputs[0])
        model.graph.remove(node, safe=True)
        dropped += 1
    passes.RemoveUnusedNodesPass()(model)
    return dropped


def share_equal_weights(model: ir.Model) -> int:
    """Store initializers of equal shape, type and bytes once; in place. Returns how many copies went.

    onnx_ir's own passes keep all bytes in memory, or fail on the transposed views that the exporter leaves.
    """
    first: dict[tuple[object, ...], ir.Value] = {}
    copies = 0
    for value in list(model.graph.initializers.values()):
        if value.const_value is None or value.is_graph_output() or value.is_graph_input():
            continue
        array = np.asarray(value.const_value.numpy(), order="C")
        key = (value.const_value.dtype, array.shape, hashlib.sha256(array.data).digest())
        known = first.setdefault(key, value)
        if known is not value:
            ir.convenience.replace_all_uses_with(value, known)
            model.graph.initializers.pop(str(value.name))
            copies += 1
    return copies
