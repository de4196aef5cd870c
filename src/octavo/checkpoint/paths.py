"""TODO-DOC checkpoint.paths."""

from __future__ import annotations

from pathlib import Path

from octavo.errors import InputError


def find_onnx(path: Path) -> Path:
    """The one ONNX file that a path means: the file itself, or the only one of a folder and its folder `onnx`.

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


def has_onnx(folder: Path) -> bool:
    """Whether a folder, or its folder `onnx`, holds an ONNX file."""
    return bool(_onnx_files(folder))


def _onnx_files(folder: Path) -> list[Path]:
    return sorted([*folder.glob("*.onnx"), *folder.glob("onnx/*.onnx")])
