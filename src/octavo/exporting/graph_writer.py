"""The building blocks of a graph that is written: nodes and weights by name, Linears, tables, layer normalization."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from octavo.checkpoint.encoders import ACTIVATIONS
from octavo.exporting.tensors import Tensors

_FLOAT = ir.DataType.FLOAT
Shape = tuple[int | str, ...]


class GraphWriter:
    """The nodes and weights of a graph that is being written, and the building blocks of an encoder."""

    def __init__(self, tensors: Tensors, epsilon: float) -> None:
        """Begin; `epsilon` is that of every layer normalization."""
        self.tensors, self.nodes, self.constants = tensors, list[ir.Node](), dict[str, ir.Value]()
        self._epsilon, self._seen = epsilon, Counter[str]()

    def node(
        self,
        where: str,
        inputs: Sequence[ir.Value],
        shape: Shape,
        dtype: ir.DataType = _FLOAT,
        **attributes: Any,
    ) -> ir.Value:
        """The output of a new node; `where` is `<module path>/<operator>`, its name but for a number."""
        self._seen[where] += 1
        name = where if self._seen[where] == 1 else f"{where}_{self._seen[where]}"
        made = ir.node(where.rpartition("/")[2], inputs, attributes, name=name)
        self.nodes.append(made)
        output = made.outputs[0]
        output.name, output.shape, output.type = name, ir.Shape(shape), ir.TensorType(dtype)
        return output

    def constant(self, name: str, array: NDArray[np.generic], *, mapped: bool = False) -> ir.Value:
        """An initializer; one of that name where there is one. `mapped`: the weight of that name, left in its file."""
        if name not in self.constants:
            tensor: ir.TensorProtocol = ir.tensor(np.ascontiguousarray(array) if array.ndim else array, name=name)
            if mapped:
                tensors = self.tensors
                tensor = ir.LazyTensor(
                    lambda: ir.tensor(tensors[name], name=name),
                    dtype=tensor.dtype,
                    shape=ir.Shape(array.shape),
                    name=name,
                )
            value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype))
            value.const_value = tensor
            self.constants[name] = value
        return self.constants[name]

    def integers(self, *numbers: int) -> ir.Value:
        """A constant vector of integers."""
        return self.constant("_".join(["integers", *map(str, numbers)]), np.array(numbers, np.int64))

    def integer(self, number: int) -> ir.Value:
        """A constant integer."""
        return self.constant(f"integer_{number}", np.array(number, np.int64))

    def vector(self, name: str, width: int) -> ir.Value:
        """A weight of one dimension."""
        return self.constant(name, self.tensors.of(name, width))

    def embedding(self, path: str, ids: ir.Value, rows: int, width: int) -> ir.Value:
        """Rows of a table."""
        name = f"{path}.weight"
        table = self.constant(name, self.tensors.of(name, rows, width), mapped=not self.tensors.held)
        assert ids.shape is not None
        return self.node(f"{path}/Gather", [table, ids], (*ids.shape, width), axis=0)

    def linear(self, path: str, x: ir.Value, outputs: int, bias: NDArray[np.float32] | bool = True) -> ir.Value:
        """A Linear, x W^T + b, of [.., inputs]; `bias` is another one than the layer's own, or whether there is one."""
        shape, width = dims(x), width_of(x)
        weight = self.tensors.of(f"{path}.weight", outputs, width)
        added = None
        if bias is not False:
            name = f"{path}.bias"
            added = self.vector(name, outputs) if bias is True else self.constant(name, bias)
        if len(shape) == 2 and added is not None:
            matrix = self.constant(f"{path}.weight", weight)
            settings: dict[str, Any] = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 1}
            return self.node(f"{path}/Gemm", [x, matrix, added], (shape[0], outputs), **settings)
        product = self.node(f"{path}/MatMul", [x, self.constant(f"{path}.weight", weight.T)], (*shape[:-1], outputs))
        return product if added is None else self.node(f"{path}/Add", [product, added], (*shape[:-1], outputs))

    def norm(self, path: str, x: ir.Value, width: int) -> ir.Value:
        """Layer normalization over the last axis."""
        weights = [self.vector(f"{path}.{part}", width) for part in ("weight", "bias")]
        settings: dict[str, Any] = {"axis": -1, "epsilon": self._epsilon, "stash_type": 1}
        return self.node(f"{path}/LayerNormalization", [x, *weights], dims(x), **settings)

    def activation(self, kind: str, path: str, x: ir.Value) -> ir.Value:
        """An activation by the name that `encoders.ACTIVATIONS` gives it, or `tanh`."""
        name = ACTIVATIONS.get(kind, kind)
        if name in {"gelu", "tanh gelu"}:
            approximate = "none" if name == "gelu" else "tanh"
            return self.node(f"{path}/Gelu", [x], dims(x), approximate=approximate)
        return self.node(f"{path}/{ {'relu': 'Relu', 'tanh': 'Tanh'}[name] }", [x], dims(x))


def dims(value: ir.Value) -> Shape:
    """The shape of a value."""
    assert value.shape is not None
    return tuple(dim if isinstance(dim, int) else str(dim.value) for dim in value.shape)


def width_of(value: ir.Value) -> int:
    """The last dimension of a value, which is known."""
    width = dims(value)[-1]
    assert isinstance(width, int)
    return width
