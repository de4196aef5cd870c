"""`config.json` with the defaults of its class in transformers: task, labels, limit, signature."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from octavo.checkpoint.generation_config import read_generation
from octavo.checkpoint.libraries import require_torch, silent_transformers
from octavo.checkpoint.pooling import read_pooling
from octavo.checkpoint.tokenizer import TokenizerParts
from octavo.data.json_text import read_json
from octavo.errors import CheckpointError
from octavo.schema.signature import Signature, task_name
from octavo.tasks import task_class

ARCHITECTURES = {  # how the class names of transformers end -> the task they are for
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForMultipleChoice": "multiple-choice",
    "ForMaskedLM": "fill-mask",
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
    "ForConditionalGeneration": "text2text-generation",
    "MTModel": "text2text-generation",
    "Model": "feature-extraction",
}
# Models whose position ids start after the padding id: a table of 514 rows is for 512 tokens.
_OFFSET_POSITIONS = {
    "roberta", "xlm-roberta", "xlm-roberta-xl", "roberta-prelayernorm", "camembert", "xmod", "mpnet", "data2vec-text",
    "ibert", "longformer", "luke", "lilt", "markuplm", "esm",
}  # fmt: skip


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json` as it is.

    Raises:
        CheckpointError: it is absent, or no table of settings.
    """
    path = folder / "config.json"
    if not path.exists():
        onnx = sorted(file.name for file in folder.rglob("*.onnx"))
        raise CheckpointError(
            "no config.json",
            where=folder,
            got=f"only ONNX files: {', '.join(onnx[:3])}" if onnx else None,
            then="give the folder that save_pretrained wrote",
        )
    try:
        config = read_json(path)
    except (OSError, ValueError) as error:
        raise CheckpointError("config.json is not JSON", where=path, got=error) from None
    if not isinstance(config, dict):
        raise CheckpointError("config.json is not a table", where=path, got=type(config).__name__)
    names = config.get("id2label")
    if names is not None and not (isinstance(names, dict) and all(str(key).isdigit() for key in names)):
        raise CheckpointError("id2label is not a table of ids and names", where=path, got=f"{names!r:.80}")
    return config


def fill_config(folder: Path, stored: dict[str, Any]) -> dict[str, Any]:
    """The config with the defaults of its class, which files leave out."""
    _, transformers = require_torch()
    with silent_transformers(transformers):
        try:
            config: dict[str, Any] = transformers.AutoConfig.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            ).to_dict()
        except Exception as error:  # transformers raises whatever the config's class raises
            got, then = explain_failure(error, stored)
            raise CheckpointError("transformers cannot read config.json", where=folder, got=got, then=then) from None
    return config


def explain_failure(error: Exception, config: Mapping[str, Any]) -> tuple[str, str | None]:
    """What transformers said, cut at 300 letters; and the next step, where the config asks for code of its own."""
    then = "it needs code from the checkpoint, which Octavo does not run" if "auto_map" in config else None
    return " ".join(str(error).split())[:300], then


def architectures(config: Mapping[str, Any]) -> list[str]:
    """The class names that a config lists."""
    stored = config.get("architectures")
    return [name for name in stored if isinstance(name, str)] if isinstance(stored, list) else []


def task_of(config: Mapping[str, Any], folder: Path) -> str:
    """The task that `architectures` in a config tells.

    Raises:
        CheckpointError: they tell none.
    """
    if (folder / "modules.json").exists():  # of sentence-transformers
        return "feature-extraction"
    names = architectures(config)
    for name in names:
        for ending, task in ARCHITECTURES.items():
            if name.endswith(ending):
                return task
    got = f"architectures: {', '.join(names) or 'none'}"
    raise CheckpointError("config.json does not tell the task", where=folder, got=got, then="name it with --task")


