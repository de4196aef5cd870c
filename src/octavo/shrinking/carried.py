"""What goes with a checkpoint into the next: pooling, card, licence, chat template, not its junk; and its lineage."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from octavo.artifact.writing import hash_files
from octavo.checkpoint.pooling import MODULES, SETTINGS, read_table
from octavo.checkpoint.ranges import has_ranges
from octavo.checkpoint.source import Source
from octavo.errors import OctavoWarning
from octavo.schema.lineage import LINEAGE, Lineage, Step
from octavo.schema.manifest import CARD
from octavo.schema.ranges import RANGES

_NAMES = (MODULES, SETTINGS, "sentence_bert_config.json", CARD, "chat_template.jinja", "chat_template.json")
_LICENCES = "LICEN[CS]E*"


def carried_files(folder: Path) -> dict[str, bytes]:
    """Path in the folder -> content."""
    modules = read_table(folder / MODULES, list) if (folder / MODULES).exists() else []
    paths = [str(module.get("path") or "") for module in modules]
    names = [*_NAMES, *(file.name for file in sorted(folder.glob(_LICENCES)))]
    names += [
        f"{path}/{name}"
        for path in paths
        if path and Path(path).name == path
        for name in ("config.json", "model.safetensors")
    ]
    return {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}


def write_lineage(source: Source, step: Step, folder: Path) -> None:
    """Write what a checkpoint was made from, and the hashes of its files, when all of these are there.

    Warns of ranges that the source was trained for int8 with: they are of its weights.
    """
    if has_ranges(source.folder):
        what = f"{source.folder}: {RANGES} is of the weights before, and does not go with them: train for int8 again"
        warnings.warn(what, OctavoWarning, stacklevel=3)
    earlier = source.lineage.steps if source.lineage else ()
    lineage = Lineage(steps=(*earlier, step), files=hash_files(folder))
    (folder / LINEAGE).write_text(lineage.model_dump_json(indent=1, exclude_none=True) + "\n", encoding="utf-8")


@contextmanager
def told_of(aside: Path, output: Path) -> Iterator[None]:
    """Warnings about a folder, as of the place that it is to have."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", OctavoWarning)
        yield
    for warning in caught:
        warnings.warn(str(warning.message).replace(str(aside), str(output)), warning.category, stacklevel=3)
