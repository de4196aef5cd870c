"""TODO-DOC pipeline.contents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from octavo.engines import Session
from octavo.schema.layers import LayerOutcome, Overflow


@dataclass(frozen=True)
class Made:
    """A quantized model that is to be written.

    `write` puts its files into a folder and returns what `config.json` has to say of them; `answers` opens what was
    written there, as it answers on the CPU that it is for; `components` are these files by what they are; `reference`
    is the float model, where there is one.
    """

    layers: tuple[LayerOutcome, ...]
    exact_u8s8: bool
    write: Callable[[Path], dict[str, Any]]
    answers: Callable[[Path], Session]
    components: dict[str, str]
    reference: Any = None
    export: dict[str, Any] | None = None
    passes: Sequence[dict[str, Any]] = ()
    overflow: Overflow | None = None
