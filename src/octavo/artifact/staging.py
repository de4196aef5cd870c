"""A folder beside an artifact's place, in which a run writes; its lock tells whether that run is alive.

`.NAME.octavo-xxxxxxxx` holds a file `lock`, which is locked as long as its run lives, and one or two of

- `new`: the artifact while it is written. Litter, once the run is dead;
- `ready`: just before the swap the new artifact, just after it what had its place;
- `old`: what had the place, where two folders cannot be exchanged at once. If the place is empty then the run died
  between two moves, and `old` goes back.
"""

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from octavo.artifact.occupied import require_artifact
from octavo.errors import ArtifactError, OctavoWarning
from octavo.files import ASIDE, is_at, lock

LOCK, NEW, READY, OLD = "lock", "new", "ready", "old"


@contextmanager
def staging_folder(place: Path) -> Iterator[Path]:
    """An empty folder `new` in a staging folder beside `place`; what is left of it at the end vanishes."""
    box, stream = _open_box(place)
    with stream:
        try:
            yield box / NEW
        finally:
            _settle(box)


def repair(folder: Path) -> None:
    """Clear a folder of what dead runs left, and put back an artifact that one of them had moved away.

    Where a lock does not tell that a run is dead, nothing is touched.
    """
    for box in sorted(folder.glob(f".*{ASIDE}????????")):
        if not box.is_dir() or box.is_symlink():
            continue
        with suppress(OSError):
            box.rmdir()  # its run died before it had a lock; one that lives makes another
            continue
        with suppress(OSError), (box / LOCK).open("rb+") as stream:
            if lock(stream) and is_at(stream, box / LOCK):
                _settle(box)


def _open_box(place: Path) -> tuple[Path, IO[bytes]]:
    while True:
        box = Path(tempfile.mkdtemp(prefix=f".{place.name}{ASIDE}", dir=place.parent))
        with suppress(FileNotFoundError):  # another run took it for that of a dead one, before it was locked
            stream = (box / LOCK).open("xb")
            locked = lock(stream)
            if locked is None or (locked and is_at(stream, box / LOCK)):
                (box / NEW).mkdir()
                if locked is None:
                    (box / LOCK).unlink()  # nobody shall believe this run dead
                return box, stream
            stream.close()


def _settle(box: Path) -> None:
    """Remove a staging folder, by whoever has its lock, and put back what made room for something that never came."""
    place = box.with_name(box.name[1 : box.name.rindex(ASIDE)])
    if os.path.lexists(box / OLD) and not os.path.lexists(place):
        (box / OLD).rename(place)
    shutil.rmtree(box / NEW, ignore_errors=True)
    for left in (box / READY, box / OLD):
        if not os.path.lexists(left):
            continue
        try:
            require_artifact(left, left)
        except ArtifactError:
            then = f"{left} had the place of {place} while that was replaced, and is no artifact; next: move it away"
            warnings.warn(then, OctavoWarning, stacklevel=2)
            return
        left.rename(box / NEW)  # so that it is known for litter if this is interrupted
        shutil.rmtree(box / NEW, ignore_errors=True)
    if {path.name for path in box.iterdir()} <= {LOCK}:
        (box / LOCK).unlink(missing_ok=True)
        with suppress(OSError):  # NFS keeps a file that is open until it is closed
            box.rmdir()
