"""A CrossEncoder of sentence-transformers, which scores pairs: which folders are one, and what their scores are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from octavo.checkpoint.pooling import MODULES, SETTINGS, read_table
from octavo.errors import CheckpointError


def is_cross_encoder(folder: Path, *, classifies: bool) -> bool:
    """Whether `modules.json` is of one, as sentence-transformers writes it since 5.4; earlier ones have no such file.

    `classifies`: the class that the config names is a classifier of texts.
    """
    stored = read_table(folder / SETTINGS, dict).get("model_type")
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in read_table(folder / MODULES, list)]
    return bool(stored == "CrossEncoder" or (stored is None and classifies and kinds == ["Transformer"]))


def score_type(folder: Path, config: Mapping[str, Any], labels: int) -> str | None:
    """The `problem_type` under which the scores of a classifier are those that its folder asks for.

    A CrossEncoder stores the activation of its scores: Identity is what `regression` does, Sigmoid what
    `multi_label_classification` does. For several labels Identity is only sentence-transformers' default, and the
    scores stay the pipeline's. Sources: `CrossEncoder.get_default_activation_fn` and `_parse_model_config`.

    Raises:
        CheckpointError: another activation, or a module or a prompt that is not carried over.
    """
    problem: str | None = config.get("problem_type")
    path = _stored_activation(folder, config)
    if (folder / MODULES).exists() and is_cross_encoder(folder, classifies=True):
        _require_plain(folder)
        path = path or ("torch.nn.Sigmoid" if labels == 1 else None)
    if path is None:
        return problem
    name = path.rpartition(".")[2] if path.startswith("torch.") else path
    if name == "Sigmoid":
        return problem if labels == 1 and problem != "regression" else "multi_label_classification"
    if name == "Identity":
        return "regression" if labels == 1 else problem
    if name == "Softmax" and labels > 1:
        return "single_label_classification"
    _refuse(folder, f"activation_fn {path}", "torch's Identity, Sigmoid, or Softmax of several labels")
    return None


def _stored_activation(folder: Path, config: Mapping[str, Any]) -> str | None:
    """Of `config_sentence_transformers.json`, else of config.json: since 4.0, before it."""
    own = config.get("sentence_transformers")
    for stored in (
        read_table(folder / SETTINGS, dict).get("activation_fn"),
        own.get("activation_fn") if isinstance(own, dict) else None,
        config.get("sbert_ce_default_activation_function"),
    ):
        if stored:
            return str(stored)
    return None


def _require_plain(folder: Path) -> None:
    """See that nothing stands before or behind the Transformer.

    Raises:
        CheckpointError: another module, a prompt before each text, or lower-casing that the tokenizer does not know of.
    """
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in read_table(folder / MODULES, list)]
    if kinds != ["Transformer"]:
        _refuse(folder / MODULES, f"the modules {', '.join(kinds)}", "Transformer alone")
    settings = read_table(folder / SETTINGS, dict)
    name = settings.get("default_prompt_name")
    if name is not None and (settings.get("prompts") or {}).get(name):
        _refuse(folder / SETTINGS, f"default_prompt_name {name}", "no default prompt")
    if read_table(folder / "sentence_bert_config.json", dict).get("do_lower_case"):
        _refuse(folder, "do_lower_case in sentence_bert_config.json", "lower-casing in tokenizer.json")


def _refuse(where: Path, got: str, allowed: str) -> None:
    raise CheckpointError("this CrossEncoder is not carried over", where=where, got=got, allowed=allowed)
