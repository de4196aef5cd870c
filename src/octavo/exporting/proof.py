"""A checkpoint's model to a float graph that is proved to be the same function, at several shapes.

Every graph pass is checked too, on the graph before and after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from octavo.engines import Session
from octavo.errors import ExportError, OctavoError
from octavo.exporting.opsets import OPSETS, OpsetError
from octavo.progress import Progress
from octavo.schema.manifest import ExportRecord, PassRecord
from octavo.schema.recipe import Recipe, kept_as
from octavo.schema.signature import Signature

if TYPE_CHECKING:
    import onnx_ir as ir

    from octavo.engines.onnxruntime import OnnxRuntimeSession

PASS_TOLERANCE = 1e-5  # of the largest output
TOLERANCE = 1e-4  # of the largest torch output, or of 1 where that is smaller; float32 sums in another order give 1e-6


@dataclass(frozen=True)
class Proved:
    """Float graphs by component, optimized, with their differences from torch and the records of the passes."""

    graphs: dict[str, ir.Model]
    record: ExportRecord
    passes: tuple[PassRecord, ...]


Attempt = Callable[[int], tuple[dict[str, "ir.Model"], dict[str, float], list[PassRecord]]]  # of an opset


def export_checked(model: Any, signature: Signature, recipe: Recipe, progress: Progress) -> Proved:
    """Export at the newest opset that runs and agrees with torch; with an `opset` given, at that one only.

    Raises:
        ExportError: none does; the message is that of the newest opset tried.
    """
    import torch

    from octavo.exporting.exporter import export_graph

    vocabulary = model.config.vocab_size
    sample = {name: torch.from_numpy(array) for name, array in probe(signature, 2, 7, vocabulary).items()}
    shapes = [(rows, min(length, signature.max_length)) for rows, length in ((3, 9), (1, 12))]
    batches = [probe(signature, rows, length, vocabulary) for rows, length in shapes]

    def attempt(opset: int) -> tuple[dict[str, ir.Model], dict[str, float], list[PassRecord]]:
        graph = export_graph(model, sample, signature.output_names, opset)
        passes = optimize_checked(graph, batches, recipe, progress)
        return {"model": graph}, _compare_with_torch(model, graph, signature), passes

    return newest_opset(attempt, recipe, progress)


def newest_opset(attempt: Attempt, recipe: Recipe, progress: Progress) -> Proved:
    """The graphs of an attempt at the newest opset at which it works, or at the recipe's; the record says which.

    An older opset is tried only where the newer one is the reason: after an `OpsetError`, which the older one does not
    repeat word for word.

    Raises:
        ExportError: none does; the message is that of the newest opset tried.
    """
    failure: OpsetError | None = None
    for opset in (recipe.opset,) if recipe.opset else OPSETS:
        progress.start(f"exporting (opset {opset})")
        try:
            graphs, differences, passes = attempt(opset)
        except OpsetError as error:
            if str(error) == str(failure):
                break
            failure = failure or error
            continue
        note = f"opset {OPSETS[0]} did not work: {failure}" if failure else None
        return Proved(graphs, ExportRecord(opset=opset, note=note, differences=differences), tuple(passes))
    assert failure is not None
    raise failure


def optimize_checked(
    graph: ir.Model, batches: Sequence[Mapping[str, NDArray[Any]]], recipe: Recipe, progress: Progress
) -> list[PassRecord]:
    """Run the passes on the float graph, in place, and measure how each that applied changes the outputs.

    The difference is the largest of all outputs, over the largest output, on these batches.

    Raises:
        OpsetError: the graph does not run, or a pass changes its outputs by more than `PASS_TOLERANCE`.
    """
    from octavo.graph.layers import find_layers
    from octavo.graph.passes.order import optimize

    if not recipe.optimize:
        return []
    paths = [path for layer in find_layers(graph) for path in layer.paths]
    kept = {path: rule.keep for path, rule in kept_as(recipe, paths).items()}
    progress.start("optimizing the graph")
    before, records = _answers(graph, batches), list[PassRecord]()
    for record in optimize(graph, merge=recipe.merge_qkv, kept=kept):
        difference = None
        if record.applied:
            after = _answers(graph, batches)
            difference = max(
                float(np.max(np.abs(new - old)) / max(np.max(np.abs(old)), 1e-9))
                for old, new in zip(before, after, strict=True)
            )
            if not difference <= PASS_TOLERANCE:
                raise OpsetError(
                    f"the pass {record.name} changes what the model answers",
                    got=f"{difference:.2g} of the largest output",
                    allowed=f"{PASS_TOLERANCE:.2g}",
                    then="quantize without the passes: --no-optimize",
                )
            before = after
        records.append(record.model_copy(update={"difference": difference}))
    return records


def _answers(graph: ir.Model, batches: Sequence[Mapping[str, NDArray[Any]]]) -> list[NDArray[np.float32]]:
    session = open_checked(graph)
    return [_run(session, batch)[0] for batch in batches]


def _run(session: Session, batch: Mapping[str, NDArray[Any]]) -> tuple[NDArray[np.float32], str]:
    """The answer to a batch, and how its shape is called.

    Raises:
        ExportError: torch cannot run it; the message names the shape.
        OpsetError: the graph cannot be run.
    """
    rows, length = batch["input_ids"].shape
    shape = f"{rows} x {length}" + (", padded" if rows > 1 else "")
    try:
        return session.run(dict(batch)), shape
    except OctavoError as error:
        kind = ExportError if session.name == "torch" else OpsetError
        raise kind(f"a run at {shape} failed", got=error) from None


def open_checked(graph: ir.Model) -> OnnxRuntimeSession:
    """The graph in a session.

    Raises:
        OpsetError: ONNX Runtime cannot load it.
    """
    from octavo.engines.onnxruntime import open_graph

    try:
        return open_graph(graph)
    except OctavoError as error:
        raise OpsetError("ONNX Runtime cannot load the exported graph", got=error) from None


def _compare_with_torch(model: Any, graph: ir.Model, signature: Signature) -> dict[str, float]:
    """The largest difference between the float graph and torch, at several shapes.

    Raises:
        ExportError: a shape fails or differs by more than the tolerance; the message names it.
    """
    from octavo.engines.torch import TorchSession

    reference, session = TorchSession(model), open_checked(graph)
    differences = {}
    longest = signature.max_length
    for rows, length in ((1, 1), (1, min(12, longest)), (3, min(9, longest)), (1, longest)):
        inputs = probe(signature, rows, length, model.config.vocab_size)
        (expected, shape), (actual, _) = _run(reference, inputs), _run(session, inputs)
        difference = float(np.max(np.abs(expected - actual))) if expected.shape == actual.shape else float("inf")
        allowed = require_near(difference, float(np.max(np.abs(expected))), shape)
        differences[shape] = difference
        if rows > 1:
            _check_padding(session, inputs, actual, allowed)
    return differences


def require_near(difference: float, largest: float, shape: str) -> float:
    """Check that a graph's outputs differ from torch's, whose largest is given, by no more than is returned.

    Raises:
        OpsetError: they do; the message names the shape.
    """
    allowed = TOLERANCE * max(1.0, largest)
    if not difference <= allowed:
        what = f"the exported graph differs from torch at {shape}"
        raise OpsetError(what, got=f"{difference:.2g}", allowed=f"{allowed:.2g}")
    return allowed


def _check_padding(
    session: Session, inputs: dict[str, NDArray[np.int64]], outputs: NDArray[np.float32], allowed: float
) -> None:
    """Check that the last row, which is padded, gets the answer that it gets alone.

    Raises:
        ExportError: it does not, as where the mask was lost in the export or the model reads none.
    """
    length = int(inputs["attention_mask"][-1].sum())
    alone = session.run({name: array[-1:, :length] for name, array in inputs.items()})
    difference = float(np.max(np.abs(alone[0] - outputs[-1][: len(alone[0])])))  # of token vectors, the real tokens'
    if not difference <= allowed:
        raise OpsetError("padding changes the model's answers", got=f"{difference:.2g}", allowed=f"{allowed:.2g}")


def probe(signature: Signature, rows: int, length: int, vocabulary: int) -> dict[str, NDArray[np.int64]]:
    """Inputs of a shape, the same for the same arguments; each row but the first is padded a little more."""
    generator = np.random.default_rng(rows * 1000 + length)
    ids = generator.integers(0, vocabulary, (rows, length))
    ids[ids == signature.pad_token_id] = (signature.pad_token_id + 1) % vocabulary
    mask, types = np.ones((rows, length), np.int64), np.zeros((rows, length), np.int64)
    types[:, length // 2 :] = 1
    for row in range(1, rows):
        mask[row, max(1, length - 2 * row) :] = 0
    ids[mask == 0] = signature.pad_token_id
    types[mask == 0] = 0
    arrays = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    return {name: arrays[name] for name in signature.input_names}
