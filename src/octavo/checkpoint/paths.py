"""What a path is: a checkpoint, an artifact, or an ONNX file of any tool."""

from pathlib import Path
from typing import Literal

from octavo.checkpoint.weights import has_weights
from octavo.errors import InputError
from octavo.schema.manifest import MANIFEST

ModelKind = Literal["checkpoint", "artifact", "onnx"]
_READ = {".json", ".txt", ".model", ".safetensors", ".bin", ".onnx"}  # endings of what a model is made of


def kind_of(path: str | Path) -> ModelKind:
    """What a path is: a folder with `octavo.json`, an ONNX file or a folder with one and no weights, or a checkpoint.

    Anything else is taken for a checkpoint, since it may be the id of one on the Hub.

    Raises:
        InputError: see `require_files`.
    """
    path = Path(path)
    require_files(path)
    if (path / MANIFEST).exists():
        return "artifact"
    onnx = path.suffix == ".onnx" or (path.is_dir() and not has_weights(path) and bool(_onnx_files(path)))
    return "onnx" if onnx else "checkpoint"


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
