"""What a result was measured on and with, and when: every raw result has this record, and the tables tell it."""

from __future__ import annotations

import datetime as dt
import platform
from importlib.metadata import distributions

from octavo.hardware import this_cpu, usable_cores

THREADS = min(2, usable_cores())


def machine(*packages: str) -> dict:
    """The machine, today, and the versions of Octavo, ONNX Runtime and the packages, where they are installed."""
    cpu, versions = this_cpu(), {one.metadata["Name"].lower(): one.version for one in distributions()}
    return {
        "cpu": cpu.name,
        "kind": cpu.kind,
        "cores": usable_cores(),
        "threads": THREADS,
        "python": platform.python_version(),
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "packages": {name: versions[name] for name in ("octavo", "onnxruntime", *packages) if name in versions},
    }
