"""Models that write to graphs with a key/value cache: `exporter.py` with other samples, and names for the cache.

One graph reads a prompt (with a cache of no tokens) and each next token, so weights are stored once. Its cache goes in
as `past_key_values.<layer>.key` and `.value`, [batch, heads, past, width], and comes out as `present.<layer>....`.
Of an encoder with a decoder two graphs are made. The decoder's cross attention reads keys and values that depend on the
encoder alone: the encoder's graph makes them, so they are computed once for each text, and the decoder takes them in.
"""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from octavo.engines.cache import name_in_torch
from octavo.errors import ExportError
from octavo.exporting.exporter import run_exporter, tidy
from octavo.graph.layers import constant, find_layers

LEAF = re.compile(  # an input or output of the cache, as the exporter names it: whose cache, layer, side
    r"(?:input\.|output\.)?(?:cache|past_key_values)\.(?:(self|cross)_attention_cache\.)?layers\.(\d+)\.(key|value)s"
)
_SIDES = {"self": "decoder.", "cross": "encoder.", None: ""}
_UNREAD = {"decoder_input_ids", "encoder_outputs.last_hidden_state"}  # inputs that the finished graph may not read
ROWS, READ, NEW = 2, 4, 3  # of a sample; with one new token the exporter would fix the growth of the cache at one


def export_decoder(model: Any, opset: int) -> ir.Model:
    """A decoder: input_ids, attention_mask over past and new tokens, position_ids and cache to logits and cache.

    `logits_to_keep` [1] says of how many of the last tokens there are logits.

    Raises:
        ExportError: the exporter fails, or gives another interface.
    """
    import torch

    cache = name_in_torch(model)
    ids, mask = _sample_batch(model, READ + NEW)
    mask[1, :2] = 0  # without a padded row the exporter drops the mask
    with torch.no_grad():
        outputs = model(ids[:, :READ], attention_mask=mask[:, :READ], use_cache=True)
    if (kept := getattr(outputs, cache, None)) is None:
        got, then = type(model).__name__, "take a checkpoint of another architecture"
        raise ExportError("models that keep nothing of the text before are not made", got=got, then=then)
    sample = {
        "input_ids": ids[:, READ:],
        "attention_mask": mask,
        "position_ids": (mask.cumsum(-1) - 1)[:, READ:],
        cache: kept,
        "use_cache": True,
    }
    exported = run_exporter(model, sample, opset)
    return _finish(exported, opset, lambda name: name == "logits" or name.startswith("present."))


def _sample_batch(model: Any, length: int) -> tuple[Any, Any]:
    """Ids [rows, length] of a sample, and a mask without padding."""
    import torch

    ids = torch.arange(ROWS * length).reshape(ROWS, length) % model.config.vocab_size
    return ids, torch.ones_like(ids)


def export_encoder(model: Any, opset: int) -> ir.Model:
    """An encoder: input_ids and attention_mask to the keys and values that each layer of the decoder reads.

    The whole model is traced, for one step of its decoder, of which torch drops what these do not depend on.
    """
    cache, whole = name_in_torch(model), model.forward

    def forward(input_ids: Any, attention_mask: Any) -> Any:
        start = input_ids.new_zeros((input_ids.shape[0], 1))
        made = whole(input_ids=input_ids, attention_mask=attention_mask, decoder_input_ids=start, use_cache=True)
        caches = made[cache]
        return {cache: type(caches)(type(caches.self_attention_cache)(), caches.cross_attention_cache)}

    model.forward = forward
    ids, mask = _sample_batch(model, READ + 1)
    mask[1, 3:] = 0
    exported = run_exporter(model, {"input_ids": ids, "attention_mask": mask}, opset)
    return _finish(exported, opset, lambda name: ".encoder." in name)


def export_answering_decoder(model: Any, opset: int) -> ir.Model:
    """A decoder behind an encoder: input_ids, encoder_attention_mask and both caches to logits and its own cache."""
    import torch

    cache = name_in_torch(model)
    ids, mask = _sample_batch(model, READ + 1)
    mask[1, 3:] = 0
    start = _sample_batch(model, READ)[1]
    try:
        with torch.no_grad():
            outputs = model(ids, attention_mask=mask, decoder_input_ids=start, use_cache=True)
            states = model.get_encoder()(ids[:1, :2])
    except ValueError as error:  # the encoder of Switch Transformers asks for a cache that it may not have
        got = f"{type(model).__name__}: {' '.join(str(error).split())[:80]}"
        raise ExportError("the encoder does not run alone", got=got) from None
    sample = {
        "decoder_input_ids": start[:, :NEW],
        "attention_mask": mask,
        "encoder_outputs": type(states)(last_hidden_state=outputs.encoder_last_hidden_state),
        cache: getattr(outputs, cache),
        "use_cache": True,
    }
    exported = run_exporter(model, sample, opset)
    renamed = {"decoder_input_ids": "input_ids", "attention_mask": "encoder_attention_mask"}
    for value in exported.graph.inputs:
        value.name = renamed.get(str(value.name), value.name)
    return _finish(exported, opset, lambda name: name == "logits" or ".decoder." in name)


