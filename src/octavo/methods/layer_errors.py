"""What int8 costs each layer: its output in the quantized graph against that in the float one, on the same texts.

The errors of earlier layers are included, as they are when the model runs.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from octavo.arithmetic.affine import error_db
from octavo.encoding.batching import Inputs
from octavo.graph.layers import find_bias, find_layers
from octavo.graph.scaling import find_groups, find_maker
from octavo.methods import Context
from octavo.methods.activations import observe

TOKENS, TEXTS = 256, 4  # at least, whose outputs are compared


def layer_errors(
    reference: ir.Model, model: ir.Model, context: Context, folded: Collection[str] = ()
) -> dict[str, float]:
    """The signal-to-noise ratio of each layer's output in decibels, 10 log10(sum f^2 / sum (f - q)^2), by module path.

    `reference` is the float graph, `model` what a method has made of it; values of the same name mean the same. The
    bias belongs to the output, since a method may correct it. Of a layer with several call sites the worst counts.
    Layers whose output is exact are left out. The outputs of `folded` layers are compared up to a factor per channel,
    that of least squares: a smoothing factor was folded into them (`folded_layers`). `context.calibration` are the
    texts: single rows, of which so many are read that there are 256 tokens, and four texts.
    """
    outputs = {layer.path: [_output_name(node) for node in layer.nodes] for layer in find_layers(reference)}
    context = replace(context, calibration=single_rows(context.calibration))
    names = [name for sites in outputs.values() for name in sites]
    expected, actual = (_seen(graph, names, context, title) for graph, title in ((reference, "float"), (model, "int8")))
    for name in (name for path in folded for name in outputs[path]):
        squares = np.sum(np.square(actual[name]), axis=0)
        actual[name] = actual[name] * (np.sum(expected[name] * actual[name], axis=0) / np.maximum(squares, 1e-30))
    errors = {name: error_db(expected[name], actual[name]) for name in names}
    worst = {path: min(errors[name] for name in sites) for path, sites in outputs.items()}
    return {path: round(error, 2) for path, error in worst.items() if np.isfinite(error)}


def folded_layers(reference: ir.Model, smoothed: Collection[str]) -> list[str]:
    """The layers of a float graph into which the smoothing factor of a layer among `smoothed` was folded."""
    layers = find_layers(reference)
    groups = find_groups([layer for layer in layers if layer.kind == "linear"])
    makers = [find_maker(group) for group in groups if any(layer.path in smoothed for layer in group.layers)]
    nodes = {id(node) for maker in makers if maker for node, _ in maker}
    return [layer.path for layer in layers if any(id(node) in nodes for node in layer.nodes)]


def _output_name(node: ir.Node) -> str:
    bias = find_bias(node)
    return str((bias[0] if bias else node).outputs[0].name)


def _seen(model: ir.Model, names: Sequence[str], context: Context, title: str) -> dict[str, NDArray[np.float32]]:
    rows: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    observe(model, names, context, lambda name, array: rows[name].append(array), f"measuring layers: {title}")
    return {name: np.concatenate(parts) for name, parts in rows.items()}


def single_rows(batches: Sequence[Inputs]) -> tuple[Inputs, ...]:
    """Rows without their padding, drawn from all of the batches, until there are enough tokens, and texts."""
    places = [(batch, row) for batch in batches for row in range(len(batch["attention_mask"]))]
    chosen: list[Inputs] = []
    tokens = 0
    for index in np.random.default_rng(0).permutation(len(places)).tolist():
        if tokens >= TOKENS and len(chosen) >= TEXTS:
            break
        batch, row = places[index]
        real = batch["attention_mask"][row] != 0
        chosen.append({name: array[row : row + 1, real] for name, array in batch.items()})
        tokens += int(real.sum())
    return tuple(chosen)
