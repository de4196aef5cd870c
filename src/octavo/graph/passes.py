"""Rewrites of a float graph that leave what it computes as it is. Each works in place and returns how often it applied.

`optimize` runs them in order. What they change is seen by whoever has an engine: this room has none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common as passes

from octavo.graph.layers import constant, find_bias, find_layers, joint_path


@dataclass(frozen=True)
class PassOutcome:
    """What one pass did: how often it applied, and the nodes of the graph before and after it."""

    name: str
    applied: int
    nodes_before: int
    nodes_after: int


def optimize(
    model: ir.Model, *, merge: bool = False, kept: Mapping[str, object] | None = None
) -> Iterator[PassOutcome]:
    """Run every pass in order, in place; yields after each, so that the graph can be run between two.

    `merge` adds `merge_qkv`, which does not pay for every method; `kept` is for it.
    """
    chosen = dict(PASSES)
    if merge:
        chosen["merge_qkv"] = partial(merge_qkv, kept=kept or {})
    for name, apply in chosen.items():
        before = len(model.graph)
        applied = apply(model)
        yield PassOutcome(name, applied, before, len(model.graph))


def share_equal_weights(model: ir.Model) -> int:
    """Store initializers of equal shape, type and bytes once.

    The exporter transposes a Linear's weight at each call site: a layer that is run twelve times has it twelve times.
    onnx_ir's own passes keep all bytes in memory, or fail on the transposed views that the exporter leaves.
    """
    first: dict[tuple[object, ...], ir.Value] = {}
    copies = 0
    # The exporter's numbers come last, so that of two equal weights the one stays that is called by its module path.
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
    """Compute what depends on constants only, and what a shape that is known decides; onnxscript's pass.

    Returns how many nodes went.
    """
    from onnxscript.optimizer import fold_constants as fold

    before = len(model.graph)
    fold(model)
    passes.RemoveUnusedNodesPass()(model)
    return before - len(model.graph)


def drop_no_ops(model: ir.Model) -> int:
    """Remove nodes that hand on their input: Identity, Dropout, a Cast to the same type, an identical Transpose."""
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


def drop_unattended_rows(model: ir.Model) -> int:
    """Remove the `Where` after each Attention that zeroes the rows which attend to nothing.

    The exporter writes them for rows whose mask is zero everywhere, where runtimes disagree on a softmax over nothing.
    Equal wherever every row of the batch has at least one token, as every encoded text has.
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


def attend_without_transposes(model: ir.Model) -> int:
    """Give Attention its query, key and value as [batch, length, heads x width], and take its output so.

    The exporter splits the heads before it, `Transpose(Reshape(x), 0 2 1 3)`, and joins them behind it. The operator
    (ONNX, Attention-23) does both itself where it is told how many heads there are.
    """
    applied = 0
    for node in list(model.graph):
        if node.op_type != "Attention" or len(node.outputs) != 1 or any(node.inputs[4:]):
            continue
        split = [_split_heads(value) for value in node.inputs[:3]]
        joined = _join_heads(node.outputs[0])
        if joined is None or None in split:
            continue
        rows, heads = zip(*(pair for pair in split if pair is not None), strict=True)
        query, value = rows[0].shape, rows[2].shape
        assert query is not None
        assert value is not None
        same = joined.shape is not None and joined.shape[2] == value[2] and not _differ(joined.shape, query)
        if heads[0] != heads[1] or heads[1] != heads[2] or not same:
            continue
        settings = {
            name: value for name, value in node.attributes.items() if name not in {"q_num_heads", "kv_num_heads"}
        }
        flat = ir.Node(
            "",
            "Attention",
            [*rows, *node.inputs[3:]],
            [
                *settings.values(),
                ir.AttrInt64("q_num_heads", heads[0]),
                ir.AttrInt64("kv_num_heads", heads[1]),
            ],
            name=node.name,
        )
        output, old = flat.outputs[0], node.outputs[0]
        output.name, old.name = old.name, f"{old.name}_of_heads"
        output.shape, output.type = joined.shape, joined.type
        model.graph.insert_before(node, flat)
        ir.convenience.replace_all_uses_with(joined, output)
        applied += 1
    passes.RemoveUnusedNodesPass()(model)
    return applied


