"""What to type next, where one command makes what another one takes."""

from collections.abc import Sequence
from pathlib import Path
from shlex import join

from octavo.cli.echo import say, words


def quantize_next(
    checkpoint: Path, suffix: str, task: str | None, ignored: Sequence[str] | None, calibration: Sequence[str] = ()
) -> None:
    """Say on stderr how a new checkpoint is quantized, as a shell takes it; the artifact's folder ends in `suffix`."""
    command = ["octavo", "quantize", str(checkpoint), "-o", f"{checkpoint}-{suffix}"]
    command += ["--task", task] if task else []
    command += [part for pattern in ignored or () for part in ("--ignore-weights", pattern)]
    say(f"{words('next')}: {join([*command, *calibration])}", err=True)


def calibrate_options(data: Path, columns: str | None, encoding: str) -> list[str]:
    """The options by which `octavo quantize` reads these texts too."""
    read = ["--columns", columns] if columns else []
    read += [] if encoding == "utf-8" else ["--encoding", encoding]
    return ["--calibrate", str(data), *read]
