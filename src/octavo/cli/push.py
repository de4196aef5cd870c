"""`octavo push`: an artifact to the Hub."""

from pathlib import Path
from typing import Annotated

import typer

from octavo.cli.echo import say, words

BaseModel = Annotated[str | None, typer.Option(help="The hub id of its checkpoint, where it was made from a folder.")]
Comparison = Annotated[
    Path | None, typer.Option(help="The JSON of octavo compare --report: its scores go on the card.")
]


def push(
    artifact: Annotated[Path, typer.Argument(help="A folder that octavo quantize wrote.")],
    repo: Annotated[str, typer.Argument(help="user/name; it is made where there is none.")],
    private: Annotated[bool, typer.Option("--private", help="A repository that is made is private.")] = False,
    base_model: BaseModel = None,
    comparison: Comparison = None,
) -> None:
    """Push an artifact to the Hub, with a card that the Hub reads."""
    from octavo.artifact.folder import push as run_push

    revision = run_push(artifact, repo, private=private, base_model=base_model, comparison=comparison)
    say(revision)
    say(f'{words("next")}: octavo.load("{repo}", revision="{revision}")', err=True)
