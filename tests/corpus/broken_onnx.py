"""ONNX files of other tools that are broken, hostile, or no encoder's."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import damage
import numpy as np
import onnx
from cases import Case, copied, generator
from onnx import TensorProto, helper, numpy_helper

Harm = Callable[[onnx.ModelProto], object]
ROWS, WIDTH, LABELS = 130, 16, 3
DATA = "sentence1\tsentence2\tgold_label\n가\t나\tneutral\n"


def classifier(**settings: Any) -> onnx.ModelProto:
    """The mean of rows of a table, times a head: what a file of another tool may be, at its smallest."""
    draw = np.random.default_rng(3)
    constants = {
        "table": draw.normal(size=(ROWS, WIDTH)).astype(np.float32),
        "head": draw.normal(size=(WIDTH, LABELS)).astype(np.float32),
        "one": np.array([1], np.int64),
        "two": np.array([2], np.int64),
    }
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "two"], ["wide"]),
        helper.make_node("Mul", ["rows", "wide"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "one"], ["pooled"], keepdims=0),
        helper.make_node("MatMul", ["pooled", "head"], ["logits"]),
    ]
    ids = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"]) for name in
           ("input_ids", "attention_mask")]  # fmt: skip
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", LABELS])
    stored = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "g", ids, [logits], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9, **settings)


def cases() -> Iterator[Case]:
    yield from _files()
    yield from _models()
    yield from _ports()


def _reading(harm: Harm, verb: str, folder: Path, base: Path) -> list[object]:
    path = copied(base, "onnx", folder) / "model.onnx"
    model = onnx.load(str(path))
    harm(model)
    path.write_bytes(model.SerializeToString())
    return _asked(path, verb, folder)


def _asked(path: Path, verb: str, folder: Path) -> list[object]:
    if verb != "compare":
        return ["inspect", path, *(["--graph"] if verb == "graph" else [])]
    (folder / "d.tsv").write_text(DATA, encoding="utf-8")
    return ["compare", path, "--data", folder / "d.tsv", "--threads", 1]


def _files() -> Iterator[Case]:
    for harm in (*damage.BYTES, *damage.THINGS):
        for number in range(4 if harm in {damage.cut, damage.turn_bit, damage.overwrite} else 1):

            def make(folder: Path, base: Path, harm: damage.Damage = harm, number: int = number) -> list[object]:
                path = copied(base, "onnx", folder) / "model.onnx"
                harm(path, generator(f"{harm.__name__} {number}"))
                return _asked(path, "inspect", folder)

            either = harm in {damage.turn_bit, damage.overwrite, damage.add}
            why = "a file of another tool has no hash: a changed weight is a weight" if either else ""
            title = f"model.onnx, {harm.__name__.replace('_', ' ')} {number}"
            yield Case("ONNX", title, make, "onnx", "either" if either else "refused", why, fixed=number == 0)


def _dims(*dims: int, name: str = "head") -> Harm:
    def change(model: onnx.ModelProto) -> None:
        tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
        del tensor.dims[:]
        tensor.dims.extend(dims)

    return change


def _external(location: str, **more: str) -> Harm:
    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, **more}.items():
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value

    return change


def _functions(model: onnx.ModelProto, depth: int = 60) -> None:
    """Functions of which each calls the one before it twice: 2^60 nodes."""
    opset = [helper.make_opsetid("", 17), helper.make_opsetid("bomb", 1)]
    body = [helper.make_node("Neg", ["x"], ["y"])]
    model.functions.append(helper.make_function("bomb", "f0", ["x"], ["y"], body, opset))
    for level in range(1, depth):
        name = f"f{level - 1}"
        calls = [
            helper.make_node(name, ["x"], ["z"], domain="bomb"),
            helper.make_node(name, ["z"], ["y"], domain="bomb"),
        ]
        model.functions.append(helper.make_function("bomb", f"f{level}", ["x"], ["y"], calls, opset))
    model.opset_import.append(helper.make_opsetid("bomb", 1))
    _behind(model, helper.make_node(f"f{depth - 1}", ["before"], ["logits"], domain="bomb"))


def _behind(model: onnx.ModelProto, *nodes: onnx.NodeProto) -> None:
    """Put nodes behind the head: they read `before` and give `logits`."""
    model.graph.node[-1].output[0] = "before"
    model.graph.node.extend(nodes)


def _itself(model: onnx.ModelProto) -> None:
    body = [helper.make_node("f", ["x"], ["y"], domain="bomb")]
    model.functions.append(helper.make_function("bomb", "f", ["x"], ["y"], body, [helper.make_opsetid("bomb", 1)]))
    model.opset_import.append(helper.make_opsetid("bomb", 1))
    _behind(model, helper.make_node("f", ["before"], ["logits"], domain="bomb"))


def _loop(trips: int, model: onnx.ModelProto) -> None:
    """The logits, negated as often as asked."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Neg", ["x"], ["y"])],
        "body",
        [value("i", TensorProto.INT64, []), value("go", TensorProto.BOOL, []), value("x", TensorProto.FLOAT, None)],
        [value("on", TensorProto.BOOL, []), value("y", TensorProto.FLOAT, None)],
    )
    stored = [numpy_helper.from_array(np.array(trips), "trips"), numpy_helper.from_array(np.array(True), "yes")]
    model.graph.initializer.extend(stored)
    _behind(model, helper.make_node("Loop", ["trips", "yes", "before"], ["logits"], body=body))


