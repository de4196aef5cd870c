"""TODO-DOC exporting.float_graphs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from octavo.exporting.proof import export_checked
from octavo.progress import Progress
from octavo.schema.recipe import Recipe
from octavo.schema.signature import Signature

if TYPE_CHECKING:
    import onnx_ir as ir


def export_graphs(
    model: Any, signature: Signature, recipe: Recipe, say: Progress
) -> tuple[dict[str, ir.Model], dict[str, Any], list[dict[str, Any]]]:
    """The float graphs by component, the export record, and what the passes did."""
    if signature.generation is None:
        graph, exported, passes = export_checked(model, signature, recipe, say)
        return {"model": graph}, exported, passes
    from octavo.exporting.cached_proof import export_writer

    return export_writer(model, signature, recipe, say)
