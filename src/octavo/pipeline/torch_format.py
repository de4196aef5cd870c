"""TODO-DOC pipeline.torch_format."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octavo.checkpoint.config import AUTO_CLASSES
from octavo.checkpoint.source import Source
from octavo.engines import Session
from octavo.errors import RecipeError
from octavo.hardware import this_cpu
from octavo.methods import Given
from octavo.pipeline.calibration import sentence_batches
from octavo.pipeline.contents import Made
from octavo.schema.recipe import Recipe

if TYPE_CHECKING:
    from octavo.methods.torch_modules import Modules


def make_modules(source: Source, model: Any, recipe: Recipe, given: Given) -> Made:
    """The format `torch`: int8 modules in the place of Linear and Embedding."""
    from octavo.engines.torch_int8 import use_exact_products
    from octavo.methods.torch_modules import module_errors, quantize_modules

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
    from octavo.methods.torch_rescue import rescue_modules

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