def _filled(size: int, model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array([size], np.int64), "size"))
    _behind(
        model,
        helper.make_node("ConstantOfShape", ["size"], ["large"]),
        helper.make_node("ReduceSum", ["large"], ["sum"], keepdims=0),
        helper.make_node("Add", ["before", "sum"], ["logits"]),
    )


def _counted(model: onnx.ModelProto) -> None:
    ends = {"from": 0.0, "to": 2.0**40, "step": 1.0}
    model.graph.initializer.extend(numpy_helper.from_array(np.array(n, np.float32), name) for name, n in ends.items())
    _behind(
        model,
        helper.make_node("Range", list(ends), ["large"]),
        helper.make_node("ReduceSum", ["large"], ["sum"], keepdims=0),
        helper.make_node("Add", ["before", "sum"], ["logits"]),
    )


def _repeated(operator: str, model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array([2**20, 2**20], np.int64), "size"))
    model.graph.initializer.append(numpy_helper.from_array(np.ones((1, 1), np.float32), "small"))
    _behind(
        model,
        helper.make_node(operator, ["small", "size"], ["large"]),
        helper.make_node("ReduceSum", ["large"], ["sum"], keepdims=0),
        helper.make_node("Add", ["before", "sum"], ["logits"]),
    )


def _sparse(model: onnx.ModelProto) -> None:
    """A table of 2^40 numbers, of which one is there."""
    tensor = onnx.SparseTensorProto()
    tensor.values.CopyFrom(numpy_helper.from_array(np.ones(1, np.float32), "spread"))
    tensor.indices.CopyFrom(numpy_helper.from_array(np.zeros(1, np.int64), "places"))
    tensor.dims.extend([2**20, 2**20])
    model.graph.sparse_initializer.append(tensor)


def _set_data_type(number: int) -> Harm:
    return lambda model: setattr(model.graph.initializer[0], "data_type", number)


