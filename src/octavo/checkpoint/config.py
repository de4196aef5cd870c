"""`config.json` with the defaults of its class in transformers: task, labels, limit, signature."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from octavo.checkpoint.cross_encoder import is_cross_encoder, score_type
from octavo.checkpoint.generation_config import read_generation
from octavo.checkpoint.libraries import require_torch, silent_transformers
from octavo.checkpoint.pooling import MODULES, read_pooling
from octavo.checkpoint.sparse import is_sparse_encoder, read_sparse
from octavo.checkpoint.token_vectors import Reader, is_colbert, read_token_vectors
from octavo.checkpoint.tokenizer import TokenizerParts
from octavo.data.json_text import read_json
from octavo.errors import CheckpointError, OctavoWarning
from octavo.schema.documents import not_finite
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
# What a caller may ask of a model in transformers, and what saves memory: it changes no answer, only what comes with
# it, how it is packed, or by which kernel it is computed. A graph has one way.
CONVENIENCE = {
    "output_hidden_states": False,
    "output_attentions": False,
    "output_router_logits": False,
    "return_dict": True,
    "torchscript": False,
    "chunk_size_feed_forward": 0,
    "_attn_implementation": None,
}
# Models whose position ids start after the padding id: a table of 514 rows is for 512 tokens.
OFFSET_POSITIONS = {
    "roberta", "xlm-roberta", "xlm-roberta-xl", "roberta-prelayernorm", "camembert", "xmod", "mpnet", "data2vec-text",
    "ibert", "longformer", "luke", "lilt", "markuplm", "esm",
}  # fmt: skip
# Models that read what stands behind a text as part of it, in torch too: convolutions over tokens (ConvBERT), the
# vectors of neighbours (MobileBERT), Fourier transforms over the row (FNet).
EXACT_LENGTHS = {"convbert", "fnet", "mobilebert"}
MOST_LAYERS = 10_000  # transformers would make more for hours


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
    _require_finite(config, path)
    names = config.get("id2label")
    ids = isinstance(names, dict) and all(str(key).isdigit() for key in names)
    if names is not None and not (ids and all(isinstance(name, str | int | float | None) for name in names.values())):
        raise CheckpointError("id2label is not a table of ids and names", where=path, got=f"{names!r:.80}")
    return config


def load_config(folder: Path) -> Any:
    """The config as transformers' object of its class, without the settings that only shape a model's outputs."""
    _, transformers = require_torch()
    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    for name, value in CONVENIENCE.items():
        if hasattr(config, name):
            setattr(config, name, value)
    return config


def fill_config(folder: Path, stored: dict[str, Any]) -> dict[str, Any]:
    """The config with the defaults of its class, which files leave out."""
    _, transformers = require_torch()
    with silent_transformers(transformers):
        try:
            config: dict[str, Any] = load_config(folder).to_dict()
        except Exception as error:  # transformers raises whatever the config's class raises
            got, then = explain_failure(error, stored)
            raise CheckpointError("transformers cannot read config.json", where=folder, got=got, then=then) from None
    _require_finite(config, folder)  # transformers has a spelling of its own for numbers that are not
    return config


def _require_finite(config: Mapping[str, Any], where: Path) -> None:
    if number := not_finite(config):
        raise CheckpointError("a setting is NaN or infinite", where=where, got=number)
    for name, value in config.items():
        if "layers" in name and isinstance(value, int) and value > MOST_LAYERS:
            raise CheckpointError(f"{name} is out of range", where=where, got=f"{value!s:.20}", allowed=MOST_LAYERS)


def explain_failure(error: Exception, config: Mapping[str, Any]) -> tuple[str, str | None]:
    """What transformers said, cut at 300 letters; and the next step, where the config asks for code of its own."""
    then = "it needs code from the checkpoint, which Octavo does not run" if "auto_map" in config else None
    return " ".join(str(error).split())[:300], then


def architectures(config: Mapping[str, Any]) -> list[str]:
    """The class names that a config lists."""
    stored = config.get("architectures")
    return [name for name in stored if isinstance(name, str)] if isinstance(stored, list) else []


def head_task(architecture: str) -> str | None:
    """The task that the name of a class tells; None where it tells none."""
    return next((task for ending, task in ARCHITECTURES.items() if architecture.endswith(ending)), None)


def task_of(config: Mapping[str, Any], folder: Path) -> str:
    """The task that `architectures` in a config tells.

    Raises:
        CheckpointError: they tell none.
    """
    names = architectures(config)
    if is_colbert(folder, names):
        return "late-interaction"
    if (folder / MODULES).exists():  # of sentence-transformers
        if is_sparse_encoder(folder):
            return "sparse-encoding"
        classifies = any(head_task(name) == "text-classification" for name in names)
        return "text-classification" if is_cross_encoder(folder, classifies=classifies) else "feature-extraction"
    for name in names:
        if task := head_task(name):
            return task
    got = f"architectures: {', '.join(names) or 'none'}"
    raise CheckpointError("config.json does not tell the task", where=folder, got=got, then="name it with --task")


def serves(trained: str, task: str) -> bool:
    """Whether a model that was trained for one task is taken for another; see `choose_task`.

    SPLADE's older checkpoints are masked language models by their config.
    """
    if trained == task:
        return True
    before, after = task_class(trained), task_class(task)
    return after.pools or after.late or before.pools or (before.fills and after.weighs)


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
    if not serves(trained, task):
        raise CheckpointError(
            f"this is a model for {trained}, and not for {task}",
            where=folder,
            got=f"architectures: {', '.join(architectures(config))}",
            then=f"quantize it as {trained} (or without a task), or give a checkpoint that was trained for {task}",
        )
    return task


def label_names(config: dict[str, Any], given: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    """The labels in id order: those given, else the config's (transformers fills in LABEL_0, LABEL_1, ...).

    Raises:
        CheckpointError: there is no name, or no one name, for an output.
    """
    stored = {int(key): name for key, name in config["id2label"].items()}
    names = tuple("" if stored[key] is None else str(stored[key]) for key in sorted(stored))
    if not all(given):
        raise CheckpointError("--labels has an empty name", got=",".join(given))
    if given and len(given) != len(names):
        got, allowed = ", ".join(given), f"{len(names)} names"
        raise CheckpointError("--labels does not fit the model", where=folder, got=got, allowed=allowed)
    if len(set(given)) != len(given):
        raise CheckpointError("--labels has a name twice", got=", ".join(given))
    gaps = sorted(stored) != list(range(len(stored)))
    if not given and (gaps or len(set(names)) < len(names) or not all(name.strip() for name in names)):
        what = "id2label has to name each output, and no two alike"
        got = ", ".join(f"{key}: {stored[key]!r:.40}" for key in sorted(stored)[:12])
        allowed, then = f"ids 0 to {len(stored) - 1}, each with a name", "name the outputs in id order with --labels"
        raise CheckpointError(what, where=folder, got=got, allowed=allowed, then=then)
    return given or names


def positions_of(config: Mapping[str, Any], pad_token_id: int) -> int | None:
    """How many tokens the model has positions for, None where its config does not tell."""
    named = (config.get("max_position_embeddings"), config.get("n_positions"))
    positions = next((number for number in named if isinstance(number, int) and number > 0), None)
    if positions and str(config.get("model_type")) in OFFSET_POSITIONS:
        positions -= pad_token_id + 1
    return positions or None


def _pad_token_id(folder: Path, config: Mapping[str, Any], parts: TokenizerParts) -> int:
    """The id to fill rows up with: what the model takes for padding, else the tokenizer's, else any: the mask hides it.

    Warns where config and tokenizer name two ids.

    Raises:
        CheckpointError: the model has no vector for it.
    """
    own, rows = config.get("pad_token_id"), config.get("vocab_size")
    named = [pad for pad in (own, parts.pad_token_id) if pad is not None and pad >= 0]
    pad = named[0] if named else 0
    if rows and pad >= rows:
        raise CheckpointError("the padding token has no vector", where=folder, got=pad, allowed=f"0 to {rows - 1}")
    if len(set(named)) > 1:
        told = (
            f"config.json pads with the id {own}, the tokenizer with {parts.pad_token_id}; Octavo takes the first, as "
            "the model does"
        )
        warnings.warn(f"{folder}: {told}", OctavoWarning, stacklevel=2)
    return pad


def _max_length(folder: Path, config: dict[str, Any], tokenizer_limit: int | None, pad_token_id: int) -> int:
    """sentence-transformers' `max_seq_length`, else the smaller of the tokenizer's limit and the model's."""
    positions = positions_of(config, pad_token_id)
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


