import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest


class Graph:
    """A graph by hand. A node is named `<path>/<operator>`, with `_2` and so on as the exporter does."""

    def __init__(self):
        self.inputs, self.nodes, self.weights = [], [], []

    def input(self, name, shape, dtype=ir.DataType.FLOAT):
        self.inputs.append(ir.val(name, dtype, shape))
        return self.inputs[-1]

    def weight(self, name, array):
        tensor = ir.tensor(np.asarray(array), name=name)
        self.weights.append(ir.val(name, tensor.dtype, tensor.shape, const_value=tensor))
        return self.weights[-1]

    def node(self, name, *inputs, num_outputs=1, **attributes):
        operator = name.rpartition("/")[2].partition("_")[0]
        node = ir.node(operator, inputs, attributes, num_outputs=num_outputs, name=name)
        self.nodes.append(node)
        for index, value in enumerate(node.outputs):
            value.name = name if index == 0 else f"{name}:{index}"
        return node.outputs[0] if num_outputs == 1 else node.outputs

    def model(self, **outputs):
        """The model; `outputs` are name=(value, shape)."""
        for name, (value, shape) in outputs.items():
            value.name, value.type, value.shape = name, ir.TensorType(ir.DataType.FLOAT), ir.Shape(shape)
        values = [value for value, _ in outputs.values()]
        opsets = {"": 23}
        graph = ir.Graph(
            self.inputs, values, nodes=self.nodes, initializers=self.weights, opset_imports=opsets, name="test"
        )
        return ir.Model(graph, ir_version=11)


@pytest.fixture
def graph():
    return Graph()


@pytest.fixture(scope="session")
def run():
    """A function that runs a model in ONNX Runtime: inputs by name, to the list of outputs."""

    def run_model(model, **inputs):
        session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
        return session.run(None, inputs)

    return run_model
