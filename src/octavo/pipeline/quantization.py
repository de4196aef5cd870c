"""A checkpoint and a recipe to an artifact: the one road that every method takes."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from octavo.artifact.folder import Artifact, open_artifact
from octavo.artifact.selftest import make_self_test
from octavo.artifact.writing import check_free, write_manifest, writing
from octavo.checkpoint.libraries import require_torch
from octavo.checkpoint.model import load_model
from octavo.checkpoint.source import Checkpoint, plain_name, read_source
from octavo.data.examples import DataFile
from octavo.errors import OctavoWarning, RecipeError
from octavo.files import sha256_of
from octavo.hardware import find_target, installed_packages, this_cpu
from octavo.methods import Given
from octavo.pipeline.calibration import read_calibration
from octavo.pipeline.onnx_format import make_graph
from octavo.pipeline.plan import choose_recipe
from octavo.pipeline.torch_format import make_modules, make_rescued
from octavo.progress import Progress, Silent
from octavo.reporting.card import write_card
from octavo.schema.recipe import Recipe
from octavo.schema.signature import lower_limit
from octavo.tasks import find_task


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
    chosen, cpu = choose_recipe(recipe, calibrated=calibration is not None), find_target(target)
    say.start("reading the checkpoint")
    source = read_source(checkpoint, packed=chosen.format == "torch")
    find_task(source.signature.task)
    if source.signature.generation is not None and chosen.format == "torch":
        raise RecipeError("models that write are made in the format onnx", got=chosen.format, allowed="--format onnx")
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
    if calibration is not None and source.signature.task == "text2text-generation":
        then = "leave the examples out, and take weight-only or dynamic"
        raise RecipeError("an encoder with a decoder is not calibrated", got=chosen.method, then=then)
    if calibration is not None:
        file = calibration if isinstance(calibration, DataFile) else DataFile(calibration)
        examples = read_calibration(file, source.tokenizer.json, lower_limit(source.signature, file.max_length))
    given = Given(cpu, examples.batches if examples else (), say)
    if source.weights.packed:
        made = make_rescued(source, chosen)
    else:
        model = load_model(source)
        made = (make_graph if chosen.format == "onnx" else make_modules)(source, model, chosen, given)
    say.start("writing the artifact")
    with writing(output, force=force) as aside:
        config = source.config | made.write(aside)
        (aside / "config.json").write_text(json.dumps(config, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        (aside / "tokenizer.json").write_text(source.tokenizer.json, encoding="utf-8")
        for name, content in (source.tokenizer.side_files | source.beside).items():
            (aside / name).parent.mkdir(exist_ok=True)
            (aside / name).write_bytes(content)
        fields: dict[str, Any] = {
            "version": version("octavo"),
            "recipe": chosen,
            "target": cpu.name,
            "exact_u8s8": made.exact_u8s8,
            "signature": source.signature,
            "source": {
                "name": plain_name(source),
                "dtype": source.weights.dtype,
                "bytes": source.bytes,
                "sha256": sha256_of(*source.weights.files),
            },
            "export": made.export,
            "passes": made.passes,
            "layers": [asdict(layer) for layer in made.layers],
            "calibration": examples.record if examples else None,
            "overflow": made.overflow,
            "components": made.components,
            "self_test": make_self_test(aside, source, made),
            "host": {"cpu": this_cpu().name, "kind": this_cpu().kind, "packages": installed_packages()},
        }
        write_manifest(aside, fields, write_card(fields, source.folder))
    return open_artifact(output)
