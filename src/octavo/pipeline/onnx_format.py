"""A quantized model that is to be written, by format: graphs, or a torch model with int8 layers. `build` writes it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octavo.checkpoint.source import Source
from octavo.engines import Session
from octavo.exporting.float_graphs import export_graphs
from octavo.hardware import this_cpu
from octavo.methods import Applied, Given, find_method
from octavo.pipeline.calibration import sentence_batches
from octavo.pipeline.contents import Made
from octavo.schema.layers import LayerOutcome
from octavo.schema.recipe import Recipe, kept_as, rules_for

if TYPE_CHECKING:
    import onnx_ir as ir

ONE_FILE = 1_500_000_000  # bytes of weights above which they stand beside the graph: protobuf ends at 2 GiB


def make_graph(source: Source, model: Any, recipe: Recipe, given: Given) -> Made:
    """The format `onnx`: export, and let the method rewrite the graphs of all components."""
    graphs, exported, passes = export_graphs(model, source.signature, recipe, given.progress)
    given.progress.start(f"method {recipe.method}")
    apply = find_method(recipe.method)
    applied = {name: apply(graph, part, given) for (name, graph), part in _parts(graphs, recipe)}
    runnable = {name: _runnable(one) for name, one in applied.items()}
    layers = [
        layer
        for name, one in applied.items()
        for layer in _measured(replace(one, model=runnable[name]), graphs[name], source, given)
    ]

    def write(folder: Path) -> dict[str, Any]:
        for name, one in applied.items():
            save_graph(one.model, folder / f"{name}.onnx")
        return {}

    def answers(folder: Path) -> Session:
        files = {name: folder / f"{name}.onnx" for name in applied}
        return _open_graphs(files, applied, runnable, writes=source.signature.generation is not None)

    return Made(
        layers=tuple(layers),
        exact_u8s8=any(one.exact_u8s8 for one in applied.values()),
        write=write,
        answers=answers,
        components={name: f"{name}.onnx" for name in applied},
        reference=model,
        export=exported,
        passes=passes,
        overflow=next(iter(applied.values())).overflow,
    )


def _open_graphs(
    files: dict[str, Path], applied: dict[str, Applied], runnable: dict[str, ir.Model], *, writes: bool
) -> Session:
    """What was written, which has to run in any case; where this CPU computes it wrongly, what it means elsewhere."""
    from octavo.engines.onnxruntime import open_graph, open_session
    from octavo.engines.onnxruntime_writer import OnnxWriter, open_writer

    written: Session = open_writer(files) if writes else open_session(files["model"])
    if all(runnable[name] is one.model for name, one in applied.items()):
        return written
    opened = {name: open_graph(graph) for name, graph in runnable.items()}
    return OnnxWriter(opened.get("decoder") or opened["model"], opened.get("encoder")) if writes else opened["model"]


def _parts(graphs: dict[str, ir.Model], recipe: Recipe) -> list[tuple[tuple[str, ir.Model], Recipe]]:
    """Each component with the recipe for it: rules for layers that it has.

    Raises:
        RecipeError: a rule matches no layer of any component.
    """
    if len(graphs) == 1:
        return [(one, recipe) for one in graphs.items()]
    from octavo.graph.layers import find_layers

    paths = {name: [layer.path for layer in find_layers(graph)] for name, graph in graphs.items()}
    kept_as(recipe, [path for found in paths.values() for path in found])
    return [
        ((name, graph), recipe.model_copy(update={"layers": rules_for(recipe, paths[name])}))
        for name, graph in graphs.items()
    ]


def _runnable(applied: Applied) -> ir.Model:
    """The model, or one that computes here what it will compute on the CPU that it is made for."""
    if not (applied.exact_u8s8 and this_cpu().saturates):
        return applied.model
    from octavo.graph.lowering import with_exact_products

    return with_exact_products(applied.model)


def save_graph(model: ir.Model, path: Path) -> None:
    """Write a graph; weights of more than 1.5 GB stand in a file beside it."""
    import onnx_ir as ir

    weights = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)
    ir.save(model, path, external_data=f"{path.name}.data" if weights > ONE_FILE else None)


def _measured(applied: Applied, graph: ir.Model, source: Source, given: Given) -> tuple[LayerOutcome, ...]:
    """The layers with the error of each one's output: on the calibration examples, else on Octavo's own sentences."""
    several = source.signature.task == "text2text-generation"  # a decoder alone reads what an encoder makes
    if several or all(layer.dtype.startswith("float") for layer in applied.layers):
        return applied.layers
    from octavo.methods.layer_errors import layer_errors

    if not given.calibration:
        given = replace(given, calibration=sentence_batches(source.tokenizer.json, source.signature))
    errors = layer_errors(applied.reference or graph, applied.model, given)
    return tuple(replace(layer, output_db=errors.get(layer.path)) for layer in applied.layers)
