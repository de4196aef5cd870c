"""The format `onnx`: what a method makes of float graphs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octavo.artifact.contents import Contents
from octavo.engines import Session
from octavo.errors import RecipeError
from octavo.exporting.float_graphs import FloatGraphs
from octavo.hardware import this_cpu
from octavo.methods import Context, MethodResult, find_method
from octavo.pipeline.calibration import sentence_batches
from octavo.schema.layers import LayerResult
from octavo.schema.recipe import Recipe, kept_as, rules_for
from octavo.tasks import find_task

if TYPE_CHECKING:
    import onnx_ir as ir

ONE_FILE = 1_500_000_000  # bytes of weights above which they stand beside the graph: protobuf ends at 2 GiB


def quantize_graphs(floats: FloatGraphs, recipe: Recipe, context: Context) -> Contents:
    """Let the method rewrite the float graphs of all components; these are left as they are."""
    context.progress.start(f"quantizing: {recipe.method}")
    apply, source, original = find_method(recipe.method), floats.source, floats.original
    if recipe.own_sentences:
        if len(floats.graphs) > 1:
            raise RecipeError("an encoder with a decoder is not calibrated", got="own_sentences")
        own = sentence_batches(source.tokenizer.json, source.signature, odd=recipe.method == "static")
        context = replace(context, calibration=(*context.calibration, *own))
    results = {name: apply(graph, part, context) for (name, graph), part in _parts(floats.graphs, recipe)}
    runnable = {name: _runnable(result) for name, result in results.items()}
    if context.ranges is not None:
        from octavo.qat.proof import require_agreement

        context.progress.start("comparing with the trained model")
        require_agreement(floats.model, runnable["model"], context.ranges)
    layers = [
        layer
        for name, result in results.items()
        for layer in _measured(replace(result, model=runnable[name]), floats, name, context)
    ]

    results = {name: replace(result, reference=None) for name, result in results.items()}  # smoothed float weights
    for result in results.values():
        _finish(result.model, recipe, context)  # no layer is found by its values any more

    def write(folder: Path) -> dict[str, Any]:
        for name, result in results.items():
            save_graph(result.model, folder / f"{name}.onnx")
        return {}

    def answers(folder: Path) -> Session:
        files = {name: folder / f"{name}.onnx" for name in results}
        return _open_graphs(files, results, runnable, writes=find_task(source.signature).writes)

    return Contents(
        layers=tuple(layers),
        exact_u8s8=any(result.exact_u8s8 for result in results.values()),
        write=write,
        answers=answers,
        reference=original.session,
        components={name: f"{name}.onnx" for name in results},
        export=floats.record,
        passes=floats.passes,
        overflow=next(iter(results.values())).overflow,
    )


def _open_graphs(
    files: dict[str, Path], results: dict[str, MethodResult], runnable: dict[str, ir.Model], *, writes: bool
) -> Session:
    """What was written, which has to run in any case; where this CPU computes it wrongly, what it means elsewhere."""
    from octavo.engines.onnxruntime import open_graph, open_session
    from octavo.engines.onnxruntime_writer import OnnxWriter, open_writer

    written: Session = open_writer(files) if writes else open_session(files["model"])
    if all(runnable[name] is result.model for name, result in results.items()):
        return written
    opened = {name: open_graph(graph) for name, graph in runnable.items()}
    return OnnxWriter(opened.get("decoder") or opened["model"], opened.get("encoder")) if writes else opened["model"]


def _parts(graphs: dict[str, ir.Model], recipe: Recipe) -> list[tuple[tuple[str, ir.Model], Recipe]]:
    """Each component with the recipe for it: rules for layers that it has.

    Raises:
        RecipeError: a rule matches no layer of any component.
    """
    if len(graphs) == 1:
        return [(named, recipe) for named in graphs.items()]
    from octavo.graph.layers import find_layers

    paths = {name: [layer.path for layer in find_layers(graph)] for name, graph in graphs.items()}
    kept_as(recipe, [path for group in paths.values() for path in group])
    return [
        ((name, graph), recipe.model_copy(update={"layers": rules_for(recipe, paths[name])}))
        for name, graph in graphs.items()
    ]


def _finish(model: ir.Model, recipe: Recipe, context: Context) -> None:
    """Write the same numbers in the way that ONNX Runtime computes fastest; in place."""
    from octavo.graph.flat_rows import keep_rows_flat
    from octavo.graph.lowering import keep_gelu_apart

    if recipe.method != "float" and context.target.name == "avx512_vnni":  # where it was measured to pay
        keep_gelu_apart(model)
    if recipe.by_token or (recipe.method == "dynamic" and recipe.granularity == "token"):
        keep_rows_flat(model)


def _runnable(result: MethodResult) -> ir.Model:
    """The model, or one that computes here what it will compute on the CPU that it is made for."""
    if not (result.exact_u8s8 and this_cpu().saturates):
        return result.model
    from octavo.graph.lowering import with_exact_products

    return with_exact_products(result.model)


def save_graph(model: ir.Model, path: Path) -> None:
    """Write a graph; weights of more than 1.5 GB stand in a file beside it."""
    import onnx_ir as ir

    weights = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)
    ir.save(model, path, external_data=f"{path.name}.data" if weights > ONE_FILE else None)


def _measured(result: MethodResult, floats: FloatGraphs, name: str, context: Context) -> tuple[LayerResult, ...]:
    """The layers with the error of each one's output: on the calibration examples, else on Octavo's own sentences."""
    several = len(floats.graphs) > 1  # a decoder alone reads what an encoder makes
    if several or all(layer.dtype.startswith("float") for layer in result.layers):
        return result.layers
    from octavo.methods.layer_errors import layer_errors

    if not context.calibration:
        source = floats.source
        context = replace(context, calibration=sentence_batches(source.tokenizer.json, source.signature))
    errors = layer_errors(result.reference or floats.graphs[name], result.model, context)
    return tuple(replace(layer, output_db=errors.get(layer.path)) for layer in result.layers)
