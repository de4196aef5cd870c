"""The model of a checkpoint that graphs are held against: torch's where that is installed, else the one in numpy."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from octavo.checkpoint.model import load_model
from octavo.checkpoint.weights import HELD
from octavo.engines import Session
from octavo.errors import CheckpointError, OctavoWarning
from octavo.hardware import give_back_memory
from octavo.tasks import find_task

if TYPE_CHECKING:
    from octavo.checkpoint.source import Source


class Original:
    """The float model of a checkpoint, in torch, or a session of it in numpy.

    Weights of up to `HELD` bytes stay in memory. Larger ones would stand there twice, beside those of the graph: such a
    model is let go when it was asked, and read from its files again when it is asked for.
    """

    def __init__(self, source: Source, *, model: Any = None, in_numpy: Session | None = None) -> None:
        """Of a checkpoint; `model` is its torch model where that was loaded already."""
        self._source, self._model, self._in_numpy = source, model, in_numpy
        self._sha256 = source.sha256  # of the files as they were
        self._held, self._released, self._owned = source.weights.bytes <= HELD, False, model is not None

    @property
    def model(self) -> Any:
        """The torch model; None where torch is not installed. See `load` for the errors."""
        if self._in_numpy is None:
            self.load()
        return self._model

    def load(self) -> None:
        """Have the torch model in memory.

        Raises:
            CheckpointError: it cannot be loaded (`checkpoint.model.load_model`), or not again, as it was changed.
        """
        if self._model is not None:
            return
        if self._released:
            self._require_unchanged()
        if not self._held:
            give_back_memory()
        with warnings.catch_warnings():
            if self._released:
                warnings.simplefilter("ignore", OctavoWarning)  # told when it was loaded first
            self._model = load_model(self._source)
        self._owned = False
        if self._held:
            self.own()

    def _require_unchanged(self) -> None:
        if self._source.hash_now() != self._sha256:
            what, then = "the weights were changed after they were read", "export the checkpoint again"
            raise CheckpointError(what, where=self._source.folder, then=then)

    def own(self) -> None:
        """Have the weights of the torch model in memory: transformers maps the file, which may be written anew."""
        for tensor in () if self._owned else (*self.model.parameters(), *self.model.buffers()):
            tensor.data = tensor.data.clone()
        self._owned = True

    def release(self) -> None:
        """Let a large model go."""
        if not self._held:
            self._model, self._released = None, True
            give_back_memory()

    def load_again(self) -> Any:
        """The torch model as a new object, which an export may change, over the weights of the first in memory."""
        first = self.model
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OctavoWarning)  # told when it was loaded first
            other = load_model(self._source)
        weights = dict(first.named_parameters())
        for name, parameter in other.named_parameters():
            parameter.data = weights[name].data
        for tensor in other.buffers():
            tensor.data = tensor.data.clone()  # as above
        return other

    def session(self) -> Session:
        """The model as a session.

        Raises:
            CheckpointError: a large model's files were changed since they were read.
        """
        if self._in_numpy is not None:
            if not self._held:
                self._require_unchanged()
            return self._in_numpy
        model = self.model
        self.release()  # the session has it
        if find_task(self._source.signature).writes:
            from octavo.engines.torch_writer import TorchWriter

            return TorchWriter(model)
        from octavo.engines.torch import TorchSession

        return TorchSession(model)
