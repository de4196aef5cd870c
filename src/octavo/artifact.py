"""The folder that Octavo writes: a model, its tokenizer, and `octavo.json`, which says all there is to know about it.

Written aside and moved into place, so that an interrupted write leaves nothing. Opening one needs neither torch nor
onnx_ir.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from octavo.engines import ENGINES, Session, choose_engine, find_engine, runs_torch
from octavo.engines.pooled import pooled
from octavo.errors import ArtifactError, HardwareError, InputError
from octavo.hardware import TARGETS, this_cpu
from octavo.methods import LayerOutcome, Overflow
from octavo.recipe import Recipe
from octavo.sampling import TARGET_TOKENIZER
from octavo.selftest import SelfTest
from octavo.signature import Signature
from octavo.tokenizer import SIDE_FILES

MANIFEST = "octavo.json"
SCHEMA: Literal[1] = 1
CARD = "README.md"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileRecord(_Record):
    """A file of the artifact."""

    bytes: int
    sha256: str


class SourceRecord(_Record):
    """The checkpoint that the artifact was made from: its name, the dtype and size as stored, a hash of its weights."""

    name: str
    dtype: str
    bytes: int
    sha256: str


class HostRecord(_Record):
    """Where it was made."""

    cpu: str
    kind: str
    packages: dict[str, str]


class PassRecord(_Record):
    """A rewrite of the float graph (`octavo.graph.passes`).

    How often it applied, the nodes before and after it, and the largest difference of the float graph's outputs, over
    the largest output; None where it did not apply.
    """

    name: str
    applied: int
    nodes_before: int
    nodes_after: int
    difference: float | None = None


class ExportRecord(_Record):
    """The float graph: its opset, why not a newer one, and its largest difference from torch at each shape."""

    opset: int
    note: str | None = None
    differences: dict[str, float]


class CalibrationRecord(_Record):
    """The examples that ranges were learnt from: how many, a hash of all of them, and one of each."""

    rows: int
    tokens: int
    sha256: str
    examples: tuple[str, ...]


class Manifest(_Record):
    """`octavo.json`; `components` are the model's files by what they are: `model`, or `encoder` and `decoder`."""

    octavo: Literal[1]
    version: str
    recipe: Recipe
    target: Literal["any", "avx2", "avx_vnni", "avx512", "avx512_vnni", "arm64"]
    exact_u8s8: bool
    signature: Signature
    source: SourceRecord
    export: ExportRecord | None = None
    passes: tuple[PassRecord, ...] = ()
    layers: tuple[LayerOutcome, ...]
    calibration: CalibrationRecord | None = None
    overflow: Overflow | None = None
    host: HostRecord
    self_test: SelfTest
    components: dict[str, str] = {"model": "model.onnx"}
    files: dict[str, FileRecord]


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
        if self.manifest.signature.generation is not None and asked == "auto":
            return "onnxruntime"
        if asked == "auto":
            return choose_engine(recipe)[0]
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


def verify(artifact: Artifact) -> float:
    """Compare the hash of every file with the manifest, and the model's answers with those it gave when it was made.

    It runs on the engine that `load` takes here. Returns the largest deviation of these;
    `artifact.manifest.self_test.allowed()` is what it may be.

    Raises:
        ArtifactError: a file was changed, or the answers differ by more than another kind of CPU explains.
    """
    for name, record in artifact.manifest.files.items():
        if sha256_of(artifact.folder / name) != record.sha256:
            raise ArtifactError("a file of the artifact was changed", where=artifact.folder / name)
    return artifact.manifest.self_test.check(open_model(artifact, artifact.engine()), artifact.folder)


def open_model(artifact: Artifact, engine: str | None = None, threads: int | None = None) -> Session:
    """The artifact's model, loaded on an engine, and what stands behind it; see `engines.find_engine`.

    Without one, on the engine that its self-test was recorded with. A model that writes comes as an
    `engines.writing.OnnxWriter`.
    """
    engine = engine or ("torch" if artifact.manifest.recipe.format == "torch" else "onnxruntime")
    if artifact.manifest.signature.generation is not None:
        if engine != "onnxruntime":
            raise InputError("models that write run in onnxruntime", got=engine)
        from octavo.engines.writing import open_writer

        return open_writer(artifact.model_files, threads)
    session = find_engine(engine)(artifact.model_file, threads)
    return pooled(session, artifact.manifest.signature, artifact.folder)


