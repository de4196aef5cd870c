"""Vectors as they are stored: how many numbers, in which precision, and the ranges that an artifact keeps for it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.arithmetic.vectors import PRECISIONS, RANGED, Ranges, quantized, shortened
from octavo.errors import ArtifactError, InputError, did_you_mean
from octavo.schema.manifest import VECTOR_RANGES
from octavo.schema.signature import Signature


class Storage:
    """How vectors of a model are stored; `dimensions` None: all of their numbers."""

    def __init__(
        self, signature: Signature, dimensions: int | None, precision: str, ranges: Mapping[int, Ranges] | Any
    ) -> None:
        """Check the settings.

        Raises:
            InputError: the model gives no vectors, has not so many numbers, there is no such precision, or no ranges.
        """
        pooling = signature.pooling
        if pooling is None:
            raise InputError("a model that gives no vectors", got=signature.task, allowed="feature-extraction")
        if precision not in PRECISIONS:
            raise InputError("unknown precision", got=precision, allowed=did_you_mean(precision, PRECISIONS))
        most = pooling.dimension
        if dimensions is not None and (type(dimensions) is not int or not 1 <= dimensions <= most):
            raise InputError("dimensions are how many numbers are kept", got=dimensions, allowed=f"1 to {most}")
        self.dimensions, self.precision = dimensions or most, precision
        self._normalize = self.dimensions < most and any(step.kind == "normalize" for step in pooling.steps)
        self._ranges = self._find(ranges) if precision in RANGED else None

    def stored(self, vectors: NDArray[np.float32]) -> NDArray[Any]:
        """[rows, dimension] of the model's vectors as they are stored."""
        return quantized(shortened(vectors, self.dimensions, normalize=self._normalize), self.precision, self._ranges)

    def _find(self, ranges: Mapping[int, Ranges] | Any) -> Ranges:
        if not isinstance(ranges, Mapping):
            given = np.asarray(ranges, np.float32)
            if given.shape != (2, self.dimensions) or not np.isfinite(given).all():
                got, allowed = f"an array {list(given.shape)}", f"finite numbers, [2, {self.dimensions}]"
                raise InputError("ranges do not fit", got=got, allowed=allowed)
            if (given[0] > given[1]).any():
                got = f"{int((given[0] > given[1]).sum())} places where the first is above the second"
                raise InputError("ranges are the smallest numbers and then the largest", got=got)
            return given
        if self.dimensions not in ranges:
            known = ", ".join(map(str, sorted(ranges)))
            then = "octavo quantize --calibrate FILE keeps some, or give ranges="
            raise InputError(
                f"{self.precision} needs ranges of the numbers",
                got=f"{self.dimensions} dimensions",
                allowed=f"{known} dimensions" if known else None,
                then=None if known else then,
            )
        return ranges[self.dimensions]


def require_whole(*, dimensions: int | None, precision: str, ranges: Any) -> None:
    """See that vectors of tokens are asked for as the model gives them.

    Raises:
        InputError: shorter, or in another precision.
    """
    given = {"dimensions": dimensions, "precision": None if precision == "float32" else precision, "ranges": ranges}
    if asked := [name for name, value in given.items() if value is not None]:
        what, allowed = "vectors of tokens are given whole, in float32", "without dimensions, precision and ranges"
        raise InputError(what, got=" and ".join(asked), allowed=allowed)


def read_ranges(folder: Path) -> dict[int, Ranges]:
    """The ranges that an artifact keeps, by the numbers of a vector; none where it has no such file.

    Raises:
        ArtifactError: they cannot be read.
    """
    file = folder / VECTOR_RANGES
    if not file.exists():
        return {}
    from safetensors.numpy import load_file

    try:
        kept = {int(name): array.astype(np.float32) for name, array in load_file(file).items()}
    except Exception as error:  # safetensors has an exception of its own
        raise ArtifactError("the ranges of vectors cannot be read", where=file, got=error) from None
    if not all(array.shape == (2, number) and np.isfinite(array).all() for number, array in kept.items()):
        raise ArtifactError("the ranges of vectors are not [2, dimensions]", where=file)
    return kept
