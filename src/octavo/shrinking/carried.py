"""Files of a checkpoint that go with it as they are: pooling, card, licence, chat template. Not its junk."""

from pathlib import Path

from octavo.checkpoint.pooling import MODULES, SETTINGS, read_table
from octavo.schema.manifest import CARD

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
