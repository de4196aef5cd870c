"""Octavo makes a Hugging Face transformer small and fast on CPU, and proves that it still works.

The public names are imported on first use: `import octavo` imports neither torch nor transformers, nor anything heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from octavo.artifact.folder import Artifact
    from octavo.checkpoint.source import Checkpoint
    from octavo.data.examples import DataFile, Example
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
    from octavo.inference.generator import Generator
    from octavo.inference.predictor import Predictor
    from octavo.schema.budget import Budget
    from octavo.schema.comparison import Comparison
    from octavo.schema.inspection import Diagnosis, Inspection
    from octavo.schema.recipe import LayerRule, Recipe

_HOMES = {
    "octavo.artifact.folder": ("Artifact", "open_artifact", "verify"),
    "octavo.pipeline.quantization": ("quantize",),
    "octavo.data.examples": ("DataFile", "Example", "read_examples"),
    "octavo.inspection.machine": ("Diagnosis", "doctor"),
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
    "octavo.schema.budget": ("Budget",),
    "octavo.evaluation.comparison": ("compare",),
    "octavo.schema.comparison": ("Comparison",),
    "octavo.inference.generator": ("Generator",),
    "octavo.inspection.models": ("Inspection", "inspect"),
    "octavo.inference.predictor": ("Predictor", "load", "predict"),
    "octavo.schema.recipe": ("LayerRule", "Recipe"),
    "octavo.reporting.page": ("report",),
    "octavo.checkpoint.source": ("Checkpoint",),
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
    "Example",
    "ExportError",
    "Generator",
    "HardwareError",
    "InputError",
    "Inspection",
    "LayerRule",
    "MissingExtraError",
    "OctavoError",
    "OctavoWarning",
    "Predictor",
    "Recipe",
    "RecipeError",
    "compare",
    "doctor",
    "inspect",
    "load",
    "open_artifact",
    "predict",
    "quantize",
    "read_examples",
    "report",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'octavo' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
