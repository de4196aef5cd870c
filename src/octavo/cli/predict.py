"""`octavo predict`."""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from octavo.cli.echo import say, words
from octavo.cli.lines import LineProgress
from octavo.cli.options import (
    Address,
    Columns,
    Device,
    Encoding,
    MaxLength,
    Threads,
    Verify,
    cluster_address,
    mapping,
)
from octavo.cli.order import check_predict
from octavo.errors import InputError
from octavo.progress import Progress, Silent

Artifact = Annotated[str, typer.Argument(metavar="ARTIFACT", help="An artifact, its hub id, or a checkpoint.")]
Files = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FILE|-]...", help=".jsonl, .tsv, .csv, .json or .txt. Default: JSON lines on stdin. Several: --ray."
    ),
]
Texts = Annotated[list[str] | None, typer.Option(help="A text, in the place of a file; or several.")]
Pairs = Annotated[
    list[str] | None, typer.Option(help="The second text of each: a hypothesis, or the context of a question.")
]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="JSON lines; --ray: a folder. Default: stdout.")]
Prompt = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="One of an embedder's prompts; of late-interaction query or document."),
]
TopK = Annotated[
    int | None,
    typer.Option(
        help="So many answers with their scores; more than there are: all. Models that write: draw from so many.",
    ),
]
TaskOptions = Annotated[
    list[str] | None, typer.Option(metavar="NAME=VALUE", help="Of the task, such as aggregation_strategy=simple.")
]
Longest = Annotated[int | None, typer.Option(help="Models that write: the longest text.")]
Temperature = Annotated[float | None, typer.Option(help="Draw, instead of taking the most likely token.")]
TopP = Annotated[float | None, typer.Option(help="Draw from the fewest that are so likely together.")]
Penalty = Annotated[float | None, typer.Option(help="Above 1: say less again.")]
Beams = Annotated[int | None, typer.Option(help="Search for the likeliest text.")]
Stop = Annotated[list[str] | None, typer.Option(help="End before this string; may be given several times.")]
Ray = Annotated[bool, typer.Option("--ray", help="Files (.jsonl, .csv, .parquet) on a Ray cluster, into a folder.")]
Watch = Annotated[bool, typer.Option("--watch-ranges", help="Of static int8: tell how much left its ranges.")]
Seed = Annotated[int | None, typer.Option(help="Draw the same again.")]


def predict(
    artifact: Artifact,
    files: Files = None,
    output: Output = None,
    text: Texts = None,
    text_pair: Pairs = None,
    top_k: TopK = None,
    columns: Columns = None,
    encoding: Encoding = "utf-8",
    engine: Annotated[str, typer.Option(help="For artifacts.")] = "auto",
    threads: Threads = None,
    max_length: MaxLength = None,
    device: Device = "cpu",
    revision: Annotated[str | None, typer.Option(help="Of a hub id: a commit, a tag or a branch.")] = None,
    verify: Verify = True,
    watch_ranges: Watch = False,
    prompt: Prompt = None,
    task: Annotated[str | None, typer.Option(help="What the model has to be for; an error where it is not.")] = None,
    option: TaskOptions = None,
    max_new_tokens: Longest = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    repetition_penalty: Penalty = None,
    num_beams: Beams = None,
    stop: Stop = None,
    seed: Seed = None,
    ray: Ray = False,
    address: Address = None,
) -> None:
    """Predict rows of a file, or a text: a line of JSON each.

    Lines come in the order of the rows, and keep the fields that the model does not read.
    """
    generation: dict[str, Any] = {
        "temperature": temperature, "top_k": top_k, "top_p": top_p, "num_beams": num_beams, "seed": seed,
        "max_new_tokens": max_new_tokens, "repetition_penalty": repetition_penalty, "stop": tuple(stop or ()) or None,
    }  # fmt: skip
    said = {name: value for name, value in generation.items() if value is not None}
    asked: dict[str, Any] = {
        "columns": mapping(columns), "encoding": encoding, "engine": engine, "threads": threads,
        "max_length": max_length, "task": task, "options": _options(option or ()) | said, "revision": revision,
    }  # fmt: skip
    cluster_address(address, ray=ray)
    for source in files or ():
        check_predict(artifact, source)
    if ray:
        given = {"--text": text, "--text-pair": text_pair, "--device": device != "cpu", "--no-verify": not verify,
                 "--watch-ranges": watch_ranges}  # fmt: skip
        asked["options"] |= {"prompt": prompt} if prompt else {}
        _on_ray(artifact, files or [], output, [name for name in given if given[name]], asked | {"address": address})
    else:
        rows = _rows(files or [], text or (), text_pair or ())
        said = {"device": device, "verify": verify, "prompt": prompt, "watch_ranges": watch_ranges}
        _here(artifact, rows, output, asked | said)


def _here(artifact: str, rows: str | list[Any], output: Path | None, asked: dict[str, Any]) -> None:
    from octavo.inference.jsonl import predict as run_predict

    with _progress(output) as progress:
        counts = run_predict(artifact, rows, output, progress=progress, **asked)
    say(words("{n:,} rows").format(n=counts.rows) + _cut_note(counts.truncated), err=True)


def _on_ray(artifact: str, files: list[str], output: Path | None, refused: list[str], asked: dict[str, Any]) -> None:
    """`--ray`: files to a folder; `refused` are options that do not go with it.

    Raises:
        InputError: there are some, or files or the folder are missing.
    """
    from octavo.cli.display import TerminalProgress
    from octavo.ray.job import predict_files

    if refused:
        raise InputError("an option that does not go with --ray", got=refused[0])
    if not files or output is None or "-" in files:
        raise InputError("--ray reads files and writes a folder", then="octavo predict ART FILE... -o FOLDER --ray")
    with TerminalProgress() as progress:
        done = predict_files(artifact, files, output, progress=progress, **asked)
    wrong = words(", {n:,} of them with an error").format(n=done.errors) if done.errors else ""
    rows = words("{n:,} rows").format(n=done.rows) + wrong + _cut_note(done.truncated)
    say(rows if done.rows else words("all parts were there"), err=True)


def _progress(output: Path | None) -> AbstractContextManager[Progress]:
    """Nothing where the answers stand on the terminal: they show how far it is."""
    if output is None and sys.stdout.isatty():
        return nullcontext(Silent())
    if not sys.stderr.isatty():
        return LineProgress()
    from octavo.cli.display import TerminalProgress

    return TerminalProgress()


def _rows(files: Sequence[str], texts: Sequence[str], pairs: Sequence[str]) -> str | list[Any]:
    """Where the rows come from: a file, stdin, or the command line.

    Raises:
        InputError: from two places, or the second texts are not as many as the first.
    """
    if len(files) > 1:
        then = "add --ray, and name a folder by --output"
        raise InputError("several files are for a cluster", got=len(files), then=then)
    if texts and files:
        raise InputError(
            "rows are those of a file, or texts", got=f"{files[0]} and --text", then="leave one of them out"
        )
    if pairs and len(pairs) != len(texts):
        got = f"{len(texts)} --text and {len(pairs)} --text-pair"
        raise InputError("each --text has one --text-pair, or none has", got=got)
    if texts:
        return list(zip(texts, pairs, strict=True)) if pairs else list(texts)
    if not files and sys.stdin.isatty():
        say(words('reading JSON lines from the terminal, such as {"text": "..."}; the end is Ctrl-D'), err=True)
    return files[0] if files else "-"


def _cut_note(rows: int) -> str:
    return words(", {n} of them cut at the limit").format(n=rows) if rows else ""


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
