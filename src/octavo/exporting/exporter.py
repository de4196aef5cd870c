"""A torch model to one clean ONNX graph, through `transformers.exporters`.

"Clean": standard operators, dynamic batch and length, no metadata, and names that say where a node comes from. A node
is called `<module path>/<operator>` (with `_2`, `_3` where one module has several), its output carries the node's name,
and a weight is `<module path>.weight`. Nothing of the machine is in it, so the same model gives the same graph.
"""

import ast
import contextlib
import gc
import io
import logging
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

import onnx_ir as ir
from onnx_ir.passes import common as passes

from octavo.errors import ExportError, OctavoWarning
from octavo.exporting.opsets import OpsetError
from octavo.graph.layers import find_layers

_SCOPES = "pkg.torch.onnx.name_scopes"


def export_graph(model: Any, sample: dict[str, Any], outputs: tuple[str, ...], opset: int) -> ir.Model:
    """Export a torch model.

    Args:
        model: a transformers model in evaluation mode, float32.
        sample: input name -> int64 tensor [batch, length]; at least 2 x 3, and with a padded row, or the exporter
            takes the dimension or the mask for a constant.
        outputs: the names that the graph's outputs must have.
        opset: the ONNX operator set, one of `opsets.OPSETS`.

    Warns of outputs that are left out.

    Raises:
        ExportError: the exporter fails, or does not give these outputs.
    """
    exported = run_exporter(model, dict(sample), opset)
    values = {str(value.name): value for value in exported.graph.outputs}
    if not set(outputs) <= values.keys():
        raise ExportError("the exported graph has other outputs", got=", ".join(values), allowed=", ".join(outputs))
    if extra := [name for name in values if name not in outputs]:  # an encoder's states, memories: the task reads none
        what = f"outputs that the task does not need are left out of the graph: {', '.join(extra)}"
        warnings.warn(what, OctavoWarning, stacklevel=2)
    exported.graph.outputs[:] = [values[name] for name in outputs]
    return tidy(exported, opset)


def run_exporter(model: Any, sample: dict[str, Any], opset: int) -> ir.Model:
    """The graph that transformers' exporter makes of a model and a sample, with every dimension of tensors dynamic.

    Of what else is in the sample, a cache and the states of an encoder, rows and length are.

    Raises:
        ExportError: torch cannot trace the model.
        OpsetError: what torch traced cannot be written in this opset.
    """
    from torch import Tensor
    from torch.onnx import OnnxExporterError
    from transformers.exporters.exporter_dynamo import get_auto_dynamic_shapes, register_cache_pytrees_for_model
    from transformers.exporters.exporter_onnx import OnnxConfig

    from octavo.exporting.unread_nodes import Exporter

    register_cache_pytrees_for_model(model)
    shapes = get_auto_dynamic_shapes({name: value for name, value in sample.items() if name != "use_cache"})
    shapes = {name: spec if isinstance(sample[name], Tensor) else _fixed_width(spec) for name, spec in shapes.items()}
    config = OnnxConfig(dynamic=True, dynamic_shapes=shapes, opset_version=opset)
    with _quiet(), _uncollected(), _without_stacks():
        try:
            exported: ir.Model = Exporter().export(model, sample, config).program
        except Exception as error:  # the exporter raises whatever torch, onnxscript or the model's code raise
            reason = str(_first_cause(error)).strip().partition("\n")[0] or type(error).__name__
            kind = OpsetError if isinstance(error, OnnxExporterError) else ExportError
            raise kind("this architecture cannot be exported", got=f"{type(model).__name__}: {reason}") from None
    return exported


def _fixed_width(spec: Any) -> Any:
    """Axes that vary of [rows, length, width] or [rows, heads, length, width], nested in lists: rows and length.

    torch writes ONNX's `Attention` (opset 23) only where it knows that keys have as many heads as queries.
    """
    if isinstance(spec, list | tuple):
        return type(spec)(map(_fixed_width, spec))
    return spec and {axis: size for axis, size in spec.items() if axis in (0, len(spec) - 2)}


def _first_cause(error: BaseException) -> BaseException:
    """What an error comes from: torch's exporter wraps it in advice on what to report."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def tidy(model: ir.Model, opset: int) -> ir.Model:
    """Name every node and value by its module path, drop the metadata, keep standard operators only; in place."""
    passes.InlinePass()(model)
    passes.RemoveUnusedFunctionsPass()(model)  # type: ignore[no-untyped-call]
    passes.RemoveUnusedNodesPass()(model)
    passes.RemoveUnusedOpsetsPass()(model)
    graph = model.graph
    seen: Counter[str] = Counter()
    for node in graph:
        scope = _module_path(node.metadata_props.get(_SCOPES))
        stem = f"{scope}/{node.op_type}"
        seen[stem] += 1
        node.name = stem if seen[stem] == 1 else f"{stem}_{seen[stem]}"
        for index, value in enumerate(node.outputs):
            if not value.is_graph_output():
                value.name = node.name if index == 0 else f"{node.name}:{index}"
    for value in (*graph.inputs, *graph.outputs):
        _name_dimensions(value)
    for layer in find_layers(model):
        name = f"{layer.path}.weight"
        if name not in graph.initializers:
            layer.weight.name = name
    for value in (*graph.inputs, *graph.initializers.values(), *(out for node in graph for out in node.outputs)):
        value.metadata_props.clear()
        value.doc_string = None
    passes.ClearMetadataAndDocStringPass()(model)
    model.producer_name, model.producer_version, model.doc_string = "octavo", None, None
    graph.name = "octavo"
    model.opset_imports[""] = opset
    return model


def _module_path(scopes: str | None) -> str:
    """The module that a node belongs to: scopes are nested, outermost first, and end with the FX node's own name."""
    names = [name for name in ast.literal_eval(scopes)[:-1] if name] if scopes else []
    return str(names[-1]) if names and not names[-1].startswith("_empty_nn_module_stack") else ""


def _name_dimensions(value: ir.Value) -> None:
    """Call the dynamic dimensions of inputs and outputs `batch` and `length`, whatever torch called its symbols."""
    names = ("batch", "length", *(f"dim_{axis}" for axis in range(2, len(value.shape or ()))))
    if value.shape is not None:
        dimensions = zip(value.shape, names, strict=False)
        value.shape = ir.Shape([dim if isinstance(dim, int) else name for dim, name in dimensions])


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Keep Python's cycle collector still: it walks through all that torch has traced so far, again and again.

    A fifth of the time of an export; what it would free is small objects, no weights.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@contextlib.contextmanager
def _without_stacks() -> Iterator[None]:
    """Let torch not note where in Python each node comes from: a twentieth of the time, and `tidy` drops it."""
    from torch.fx import config

    was, config.do_not_emit_stack_traces = getattr(config, "do_not_emit_stack_traces", False), True
    try:
        yield
    finally:
        config.do_not_emit_stack_traces = was


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter from printing: torch.onnx writes to stdout, and its warnings are not for users."""
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
