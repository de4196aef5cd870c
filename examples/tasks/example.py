"""What the examples do alike: int8 of a checkpoint, something to ask it, and both compared on a file."""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import octavo

HERE = Path(__file__).resolve().parent


def run(
    task: str, file: str, ask: Callable[[Path], None], labels: tuple[str, ...] = (), recipe: str = "dynamic"
) -> None:
    """Take the checkpoint and the file of the command line, or an untrained one and `file` of this folder."""
    checkpoint, data = (*sys.argv[1:3], None, None)[:2]
    with tempfile.TemporaryDirectory() as work:
        if checkpoint is None:
            from untrained import untrained

            checkpoint = str(untrained(task, Path(work) / "checkpoint", labels))
        artifact = octavo.quantize(checkpoint, Path(work) / "int8", recipe=recipe)
        ask(artifact.folder)
        for row in octavo.compare(checkpoint, [artifact.folder], data=data or HERE / file).rows:
            scores = [f"{name.replace('f1', 'F1')} {value:.4f}" for name, value in row.quality.items()]
            print(row.name, *scores[:1], f"agreement {row.fidelity['agreement']:.4f}")
