"""Writes an artifact aside and moves it into place, so that an interrupted write leaves nothing."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from octavo.checkpoint.generation_config import TARGET_TOKENIZER
from octavo.checkpoint.tokenizer import SIDE_FILES
from octavo.data.json_text import read_json
from octavo.errors import ArtifactError
from octavo.files import files_of, sha256_of
from octavo.schema.manifest import CARD, MANIFEST, FileRecord, Manifest


@contextlib.contextmanager
def replace_folder(folder: Path, *, force: bool) -> Iterator[Path]:
    """A folder beside `folder` to write into, which takes its place when all went well and vanishes when not.

    Raises:
        ArtifactError: something is there already and `force` is not set, or it is no artifact.
    """
    folder = folder.resolve()
    check_free(folder, force=force)
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        aside.chmod(0o755)  # mkdtemp makes folders that only their owner can read
        yield aside
        if folder.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
            try:
                folder.rename(old / "old")
                aside.rename(folder)
            except BaseException:  # an interruption too: the old one comes back
                if (old / "old").exists():
                    (old / "old").rename(folder)
                raise
            finally:
                shutil.rmtree(old, ignore_errors=True)
        else:
            aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def check_free(folder: Path, *, force: bool) -> None:
    """See that an artifact may be written to `folder`, before the work starts.

    Raises:
        ArtifactError: something is there already and `force` is not set, or it is no artifact.
    """
    folder = folder.resolve()
    if folder.is_file():
        raise ArtifactError("something that is not an artifact is in the way", got=folder, then="name another output")
    parent = next(place for place in (folder, *folder.parents) if place.exists() or place.is_symlink())
    if not parent.is_dir() or not os.access(parent, os.W_OK) or folder == Path.cwd():
        raise ArtifactError("an artifact cannot be written there", got=folder, then="name another output")
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not (folder / MANIFEST).is_file():
        raise ArtifactError("something that is not an artifact is in the way", got=folder, then="name another output")
    strange = {path.relative_to(folder).as_posix() for path in files_of(folder)} - {*_names_in(folder), MANIFEST, CARD}
    if strange:
        raise ArtifactError(
            "the output holds files that are not the artifact's", got=f"{folder}: {', '.join(sorted(strange)[:4])}"
        )
    if not force:
        raise ArtifactError("the output exists", got=folder, then="name another output, or replace it with --force")


def _names_in(folder: Path) -> set[str]:
    """The files that an artifact's manifest names, as far as it can be read: a damaged one may be replaced too."""
    try:
        return set(read_json(folder / MANIFEST)["files"])
    except (OSError, ValueError, KeyError, TypeError):
        models = {f"{name}.onnx{ending}" for name in ("model", "encoder", "decoder") for ending in ("", ".data")}
        return {*models, "model.safetensors", "config.json", "tokenizer.json", TARGET_TOKENIZER, *SIDE_FILES}


def hash_files(folder: Path) -> dict[str, FileRecord]:
    """Every file in a folder, by its path in it."""
    return {
        path.relative_to(folder).as_posix(): FileRecord(bytes=path.stat().st_size, sha256=sha256_of(path))
        for path in files_of(folder)
    }


def write_manifest(folder: Path, manifest: Manifest, card: str) -> None:
    """Write `octavo.json`, and the card, which is outside its hashes, and see that all files are on the disk."""
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1, exclude_none=True) + "\n", encoding="utf-8")
    (folder / CARD).write_text(card, encoding="utf-8")
    for path in files_of(folder):
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
