"""Writes an artifact aside and moves it into place, so that an interrupted write leaves nothing."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from octavo.artifact.occupied import require_artifact, require_free
from octavo.artifact.staging import OLD, READY, repair, staging_folder
from octavo.errors import ArtifactError
from octavo.files import exchange, files_of, make_readable, sha256_of
from octavo.schema.lineage import FileRecord
from octavo.schema.manifest import CARD, MANIFEST, Manifest

_TAKEN = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}


@contextmanager
def replace_folder(folder: Path, *, force: bool) -> Iterator[Path]:
    """A folder beside `folder` to write into, which takes its place when all went well and vanishes when not.

    Raises:
        ArtifactError: something is there already and `force` is not set, or it is no artifact; at the beginning, or
            when the place is to be taken, since another process may have been there meanwhile.
    """
    folder = folder.resolve()
    check_free(folder, force=force)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with staging_folder(folder) as new:
        yield new
        for file in files_of(new):
            make_readable(file)
        _take_place(new, folder, force=force)


def check_free(folder: Path, *, force: bool) -> None:
    """See that an artifact may be written to `folder`, before the work starts; what dead runs left is cleared first.

    Raises:
        ArtifactError: something is there already and `force` is not set, or it is no artifact.
    """
    folder = folder.resolve()
    repair(folder.parent)
    if folder.is_file():
        raise ArtifactError("something that is not an artifact is in the way", got=folder, then="name another output")
    parent = next(place for place in (folder, *folder.parents) if place.exists() or place.is_symlink())
    if not parent.is_dir() or not os.access(parent, os.W_OK) or folder == Path.cwd():
        raise ArtifactError("an artifact cannot be written there", got=folder, then="name another output")
    require_free(folder, force=force)


def _take_place(new: Path, place: Path, *, force: bool) -> None:
    """Move a folder to its place in one step, and give up what had it only when that is seen to be an artifact.

    `staging_folder` undoes what is not done to the end.
    """
    try:
        new.rename(place)  # rename(2): only where nothing is, or an empty folder
    except OSError as error:
        if error.errno not in _TAKEN:
            raise
    else:
        return
    require_free(place, force=force)
    ready, old = new.with_name(READY), new.with_name(OLD)
    new.rename(ready)
    if exchange(ready, place):
        try:
            require_artifact(ready, place)  # nobody but this run looks at it now
        except ArtifactError:
            exchange(ready, place)
            raise
    else:
        place.rename(old)
        require_artifact(old, place)
        ready.rename(place)


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
