"""A checkpoint, as Octavo takes it in: a local Hugging Face folder or a hub id, its weights always as float32.

`read_source` looks at the files; `load_model` builds the torch model. No code from a
checkpoint is run and nothing is unpickled that torch's `weights_only` would not.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from octavo.errors import CheckpointError, InputError, MissingExtraError, OctavoError, raise_together
from octavo.signature import Signature, task_name
from octavo.tokenizer import TokenizerParts, find_tokenizer, read_tokenizer
from octavo.weights import Weights, read_weights

ARCHITECTURES = {  # how the class names of transformers end -> the task they are for
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForMultipleChoice": "multiple-choice",
    "ForMaskedLM": "fill-mask",
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
    "ForConditionalGeneration": "text2text-generation",
    "Model": "feature-extraction",
}
# Their position ids start behind the padding id: a table of 514 rows serves 512 tokens.
_OFFSET_POSITIONS = {
    "roberta", "xlm-roberta", "xlm-roberta-xl", "roberta-prelayernorm", "camembert", "xmod", "mpnet", "data2vec-text",
    "ibert", "longformer", "luke", "lilt", "markuplm", "esm",
}  # fmt: skip
_HUB_FILES = ["*.json", "*.txt", "*.model", "*.md", "1_Pooling/*.json"]


@dataclass(frozen=True)
class Checkpoint:
    """What the user has, and what its files do not tell.

    `path` is a folder, or a hub id where there is a network; `task` overrides the task that `config.json` tells;
    `tokenizer` is a folder to take the tokenizer from, for checkpoints saved without one; `labels` are names in id
    order, for checkpoints that call theirs LABEL_0, LABEL_1, ...
    """

    path: str | Path
    task: str | None = None
    tokenizer: str | Path | None = None
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """A checkpoint whose files have been read: `asked` is what was asked for, `config` has the labels in force."""

    asked: Checkpoint
    folder: Path
    config: dict[str, Any]
    signature: Signature
    tokenizer: TokenizerParts
    weights: Weights
    bytes: int


def read_source(checkpoint: str | Path | Checkpoint) -> Source:
    """Read the files of a checkpoint and report all their problems together, before anything expensive starts.

    Raises:
        CheckpointError: no such folder; config, weights or tokenizer missing or unusable; labels of the wrong number.
    """
    asked = checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint(checkpoint)
    folder = _find_folder(asked.path)
    require_torch()
    problems: list[OctavoError] = []
    config = filled = weights = parts = signature = None
    with _collect(problems, folder):
        config = _read_config(folder)
        filled = _fill_config(folder, config)
    with _collect(problems, folder):
        weights = read_weights(folder)
    with _collect(problems, folder):
        place = Path(asked.tokenizer) if asked.tokenizer else folder
        find_tokenizer(place)
        if filled is not None:  # transformers reads the config to choose the tokenizer's class
            parts = read_tokenizer(place)
    if config is not None and filled is not None:
        with _collect(problems, folder):
            names = _label_names(filled, asked.labels, folder)
            config = config | {
                "id2label": {str(index): name for index, name in enumerate(names)},
                "label2id": {name: index for index, name in enumerate(names)},
            }
            found_task = task_name(asked.task) if asked.task else _task_of(filled, folder)
            if parts is not None:
                signature = _make_signature(folder, filled, parts, found_task, names)
    raise_together(problems)
    assert config is not None
    assert weights is not None
    assert parts is not None
    assert signature is not None
    size = sum(path.stat().st_size for path in weights.files) + (folder / "config.json").stat().st_size + parts.bytes
    return Source(asked, folder, config, signature, parts, weights, size)


def load_model(source: Source) -> Any:
    """The checkpoint as a torch model in float32 and evaluation mode.

    Raises:
        CheckpointError: an architecture that transformers does not have, weights that are missing from the checkpoint
            or do not fit, values that are not finite.
        MissingExtraError: torch or transformers is not installed.
    """
    torch, transformers = require_torch()
    loaders = {"text-classification": transformers.AutoModelForSequenceClassification}
    loader = loaders[source.signature.task]
    with _silent_transformers(transformers):
        try:
            model, info = loader.from_pretrained(
                source.folder,
                config=transformers.AutoConfig.from_pretrained(source.folder, local_files_only=True),
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # told below, with the names
                local_files_only=True,
                trust_remote_code=False,
            )
        except Exception as error:  # whatever transformers raises for a config or weights that it cannot use
            reason = " ".join(str(error).split())[:300]
            then = (
                "it needs code from the checkpoint, which Octavo does not run" if "auto_map" in source.config else None
            )
            raise CheckpointError(
                "transformers cannot load this checkpoint", where=source.folder, got=reason, then=then
            ) from None
    problems: list[OctavoError] = []
    missing = sorted(info["missing_keys"])
    if missing:
        problems.append(
            CheckpointError(
                f"{len(missing)} weights of {type(model).__name__} are missing from the checkpoint",
                where=source.folder,
                got=", ".join(missing[:4]) + (", ..." if len(missing) > 4 else ""),
                then="give the fine-tuned checkpoint: Octavo never makes up a head",
            )
        )
    mismatched = [
        f"{name} is {tuple(found)} and should be {tuple(wanted)}" for name, found, wanted in info["mismatched_keys"]
    ]
    if mismatched:
        problems.append(
            CheckpointError(
                "weights do not fit the config",
                where=source.folder,
                got="; ".join(mismatched[:4]),
                then="give the config that belongs to these weights",
            )
        )
    bad = [name for name, tensor in model.state_dict().items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        problems.append(
            CheckpointError("weights that are NaN or infinite", where=source.folder, got=", ".join(bad[:4]))
        )
    raise_together(problems)
    if source.signature.labels and model.config.num_labels != len(source.signature.labels):
        raise CheckpointError(
            "labels do not fit the model", got=source.signature.labels, allowed=model.config.num_labels
        )
    if hasattr(model.config, "use_cache"):
        model.config.use_cache = False  # decoders would return their cache as further outputs
    return model.float().eval()


def require_torch() -> tuple[Any, Any]:
    """The modules torch and transformers.

    Raises:
        MissingExtraError: they are not installed; the message shows how to install them.
    """
    try:
        import onnxscript  # noqa: F401 - the exporter needs it, and the extra is one
        import torch
        import transformers
    except ImportError as error:
        raise MissingExtraError(
            "checkpoints are read by torch and transformers, which are not installed",
            got=f"no module {error.name}",
            then="pip install 'octavo[convert]' (on Linux install the CPU build of torch first: see the README)",
        ) from None
    return torch, transformers


def _find_folder(checkpoint: str | Path) -> Path:
    """The checkpoint's folder, fetched from the hub where it is no folder but could be a hub id."""
    path = Path(checkpoint)
    if path.suffix == ".onnx":
        raise CheckpointError(
            "this is an ONNX file", got=path, then="give the Hugging Face checkpoint that it was exported from"
        )
    if (path / "octavo.json").exists():
        raise CheckpointError(
            "this is an artifact that Octavo wrote", got=path, then="give the checkpoint that it was made from"
        )
    if path.is_dir():
        return path
    if path.exists():
        raise CheckpointError("a checkpoint is a folder", got=path, then="give the folder that holds config.json")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", str(checkpoint)):
        raise CheckpointError("no such folder", got=path)
    return _fetch(str(checkpoint))


