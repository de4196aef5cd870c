"""A checkpoint and a recipe to an artifact: the one road that every method takes."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from octavo.artifact import Artifact, check_free, open_artifact, sha256_of, write_manifest, writing
from octavo.calibration import read_calibration, sentence_batches
from octavo.card import write_card
from octavo.config import require_torch
from octavo.data import DataFile
from octavo.engines import Session
from octavo.engines.pooled import pooled
from octavo.errors import ExportError, InputError, OctavoWarning, RecipeError
from octavo.exporting import export_checked
from octavo.hardware import find_target, this_cpu
from octavo.methods import Applied, Given, LayerOutcome, find_method
from octavo.progress import Progress, Silent
from octavo.recipe import Recipe, kept_as, recipe_from, rules_for
from octavo.selftest import SelfTest, record_self_test, self_test_inputs
from octavo.signature import Signature, lower_limit
from octavo.source import Checkpoint, Source, load_model, read_source
from octavo.tasks import find_task

if TYPE_CHECKING:
    import onnx_ir as ir

ONE_FILE = 1_500_000_000  # bytes of weights above which they stand beside the graph: protobuf ends at 2 GiB


def quantize(  # noqa: PLR0913 - each is one thing to say
    checkpoint: str | Path | Checkpoint,
    output: str | Path,
    *,
    recipe: Recipe | str | Path | None = None,
    calibration: str | Path | DataFile | None = None,
    target: str = "auto",
    force: bool = False,
    progress: Progress | None = None,
) -> Artifact:
    """Make an artifact of a checkpoint.

    Args:
        checkpoint: a Hugging Face folder or a hub id; a `Checkpoint` says what its files do not tell.
        output: the folder to write. An interrupted write leaves nothing there.
        recipe: a `Recipe`, the name of a method, or a TOML file (a path that ends in `.toml`); by default `static`
            where there are examples to calibrate on and `dynamic` where there are none.
        calibration: a file of examples that the method `static` learns ranges from; labels are not read.
        target: the CPU to make it for; `auto` is this one, `any` is safe on all.
        force: replace an artifact that is there.
        progress: hears of every step.

    Raises:
        OctavoError: see `octavo.errors` for the kinds.
    """
    say, output = progress or Silent(), Path(output).resolve()
    check_free(output, force=force)
    chosen, cpu = _as_recipe(recipe, calibrated=calibration is not None), find_target(target)
    say.start("reading the checkpoint")
    source = read_source(checkpoint)
    find_task(source.signature.task)
    require_torch()
    if source.tokenizer.differing is not None:
        tokenizer_folder = Path(source.asked.tokenizer or source.folder)
        warnings.warn(
            f"{tokenizer_folder}: tokenizer.json, which Octavo uses, splits {source.tokenizer.differing!r} otherwise "
            "than AutoTokenizer does; check do_lower_case and strip_accents in tokenizer_config.json",
            OctavoWarning,
            stacklevel=2,
        )
    examples = None
    if calibration is not None and source.signature.task == "text2text-generation":
        then = "leave the examples out, and take weight-only or dynamic"
        raise RecipeError("an encoder with a decoder is not calibrated", got=chosen.method, then=then)
    if calibration is not None:
        file = calibration if isinstance(calibration, DataFile) else DataFile(calibration)
        examples = read_calibration(file, source.tokenizer.json, lower_limit(source.signature, file.max_length))
    model = load_model(source)
    graphs, exported, passes = _export(model, source.signature, chosen, say)
    say.start(f"method {chosen.method}")
    given = Given(cpu, examples.batches if examples else (), say)
    apply = find_method(chosen.method)
    applied = {name: apply(graph, part, given) for (name, graph), part in _parts(graphs, chosen)}
    runnable = {name: _runnable(one) for name, one in applied.items()}
    layers = [
        layer
        for name, one in applied.items()
        for layer in _measured(replace(one, model=runnable[name]), graphs[name], source, given)
    ]
    say.start("writing the artifact")
    with writing(output, force=force) as aside:
        for name, one in applied.items():
            _save_graph(one.model, aside / f"{name}.onnx")
        (aside / "config.json").write_text(
            json.dumps(source.config, ensure_ascii=False, indent=2) + "\n", encoding="utf-8"
        )
        (aside / "tokenizer.json").write_text(source.tokenizer.json, encoding="utf-8")
        for name, content in (source.tokenizer.side_files | source.beside).items():
            (aside / name).parent.mkdir(exist_ok=True)
            (aside / name).write_bytes(content)
        fields: dict[str, Any] = {
            "version": version("octavo"),
            "recipe": chosen,
            "target": cpu.name,
            "exact_u8s8": any(one.exact_u8s8 for one in applied.values()),
            "signature": source.signature,
            "source": {
                "name": _plain_name(source),
                "dtype": source.weights.dtype,
                "bytes": source.bytes,
                "sha256": sha256_of(*source.weights.files),
            },
            "export": exported,
            "passes": passes,
            "layers": [asdict(layer) for layer in layers],
            "calibration": examples.record if examples else None,
            "overflow": next(iter(applied.values())).overflow,
            "components": {name: f"{name}.onnx" for name in applied},
            "self_test": _self_test(
                aside,
                source,
                model,
                runnable if any(runnable[name] is not applied[name].model for name in applied) else None,
            ),
            "host": {"cpu": this_cpu().name, "kind": this_cpu().kind, "packages": _packages()},
        }
        write_manifest(aside, fields, write_card(fields, source.folder))
    return open_artifact(output)


def _export(
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


def measure_layers(
    artifact: str | Path | Artifact, checkpoint: str | Path | Checkpoint, *, progress: Progress | None = None
) -> tuple[LayerOutcome, ...]:
    """The layers of an artifact with the error of each one's output against a checkpoint, on Octavo's own sentences.

    Raises:
        InputError: the artifact was made from a checkpoint with other layers.
    """
    from octavo.graph.layers import find_layers
    from octavo.graph.reading import read_graph
    from octavo.methods.layer_errors import folded_layers, layer_errors

    artifact = artifact if isinstance(artifact, Artifact) else open_artifact(artifact)
    layers, say = artifact.manifest.layers, progress or Silent()
    say.start("reading the checkpoint")
    source = read_source(checkpoint)
    require_torch()
    if len(artifact.manifest.components) > 1:
        raise InputError("layers of several components are not measured", got=", ".join(artifact.manifest.components))
    graphs, _, _ = _export(load_model(source), source.signature, artifact.manifest.recipe, say)
    graph = graphs["model"]
    found = find_layers(graph)
    sizes = {layer.path: layer.parameters for layer in found}
    other = [layer.path for layer in layers if sizes.get(layer.path) != layer.parameters]
    if other or len(found) != len(layers):
        raise InputError(
            "the artifact was made from a checkpoint with other layers",
            where=source.folder,
            got=", ".join(other[:3]) or f"{len(found)} layers",
            allowed=f"{artifact.manifest.source.name}, {len(layers)} layers",
        )
    folded = folded_layers(graph, [layer.path for layer in layers if layer.smoothing is not None])
    given = Given(find_target(artifact.manifest.target), sentence_batches(source.tokenizer.json, source.signature), say)
    errors = layer_errors(graph, read_graph(artifact.model_file), given, folded)
    return tuple(replace(layer, output_db=errors.get(layer.path)) for layer in layers)


def _as_recipe(recipe: Recipe | str | Path | None, *, calibrated: bool) -> Recipe:
    """The recipe that was asked for, where it and the examples fit each other.

    Raises:
        RecipeError: examples for a method that learns nothing from them, or a method that needs some and has none.
    """
    if recipe is None:
        recipe = "static" if calibrated else "dynamic"
    if not isinstance(recipe, Recipe):
        toml = str(recipe).endswith(".toml")
        recipe = Recipe.from_toml(Path(recipe)) if toml else recipe_from({"method": str(recipe)})
    if calibrated and recipe.method not in {"static", "weight-only"}:
        then = "leave the examples out, or take static or weight-only"
        raise RecipeError("this method does not calibrate", got=recipe.method, then=then)
    if recipe.method == "static" and not calibrated:
        raise RecipeError(
            "static int8 learns ranges from examples, and none were given",
            then="give some 300 sentences of your own with --calibrate FILE, or take the method dynamic",
        )
    return recipe


def _save_graph(model: ir.Model, path: Path) -> None:
    import onnx_ir as ir

    weights = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)
    ir.save(model, path, external_data=f"{path.name}.data" if weights > ONE_FILE else None)


def _self_test(folder: Path, source: Source, model: Any, instead: dict[str, ir.Model] | None) -> SelfTest:
    """Load the files that were written and run them, so that nothing is handed over that does not run.

    Recorded is what the graphs `instead` answer, where they are given: what the files mean on the CPU they are for.

    Raises:
        ExportError: it answers with values that are not finite.
    """
    from octavo.engines.onnxruntime import open_graph, open_session
    from octavo.engines.torch import TorchSession

    inputs = self_test_inputs(source.tokenizer.json, source.signature)
    if source.signature.generation is not None:
        sessions = _writers(folder, model, instead)
    else:
        sessions = [TorchSession(model), open_session(folder / "model.onnx")]
        sessions += [open_graph(instead["model"])] if instead is not None else []
    found = [pooled(session, source.signature, folder).run(inputs) for session in sessions]
    if not all(np.isfinite(one).all() for one in found):
        raise ExportError("the quantized model answers with values that are not finite")
    return record_self_test(inputs, found[-1], found[0])


def _writers(folder: Path, model: Any, instead: dict[str, ir.Model] | None) -> list[Session]:
    from octavo.engines.onnxruntime import open_graph
    from octavo.engines.torch_writing import TorchWriter
    from octavo.engines.writing import OnnxWriter, open_writer

    files = {name: folder / f"{name}.onnx" for name in ("model", "encoder", "decoder")}
    sessions: list[Session] = [TorchWriter(model)]
    sessions.append(open_writer({name: file for name, file in files.items() if file.exists()}))
    if instead is not None:
        opened = {name: open_graph(graph) for name, graph in instead.items()}
        sessions.append(OnnxWriter(opened.get("decoder") or opened["model"], opened.get("encoder")))
    return sessions


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


def _plain_name(source: Source) -> str:
    """A hub id as it is, of a folder only its name: where it lay is nobody's business."""
    return source.folder.resolve().name if Path(source.asked.path).exists() else str(source.asked.path)


def _packages() -> dict[str, str]:
    found = {}
    for name in ("torch", "transformers", "onnxscript", "onnx-ir", "onnxruntime", "tokenizers", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
