"""A quantized model that is to be written, by format: graphs, or a torch model with int8 layers. `build` writes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octavo.calibration import sentence_batches
from octavo.engines import Session
from octavo.errors import RecipeError
from octavo.exporting import export_checked
from octavo.hardware import this_cpu
from octavo.methods import Applied, Given, LayerOutcome, Overflow, find_method
from octavo.progress import Progress
from octavo.recipe import Recipe, kept_as, rules_for
from octavo.signature import Signature
from octavo.source import AUTO_CLASSES, Source

if TYPE_CHECKING:
    import onnx_ir as ir

    from octavo.methods.torch_layers import Modules

ONE_FILE = 1_500_000_000  # bytes of weights above which they stand beside the graph: protobuf ends at 2 GiB


@dataclass(frozen=True)
class Made:
    """A quantized model that is to be written.

    `write` puts its files into a folder and returns what `config.json` has to say of them; `answers` opens what was
    written there, as it answers on the CPU that it is for; `components` are these files by what they are; `reference`
    is the float model, where there is one.
    """

    layers: tuple[LayerOutcome, ...]
    exact_u8s8: bool
    write: Callable[[Path], dict[str, Any]]
    answers: Callable[[Path], Session]
    components: dict[str, str]
    reference: Any = None
    export: dict[str, Any] | None = None
    passes: Sequence[dict[str, Any]] = ()
    overflow: Overflow | None = None


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
    from octavo.engines.writing import OnnxWriter, open_writer

    written: Session = open_writer(files) if writes else open_session(files["model"])
    if all(runnable[name] is one.model for name, one in applied.items()):
        return written
    opened = {name: open_graph(graph) for name, graph in runnable.items()}
    return OnnxWriter(opened.get("decoder") or opened["model"], opened.get("encoder")) if writes else opened["model"]


def make_modules(source: Source, model: Any, recipe: Recipe, given: Given) -> Made:
    """The format `torch`: int8 modules in the place of Linear and Embedding."""
    from octavo.engines.torch_int8 import use_exact_products
    from octavo.methods.torch_layers import module_errors, quantize_modules

    given.progress.start(f"method {recipe.method}")
    made = quantize_modules(model, recipe, saturates=given.target.saturates)
    exact = made.exact_u8s8 and this_cpu().saturates  # made for another CPU: here its products would be wrong
    if exact:
        use_exact_products(made.model)
    given.progress.start("measuring layers")
    batches = sentence_batches(source.tokenizer.json, source.signature)
    layers = module_errors(model, made.model, made.layers, batches)
    return _saved_modules(source, replace(made, layers=layers), exact=exact, reference=model)


def make_rescued(source: Source, recipe: Recipe) -> Made:
    """The format `torch`, from the state of a model that PyTorch quantized: its float weights are gone.

    Raises:
        RecipeError: it is to be quantized otherwise than it was.
    """
    from octavo.engines.torch_int8 import as_float
    from octavo.methods.rescue import rescue_modules

    if recipe != Recipe(method="dynamic", format="torch"):
        raise RecipeError(
            "a model that is quantized already keeps what it has",
            where=source.folder,
            got=", ".join(f"{name} {value}" for name, value in recipe.model_dump(exclude_defaults=True).items()),
            allowed="--format torch --method dynamic, without other settings",
        )
    made = rescue_modules(source)
    return _saved_modules(source, made, exact=False, reference=as_float(made.model))


def _saved_modules(source: Source, made: Modules, *, exact: bool, reference: Any = None) -> Made:
    from octavo.engines.torch import TorchSession
    from octavo.engines.torch_int8 import use_exact_products
    from octavo.engines.torch_saved import WEIGHTS, load_saved, quantization_config, save_model

    def write(folder: Path) -> dict[str, Any]:
        save_model(made.model, folder, AUTO_CLASSES[source.signature.task])
        return {"quantization_config": quantization_config(made.model), "dtype": "float32"}

    def answers(folder: Path) -> Session:
        written = load_saved(folder / WEIGHTS)
        if exact:
            use_exact_products(written)
        return TorchSession(written)

    return Made(made.layers, made.exact_u8s8, write, answers, {"model": WEIGHTS}, reference)


def export_graphs(
    model: Any, signature: Signature, recipe: Recipe, say: Progress
) -> tuple[dict[str, ir.Model], dict[str, Any], list[dict[str, Any]]]:
    """The float graphs by component, the export record, and what the passes did."""
    if signature.generation is None:
        graph, exported, passes = export_checked(model, signature, recipe, say)
        return {"model": graph}, exported, passes
    from octavo.exporting_writers import export_writer

    return export_writer(model, signature, recipe, say)


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
    from octavo.graph.lower import with_exact_products

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
