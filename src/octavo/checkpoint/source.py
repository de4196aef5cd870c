"""A checkpoint: a local Hugging Face folder or a hub id, its weights always as float32.

`read_source` reads the files; `load_model` builds the torch model. No code from a checkpoint is run, and nothing is
unpickled that torch's `weights_only` would not.
"""

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from octavo.checkpoint import encoders
from octavo.checkpoint.adapter import adapter_files, require_mergeable
from octavo.checkpoint.config import (
    CONVENIENCE,
    architectures,
    choose_task,
    fill_config,
    label_names,
    make_signature,
    read_config,
)
from octavo.checkpoint.generation_config import FILE, TARGET_TOKENIZER
from octavo.checkpoint.hub import find_folder
from octavo.checkpoint.libraries import has_torch, require_torch
from octavo.checkpoint.lineage import read_lineage
from octavo.checkpoint.paths import require_files
from octavo.checkpoint.plain_tokenizer import read_plain_tokenizer
from octavo.checkpoint.pooling import pooling_files
from octavo.checkpoint.token_vectors import token_vector_files
from octavo.checkpoint.tokenizer import TokenizerParts, find_tokenizer, read_tokenizer
from octavo.checkpoint.weights import Weights, read_weights
from octavo.errors import CheckpointError, InputError, OctavoError, raise_together
from octavo.files import sha256_of
from octavo.schema.documents import json_text
from octavo.schema.lineage import Lineage
from octavo.schema.signature import Signature, task_name
from octavo.tasks import find_task, task_class


@dataclass(frozen=True)
class Checkpoint:
    """What the user has, and what its files do not tell.

    `path` is a folder, or a hub id where there is a network; `task` overrides the task that `config.json` tells;
    `tokenizer` is a folder to take the tokenizer from, for checkpoints saved without one; `labels` are names in id
    order, for checkpoints that call theirs LABEL_0, LABEL_1, ...; `target_tokenizer` is a `tokenizer.json` for what a
    text2text model writes, where that is of another vocabulary than what it reads; `ignore_weights` are patterns
    (`crf.*`) of the names of weights that no module of the model takes and that may be left out.
    """

    path: str | Path
    task: str | None = None
    tokenizer: str | Path | None = None
    labels: tuple[str, ...] = ()
    target_tokenizer: str | Path | None = None
    ignore_weights: tuple[str, ...] = ()


def with_token_embeddings(checkpoint: str | Path | Checkpoint, *, asked: bool) -> str | Path | Checkpoint:
    """The checkpoint, taken for late-interaction where vectors of tokens are asked for.

    Raises:
        CheckpointError: it is to be taken for another task.
    """
    if not asked:
        return checkpoint
    checkpoint = checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint(checkpoint)
    if checkpoint.task is not None and not task_class(task_name(checkpoint.task)).late:
        what, got = "token_embeddings=True is the task late-interaction", f"task {checkpoint.task}"
        raise CheckpointError(what, where=checkpoint.path, got=got, then="leave one of them out")
    return replace(checkpoint, task="late-interaction")


@dataclass(frozen=True)
class Source:
    """A checkpoint whose files have been read: `asked` is what was asked for, `config` has the labels in force.

    `beside` are files that go with the model: the pooling of sentence-transformers, the generation config; `lineage`
    says what it was made from, where Octavo made it.
    """

    asked: Checkpoint
    folder: Path
    config: dict[str, Any]
    signature: Signature
    tokenizer: TokenizerParts
    weights: Weights
    beside: dict[str, bytes]
    bytes: int
    lineage: Lineage | None = None

    @property
    def name(self) -> str:
        """A hub id as it is, of a folder only its name: its path is private."""
        return self.folder.resolve().name if self.folder == Path(self.asked.path) else str(self.asked.path)

    @property
    def ignored(self) -> tuple[str, ...]:
        """The stored weights that were asked to be left out; see `checkpoint.unread`."""
        names = sorted(self.weights.tensors)
        return tuple(name for name in names if any(fnmatchcase(name, pattern) for pattern in self.asked.ignore_weights))

    @cached_property
    def sha256(self) -> str:
        """The hash of the weight files, an adapter's too, as they were when it was first asked for."""
        return self.hash_now()

    def hash_now(self) -> str:
        """The same of the files as they are at this moment."""
        return sha256_of(*self.weights.files, *adapter_files(self.folder))

    @cached_property
    def answers_sha256(self) -> str:
        """The hash of all that answers follow from: the weights, config, labels, tokenizer, and what is beside them."""
        parts = [self.sha256, json_text(self.config, sort_keys=True), self.signature.model_dump_json()]
        parts += [self.tokenizer.json, *self.ignored]
        files = [part for name in sorted(self.beside) for part in (name.encode(), self.beside[name])]
        digests = [hashlib.sha256(part).digest() for part in (*map(str.encode, parts), *files)]
        return hashlib.sha256(b"".join(digests)).hexdigest()