def _problem_type(folder: Path, config: dict[str, Any], task: str, labels: tuple[str, ...]) -> str | None:
    """What the scores of labels mean, for tasks that have some; see `Signature`."""
    kind = task_class(task)
    if not kind.labelled:
        return None
    return config.get("problem_type") if kind.tags else score_type(folder, config, len(labels))


def make_signature(
    folder: Path, config: dict[str, Any], parts: TokenizerParts, task: str, labels: tuple[str, ...]
) -> Signature:
    """The model's signature: token types only where it has two of them and its tokenizer gives them."""
    kind = task_class(task)
    width = next((config[name] for name in ("hidden_size", "dim", "n_embd", "d_model") if config.get(name)), 0)
    types = "token_type_ids" in parts.input_names and (config.get("type_vocab_size") or 0) > 1 and not kind.writes
    if kind.fills and parts.mask_token_id is None:
        raise CheckpointError("the tokenizer has no mask token, which fill-mask needs", where=folder)
    pad = _pad_token_id(folder, config, parts)
    limit, vectors = _max_length(folder, config, parts.max_length, pad), None
    if kind.late:
        reader = Reader(parts, int(width), limit, positions_of(config, pad))
        vectors = read_token_vectors(folder, architectures(config), reader)
        limit = max(vectors.lengths.values())
    return Signature(
        task=task,
        input_names=(
            "input_ids",
            "attention_mask",
            *(("token_type_ids",) if types else ()),
            *(("decoder_input_ids", "decoder_attention_mask") if kind.is_encoder_decoder else ()),
        ),
        output_names=kind.output_names,
        max_length=limit,
        pad_token_id=pad,
        unk_token_id=parts.unk_token_id,
        truncation_side="left" if kind.continues else parts.truncation_side,
        labels=labels,
        problem_type=_problem_type(folder, config, task, labels),
        pooling=read_pooling(folder, int(width)) if kind.pools else None,
        sparse=read_sparse(folder) if kind.weighs else None,
        token_vectors=vectors,
        mask_token_id=parts.mask_token_id if kind.fills else None,
        generation=read_generation(folder, config, answers=kind.is_encoder_decoder) if kind.writes else None,
        vocab_size=config.get("vocab_size") or None,
        exact_lengths=config.get("model_type") in EXACT_LENGTHS,
    )