def _fetch(hub_id: str) -> Path:
    """Fetch a checkpoint from the hub, or find it in the local cache."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise CheckpointError(
            "no such folder", got=hub_id, then="for a hub id: pip install 'octavo[convert]'"
        ) from None
    try:
        folder = Path(snapshot_download(hub_id, allow_patterns=[*_HUB_FILES, "model*.safetensors"]))
        if not any(folder.glob("*.safetensors")):  # many repositories hold the same weights twice: fetch them once
            snapshot_download(hub_id, allow_patterns=["pytorch_model*.bin"])
    except Exception as error:  # no network, no such repository, no permission: all told by the hub's own words
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise CheckpointError("no such folder, and the hub does not give it", got=f"{hub_id}: {reason}") from None
    return folder


def _read_config(folder: Path) -> dict[str, Any]:
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
        config = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError("config.json is not JSON", where=path, got=error) from None
    if not isinstance(config, dict):
        raise CheckpointError("config.json is not a table", where=path, got=type(config).__name__)
    names = config.get("id2label")
    if names is not None and not (isinstance(names, dict) and all(str(key).isdigit() for key in names)):
        raise CheckpointError("id2label is not a table of ids and names", where=path, got=f"{names!r:.80}")
    return config


def _fill_config(folder: Path, stored: dict[str, Any]) -> dict[str, Any]:
    """The config with the defaults that its class has: files leave out what is as usual."""
    _, transformers = require_torch()
    with _silent_transformers(transformers):
        try:
            config: dict[str, Any] = transformers.AutoConfig.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            ).to_dict()
        except Exception as error:  # transformers raises whatever the config's class raises
            reason = " ".join(str(error).split())[:300]
            then = "it needs code from the checkpoint, which Octavo does not run" if "auto_map" in stored else None
            raise CheckpointError("transformers cannot read config.json", where=folder, got=reason, then=then) from None
    return config


def _task_of(config: dict[str, Any], folder: Path) -> str:
    architectures = [name for name in config.get("architectures") or [] if isinstance(name, str)]
    for name in architectures:
        for ending, task in ARCHITECTURES.items():
            if name.endswith(ending):
                return task
    raise CheckpointError(
        "config.json does not tell the task",
        where=folder,
        got=f"architectures: {', '.join(architectures) or 'none'}",
        then="name it with --task",
    )


def _label_names(config: dict[str, Any], given: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    """The labels in id order: those given, else the config's (transformers fills in LABEL_0, LABEL_1, ...)."""
    stored = config["id2label"]
    names = tuple(str(stored[key]) for key in sorted(stored, key=int))
    if not all(given):
        raise CheckpointError("--labels has an empty name", got=",".join(given))
    if given and len(given) != len(names):
        raise CheckpointError(
            "--labels does not fit the model", where=folder, got=", ".join(given), allowed=f"{len(names)} names"
        )
    if len(set(given)) != len(given):
        raise CheckpointError("--labels has a name twice", got=", ".join(given))
    return given or names


