"""Octavo makes a Hugging Face transformer small and fast on CPU, and proves that it still works.

The public names are imported on first use: `import octavo` imports neither torch nor transformers, nor anything heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from octavo.artifact import Artifact, open_artifact, verify
    from octavo.build import quantize
    from octavo.data import DataFile, Example, read_examples
    from octavo.diagnosis import Diagnosis, doctor
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
    from octavo.evaluation.budget import Budget
    from octavo.evaluation.comparison import compare
    from octavo.evaluation.result import Comparison
    from octavo.generator import Generator
    from octavo.inspection import Inspection, inspect
    from octavo.predictor import Predictor, load, predict
    from octavo.recipe import LayerRule, Recipe
    from octavo.reporting.page import report
    from octavo.source import Checkpoint

_HOMES = {
    "octavo.artifact": ("Artifact", "open_artifact", "verify"),
    "octavo.build": ("quantize",),
    "octavo.data": ("DataFile", "Example", "read_examples"),
    "octavo.diagnosis": ("Diagnosis", "doctor"),
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
    "octavo.evaluation.budget": ("Budget",),
    "octavo.evaluation.comparison": ("compare",),
    "octavo.evaluation.result": ("Comparison",),
    "octavo.generator": ("Generator",),
    "octavo.inspection": ("Inspection", "inspect"),
    "octavo.predictor": ("Predictor", "load", "predict"),
    "octavo.recipe": ("LayerRule", "Recipe"),
    "octavo.reporting.page": ("report",),
    "octavo.source": ("Checkpoint",),
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
