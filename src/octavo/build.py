"""A checkpoint and a recipe to an artifact: the one road that every method takes."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
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
from octavo.engines.pooled import pooled
from octavo.errors import ExportError, InputError, OctavoWarning, RecipeError
from octavo.hardware import find_target, this_cpu
from octavo.making import Made, export_graphs, make_graph, make_modules, make_rescued
from octavo.methods import Given, LayerOutcome
from octavo.progress import Progress, Silent
from octavo.recipe import Recipe, recipe_from
from octavo.selftest import SelfTest, record_self_test, self_test_inputs
from octavo.signature import lower_limit
from octavo.source import Checkpoint, Source, load_model, read_source
from octavo.tasks import find_task

if TYPE_CHECKING:
    from octavo.methods.outcomes import AnyLayer


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
    source = read_source(checkpoint, packed=chosen.format == "torch")
    find_task(source.signature.task)
    if source.signature.generation is not None and chosen.format == "torch":
        raise RecipeError("models that write are made in the format onnx", got=chosen.format, allowed="--format onnx")
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
    given = Given(cpu, examples.batches if examples else (), say)
    if source.weights.packed:
        made = make_rescued(source, chosen)
    else:
        model = load_model(source)
        made = (make_graph if chosen.format == "onnx" else make_modules)(source, model, chosen, given)
    say.start("writing the artifact")
    with writing(output, force=force) as aside:
        config = source.config | made.write(aside)
        (aside / "config.json").write_text(json.dumps(config, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        (aside / "tokenizer.json").write_text(source.tokenizer.json, encoding="utf-8")
        for name, content in (source.tokenizer.side_files | source.beside).items():
            (aside / name).parent.mkdir(exist_ok=True)
            (aside / name).write_bytes(content)
        fields: dict[str, Any] = {
            "version": version("octavo"),
            "recipe": chosen,
            "target": cpu.name,
            "exact_u8s8": made.exact_u8s8,
            "signature": source.signature,
            "source": {
                "name": _plain_name(source),
                "dtype": source.weights.dtype,
                "bytes": source.bytes,
                "sha256": sha256_of(*source.weights.files),
            },
            "export": made.export,
            "passes": made.passes,
            "layers": [asdict(layer) for layer in made.layers],
            "calibration": examples.record if examples else None,
            "overflow": made.overflow,
            "components": made.components,
            "self_test": _self_test(aside, source, made),
            "host": {"cpu": this_cpu().name, "kind": this_cpu().kind, "packages": _packages()},
        }
        write_manifest(aside, fields, write_card(fields, source.folder))
    return open_artifact(output)


def measure_layers(
    artifact: str | Path | Artifact, checkpoint: str | Path | Checkpoint, *, progress: Progress | None = None
) -> tuple[LayerOutcome, ...]:
    """The layers of an artifact with the error of each one's output against a checkpoint, on Octavo's own sentences.

    Raises:
        InputError: the artifact was made from a checkpoint with other layers.
    """
    artifact = artifact if isinstance(artifact, Artifact) else open_artifact(artifact)
    layers, recipe, say = artifact.manifest.layers, artifact.manifest.recipe, progress or Silent()
    say.start("reading the checkpoint")
    source = read_source(checkpoint)
    require_torch()
    model = load_model(source)
    batches = sentence_batches(source.tokenizer.json, source.signature)
    if recipe.format == "torch":
        from octavo.engines.torch_saved import load_saved
        from octavo.methods.torch_layers import find_modules, module_errors

        _require_same_layers(artifact, find_modules(model), source)
        say.start("measuring layers")
        return module_errors(model, load_saved(artifact.model_file), layers, batches)
    from octavo.graph.layers import find_layers
    from octavo.graph.reading import read_graph
    from octavo.methods.layer_errors import folded_layers, layer_errors

    if len(artifact.manifest.components) > 1:
        raise InputError("layers of several components are not measured", got=", ".join(artifact.manifest.components))
    graphs, _, _ = export_graphs(model, source.signature, recipe, say)
    graph = graphs["model"]
    _require_same_layers(artifact, find_layers(graph), source)
    folded = folded_layers(graph, [layer.path for layer in layers if layer.smoothing is not None])
    given = Given(find_target(artifact.manifest.target), batches, say)
    errors = layer_errors(graph, read_graph(artifact.model_file), given, folded)
    return tuple(replace(layer, output_db=errors.get(layer.path)) for layer in layers)


def _require_same_layers(artifact: Artifact, found: Sequence[AnyLayer], source: Source) -> None:
    """See that an artifact can have been made from a checkpoint.

    Raises:
        InputError: the checkpoint has other layers.
    """
    layers, sizes = artifact.manifest.layers, {layer.path: layer.parameters for layer in found}
    other = [layer.path for layer in layers if sizes.get(layer.path) != layer.parameters]
    if other or len(found) != len(layers):
        raise InputError(
            "the artifact was made from a checkpoint with other layers",
            where=source.folder,
            got=", ".join(other[:3]) or f"{len(found)} layers",
            allowed=f"{artifact.manifest.source.name}, {len(layers)} layers",
        )


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
    if (
        calibrated
        and recipe.method == "weight-only"
        and recipe.bits == 8
        and not any(rule.keep == "int4" for rule in recipe.layers)
    ):
        then = "leave the examples out, or take 4 bits"
        raise RecipeError("weights of 8 bits are rounded without examples", got=recipe.method, then=then)
    if recipe.method == "static" and not calibrated:
        raise RecipeError(
            "static int8 learns ranges from examples, and none were given",
            then="give some 300 sentences of your own with --calibrate FILE, or take the method dynamic",
        )
    return recipe


def _self_test(folder: Path, source: Source, made: Made) -> SelfTest:
    """Load the files that were written and run them, so that nothing is handed over that does not run.

    Raises:
        ExportError: it answers with values that are not finite.
    """
    from octavo.engines.torch import TorchSession

    inputs = self_test_inputs(source.tokenizer.json, source.signature)
    sessions = [made.answers(folder)]
    if source.signature.generation is not None:
        from octavo.engines.torch_writing import TorchWriter

        sessions.append(TorchWriter(made.reference))
    elif made.reference is not None:
        sessions.append(TorchSession(made.reference))
    found = [pooled(session, source.signature, folder).run(inputs) for session in sessions]
    if not all(np.isfinite(one).all() for one in found):
        raise ExportError("the quantized model answers with values that are not finite")
    return record_self_test(inputs, found[0], found[-1])


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