def made_elsewhere(manifest: Manifest, engine: str) -> bool:
    """Whether the self-test was recorded on another CPU, engine, or version of it than what runs here."""
    host, own = manifest.host, "torch" if manifest.recipe.format == "torch" else "onnxruntime"
    here = this_cpu().name, this_cpu().kind, own, version(own)
    return (host.cpu, host.kind, engine, host.packages.get(own)) != here


def check_cpu(manifest: Manifest, engine: str) -> str | None:
    """Refuse an artifact that this CPU would compute wrongly; return a note where it is merely slower, else None.

    Of an engine that runs it on a GPU there is nothing to say.

    Raises:
        HardwareError: products of its 8-bit weights saturate here.
    """
    cpu = this_cpu()
    if "cuda" in engine:
        return None
    if manifest.exact_u8s8 and cpu.saturates:
        raise HardwareError(
            f"made for {manifest.target}: its products of 8-bit weights saturate on this CPU, which has no VNNI, and "
            "answers would be wrong without any error",
            got=f"{cpu.name} ({cpu.kind})",
            then=f"make it again with --target {cpu.kind} (or --target any)",
        )
    if not any(layer.activation for layer in manifest.layers) or manifest.target in {"any", cpu.kind}:
        return None
    if "arm64" not in {manifest.target, cpu.kind} and TARGETS[manifest.target].rank > TARGETS[cpu.kind].rank:
        return f"made for {manifest.target}; this CPU ({cpu.kind}) has less and will be slower"
    if not cpu.saturates and TARGETS[manifest.target].saturates:
        return f"made for {manifest.target}, with 7-bit weights; this CPU ({cpu.kind}) could take 8-bit ones"
    return None


@contextlib.contextmanager
def writing(folder: Path, *, force: bool) -> Iterator[Path]:
    """A folder beside `folder` to write into, which takes its place when all went well and vanishes when not.

    Raises:
        ArtifactError: something is there already and `force` is not set, or it is no artifact.
    """
    folder = folder.resolve()
    check_free(folder, force=force)
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        aside.chmod(0o755)  # mkdtemp makes folders that only their owner can read
        yield aside
        if folder.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
            try:
                folder.rename(old / "old")
                aside.rename(folder)
            except BaseException:  # an interruption too: the old one comes back
                if (old / "old").exists():
                    (old / "old").rename(folder)
                raise
            finally:
                shutil.rmtree(old, ignore_errors=True)
        else:
            aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def check_free(folder: Path, *, force: bool) -> None:
    """See that an artifact may be written to `folder`, before the work starts.

    Raises:
        ArtifactError: something is there already and `force` is not set, or it is no artifact.
    """
    folder = folder.resolve()
    if folder.is_file():
        raise ArtifactError("something that is not an artifact is in the way", got=folder, then="name another output")
    parent = next(place for place in (folder, *folder.parents) if place.exists() or place.is_symlink())
    if not parent.is_dir() or not os.access(parent, os.W_OK) or folder == Path.cwd():
        raise ArtifactError("an artifact cannot be written there", got=folder, then="name another output")
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not (folder / MANIFEST).is_file():
        raise ArtifactError("something that is not an artifact is in the way", got=folder, then="name another output")
    strange = {path.relative_to(folder).as_posix() for path in files_of(folder)} - {*_names_in(folder), MANIFEST, CARD}
    if strange:
        raise ArtifactError(
            "the output holds files that are not the artifact's", got=f"{folder}: {', '.join(sorted(strange)[:4])}"
        )
    if not force:
        raise ArtifactError("the output exists", got=folder, then="name another output, or replace it with --force")


def _names_in(folder: Path) -> set[str]:
    """The files that an artifact's manifest names, as far as it can be read: a damaged one may be replaced too."""
    try:
        return set(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, KeyError, TypeError):
        models = {f"{name}.onnx{ending}" for name in ("model", "encoder", "decoder") for ending in ("", ".data")}
        return {*models, "model.safetensors", "config.json", "tokenizer.json", TARGET_TOKENIZER, *SIDE_FILES}


def write_manifest(folder: Path, fields: dict[str, Any], card: str) -> Manifest:
    """Write `octavo.json` over all files that are in the folder, then the card, which is outside the hashes."""
    files = {
        path.relative_to(folder).as_posix(): FileRecord(bytes=path.stat().st_size, sha256=sha256_of(path))
        for path in files_of(folder)
    }
    manifest = Manifest(octavo=SCHEMA, files=files, **fields)
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1, exclude_none=True) + "\n", encoding="utf-8")
    (folder / CARD).write_text(card, encoding="utf-8")
    for path in files_of(folder):
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
    return manifest


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
