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
from octavo.errors import OctavoError
from octavo.exporting.opsets import OPSETS, OpsetError
from octavo.exporting.reference import (
    Answer,
    ask_reference,
    describe_agreement,
    padding_effect,
    probe,
    require_near,
    run,
)
from octavo.exporting.tracing import make_traceable
from octavo.progress import Progress
from octavo.schema.manifest import ExportRecord, PassRecord
from octavo.schema.recipe import Recipe, kept_as
from octavo.schema.signature import Signature

if TYPE_CHECKING:
    import onnx_ir as ir

    from octavo.engines.onnxruntime import OnnxRuntimeSession

PASS_TOLERANCE = 1e-5  # of the largest output


@dataclass(frozen=True)
class Proved:
    """Float graphs by component, optimized, with their differences from torch and the records of the passes."""

    graphs: dict[str, ir.Model]
    record: ExportRecord
    passes: tuple[PassRecord, ...]


LoadAgain = Callable[[], Any]  # a checkpoint's torch model, a new object each time
Attempt = Callable[[int], tuple[dict[str, "ir.Model"], dict[str, float], list[PassRecord]]]  # of an opset


def export_checked(
    reference: Any, load_again: LoadAgain, signature: Signature, recipe: Recipe, progress: Progress
) -> Proved:
    """Export at the newest opset that runs and agrees with torch; with an `opset` given, at that one only.

    Args:
        reference: the torch model that is asked, before anything is exported; it is not exported.
        load_again: gives the model anew, for each export, which may change it.
        signature: the model's.
        recipe: its `opset`, `optimize` and `merge_qkv` count.
        progress: hears of every step.

    Raises:
        ExportError: none does; the message is that of the newest opset tried.
    """
    import torch

    from octavo.exporting.exporter import export_graph

    config = reference.config.to_dict()
    answers = ask_reference(reference, signature)
    sample = {name: torch.from_numpy(array) for name, array in probe(signature, 2, 7, config).items()}
    shapes = [(rows, min(length, signature.max_length)) for rows, length in ((3, 9), (1, 12))]
    batches = [probe(signature, rows, length, config) for rows, length in shapes]

    def attempt(opset: int) -> tuple[dict[str, ir.Model], dict[str, float], list[PassRecord]]:
        graph = export_graph(make_traceable(load_again(), signature.task), sample, signature.output_names, opset)
        passes = optimize_checked(graph, batches, recipe, progress)
        return {"model": graph}, compare(graph, answers, config), passes

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
        progress.start(f"exporting: opset {opset}")
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
    graph: ir.Model,
    batches: Sequence[Mapping[str, NDArray[Any]]],
    recipe: Recipe,
    progress: Progress,
    *,
    written: bool = False,
) -> list[PassRecord]:
    """Run the passes on the float graph, in place, and measure how each that applied changes the outputs.

    The difference is the largest of all outputs, over the largest output, on these batches. `written`: the graph has
    the form already that all but `merge_qkv` lead to.

    Raises:
        OpsetError: the graph does not run, or a pass changes its outputs by more than `PASS_TOLERANCE`.
    """
    from octavo.graph.layers import find_layers
    from octavo.graph.passes.order import MOVE_VALUES, PASSES, optimize

    if not recipe.optimize or (written and not recipe.merge_qkv):
        return []
    paths = [path for layer in find_layers(graph) for path in layer.paths]
    kept = {path: rule.keep for path, rule in kept_as(recipe, paths).items()}
    leave = MOVE_VALUES if recipe.method == "qat" else ()  # ranges were learnt of what layers read in torch
    chosen = {} if written else {name: apply for name, apply in PASSES.items() if name not in leave}
    progress.start("optimizing the graph", len(chosen) + recipe.merge_qkv)
    before, records = _answers(graph, batches), list[PassRecord]()
    for record in optimize(graph, chosen, merge=recipe.merge_qkv, kept=kept):
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
        progress.advance()
    return records


def _answers(graph: ir.Model, batches: Sequence[Mapping[str, NDArray[Any]]]) -> list[NDArray[np.float32]]:
    session = open_checked(graph)
    return [run(session, batch)[0] for batch in batches]


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


def compare(
    graph: ir.Model, answers: Sequence[Answer], config: Mapping[str, Any], of: str = "torch"
) -> dict[str, float]:
    """The largest difference between a graph and what its reference, called `of`, answered, by shape.

    Raises:
        ExportError: a shape fails or differs by more than the tolerance; the message names it.
    """
    session, differences, agreed = open_checked(graph), dict[str, float](), 0
    for answer in answers:
        actual, shape = run(session, answer.inputs)
        expected, length = answer.outputs, answer.inputs["input_ids"].shape[1]
        difference = float(np.max(np.abs(expected - actual))) if expected.shape == actual.shape else float("inf")
        agrees = describe_agreement(agreed, length, config)
        allowed = require_near(difference, float(np.max(np.abs(expected))), shape, agrees, of=of)
        differences[shape], agreed = difference, max(agreed, length)
        if len(expected) > 1 and (expected.ndim == 2 or expected.shape[1] == length):
            _check_padding(session, answer.inputs, actual, allowed)
    return differences


def _check_padding(
    session: Session, inputs: dict[str, NDArray[np.int64]], outputs: NDArray[np.float32], allowed: float
) -> None:
    """Check that the last row, which is padded, gets the answer that it gets alone.

    Raises:
        ExportError: it does not, as where the mask was lost in the export or the model reads none.
    """
    difference = padding_effect(session, inputs, outputs)
    if not difference <= allowed:
        raise OpsetError("padding changes the model's answers", got=f"{difference:.2g}", allowed=f"{allowed:.2g}")
