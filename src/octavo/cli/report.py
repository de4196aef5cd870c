"""`octavo report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from octavo.cli.options import Lang


def report(
    result: Annotated[Path, typer.Argument(help="What compare wrote: --report FILE.json, or --json > FILE.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write: .html, .md or .json.")],
    lang: Lang = None,
) -> None:
    """Make the report of a comparison again, from its JSON."""
    from octavo.reporting.page import report as run_report

    run_report(result, output, language=lang)
    typer.echo(f"written to {output}", err=True)
