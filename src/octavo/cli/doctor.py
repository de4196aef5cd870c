"""`octavo doctor`: look at this machine."""

from typing import Annotated

import typer

from octavo.cli.echo import words
from octavo.schema.documents import json_text


def doctor(as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False) -> None:
    """Say what this machine has and what to expect."""
    from octavo.cli.display import print_cells
    from octavo.inspection.machine import doctor as run_doctor
    from octavo.reporting.inspection_tables import diagnosis_cells

    diagnosis = run_doctor()
    if as_json:
        typer.echo(json_text(diagnosis.to_dict(), indent=1))
    else:
        print_cells(diagnosis_cells(diagnosis, words))
