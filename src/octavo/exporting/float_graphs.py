"""A checkpoint as float graphs: exported once, taken by any number of recipes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octavo.checkpoint.libraries import has_torch, require_torch
from octavo.checkpoint.source import Checkpoint, Source, read_source, with_token_embeddings
from octavo.engines import Session
from octavo.errors import RecipeError
from octavo.exporting.cached_proof import export_writer
from octavo.exporting.opsets import OpsetError
from octavo.exporting.original import Original
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

    `original` is what they were proved against; `graphs` are the graphs by component (`model`, or `encoder` and
    `decoder`), `record` has their differences from it, `passes` the result of each graph pass, `settings` are those of
    the recipe that they were exported for: opset, optimize and merge_qkv count.
    """

    source: Source
    original: Original
    graphs: dict[str, ir.Model]
    record: ExportRecord
    passes: tuple[PassRecord, ...]
    settings: Recipe

    def __repr__(self) -> str:
        return f"<FloatGraphs of {self.source.name}: {', '.join(self.graphs)}, opset {self.record.opset}>"

    @property
    def model(self) -> Any:
        """The torch model, of which a large one is loaded anew; None where torch is not installed."""
        return self.original.model

    def reference(self) -> Session:
        """The float model, in torch or in numpy."""
        return self.original.session()

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
    token_embeddings: bool = False,
) -> FloatGraphs:
    """Export a checkpoint to float graphs, which `quantize` takes in its place: most of its time is this.

    Args:
        checkpoint: a Hugging Face folder or a hub id; a `Checkpoint` says what its files do not tell.
        recipe: its `opset`, `optimize` and `merge_qkv` decide how it is exported, and whether its method is `qat`
            (graphs for that suit the others too); by default as for most recipes.
        progress: hears of every step.
        exporter: take transformers' exporter for encoders too whose graph Octavo writes itself.
        token_embeddings: of any encoder the vectors of tokens: the task late-interaction.

    Raises:
        OctavoError: see `octavo.errors` for the kinds.
    """
    progress = progress or Silent()
    progress.start("reading the checkpoint")
    checkpoint = with_token_embeddings(checkpoint, asked=token_embeddings)
    return export_source(read_source(checkpoint), recipe or Recipe(), progress, exporter=exporter)


def export_source(source: Source, recipe: Recipe, progress: Progress, *, exporter: bool = False) -> FloatGraphs:
    """The same for a checkpoint that was read."""
    require_traceable(source)
    _ = source.sha256  # of the files as they are now
    if not has_torch():
        try:
            proved, original = write_checked(source, None, recipe, progress)
        except UnwrittenError as reason:
            require_torch(str(reason))
            raise
    else:
        original = Original(source)
        original.load()  # what is wrong with the weights is told first
        proved = prove(source, original, recipe, progress, exporter=exporter)
    return FloatGraphs(source, original, proved.graphs, proved.record, proved.passes, recipe)


def prove(source: Source, original: Original, recipe: Recipe, progress: Progress, *, exporter: bool = False) -> Proved:
    """The graphs of a checkpoint, and the proof that they compute what torch does: it is asked, and not exported.

    `exporter`: not such as Octavo writes itself.
    """
    note = None
    if not exporter:
        try:
            return write_checked(source, original, recipe, progress)[0]
        except UnwrittenError:
            pass
        except OpsetError as error:
            note = f"the graph that Octavo writes did not do: {error}"
    original.own()  # a graph that is traced may share them
    export_model = export_writer if find_task(source.signature).writes else export_checked
    proved = export_model(original.model, original.load_again, source.signature, recipe, progress)
    return replace(proved, record=proved.record.model_copy(update={"note": note})) if note else proved
