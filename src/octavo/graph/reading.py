"""Reads any ONNX file, whoever wrote it, and trusts nothing in it: what it declares is checked against its bytes.

Nothing is computed, and no array is larger than the bytes that are there; external data is mapped from its file.
"""

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import onnx_ir as ir
from onnx_ir.passes.common import InlinePass

from octavo.errors import InputError
from octavo.graph.limits import check_limits

_DATA_FIELDS = {  # where TensorProto keeps numbers that are not raw: onnx.proto, message TensorProto
    "FLOAT": "float_data", "COMPLEX64": "float_data", "INT64": "int64_data", "STRING": "string_data",
    "DOUBLE": "double_data", "COMPLEX128": "double_data", "UINT32": "uint64_data", "UINT64": "uint64_data",
}  # fmt: skip


def read_graph(path: Path) -> ir.Model:
    """Read an ONNX file and have it checked by `onnx.checker`.

    Raises:
        InputError: there is no such file, it is no ONNX model, it is truncated, or the checker refuses it.
    """
    import onnx

    if not path.is_file():
        there = "this is a folder, a pipe or a device, and no ONNX file" if path.exists() else "no such file"
        raise InputError(there, got=path)
    try:
        proto = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's errors have no types of their own to import
        raise InputError("this is not a readable ONNX model", where=path, got=_first_line(error)) from None
    if not proto.ir_version or not proto.graph.node:
        raise InputError("this is not an ONNX model", where=path, got="no graph with nodes in it")
    try:
        for graph in (proto.graph, *proto.functions):
            for tensor in _tensors(graph):
                _check_tensor(tensor, path)
        check_limits(proto, path)
        onnx.checker.check_model(str(path))
        model = ir.from_proto(proto)
        InlinePass()(model)  # local functions are part of the graph
        ir.external_data.set_base_dir(model.graph, path.parent)
    except InputError:
        raise
    except Exception as error:  # the checker, onnx_ir and protobuf have their own exceptions for what does not fit
        raise InputError("this ONNX model is not valid", where=path, got=_first_line(error)) from None
    return model


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:300] or type(error).__name__


def _tensors(graph: Any) -> Iterator[Any]:
    """Every stored tensor of a graph or function, in nodes' attributes and graphs inside graphs too."""
    yield from getattr(graph, "initializer", ())
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _tensors(inner)


def _check_tensor(tensor: Any, path: Path) -> None:
    """Check the declared shape of a tensor against the bytes that are there.

    Raises:
        InputError: they differ, or external data is absent or outside of the model's folder.
    """
    import onnx

    name, numbers = tensor.name[:80], prod(tensor.dims)
    if any(size < 0 for size in tensor.dims) or tensor.data_type not in onnx.TensorProto.DataType.values():
        raise InputError("a tensor of the model is not valid", where=path, got=f"{name!r}: {list(tensor.dims)[:8]}")
    dtype = onnx.TensorProto.DataType.Name(tensor.data_type)
    if dtype in {"UNDEFINED", "STRING"}:
        return
    bits = ir.DataType(tensor.data_type).bitwidth
    expected = -(-numbers * bits // 8)
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        present = _external_bytes({entry.key: entry.value for entry in tensor.external_data}, path, name)
    elif tensor.raw_data:
        present = len(tensor.raw_data)
    else:
        values = len(getattr(tensor, _DATA_FIELDS.get(dtype, "int32_data")))
        packed = 8 // bits if bits < 8 else 1  # two 4-bit numbers in one int32
        present = expected if values == -(-numbers // packed) * (2 if dtype.startswith("COMPLEX") else 1) else values
    if present != expected:
        raise InputError(
            "the model is damaged: a tensor has not the bytes that it declares",
            where=path,
            got=f"{name!r}: {present} bytes for {dtype.lower()} {list(tensor.dims)[:8]}",
        )


def _external_bytes(stored: dict[str, str], path: Path, name: str) -> int:
    location = stored.get("location", "")
    folder = path.parent.resolve()
    file = (folder / location).resolve()
    if not location or not file.is_relative_to(folder):
        raise InputError("external data outside of the model's folder", where=path, got=f"{name!r}: {location!r:.80}")
    if not file.is_file():
        raise InputError("the file of the external data is missing", where=path, got=f"{location!r:.80}")
    try:
        offset, length = int(stored.get("offset") or 0), stored.get("length")
        size = file.stat().st_size
        wanted = int(length) if length else size - offset
    except ValueError:
        raise InputError("the place of external data is no number", where=path, got=f"{name!r}") from None
    return wanted if offset >= 0 and offset + wanted <= size else max(0, size - max(0, offset))
