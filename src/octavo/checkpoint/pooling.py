"""How a sentence-transformers folder says that token vectors are pooled."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray

from octavo.data.json_text import read_json
from octavo.errors import CheckpointError
from octavo.schema.signature import Activation, Pooling, PoolingMode, Step, TokenVectors

MODULES = "modules.json"
SETTINGS = "config_sentence_transformers.json"
CHAIN = "Transformer, Pooling, Dense, LayerNorm, Normalize"
SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")
Weights = dict[str, NDArray[np.float32]]  # of a step, by the names that sentence-transformers stores
_NAMES = {  # the first is always there; a residual is projected where the sizes differ
    "dense": ("linear.weight", "linear.bias", "residual.weight"),
    "layernorm": ("norm.weight", "norm.bias"),
}
# Settings before sentence-transformers 6 -> the modes, in the order in which their results are concatenated.
_FLAGS: dict[str, PoolingMode] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


def read_pooling(folder: Path, width: int) -> Pooling:
    """The pooling of `modules.json`, or the mean over tokens where there is none, as sentence-transformers takes it.

    `width` is the length of a token's vector.

    Raises:
        CheckpointError: a module that is not carried over, or settings that cannot be read.
    """
    if not (folder / MODULES).exists():
        return Pooling(modes=("mean",), dimension=width)
    modes, steps, dimension = tuple[PoolingMode, ...](), list[Step](), width
    for module in read_table(folder / MODULES, list):
        kind, path = str(module.get("type", "")).rpartition(".")[2], str(module.get("path", ""))
        if not re.fullmatch(r"(\w[\w.-]*)?", path):  # a name in this folder: the artifact gets a folder of that name
            _refuse(folder / MODULES, f"the path {path!r}", "a folder beside modules.json")
        if kind == "Pooling" and not modes:
            settings = read_table(folder / path / "config.json", dict)
            modes = _modes(settings, folder / path)
            dimension = width * len(modes)
        elif kind in _STEPS and modes:
            steps.append(_STEPS[kind](folder, path))
            if kind == "Dense":
                dimension = int(read_table(folder / path / "config.json", dict)["out_features"])
        elif kind != "Dropout" and (kind != "Transformer" or modes):
            _refuse(folder / MODULES, f"the module {kind or module!r}", CHAIN)
    if not modes:
        _refuse(folder / MODULES, "no Pooling", CHAIN)
    if read_table(folder / "sentence_bert_config.json", dict).get("do_lower_case"):
        _refuse(folder, "do_lower_case in sentence_bert_config.json", "lower-casing in tokenizer.json")
    settings = read_table(folder / SETTINGS, dict)
    dimension, more = _truncation(settings, dimension, folder)
    prompts, default = read_prompts(settings)
    return Pooling(
        modes=modes,
        dimension=dimension,
        steps=(*steps, *more),
        prompts=prompts,
        default_prompt=default,
        similarity=_similarity(settings, folder),
    )


def read_prompts(settings: dict[str, Any]) -> tuple[dict[str, str], str | None]:
    """The prompts, and the name of the one that is used where none is asked for."""
    prompts = {str(name): str(text) for name, text in (settings.get("prompts") or {}).items()}
    default = settings.get("default_prompt_name")
    return prompts, default if default in prompts else None


def pooling_files(folder: Path, steps: Sequence[Step] = ()) -> dict[str, bytes]:
    """The files that describe the pooling, path in the folder -> content, as sentence-transformers reads them."""
    modules = read_table(folder / MODULES, list) if (folder / MODULES).exists() else []
    names = [MODULES, SETTINGS, "sentence_bert_config.json"]
    names += [f"{module['path']}/config.json" for module in modules if module.get("path")]
    names += [f"{step.folder}/model.safetensors" for step in steps if step.folder]
    return {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}


def read_steps(folder: Path, how: Pooling | TokenVectors) -> dict[str, Weights]:
    """The weights of the steps that lead to vectors, by their folders.

    Raises:
        CheckpointError: they are not there or not as they should be.
    """
    weights = {}
    for step in (step for step in how.steps if step.folder):
        from safetensors.numpy import load_file

        file, wanted = folder / step.folder / "model.safetensors", _NAMES[step.kind][: 2 + step.residual]
        try:
            stored = {name: array.astype(np.float32) for name, array in load_file(file).items()}
            first = stored[wanted[0]]
            if step.residual and first.shape[0] != first.shape[1]:
                stored[wanted[2]]  # it has to be there
        except Exception as error:  # safetensors has an exception of its own
            kind = "Dense" if step.kind == "dense" else "LayerNorm"
            raise CheckpointError(f"the weights of a {kind} cannot be read", where=file, got=error) from None
        if unknown := sorted(set(stored) - set(wanted)):
            raise CheckpointError("weights that nothing reads", where=file, got=", ".join(unknown)[:80])
        if not all(np.isfinite(array).all() for array in stored.values()):
            raise CheckpointError("weights that are NaN or infinite", where=file)
        weights[step.folder] = stored
    cut = any(step.kind == "truncate" for step in how.steps)
    if weights and (len(first) < how.dimension if cut else len(first) != how.dimension):
        got, allowed = f"out_features {how.dimension!s:.20}", len(first)
        raise CheckpointError("the weights of a Dense have another size", where=file, got=got, allowed=allowed)
    return weights


def _modes(settings: dict[str, Any], folder: Path) -> tuple[PoolingMode, ...]:
    flags = [mode for flag, mode in _FLAGS.items() if settings.get(flag)] or ["mean"]
    names = settings.get("pooling_mode") or flags
    names = [names] if isinstance(names, str) else names
    modes = tuple(mode for mode in get_args(PoolingMode) if mode in names)
    if len(modes) != len(names):
        _refuse(folder, f"pooling_mode {', '.join(map(str, names))}", ", ".join(get_args(PoolingMode)))
    if settings.get("include_prompt") is False:
        _refuse(folder, "include_prompt = false (prompts that are left out of the mean)", "include_prompt = true")
    return modes


def _truncation(settings: dict[str, Any], dimension: int, folder: Path) -> tuple[int, list[Step]]:
    """How many numbers `truncate_dim` leaves, and the step that does it."""
    kept = settings.get("truncate_dim")
    if kept is None:
        return dimension, []
    if type(kept) is not int or kept < 1:
        _refuse(folder / SETTINGS, f"truncate_dim {kept!r:.40}", "a number of dimensions")
    return min(dimension, kept), [Step(kind="truncate", dimension=min(dimension, kept))]


def _similarity(settings: dict[str, Any], folder: Path) -> Any:
    """`similarity_fn_name`, in the names of sentence-transformers; the cosine where it is not told."""
    name = str(settings.get("similarity_fn_name") or "cosine").replace("dot_product", "dot")
    if name not in SIMILARITIES:
        _refuse(folder / SETTINGS, f"similarity_fn_name {name}", ", ".join(SIMILARITIES))
    return name


def dense_step(folder: Path, path: str) -> Step:
    """A Dense of a folder, whatever vector it works on.

    Raises:
        CheckpointError: it has another activation, or no weights that can be read.
    """
    settings, names = read_table(folder / path / "config.json", dict), get_args(Activation)
    name = str(settings.get("activation_function", "Tanh")).rpartition(".")[2]
    if name not in names:
        _refuse(folder / path, f"activation_function {name}", ", ".join(names))
    _require_weights(folder / path, "Dense")
    residual = bool(settings.get("use_residual"))
    return Step(kind="dense", folder=path, activation=cast("Activation", name), residual=residual)


def _dense(folder: Path, path: str) -> Step:
    _require_sentence(read_table(folder / path / "config.json", dict), folder / path)
    return dense_step(folder, path)


def _layer_norm(folder: Path, path: str) -> Step:
    _require_weights(folder / path, "LayerNorm")
    return Step(kind="layernorm", folder=path)


def _normalize(folder: Path, path: str) -> Step:
    settings = read_table(folder / path / "config.json", dict) if path else {}
    _require_sentence(settings, folder / path)
    return Step(kind="normalize")


_STEPS: dict[str, Callable[[Path, str], Step]] = {"Dense": _dense, "LayerNorm": _layer_norm, "Normalize": _normalize}


def _require_weights(folder: Path, kind: str) -> None:
    if not (folder / "model.safetensors").exists():
        old = (folder / "pytorch_model.bin").exists()
        raise CheckpointError(
            f"a {kind} has no model.safetensors",
            where=folder,
            got="pytorch_model.bin" if old else None,
            then="save the model again with a newer sentence-transformers",
        )


def _require_sentence(settings: dict[str, Any], where: Path) -> None:
    """See that a module works on the vector of the text, and puts it back there."""
    for name in ("module_input_name", "module_output_name"):
        if settings.get(name) not in {None, "sentence_embedding"}:
            _refuse(where, f"{name} {settings[name]}", "sentence_embedding")


def _refuse(where: Path, got: str, allowed: str) -> None:
    raise CheckpointError("this sentence-transformers model is not carried over", where=where, got=got, allowed=allowed)


def read_table(path: Path, kind: type) -> Any:
    """The file's value; an empty one of its kind where a table is not there."""
    if not path.exists() and kind is dict:
        return {}
    try:
        value = read_json(path)
    except (OSError, ValueError) as error:
        raise CheckpointError("cannot be read", where=path, got=error) from None
    items: list[Any] = value if isinstance(value, list) else []
    if not isinstance(value, kind) or not all(isinstance(item, dict) for item in items):
        raise CheckpointError("not as sentence-transformers writes it", where=path, got=f"{value!r:.80}")
    return value
