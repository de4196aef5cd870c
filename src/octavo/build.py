"""A checkpoint and a recipe to an artifact: the one road that every method takes."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from octavo.artifact import Artifact, check_free, open_artifact, sha256_of, write_manifest, writing
from octavo.calibration import read_calibration
from octavo.card import write_card
from octavo.config import require_torch
from octavo.data import DataFile
from octavo.engines import Session
from octavo.engines.pooled import pooled
from octavo.errors import ExportError, OctavoError, OctavoWarning, RecipeError
from octavo.hardware import find_target, this_cpu
from octavo.methods import Given, find_method
from octavo.progress import Progress, Silent
from octavo.recipe import Recipe, kept_as, recipe_from
from octavo.signature import Signature, lower_limit
from octavo.source import Checkpoint, Source, load_model, read_source
from octavo.tasks import find_task

if TYPE_CHECKING:
    import onnx_ir as ir

ONE_FILE = 1_500_000_000  # bytes of weights above which they stand beside the graph: protobuf ends at 2 GiB
PASS_TOLERANCE = 1e-5  # of the largest output
TOLERANCE = 1e-4  # of the largest torch output, or of 1 where that is smaller; float32 sums in another order give 1e-6


def quantize(  # noqa: PLR0913 - each is one thing to say
    checkpoint: str | Path | Checkpoint,
    output: str | Path,
    *,
    recipe: Recipe | str | Path | None = None,
    calibration: str | Path | DataFile | None = None,
    target: str = "auto",
    force: bool = False,
    progress: Progress | None = None,
) -> Artifact:
    """Make an artifact of a checkpoint.

    Args:
        checkpoint: a Hugging Face folder or a hub id; a `Checkpoint` says what its files do not tell.
        output: the folder to write. An interrupted write leaves nothing there.
        recipe: a `Recipe`, the name of a method, or a TOML file (a path that ends in `.toml`); by default `static`
            where there are examples to calibrate on and `dynamic` where there are none.
        calibration: a file of examples that the method `static` learns ranges from; labels are not read.
        target: the CPU to make it for; `auto` is this one, `any` is safe on all.
        force: replace an artifact that is there.
        progress: hears of every step.

    Raises:
        OctavoError: see `octavo.errors` for the kinds.
    """
    say, output = progress or Silent(), Path(output).resolve()
    check_free(output, force=force)
    chosen, cpu = _as_recipe(recipe, calibrated=calibration is not None), find_target(target)
    say.start("reading the checkpoint")
    source = read_source(checkpoint)
    find_task(source.signature.task)
    require_torch()
    if source.tokenizer.differing is not None:
        tokenizer_folder = Path(source.asked.tokenizer or source.folder)
        warnings.warn(
            f"{tokenizer_folder}: tokenizer.json, which Octavo uses, splits {source.tokenizer.differing!r} otherwise "
            "than AutoTokenizer does; check do_lower_case and strip_accents in tokenizer_config.json",
            OctavoWarning,
            stacklevel=2,
        )
    examples = None
    if calibration is not None:
        file = calibration if isinstance(calibration, DataFile) else DataFile(calibration)
        examples = read_calibration(file, source.tokenizer.json, lower_limit(source.signature, file.max_length))
    model = load_model(source)
    graph, exported, passes = _export_checked(model, source.signature, chosen, say)
    say.start(f"method {chosen.method}")
    given = Given(cpu, examples.batches if examples else (), say)
    applied = find_method(chosen.method)(graph, chosen, given)
    say.start("writing the artifact")
    with writing(output, force=force) as aside:
        _save_graph(applied.model, aside / "model.onnx")
        (aside / "config.json").write_text(
            json.dumps(source.config, ensure_ascii=False, indent=2) + "\n", encoding="utf-8"
        )
        (aside / "tokenizer.json").write_text(source.tokenizer.json, encoding="utf-8")
        for name, content in (source.tokenizer.side_files | source.pooling_files).items():
            (aside / name).parent.mkdir(exist_ok=True)
            (aside / name).write_bytes(content)
        fields: dict[str, Any] = {
            "version": version("octavo"),
            "recipe": chosen,
            "target": cpu.name,
            "exact_u8s8": applied.exact_u8s8,
            "signature": source.signature,
            "source": {
                "name": _plain_name(source),
                "dtype": source.weights.dtype,
                "bytes": source.bytes,
                "sha256": sha256_of(*source.weights.files),
            },
            "export": exported,
            "passes": passes,
            "layers": [asdict(layer) for layer in applied.layers],
            "calibration": examples.record if examples else None,
            "overflow": applied.overflow,
            "self_test": _self_test(aside, source.signature, model.config.vocab_size),
            "host": {"cpu": this_cpu().name, "kind": this_cpu().kind, "packages": _packages()},
        }
        write_manifest(aside, fields, write_card(fields, source.folder))
    return open_artifact(output)


def _as_recipe(recipe: Recipe | str | Path | None, *, calibrated: bool) -> Recipe:
    """The recipe that was asked for, where it and the examples fit each other.

    Raises:
        RecipeError: examples for a method that learns nothing from them, or a method that needs some and has none.
    """
    if recipe is None:
        recipe = "static" if calibrated else "dynamic"
    if not isinstance(recipe, Recipe):
        toml = str(recipe).endswith(".toml")
        recipe = Recipe.from_toml(Path(recipe)) if toml else recipe_from({"method": str(recipe)})
    if calibrated and recipe.method != "static":
        raise RecipeError("this method does not calibrate", got=recipe.method, then="leave the examples out, or static")
    if recipe.method == "static" and not calibrated:
        raise RecipeError(
            "static int8 learns ranges from examples, and none were given",
            then="give some 300 sentences of your own with --calibrate FILE, or take the method dynamic",
        )
    return recipe


def _export_checked(
    model: Any, signature: Signature, recipe: Recipe, say: Progress
) -> tuple[ir.Model, dict[str, Any], list[dict[str, Any]]]:
    """Export at the newest opset that runs and agrees with torch; with an `opset` given, at that one only.

    Returns the optimized graph, the export record, and what the passes did.

    Raises:
        ExportError: none does; the message is that of the newest opset tried.
    """
    import torch

    from octavo.graph.export import OPSETS, export_graph

    sample = {name: torch.from_numpy(array) for name, array in probe(signature, 2, 7, model.config.vocab_size).items()}
    failure: ExportError | None = None
    for version_number in (recipe.opset,) if recipe.opset else OPSETS:
        say.start(f"exporting (opset {version_number})")
        try:
            graph = export_graph(model, sample, signature.output_names, version_number)
            passes = _optimize(graph, signature, recipe, model.config.vocab_size, say) if recipe.optimize else []
            differences = _compare_with_torch(model, graph, signature)
        except ExportError as error:
            failure = failure or error
            continue
        note = f"opset {OPSETS[0]} did not work: {failure}" if failure else None
        return graph, {"opset": version_number, "note": note, "differences": differences}, passes
    assert failure is not None
    raise failure


def _optimize(
    graph: ir.Model, signature: Signature, recipe: Recipe, vocabulary: int, say: Progress
) -> list[dict[str, Any]]:
    """Run the passes on the float graph, in place, and measure what each that applied does to the outputs.

    The difference is the largest of all outputs, over the largest output, on a padded batch and on a single text.

    Raises:
        ExportError: the graph does not run, or a pass changes its outputs by more than other orders of sums do.
    """
    from octavo.graph.layers import find_layers
    from octavo.graph.passes import optimize

    batches = [
        probe(signature, rows, min(length, signature.max_length), vocabulary) for rows, length in ((3, 9), (1, 12))
    ]
    kept = {
        path: rule.keep
        for path, rule in kept_as(recipe, [path for layer in find_layers(graph) for path in layer.paths]).items()
    }
    say.start("optimizing the graph")
    before, records = _answers(graph, batches), []
    for done in optimize(graph, merge=recipe.merge_qkv, kept=kept):
        difference = None
        if done.applied:
            after = _answers(graph, batches)
            difference = max(
                float(np.max(np.abs(new - old)) / max(np.max(np.abs(old)), 1e-9))
                for old, new in zip(before, after, strict=True)
            )
            if not difference <= PASS_TOLERANCE:
                raise ExportError(
                    f"the pass {done.name} changes what the model answers",
                    got=f"{difference:.2g} of the largest output",
                    allowed=f"{PASS_TOLERANCE:.2g}",
                    then="quantize without the passes: --no-optimize",
                )
            before = after
        records.append(asdict(done) | {"difference": difference})
    return records


def _answers(graph: ir.Model, batches: list[dict[str, NDArray[np.int64]]]) -> list[NDArray[np.float32]]:
    session, found = _open_graph(graph), []
    for batch in batches:
        rows, length = batch["input_ids"].shape
        try:
            found.append(session.run(batch))
        except OctavoError as error:
            raise ExportError(f"a run at {_shape(rows, length)} failed", got=error) from None
    return found


def _shape(rows: int, length: int) -> str:
    return f"{rows} x {length}" + (", padded" if rows > 1 else "")


def _open_graph(graph: ir.Model) -> Session:
    from octavo.engines.onnxruntime import open_graph

    try:
        return open_graph(graph)
    except OctavoError as error:
        raise ExportError("ONNX Runtime cannot load the exported graph", got=error) from None


def _compare_with_torch(model: Any, graph: ir.Model, signature: Signature) -> dict[str, float]:
    """The largest difference between the float graph and torch, at several shapes.

    Raises:
        ExportError: a shape fails or differs by more than the tolerance; the message names it.
    """
    from octavo.engines.torch import TorchSession

    reference, session = TorchSession(model), _open_graph(graph)
    differences = {}
    longest = signature.max_length
    for rows, length in ((1, 1), (1, min(12, longest)), (3, min(9, longest)), (1, longest)):
        inputs = probe(signature, rows, length, model.config.vocab_size)
        shape = _shape(rows, length)
        try:
            expected, found = reference.run(inputs), session.run(inputs)
        except OctavoError as error:
            raise ExportError(f"a run at {shape} failed", got=error) from None
        difference = float(np.max(np.abs(expected - found))) if expected.shape == found.shape else float("inf")
        allowed = TOLERANCE * max(1.0, float(np.max(np.abs(expected))))
        if not difference <= allowed:
            raise ExportError(
                f"the exported graph differs from torch at {shape}", got=f"{difference:.2g}", allowed=f"{allowed:.2g}"
            )
        differences[shape] = difference
        if rows > 1:
            _check_padding(session, inputs, found, allowed)
    return differences


def _check_padding(
    session: Session, inputs: dict[str, NDArray[np.int64]], found: NDArray[np.float32], allowed: float
) -> None:
    """See that the last row, which is padded, gets the answer that it gets alone.

    Raises:
        ExportError: it does not, as where the mask was lost in the export or the model reads none.
    """
    length = int(inputs["attention_mask"][-1].sum())
    alone = session.run({name: array[-1:, :length] for name, array in inputs.items()})
    difference = float(np.max(np.abs(alone[0] - found[-1][: len(alone[0])])))  # of token vectors, the real tokens'
    if not difference <= allowed:
        raise ExportError("padding changes the model's answers", got=f"{difference:.2g}", allowed=f"{allowed:.2g}")


def probe(signature: Signature, rows: int, length: int, vocabulary: int) -> dict[str, NDArray[np.int64]]:
    """Inputs of a shape, the same for the same arguments; each row but the first is padded a little more."""
    generator = np.random.default_rng(rows * 1000 + length)
    ids = generator.integers(0, vocabulary, (rows, length))
    ids[ids == signature.pad_token_id] = (signature.pad_token_id + 1) % vocabulary
    mask = np.ones((rows, length), np.int64)
    types = np.zeros((rows, length), np.int64)
    types[:, length // 2 :] = 1
    for row in range(1, rows):
        mask[row, max(1, length - 2 * row) :] = 0
    ids[mask == 0] = signature.pad_token_id
    types[mask == 0] = 0
    arrays = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    return {name: arrays[name] for name in signature.input_names}


def _save_graph(model: ir.Model, path: Path) -> None:
    import onnx_ir as ir

    weights = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)
    ir.save(model, path, external_data=f"{path.name}.data" if weights > ONE_FILE else None)


def _self_test(folder: Path, signature: Signature, vocabulary: int) -> dict[str, Any]:
    """Load the files that were written and run them, so that nothing is handed over that does not run.

    Raises:
        ExportError: it answers with values that are not finite.
    """
    from octavo.engines.onnxruntime import open_session

    inputs = probe(signature, 2, min(8, signature.max_length), vocabulary)
    found = pooled(open_session(folder / "model.onnx"), signature, folder).run(inputs)
    if not np.isfinite(found).all():
        raise ExportError("the quantized model answers with values that are not finite")
    return {"inputs": {name: array.tolist() for name, array in inputs.items()}, "outputs": found.tolist()}


def _plain_name(source: Source) -> str:
    """A hub id as it is, of a folder only its name: where it lay is nobody's business."""
    return source.folder.resolve().name if Path(source.asked.path).exists() else str(source.asked.path)


def _packages() -> dict[str, str]:
    found = {}
    for name in ("torch", "transformers", "onnxscript", "onnx-ir", "onnxruntime", "tokenizers", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
