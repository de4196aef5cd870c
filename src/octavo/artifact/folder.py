"""The folder that Octavo writes: a model, its tokenizer, and `octavo.json`, which says all there is to know about it.

Every file that is opened is listed there with its hash, and lies in the folder. Opening one needs neither torch nor
onnx_ir.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pydantic import ValidationError

from octavo.artifact.external import external_locations
from octavo.artifact.staging import repair
from octavo.checkpoint.generation_config import TARGET_TOKENIZER
from octavo.engines import ENGINES, choose_engine, runs_torch
from octavo.errors import ArtifactError, InputError
from octavo.files import files_of, sha256_of
from octavo.schema.lineage import FileRecord
from octavo.schema.manifest import MANIFEST, SCHEMA, Manifest
from octavo.tasks import find_task

if TYPE_CHECKING:
    from octavo.schema.comparison import ComparisonRecord


@dataclass(frozen=True)
class Artifact:
    """An artifact on disk."""

    folder: Path
    manifest: Manifest

    def __repr__(self) -> str:
        recipe, size = self.manifest.recipe, sum(record.bytes for record in self.manifest.files.values())
        kind = f"{self.manifest.signature.task}, {recipe.method}, {recipe.format}, for {self.manifest.target}"
        return f"<Artifact {self.folder}: {kind}, {size / 2**20:.1f} MiB>"

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
            return "onnxruntime" if find_task(self.manifest.signature).writes else self.chosen_engine[0]
        if runs_torch(asked) != (recipe.format == "torch"):
            allowed = "torch" if recipe.format == "torch" else ", ".join(name for name in ENGINES if name != "torch")
            raise InputError(f"the artifact is of the format {recipe.format}", got=asked, allowed=f"auto, {allowed}")
        return asked

    @property
    def chosen_engine(self) -> tuple[str, str]:
        """The engine that this CPU, its method and its size call for, and why."""
        return choose_engine(self.manifest.recipe, self.manifest.parameters)

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
        return file.read_text(encoding="utf-8") if TARGET_TOKENIZER in self.manifest.files else None

    @property
    def opened(self) -> set[str]:
        """The files that are opened to run it, by their paths in the folder; those that a graph names apart."""
        pooling = self.manifest.signature.pooling
        folders = [step.folder for step in pooling.steps if step.folder] if pooling else []
        weights = {PurePosixPath(folder, "model.safetensors").as_posix() for folder in folders}
        return {"config.json", "tokenizer.json", *self.manifest.components.values(), *weights}

    @property
    def unlisted(self) -> list[str]:
        """What is in the folder and has no hash in `octavo.json`: itself, the card, and whatever was put there."""
        names = (file.relative_to(self.folder).as_posix() for file in files_of(self.folder))
        return [name for name in names if name not in self.manifest.files]

    def check_files(self) -> None:
        """Compare the hash of every file with that in `octavo.json`.

        Raises:
            ArtifactError: a file was changed.
        """
        for name, record in self.manifest.files.items():
            if sha256_of(self.folder / name) != record.sha256:
                raise ArtifactError("a file of the artifact was changed", where=self.folder / name)

    def push_to_hub(
        self,
        repo: str,
        *,
        private: bool = False,
        base_model: str | None = None,
        comparison: str | Path | ComparisonRecord | None = None,
    ) -> str:
        """Push it to the Hub, its card with what the Hub reads of one, and return the revision that has it.

        Args:
            repo: `user/name`; it is made where there is none.
            private: whether a repository that is made is private.
            base_model: the hub id of its checkpoint, where that was a folder.
            comparison: of `octavo compare`, or its JSON: the artifact's scores go on the card.

        Raises:
            ArtifactError: a file was changed, or the Hub does not take it.
            InputError: the comparison is of other models, or this is no name of a repository.
        """
        from octavo.artifact.hub import push_files

        self.check_files()
        return push_files(
            self.folder, self.manifest, repo, private=private, base_model=base_model, comparison=comparison
        )

    def check_references(self) -> None:
        """See that its graphs keep their weights in files that are listed.

        Raises:
            ArtifactError: one names another file.
        """
        graphs = self.manifest.components.values() if self.manifest.recipe.format == "onnx" else ()
        for graph in graphs:
            for location in sorted(external_locations(self.folder / graph)):
                name = PurePosixPath(graph).parent.joinpath(location).as_posix()
                _require_listed(self, {name}, self.folder / graph)


def push(  # the verb; see `Artifact.push_to_hub`
    artifact: str | Path | Artifact,
    repo: str,
    *,
    private: bool = False,
    base_model: str | None = None,
    comparison: str | Path | ComparisonRecord | None = None,
) -> str:
    """Push an artifact to the Hub and return the revision that has it; see `Artifact.push_to_hub`."""
    given = artifact if isinstance(artifact, Artifact) else open_artifact(artifact)
    return given.push_to_hub(repo, private=private, base_model=base_model, comparison=comparison)


def open_artifact(folder: str | Path) -> Artifact:
    """Read `octavo.json` and see that every file is there with its size, and that those to be opened are listed.

    An artifact that a killed run had moved away is put back first.

    Raises:
        ArtifactError: it is no artifact, of an unknown schema version, damaged, or not complete.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    if folder.is_file():
        own = (folder.parent / MANIFEST).exists()
        then = f"name its folder: {folder.parent}" if own else "octavo quantize writes one of a checkpoint"
        raise ArtifactError("an artifact is a folder, and this is a file", got=folder, then=then)
    if not folder.is_dir():
        repair(folder.resolve().parent)
    if not folder.is_dir():
        raise ArtifactError("no such folder", got=folder)
    if not path.is_file():
        raise ArtifactError("this is not an artifact of Octavo", where=folder, got=f"no {MANIFEST}")
    _require_inside(path, folder)
    try:
        text = path.read_text(encoding="utf-8")
        manifest = Manifest.model_validate_json(text)
    except (UnicodeDecodeError, ValidationError) as error:
        raise _unreadable(path, error) from None
    for name, record in manifest.files.items():
        _check_file(folder / name, record)
        _require_inside(folder / name, folder)
    artifact = Artifact(folder, manifest)
    _require_listed(artifact, artifact.opened, path)
    return artifact


def _check_file(file: Path, record: FileRecord) -> None:
    size = file.stat().st_size if file.is_file() else None
    if size != record.bytes:
        raise ArtifactError(
            "the artifact is not complete",
            where=file,
            got="no such file" if size is None else f"{size} bytes",
            allowed=f"{record.bytes} bytes",
            then="make it again with octavo quantize",
        )


def _require_inside(file: Path, folder: Path) -> None:
    """See that a file lies in the folder, or where the cache of huggingface_hub has what it links to.

    That is `blobs` beside `snapshots`: see huggingface_hub's "Understand caching".
    """
    home = folder.resolve()
    blobs = (above.with_name("blobs") for above in home.parents if above.name == "snapshots")
    if not any(file.resolve().is_relative_to(place) for place in (home, *blobs)):
        then = "put the file itself there"
        raise ArtifactError("a file of the artifact leads out of it", where=file, got=file.resolve(), then=then)


def _require_listed(artifact: Artifact, names: set[str], where: Path) -> None:
    if missing := sorted(names - artifact.manifest.files.keys()):
        raise ArtifactError(f"a file that {MANIFEST} does not list is to be opened", where=where, got=missing[0])


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
