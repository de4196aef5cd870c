"""How a sentence-transformers folder says that token vectors are pooled."""

import re
from pathlib import Path
from typing import Any, get_args

from octavo.data.json_text import read_json
from octavo.errors import CheckpointError
from octavo.schema.signature import Pooling, PoolingMode, Step

MODULES = "modules.json"
SETTINGS = "config_sentence_transformers.json"
SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")
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
        elif kind == "Dense" and modes:
            settings = read_table(folder / path / "config.json", dict)
            steps.append(_dense(settings, path, folder))
            dimension = int(settings["out_features"])
        elif kind == "Normalize" and modes:
            steps.append(Step(kind="normalize"))
        elif kind != "Dropout" and (kind != "Transformer" or modes):
            _refuse(folder / MODULES, f"the module {kind or module!r}", "Transformer, Pooling, Dense, Normalize")
    if not modes:
        _refuse(folder / MODULES, "no Pooling", "Transformer, Pooling, Dense, Normalize")
    if read_table(folder / "sentence_bert_config.json", dict).get("do_lower_case"):
        _refuse(folder, "do_lower_case in sentence_bert_config.json", "lower-casing in tokenizer.json")
    settings = read_table(folder / SETTINGS, dict)
    prompts = {str(name): str(text) for name, text in (settings.get("prompts") or {}).items()}
    default = settings.get("default_prompt_name")
    return Pooling(
        modes=modes,
        dimension=dimension,
        steps=tuple(steps),
        prompts=prompts,
        default_prompt=default if default in prompts else None,
        similarity=_similarity(settings, folder),
    )


def pooling_files(folder: Path, pooling: Pooling) -> dict[str, bytes]:
    """The files that describe the pooling, path in the folder -> content, as sentence-transformers reads them."""
    modules = read_table(folder / MODULES, list) if (folder / MODULES).exists() else []
    names = [MODULES, SETTINGS, "sentence_bert_config.json"]
    names += [f"{module['path']}/config.json" for module in modules if module.get("path")]
    names += [f"{step.folder}/model.safetensors" for step in pooling.steps if step.kind == "dense"]
    return {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}


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


def _similarity(settings: dict[str, Any], folder: Path) -> Any:
    """`similarity_fn_name`, in the names of sentence-transformers; the cosine where it is not told."""
    name = str(settings.get("similarity_fn_name") or "cosine").replace("dot_product", "dot")
    if name not in SIMILARITIES:
        _refuse(folder / SETTINGS, f"similarity_fn_name {name}", ", ".join(SIMILARITIES))
    return name


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
