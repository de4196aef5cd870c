"""Runs the float graph over the user's examples and shows what its layers read: the real tokens, and nothing else.

Pad positions are left out, so that neither the padding nor the mask's huge negative number is ever seen. Values are
handed on at once and not kept: memory is that of one batch at most, whatever the number of examples.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from octavo.arithmetic.observers import Channels, Histogram, Range
from octavo.engines.onnxruntime import open_graph
from octavo.graph.layers import Layer
from octavo.methods import Context

SEEN = 512 << 20  # bytes of values that a run hands on, where a row alone does not have more
KEPT_ROWS = 512  # of each input, to try ranges and smoothing factors on
See = Callable[[str, NDArray[np.float32]], None]


def observe(model: ir.Model, names: Sequence[str], context: Context, see: See, title: str) -> None:
    """Run the batches and show the values of these names: `see(name, rows)`, rows float32 [real tokens, width].

    A value that is no graph output becomes one in a copy of the graph.
    """
    if not names:  # of which a session would give all
        return
    watched = model.clone(deep_copy=False)
    values = {str(value.name): value for node in watched.graph for value in node.outputs}
    for name in names:
        value = values[name]
        value.type = value.type or ir.TensorType(ir.DataType.FLOAT)
        if not value.is_graph_output():
            watched.graph.outputs.append(value)
    session = open_graph(watched)
    context.progress.start(title, len(context.calibration))
    bytes_of_token = sum(4 * width for name in names if isinstance(width := (values[name].shape or [0])[-1], int))
    for batch in context.calibration:
        count, length = batch["attention_mask"].shape
        rows = max(1, SEEN // max(1, length * bytes_of_token))
        for part in (slice(first, first + rows) for first in range(0, count, rows)):
            inputs = {name: array[part] for name, array in batch.items()}
            for name, array in zip(names, session.fetch(inputs, names), strict=True):
                see(name, real_rows(array, inputs["attention_mask"]))
        context.progress.advance()


def real_rows(array: NDArray[np.float32], mask: NDArray[np.int64]) -> NDArray[np.float32]:
    """The rows [n, width] of an array [batch, length, width], or [batch * length, width], that belong to real tokens.

    An array with other leading axes, as behind a head that reads the first token alone, has no padding in it.
    """
    rows = array.reshape(-1, array.shape[-1])
    real = rows[mask.ravel() != 0] if len(rows) == mask.size else rows
    return np.asarray(real, np.float32)


def see_channels(
    model: ir.Model, layers: Sequence[Layer], context: Context, *, moments: Collection[str] | None = None
) -> dict[str, Channels]:
    """The extremes and a sample of rows of each value that the layers read, by its name; all or some covariances."""
    names = dict.fromkeys(name for layer in layers for name in layer.inputs)
    channels = {name: Channels(KEPT_ROWS, moments=moments is None or name in moments) for name in names}
    observe(model, list(channels), context, lambda name, rows: channels[name].update(rows), "calibrating: ranges")
    return channels


def see_covariances(model: ir.Model, names: Sequence[str], context: Context) -> dict[str, NDArray[np.float32]]:
    """Those of values, float32 [width, width]."""
    channels = {name: Channels(1) for name in names}
    observe(model, names, context, lambda name, rows: channels[name].update(rows), "calibrating: covariances")
    return {name: channels.pop(name).take_covariance() for name in names}


def see_histograms(model: ir.Model, extremes: Mapping[str, Range], context: Context) -> dict[str, Histogram]:
    """The histogram of each value between its known extremes."""
    histograms = {name: Histogram(*ends) for name, ends in extremes.items()}
    names = list(histograms)
    observe(model, names, context, lambda name, rows: histograms[name].update(rows), "calibrating: histograms")
    return histograms
