"""The space of a search: candidates, each once; a default one by CPU and task, or the user's own as TOML.

[[space]]
method = "static"
observer = ["minmax", "mse"]        # a list means: try each
smoothing = ["auto", 0.5]
engine = ["onnxruntime", "openvino"]
"""

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

from octavo.engines import STATIC, find_engine, runs_torch
from octavo.errors import OctavoError, RecipeError, raise_together
from octavo.hardware import Cpu
from octavo.schema.recipe import Recipe, recipe_from
from octavo.schema.search import FLOAT, Candidate

FAST_INT8 = {"avx512_vnni", "avx_vnni", "amx_int8"}  # features with which OpenVINO's int8 is worth a look
FAST_BF16 = {"amx_bf16", "avx512_bf16"}
MOST = 200  # candidates of a space


@dataclass(frozen=True)
class Setting:
    """What a default space depends on: the CPU, and what can be made of task, examples and checkpoint.

    `small`: size is the aim, or limited; `learnt`: the checkpoint was trained for int8 (`octavo.qat`).
    """

    cpu: Cpu
    calibrates: bool
    writes: bool
    small: bool = False
    learnt: bool = False

    @property
    def engines(self) -> tuple[str, ...]:
        """Those for static int8, the usual one first."""
        openvino = self.cpu.features & FAST_INT8 and not self.writes and find_spec("openvino") is not None
        return ("openvino", "onnxruntime") if openvino else ("onnxruntime",)


def canonical(candidate: Candidate) -> Candidate:
    """The same with what its method does not read as it is by default: equal models are equal candidates."""
    recipe, fields = candidate.recipe, Recipe.model_fields
    unread = [] if recipe.observer == "percentile" else ["percentile"]
    unread += [] if recipe.method == "dynamic" or recipe.format == "torch" else ["granularity"]
    if recipe.method == "float" and recipe.storage == "float32":
        unread.append("layers")
    defaults = {name: fields[name].default for name in unread}
    rules = tuple(dict.fromkeys(reversed(recipe.layers)))[::-1]  # the last match wins, so the last of equals stays
    engine = "torch" if recipe.format == "torch" else candidate.engine
    return Candidate(recipe.model_copy(update={"layers": rules} | defaults), engine)


def distinct(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Canonical candidates without duplicates, in their order; the float graph, which is always measured, is left out.

    Raises:
        RecipeError: there are none, or more than anybody would wait for.
    """
    by_key = {candidate.key: candidate for candidate in map(canonical, candidates)}
    by_key.pop(FLOAT.key, None)
    if not 0 < len(by_key) <= MOST:
        raise RecipeError("a space of no candidate, or of too many", got=len(by_key), allowed=f"1 to {MOST}")
    return tuple(by_key.values())


def default_space(setting: Setting) -> tuple[Candidate, ...]:
    """Recipes that have been the best for some model, the two defaults first."""
    recipes: list[dict[str, Any]] = [{"method": "dynamic"}]
    static: list[dict[str, Any]] = [{"method": "qat"}] if setting.learnt else []
    if setting.calibrates:
        settings: tuple[dict[str, Any], ...] = (
            {},
            {"own_sentences": True},
            {"observer": "mse"},
            {"observer": "percentile"},
            {"observer": "output"},
            {"smoothing": 0.5},
            {"smoothing": "none"},
        )
        static += [{"method": "static"} | options for options in settings]
    recipes += [{"method": "dynamic", "granularity": "tensor"}, {"method": "weight-only"}]
    recipes.append({"method": "weight-only", "products": "float"})
    if setting.small or setting.writes:
        recipes.append({"method": "weight-only", "bits": 4})
    if setting.small:
        rows: dict[str, Any] = {"embedding": "int4"}
        recipes += [{"method": "dynamic"} | rows, {"method": "weight-only", "bits": 4} | rows]
        static += [{"method": "static"} | rows] if setting.calibrates else []
    statics = [Candidate(recipe_from(table), engine) for table in static for engine in setting.engines]
    others = [Candidate(recipe_from(table)) for table in recipes]
    mixed = [Candidate(Recipe(method="static", mixed=True))] if setting.calibrates else []  # ONNX Runtime's alone
    return distinct([others[0], *statics, *mixed, *others[1:]])


def sixteen_bits(setting: Setting) -> tuple[Candidate, ...]:
    """What is left where int8 is not good enough: weights stored in 16 bits, products in bf16 where the CPU can."""
    half = Recipe(method="float", storage="float16")
    bf16 = setting.cpu.features & FAST_BF16 and not setting.writes and find_spec("openvino") is not None
    return (*([Candidate(half, "openvino:bf16")] if bf16 else []), Candidate(half))


def read_space(path: Path, setting: Setting) -> tuple[Candidate, ...]:
    """The candidates of a file of `[[space]]` tables: recipes whose settings may be lists, and `engine`.

    Raises:
        RecipeError: it is not there, is no TOML, has another table, or a recipe in it means nothing.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RecipeError("the space is not readable as TOML", where=path, got=error) from None
    spaces = table.get("space")
    if set(table) != {"space"} or not isinstance(spaces, list) or not all(isinstance(space, dict) for space in spaces):
        raise RecipeError("a space is made of [[space]] tables", where=path, got=", ".join(table) or "nothing")
    candidates: list[Candidate] = []
    problems: list[OctavoError] = []
    for number, space in enumerate(spaces, start=1):
        for settings in _each(space):
            engine = str(settings.pop("engine", "auto"))
            try:
                candidates.append(_candidate(recipe_from(settings, where=f"{path}, space {number}"), engine, setting))
            except OctavoError as error:
                problems.append(error)
    raise_together(list({str(problem): problem for problem in problems}.values()))
    return distinct(candidates)


def _each(table: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """The tables that a table with lists stands for, one for each choice of a value from every list.

    `layers` is itself a list of rules, so only a list of such lists means "each".
    """
    values: list[Sequence[Any]] = []
    for name, value in table.items():
        several = isinstance(value, list) and (name != "layers" or (value and isinstance(value[0], list)))
        values.append(value if several else [value])
    return (dict(zip(table, chosen, strict=True)) for chosen in product(*values))


def _candidate(recipe: Recipe, engine: str, setting: Setting) -> Candidate:
    if engine == "auto":
        engine = setting.engines[0] if recipe.method in STATIC and not recipe.by_token else "onnxruntime"
        engine = "torch" if recipe.format == "torch" else engine
    find_engine(engine)
    if runs_torch(engine) != (recipe.format == "torch"):
        raise RecipeError("this engine does not run this format", got=f"{recipe.format} on {engine}")
    if recipe.by_token and engine != "onnxruntime":
        raise RecipeError("ONNX Runtime alone runs layers that are rounded per token", got=engine)
    if recipe.calibrates and not setting.calibrates and recipe.method == "static":
        raise RecipeError("this task is not calibrated", got=recipe.method)
    if recipe.method == "qat" and not setting.learnt:
        raise RecipeError("the checkpoint was not trained for int8", got=recipe.method)
    other = [name for name in ("opset", "optimize", "merge_qkv") if getattr(recipe, name) != getattr(Recipe(), name)]
    if other:
        raise RecipeError("all candidates of a search are made of one export", got=", ".join(other))
    return Candidate(recipe, engine)
