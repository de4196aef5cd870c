"""The error of each layer of an artifact, measured anew against its checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from octavo.artifact.folder import Artifact, open_artifact
from octavo.checkpoint.libraries import require_torch
from octavo.checkpoint.model import load_model
from octavo.checkpoint.source import Checkpoint, Source, read_source
from octavo.errors import InputError
from octavo.exporting.float_graphs import export_source
from octavo.hardware import find_target
from octavo.methods import Context
from octavo.pipeline.calibration import sentence_batches
from octavo.progress import Progress, Silent
from octavo.schema.layers import LayerResult

if TYPE_CHECKING:
    from octavo.methods.layer_results import AnyLayer


def measure_layers(
    artifact: str | Path | Artifact, checkpoint: str | Path | Checkpoint, *, progress: Progress | None = None
) -> tuple[LayerResult, ...]:
    """The layers of an artifact with the error of each one's output against a checkpoint, on Octavo's own sentences.

    Raises:
        InputError: the artifact was made from a checkpoint with other layers.
    """
    artifact = artifact if isinstance(artifact, Artifact) else open_artifact(artifact)
    artifact.check_files()
    layers, recipe, say = artifact.manifest.layers, artifact.manifest.recipe, progress or Silent()
    say.start("reading the checkpoint")
    source = read_source(checkpoint)
    batches = sentence_batches(source.tokenizer.json, source.signature)
    if recipe.format == "torch":
        require_torch()
        from octavo.engines.torch_saved import load_saved
        from octavo.methods.torch_modules import find_modules, module_errors

        model = load_model(source)
        _require_same_layers(artifact, find_modules(model), source)
        say.start("measuring layers")
        return module_errors(model, load_saved(artifact.model_file), layers, batches)
    from octavo.graph.layers import find_layers
    from octavo.graph.reading import read_graph
    from octavo.methods.layer_errors import folded_layers, layer_errors

    if len(artifact.manifest.components) > 1:
        raise InputError("layers of several components are not measured", got=", ".join(artifact.manifest.components))
    graph = export_source(source, recipe, say).graphs["model"]
    _require_same_layers(artifact, find_layers(graph), source)
    folded = folded_layers(graph, [layer.path for layer in layers if layer.smoothing is not None])
    context = Context(find_target(artifact.manifest.target), batches, say)
    errors = layer_errors(graph, read_graph(artifact.model_file), context, folded)
    return tuple(replace(layer, output_db=errors.get(layer.path)) for layer in layers)


def _require_same_layers(artifact: Artifact, given: Sequence[AnyLayer], source: Source) -> None:
    """See that an artifact can have been made from a checkpoint.

    Raises:
        InputError: the checkpoint has other layers.
    """
    layers, sizes = artifact.manifest.layers, {layer.path: layer.parameters for layer in given}
    other = [layer.path for layer in layers if sizes.get(layer.path) != layer.parameters]
    if other or len(given) != len(layers):
        raise InputError(
            "the artifact was made from a checkpoint with other layers",
            where=source.folder,
            got=", ".join(other[:3]) or f"{len(given)} layers",
            allowed=f"{artifact.manifest.source.name}, {len(layers)} layers",
        )
