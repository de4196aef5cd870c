"""What a path is: a checkpoint, an artifact, or an ONNX file of any tool."""

import re
from pathlib import Path
from typing import Literal

from octavo.checkpoint.weights import has_weights
from octavo.data.rows import EXTENSIONS
from octavo.errors import InputError
from octavo.schema.manifest import MANIFEST

ModelKind = Literal["checkpoint", "artifact", "onnx"]
_READ = {".json", ".txt", ".model", ".safetensors", ".bin", ".onnx"}  # endings of what a model is made of


def kind_of(path: str | Path) -> ModelKind:
    """What a path is: a folder with `octavo.json`, an ONNX file or a folder with one and no weights, or a checkpoint.

    Anything else is taken for a checkpoint, since it may be the id of one on the Hub.

    Raises:
        InputError: see `require_files` and `require_model`.
    """
    path = Path(path)
    require_files(path)
    require_model(path)
    if is_artifact(path):
        return "artifact"
    onnx = path.suffix == ".onnx" or (path.is_dir() and not has_weights(path) and bool(_onnx_files(path)))
    return "onnx" if onnx else "checkpoint"


def is_artifact(path: Path) -> bool:
    """Whether a path is a folder with `octavo.json`."""
    return (path / MANIFEST).exists()


def is_data(path: Path) -> bool:
    """Whether a path is a file of examples, and not one of a model."""
    beside = any((path.parent / name).exists() for name in ("config.json", MANIFEST))
    return path.is_file() and path.suffix.lower() in EXTENSIONS and not (beside and path.suffix.lower() in _READ)


def require_model(path: Path, error: type[InputError] = InputError) -> None:
    """See that a path that is there is a model's, and not a file in its folder or the folder around it.

    Raises:
        InputError, or the `error` of that kind: it is; the message names what is meant.
    """
    if is_data(path):
        raise error("a data file in the place of a model", got=path, then="name the model's folder")
    if path.is_file() and path.suffix != ".onnx":
        holds = any((path.parent / name).exists() for name in ("config.json", MANIFEST))
        raise error("a model is a folder", got=path, then=f"name its folder: {path.parent}" if holds else None)
    if not path.is_dir() or _has_model(path):
        return
    inside = sorted((place for place in path.iterdir() if place.is_dir() and _has_model(place)), key=_by_number)
    if checkpoints := [place for place in inside if re.fullmatch(r"checkpoint-\d+", place.name)]:
        got, then = f"{path}, with {len(checkpoints)} in it", f"name one of them; the last is {checkpoints[-1]}"
        raise error("a Trainer's folder of checkpoints, and none itself", got=got, then=then)
    if artifacts := [place for place in inside if (place / MANIFEST).is_file()]:
        then = f"name one of them: {', '.join(map(str, artifacts[:4]))}"
        raise error("a folder of artifacts, and none itself", got=path, then=then)


def _has_model(folder: Path) -> bool:
    names = ("config.json", MANIFEST, "adapter_config.json")
    return any((folder / name).exists() for name in names) or has_weights(folder) or bool(_onnx_files(folder))


def _by_number(path: Path) -> tuple[int, str]:
    return int((re.findall(r"\d+", path.name) or ["0"])[-1]), path.name


def find_onnx(path: Path) -> Path:
    """The ONNX file of a path: the file itself, or the only one of a folder and its folder `onnx`.

    Raises:
        InputError: there is none, or there are several.
    """
    if not path.is_dir():
        if not path.exists():
            raise InputError("no such file or folder", got=path)
        return path
    files = _onnx_files(path)
    if not files:
        raise InputError("no ONNX file", where=path)
    if len(files) > 1:
        names = ", ".join(str(file.relative_to(path)) for file in files)
        raise InputError("several ONNX files and no way to choose", where=path, got=names, then="name one of them")
    return files[0]


def _onnx_files(folder: Path) -> list[Path]:
    return sorted([*folder.glob("*.onnx"), *folder.glob("onnx/*.onnx")])


def require_files(path: Path) -> None:
    """See that a model's path, and what stands in its folder and the folders there, are files: the others never end.

    Raises:
        InputError: one is a pipe, a device or a socket, or a file of the model is a link to nothing.
    """
    for place in (path, *path.glob("*"), *path.glob("*/*")) if path.is_dir() else (path,):
        if place.exists() and not (place.is_file() or place.is_dir()):
            raise InputError("a pipe or a device, and no file", where=place)
        if place.is_symlink() and not place.exists() and place.suffix in _READ:
            raise InputError("a link that leads nowhere", where=place)
