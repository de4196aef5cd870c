"""What a written graph of a ColBERT model has besides its encoder's: which tokens are seen, and the projections."""

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir

from octavo.exporting.graph_writer import GraphWriter
from octavo.exporting.tensors import UnwrittenError, projection_path
from octavo.schema.signature import Signature

_BOOL, _INT = ir.DataType.BOOL, ir.DataType.INT64


def seen_tokens(
    write: GraphWriter, inputs: Mapping[str, ir.Value], signature: Signature, length: Callable[[], ir.Value]
) -> ir.Value:
    """Which tokens the others see, [batch, length]: those of the mask, but not what fills a query up behind them.

    `length` gives how many tokens a row has, [1].
    """
    ids, mask, how = inputs["input_ids"], inputs["attention_mask"], signature.token_vectors
    if how is None or how.unseen is None:
        return mask
    where, shape = "expansion", ("batch", "length")
    count = write.node(f"{where}/Squeeze", [length()], (), _INT)
    places = write.node(f"{where}/Range", [write.integer(0), count, write.integer(1)], ("length",), _INT)
    fills = write.node(f"{where}/Equal", [ids, write.integer(how.unseen)], shape, _BOOL)
    told = write.node(f"{where}/Where", [fills, write.integer(0), mask], shape, _INT)
    told = write.node(f"{where}/Mul", [told, places], shape, _INT)
    last = write.node(f"{where}/ReduceMax", [told, write.integers(1)], ("batch", 1), _INT, keepdims=1)
    return write.node(f"{where}/LessOrEqual", [places, last], shape, _BOOL)


def token_vectors(write: GraphWriter, signature: Signature, x: ir.Value) -> ir.Value:
    """The states themselves, or led through the projections and brought to length 1, as torch's `normalize` does it.

    Raises:
        UnwrittenError: a projection with an activation or a residual connection.
    """
    if (how := signature.token_vectors) is None:
        return x
    for step in how.steps:
        path = projection_path(step)
        if step.activation != "Identity" or step.residual:
            raise UnwrittenError(f"{path} with {step.activation} or a residual connection")
        outputs = write.tensors[f"{path}.weight"].shape[0]
        x = write.linear(path, x, outputs, bias=f"{path}.bias" in write.tensors)
    scalar, whole = ("batch", "length", 1), ("batch", "length", how.dimension)
    length = write.node("/ReduceL2", [x, write.integers(-1)], scalar, keepdims=1)
    length = write.node("/Max", [length, write.constant("tiny", np.array(1e-12, np.float32))], scalar)
    return write.node("/Div", [x, length], whole)
