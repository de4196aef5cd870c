"""`octavo layout`: an artifact as other programs expect it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from octavo.cli.echo import say, words

if TYPE_CHECKING:
    from octavo.artifact.programs import ProgramName

For = Annotated[str, typer.Option("--for", help="tei, transformers.js, sentence-transformers, fastembed or triton.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="The folder to write.")]


def layout(
    artifact: Annotated[Path, typer.Argument(help="A folder that octavo quantize wrote, of the format onnx.")],
    program: For,
    output: Output,
) -> None:
    """Write the folder that another program expects of a model.

    The model is the same file; the README in the folder says how to open it.
    """
    from octavo.artifact.layout import layout as run_layout

    written = run_layout(artifact, output, program=cast("ProgramName", program))  # layout says which there are
    names = ", ".join(sorted(path.name for path in written.iterdir()))
    say(f"{words('written to {path}').format(path=output)}: {names}")
