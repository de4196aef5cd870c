"""What a result was measured on and with, and when: raw results of a machine have it, and their tables tell it."""

from __future__ import annotations

import datetime as dt
import platform
from importlib.metadata import distributions
from pathlib import Path

from octavo.hardware import this_cpu, usable_cores

THREADS = min(2, usable_cores())


def machine(*packages: str, threads: int | None = THREADS) -> dict:
    """The machine, today, and the versions of Octavo, ONNX Runtime and the packages, where they are installed.

    `threads` is None where a script sets no number.
    """
    cpu, versions = this_cpu(), {one.metadata["Name"].lower(): one.version for one in distributions()}
    told = {} if threads is None else {"threads": threads}
    return told | {
        "cpu": cpu.name,
        "kind": cpu.kind,
        "cores": usable_cores(),
        "python": platform.python_version(),
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "packages": {name: versions[name] for name in ("octavo", "onnxruntime", *packages) if name in versions},
    }


def results_file(script: str, kind: str | None = None) -> Path:
    """Where the raw results of a script are kept, for a kind of CPU; by default this one's."""
    return Path(__file__).parent / "results" / f"{script}-{kind or this_cpu().kind}.json"
