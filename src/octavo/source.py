"""A checkpoint, as Octavo takes it in: a local Hugging Face folder or a hub id, its weights always as float32.

`read_source` looks at the files; `load_model` builds the torch model. No code from a
checkpoint is run and nothing is unpickled that torch's `weights_only` would not.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from octavo.config import (
    CLASSIFIERS,
    choose_task,
    fill_config,
    label_names,
    make_signature,
    read_config,
    require_torch,
    silent_transformers,
)
from octavo.errors import CheckpointError, InputError, OctavoError, raise_together
from octavo.pooling import pooling_files
from octavo.sampling import FILE, TARGET_TOKENIZER
from octavo.signature import WRITING, Signature
from octavo.tokenizer import TokenizerParts, find_tokenizer, has_tokenizer, read_tokenizer
from octavo.weights import Weights, read_weights

_HUB_FILES = ["*.json", "*.txt", "*.model", "*.md", "[0-9]_*/*.json", "[0-9]_*/model.safetensors"]


AUTO_CLASSES = {  # of transformers, by task
    "text-classification": "AutoModelForSequenceClassification",
    "feature-extraction": "AutoModel",
    "token-classification": "AutoModelForTokenClassification",
    "question-answering": "AutoModelForQuestionAnswering",
    "multiple-choice": "AutoModelForMultipleChoice",
    "fill-mask": "AutoModelForMaskedLM",
    "text-generation": "AutoModelForCausalLM",
    "text2text-generation": "AutoModelForSeq2SeqLM",
}


@dataclass(frozen=True)
class Checkpoint:
    """What the user has, and what its files do not tell.

    `path` is a folder, or a hub id where there is a network; `task` overrides the task that `config.json` tells;
    `tokenizer` is a folder to take the tokenizer from, for checkpoints saved without one; `labels` are names in id
    order, for checkpoints that call theirs LABEL_0, LABEL_1, ...; `target_tokenizer` is a `tokenizer.json` for what a
    text2text model writes, where that is of another vocabulary than what it reads.
    """

    path: str | Path
    task: str | None = None
    tokenizer: str | Path | None = None
    labels: tuple[str, ...] = ()
    target_tokenizer: str | Path | None = None


@dataclass(frozen=True)
class Source:
    """A checkpoint whose files have been read: `asked` is what was asked for, `config` has the labels in force.

    `beside` are files that go with the model: how a sentence-transformers folder pools, how a model writes.
    """

    asked: Checkpoint
    folder: Path
    config: dict[str, Any]
    signature: Signature
    tokenizer: TokenizerParts
    weights: Weights
    beside: dict[str, bytes]
    bytes: int


def read_source(checkpoint: str | Path | Checkpoint, *, packed: bool = False) -> Source:
    """Read the files of a checkpoint and report all their problems together, before anything expensive starts.

    `packed`: take the state of a model that PyTorch quantized, too (`methods.rescue`).

    Raises:
        CheckpointError: no such folder; config, weights or tokenizer missing or unusable; labels of the wrong number.
    """
    asked = checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint(checkpoint)
    folder = _find_folder(asked.path)
    require_torch()
    problems: list[OctavoError] = []
    config = filled = weights = parts = signature = None
    with _collect(problems, folder):
        config = read_config(folder)
        _require_float(config, folder)
        filled = fill_config(folder, config)
    with _collect(problems, folder):
        weights = read_weights(folder, packed=packed)
    with _collect(problems, folder):
        place = Path(asked.tokenizer) if asked.tokenizer else folder
        find_tokenizer(place)
        if filled is not None:  # transformers reads the config to choose the tokenizer's class
            parts = read_tokenizer(place)
    if config is not None and filled is not None:
        with _collect(problems, folder):
            found_task = choose_task(filled, folder, asked.task)
            names: tuple[str, ...] = ()
            if found_task in WRITING and asked.labels:
                raise CheckpointError("--labels is for classifiers", where=folder, got=f"a model for {found_task}")
            if found_task in CLASSIFIERS:
                names = label_names(filled, asked.labels, folder)
                config = config | {
                    "id2label": {str(index): name for index, name in enumerate(names)},
                    "label2id": {name: index for index, name in enumerate(names)},
                }
            elif asked.labels:
                raise CheckpointError("--labels is for classifiers", where=folder, got=f"a model for {found_task}")
            if parts is not None:
                signature = make_signature(folder, config | filled, parts, found_task, names)
    raise_together(problems)
    assert config is not None
    assert weights is not None
    assert parts is not None
    assert signature is not None
    beside = pooling_files(folder, signature.pooling) if signature.pooling else {}
    if signature.generation is not None:
        signature, beside = _writing_files(asked, folder, signature)
    size = sum(path.stat().st_size for path in weights.files) + (folder / "config.json").stat().st_size + parts.bytes
    size += sum(map(len, beside.values()))
    return Source(asked, folder, config, signature, parts, weights, beside, size)


def _require_float(config: dict[str, Any], folder: Path) -> None:
    """See that no other tool quantized the checkpoint (an artifact of Octavo is opened as one).

    Raises:
        CheckpointError: its config names a method.
    """
    made = config.get("quantization_config")
    if made:
        got = made.get("quant_method", "quantization_config") if isinstance(made, dict) else made
        then = "give the float checkpoint that it was made of"
        raise CheckpointError("the checkpoint is quantized already", where=folder, got=got, then=then)


def _writing_files(asked: Checkpoint, folder: Path, signature: Signature) -> tuple[Signature, dict[str, bytes]]:
    """The signature and the files of a model that writes: its settings, and a tokenizer for what it writes."""
    assert signature.generation is not None
    found = {FILE: (folder / FILE).read_bytes()} if (folder / FILE).exists() else {}
    target = Path(asked.target_tokenizer) if asked.target_tokenizer else folder / TARGET_TOKENIZER
    if not target.exists() and asked.target_tokenizer:
        raise CheckpointError("no such tokenizer", got=target, then="name a tokenizer.json with --target-tokenizer")
    if signature.task == "text2text-generation" and target.exists():
        found[TARGET_TOKENIZER] = target.read_bytes()
    generation = signature.generation.model_copy(update={"target_tokenizer": TARGET_TOKENIZER in found})
    return signature.model_copy(update={"generation": generation}), found


def load_model(source: Source) -> Any:
    """The checkpoint as a torch model in float32 and evaluation mode.

    Raises:
        CheckpointError: an architecture that transformers does not have, weights that are missing from the checkpoint
            or do not fit, values that are not finite.
        MissingExtraError: torch or transformers is not installed.
    """
    torch, transformers = require_torch()
    loader = getattr(transformers, AUTO_CLASSES[source.signature.task])
    with silent_transformers(transformers):
        try:
            model, info = loader.from_pretrained(
                source.folder,
                config=transformers.AutoConfig.from_pretrained(
                    source.folder, local_files_only=True, trust_remote_code=False
                ),
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
    missing = set(info["missing_keys"])
    if source.signature.task == "feature-extraction" and getattr(model, "pooler", None) is not None:
        # What BERT's pooler makes of [CLS] is no part of the answer, and many checkpoints were saved without it.
        missing = {name for name in missing if not name.startswith("pooler.")}
        model.pooler = None
    if missing:
        problems.append(
            CheckpointError(
                f"{len(missing)} weights of {type(model).__name__} are missing from the checkpoint",
                where=source.folder,
                got=", ".join(sorted(missing)[:4]) + (", ..." if len(missing) > 4 else ""),
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
    if source.signature.task == "multiple-choice":
        _take_single_choices(model)
    return model.float().eval()


def _take_single_choices(model: Any) -> None:
    """Let the model take [rows, length] and answer [rows, 1], each row being one choice: rows may have any number."""
    forward = model.forward

    def one_choice(input_ids: Any, attention_mask: Any = None, token_type_ids: Any = None, **more: Any) -> Any:
        given = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        return forward(**{name: array[:, None] for name, array in given.items() if array is not None}, **more)

    model.forward = one_choice


def read_beside(asked: Checkpoint, file: Path, task: str, classes: int | None) -> tuple[Signature, TokenizerParts, int]:
    """What stands beside an ONNX file: how the model is asked, its tokenizer, and the bytes of both files.

    Looked for in the file's folder, and in the one above where that is called `onnx`; `asked` names what is elsewhere.
    Without `config.json` the labels are those asked for, or LABEL_0, LABEL_1, ... up to `classes`.

    Raises:
        CheckpointError: no tokenizer, or labels that do not fit.
        MissingExtraError: transformers is not installed.
    """
    require_torch()
    folders = [file.parent, *([file.parent.parent] if file.parent.name == "onnx" else [])]
    place = Path(asked.tokenizer) if asked.tokenizer else None
    place = place or next((folder for folder in folders if has_tokenizer(folder)), file.parent)
    parts = read_tokenizer(place)
    home = next((folder for folder in folders if (folder / "config.json").exists()), None)
    config = fill_config(home, read_config(home)) if home else {}
    if not config:
        config["id2label"] = {str(index): f"LABEL_{index}" for index in range(classes or len(asked.labels))}
    names = label_names(config, asked.labels, file) if task in CLASSIFIERS else ()
    if names and classes is not None and len(names) != classes:
        raise CheckpointError("labels do not fit the model", where=file, got=", ".join(names), allowed=classes)
    size = parts.bytes + ((home / "config.json").stat().st_size if home else 0)
    return make_signature(home or place, config, parts, task, names), parts, size


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
