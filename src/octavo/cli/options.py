"""Options that several verbs share, and how they are parsed."""

from pathlib import Path
from typing import Annotated

import typer

from octavo.cli.echo import speak
from octavo.errors import InputError

Address = Annotated[
    str | None, typer.Option(help="Of the Ray cluster. Default: the one that Ray finds, or one on this machine.")
]
Device = Annotated[str, typer.Option(help="cuda: run torch models on a GPU.")]
Columns = Annotated[str | None, typer.Option(help="The data's columns: text=...,text_pair=...,label=...")]
Encoding = Annotated[str, typer.Option(help="Of the data file, such as cp949.")]
IgnoreWeights = Annotated[
    list[str] | None,
    typer.Option(help="Weights that no module takes and that may be left out: a pattern such as 'crf.*', or several."),
]
Labels = Annotated[str | None, typer.Option(help="Label names in id order, separated by commas.")]
LineageJson = Annotated[bool, typer.Option("--json", help="Print the record of lineage.json, and no text.")]
MaxLength = Annotated[int | None, typer.Option(min=1, help="Cut inputs at fewer tokens than the model allows.")]
NewCheckpoint = Annotated[Path, typer.Option("--output", "-o", help="The folder to write: a checkpoint.")]
ReplaceCheckpoint = Annotated[bool, typer.Option("--force", help="Replace a checkpoint that this wrote.")]
TaskName = Annotated[str | None, typer.Option("--task", help="Overrides the task that the config tells.")]
Texts = Annotated[
    list[Path], typer.Option("--data", help="Texts of yours, labels not needed; several times for several.")
]
Threads = Annotated[
    int | None, typer.Option(min=1, help="Default: those granted (Ray, OMP_NUM_THREADS), else the usable cores.")
]
TokenizerFolder = Annotated[Path | None, typer.Option("--tokenizer", help="Take the tokenizer from this folder.")]
Verify = Annotated[bool, typer.Option("--verify/--no-verify", help="Check the hashes of an artifact's files first.")]


def names(text: str | None) -> tuple[str, ...]:
    """`a, b` as names."""
    return tuple(name.strip() for name in text.split(",")) if text else ()


def cluster_address(address: str | None, *, ray: bool) -> str | None:
    """The address of a cluster, which is asked for.

    Raises:
        InputError: it is not.
    """
    if address and not ray:
        raise InputError("--address is that of a Ray cluster", got=address, then="add --ray")
    return address


def mapping(text: str | None) -> dict[str, str] | None:
    """`text=a,label=b` as a mapping."""
    if not text:
        return None
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(name and separator and column for name, separator, column in pairs):
        raise InputError("--columns is not understood", got=text, allowed="text=...,text_pair=...,label=...")
    return {name.strip(): column.strip() for name, _, column in pairs}


TargetTokenizer = Annotated[
    Path | None, typer.Option(help="A tokenizer.json of what a text2text model writes, where it is another one.")
]
Lang = Annotated[
    str | None,
    typer.Option(
        callback=speak, is_eager=True, help="Of tables, notes and reports: ko or en; default: that of the locale."
    ),
]
