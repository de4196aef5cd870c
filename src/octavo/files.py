"""Files: which a folder holds, their hash, and text that appears under its name only when all of it was written."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from octavo.errors import InputError


def files_of(folder: Path) -> list[Path]:
    """Every file in a folder and in those below, and every link, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())


def sha256_of(*files: Path) -> str:
    """The hash of the files' contents, one after the other."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


@contextmanager
def whole_file(output: str | Path) -> Iterator[IO[str]]:
    """A stream in UTF-8; what was at `output` before stays there if the writing fails.

    Raises:
        InputError: it is a folder, or its folder does not exist.
    """
    path = Path(output).resolve()
    if path.is_dir() or not path.parent.is_dir():
        raise InputError("the output is a folder" if path.is_dir() else "no such folder", got=output)
    if path.exists() and not path.is_file():  # a device or a pipe is written to, not replaced
        with path.open("w", encoding="utf-8") as stream:
            yield stream
        return
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    aside = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            yield stream
        umask = os.umask(0)
        os.umask(umask)
        aside.chmod(0o666 & ~umask)  # mkstemp makes files that only their owner can read
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
