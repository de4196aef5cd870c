"""Files: which a folder holds, their hash, and text that appears under its name only when all of it was written.

A run that is killed leaves what it was writing. Such a file is locked while its run lives, so the next run knows it.
"""

import errno
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any

from octavo.errors import InputError

ASIDE = ".octavo-"  # what is not whole yet is called `.NAME.octavo-xxxxxxxx`
_AT_FDCWD, _EXCHANGE = -100, 2  # linux/fcntl.h; RENAME_EXCHANGE of linux/fs.h, RENAME_SWAP of macOS' stdio.h
_CANNOT = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


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


def lock(stream: IO[Any]) -> bool | None:
    """Lock an open file until it is closed or its process ends: False where another holds it, None where none can.

    flock(2), whose lock belongs to the open file: a killed process holds none.
    """
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return None
    return True


def is_at(stream: IO[Any], path: Path) -> bool:
    """Whether an open file still is what stands at a path."""
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False


def exchange(first: Path, second: Path) -> bool:
    """Let two paths change places at once; False where the system or the file system cannot.

    renameat2(2) of Linux, renamex_np(2) of macOS.
    """
    if sys.platform == "win32":
        return False
    import ctypes

    names = os.fsencode(first), os.fsencode(second)
    library = ctypes.CDLL(None, use_errno=True)
    if hasattr(library, "renameat2"):
        failed = library.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _EXCHANGE)
    elif hasattr(library, "renamex_np"):
        failed = library.renamex_np(*names, _EXCHANGE)
    else:
        return False
    number = ctypes.get_errno()
    if failed and number not in _CANNOT:
        raise OSError(number, os.strerror(number), str(first), None, str(second))
    return not failed


@contextmanager
def whole_file(output: str | Path) -> Iterator[TextIOWrapper]:
    """A stream in UTF-8 (bytes go to its `buffer`); what was at `output` before stays there if the writing fails.

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
    _remove_dead(path)
    aside, stream = _open_aside(path)
    try:
        with stream:  # its lock is held until it has its name
            yield stream
            stream.flush()
            make_readable(aside)
            aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def make_readable(file: Path) -> None:
    """Give a file the mode of any new file: mkstemp and safetensors make some that only their owner can read."""
    umask = os.umask(0)
    os.umask(umask)
    file.chmod(0o666 & ~umask)


def _open_aside(path: Path) -> tuple[Path, TextIOWrapper]:
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}{ASIDE}", dir=path.parent)
        stream = os.fdopen(handle, "w", encoding="utf-8")
        if lock(stream) is None or is_at(stream, Path(name)):
            return Path(name), stream
        stream.close()  # another run took it for that of a dead one, before it was locked


def _remove_dead(path: Path) -> None:
    """Remove what runs that were killed left of this output."""
    for aside in path.parent.glob(f".{escape(path.name)}{ASIDE}????????"):
        if aside.is_file():
            with suppress(OSError), aside.open("rb+") as stream:
                if lock(stream):
                    aside.unlink()
