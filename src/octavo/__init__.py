"""Octavo makes a Hugging Face transformer small and fast on CPU, and proves that it still works.

The public names are imported on first use: `import octavo` imports neither torch nor transformers, nor anything heavy.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# ONNX Runtime for Linux and macOS reports to its maker unless this is set before its first import, and leaves files in
# the home and temporary folders: https://github.com/microsoft/onnxruntime/pull/27379
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from octavo.artifact.folder import Artifact, open_artifact, push
    from octavo.artifact.layout import layout
    from octavo.checkpoint.source import Checkpoint
    from octavo.data.examples import DataFile, Example, read_examples
    from octavo.errors import (
        ArtifactError,
        CheckpointError,
        DataError,
        ExportError,
        HardwareError,
        InputError,
        MissingExtraError,
        OctavoError,
        OctavoWarning,
        RecipeError,
    )
    from octavo.evaluation.comparison import Comparison, compare
    from octavo.exporting.float_graphs import FloatGraphs, export
    from octavo.inference.columns import PredictFn, make_predict_fn
    from octavo.inference.generator import Generator
    from octavo.inference.jsonl import predict
    from octavo.inference.opening import load, verify
    from octavo.inference.predictor import Predictor
    from octavo.inspection.machine import Diagnosis, doctor
    from octavo.inspection.models import Inspection, inspect
    from octavo.pipeline.quantization import quantize
    from octavo.reporting.page import report
    from octavo.schema.budget import Budget
    from octavo.schema.recipe import LayerRule, Recipe
    from octavo.shrinking.distilling import Distilled, distill
    from octavo.shrinking.trimming import Trimmed, trim
    from octavo.tuning.search import Search, search

_HOMES = {
    "octavo.artifact.folder": ("Artifact", "open_artifact", "push"),
    "octavo.artifact.layout": ("layout",),
    "octavo.checkpoint.source": ("Checkpoint",),
    "octavo.data.examples": ("DataFile", "Example", "read_examples"),
    "octavo.errors": (
        "ArtifactError",
        "CheckpointError",
        "DataError",
        "ExportError",
        "HardwareError",
        "InputError",
        "MissingExtraError",
        "OctavoError",
        "OctavoWarning",
        "RecipeError",
    ),
    "octavo.evaluation.comparison": ("Comparison", "compare"),
    "octavo.exporting.float_graphs": ("FloatGraphs", "export"),
    "octavo.inference.columns": ("PredictFn", "make_predict_fn"),
    "octavo.inference.generator": ("Generator",),
    "octavo.inference.jsonl": ("predict",),
    "octavo.inference.opening": ("load", "verify"),
    "octavo.inference.predictor": ("Predictor",),
    "octavo.inspection.machine": ("Diagnosis", "doctor"),
    "octavo.inspection.models": ("Inspection", "inspect"),
    "octavo.pipeline.quantization": ("quantize",),
    "octavo.reporting.page": ("report",),
    "octavo.schema.budget": ("Budget",),
    "octavo.schema.recipe": ("LayerRule", "Recipe"),
    "octavo.shrinking.distilling": ("Distilled", "distill"),
    "octavo.shrinking.trimming": ("Trimmed", "trim"),
    "octavo.tuning.search": ("Search", "search"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}
__all__ = [
    "Artifact",
    "ArtifactError",
    "Budget",
    "Checkpoint",
    "CheckpointError",
    "Comparison",
    "DataError",
    "DataFile",
    "Diagnosis",
    "Distilled",
    "Example",
    "ExportError",
    "FloatGraphs",
    "Generator",
    "HardwareError",
    "InputError",
    "Inspection",
    "LayerRule",
    "MissingExtraError",
    "OctavoError",
    "OctavoWarning",
    "PredictFn",
    "Predictor",
    "Recipe",
    "RecipeError",
    "Search",
    "Trimmed",
    "compare",
    "distill",
    "doctor",
    "export",
    "inspect",
    "layout",
    "load",
    "make_predict_fn",
    "open_artifact",
    "predict",
    "push",
    "quantize",
    "read_examples",
    "report",
    "search",
    "trim",
    "verify",
]


def _find(name: str) -> Any:
    """Import a public name on first use."""
    if name == "__version__":
        from importlib.metadata import version

        return version("octavo")
    if name == "ray":  # no public name, but a room that users name: octavo.ray.Predictor
        return import_module("octavo.ray")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'octavo' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


__version__: str
if not TYPE_CHECKING:  # for which every name that is not there would be Any
    __getattr__ = _find


def __dir__() -> list[str]:
    return sorted(__all__)
