"""The tokenizer and config beside an ONNX file of any tool."""

from pathlib import Path

from octavo.checkpoint.config import fill_config, label_names, make_signature, read_config
from octavo.checkpoint.libraries import require_torch
from octavo.checkpoint.source import Checkpoint
from octavo.checkpoint.tokenizer import TokenizerParts, has_tokenizer, read_tokenizer
from octavo.errors import CheckpointError
from octavo.schema.signature import Signature
from octavo.tasks import task_class


def read_beside(
    checkpoint: Checkpoint, file: Path, task: str, classes: int | None
) -> tuple[Signature, TokenizerParts, int]:
    """Signature and tokenizer of an ONNX file, from the files beside it, and the bytes of these.

    Looked for in the file's folder, and in the one above where that is called `onnx`; `checkpoint` names other places.
    Without `config.json` the labels are those asked for, or LABEL_0, LABEL_1, ... up to `classes`.

    Raises:
        CheckpointError: no tokenizer, or labels that do not fit.
        MissingExtraError: transformers is not installed.
    """
    require_torch()
    folders = [file.parent, *([file.parent.parent] if file.parent.name == "onnx" else [])]
    place = next((folder for folder in folders if has_tokenizer(folder)), file.parent)
    place = Path(checkpoint.tokenizer) if checkpoint.tokenizer else place
    parts = read_tokenizer(place)
    home = next((folder for folder in folders if (folder / "config.json").exists()), None)
    config = fill_config(home, read_config(home)) if home else {}
    if not config:
        config["id2label"] = {str(index): f"LABEL_{index}" for index in range(classes or len(checkpoint.labels))}
    names = label_names(config, checkpoint.labels, file) if task_class(task).labelled else ()
    if names and classes is not None and len(names) != classes:
        raise CheckpointError("labels do not fit the model", where=file, got=", ".join(names), allowed=classes)
    size = parts.bytes + ((home / "config.json").stat().st_size if home else 0)
    return make_signature(home or place, config, parts, task, names), parts, size
