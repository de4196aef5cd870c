"""The weights of a checkpoint as arrays, by the names of its modules, with an account of which were read."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from octavo.checkpoint.pooling import read_steps
from octavo.checkpoint.source import Source
from octavo.checkpoint.weights import HELD, StoredTensor
from octavo.errors import ExportError
from octavo.schema.signature import Step, TokenVectors

_OLD = (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias"))  # of checkpoints from TensorFlow
_FLOATS = {"float64", "float32", "float16", "bfloat16"}


class UnwrittenError(ExportError):
    """A setting or a weight that is not known here: the graph is transformers' to export. The message is the reason."""


def projection_path(step: Step) -> str:
    """The path of a Linear that leads to vectors of tokens: as `checkpoint.projection` calls it."""
    return f"{step.folder}.linear" if step.folder else "linear"


class Tensors(Mapping[str, NDArray[np.float32]]):
    """Weights by name, read from their files and copied; `read` are the names that were asked for.

    They are read once, or, above `HELD` bytes, mapped each time that one is asked for: not `held`.
    """

    def __init__(self, source: Source, prefix: str) -> None:
        """Open the weights of a checkpoint; `prefix` is taken off their names.

        Raises:
            UnwrittenError: they are no safetensors, or two of them have one name.
        """
        self.read: set[str] = set()
        self._declared = dict(source.weights.tensors)
        self._stored, self._arrays = dict[str, str](), dict[str, NDArray[np.float32]]()
        if any(file.suffix != ".safetensors" for file in source.weights.files):
            raise UnwrittenError("weights that are no safetensors")
        for stored in self._declared:
            name = stored
            for old, new in _OLD:
                name = name.replace(old, new)
            if (name := name.removeprefix(prefix)) in self._stored:
                raise UnwrittenError(f"the weights {self._stored[name]} and {stored}")
            self._stored[name] = stored
        self.held = source.weights.bytes <= HELD
        if source.signature.token_vectors is not None:
            self._add_projections(source.signature.token_vectors, source.folder)

    def _add_projections(self, how: TokenVectors, folder: Path) -> None:
        """Have the weights that lead to vectors of tokens, which lie in files of their own, by their module paths."""
        weights = read_steps(folder, how)
        for step in how.steps:
            for part, array in weights.get(step.folder, {}).items():
                name = f"{step.folder}.{part}"
                self._stored[name], self._arrays[name] = name, array
                self._declared[name] = StoredTensor("float32", array.shape)

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        """A weight in float32; KeyError where there is none."""
        stored = self._stored[name]
        declared = self._declared[stored]
        self.read.add(name)
        if name in self._arrays:
            return self._arrays[name]
        if not self.held and declared.dtype == "float32":
            return declared.mapped()
        from safetensors import safe_open

        with safe_open(declared.file, "np") as file:
            array = np.asarray(file.get_tensor(stored), np.float32)
        if self.held:
            self._arrays[name] = array
        return array

    def __contains__(self, name: object) -> bool:
        """Whether there is a weight of that name."""
        return name in self._stored

    def __iter__(self) -> Iterator[str]:
        """Their names."""
        return iter(self._stored)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._stored)

    def left(self) -> list[str]:
        """The stored names of weights that nothing has asked for."""
        return sorted(stored for name, stored in self._stored.items() if name not in self.read)

    def of(self, name: str, *shape: int) -> NDArray[np.float32]:
        """A weight of a shape.

        Raises:
            UnwrittenError: there is none, or it has another shape.
        """
        if name not in self._stored:
            raise UnwrittenError(f"no weight {name}")
        declared = self._declared[self._stored[name]]
        if declared.shape != shape or declared.dtype not in _FLOATS:
            got = f"{declared.dtype} {list(declared.shape)}"
            raise UnwrittenError(f"the weight {name} is {got} where the config says {list(shape)}")
        return self[name]
