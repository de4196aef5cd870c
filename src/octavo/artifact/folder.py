"""The folder that Octavo writes: a model, its tokenizer, and `octavo.json`, which says all there is to know about it.

Written aside and moved into place, so that an interrupted write leaves nothing. Opening one needs neither torch nor
onnx_ir.
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from octavo.checkpoint.generation_config import TARGET_TOKENIZER
from octavo.engines import ENGINES, choose_engine, runs_torch
from octavo.errors import ArtifactError, InputError
from octavo.schema.manifest import MANIFEST, SCHEMA, Manifest
from octavo.tasks import find_task


@dataclass(frozen=True)
class Artifact:
    """An artifact on disk."""

    folder: Path
    manifest: Manifest

    @property
    def model_file(self) -> Path:
        """The model: a graph, or torch weights; of several components the last, which gives the answers."""
        return list(self.model_files.values())[-1]

    @property
    def model_files(self) -> dict[str, Path]:
        """The files of the model by component."""
        return {name: self.folder / file for name, file in self.manifest.components.items()}

    def engine(self, asked: str = "auto") -> str:
        """The engine to run it on: the one asked for, or the one that this CPU and its method call for.

        Raises:
            InputError: an engine for artifacts of the other format.
        """
        recipe = self.manifest.recipe
        if asked == "auto":
            return "onnxruntime" if find_task(self.manifest.signature).writes else choose_engine(recipe)[0]
        if runs_torch(asked) != (recipe.format == "torch"):
            allowed = "torch" if recipe.format == "torch" else ", ".join(name for name in ENGINES if name != "torch")
            raise InputError(f"the artifact is of the format {recipe.format}", got=asked, allowed=f"auto, {allowed}")
        return asked

    @property
    def bytes(self) -> int:
        """What inference needs: every file but the card."""
        return sum(record.bytes for record in self.manifest.files.values()) + (self.folder / MANIFEST).stat().st_size

    @property
    def tokenizer_json(self) -> str:
        """The tokenizer, for the Rust library."""
        return (self.folder / "tokenizer.json").read_text(encoding="utf-8")

    @property
    def target_json(self) -> str | None:
        """The tokenizer of what is written, where that is another one."""
        file = self.folder / TARGET_TOKENIZER
        return file.read_text(encoding="utf-8") if file.exists() else None


def open_artifact(folder: str | Path) -> Artifact:
    """Read `octavo.json` and see that every file is there with its size.

    Raises:
        ArtifactError: it is no artifact, of an unknown schema version, damaged, or not complete.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    if not folder.is_dir():
        raise ArtifactError("no such folder", got=folder)
    if not path.is_file():
        raise ArtifactError("this is not an artifact of Octavo", where=folder, got=f"no {MANIFEST}")
    try:
        text = path.read_text(encoding="utf-8")
        manifest = Manifest.model_validate_json(text)
    except (UnicodeDecodeError, ValidationError) as error:
        raise _unreadable(path, error) from None
    for name, record in manifest.files.items():
        file = folder / name
        size = file.stat().st_size if file.is_file() else None
        if size != record.bytes:
            raise ArtifactError(
                "the artifact is not complete",
                where=file,
                got="no such file" if size is None else f"{size} bytes",
                allowed=f"{record.bytes} bytes",
                then="make it again with octavo quantize",
            )
    return Artifact(folder, manifest)


def _unreadable(path: Path, error: Exception) -> ArtifactError:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        if place == "octavo":
            return ArtifactError(
                "unknown schema version", where=path, got=first["input"], allowed=SCHEMA, then="install a newer octavo"
            )
        return ArtifactError(
            f"{MANIFEST} is not valid", where=path, got=f"{place}: {first['msg']}, not {first['input']!r:.60}"
        )
    return ArtifactError(f"{MANIFEST} is not readable", where=path, got=error)