def read_source(checkpoint: str | Path | Checkpoint, *, packed: bool = False) -> Source:
    """Read the files of a checkpoint and report all their problems together, before anything expensive starts.

    `packed`: take the state of a model that PyTorch quantized, too (`methods.torch_rescue`).

    Raises:
        CheckpointError: no such folder; config, weights or tokenizer missing or unusable; labels of the wrong number.
    """
    checkpoint = checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint(checkpoint)
    folder = find_folder(checkpoint.path)
    for place in (folder, *([Path(checkpoint.tokenizer)] if checkpoint.tokenizer else [])):
        require_files(place)
    require_mergeable(folder)
    light = not has_torch()
    if light and (why := encoders.beyond(read_config(folder), folder)):
        require_torch(why)
    problems: list[OctavoError] = []
    config = filled = weights = parts = signature = lineage = None
    with _collect(problems, folder):
        config = read_config(folder)
        _require_float(config, folder)
        lineage = read_lineage(folder)
        filled = encoders.filled(config) if light else fill_config(folder, config)
    with _collect(problems, folder):
        weights = read_weights(folder, packed=packed)
    with _collect(problems, folder):
        place = Path(checkpoint.tokenizer) if checkpoint.tokenizer else folder
        find_tokenizer(place)
        if filled is not None:  # transformers reads the config to choose the tokenizer's class
            parts = read_plain_tokenizer(place) if light else read_tokenizer(place)
    if config is not None and filled is not None:
        with _collect(problems, folder):
            task = choose_task(filled, folder, checkpoint.task)
            config, labels = _with_labels(config, filled, checkpoint, folder, task)
            if parts is not None:
                signature = make_signature(folder, config | filled, parts, task, labels)
    raise_together(problems)
    assert config is not None
    config = {name: value for name, value in config.items() if name not in CONVENIENCE}
    assert weights is not None
    assert parts is not None
    assert signature is not None
    signature, beside = _files_beside(checkpoint, folder, signature)
    find_task(signature).make_tokenizer(parts.json)  # raises where the two do not fit
    size = sum(path.stat().st_size for path in weights.files) + (folder / "config.json").stat().st_size + parts.bytes
    size += sum(map(len, beside.values())) + sum(path.stat().st_size for path in adapter_files(folder))
    return Source(checkpoint, folder, config, signature, parts, weights, beside, size, lineage)


def _with_labels(
    config: dict[str, Any], filled: dict[str, Any], checkpoint: Checkpoint, folder: Path, task: str
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The config with the labels in force, and these; none of a model whose outputs have no names.

    Raises:
        CheckpointError: labels for a model that has none, or that do not fit.
    """
    if not task_class(task).labelled:
        if checkpoint.labels:
            raise CheckpointError("--labels is for classifiers", where=folder, got=f"a model for {task}")
        return config, ()
    labels = label_names(filled, checkpoint.labels, folder)
    ids = {label: index for index, label in enumerate(labels)}
    return config | {"id2label": {str(index): label for index, label in enumerate(labels)}, "label2id": ids}, labels


def _require_float(config: dict[str, Any], folder: Path) -> None:
    """Check that no other tool quantized the checkpoint (an artifact of Octavo is opened as one).

    Raises:
        CheckpointError: its config names a method.
    """
    if method := config.get("quantization_config"):
        got = method.get("quant_method", "quantization_config") if isinstance(method, dict) else method
        then = "give the float checkpoint that it was made of"
        raise CheckpointError("the checkpoint is quantized already", where=folder, got=got, then=then)


def _files_beside(checkpoint: Checkpoint, folder: Path, signature: Signature) -> tuple[Signature, dict[str, bytes]]:
    """The signature and the files that go with a model: of pooling, or generation config and target tokenizer."""
    task = find_task(signature)
    if not task.writes:
        if signature.token_vectors:
            return signature, token_vector_files(folder, architectures(read_config(folder)))
        steps = signature.pooling.steps if signature.pooling else ()
        return signature, pooling_files(folder, steps) if signature.pooling or signature.sparse else {}
    files = {FILE: (folder / FILE).read_bytes()} if (folder / FILE).exists() else {}
    target = Path(checkpoint.target_tokenizer) if checkpoint.target_tokenizer else folder / TARGET_TOKENIZER
    if not target.exists() and checkpoint.target_tokenizer:
        raise CheckpointError("no such tokenizer", got=target, then="name a tokenizer.json with --target-tokenizer")
    if task.is_encoder_decoder and target.exists():
        files[TARGET_TOKENIZER] = target.read_bytes()
    generation = task.generation.model_copy(update={"target_tokenizer": TARGET_TOKENIZER in files})
    return signature.model_copy(update={"generation": generation}), files


@contextlib.contextmanager
def _collect(problems: list[OctavoError], folder: Path) -> Iterator[None]:
    """Add a problem to the list and go on; a value of an unexpected type is one too."""
    try:
        yield
    except InputError as problem:
        problems.append(problem)
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, OSError) as error:
        got = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        problems.append(CheckpointError("a file of the checkpoint has an unexpected value", where=folder, got=got))
