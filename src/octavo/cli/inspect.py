"""`octavo inspect`: look inside a model."""

from pathlib import Path
from typing import Annotated, Any

import typer

from octavo.cli.echo import say, words
from octavo.schema.documents import json_text

MOST_NAMES = 5  # of files that were not checked


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
    """Look inside: task, inputs, operators, layers."""
    from octavo.cli.display import print_cells
    from octavo.inspection.models import inspect as run_inspect
    from octavo.inspection.models import read_model
    from octavo.reporting.inspection_tables import inspection_notes, pass_cells, weight_cells

    if graph:
        from octavo.inspection.listing import list_graph

        for line in list_graph(read_model(path)):
            say(line)
        return
    if layers or against or verify:
        _inspect_artifact(path, against=against, verified=verify, as_json=as_json, layers=layers or bool(against))
        return
    model = run_inspect(path)
    if as_json:
        _print_json(model.to_dict())
        return
    say(*inspection_notes(model, words))
    for cells in (weight_cells(model, words), pass_cells(model, words)):
        if cells:
            print_cells(cells)


def _inspect_artifact(path: Path, *, against: str | None, verified: bool, layers: bool, as_json: bool) -> None:
    """Of an artifact only: the error of each layer, and whether its files are unchanged and it runs here."""
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
        document["verified"]["unchecked"] = artifact.unlisted
    results = artifact.manifest.layers
    if against:
        with TerminalProgress() as progress:
            results = measure_layers(artifact, against, progress=progress)
    if layers:
        document["layers"] = [asdict(layer) for layer in results]
    if as_json:
        _print_json(document)
        return
    if verified:
        say(*_verified_notes(**document["verified"]))
    if layers:
        errors = {layer.path: layer.output_db for layer in results if layer.output_db is not None}
        say(layer_note(errors, words))
        print_heat(heat_cells(errors, words))
        if len(other_cells(errors, words)) > 1:
            print_cells(other_cells(errors, words))


def _verified_notes(files: int, deviation: float, allowed: float, unchecked: list[str]) -> tuple[str, str]:
    """What was checked, and what was not."""
    more = words(" and {n} more").format(n=len(unchecked) - MOST_NAMES) if len(unchecked) > MOST_NAMES else ""
    told = words(
        "{n} files have the hashes that octavo.json lists; answers deviate by {deviation:.2g}, more than {allowed:.2g} "
        "would be too much"
    )
    names = ", ".join(unchecked[:MOST_NAMES]) + more
    return (
        told.format(n=files, deviation=deviation, allowed=allowed),
        words("not checked, as octavo.json has no hash of them: {names}").format(names=names),
    )


def _print_json(document: dict[str, Any]) -> None:
    typer.echo(json_text(document, indent=1))
