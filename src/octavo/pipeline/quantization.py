"""A checkpoint and a recipe to an artifact: the one road that every method takes.

Five steps, each of which takes what the one before it returned: plan, read the checkpoint, export it to float, apply
the method, write the artifact.
"""

import json
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from octavo.artifact.contents import Contents
from octavo.artifact.folder import Artifact, open_artifact
from octavo.artifact.selftest import make_self_test
from octavo.artifact.writing import hash_files, replace_folder, write_manifest
from octavo.checkpoint.libraries import require_torch
from octavo.checkpoint.model import load_model
from octavo.checkpoint.ranges import has_ranges, read_ranges
from octavo.checkpoint.source import Checkpoint, Source, read_source, with_token_embeddings
from octavo.checkpoint.weights import HELD
from octavo.data.examples import DataFile
from octavo.engines.pooled import pooled
from octavo.errors import OctavoWarning, RecipeError
from octavo.exporting.float_graphs import FloatGraphs, export_source
from octavo.files import sha256_of
from octavo.hardware import give_back_memory, installed_packages, this_cpu
from octavo.methods import Context
from octavo.methods.qat import require_fit
from octavo.pipeline.calibration import Calibration, read_calibration, vector_ranges
from octavo.pipeline.onnx_format import quantize_graphs
from octavo.pipeline.plan import Plan, make_plan, require_one
from octavo.pipeline.torch_format import quantize_model, rescue_model
from octavo.progress import Progress
from octavo.reporting.card import write_card
from octavo.schema.lineage import SourceRecord
from octavo.schema.manifest import VECTOR_RANGES, HostRecord, Manifest
from octavo.schema.ranges import RANGES
from octavo.schema.recipe import Recipe
from octavo.schema.signature import lower_limit
from octavo.tasks import find_task


@dataclass(frozen=True)
class Prepared:
    """A checkpoint that was read, with the examples to calibrate on where there are some."""

    plan: Plan
    source: Source
    calibration: Calibration | None


@dataclass(frozen=True)
class FloatModel:
    """A checkpoint in float: as graphs, as a torch model, or neither where its float weights are gone."""

    prepared: Prepared
    graphs: FloatGraphs | None = None
    model: Any = None


@dataclass(frozen=True)
class QuantizedModel:
    """What the method made of it, not yet written."""

    prepared: Prepared
    contents: Contents


def quantize(  # noqa: PLR0913 - each is one thing to say
    checkpoint: str | Path | Checkpoint | FloatGraphs,
    output: str | Path,
    *,
    recipe: Recipe | str | Path | None = None,
    calibration: str | Path | DataFile | None = None,
    method: str | None = None,
    calibrate: str | Path | DataFile | None = None,
    target: str = "auto",
    force: bool = False,
    token_embeddings: bool = False,
    progress: Progress | None = None,
) -> Artifact:
    """Make an artifact of a checkpoint.

    Args:
        checkpoint: a Hugging Face folder or a hub id; a `Checkpoint` says what its files do not tell. Or what `export`
            made of one, for several recipes.
        output: the folder to write. An interrupted write leaves nothing there.
        recipe: a `Recipe`, the name of a method, or a TOML file (a path that ends in `.toml`); by default static
            int8, `mixed`, where there are examples to calibrate on, `qat` where the checkpoint was trained for int8,
            else `dynamic`.
        calibration: a file of examples that static int8 learns ranges from; labels are not read.
        method: the name of a method, in the place of a recipe: what `--method` says on the command line.
        calibrate: `calibration`, by the name that it has on the command line.
        target: the CPU to make it for; `auto` is this one, `any` is safe on all.
        force: replace an artifact that is there.
        token_embeddings: of any encoder the vectors of tokens: the task late-interaction; `export` says it of graphs.
        progress: hears of every step.

    Raises:
        OctavoError: see `octavo.errors` for the kinds.
    """
    require_one(recipe=recipe, method=method)
    require_one(calibration=calibration, calibrate=calibrate)
    if not isinstance(checkpoint, FloatGraphs):
        checkpoint = with_token_embeddings(checkpoint, asked=token_embeddings)
    elif token_embeddings and checkpoint.source.signature.token_vectors is None:
        what = "the float graphs were exported for another task"
        raise RecipeError(what, got=checkpoint.source.signature.task, allowed="octavo.export(token_embeddings=True)")
    plan = make_plan(
        checkpoint,
        output,
        recipe=recipe if method is None else method,
        calibration=calibration if calibrate is None else calibrate,
        target=target,
        force=force,
        progress=progress,
    )
    return write_artifact(apply_method(export_float(read_checkpoint(plan))))


