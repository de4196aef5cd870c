"""What is tried where a recipe is not good enough: other settings one after the other, then its worst layers in float.

The stored error of each layer (`methods.layer_errors`) says which ones to look at; what each does to answers when it is
int8 alone says in which order they are kept float.
"""

from collections.abc import Callable, Generator, Sequence
from fnmatch import fnmatchcase
from typing import Literal

import numpy as np

from octavo.metrics.scores import spearman
from octavo.schema.recipe import LayerRule, Recipe
from octavo.schema.search import Candidate, Damage, LayerState, Sensitivity, Trial
from octavo.tuning.run import Run, moved
from octavo.tuning.space import canonical

LOOKED_AT = 10  # layers that are measured alone
FEWEST = 4  # of them, for a rank correlation
Layers = Sequence[LayerState]
Rung = Callable[[Recipe, Layers], list[Recipe]]


def keep_float(candidate: Candidate, paths: Sequence[str]) -> Candidate:
    """The same with more layers that compute in float; stored in 16 bits, where the format has that."""
    keep: Literal["float", "float16"] = "float16" if candidate.recipe.format == "onnx" else "float"
    rules = candidate.recipe.layers + tuple(LayerRule(match=escaped(path), keep=keep) for path in paths)
    return canonical(Candidate(candidate.recipe.model_copy(update={"layers": rules}), candidate.engine))


