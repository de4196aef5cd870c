"""torch and transformers: whether they are installed, and how they are silenced."""

import contextlib
import logging
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from octavo.errors import MissingExtraError


def has_torch() -> bool:
    """Whether torch, transformers and what their exporter needs are installed; nothing is imported."""
    try:
        return all(find_spec(name) is not None for name in ("onnxscript", "torch", "transformers"))
    except ModuleNotFoundError:
        return False


def require_torch(why: str | None = None) -> tuple[Any, Any]:
    """The modules torch and transformers; `why` they are needed, where not everything of their kind needs them.

    Raises:
        MissingExtraError: they are not installed; the message shows how to install them.
    """
    try:
        if find_spec("onnxscript") is None:  # the exporter needs it, and the extra is one
            raise ModuleNotFoundError("No module named 'onnxscript'", name="onnxscript")
        import torch
        import transformers
    except ImportError as error:
        raise MissingExtraError(
            "checkpoints are read by torch and transformers, which are not installed",
            got=f"no module {error.name}{f' for {why}' if why else ''}",
            then="pip install 'octavo[convert]' (on Linux install the CPU build of torch first: see the README)",
        ) from None
    return torch, transformers


@contextlib.contextmanager
def silent_transformers(transformers: Any) -> Iterator[None]:
    """Silence transformers' progress bars and warnings (errors replace these), and the libraries that it imports."""
    level, bars = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    transformers.logging.set_verbosity(50)
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.disable(disabled)
        transformers.logging.set_verbosity(level)
        if bars:
            transformers.logging.enable_progress_bar()
