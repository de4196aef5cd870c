"""A checkpoint as float graphs: exported once, taken by any number of recipes."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octavo.checkpoint.libraries import has_torch, require_torch
from octavo.checkpoint.model import load_model
from octavo.checkpoint.source import Checkpoint, Source, read_source
from octavo.engines import Session
from octavo.errors import OctavoWarning, RecipeError
from octavo.exporting.cached_proof import export_writer
from octavo.exporting.opsets import OpsetError
from octavo.exporting.proof import Proved, export_checked
from octavo.exporting.tensors import UnwrittenError
from octavo.exporting.tracing import require_traceable
from octavo.exporting.written import write_checked
from octavo.progress import Progress, Silent
from octavo.schema.manifest import ExportRecord, PassRecord
from octavo.schema.recipe import Recipe
from octavo.tasks import find_task

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class FloatGraphs:
    """The float graphs of a checkpoint, in memory, proved against torch, or against numpy where that is not installed.

    `model` is the torch model, None where torch is not installed; `graphs` are the graphs by component (`model`, or
    `encoder` and `decoder`), `record` has their differences from what they were proved against, `passes` the result of
    each graph pass, `settings` are those of the recipe that they were exported for: opset, optimize and merge_qkv
    count. `in_numpy` is the model in the place of torch's.
    """

    source: Source
    model: Any
    graphs: dict[str, ir.Model]
    record: ExportRecord
    passes: tuple[PassRecord, ...]
    settings: Recipe
    in_numpy: Session | None = None

    def __repr__(self) -> str:
        return f"<FloatGraphs of {self.source.name}: {', '.join(self.graphs)}, opset {self.record.opset}>"

    def reference(self) -> Session:
        """The float model, in torch or in numpy."""
        if self.in_numpy is not None:
            return self.in_numpy
        if find_task(self.source.signature).writes:
            from octavo.engines.torch_writer import TorchWriter

            return TorchWriter(self.model)
        from octavo.engines.torch import TorchSession

        return TorchSession(self.model)

    def require_fit(self, recipe: Recipe) -> None:
        """Check that a recipe needs graphs like these.

        Raises:
            RecipeError: it asks for another opset, or other passes.
        """
        names = ("opset", "optimize", "merge_qkv", *(("layers",) if recipe.merge_qkv else ()))
        other = [name for name in names if getattr(recipe, name) != getattr(self.settings, name)]
        if recipe.method == "qat" and self.settings.method != "qat":
            other.append("method")  # one pass moves what layers read; graphs without it suit all
        if other:
            raise RecipeError(
                "the float graphs were exported with other settings",
                got=", ".join(f"{name} {getattr(self.settings, name)}" for name in other),
                allowed=", ".join(f"{name} {getattr(recipe, name)}" for name in other),
                then="export the checkpoint with this recipe",
            )


def export(
    checkpoint: str | Path | Checkpoint,
    *,
    recipe: Recipe | None = None,
    progress: Progress | None = None,
    exporter: bool = False,
) -> FloatGraphs:
    """Export a checkpoint to float graphs, which `quantize` takes in its place: most of its time is this.

    Args:
        checkpoint: a Hugging Face folder or a hub id; a `Checkpoint` says what its files do not tell.
        recipe: its `opset`, `optimize` and `merge_qkv` decide how it is exported, and whether its method is `qat`
            (graphs for that suit the others too); by default as for most recipes.
        progress: hears of every step.
        exporter: take transformers' exporter for encoders too whose graph Octavo writes itself.

    Raises:
        OctavoError: see `octavo.errors` for the kinds.
    """
    progress = progress or Silent()
    progress.start("reading the checkpoint")
    return export_source(read_source(checkpoint), recipe or Recipe(), progress, exporter=exporter)


def export_source(source: Source, recipe: Recipe, progress: Progress, *, exporter: bool = False) -> FloatGraphs:
    """The same for a checkpoint that was read."""
    require_traceable(source)
    _ = source.sha256  # the file may be written anew before `quantize`
    if not has_torch():
        try:
            proved, reference = write_checked(source, None, recipe, progress)
        except UnwrittenError as reason:
            require_torch(str(reason))
            raise
        return FloatGraphs(source, None, proved.graphs, proved.record, proved.passes, recipe, reference)
    model = load_model(source)
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()  # likewise: transformers maps the file
    proved = prove(source, model, recipe, progress, exporter=exporter)
    return FloatGraphs(source, model, proved.graphs, proved.record, proved.passes, recipe)


def prove(source: Source, model: Any, recipe: Recipe, progress: Progress, *, exporter: bool = False) -> Proved:
    """The graphs of a checkpoint, and the proof that they compute what `model` does: it is asked, and not exported.

    `exporter`: not such as Octavo writes itself.
    """
    note = None
    if not exporter:
        try:
            return write_checked(source, model, recipe, progress)[0]
        except UnwrittenError:
            pass
        except OpsetError as error:
            note = f"the graph that Octavo writes did not do: {error}"
    export_model = export_writer if find_task(source.signature).writes else export_checked
    proved = export_model(model, lambda: _load_again(source, model), source.signature, recipe, progress)
    return replace(proved, record=proved.record.model_copy(update={"note": note})) if note else proved


def _load_again(source: Source, model: Any) -> Any:
    """The checkpoint's model as a new object, which an export may change, over the weights of `model` in memory."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OctavoWarning)  # told when it was loaded first
        other = load_model(source)
    weights = dict(model.named_parameters())
    for name, parameter in other.named_parameters():
        parameter.data = weights[name].data
    for tensor in other.buffers():
        tensor.data = tensor.data.clone()  # as above
    return other
