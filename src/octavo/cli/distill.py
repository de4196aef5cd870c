"""`octavo distill`: a checkpoint with fewer layers that answers as the whole one does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from octavo.cli.echo import say, size_note, words
from octavo.cli.next_step import calibrate_options, quantize_next
from octavo.cli.options import (
    Columns,
    Encoding,
    IgnoreWeights,
    LineageJson,
    NewCheckpoint,
    ReplaceCheckpoint,
    TaskName,
    Texts,
    TokenizerFolder,
    mapping,
)
from octavo.errors import InputError
from octavo.schema.documents import json_text

if TYPE_CHECKING:
    from octavo.schema.lineage import Distilling

Layers = Annotated[str, typer.Option(help="How many layers stay (6), or which (0,2), counted from 0.")]
Ffn = Annotated[int | None, typer.Option("--ffn", help="Units that stay in each layer's feed-forward part.")]
Epochs = Annotated[int, typer.Option(help="How often each text is learnt from, at most.")]
BatchSize = Annotated[int, typer.Option(help="Texts of a step.")]
Rate = Annotated[float | None, typer.Option(help="Default: 1e-4 at a width of 256, less for wider models.")]
Temperature = Annotated[float, typer.Option(help="Softens both answers before they are compared.")]
UseLabels = Annotated[bool, typer.Option("--use-labels", help="Learn from labels too; rows without one are left out.")]
Int8 = Annotated[bool, typer.Option("--int8", help="Train it with the rounding of static int8; all layers may stay.")]
Int4 = Annotated[bool, typer.Option("--int4", help="As --int8, with weights of 4 bits.")]
Seed = Annotated[int, typer.Option(help="Of the order of the texts.")]


def distill(
    checkpoint: Annotated[str, typer.Argument(help="A Hugging Face folder of an encoder, or a hub id.")],
    data: Texts,
    output: NewCheckpoint,
    layers: Layers,
    ffn: Ffn = None,
    epochs: Epochs = 3,
    batch_size: BatchSize = 32,
    learning_rate: Rate = None,
    temperature: Temperature = 2.0,
    use_labels: UseLabels = False,
    seed: Seed = 0,
    int8: Int8 = False,
    int4: Int4 = False,
    task: TaskName = None,
    tokenizer: TokenizerFolder = None,
    ignore_weights: IgnoreWeights = None,
    encoding: Encoding = "utf-8",
    columns: Columns = None,
    force: ReplaceCheckpoint = False,
    as_json: LineageJson = False,
) -> None:
    """Leave out layers, and train the others to answer as all did.

    What is done is kept beside the output: the same command goes on where it was interrupted.
    """
    from octavo.checkpoint.source import Checkpoint
    from octavo.cli.display import TerminalProgress
    from octavo.data.examples import DataFile
    from octavo.shrinking.distilling import distill as run_distill

    with TerminalProgress() as progress:
        distilled = run_distill(
            Checkpoint(checkpoint, task, tokenizer, ignore_weights=tuple(ignore_weights or ())),
            output,
            data=[DataFile(path, encoding, mapping(columns)) for path in data],
            layers=_layers(layers),
            ffn=ffn,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            temperature=temperature,
            use_labels=use_labels,
            seed=seed,
            int8=int8,
            int4=int4,
            force=force,
            progress=progress,
        )
    if as_json:
        say(*json_text(distilled.record.model_dump(mode="json", exclude_none=True), indent=1).split("\n"))
        return
    _show(distilled.record, output)
    _say_next(distilled.record, output, task, ignore_weights, calibrate_options(data[0], columns, encoding))


def _layers(text: str) -> int | tuple[int, ...]:
    """`6` as a number of layers, `0,2` or `0,` as layers.

    Raises:
        InputError: it is neither.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() for part in parts):
        raise InputError("--layers is not understood", got=text, allowed="a number, 6, or numbers with commas, 0,2")
    return tuple(map(int, parts)) if "," in text else int(parts[0])


def _say_next(
    record: Distilling, output: Path, task: str | None, ignored: Sequence[str] | None, examples: Sequence[str]
) -> None:
    """What was trained with its rounding has its ranges, and needs no examples."""
    rounded = record.int8 or record.int4
    quantize_next(output, "int4" if record.int4 else "int8", task, ignored, () if rounded else examples)


def _show(record: Distilling, output: Path) -> None:
    how = {
        "asked": "as you said",
        "all tried": "the least loss before training, of all sets",
        "one after the other": "the least loss before training, one after the other left out",
        "evenly spaced": "evenly spaced",
    }[record.chosen]
    text = words("layers {layers} of {all} stay: {how}")
    say(text.format(layers=", ".join(map(str, record.layers)), all=record.layers_before, how=words(how)))
    if record.ffn:
        text = words("{n:,} of {all:,} units stay in the feed-forward part of each")
        say(text.format(n=record.ffn, all=record.ffn_before))
    say(size_note(record.bytes, record.bytes_before))
    best = min(record.curve[1:], key=lambda point: point.distance)  # never the untrained one
    text = words(
        "distance to the answers before: {first:.4f} untrained, {best:.4f} after step {step:,} of {all:,}, which is "
        "kept"
    )
    say(text.format(first=record.curve[0].distance, best=best.distance, step=best.step, all=record.curve[-1].step))
    near = {name: value for name, value in record.fidelity.items() if name != "distance"} or record.fidelity
    told = ", ".join(f"{name} {value:.4f}" for name, value in near.items())
    say(words("on {n:,} texts that neither trained nor chose it: {told}").format(n=record.judged, told=told))
    if record.agreement:
        agreement = record.agreement
        text = words("the same answer to {value:.2%} of them ({low:.2%} to {high:.2%})")
        say(text.format(value=agreement.value, low=agreement.low, high=agreement.high))
    say(words("written to {path}").format(path=output))
