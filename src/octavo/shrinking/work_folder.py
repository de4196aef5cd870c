"""The folder beside an output in which a training is kept until it is done: a run that was killed goes on there."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from octavo.data.json_text import read_json
from octavo.errors import InputError
from octavo.files import lock, whole_file
from octavo.schema.documents import json_text

LOCK, SETTINGS = "octavo.lock", "training.json"
_FORMER = "octavo.json"  # the name of the settings before, which is also that of an artifact's manifest


@contextmanager
def work_folder(output: Path, settings: Mapping[str, Any]) -> Iterator[Path]:
    """`OUTPUT.training`, for one run at a time, with the settings that it was begun with.

    It is gone when all went well, and when nothing was learnt yet.

    Raises:
        InputError: another run works there, or one with other settings was begun, or something else has that name.
    """
    folder = output.with_name(f"{output.name}.training")
    if folder.is_symlink() or (folder.exists() and not _is_ours(folder)):
        raise InputError("something that is no training is in the way", got=folder, then="name another output")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("ab") as stream:
        if lock(stream) is False:
            raise InputError("another run is training there", got=folder, then="wait for it, or name another output")
        if (folder / _FORMER).exists() and not (folder / SETTINGS).exists():
            (folder / _FORMER).rename(folder / SETTINGS)
        _require_same(folder / SETTINGS, json.loads(json.dumps(settings)))
        done = False
        try:
            yield folder
            done = True
        finally:
            if done or not any(folder.glob("checkpoint-*")):
                shutil.rmtree(folder)


def _is_ours(folder: Path) -> bool:
    return folder.is_dir() and ((folder / LOCK).exists() or not any(folder.iterdir()))


def _require_same(file: Path, settings: Mapping[str, Any]) -> None:
    """Write the settings of a run that begins; see that one that goes on has those that it began with.

    Raises:
        InputError: they are others, or cannot be read.
    """
    then = f"give the same to go on, name another output, or delete {file.parent} to begin anew"
    if not file.exists():
        with whole_file(file) as stream:
            stream.write(json_text(settings, indent=1) + "\n")
        return
    try:
        begun = read_json(file)
        other = [name for name in {**begun, **settings} if begun.get(name) != settings.get(name)]
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError("a training that was begun cannot be read", where=file, got=error, then=then) from None
    if other:
        got, allowed = (", ".join(f"{name} {run.get(name)!s:.40}" for name in other) for run in (settings, begun))
        raise InputError("a training with other settings was begun", where=file, got=got, allowed=allowed, then=then)
