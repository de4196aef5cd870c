"""What a sentence-transformers folder says of pooling, and its arithmetic in numpy. It knows nothing of engines."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from octavo.errors import CheckpointError
from octavo.signature import Pooling, PoolingMode, Step

MODULES = "modules.json"
SETTINGS = "config_sentence_transformers.json"
# Settings of before sentence-transformers 6 -> the modes of today, in the order in which their results stand.
_FLAGS: dict[str, PoolingMode] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_TINY = 1e-12  # below it a vector is not divided by its length, as torch.nn.functional.normalize has it
Dense = tuple[NDArray[np.float32], NDArray[np.float32] | None]  # weight [outputs, inputs], bias [outputs]


def read_pooling(folder: Path, width: int) -> Pooling:
    """What `modules.json` says, or the mean over tokens where there is none, as sentence-transformers takes it.

    `width` is the length of a token's vector.

    Raises:
        CheckpointError: a module that is not carried over, or settings that cannot be read.
    """
    if not (folder / MODULES).exists():
        return Pooling(modes=("mean",), dimension=width)
    modes: tuple[PoolingMode, ...] = ()
    steps: list[Step] = []
    dimension = width
    for module in _json(folder / MODULES, list):
        kind, path = str(module.get("type", "")).rpartition(".")[2], str(module.get("path", ""))
        if not re.fullmatch(r"(\w[\w.-]*)?", path):  # a name in this folder: the artifact gets a folder of that name
            _refuse(folder / MODULES, f"the path {path!r}", "a folder beside modules.json")
        if kind == "Pooling" and not modes:
            settings = _json(folder / path / "config.json", dict)
            modes = _modes(settings, folder / path)
            dimension = width * len(modes)
        elif kind == "Dense" and modes:
            settings = _json(folder / path / "config.json", dict)
            steps.append(_dense(settings, path, folder))
            dimension = int(settings["out_features"])
        elif kind == "Normalize" and modes:
            steps.append(Step(kind="normalize"))
        elif kind != "Dropout" and (kind != "Transformer" or modes):
            _refuse(folder / MODULES, f"the module {kind or module!r}", "Transformer, Pooling, Dense, Normalize")
    if not modes:
        _refuse(folder / MODULES, "no Pooling", "Transformer, Pooling, Dense, Normalize")
    if _json(folder / "sentence_bert_config.json", dict).get("do_lower_case"):
        _refuse(folder, "do_lower_case in sentence_bert_config.json", "lower-casing in tokenizer.json")
    stated = _json(folder / SETTINGS, dict)
    prompts = {str(name): str(text) for name, text in (stated.get("prompts") or {}).items()}
    default = stated.get("default_prompt_name")
    return Pooling(
        modes=modes,
        dimension=dimension,
        steps=tuple(steps),
        prompts=prompts,
        default_prompt=default if default in prompts else None,
    )


def pooling_files(folder: Path, pooling: Pooling) -> dict[str, bytes]:
    """The files that say it, path in the folder -> content: as sentence-transformers looks for them."""
    modules = _json(folder / MODULES, list) if (folder / MODULES).exists() else []
    names = [MODULES, SETTINGS, "sentence_bert_config.json"]
    names += [f"{module['path']}/config.json" for module in modules if module.get("path")]
    names += [f"{step.folder}/model.safetensors" for step in pooling.steps if step.kind == "dense"]
    return {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}


def read_dense(folder: Path, pooling: Pooling) -> dict[str, Dense]:
    """The weights of the Dense steps, by their folders.

    Raises:
        CheckpointError: they are not there or not as they should be.
    """
    found = {}
    for step in pooling.steps:
        if step.kind == "dense":
            from safetensors.numpy import load_file

            file = folder / step.folder / "model.safetensors"
            try:
                stored = load_file(file)
                weight, bias = stored["linear.weight"].astype(np.float32), stored.get("linear.bias")
            except Exception as error:  # safetensors has an exception of its own
                raise CheckpointError("the weights of a Dense cannot be read", where=file, got=error) from None
            if not all(np.isfinite(array).all() for array in stored.values()):
                raise CheckpointError("weights that are NaN or infinite", where=file)
            found[step.folder] = weight, None if bias is None else bias.astype(np.float32)
    return found


def embed(
    hidden: NDArray[np.float32], mask: NDArray[np.int64], pooling: Pooling, dense: Mapping[str, Dense]
) -> NDArray[np.float32]:
    """One vector for each text: [batch, length, width] and a mask [batch, length] -> [batch, dimension].

    Padding is on the right. As sentence-transformers' Pooling, Dense and Normalize compute it.
    """
    vectors = np.concatenate([_pool(hidden, mask, mode) for mode in pooling.modes], axis=1)
    for step in pooling.steps:
        if step.kind == "normalize":
            vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _TINY)
        else:
            weight, bias = dense[step.folder]
            vectors = vectors @ weight.T + (0 if bias is None else bias)
            vectors = _activate(vectors, step.activation)
    return np.asarray(vectors, np.float32)


def _pool(hidden: NDArray[np.float32], mask: NDArray[np.int64], mode: PoolingMode) -> NDArray[np.float32]:
    counts = mask.sum(axis=1)
    if mode == "cls":
        return hidden[:, 0]
    if mode == "lasttoken":
        return np.asarray(hidden[np.arange(len(hidden)), counts - 1])
    if mode == "max":
        return np.asarray(np.where(mask[:, :, None] == 0, -np.inf, hidden).max(axis=1), np.float32)
    weights = mask.astype(np.float32)
    if mode == "weightedmean":  # later tokens weigh more: Muennighoff 2022, SGPT
        weights = weights * np.arange(1, mask.shape[1] + 1, dtype=np.float32)
    total = np.einsum("blw,bl->bw", hidden, weights)
    share = weights.sum(axis=1, keepdims=True)
    return np.asarray(total / (np.sqrt(share) if mode == "mean_sqrt_len_tokens" else share), np.float32)


def _activate(x: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    if name == "Tanh":
        return np.tanh(x)
    if name == "ReLU":
        return np.maximum(x, 0)
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)), np.float32) if name == "Sigmoid" else x


def _modes(settings: dict[str, Any], folder: Path) -> tuple[PoolingMode, ...]:
    flagged = [mode for flag, mode in _FLAGS.items() if settings.get(flag)] or ["mean"]
    stated = settings.get("pooling_mode") or flagged
    stated = [stated] if isinstance(stated, str) else stated
    modes = tuple(mode for mode in get_args(PoolingMode) if mode in stated)
    if len(modes) != len(stated):
        _refuse(folder, f"pooling_mode {', '.join(map(str, stated))}", ", ".join(get_args(PoolingMode)))
    if settings.get("include_prompt") is False:
        _refuse(folder, "include_prompt = false (prompts that are left out of the mean)", "include_prompt = true")
    return modes


def _dense(settings: dict[str, Any], path: str, folder: Path) -> Step:
    names = ("Identity", "Tanh", "ReLU", "Sigmoid")
    name = str(settings.get("activation_function", "Tanh")).rpartition(".")[2]
    if name not in names:
        _refuse(folder / path, f"activation_function {name}", ", ".join(names))
    if not (folder / path / "model.safetensors").exists():
        old = (folder / path / "pytorch_model.bin").exists()
        raise CheckpointError(
            "a Dense has no model.safetensors",
            where=folder / path,
            got="pytorch_model.bin" if old else None,
            then="save the model again with a newer sentence-transformers",
        )
    if settings.get("module_input_name", "sentence_embedding") != "sentence_embedding":
        _refuse(folder / path, f"module_input_name {settings['module_input_name']}", "sentence_embedding")
    return Step(kind="dense", folder=path, activation=name)  # type: ignore[arg-type]  # it is one of the names


def _refuse(where: Path, got: str, allowed: str) -> None:
    raise CheckpointError("this sentence-transformers model is not carried over", where=where, got=got, allowed=allowed)


def _json(path: Path, kind: type) -> Any:
    """The file's value; an empty one of its kind where a table is not there."""
    if not path.exists() and kind is dict:
        return {}
    try:
        value: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError("cannot be read", where=path, got=error) from None
    inner: Any = value if isinstance(value, list) else []
    if not isinstance(value, kind) or not all(isinstance(one, dict) for one in inner):
        raise CheckpointError("not as sentence-transformers writes it", where=path, got=f"{value!r:.80}")
    return value