def choose_task(config: Mapping[str, Any], folder: Path, asked: str | None) -> str:
    """The task that was asked for, or that the config tells.

    Any encoder gives vectors; a model trained for one task is refused for any other, though its weights may fit.

    Raises:
        CheckpointError: the config tells another task than the one that was asked for, or none.
    """
    if asked is None:
        return task_of(config, folder)
    task = task_name(asked)
    try:
        trained = task_of(config, folder)
    except CheckpointError:
        return task
    if task not in {trained, "feature-extraction"} and trained != "feature-extraction":
        raise CheckpointError(
            f"this is a model for {trained}, and not for {task}",
            where=folder,
            got=f"architectures: {', '.join(architectures(config))}",
            then=f"quantize it as {trained} (or without a task), or give a checkpoint that was trained for {task}",
        )
    return task


def label_names(config: dict[str, Any], given: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    """The labels in id order: those given, else the config's (transformers fills in LABEL_0, LABEL_1, ...)."""
    stored = config["id2label"]
    names = tuple(str(stored[key]) for key in sorted(stored, key=int))
    if not all(given):
        raise CheckpointError("--labels has an empty name", got=",".join(given))
    if given and len(given) != len(names):
        got, allowed = ", ".join(given), f"{len(names)} names"
        raise CheckpointError("--labels does not fit the model", where=folder, got=got, allowed=allowed)
    if len(set(given)) != len(given):
        raise CheckpointError("--labels has a name twice", got=", ".join(given))
    return given or names


def _max_length(folder: Path, config: dict[str, Any], tokenizer_limit: int | None, pad_token_id: int) -> int:
    """sentence-transformers' `max_seq_length`, else the smaller of the tokenizer's limit and the model's."""
    positions = config.get("max_position_embeddings") or config.get("n_positions")
    if positions and config.get("model_type") in _OFFSET_POSITIONS:
        positions -= config.get("pad_token_id", pad_token_id) + 1
    file = folder / "sentence_bert_config.json"
    if file.exists():
        try:
            limit = read_json(file).get("max_seq_length")
        except (OSError, ValueError, AttributeError) as error:
            raise CheckpointError("not a table of settings", where=file, got=error) from None
        tokenizer_limit = limit or tokenizer_limit
    limits = [limit for limit in (tokenizer_limit, positions) if limit]
    if not limits:
        raise CheckpointError("neither tokenizer nor model tells how long an input may be", where=folder)
    if min(limits) < 1:
        raise CheckpointError("no input is as short as this limit", where=folder, got=min(limits))
    return int(min(limits))


def make_signature(
    folder: Path, config: dict[str, Any], parts: TokenizerParts, task: str, labels: tuple[str, ...]
) -> Signature:
    """The model's signature: token types only where it has two of them and its tokenizer gives them."""
    kind = task_class(task)
    width = config.get("hidden_size") or config.get("dim") or config.get("n_embd") or 0
    types = "token_type_ids" in parts.input_names and (config.get("type_vocab_size") or 0) > 1 and not kind.writes
    if kind.fills and parts.mask_token_id is None:
        raise CheckpointError("the tokenizer has no mask token, which fill-mask needs", where=folder)
    pad = parts.pad_token_id if parts.pad_token_id is not None else config.get("pad_token_id")
    return Signature(
        task=task,
        input_names=(
            "input_ids",
            "attention_mask",
            *(("token_type_ids",) if types else ()),
            *(("decoder_input_ids", "decoder_attention_mask") if kind.is_encoder_decoder else ()),
        ),
        output_names=kind.output_names,
        max_length=_max_length(folder, config, parts.max_length, pad or 0),
        pad_token_id=pad or 0,  # without one any id will do: the mask hides it
        unk_token_id=parts.unk_token_id,
        truncation_side="left" if kind.continues else parts.truncation_side,
        labels=labels,
        problem_type=config.get("problem_type") if kind.labelled else None,
        pooling=read_pooling(folder, int(width)) if kind.pools else None,
        mask_token_id=parts.mask_token_id if kind.fills else None,
        generation=read_generation(folder, config, answers=kind.is_encoder_decoder) if kind.writes else None,
    )
