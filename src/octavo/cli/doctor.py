"""`octavo doctor`."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def doctor(as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False) -> None:
    """Say what this machine has, what Octavo will choose here, and what to expect."""
    from octavo.cli.display import print_cells
    from octavo.inspection.machine import doctor as run_doctor
    from octavo.reporting.inspection_tables import diagnosis_cells

    found = run_doctor()
    if as_json:
        typer.echo(json.dumps(found.to_dict(), ensure_ascii=False, indent=1))
        return
    print_cells(diagnosis_cells(found))
