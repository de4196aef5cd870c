"""The folder of a checkpoint, fetched from the Hub where it is none."""

import re
from pathlib import Path

from octavo.checkpoint.paths import require_model
from octavo.errors import CheckpointError

_HUB_FILES = ["*.json", "*.txt", "*.model", "*.md", "[0-9]_*/*.json", "[0-9]_*/model.safetensors"]
_HUB_FILES += ["adapter_model.safetensors"]


def find_folder(checkpoint: str | Path) -> Path:
    """The checkpoint's folder, fetched from the hub where it is no folder but could be a hub id."""
    path = Path(checkpoint)
    if path.suffix == ".onnx":
        then = "give the Hugging Face checkpoint that it was exported from"
        raise CheckpointError("this is an ONNX file", got=path, then=then)
    if (path / "octavo.json").exists():
        then = "give the checkpoint that it was made from"
        raise CheckpointError("this is an artifact that Octavo wrote", got=path, then=then)
    require_model(path, CheckpointError)
    if path.is_dir():
        return path
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", str(checkpoint)):
        raise CheckpointError("no such folder", got=path)
    return _fetch(str(checkpoint))


def _fetch(hub_id: str) -> Path:
    """Fetch a checkpoint from the hub, or find it in the local cache."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        then = "for a hub id: pip install 'octavo[convert]'"
        raise CheckpointError("no such folder", got=hub_id, then=then) from None
    try:
        folder = Path(snapshot_download(hub_id, allow_patterns=[*_HUB_FILES, "model*.safetensors"]))
        if not any(folder.glob("model*.safetensors")):  # many repositories hold the same weights twice: fetch them once
            snapshot_download(hub_id, allow_patterns=["pytorch_model*.bin"])
    except Exception as error:  # no network, no such repository, no permission: the hub's message says which
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise CheckpointError("no such folder, and the hub does not give it", got=f"{hub_id}: {reason}") from None
    return folder