def _split_heads(value: ir.Value | None) -> tuple[ir.Value, int] | None:
    """What is split into heads, [batch, length, heads x width], and the number of heads; None where nothing is."""
    transposed = value.producer() if value is not None else None
    source = transposed.inputs[0] if transposed is not None and _swaps(transposed) else None
    reshaped = source.producer() if source is not None else None
    rows = reshaped.inputs[0] if reshaped is not None and reshaped.op_type == "Reshape" else None
    if source is None or source.shape is None or rows is None or rows.shape is None:
        return None
    if len(rows.shape) != 3 or len(source.shape) != 4 or _differ(rows.shape, source.shape):
        return None
    heads, width = source.shape[2], source.shape[3]
    if not isinstance(heads, int) or not isinstance(width, int) or rows.shape[2] != heads * width:
        return None
    return rows, heads


def _swaps(node: ir.Node) -> bool:
    """Whether the node is the Transpose that swaps length and heads."""
    return node.op_type == "Transpose" and list(node.attributes.get_ints("perm", ())) == [0, 2, 1, 3]


def _differ(one: ir.Shape, other: ir.Shape) -> bool:
    """Whether two shapes are known to differ in batch or length."""
    pairs = [(str(a), str(b)) for a, b in zip(one[:2], other[:2], strict=True)]
    return any("None" not in pair and pair[0] != pair[1] for pair in pairs)


def _join_heads(value: ir.Value) -> ir.Value | None:
    """The value that joins the heads of an Attention's output again, [batch, length, heads x width], else None."""
    for fits in (_swaps, lambda node: node.op_type == "Reshape"):
        readers = [node for node, _ in value.uses()]
        if value.is_graph_output() or len(readers) != 1 or not fits(readers[0]):
            return None
        value = readers[0].outputs[0]
    known = value.shape is not None and len(value.shape) == 3 and isinstance(value.shape[2], int)
    return value if known and not value.is_graph_output() else None


def drop_attention_biases(model: ir.Model) -> int:
    """Drop the bias of an attention's key, and let the output projection's bias take in that of its value.

    softmax(q (k + b)^T) is softmax(q k^T), as q b^T is one number for all keys of a query. And (P (v + b)) W + c is
    P v W + (b W + c), as each row of a softmax P sums to one. Returns how many biases went.
    """
    dropped = 0
    for node in list(model.graph):
        heads = [node.attributes.get_int(name, 0) for name in ("q_num_heads", "kv_num_heads")]
        known = node.op_type == "Attention" and heads[0] > 0 and len(node.outputs) == 1 and not any(node.inputs[4:])
        if not known or node.attributes.get_float("softcap", 0.0) != 0:
            continue
        key, value = (_own_site(node, position) for position in (1, 2))
        if key is not None:
            _without_bias(model, key)
            dropped += 1
        readers = node.outputs[0].consumers()
        behind = find_bias(readers[0]) if len(readers) == 1 and readers[0].op_type == "MatMul" else None
        taker = behind[0].inputs[behind[1]] if behind is not None else None
        if value is None or taker is None or len(taker.uses()) != 1 or heads[0] != heads[1]:
            continue
        moved = _numbers(value.bias).astype(np.float64) @ _numbers(readers[0].inputs[1]).astype(np.float64)
        taker.const_value = ir.tensor((_numbers(taker).astype(np.float64) + moved).astype(np.float32), name=taker.name)
        _without_bias(model, value)
        dropped += 1
    return dropped


def _own_site(reader: ir.Node, position: int) -> _Site | None:
    """The Linear with a bias of its own that makes a node's input and nothing else."""
    value = reader.inputs[position]
    added = value.producer() if value is not None else None
    if value is None or added is None or added.op_type != "Add" or len(value.uses()) != 1 or value.is_graph_output():
        return None
    for source in added.inputs:
        product = source.producer() if source is not None else None
        if product is not None and product.op_type == "MatMul":
            site = _site(str(product.name).rpartition("/")[0], product)
            return site if site.bias is not None and len(site.bias.uses()) == 1 else None
    return None