def _max_length(folder: Path, config: dict[str, Any], tokenizer_limit: int | None, pad_token_id: int) -> int:
    """sentence-transformers' `max_seq_length`, else the smaller of the tokenizer's limit and the model's."""
    positions = config.get("max_position_embeddings") or config.get("n_positions")
    if positions and config.get("model_type") in _OFFSET_POSITIONS:
        positions -= config.get("pad_token_id", pad_token_id) + 1
    stated = folder / "sentence_bert_config.json"
    if stated.exists():
        try:
            limit = json.loads(stated.read_text(encoding="utf-8")).get("max_seq_length")
        except (ValueError, AttributeError) as error:
            raise CheckpointError("not a table of settings", where=stated, got=error) from None
        if limit:
            return min(limit, positions) if positions else int(limit)
    limits = [limit for limit in (tokenizer_limit, positions) if limit]
    if not limits:
        raise CheckpointError("neither tokenizer nor model tells how long an input may be", where=folder)
    return int(min(limits))


def _make_signature(
    folder: Path, config: dict[str, Any], parts: TokenizerParts, task: str, labels: tuple[str, ...]
) -> Signature:
    """How the model is asked: token types only where it tells two apart and its tokenizer gives them."""
    types = "token_type_ids" in parts.input_names and (config.get("type_vocab_size") or 0) > 1
    pad = parts.pad_token_id if parts.pad_token_id is not None else config.get("pad_token_id")
    return Signature(
        task=task,
        input_names=("input_ids", "attention_mask", *(("token_type_ids",) if types else ())),
        output_names=("logits",),
        max_length=_max_length(folder, config, parts.max_length, pad or 0),
        pad_token_id=pad or 0,  # where there is none at all, the mask hides whatever stands there
        unk_token_id=parts.unk_token_id,
        truncation_side=parts.truncation_side,
        labels=labels,
        problem_type=config.get("problem_type"),
    )


@contextlib.contextmanager
def _collect(problems: list[OctavoError], folder: Path) -> Iterator[None]:
    """Put a problem on the list and go on; a value of a type that nobody expects is one too."""
    try:
        yield
    except InputError as problem:
        problems.append(problem)
    except (TypeError, ValueError, AttributeError, KeyError, OSError) as error:
        got = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        problems.append(CheckpointError("a file of the checkpoint has an unexpected value", where=folder, got=got))


@contextlib.contextmanager
def _silent_transformers(transformers: Any) -> Iterator[None]:
    """Keep transformers from drawing its own progress bar and from warning of what becomes an error here."""
    level, bars = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity(50)
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(level)
        if bars:
            transformers.logging.enable_progress_bar()