def read_checkpoint(plan: Plan) -> Prepared:
    """Read the files of the checkpoint, and the examples.

    Raises:
        OctavoError: the checkpoint, or the recipe for it, or the examples are not usable.
    """
    if isinstance(plan.checkpoint, FloatGraphs):
        source = plan.checkpoint.source
    else:
        plan.progress.start("reading the checkpoint")
        source = read_source(plan.checkpoint, packed=plan.recipe.format == "torch")
    task = find_task(source.signature)
    if plan.recipe.format not in task.formats:
        got = plan.recipe.format
        raise RecipeError("models that write are made in the format onnx", got=got, allowed="--format onnx")
    if plan.recipe.format == "torch":
        require_torch()
    if plan.recipe.method == "qat":  # before an export that takes long
        require_torch()
        require_fit(plan.recipe, Context(plan.target, (), plan.progress, read_ranges(source)))
    if has_ranges(source.folder) and plan.recipe.method not in {"qat", "float"}:
        what = f"{source.folder}: {RANGES} is read by the method qat, and not by {plan.recipe.method}"
        warnings.warn(what, OctavoWarning, stacklevel=3)
    file = plan.calibration
    if file is None:
        return Prepared(plan, source, None)
    if not task.calibrates:
        then = "leave the examples out, and take weight-only or dynamic"
        raise RecipeError("an encoder with a decoder is not calibrated", got=plan.recipe.method, then=then)
    signature = lower_limit(source.signature, file.max_length)
    return Prepared(plan, source, read_calibration(file, source.tokenizer.json, signature))


def export_float(prepared: Prepared) -> FloatModel:
    """Export the checkpoint to float graphs, or load it in torch where that is the format."""
    plan, source = prepared.plan, prepared.source
    if isinstance(plan.checkpoint, FloatGraphs):
        return FloatModel(prepared, graphs=plan.checkpoint)
    if source.weights.packed:
        return FloatModel(prepared)
    if plan.recipe.format == "torch":
        return FloatModel(prepared, model=load_model(source))
    return FloatModel(prepared, graphs=export_source(source, plan.recipe, plan.progress))


def apply_method(floats: FloatModel) -> QuantizedModel:
    """Quantize, in the recipe's format."""
    prepared, plan = floats.prepared, floats.prepared.plan
    examples = prepared.calibration.batches if prepared.calibration else ()
    ranges = read_ranges(prepared.source) if plan.recipe.method == "qat" else None
    context = Context(plan.target, examples, plan.progress, ranges)
    if floats.graphs is not None and plan.recipe.format == "onnx":
        contents = quantize_graphs(floats.graphs, plan.recipe, context)
    elif (model := floats.graphs.model if floats.graphs is not None else floats.model) is not None:
        contents = quantize_model(prepared.source, model, plan.recipe, context)
    else:
        contents = rescue_model(prepared.source, plan.recipe)
    return QuantizedModel(prepared, contents)


def write_artifact(quantized: QuantizedModel) -> Artifact:
    """Write everything aside, run it once, and move it into place."""
    plan, source, contents = quantized.prepared.plan, quantized.prepared.source, quantized.contents
    plan.progress.start("writing the artifact")
    if source.weights.bytes > HELD:
        give_back_memory()  # the float graph has done its work
    with replace_folder(plan.output, force=plan.force) as aside:
        config = source.config | contents.write(aside)
        (aside / "config.json").write_text(json.dumps(config, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        (aside / "tokenizer.json").write_text(source.tokenizer.json, encoding="utf-8")
        for name, content in (source.tokenizer.side_files | source.beside).items():
            (aside / name).parent.mkdir(exist_ok=True)
            (aside / name).write_bytes(content)
        if quantized.prepared.calibration and source.signature.pooling:
            session = pooled(contents.answers(aside), source.signature, aside)
            ranges = vector_ranges(session, quantized.prepared.calibration.batches, source.signature.pooling)
            (aside / VECTOR_RANGES).write_bytes(ranges)
        manifest = _describe(quantized, aside)
        write_manifest(aside, manifest, write_card(manifest, source.folder))
    return open_artifact(plan.output)


def _describe(quantized: QuantizedModel, folder: Path) -> Manifest:
    """All there is to know about the files in a folder."""
    plan, source, contents = quantized.prepared.plan, quantized.prepared.source, quantized.contents
    examples, cpu = quantized.prepared.calibration, this_cpu()
    return Manifest(
        octavo=1,
        version=version("octavo"),
        recipe=plan.recipe,
        target=plan.target.name,
        exact_u8s8=contents.exact_u8s8,
        signature=source.signature,
        source=SourceRecord(
            name=source.name,
            dtype=source.weights.dtype,
            bytes=source.bytes,
            sha256=source.sha256,
            ranges=sha256_of(source.folder / RANGES) if plan.recipe.method == "qat" else None,
            ignored_weights=source.ignored or None,
        ),
        lineage=source.lineage.steps if source.lineage else None,
        export=contents.export,
        passes=contents.passes,
        layers=contents.layers,
        calibration=examples.record if examples else None,
        overflow=contents.overflow,
        host=HostRecord(cpu=cpu.name, kind=cpu.kind, packages=installed_packages()),
        self_test=make_self_test(folder, source, contents),
        components=dict(contents.components),
        files=hash_files(folder),
    )
