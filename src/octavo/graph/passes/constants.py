"""What is stored twice, can be computed ahead, or does nothing."""

import hashlib

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes


def share_equal_weights(model: ir.Model) -> int:
    """Store initializers of equal shape, type and bytes once.

    The exporter transposes a Linear's weight at each call site: a layer that is run twelve times has it twelve times.
    onnx_ir's own passes keep all bytes in memory, or fail on the transposed views that the exporter leaves.
    """
    first: dict[tuple[object, ...], ir.Value] = {}
    copies = 0
    # Names that the exporter numbered come last, so that of two equal weights the one named by its module path stays.
    for value in sorted(model.graph.initializers.values(), key=lambda value: str(value.name).startswith("val_")):
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


def fold_constants(model: ir.Model) -> int:
    """Compute what depends only on constants and known shapes; onnxscript's pass.

    Returns how many nodes went.
    """
    from onnxscript.optimizer import fold_constants as fold

    before = len(model.graph)
    fold(model)
    passes.RemoveUnusedNodesPass()(model)
    return before - len(model.graph)


def drop_no_ops(model: ir.Model) -> int:
    """Remove nodes that return their input: Identity, Dropout, a Cast to the same type, an identity Transpose."""
    dropped = 0
    for node in list(model.graph):
        source = node.inputs[0] if node.inputs else None
        others = any(value.uses() or value.is_graph_output() for value in node.outputs[1:])
        if source is not None and _hands_on(node, source) and not node.outputs[0].is_graph_output() and not others:
            ir.convenience.replace_all_uses_with(node.outputs[0], source)
            model.graph.remove(node, safe=True)
            dropped += 1
    return dropped


def _hands_on(node: ir.Node, source: ir.Value) -> bool:
    if node.op_type in {"Identity", "Dropout"}:
        training = node.inputs[2] if node.op_type == "Dropout" and len(node.inputs) > 2 else None
        return training is None or (training.const_value is not None and not training.const_value.numpy().any())
    if node.op_type == "Cast":
        return source.dtype is not None and source.dtype == node.attributes.get_int("to", 0)
    if node.op_type == "Transpose":
        order = list(node.attributes.get_ints("perm", ()))
        return order != [] and order == sorted(order)
    return False