def _without_bias(model: ir.Model, site: _Site) -> None:
    assert site.bias is not None
    old, new = site.last.outputs[0], site.product.outputs[0]
    new.shape, new.type = old.shape, old.type
    ir.convenience.replace_all_uses_with(old, new)
    model.graph.remove(site.last, safe=True)
    model.graph.initializers.pop(str(site.bias.name))


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


def merge_qkv(model: ir.Model, kept: Mapping[str, object] | None = None) -> int:
    """Multiply once where several Linears of an attention read the same value: its query, key and value.

    x [W_q | W_k | W_v] + [b_q | b_k | b_v], then Split. The joint layer is called `<module>.{query,key,value}`.
    Layers are apart where `kept`, module path -> anything, says different things of them, and where one is run at
    several places (ALBERT).
    """
    groups: dict[tuple[object, ...], list[_Site]] = {}
    for layer in find_layers(model):
        node, decided = layer.nodes[0], (kept or {}).get(layer.path)
        alone = len(layer.nodes) == 1 and len(layer.weight.uses()) == 1
        if layer.part == "attention" and node.op_type == "MatMul" and alone:
            site = _site(layer.path, node)
            module = layer.path.rpartition(".")[0]
            groups.setdefault((id(node.inputs[0]), module, decided), []).append(site)
    several = [sites for sites in groups.values() if len(sites) > 1]
    for sites in several:
        _merge(model, sites)
    return len(several)


class _Site(NamedTuple):
    """A Linear at its one call site: `last` is the Add of its bias [outputs], or the product where it has none."""

    path: str
    product: ir.Node
    last: ir.Node
    bias: ir.Value | None


def _site(path: str, product: ir.Node) -> _Site:
    found = find_bias(product)
    if found is None:
        return _Site(path, product, product, None)
    added, position = found
    return _Site(path, product, added, added.inputs[position])


def _merge(model: ir.Model, sites: list[_Site]) -> None:
    graph, path = model.graph, joint_path([site.path for site in sites])
    weights = [_numbers(site.product.inputs[1]) for site in sites]
    joint = constant(model, f"{path}.weight", np.concatenate(weights, axis=1))
    widths = constant(model, f"{path}.widths", np.array([weight.shape[1] for weight in weights], np.int64))
    nodes = [ir.node("MatMul", [sites[0].product.inputs[0], joint], name=f"{path}/MatMul")]
    if any(site.bias is not None for site in sites):
        biases = [
            np.zeros(width, np.float32) if bias is None else _numbers(bias)
            for bias, width in zip((site.bias for site in sites), (weight.shape[1] for weight in weights), strict=True)
        ]
        bias = constant(model, f"{path}.bias", np.concatenate(biases))
        nodes.append(ir.node("Add", [nodes[0].outputs[0], bias], name=f"{path}/Add"))
    for node in nodes:
        node.outputs[0].name, node.outputs[0].type = node.name, sites[0].last.outputs[0].type
    split = ir.node("Split", [nodes[-1].outputs[0], widths], {"axis": -1}, num_outputs=len(sites), name=f"{path}/Split")
    graph.insert_before(sites[0].product, [*nodes, split])
    for site, part in zip(sites, split.outputs, strict=True):
        old = site.last.outputs[0]
        part.name, part.shape, part.type = f"{old.name}_part", old.shape, old.type
        ir.convenience.replace_all_uses_with(old, part, replace_graph_outputs=True)
        constants = (site.product.inputs[1], site.bias)
        graph.remove([site.product] if site.last is site.product else [site.last, site.product], safe=True)
        for value in constants:
            if value is not None and not value.uses():
                graph.initializers.pop(str(value.name))


def _numbers(value: ir.Value | None) -> NDArray[np.generic]:
    assert value is not None
    assert value.const_value is not None
    return value.const_value.numpy()


PASSES: dict[str, Callable[[ir.Model], int]] = {
    "share_equal_weights": share_equal_weights,
    "fold_constants": fold_constants,
    "drop_no_ops": drop_no_ops,
    "drop_unattended_rows": drop_unattended_rows,
    "attend_without_transposes": attend_without_transposes,
    "drop_attention_biases": drop_attention_biases,
    "sum_before_layer_norm": sum_before_layer_norm,
}
