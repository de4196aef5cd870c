"""The ranges that a checkpoint was trained for int8 with, and whether they are of the weights that they lie beside.

No other method reads them. A checkpoint that was trained on or whose weights were changed has others.
"""

import hashlib
import json
from pathlib import Path

from pydantic import ValidationError
from tokenizers import Tokenizer

from octavo.checkpoint.source import Source
from octavo.data.json_text import read_json
from octavo.errors import CheckpointError
from octavo.files import sha256_of
from octavo.schema.ranges import RANGES, Ranges


def has_ranges(folder: str | Path) -> bool:
    """Whether a folder holds ranges."""
    return (Path(folder) / RANGES).is_file()


def read_ranges(source: Source) -> Ranges | None:
    """The ranges of a checkpoint, proved to be of its weights and of its tokenizer; None where it has none.

    Raises:
        CheckpointError: they are damaged, or of other weights or another tokenizer.
    """
    path = source.folder / RANGES
    if not path.exists():
        return None
    try:
        ranges = Ranges.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        got = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise CheckpointError(f"{RANGES} is not valid", where=path, got=got) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{RANGES} is not readable", where=path, got=error) from None
    then = "train it again for int8, or take static with --calibrate FILE"
    if ranges.weights != sha256_of(*source.weights.files):
        raise CheckpointError(f"{RANGES} was learnt with other weights", where=source.folder, then=then)
    if ranges.vocabulary != vocabulary_hash(source):
        then = "give the tokenizer that it was trained with"
        raise CheckpointError(f"{RANGES} was learnt with another tokenizer", where=source.folder, then=then)
    return ranges


def vocabulary_hash(source: Source) -> str:
    """The hash of the pieces and their ids: another version of transformers may write the same tokenizer otherwise."""
    pieces = sorted(Tokenizer.from_str(source.tokenizer.json).get_vocab().items())
    return hashlib.sha256(json.dumps(pieces).encode()).hexdigest()
