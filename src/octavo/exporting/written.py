"""The float graph of an encoder that Octavo writes itself, proved: against torch where it is there, else in numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from octavo.checkpoint import encoders
from octavo.checkpoint.unread import unread_weights
from octavo.errors import CheckpointError, raise_together
from octavo.exporting.builder import OPSET, Encoder
from octavo.exporting.families import FAMILIES
from octavo.exporting.numpy_reference import NumpyReference
from octavo.exporting.original import Original
from octavo.exporting.proof import Proved, compare, optimize_checked
from octavo.exporting.reference import ask_at_once, ask_reference, probe
from octavo.exporting.tensors import Tensors, UnwrittenError
from octavo.schema.manifest import ExportRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_ir as ir

    from octavo.checkpoint.source import Source
    from octavo.progress import Progress
    from octavo.schema.recipe import Recipe


def write_checked(
    source: Source, original: Original | None, recipe: Recipe, progress: Progress
) -> tuple[Proved, Original]:
    """The graph of a checkpoint, written from its config and weights, and proved; and what it was proved against.

    Args:
        source: the checkpoint.
        original: its torch model, which is asked; None where torch is not installed, and numpy is the reference.
        recipe: its `opset`, `optimize` and `merge_qkv` count.
        progress: hears of every step.

    Raises:
        UnwrittenError: something of it is not known here, and the message says what.
        OpsetError: the graph does not run, or differs from the reference.
        CheckpointError: weights that are not finite, or that nothing reads.
    """
    require_known(source, recipe)
    progress.start(f"writing the graph: opset {OPSET}")
    signature = source.signature
    name: Literal["numpy", "torch"] = "torch" if original else "numpy"
    if original is not None:  # asked, and let go, before its weights are in memory a second time
        answers = ask_reference(original.model, signature)
        original.release()
    graph, tensors, config = write_graph(source, recipe)
    _account(source, tensors, proved=original is not None)
    if original is None:
        session = NumpyReference(signature.task, config, tensors, signature.token_vectors)
        answers, original = ask_at_once(session, signature, config), Original(source, in_numpy=session)
    del tensors
    shapes = [(rows, min(length, signature.max_length)) for rows, length in ((3, 9), (1, 12))]
    batches = [probe(signature, rows, length, config) for rows, length in shapes]
    passes = optimize_checked(graph, batches, recipe, progress, written=True)
    differences = compare(graph, answers, config, name)
    record = ExportRecord(opset=OPSET, differences=differences, graph="written", reference=name)
    return Proved({"model": graph}, record, tuple(passes)), original


def require_known(source: Source, recipe: Recipe) -> None:
    """See that the recipe, the config and the task are such that a graph is written; nothing of the weights is read.

    Raises:
        UnwrittenError: something of them is not known here.
    """
    if recipe.opset not in {None, OPSET} or not recipe.optimize:
        raise UnwrittenError(f"opset {recipe.opset}" if recipe.optimize else "a graph without passes")
    if why := encoders.beyond(source.config, source.folder):
        raise UnwrittenError(why)
    if source.signature.task not in FAMILIES[encoders.filled(source.config)["model_type"]].heads:
        raise UnwrittenError(f"the task {source.signature.task}")


def write_graph(source: Source, recipe: Recipe) -> tuple[ir.Model, Tensors, Mapping[str, Any]]:
    """The graph of a checkpoint, its weights, and its config with all settings that its class has.

    Raises:
        UnwrittenError: something of it is not known here.
    """
    require_known(source, recipe)
    config = encoders.filled(source.config)
    family = FAMILIES[config["model_type"]]
    body = f"{family.prefix}."
    prefixed = any(name.startswith(body) for name in source.weights.tensors)
    tensors = Tensors(source, body if not family.heads[source.signature.task] and prefixed else "")
    moved = recipe.method != "qat"  # ranges were learnt of what layers read in torch
    return Encoder(family, config, source.signature, tensors, moved=moved).graph(), tensors, config


def _account(source: Source, tensors: Tensors, *, proved: bool) -> None:
    """See that every weight is finite and read; `proved`: by torch, whose model was checked for both.

    Raises:
        CheckpointError: one is not, and torch is not there to say more.
        UnwrittenError: torch knows a weight that was not read here.
    """
    kind = str(source.config["model_type"])
    name = encoders.CLASSES[kind] + encoders.HEADS.get(source.signature.task, "Model")
    problems = unread_weights(tensors.left(), FAMILIES[kind].prefix, source, name)
    if proved:
        if problems:
            raise UnwrittenError("; ".join(map(str, problems)))
        return
    wild = [name for name in sorted(tensors.read) if not np.isfinite(tensors[name]).all()]
    if wild:
        got = ", ".join(wild[:4])
        problems.append(CheckpointError("weights that are NaN or infinite", where=source.folder, got=got))
    raise_together(problems)
