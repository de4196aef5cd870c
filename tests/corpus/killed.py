"""`quantize`, killed at drawn moments: what is left is the old artifact whole, or the new one, and then no litter."""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cases import generator

Become = Callable[[list[str], Path, Path, int | None], None]  # the command line in a child: never returns
OLD, NEW = "feature-extraction", "text-classification"  # the tasks of the artifact that was there, and of the one made


def kill_all(base: Path, moments: int, become: Become, *, again: bool) -> Iterator[tuple[str, list[str]]]:
    """Kill as many runs, half of them while an older artifact is there; what was wrong with what each left.

    Half of the moments fall into the whole run, half into the writing. `again`: another run follows each, and has to
    clean up.
    """
    with tempfile.TemporaryDirectory() as place:
        whole, told = Path(place) / "whole", Path(place) / "told"
        told.mkdir()
        times = _run(_asked(base, whole), told, become)
        draw = generator("moments")
        for index in range(moments):
            force, writing = index % 2 == 1, index % 4 < 2
            folder = Path(place) / f"모델 {index}"
            folder.mkdir()
            if force:
                shutil.copytree(base / "torch", folder / "out")
            arguments = _asked(base, folder / "out", *(["--force"] if force else []))
            wait = draw.uniform(0, times[1] if writing else sum(times))
            _run(arguments, told, become, wait, after_writing_began=writing)
            task, wrong = _read(folder / "out")
            if wrong or task not in ((OLD, NEW) if force else (None, NEW)):
                wrong.append(f"lost: {task}")
            if again:
                _run(_asked(base, folder / "out", "--force"), told, become)
                left = sorted(path.name for path in folder.iterdir())
                if left != ["out"] or _read(folder / "out") != (NEW, []):
                    wrong.append(f"left behind: {', '.join(left)}")
            yield f"killed {'over an older one' if force else 'new'}, {index}", wrong
            shutil.rmtree(folder)


def _asked(base: Path, output: Path, *more: str) -> list[str]:
    """The format torch needs no export: a run is short, and as much of it as can be is writing."""
    return ["quantize", str(base / "checkpoint"), "-o", str(output), "--format", "torch", *more]


def _run(
    arguments: list[str], told: Path, become: Become, wait: float | None = None, *, after_writing_began: bool = False
) -> tuple[float, float]:
    """Run the command line, or kill it after `wait` seconds; the seconds before it began to write, and after."""
    for file in told.iterdir():
        file.unlink()
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        become(arguments, told.parent, told, None)
    began, err = None, told / "err"
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if began is None and err.exists() and b"writing the artifact" in err.read_bytes():
            began = time.monotonic()
        since = began if after_writing_began else started
        if wait is not None and since is not None and time.monotonic() - since >= wait:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            break
        time.sleep(0.0005)
    now = time.monotonic()
    assert wait is not None or began is not None, err.read_text(encoding="utf-8")
    return (began or now) - started, now - (began or now)


def _read(folder: Path) -> tuple[str | None, list[str]]:
    """The task of the artifact, None where there is none; and what is wrong with it."""
    from octavo.artifact.folder import open_artifact
    from octavo.errors import OctavoError
    from octavo.files import sha256_of

    if not folder.exists():
        return None, []
    try:
        manifest = open_artifact(folder).manifest
    except OctavoError as error:
        return "damaged", [str(error)]
    changed = [name for name, record in manifest.files.items() if sha256_of(folder / name) != record.sha256]
    return manifest.signature.task, [f"changed: {name}" for name in changed]
