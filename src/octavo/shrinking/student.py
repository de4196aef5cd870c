"""A student: made ready to be trained, written as a checkpoint, and seen to be the same when that is loaded.

These are the two joints for whatever trains a model in another form than it is kept in, such as one that rounds as its
int8 graph will: `make_student` gives the module that is trained, `write_student` the checkpoint that it becomes.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from octavo.checkpoint.model import load_model
from octavo.checkpoint.source import Checkpoint, Source, read_source
from octavo.errors import CheckpointError
from octavo.qat.model import convert, float_weights, is_prepared
from octavo.qat.saving import write_ranges
from octavo.shrinking.carried import carried_files
from octavo.shrinking.layers import find_layers
from octavo.shrinking.proof import Inputs, align, logits_of
from octavo.tasks import task_class


def read_teacher(checkpoint: str | Path | Checkpoint) -> Source:
    """A checkpoint whose layers can be cut, as far as its files tell.

    Raises:
        CheckpointError: it cannot be read, or is of a model that writes.
    """
    source = read_source(checkpoint)
    kind = task_class(source.signature.task)
    if kind.writes or kind.weighs or kind.late:
        got, allowed = f"a model for {source.signature.task}", "encoders of other tasks"
        late = "models that answer with vectors of tokens are not distilled"
        wrong = "models that weigh words are not distilled" if kind.weighs else late
        raise CheckpointError(
            "models that write are not distilled" if kind.writes else wrong,
            where=source.folder,
            got=got,
            allowed=allowed,
        )
    return source


def make_student(source: Source, layers: Sequence[int]) -> Any:
    """The module that is trained: the checkpoint's model, loaded anew, with these of its layers alone."""
    model = align(load_model(source))
    find_layers(model, source).keep_for_good(layers)
    if source.asked.labels:
        for name in ("id2label", "label2id"):
            setattr(model.config, name, {_as_id(key): value for key, value in source.config[name].items()})
    return model


def _as_id(key: str) -> int | str:
    return int(key) if key.isdecimal() else key


def write_student(student: Any, source: Source, folder: Path) -> Source:
    """Write a student, and what goes with its teacher, as a checkpoint of transformers; gives it as it is read anew.

    Everything but `lineage.json`; weights are float32. One that was trained for int8 is given its ranges beside them,
    and is a plain float model afterwards.
    """
    prepared = is_prepared(student)
    student.cpu().save_pretrained(folder, state_dict=float_weights(student))
    files = source.tokenizer.side_files | carried_files(source.folder)
    files |= {"tokenizer.json": source.tokenizer.json.encode()}
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    written = replace(source.asked, path=folder, tokenizer=None, labels=())
    if prepared:
        write_ranges(student, written)
        convert(student)
    return read_source(written)


def require_loads_same(student: Any, written: Source, inputs: Sequence[Inputs]) -> None:
    """See that a student answers the same when it is loaded anew, to the last bit.

    Raises:
        CheckpointError: it does not, or cannot be loaded: its config does not say which layers it has.
    """
    from octavo.engines.torch import TorchSession

    session, what = TorchSession(student.eval()), "a student of this architecture is not the same when it is loaded"
    try:
        pairs = list(zip(logits_of(written, inputs, None), map(session.run, inputs), strict=True))
    except CheckpointError as error:
        raise CheckpointError(what, got=error, then="name other --layers") from None
    differences = [float(np.abs(loaded - trained).max()) for loaded, trained in pairs]
    if max(differences) != 0:
        got, allowed = f"logits that differ by {max(differences):.3g}", "the same to the last bit"
        raise CheckpointError(what, got=got, allowed=allowed, then="name other --layers")