def escaped(path: str) -> str:
    """A module path as a glob that matches it alone."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in path)


def _observers(recipe: Recipe, _: Layers) -> list[Recipe]:
    others = [name for name in ("minmax", "mse", "percentile", "output") if name != recipe.observer]
    return [_with(recipe, observer=name) for name in others] if recipe.method == "static" else []


def _smoothing(recipe: Recipe, _: Layers) -> list[Recipe]:
    strengths = [value for value in ("auto", 0.5, 0.75) if value != recipe.smoothing]
    learnt = recipe.method == "static" or (recipe.method == "dynamic" and recipe.format == "onnx")
    return [_with(recipe, smoothing=value) for value in strengths] if learnt else []


def _embeddings(recipe: Recipe, layers: Layers) -> list[Recipe]:
    paths = [layer.path for layer in layers if layer.kind == "embedding" and not layer.dtype.startswith("float")]
    more_bits = [_with(recipe, embedding="int8")] if recipe.embedding == "int4" else []
    return more_bits + ([keep_float(Candidate(recipe), paths).recipe] if paths else [])


def _tokens(recipe: Recipe, layers: Layers) -> list[Recipe]:
    """Single layers first, which cost little: those of `mixed`, and the worst quarter; then all."""
    rules = tuple(
        rule if rule.keep != "per-token" else LayerRule(match=rule.match, keep="int8") for rule in recipe.layers
    )
    every = Recipe(method="dynamic", layers=rules if any(rule.keep != "int8" for rule in rules) else ())
    if recipe.method != "static":
        return [every] if recipe.granularity == "tensor" else []
    known = [
        layer for layer in layers if layer.kind == "linear" and layer.dtype == "int8" and layer.decibels is not None
    ]
    worst = sorted(known, key=lambda layer: layer.decibels or 0.0)[: -(-len(known) // 4)]
    more = tuple(LayerRule(match=escaped(layer.path), keep="per-token") for layer in worst)
    single = [_with(recipe, mixed=True)] + ([_with(recipe, layers=recipe.layers + more)] if more else [])
    return [*(changed for changed in single if changed != recipe), every]


# Weights of fewer bits are no rung: where products of 8 bits could saturate, weights always keep to what does not.
RUNGS: dict[str, Rung] = {
    "other observer": _observers,
    "smoothing strength": _smoothing,
    "embeddings of more bits": _embeddings,
    "per-token activations": _tokens,
}


def climb(run: Run, base: Candidate, small: int, full: int) -> Generator[Trial, None, Sensitivity | None]:
    """Try one rung after the other until a candidate passes; what helps is kept for the next. At last, `repair`."""
    for name, options in RUNGS.items():
        step = f"ladder: {name}"
        trial = run.study.find(base, "selection", small)
        layers = trial.quality.layers if trial and trial.quality else ()
        engine = base.engine
        candidates = [canonical(Candidate(recipe, engine)) for recipe in options(base.recipe, layers)]
        if name == "per-token activations":  # dynamic int8 is ONNX Runtime's
            candidates = [canonical(Candidate(candidate.recipe)) for candidate in candidates]
        yield from run.qualities(candidates, small, step)
        best = min([base, *candidates], key=lambda candidate: moved(run.study.find(candidate, "selection", small)))
        if best == base:
            continue
        base = best
        if run.latest[base.key].verdict != "FAIL":
            yield from run.qualities([base], full, step)
            if run.passes(base):
                return None
    return (yield from repair(run, base, small, full))


def repair(run: Run, base: Candidate, small: int, full: int) -> Generator[Trial, None, Sensitivity | None]:
    """Keep the fewest of the worst layers float with which the candidate passes, by bisection."""
    sensitivity = yield from measure_layers(run, base, small)
    order = _order(base, sensitivity, run.latest[base.key])
    most, low, high = len(order) // 2, 0, 1  # with more than half in float little is gained
    step = "ladder: worst layers float"

    def good(count: int) -> Generator[Trial, None, bool]:
        candidate = keep_float(base, order[:count])
        for rows in dict.fromkeys((small, full)):
            yield from run.qualities([candidate], rows, step)
            if run.latest[candidate.key].verdict == "FAIL":
                return False
        return run.passes(candidate)

    while high <= most and not (yield from good(high)):
        low, high = high, high * 2
    if high > most:
        if low >= most or not (yield from good(most)):
            return sensitivity
        high = most
    while high - low > 1:
        middle = (low + high) // 2
        if (yield from good(middle)):
            high = middle
        else:
            low = middle
    return sensitivity


def measure_layers(run: Run, base: Candidate, rows: int) -> Generator[Trial, None, Sensitivity]:
    """Let each of the layers with the largest stored errors be int8 alone, and see how far answers move."""
    worst = [layer for layer in _quantized(run.latest[base.key]) if not _kept(base.recipe, layer.path)][:LOOKED_AT]
    alone = {layer.path: quantized_alone(base, layer.path) for layer in worst}
    yield from run.qualities(list(alone.values()), rows, "sensitivity")
    layers = [
        Damage(layer.path, float(layer.decibels), moved(run.study.find(alone[layer.path], "selection", rows)))
        for layer in worst
        if layer.decibels is not None
    ]
    layers = sorted((layer for layer in layers if np.isfinite(layer.moved)), key=lambda layer: -layer.moved)
    correlation = None
    noise, damage = [-layer.decibels for layer in layers], [layer.moved for layer in layers]
    if len(layers) >= FEWEST and len(set(noise)) > 1 and len(set(damage)) > 1:
        correlation = float(spearman(np.array(noise), np.array(damage)))
    return Sensitivity(base, tuple(layers), correlation)


def quantized_alone(base: Candidate, path: str) -> Candidate:
    """The candidate with one layer as it has it, and all others in float."""
    keep: Literal["int8", "per-token"] = "per-token" if base.recipe.rounds_by_token(path) else "int8"
    rules = (LayerRule(match="*", keep="float"), LayerRule(match=escaped(path), keep=keep))
    return canonical(Candidate(base.recipe.model_copy(update={"layers": rules}), base.engine))


def _order(base: Candidate, sensitivity: Sensitivity, trial: Trial) -> list[str]:
    """The layers that may be kept float: those that were measured by what they did, then by their stored errors."""
    measured = [layer.path for layer in sensitivity.layers]
    rest = [layer.path for layer in _quantized(trial) if layer.path not in measured]
    return [path for path in (*measured, *rest) if not _kept(base.recipe, path)]


def _quantized(trial: Trial) -> list[LayerState]:
    """The layers that are not float, those with the largest error first."""
    layers = trial.quality.layers if trial.quality else ()
    known = [layer for layer in layers if not layer.dtype.startswith("float") and layer.decibels is not None]
    return sorted(known, key=lambda layer: layer.decibels or 0.0)


def _kept(recipe: Recipe, path: str) -> bool:
    return any(rule.keep.startswith("float") and fnmatchcase(path, rule.match) for rule in recipe.layers)


def _with(recipe: Recipe, **settings: object) -> Recipe:
    return recipe.model_copy(update=settings)
