"""Whether what stands at a place is an artifact and nothing else, which may be replaced."""

from pathlib import Path

from octavo.checkpoint.generation_config import TARGET_TOKENIZER
from octavo.checkpoint.tokenizer import SIDE_FILES
from octavo.data.json_text import read_json
from octavo.errors import ArtifactError
from octavo.files import files_of
from octavo.schema.lineage import LINEAGE
from octavo.schema.manifest import CARD, MANIFEST


def require_free(place: Path, *, force: bool) -> None:
    """See that nothing is at a place, or an empty folder, or an artifact that `force` replaces.

    Raises:
        ArtifactError: something else is.
    """
    if place.is_symlink() or place.exists():
        require_artifact(place, place)
        if not force and any(place.iterdir()):
            raise ArtifactError("the output exists", got=place, then="name another output, or replace it with --force")


def require_artifact(folder: Path, place: Path) -> None:
    """See that `folder`, which stands or stood at `place`, is an artifact and no more, or an empty folder.

    Raises:
        ArtifactError: it is not.
    """
    written = folder.is_dir() and any((folder / name).is_file() for name in (MANIFEST, LINEAGE))
    if folder.is_symlink() or not folder.is_dir() or (any(folder.iterdir()) and not written):
        raise ArtifactError("something that is not an artifact is in the way", got=place, then="name another output")
    strange = {path.relative_to(folder).as_posix() for path in files_of(folder)} - {
        *_names_in(folder),
        MANIFEST,
        LINEAGE,
        CARD,
    }
    if strange:
        raise ArtifactError(
            "the output holds files that are not the artifact's", got=f"{place}: {', '.join(sorted(strange)[:4])}"
        )


def _names_in(folder: Path) -> set[str]:
    """The files that a manifest, or a lineage, names, as far as it can be read: a damaged one may be replaced too."""
    try:
        return set(read_json(folder / (MANIFEST if (folder / MANIFEST).exists() else LINEAGE))["files"])
    except (OSError, ValueError, KeyError, TypeError):
        models = {f"{name}.onnx{ending}" for name in ("model", "encoder", "decoder") for ending in ("", ".data")}
        return {*models, "model.safetensors", "config.json", "tokenizer.json", TARGET_TOKENIZER, *SIDE_FILES}