def _finish(exported: ir.Model, opset: int, wanted: Callable[[str], bool]) -> ir.Model:
    """Name the cache, keep the wanted outputs and the inputs that these read, and tidy up."""
    graph = exported.graph
    for value in graph.inputs:  # sizes that the exporter found out are names there, such as "4"
        if value.shape is not None:
            value.shape = ir.Shape([int(str(dim)) if str(dim).isdigit() else dim for dim in value.shape])
    for stem, values in (("past_key_values", graph.inputs), ("present", graph.outputs)):
        for value in values:
            if match := LEAF.fullmatch(str(value.name)):
                value.name = f"{stem}.{match[2]}.{_SIDES[match[1]]}{match[3]}"
    kept = [value for value in graph.outputs if wanted(str(value.name))]
    if not any(str(value.name).startswith("present.") for value in kept):
        names = ", ".join(str(value.name) for value in graph.outputs)
        raise ExportError("the exported graph has no cache", got=names[:200])
    graph.outputs[:] = kept
    tidied = tidy(exported, opset)
    passes.RemoveUnusedNodesPass()(tidied)
    graph = tidied.graph
    for value in [value for value in graph.inputs if value.name in _UNREAD]:
        _count_rows_elsewhere(value, graph.inputs[0])
    for value in [value for value in graph.inputs if not value.uses() and not value.is_graph_output()]:
        graph.inputs.remove(value)
    _keep_last_logits(tidied)
    for value in (*graph.inputs, *graph.outputs):
        _name_dimensions(value)
    return tidied


def _keep_last_logits(model: ir.Model) -> None:
    """Let the head read only so many of the last tokens as the input `logits_to_keep` says; in place.

    Of a prompt the last one counts, and a head with its large vocabulary can be a third of the work.
    """
    heads = [layer for layer in find_layers(model) if layer.kind == "linear" and layer.part == "head"]
    read = heads[-1].nodes[0].inputs[0] if heads else None
    if read is None or read.shape is None or len(read.shape) != 3:
        return
    node, count = heads[-1].nodes[0], ir.val("logits_to_keep", ir.DataType.INT64, [1])
    begin = ir.node("Neg", [count], name=f"{heads[-1].path}/Neg")
    ends = [constant(model, "to_the_end", np.array([2**62], np.int64)), constant(model, "axis_1", np.array([1]))]
    last = ir.node("Slice", [read, begin.outputs[0], *ends], name=f"{heads[-1].path}/Slice")
    begin.outputs[0].name, last.outputs[0].name = begin.name, last.name
    last.outputs[0].type = read.type
    last.outputs[0].shape = ir.Shape([read.shape[0], "kept", read.shape[2]])  # fewer tokens than other values have
    model.graph.inputs.append(count)
    model.graph.insert_before(node, [begin, last])
    node.replace_input_with(0, last.outputs[0])


def _count_rows_elsewhere(value: ir.Value, other: ir.Value) -> None:
    """Take the number of rows from another input: nothing else may be read of an input that is to be removed.

    Raises:
        ExportError: more of it is read.
    """
    for node, position in list(value.uses()):
        ends = node.attributes.get_int("start", 0), node.attributes.get_int("end", -1)
        if node.op_type != "Shape" or ends != (0, 1):
            raise ExportError("an encoder and its decoder cannot be told apart", got=f"{node.name} reads {value.name}")
        node.replace_input_with(position, other)


def _name_dimensions(value: ir.Value) -> None:
    name, shape = str(value.name), value.shape
    if shape is None:
        return
    cached = name.startswith(("past_key_values.", "present."))
    length = "length"
    if ".encoder." in name or name == "encoder_attention_mask":
        length = "read"
    elif cached:
        length = "past" if name.startswith("past") else "total"
    elif name == "attention_mask" and any(str(port.name).startswith("past") for port in value.graph.inputs):  # type: ignore[union-attr]
        length = "total"
    names = ["batch", "heads", length, "width"] if cached else ["batch", length, "vocabulary"]
    value.shape = ir.Shape([dim if isinstance(dim, int) else name for dim, name in zip(shape, names, strict=False)])