def _models() -> Iterator[Case]:
    def cycle(model: onnx.ModelProto) -> None:
        model.graph.node[0].input[1] = "logits"

    def absent_input(model: onnx.ModelProto) -> None:
        model.graph.node[0].input[0] = "없다"

    def twice(model: onnx.ModelProto) -> None:
        model.graph.node.append(helper.make_node("Neg", ["pooled"], ["rows"]))

    def operator(name: str, domain: str) -> Harm:
        return lambda model: _behind(model, helper.make_node(name, ["before"], ["logits"], domain=domain))

    def imported(domain: str, version: int) -> Harm:
        return lambda model: model.opset_import.append(helper.make_opsetid(domain, version))

    def opset(number: int) -> Harm:
        return lambda model: setattr(model.opset_import[0], "version", number)

    def named(name: str) -> Harm:
        return lambda model: setattr(model.graph.node[-1], "name", name)

    harms: dict[str, tuple[Harm, str]] = {
        "a tensor of 2^62 numbers": (_dims(2**31, 2**31), "head"),
        "a tensor of 2^63 x 2^63 numbers": (_dims(2**63 - 1, 2**63 - 1), "head"),
        "a tensor of -1 numbers": (_dims(-1, 3), "head"),
        "a tensor of no dimension": (_dims(), "head"),
        "a tensor of a type that does not exist": (_set_data_type(99), "table|onnx"),
        "a tensor of no type": (_set_data_type(0), "table|onnx"),
        "a sparse tensor of 2^40 numbers": (_sparse, "sparse|onnx"),
        "external data above the folder": (_external("../../../etc/passwd"), "outside"),
        "external data by a whole path": (_external("/etc/passwd"), "outside"),
        "external data that is not there": (_external("weights.bin"), "weights"),
        "external data of no name": (_external(""), "external data"),
        "external data at a place that is no number": (_external("model.onnx", offset="x"), "place"),
        "external data at a place below 0": (_external("model.onnx", offset="-8", length="8"), "table"),
        "external data of 2^62 bytes": (_external("model.onnx", length=str(2**62)), "table"),
        "external data at a place of 5,000 digits": (_external("model.onnx", offset="9" * 5000), "place"),
        "functions that call each other 2^60 times": (_functions, "function"),
        "a function that calls itself": (_itself, "function|cycl|recurs|onnx"),
        "a loop of 2^62 turns": (partial(_loop, 2**62), "Loop|loop"),
        "a shape of 2^40": (partial(_filled, 2**40), "ConstantOfShape"),
        "a shape below 0": (partial(_filled, -(2**40)), "ConstantOfShape"),
        "a range of 2^40": (_counted, "Range"),
        "an Expand to 2^40": (partial(_repeated, "Expand"), "Expand"),
        "a Tile to 2^40": (partial(_repeated, "Tile"), "Tile"),
        "a cycle": (cycle, "onnx"),
        "an input that nothing gives": (absent_input, "없다|onnx"),
        "a name given twice": (twice, "rows|onnx"),
        "an operator that does not exist": (operator("Magic", ""), "Magic"),
        "an operator of a domain that is not imported": (operator("Magic", "secret"), "secret|Magic"),
        "no graph": (lambda model: model.ClearField("graph"), "graph"),
        "no nodes": (lambda model: model.graph.ClearField("node"), "graph|node"),
        "no outputs": (lambda model: model.graph.ClearField("output"), "output|onnx"),
        "no inputs": (lambda model: model.graph.ClearField("input"), "input|onnx"),
        "an IR version of 2^31": (lambda model: setattr(model, "ir_version", 2**31), "onnx|IR"),
        "no opset": (lambda model: model.ClearField("opset_import"), "opset|onnx"),
        "an opset of 2^31": (opset(2**31), "opset|onnx"),
        "a domain imported twice": (imported("", 13), "opset|onnx"),
    }
    slow = {"functions that call each other 2^60 times", "a loop of 2^62 turns", "a shape of 2^40"}
    for name, (harm, says) in harms.items():
        for verb in ("inspect", "compare"):
            make = partial(_reading, harm, verb)
            runs_only = name in {"no outputs", "a domain imported twice"}
            expect, why = (
                ("either", "the file says what it is, and ONNX Runtime decides") if runs_only else ("refused", "")
            )
            yield Case("ONNX", f"{name} ({verb})", make, says, expect, why, fixed=(verb == "compare" and name in slow)
                       or (verb == "inspect" and "2^" in name))  # type: ignore[arg-type]  # fmt: skip
    yield Case("ONNX", "an escape in a node's name", partial(_reading, named("\x1b[31m/x.y/MatMul"), "graph"),
               expect="either", why="names are any text, and escapes are not written out")  # fmt: skip
    yield Case("ONNX", "a loop of three turns", partial(_reading, partial(_loop, 3), "inspect"), expect="accepted",
               why="three turns are three turns")  # fmt: skip


def _output(name: str, kind: int, shape: list[Any], *nodes: onnx.NodeProto) -> Harm:
    """Another output in place of the logits, made from `before`."""

    def change(model: onnx.ModelProto) -> None:
        _behind(model, *nodes)
        del model.graph.output[:]
        model.graph.output.append(helper.make_tensor_value_info(name, kind, shape))

    return change


def _input(name: str, kind: int, shape: list[Any]) -> Harm:
    return lambda model: model.graph.input.append(helper.make_tensor_value_info(name, kind, shape))


def _ports() -> Iterator[Case]:
    """Inputs and outputs that no task here has."""
    node = helper.make_node
    harms: dict[str, tuple[Harm, str]] = {
        "an input of pixels": (_input("pixel_values", TensorProto.FLOAT, ["batch", 3, 224, 224]), "pixel_values"),
        "an input of floats": (_input("token_type_ids", TensorProto.FLOAT, ["batch", "length"]), "token_type_ids"),
        "an input of one dimension": (_input("token_type_ids", TensorProto.INT64, ["length"]), "token_type_ids"),
        "an output of whole numbers": (
            _output("logits", TensorProto.INT64, ["batch", LABELS], node("Cast", ["before"], ["logits"], to=7)), "int64",
        ),
        "an output of one number": (
            _output("logits", TensorProto.FLOAT, [], node("ReduceSum", ["before"], ["logits"], keepdims=0)), "unknown",
        ),
        "an output of texts": (
            _output("logits", TensorProto.STRING, ["batch", LABELS], node("Cast", ["before"], ["logits"], to=8)), "string",
        ),
        "an output with the length last": (
            _output("logits", TensorProto.FLOAT, ["batch", "length"], node("Mul", ["mask", "mask"], ["logits"])), "logits|length",
        ),
        "a sequence": (
            _output("x", TensorProto.FLOAT, ["batch", LABELS], node("SequenceConstruct", ["before"], ["x"])), "onnx|x",
        ),
    }  # fmt: skip
    for name, (harm, says) in harms.items():
        yield Case("ONNX", f"{name} (compare)", partial(_reading, harm, "compare"), says, fixed="whole" in name)
