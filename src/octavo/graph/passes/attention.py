"""Attention without transposes around it or biases that a softmax cancels; one product for query, key and value.

And the residual sum behind an attention or a feed-forward.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from octavo.graph.layers import constant, find_bias, find_layers, numbers_of
from octavo.schema.layers import joint_path


class Site(NamedTuple):
    """A Linear at its one call site: `last` is the Add of its bias [outputs], or the product where it has none."""

    path: str
    product: ir.Node
    last: ir.Node
    bias: ir.Value | None


def site_of(path: str, product: ir.Node) -> Site:
    """The Linear of a product."""
    bias = find_bias(product)
    if bias is None:
        return Site(path, product, product, None)
    added, position = bias
    return Site(path, product, added, added.inputs[position])


def drop_unattended_rows(model: ir.Model) -> int:
    """Remove the `Where` after each Attention that zeroes the rows which attend to nothing.

    The exporter writes it for rows whose mask is zero everywhere, where runtimes disagree on a softmax over nothing.
    Nothing changes as long as every row of the batch has at least one token, as every encoded text has.
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
    """Give Attention its query, key and value as [batch, length, heads x width], and take its output in that form.

    The exporter splits the heads before it, `Transpose(Reshape(x), 0 2 1 3)`, and joins them behind it. The operator
    (ONNX, Attention-23) does both itself where its attributes give the number of heads.
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
        numbers = {name: ir.AttrInt64(name, heads[0]) for name in ("q_num_heads", "kv_num_heads")}
        settings = [setting for name, setting in node.attributes.items() if name not in numbers]
        inputs = [*rows, *node.inputs[3:]]
        flat = ir.Node("", "Attention", inputs, [*settings, *numbers.values()], name=node.name)
        output, old = flat.outputs[0], node.outputs[0]
        output.name, old.name = old.name, f"{old.name}_of_heads"
        output.shape, output.type = joined.shape, joined.type
        model.graph.insert_before(node, flat)
        ir.convenience.replace_all_uses_with(joined, output)
        applied += 1
    passes.RemoveUnusedNodesPass()(model)
    return applied


def _split_heads(value: ir.Value | None) -> tuple[ir.Value, int] | None:
    """The value that is split into heads, [batch, length, heads x width], and the number of heads, else None."""
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


def _differ(left: ir.Shape, right: ir.Shape) -> bool:
    """Whether two shapes are known to differ in batch or length."""
    pairs = [(str(a), str(b)) for a, b in zip(left[:2], right[:2], strict=True)]
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
        moved = numbers_of(value.bias).astype(np.float64) @ numbers_of(readers[0].inputs[1]).astype(np.float64)
        total = (numbers_of(taker).astype(np.float64) + moved).astype(np.float32)
        taker.const_value = ir.tensor(total, name=taker.name)
        _without_bias(model, value)
        dropped += 1
    return dropped


def _own_site(reader: ir.Node, position: int) -> Site | None:
    """The Linear with a bias of its own that makes a node's input and nothing else."""
    value = reader.inputs[position]
    added = value.producer() if value is not None else None
    if value is None or added is None or added.op_type != "Add" or len(value.uses()) != 1 or value.is_graph_output():
        return None
    for source in added.inputs:
        product = source.producer() if source is not None else None
        if product is not None and product.op_type == "MatMul":
            site = site_of(str(product.name).rpartition("/")[0], product)
            return site if site.bias is not None and len(site.bias.uses()) == 1 else None
    return None


def _without_bias(model: ir.Model, site: Site) -> None:
    assert site.bias is not None
    old, new = site.last.outputs[0], site.product.outputs[0]
    new.shape, new.type = old.shape, old.type
    ir.convenience.replace_all_uses_with(old, new)
    model.graph.remove(site.last, safe=True)
    model.graph.initializers.pop(str(site.bias.name))


def merge_qkv(model: ir.Model, kept: Mapping[str, object] | None = None) -> int:
    """Multiply once where several Linears of an attention read the same value: its query, key and value.

    x [W_q | W_k | W_v] + [b_q | b_k | b_v], then Split. The joint layer is called `<module>.{query,key,value}`.
    Layers stay apart where `kept` (module path -> anything) has different values for them, and where one is run at
    several places (ALBERT).
    """
    groups: dict[tuple[object, ...], list[Site]] = {}
    for layer in find_layers(model):
        node, decided = layer.nodes[0], (kept or {}).get(layer.path)
        alone = len(layer.nodes) == 1 and len(layer.weight.uses()) == 1
        if layer.part == "attention" and node.op_type == "MatMul" and alone:
            site = site_of(layer.path, node)
            module = layer.path.rpartition(".")[0]
            groups.setdefault((id(node.inputs[0]), module, decided), []).append(site)
    several = [sites for sites in groups.values() if len(sites) > 1]
    for sites in several:
        _merge(model, sites)
    return len(several)


def _merge(model: ir.Model, sites: list[Site]) -> None:
    graph, path = model.graph, joint_path([site.path for site in sites])
    weights = [numbers_of(site.product.inputs[1]) for site in sites]
    joint = constant(model, f"{path}.weight", np.concatenate(weights, axis=1))
    widths = constant(model, f"{path}.widths", np.array([weight.shape[1] for weight in weights], np.int64))
    nodes = [ir.node("MatMul", [sites[0].product.inputs[0], joint], name=f"{path}/MatMul")]
    if any(site.bias is not None for site in sites):
        biases = [
            np.zeros(weight.shape[1], np.float32) if site.bias is None else numbers_of(site.bias)
            for site, weight in zip(sites, weights, strict=True)
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
