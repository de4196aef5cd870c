"""One product for the query, key and value of an attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from octavo.graph.layers import constant, find_bias, find_layers
from octavo.schema.layers import joint_path


def merge_qkv(model: ir.Model, kept: Mapping[str, object] | None = None) -> int:
    """Multiply once where several Linears of an attention read the same value: its query, key and value.

    x [W_q | W_k | W_v] + [b_q | b_k | b_v], then Split. The joint layer is called `<module>.{query,key,value}`.
    Layers are apart where `kept`, module path -> anything, says different things of them, and where one is run at
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


class Site(NamedTuple):
    """A Linear at its one call site: `last` is the Add of its bias [outputs], or the product where it has none."""

    path: str
    product: ir.Node
    last: ir.Node
    bias: ir.Value | None


def site_of(path: str, product: ir.Node) -> Site:
    """The Linear of a product."""
    found = find_bias(product)
    if found is None:
        return Site(path, product, product, None)
    added, position = found
    return Site(path, product, added, added.inputs[position])


def _merge(model: ir.Model, sites: list[Site]) -> None:
    graph, path = model.graph, joint_path([site.path for site in sites])
    weights = [numbers_of(site.product.inputs[1]) for site in sites]
    joint = constant(model, f"{path}.weight", np.concatenate(weights, axis=1))
    widths = constant(model, f"{path}.widths", np.array([weight.shape[1] for weight in weights], np.int64))
    nodes = [ir.node("MatMul", [sites[0].product.inputs[0], joint], name=f"{path}/MatMul")]
    if any(site.bias is not None for site in sites):
        biases = [
            np.zeros(width, np.float32) if bias is None else numbers_of(bias)
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


def numbers_of(value: ir.Value | None) -> NDArray[np.generic]:
    """The numbers of a constant."""
    assert value is not None
    assert value.const_value is not None
    return value.const_value.numpy()
