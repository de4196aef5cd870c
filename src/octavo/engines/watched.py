"""Static int8 whose ranges are watched: how many rows have a token that leaves one, and by how much.

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

FAR = 1.0  # widths of a range: by less, texts like the examples leave it too (docs/design/static-ranges.md)


class RangesLeft:
    """Rows that ran, those with a token farther than `FAR` outside of a range, and how far any went, in its widths."""

    def __init__(self) -> None:
        """Nothing has run yet."""
        self.rows, self.left, self.farthest = 0, 0, 0.0
        self._lock = threading.Lock()

    def add(self, distances: NDArray[np.float64]) -> None:
        """Count rows by their distances, [rows]; the first that is far is a warning."""
        far = int((distances > FAR).sum())
        with self._lock:
            first = far and not self.left
            self.rows, self.left = self.rows + len(distances), self.left + far
            self.farthest = max(self.farthest, *distances.tolist())
        if first:
            warnings.warn(left_ranges_warning(self), OctavoWarning, stacklevel=2)


def require_ranges(recipe: Recipe, engine: str, *, writes: bool) -> None:
    """See that a model has ranges that can be watched.

    Raises:
        InputError: it has none, or not on this engine.
    """
    if recipe.method not in STATIC or recipe.format != "onnx":
        raise InputError("only static int8 has ranges to watch", got=recipe.method, then="leave watch_ranges out")
    if writes:
        raise InputError("ranges of models that write are not watched", then="leave watch_ranges out")
    if engine != "onnxruntime":
        raise InputError("ranges are watched in ONNX Runtime", got=engine, allowed="onnxruntime")


def left_ranges_warning(found: RangesLeft) -> str:
    """What is told of rows that left."""
    return (
        f"{found.left:,} of {found.rows:,} rows left the ranges that static int8 learnt from its examples, "
        f"by up to {found.farthest:.1f} times their width: answers to such texts may be wrong"
    )


class WatchedSession:
    """A session of ONNX Runtime over a static int8 model that counts what leaves its ranges."""

    name = "onnxruntime"
    streams = 1

    def __init__(self, model: Path, threads: int | None, left: RangesLeft) -> None:
        """Load the model with its further outputs; `left` counts.

        Raises:
            InputError: it is no ONNX model.
        """
        from octavo.engines.onnxruntime import open_graph
        from octavo.graph.ranges_left import tell_ranges_left
        from octavo.graph.reading import read_graph

        graph = read_graph(model)
        self._answers = answer_names([str(value.name) for value in graph.graph.outputs])
        self._told = tell_ranges_left(graph)
        self._session = open_graph(graph, threads)
        self.inputs, self.shapes = self._session.inputs, self._session.shapes
        self.threads, self._left = self._session.threads, left
        self.outputs = tuple(name for name in self._session.outputs if name not in self._told)

    def run(self, inputs: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """Run one batch: name -> int64 [batch, length]. Returns the answer; see `engines.answer_names`."""
        found = self._session.fetch(inputs, [*self._answers, *self._told])
        count = len(self._answers)
        if found[count:]:
            self._left.add(_farthest(found[count:], inputs))
        return stack_answers(found[:count])


def _farthest(told: list[NDArray[np.float32]], inputs: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float64]:
    """The largest of each row, [batch]; at padding nothing counts."""
    mask = inputs["attention_mask"]
    farthest = np.zeros(len(mask))
    for distances in told:  # of each token, or of one that stands for all
        each = distances.reshape(mask.shape) * mask if distances.size == mask.size else distances.reshape(len(mask), -1)
        farthest = np.maximum(farthest, each.max(axis=1))
    return farthest
