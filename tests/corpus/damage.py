"""Damage that any file can have: cut, turned over, empty, another kind of thing under its name."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

Damage = Callable[[Path, random.Random], object]


def cut(path: Path, draw: random.Random) -> None:
    os.truncate(path, draw.randrange(1, path.stat().st_size))


def turn_bit(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def overwrite(path: Path, draw: random.Random) -> None:
    """As a disk does that lost a sector: zeros over some of it, the size unchanged."""
    content = bytearray(path.read_bytes())
    start = draw.randrange(len(content))
    end = min(len(content), start + 512)
    content[start:end] = bytes(end - start)
    path.write_bytes(content)


def add(path: Path, draw: random.Random) -> None:
    with path.open("ab") as stream:
        stream.write(draw.randbytes(draw.randrange(1, 100)))


def empty(path: Path, draw: random.Random) -> None:
    path.write_bytes(b"")


def noise(path: Path, draw: random.Random) -> None:
    path.write_bytes(draw.randbytes(path.stat().st_size))


def remove(path: Path, draw: random.Random) -> None:
    path.unlink()


def make_pipe(path: Path, draw: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def make_folder(path: Path, draw: random.Random) -> None:
    path.unlink()
    path.mkdir()


def point_to_device(path: Path, draw: random.Random) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def point_to_itself(path: Path, draw: random.Random) -> None:
    path.unlink()
    path.symlink_to(path.name)


def point_nowhere(path: Path, draw: random.Random) -> None:
    path.unlink()
    path.symlink_to(path.parent / "nothing")


def swap_with(other: Path) -> Damage:
    """Another whole file under its name."""

    def swap(path: Path, draw: random.Random) -> None:
        shutil.copy(other, path)

    return swap


BYTES: tuple[Damage, ...] = (cut, turn_bit, overwrite, add, empty, noise)
THINGS: tuple[Damage, ...] = (remove, make_pipe, make_folder, point_to_device, point_to_itself, point_nowhere)
