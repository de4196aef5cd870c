"""`octavo inspect` and `octavo doctor`: look inside a model, and at this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def inspect(
    path: Annotated[Path, typer.Argument(help="A checkpoint, an artifact, any ONNX file, or a folder with one.")],
    graph: Annotated[bool, typer.Option("--graph", help="Print the graph, one line per node.")] = False,
    layers: Annotated[
        bool, typer.Option("--layers", help="The error of each layer's output against float, in dB.")
    ] = False,
    against: Annotated[
        str | None, typer.Option(metavar="CHECKPOINT", help="With --layers: measure them anew against it.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the hash of every file, and the answers on this machine.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Look inside: task, inputs, operators, what is int8 and what is float."""
    from octavo.cli.display import print_cells
    from octavo.inspection.models import inspect as run_inspect
    from octavo.inspection.models import read_model
    from octavo.reporting.inspection_tables import inspection_notes, pass_cells, weight_cells

    if graph:
        from octavo.inspection.listing import list_graph

        for line in list_graph(read_model(path)):
            typer.echo(line)
        return
    if layers or against or verify:
        _inspect_artifact(path, against=against, verified=verify, as_json=as_json, layers=layers or bool(against))
        return
    found = run_inspect(path)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), ensure_ascii=False, indent=1))
        return
    for note in inspection_notes(found):
        typer.echo(note)
    for cells in (weight_cells(found), pass_cells(found)):
        if cells:
            print_cells(cells)


def _inspect_artifact(path: Path, *, against: str | None, verified: bool, layers: bool, as_json: bool) -> None:
    """What only an artifact can tell: the error of each layer, and whether it is what was made and runs here."""
    from dataclasses import asdict

    from octavo.artifact.folder import open_artifact
    from octavo.cli.display import TerminalProgress, print_cells, print_heat
    from octavo.inference.opening import verify
    from octavo.pipeline.measuring import measure_layers
    from octavo.reporting.inspection_tables import layer_note
    from octavo.reporting.layer_heatmap import heat_cells, other_cells

    artifact = open_artifact(path)
    document: dict[str, Any] = {}
    if verified:
        deviation, allowed = verify(artifact), artifact.manifest.self_test.allowed()
        document["verified"] = {"files": len(artifact.manifest.files), "deviation": deviation, "allowed": allowed}
    found = artifact.manifest.layers
    if against:
        with TerminalProgress() as progress:
            found = measure_layers(artifact, against, progress=progress)
    if layers:
        document["layers"] = [asdict(layer) for layer in found]
    if as_json:
        typer.echo(json.dumps(document, ensure_ascii=False, indent=1))
        return
    if verified:
        typer.echo(
            "{files} files are what was written; answers deviate by {deviation:.2g}, {allowed:.2g} would be too "
            "much".format(**document["verified"])
        )
    if layers:
        errors = {layer.path: layer.output_db for layer in found if layer.output_db is not None}
        typer.echo(layer_note(errors))
        print_heat(heat_cells(errors))
        if len(other_cells(errors)) > 1:
            print_cells(other_cells(errors))
