"""What an ONNX file may make a machine do, told from the file alone: nodes, turns of loops, arrays that are filled.

A few bytes can stand for 2^60 nodes (functions that call functions), turns (a loop), or numbers (a shape to fill).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from math import prod
from pathlib import Path
from typing import Any

from octavo.errors import InputError

MOST_NODES = 1_000_000  # with functions in place of their calls; a large transformer has 50,000
MOST_TURNS = 1_000_000  # of a loop that nothing ends but its count
MOST_NUMBERS = 2**28  # of an array that constants alone decide: 1 GiB of float32
_SHAPED = {"ConstantOfShape": 0, "Expand": 1, "Tile": 1}  # -> the input that says how large
_LARGE = {*_SHAPED, "Range", "Loop"}
_REAL = {1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13}  # data types of numbers and truth: no texts, no complex ones


def check_limits(proto: Any, path: Path) -> None:
    """See that a model, of which nothing else was checked, stays within what a machine has.

    Raises:
        InputError: it does not, or a function calls itself.
    """
    _check_functions(proto, path)
    for graph in (proto.graph, *proto.functions):
        _check_graph(graph, {}, path)


def _refuse(what: str, path: Path, got: str, allowed: int) -> None:
    raise InputError(f"the model is larger than its file: {what}", where=path, got=got[:120], allowed=f"{allowed:,}")


def _check_functions(proto: Any, path: Path) -> None:
    """Count the nodes that are there when every call of a function has become its nodes."""
    calls = {(function.domain, function.name): Counter(_calls(function)) for function in proto.functions}
    known = {name: [call for call in called if call in calls] for name, called in calls.items()}
    sizes: dict[tuple[str, str], int] = {}
    try:
        for name in TopologicalSorter(known).static_order():
            size = sum(number * sizes.get(call, 1) for call, number in calls[name].items())
            sizes[name] = min(size, MOST_NODES + 1)
    except CycleError as error:
        raise InputError("a function of the model calls itself", where=path, got=str(error.args[1])[:120]) from None
    total = sum(sizes.get(call, 1) for call in _calls(proto.graph))
    if total > MOST_NODES:
        _refuse("a function calls others, and these others", path, f"more than {MOST_NODES:,} nodes", MOST_NODES)


def _nodes(graph: Any) -> Iterator[Any]:
    """Every node of a graph or function, and of graphs in its nodes."""
    open_graphs = [graph]
    while open_graphs:
        for node in open_graphs.pop().node:
            yield node
            for attribute in node.attribute:
                open_graphs += [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def _calls(graph: Any) -> Iterator[tuple[str, str]]:
    for node in _nodes(graph):
        yield (node.domain, node.op_type)


def _check_graph(graph: Any, outer: Mapping[str, Any], path: Path) -> None:
    """Hold loops and shapes that are constants against the limits, in graphs of nodes too."""
    constants = {**outer, **{tensor.name: tensor for tensor in getattr(graph, "initializer", ())}}
    for sparse in getattr(graph, "sparse_initializer", ()):
        if prod(sparse.dims) > MOST_NUMBERS:
            _refuse("a sparse tensor", path, f"{list(sparse.dims)[:8]}", MOST_NUMBERS)
    for node in graph.node:
        if node.op_type == "Constant" and node.output:
            constants[node.output[0]] = next(iter(node.attribute), None)
        if node.op_type in _LARGE:
            _check_node(node, [_numbers(constants.get(name)) for name in node.input[:3]], path)
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                _check_graph(inner, constants, path)


def _numbers(constant: Any) -> list[float]:
    """The numbers of a short constant, a tensor or the attribute of a node; none of any other."""
    from onnx import AttributeProto, numpy_helper

    if isinstance(constant, AttributeProto):
        if not constant.HasField("t"):
            single: list[float] = [constant.i] if constant.type == AttributeProto.INT else []
            single += [constant.f] if constant.type == AttributeProto.FLOAT else []
            return [float(number) for number in [*single, *constant.ints, *constant.floats][:64]]
        constant = constant.t
    if constant is None or len(constant.dims) > 1 or prod(constant.dims) > 64 or constant.external_data:
        return []
    tensor = constant
    if tensor.data_type not in _REAL:
        return []
    return [float(number) for number in numpy_helper.to_array(tensor).reshape(-1)]


def _check_node(node: Any, inputs: Sequence[Sequence[float]], path: Path) -> None:
    """`inputs`: the numbers of the first three that are constants."""
    if node.op_type in _SHAPED and len(inputs) > _SHAPED[node.op_type]:
        shape = inputs[_SHAPED[node.op_type]]
        if min(shape, default=0) < -1 or (shape and prod(map(abs, shape)) > MOST_NUMBERS):
            _refuse(f"{node.op_type} {node.name}".strip(), path, f"{shape[:8]}", MOST_NUMBERS)
    elif node.op_type == "Range" and len(inputs) == 3 and all(inputs):
        start, end, step = (numbers[0] for numbers in inputs)
        if step == 0 or (end - start) / step > MOST_NUMBERS:
            _refuse("Range", path, f"{start:g} to {end:g}", MOST_NUMBERS)
    elif node.op_type == "Loop" and inputs and _is_counted(node):
        turns = inputs[0][0] if inputs[0] else 0.0 if node.input[0] else float("inf")
        if turns > MOST_TURNS:
            _refuse("Loop", path, f"{turns:,.0f} turns", MOST_TURNS)


def _is_counted(node: Any) -> bool:
    """Whether a loop's own condition never ends it: its body hands on the one that it was given, or a constant."""
    body = next(attribute.g for attribute in node.attribute if attribute.name == "body")
    value, givers = body.output[0].name, {output: giver for giver in body.node for output in giver.output}
    seen = set[str]()
    while value in givers and givers[value].op_type == "Identity" and value not in seen:
        seen.add(value)
        value = givers[value].input[0]
    if value in givers:
        return bool(givers[value].op_type in {"Constant", "Identity"})
    return value not in {name.name for name in body.input[2:]}  # the condition that it was given, or one from outside
