"""Whether the files of an artifact agree: what `octavo.json` says, `config.json` and the graph say again."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.checkpoint.config import positions_of, serves, task_of
from octavo.data.json_text import read_json
from octavo.engines import Session
from octavo.errors import ArtifactError, CheckpointError, raise_together
from octavo.schema.documents import not_finite
from octavo.schema.signature import Signature
from octavo.tasks import task_class

Doubt = tuple[str, object, object]  # what is wrong, what was found, what it should be
_INPUTS = {"input_ids", "attention_mask", "token_type_ids", "decoder_input_ids", "decoder_attention_mask"}


def require_agreement(signature: Signature, folder: Path) -> None:
    """See that a signature fits its task, and the `config.json` in an artifact's folder.

    Raises:
        ArtifactError: they say different things, or a number is not finite.
    """
    path = folder / "config.json"
    try:
        config = read_json(path) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise ArtifactError("config.json is not JSON", where=path, got=error) from None
    if not isinstance(config, dict):
        raise ArtifactError("config.json is not a table", where=path, got=type(config).__name__)
    doubts = [*_of_task(signature), *_of_config(signature, config, folder)]
    raise_together([_error(doubt, folder) for doubt in doubts])


def require_labels(outputs: NDArray[np.float32], signature: Signature) -> None:
    """See that outputs [..., labels] have a number for each label.

    Raises:
        ArtifactError: they do not.
    """
    labels = signature.labels
    if labels and outputs.shape[-1] != len(labels):
        got, allowed = f"{outputs.shape[-1]} outputs", f"{len(labels)}, one for each label"
        raise ArtifactError("the model has another number of outputs than labels", got=got, allowed=allowed)


def require_graph(signature: Signature, session: Session, where: Path) -> None:
    """See that a graph returns what its signature's task reads; of a torch model nothing is known before it runs.

    Raises:
        ArtifactError: it returns something else.
    """
    shapes: Mapping[str, tuple[Any, ...]] = getattr(session, "shapes", {})
    kind, count = task_class(signature.task), len(signature.labels)
    if not shapes or kind.onnx_output is None:
        return
    what, allowed, dimensions = kind.onnx_output
    got = ", ".join(f"{name} [{', '.join(map(str, shape))}]" for name, shape in shapes.items())
    answers = [shapes.get(name, (0,)) for name in signature.output_names]
    if any(shape and len(shape) not in dimensions for shape in answers):  # of some graphs no shape is known
        raise _error((f"the graph is not one for {signature.task}: {what}", got, allowed), where)
    size = answers[0][-1] if answers[0] else None
    if kind.labelled and isinstance(size, int) and size != count:
        raise _error(("the graph has another number of outputs than labels", got, f"{count} labels"), where)


def _error(doubt: Doubt, where: Path) -> ArtifactError:
    what, got, allowed = doubt
    return ArtifactError(what, where=where, got=got, allowed=allowed, then="make it again with octavo quantize")


def _of_task(signature: Signature) -> Iterator[Doubt]:
    """What the task of a signature needs, and has not, or has, and does not need."""
    kind, labels = task_class(signature.task), signature.labels
    needed = {"pooling": kind.pools, "sparse": kind.weighs, "generation": kind.writes, "mask_token_id": kind.fills}
    needed["token_vectors"] = kind.late
    for name, needs in needed.items():
        if (getattr(signature, name) is not None) != needs:
            yield f"{name} does not belong to the task", signature.task, f"{'with' if needs else 'without'} {name}"
    if signature.output_names != kind.output_names:
        got, allowed = (", ".join(names) for names in (signature.output_names, kind.output_names))
        yield f"the outputs are not those of {signature.task}", got, allowed
    if strange := set(signature.input_names) - _INPUTS:
        yield "inputs that no batch has", ", ".join(sorted(strange)), ", ".join(sorted(_INPUTS))
    named = len(set(labels)) == len(labels) and all(label.strip() for label in labels)
    if bool(labels) != kind.labelled or not named:
        yield "labels have to name each output, and no two alike", ", ".join(labels) or "none", None


def _of_config(signature: Signature, config: Mapping[str, Any], folder: Path) -> Iterator[Doubt]:
    """Where `config.json` says otherwise than the signature, or a number of it is not finite."""
    if number := not_finite(config):
        yield "a setting of config.json is NaN or infinite", number, None
    task, trained = signature.task, _trained_task(config, folder)
    if trained is not None and not serves(trained, task):
        yield "the task is another one than that of config.json", task, trained
    names = config.get("id2label")
    expected = {str(index): label for index, label in enumerate(signature.labels)}
    if signature.labels and names is not None and names != expected:
        yield "the labels are others than those of config.json", expected, names
    rows, pad = config.get("vocab_size"), config.get("pad_token_id")
    if isinstance(rows, int) and signature.vocab_size not in {None, rows}:
        yield "vocab_size is another one than that of config.json", signature.vocab_size, rows
    if isinstance(pad, int) and pad >= 0 and pad != signature.pad_token_id and signature.vocab_size is not None:
        yield "pad_token_id is another one than that of config.json", signature.pad_token_id, pad
    if isinstance(rows, int) and not 0 <= signature.pad_token_id < rows:
        yield "pad_token_id has no vector", signature.pad_token_id, f"0 to {rows - 1}"
    positions = positions_of(config, pad if isinstance(pad, int) and pad >= 0 else signature.pad_token_id)
    if positions is not None and signature.max_length > positions:
        yield "max_length is above the model's positions", signature.max_length, f"up to {positions}"


def _trained_task(config: Mapping[str, Any], folder: Path) -> str | None:
    try:
        return task_of(config, folder)
    except CheckpointError:
        return None
