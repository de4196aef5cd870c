"""Static int8 whose ranges are watched: how many inputs have a token that leaves one, and by how much.

What leaves a range is clipped inside the engine's kernels, without a word. So the graph is given outputs that tell it
(`graph.ranges_left`), and runs with them, in ONNX Runtime.
"""

import threading
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from octavo.engines import STATIC, answer_names, stack_answers
from octavo.errors import InputError, OctavoWarning
from octavo.schema.recipe import Recipe

FAR = 1.0  # widths of a range: by less, texts like the examples leave it often (docs/design/static-ranges.md)
SHARE, ENOUGH = 0.1, 20  # such a share that is far, of so many inputs at least, is a warning
RECOUNT_AFTER = 1000  # inputs: then the share is counted anew


class RangesLeft:
    """What a model has read: `rows` inputs (a text, a pair, a window), and those with a token that left a range.

    `left` are those that were farther than `FAR` outside, `farthest` how far any was, in widths of its range. Nothing
    is counted before `counts` is set. With `warns` there is one warning, where the share is above `SHARE`.
    """

    def __init__(self) -> None:
        """Nothing has run yet."""
        self.rows, self.left, self.farthest = 0, 0, 0.0
        self.counts, self.warns = False, True
        self._before = (0, 0)  # rows and left when this count began
        self._lock = threading.Lock()

    def add(self, distances: NDArray[np.float64]) -> None:
        """Count inputs by their distances, [batch]."""
        if not self.counts:
            return
        with self._lock:
            self.rows += len(distances)
            self.left += int((distances > FAR).sum())
            self.farthest = max(self.farthest, *distances.tolist())

    def tell(self) -> None:
        """Warn where it is time; asked when whole calls are done, as batches are sorted by length."""
        with self._lock:
            rows, left = self.rows - self._before[0], self.left - self._before[1]
            warns = self.warns and rows >= ENOUGH and left > SHARE * rows
            self.warns = self.warns and not warns
            if rows >= RECOUNT_AFTER:
                self._before = (self.rows, self.left)
        if warns:
            warnings.warn(left_ranges_warning(rows, left, self.farthest), OctavoWarning, stacklevel=2)


def require_ranges(recipe: Recipe, *, writes: bool) -> None:
    """See that a model has ranges that can be watched.

    Raises:
        InputError: it has none.
    """
    if recipe.method not in STATIC or recipe.format != "onnx":
        got = recipe.method if recipe.format == "onnx" else f"{recipe.method}, of the format {recipe.format}"
        raise InputError("only static int8 has ranges to watch", got=got, then="leave watch_ranges out")
    if writes:
        raise InputError("ranges of models that write are not watched", then="leave watch_ranges out")


def left_ranges_warning(rows: int, left: int, farthest: float) -> str:
    """What is told of inputs that left."""
    return (
        f"{left:,} of {rows:,} inputs left the ranges that static int8 learnt from its examples, "
        f"by up to {farthest:.1f} times their width: answers to such texts may be wrong"
    )


class WatchedSession:
    """A session of ONNX Runtime over a static int8 model that counts what leaves its ranges."""

    name = "onnxruntime"
    streams = 1

    def __init__(self, model: Path, threads: int | None, left: RangesLeft) -> None:
        """Load the model with its further outputs; `left` counts.

        Raises:
            InputError: it is no ONNX model, or knows no range.
        """
        from octavo.engines.onnxruntime import open_graph
        from octavo.graph.ranges_left import tell_ranges_left
        from octavo.graph.reading import read_graph

        graph = read_graph(model)
        self._answers = answer_names([str(value.name) for value in graph.graph.outputs])
        self._told = tell_ranges_left(graph)
        if not self._told:
            what = "none of its layers has a learnt range to watch"
            raise InputError(what, where=model, then="leave watch_ranges out")
        self._session = open_graph(graph, threads)
        self.inputs, self.shapes = self._session.inputs, self._session.shapes
        self.threads, self._left = self._session.threads, left
        self.outputs = tuple(name for name in self._session.outputs if name not in self._told)

    def run(self, inputs: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """Run one batch: name -> int64 [batch, length]. Returns the answer; see `engines.answer_names`.

        Raises:
            InputError: the model computes in other shapes than those of a batch.
        """
        arrays = self._session.fetch(inputs, [*self._answers, *self._told])
        count = len(self._answers)
        self._left.add(_farthest(arrays[count:], inputs))
        return stack_answers(arrays[:count])


def _farthest(told: list[NDArray[np.float32]], inputs: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float64]:
    """The largest of each input, [batch]; at padding nothing counts."""
    mask = inputs["attention_mask"]
    farthest = np.zeros(len(mask))
    for distances in told:
        if distances.shape in {mask.shape, (mask.size,)}:  # of each token
            each = distances.reshape(mask.shape) * mask
        elif distances.shape in {(len(mask),), (len(mask), 1)}:  # of one that stands for all
            each = distances.reshape(len(mask), 1)
        else:
            what = "ranges of this architecture are not watched: it computes in other shapes than [batch, length]"
            raise InputError(what, got=distances.shape, then="leave watch_ranges out")
        farthest = np.maximum(farthest, each.max(axis=1))
    return farthest
