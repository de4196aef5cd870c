"""How busy the machine was with other work while models were timed, from what Linux counts (man 5 proc).

Octavo's own time is taken off: that of this process and of those that run the models. Where a count is missing (other
systems, some containers) the share is None, and is not guessed.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from octavo.schema.comparison import MachineLoad

PROC = Path("/proc")
# From these shares on a speed is not believed. They were chosen: what a quiet machine has was not measured.
MOST_WAITING = 0.05  # of the time in which threads could have run, what they stood in the run queue
MOST_IDLE = 0.15  # of the time of a batch, what no thread of its model ran: taken by a quota, or waiting for memory
MOST_FOREIGN = 0.1  # of the cores' time, what other processes ran; one beside a model slows it by caches and clocks
MOST_STOLEN = 0.05  # of the cores' time, what the hypervisor gave to other machines
FEWEST_SECONDS = 0.5  # of the cores' time; they are counted in hundredths of a second, and less of it says little


@dataclass(frozen=True)
class Cores:
    """Seconds since the system started of the cores that this process may use: all, those that ran, those stolen."""

    total: float
    ran: float
    stolen: float


@dataclass(frozen=True)
class Usage:
    """Seconds of a process since it started.

    `wall`: of the batches that it ran; `cpu`: its CPU time in these; `all_cpu`: its CPU time in all; `waited`: what its
    threads waited for a core, None where that is not counted.
    """

    wall: float
    cpu: float
    all_cpu: float
    waited: float | None


def read_cores(proc: Path = PROC) -> Cores | None:
    """The counts of now, from `/proc/stat`; None where there are none."""
    try:
        lines = (proc / "stat").read_text(encoding="ascii", errors="replace").splitlines()
        allowed = {f"cpu{number}" for number in os.sched_getaffinity(0)}
        second = os.sysconf("SC_CLK_TCK")
        rows = [[int(count) / second for count in line.split()[1:9]] for line in lines if line.split()[0] in allowed]
        user, nice, system, idle, waiting, irq, softirq, stolen = map(sum, zip(*rows, strict=True))
    except (OSError, ValueError, IndexError, AttributeError):
        return None
    ran = user + nice + system + irq + softirq
    return Cores(ran + idle + waiting + stolen, ran, stolen)


def queue_seconds(proc: Path = PROC) -> float | None:
    """How long the threads of this process have waited for a core, from their `schedstat`; None where not counted."""
    try:
        files = list((proc / "self" / "task").glob("*/schedstat"))
        return sum(int(file.read_text().split()[1]) for file in files) / 1e9 if files else None
    except (OSError, ValueError, IndexError):
        return None


def machine_load(
    cores: tuple[Cores | None, Cores | None], own: float, usage: tuple[Usage, Usage], *, on_cpu: bool = True
) -> MachineLoad:
    """The load between two readings, for one model.

    Args:
        cores: the counts before and after.
        own: seconds of CPU time that Octavo took between them, in all its processes.
        usage: of the model's process, before and after.
        on_cpu: whether the model computes on the CPU; one on a GPU waits for it.
    """
    foreign = stolen = waiting = idle = None
    before, after = cores
    if before and after and (total := after.total - before.total) >= FEWEST_SECONDS:
        foreign = max(0.0, after.ran - before.ran - own) / total
        stolen = max(0.0, after.stolen - before.stolen) / total
    begin, end = usage
    if begin.waited is not None and end.waited is not None:
        waited = max(0.0, end.waited - begin.waited)  # a thread that ended takes its count with it
        waiting = waited / max(waited + end.all_cpu - begin.all_cpu, 1e-9)
    if on_cpu and end.wall > begin.wall:
        idle = max(0.0, 1 - (end.cpu - begin.cpu) / (end.wall - begin.wall))
    shares = ((waiting, MOST_WAITING), (idle, MOST_IDLE), (foreign, MOST_FOREIGN), (stolen, MOST_STOLEN))
    busy: bool | None = any(share is not None and share > limit for share, limit in shares)
    if not busy and foreign is None and waiting is None:
        busy = None
    return MachineLoad(busy, waiting, idle, foreign, stolen)


def worst_load(loads: Sequence[MachineLoad]) -> MachineLoad:
    """The largest shares of several models that ran in turns: a speed-up is of two of them."""
    shares = {
        name: max((share for load in loads if (share := getattr(load, name)) is not None), default=None)
        for name in ("waiting", "idle", "foreign", "stolen")
    }
    known = {load.busy for load in loads}
    return MachineLoad(True if True in known else False if known == {False} else None, **shares)
