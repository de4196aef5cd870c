"""What a checkpoint that Octavo wrote says of itself; no other one has such a file."""

from pathlib import Path

from octavo.errors import CheckpointError
from octavo.schema.lineage import LINEAGE, Lineage


def read_lineage(folder: Path) -> Lineage | None:
    """The `lineage.json` of a folder; None where there is none.

    Raises:
        CheckpointError: it is damaged.
    """
    path = folder / LINEAGE
    if not path.exists():
        return None
    try:
        return Lineage.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{LINEAGE} is not valid", where=path, got=f"{error!s:.200}") from None
