"""The folder of a checkpoint or an artifact, fetched from the Hub where it is none."""

import re
from glob import escape
from pathlib import Path

from octavo.checkpoint.paths import is_artifact, require_model
from octavo.errors import ArtifactError, CheckpointError
from octavo.schema.manifest import MANIFEST, Manifest

_HUB_FILES = ["*.json", "*.txt", "*.model", "*.md", "[0-9]_*/*.json", "[0-9]_*/model.safetensors"]
_HUB_FILES += ["adapter_model.safetensors", "artifact.metadata"]  # the latter of Stanford's ColBERT


def find_folder(checkpoint: str | Path) -> Path:
    """The checkpoint's folder, fetched from the hub where it is no folder but could be a hub id."""
    path = Path(checkpoint)
    if path.suffix == ".onnx":
        then = "give the Hugging Face checkpoint that it was exported from"
        raise CheckpointError("this is an ONNX file", got=path, then=then)
    if is_artifact(path):
        then = "give the checkpoint that it was made from"
        raise CheckpointError("this is an artifact that Octavo wrote", got=path, then=then)
    require_model(path, CheckpointError)
    if path.is_dir():
        return path
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", str(checkpoint)):
        raise CheckpointError("no such folder", got=path)
    return _fetch(str(checkpoint))


def is_hub_id(path: str | Path) -> bool:
    """Whether a path could be `user/name` on the Hub: neither it nor the folder around it is here."""
    here = Path(path)
    return (
        not (here.exists() or here.parent.is_dir()) and re.fullmatch(r"[\w][\w.-]*/[\w][\w.-]*", str(path)) is not None
    )


def fetch_artifact(hub_id: str, revision: str | None = None) -> Path:
    """Fetch an artifact from the Hub, or find it in the local cache: a folder that is named by its commit.

    Of the repository only `octavo.json` and the files that it lists are fetched, all of one commit.

    Raises:
        ArtifactError: the Hub does not give it, or it is no artifact.
    """
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(hub_id, revision=revision, allow_patterns=[MANIFEST]))
        if names := _listed(folder / MANIFEST):
            folder = Path(snapshot_download(hub_id, revision=folder.name, allow_patterns=[MANIFEST, *names]))
    except Exception as error:  # no network, no such repository, no permission: the hub's message says which
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        got = f"{hub_id}{f' at {revision}' if revision else ''}: {reason}"
        raise ArtifactError("no such folder, and the hub does not give it", got=got) from None
    if not (folder / MANIFEST).is_file():
        then = f"octavo quantize {hub_id} makes one"
        raise ArtifactError("this is not an artifact of Octavo", where=hub_id, got=f"no {MANIFEST}", then=then)
    return folder


def _listed(path: Path) -> list[str]:
    """Patterns for the files that an `octavo.json` lists; none where it cannot be read: opening it says why."""
    try:
        return list(map(escape, Manifest.model_validate_json(path.read_text(encoding="utf-8")).files))
    except (OSError, ValueError):
        return []


def _fetch(hub_id: str) -> Path:
    """Fetch a checkpoint from the hub, or find it in the local cache."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(hub_id, allow_patterns=[*_HUB_FILES, "model*.safetensors"]))
        if not any(folder.glob("model*.safetensors")):  # many repositories hold the same weights twice: fetch them once
            snapshot_download(hub_id, allow_patterns=["pytorch_model*.bin"])
    except Exception as error:  # no network, no such repository, no permission: the hub's message says which
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise CheckpointError("no such folder, and the hub does not give it", got=f"{hub_id}: {reason}") from None
    return folder
