"""How a SparseEncoder of sentence-transformers (SPLADE) says that a masked-LM head becomes weights of words."""

from pathlib import Path
from typing import Any

from octavo.checkpoint.pooling import MODULES, SETTINGS, SIMILARITIES, read_prompts, read_table
from octavo.errors import CheckpointError
from octavo.schema.signature import SparsePooling

CHAIN = ["Transformer", "SpladePooling"]
ACTIVATIONS = ("relu", "log1p_relu")


def is_sparse_encoder(folder: Path) -> bool:
    """Whether `modules.json` is of one."""
    stored = read_table(folder / SETTINGS, dict).get("model_type")
    return stored == "SparseEncoder" or "SpladePooling" in _kinds(folder)


def read_sparse(folder: Path) -> SparsePooling:
    """The settings of `SpladePooling`; its defaults, as sentence-transformers takes them, where there is no folder.

    Raises:
        CheckpointError: a module or a setting that is not carried over.
    """
    if not (folder / MODULES).exists():
        return SparsePooling()
    kinds = _kinds(folder)
    if [kind.replace("MLMTransformer", "Transformer") for kind in kinds] != CHAIN:
        _refuse(folder / MODULES, f"the modules {', '.join(kinds)}", ", ".join(CHAIN))
    path = str(read_table(folder / MODULES, list)[1].get("path", ""))
    own = read_table(folder / path / "config.json", dict)
    if (mode := own.get("pooling_strategy", "max")) != "max":
        _refuse(folder / path, f"pooling_strategy {mode}", "max")
    if (activation := own.get("activation_function", "relu")) not in ACTIVATIONS:
        _refuse(folder / path, f"activation_function {activation}", ", ".join(ACTIVATIONS))
    if read_table(folder / "sentence_bert_config.json", dict).get("do_lower_case"):
        _refuse(folder, "do_lower_case in sentence_bert_config.json", "lower-casing in tokenizer.json")
    settings = read_table(folder / SETTINGS, dict)
    if settings.get("max_active_dims"):
        _refuse(folder / SETTINGS, f"max_active_dims {settings['max_active_dims']}", "none: ask for top_k")
    prompts, default = read_prompts(settings)
    return SparsePooling(
        activation=activation, prompts=prompts, default_prompt=default, similarity=_similarity(settings, folder)
    )


def _similarity(settings: dict[str, Any], folder: Path) -> Any:
    """`similarity_fn_name`; the dot product where it is not told, as SparseEncoder has it."""
    name = str(settings.get("similarity_fn_name") or "dot").replace("dot_product", "dot")
    if name not in SIMILARITIES:
        _refuse(folder / SETTINGS, f"similarity_fn_name {name}", ", ".join(SIMILARITIES))
    return name


def _kinds(folder: Path) -> list[str]:
    modules = read_table(folder / MODULES, list) if (folder / MODULES).exists() else []
    return [str(module.get("type", "")).rpartition(".")[2] for module in modules]


def _refuse(where: Path, got: str, allowed: str) -> None:
    raise CheckpointError("this SparseEncoder is not carried over", where=where, got=got, allowed=allowed)
