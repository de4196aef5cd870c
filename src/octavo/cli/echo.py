"""The one way of lines to the terminal: what is in a name, a label or a text is shown there, and never obeyed."""

import typer

from octavo.errors import printable


def say(*lines: str, err: bool = False) -> None:
    """Print lines on stdout, or on stderr."""
    for line in lines:
        typer.echo(printable(line), err=err)
