"""The addition in front of a LayerNormalization."""

from __future__ import annotations

import onnx_ir as ir


def sum_before_layer_norm(model: ir.Model) -> int:
    """Write the residual addition in front of a LayerNormalization as `Sum`, which means the same for two inputs.

    ONNX Runtime fuses Add and LayerNormalization into SkipLayerNormalization, whose CPU kernel takes more than twice
    the time of the two (1.32: 9.4 ms instead of 4.2 for [4096, 768]). It does not know Sum.
    """
    applied = 0
    for node in list(model.graph):
        source = node.inputs[0] if node.op_type == "LayerNormalization" else None
        added = source.producer() if source is not None else None
        if added is None or added.op_type != "Add" or added.outputs[0].is_graph_output():
            continue
        total = ir.node("Sum", list(added.inputs), name=str(added.name).replace("/Add", "/Sum"))
        old, new = added.outputs[0], total.outputs[0]
        new.name, new.shape, new.type = total.name, old.shape, old.type
        model.graph.insert_before(added, total)
        ir.convenience.replace_all_uses_with(old, new)
        model.graph.remove(added, safe=True)
        applied += 1
    return applied
