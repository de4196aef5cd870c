"""What goes into an artifact: files that are to be written, and what they are known to answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from octavo.engines import Session
from octavo.schema.layers import LayerResult, Overflow
from octavo.schema.manifest import ExportRecord, PassRecord


@dataclass(frozen=True)
class Contents:
    """A quantized model that is to be written.

    `write` puts its files into a folder and returns what `config.json` has to say of them; `answers` opens what was
    written there, as it answers on the CPU that it is for; `components` are these files by what they are; `reference`
    opens the float model.
    """

    layers: tuple[LayerResult, ...]
    exact_u8s8: bool
    write: Callable[[Path], dict[str, Any]]
    answers: Callable[[Path], Session]
    reference: Callable[[], Session]
    components: Mapping[str, str]
    export: ExportRecord | None = None
    passes: tuple[PassRecord, ...] = ()
    overflow: Overflow | None = None
