"""Rewrites of a float graph that leave its outputs as they are."""

from __future__ import annotations

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
