"""transformers' ONNX exporter, which drops what nothing reads before torch rewrites the graph, and not only after."""

import contextlib
from collections.abc import MutableMapping
from typing import Any

from torch import ops
from torch.fx import Graph
from transformers import PreTrainedModel
from transformers.exporters.exporter_dynamo import DynamoExporter
from transformers.exporters.exporter_onnx import OnnxExporter


class _ReadNodesExporter(DynamoExporter):
    """What torch traced, without nodes that nothing reads: they stand between the two halves of `OnnxExporter`."""

    def export_program(self, model: PreTrainedModel, sample_inputs: MutableMapping[str, Any], config: Any) -> Any:
        program, metadata = super().export_program(model, sample_inputs, config)
        drop_unread(program.graph_module.graph)
        program.graph_module.recompile()
        return program, metadata


class Exporter(OnnxExporter, _ReadNodesExporter):
    """A model to ONNX."""


def drop_unread(graph: Graph) -> None:
    """Drop what does nothing to the outputs of a model in evaluation mode; in place.

    torch keeps notes of types, and whatever may draw random numbers, such as attention, with all that these read. Of
    an encoder's export that is the whole decoder.
    """
    for node in graph.nodes:
        if str(node.target) == "aten._assert_tensor_metadata.default":
            graph.erase_node(node)
        elif node.target is ops.aten.dropout.default and node.args[2:] == (False,):
            if graph.output_node() in node.users:  # the program knows its outputs by their names
                continue
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    with contextlib.suppress(SystemError, KeyError):  # which torch raises at times, as transformers found
        graph.eliminate_dead_code(lambda node: node.is_impure(impure_random=False))
