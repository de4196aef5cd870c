"""`octavo predict`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from octavo.cli.echo import say
from octavo.cli.options import Device, MaxLength, Threads, Verify
from octavo.errors import InputError


def predict(
    artifact: Annotated[str, typer.Argument(help="An artifact, or a checkpoint.")],
    source: Annotated[
        str, typer.Argument(metavar="[FILE|-]", help="JSONL: text, text_pair, or what the task reads. Default: stdin.")
    ] = "-",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="JSONL. Default: stdout.")] = None,
    engine: Annotated[str, typer.Option(help="For artifacts.")] = "auto",
    threads: Threads = None,
    max_length: MaxLength = None,
    device: Device = "cpu",
    verify: Verify = True,
    prompt: Annotated[str | None, typer.Option(metavar="NAME", help="One of a sentence embedder's prompts.")] = None,
    task: Annotated[str | None, typer.Option(help="What the model has to be for; an error where it is not.")] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Of the task, such as aggregation_strategy=simple.")
    ] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="Models that write: the longest text.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Draw, instead of taking the most likely token.")] = None,
    top_k: Annotated[int | None, typer.Option(help="Draw from so many.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Draw from the fewest that are so likely together.")] = None,
    repetition_penalty: Annotated[float | None, typer.Option(help="Above 1: say less again.")] = None,
    num_beams: Annotated[int | None, typer.Option(help="Search for the likeliest text.")] = None,
    stop: Annotated[list[str] | None, typer.Option(help="End before this string; may be given several times.")] = None,
    seed: Annotated[int | None, typer.Option(help="Draw the same again.")] = None,
) -> None:
    """Predict JSONL, one object a line, in order."""
    from octavo.inference.jsonl import predict as run_predict

    sampling = {
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "repetition_penalty": repetition_penalty,
        "num_beams": num_beams,
        "stop": tuple(stop) if stop else None,
        "seed": seed,
    }
    counts = run_predict(
        artifact,
        source,
        output,
        engine=engine,
        threads=threads,
        max_length=max_length,
        device=device,
        verify=verify,
        prompt=prompt,
        task=task,
        options=_options(option or ()) | {name: value for name, value in sampling.items() if value is not None},
    )
    say(f"{counts.rows} rows{_cut_note(counts.truncated)}", err=True)


def _cut_note(rows: int) -> str:
    return f", {rows} of them cut at the limit" if rows else ""


def _options(texts: Sequence[str]) -> dict[str, Any]:
    """`NAME=VALUE`, the values as JSON where they are, else as text."""
    from octavo.data.json_text import parse_json

    options: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise InputError("--option is not understood", got=text, allowed="NAME=VALUE, such as top_k=3")
        try:
            options[name] = parse_json(value)
        except ValueError:
            options[name] = value
    return options
