"""`octavo report`: a page of what was measured before."""

from pathlib import Path
from typing import Annotated

import typer

from octavo.cli.echo import language, say, words
from octavo.cli.order import check_report


def report(
    result: Annotated[
        Path, typer.Argument(help="What compare wrote: --report FILE.json, or --json > FILE; or a study of search.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write: .html, .md or .json.")],
) -> None:
    """Make a report again, of a comparison or a search."""
    from octavo.reporting.page import report as run_report
    from octavo.reporting.search_page import report_search

    check_report(result, output)
    (report_search if result.suffix == ".jsonl" else run_report)(result, output, language=language())
    say(words("written to {path}").format(path=output), err=True)
