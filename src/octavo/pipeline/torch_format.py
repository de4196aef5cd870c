"""The format `torch`: int8 modules in the place of a model's Linear and Embedding."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octavo.artifact.contents import Contents
from octavo.checkpoint.model import class_name
from octavo.checkpoint.source import Source
from octavo.engines import Session
from octavo.errors import RecipeError
from octavo.hardware import this_cpu
from octavo.methods import Context
from octavo.pipeline.calibration import sentence_batches
from octavo.schema.recipe import Recipe

if TYPE_CHECKING:
    from octavo.methods.torch_modules import Modules


def quantize_model(source: Source, model: Any, recipe: Recipe, context: Context) -> Contents:
    """Put int8 modules into a copy of the model."""
    from octavo.engines.torch_int8 import use_exact_products
    from octavo.methods.torch_modules import module_errors, quantize_modules

    context.progress.start(f"quantizing: {recipe.method}")
    modules = quantize_modules(model, recipe, saturates=context.target.saturates)
    exact = modules.exact_u8s8 and this_cpu().saturates  # modules for another CPU: here its products would be wrong
    if exact:
        use_exact_products(modules.model)
    context.progress.start("measuring layers")
    batches = sentence_batches(source.tokenizer.json, source.signature)
    layers = module_errors(model, modules.model, modules.layers, batches)
    return _contents(source, replace(modules, layers=layers), model, exact=exact)


def rescue_model(source: Source, recipe: Recipe) -> Contents:
    """The same from the state of a model that PyTorch quantized: its float weights are gone.

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
    modules = rescue_modules(source)
    return _contents(source, modules, as_float(modules.model), exact=False)


def _contents(source: Source, modules: Modules, reference: Any, *, exact: bool) -> Contents:
    from octavo.engines.torch import TorchSession
    from octavo.engines.torch_int8 import use_exact_products
    from octavo.engines.torch_saved import WEIGHTS, load_saved, quantization_config, save_model

    def write(folder: Path) -> dict[str, Any]:
        save_model(modules.model, folder, class_name(source))
        return {"quantization_config": quantization_config(modules.model), "dtype": "float32"}

    def answers(folder: Path) -> Session:
        written = load_saved(folder / WEIGHTS)
        if exact:
            use_exact_products(written)
        return TorchSession(written)

    return Contents(
        layers=modules.layers,
        exact_u8s8=modules.exact_u8s8,
        write=write,
        answers=answers,
        reference=lambda: TorchSession(reference),
        components={"model": WEIGHTS},
    )
