"""What this CPU has, what is safe on it, and the CPUs that an artifact can be made for.

What counts for int8 is one question: can a product of unsigned activations and signed 8-bit weights saturate?
x86 without VNNI multiplies with `vpmaddubsw`, which adds two neighbouring u8 x s8 products in 16 bits: 2 x 255 x 127 =
64,770 does not fit into 32,767, 2 x 255 x 64 = 32,640 does. VNNI (`vpdpbusd`) and ARM's dot product add in 32 bits.
"""

import ctypes
import gc
import math
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from octavo.errors import HardwareError, RecipeError, did_you_mean

PACKAGES = ("torch", "transformers", "onnxscript", "onnx-ir", "onnxruntime", "tokenizers", "numpy")
TargetName = Literal["any", "avx2", "avx_vnni", "avx512", "avx512_vnni", "arm64"]


@dataclass(frozen=True)
class Cpu:
    """The processor that this process runs on. `features` are flags as the Linux kernel spells them."""

    name: str
    machine: str
    features: frozenset[str]
    cores: int

    @property
    def kind(self) -> str:
        """The most specific target that describes this processor."""
        if self.machine in {"arm64", "aarch64"}:
            return "arm64"
        for target, needed in (
            ("avx512_vnni", {"avx512_vnni"}),
            ("avx_vnni", {"avx_vnni"}),
            ("avx512", {"avx512f", "avx512bw"}),
            ("avx2", {"avx2"}),
        ):
            if needed <= self.features:
                return target
        return "any"

    @property
    def saturates(self) -> bool:
        """Whether a u8 x s8 product with 8-bit weights can saturate here."""
        return TARGETS[self.kind].saturates


@dataclass(frozen=True)
class Target:
    """A kind of CPU that an artifact is made for.

    `saturates`: 8-bit u8 x s8 products can saturate on it; `rank` orders the kinds of x86 by what they make of int8.
    """

    name: TargetName
    saturates: bool
    rank: int


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target("any", saturates=True, rank=0),
        Target("avx2", saturates=True, rank=1),
        Target("avx_vnni", saturates=False, rank=3),
        Target("avx512", saturates=True, rank=2),
        Target("avx512_vnni", saturates=False, rank=4),
        Target("arm64", saturates=False, rank=3),
    )
}


def find_target(name: str) -> Target:
    """The target of that name; `auto` is the CPU that this process runs on.

    Raises:
        RecipeError: there is no such target.
    """
    if name == "auto":
        return TARGETS[this_cpu().kind]
    if name not in TARGETS:
        raise RecipeError("unknown target", got=name, allowed=did_you_mean(name, ["auto", *TARGETS]))
    return TARGETS[name]


@cache
def this_cpu() -> Cpu:
    """The processor of this machine; `cores` are those that this process may use."""
    name, features = "", frozenset[str]()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        fields: dict[str, str] = {}
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
        name = fields.get("model name", "")
        features = frozenset((fields.get("flags") or fields.get("Features") or "").split())
    elif platform.system() == "Darwin":
        asked = ["sysctl", "-n", "machdep.cpu.brand_string", "machdep.cpu.features", "machdep.cpu.leaf7_features"]
        lines = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.splitlines()
        name = lines[0] if lines else ""
        features = frozenset(" ".join(lines[1:]).lower().replace("avx1.0", "avx").split())
    name = name or platform.processor() or platform.machine()  # `processor` may start a process
    return Cpu(name, platform.machine().lower(), features, usable_cores())


def give_back_memory() -> None:
    """Free what refers to itself, and let glibc hand freed memory to the system: large models are worth the moment."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def usable_cores() -> int:
    """Cores that this process may use: its affinity, and the quota of its control group (v2 or v1), rounded up."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota(Path("/"))
    return max(1, min(cores, math.ceil(quota))) if quota else cores


def choose_threads(asked: int | None) -> int:
    """The number of threads to run with: the one asked for, or `default_threads`.

    Raises:
        HardwareError: fewer than one, or more than the machine has processors.
    """
    most = max(os.cpu_count() or 1, usable_cores())
    if asked is not None and not 1 <= asked <= most:
        raise HardwareError("a number of threads that makes no sense here", got=asked, allowed=f"1 to {most}")
    return asked or default_threads()[0]


def default_threads() -> tuple[int, str]:
    """Threads where none are asked for, and where the number is from: a grant, or the cores that may be used."""
    return granted_threads() or (usable_cores(), "affinity and control group")


def granted_threads() -> tuple[int, str] | None:
    """Threads that Ray granted this worker of it, or OMP_NUM_THREADS, and which of the two; None without a grant.

    At least 1, and at most the machine's processors.
    """
    for granted, by in ((_ray_grant(), "Ray"), (_openmp_threads(), "OMP_NUM_THREADS")):
        if granted is not None:
            return min(granted, max(os.cpu_count() or 1, usable_cores())), by
    return None


def _ray_grant() -> int | None:
    """CPUs that Ray assigned to this worker, rounded down; None outside of one, and for an actor that asked for none.

    For that one Ray has set OMP_NUM_THREADS to 1. Ray is not imported: a worker of it has.
    """
    ray = sys.modules.get("ray")
    if ray is None or not getattr(ray, "is_initialized", bool)():
        return None
    try:
        cpus = ray.get_runtime_context().get_assigned_resources().get("CPU")
    except AssertionError:  # in a driver, to which nothing is assigned
        return None
    return max(1, int(cpus)) if cpus else None


def _openmp_threads() -> int | None:
    """The first number of OMP_NUM_THREADS: a list is by level of nesting (OpenMP 5.2, section 21.1.2)."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if re.fullmatch("[0-9]{1,9}", first) and int(first) else None


def cgroup_quota(root: Path) -> float | None:
    """CPUs that the control group of this process grants, the smallest on its path; None where nothing limits it.

    `cpu.max` holds "quota period" in microseconds, or "max period" (Linux, Documentation/admin-guide/cgroup-v2.rst).
    """
    membership = root / "proc/self/cgroup"
    own = membership.read_text(encoding="utf-8").splitlines() if membership.exists() else []
    quotas = []
    for line in own:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:  # version 2
            folder = root / "sys/fs/cgroup"
        elif "cpu" in controllers.split(","):
            folder = root / "sys/fs/cgroup/cpu"
        else:
            continue
        for part in ("", *Path(path).parts[1:]):
            folder = folder / part
            quotas += _quota_of(folder)
    return min(quotas, default=None)


def _quota_of(folder: Path) -> list[float]:
    """The quota set on one control group folder, in CPUs; empty where there is none."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text(encoding="utf-8").strip()
            period = (folder / "cpu.cfs_period_us").read_text(encoding="utf-8").strip()
        return [int(quota) / int(period)] if quota not in {"max", "-1"} else []
    except (OSError, ValueError, ZeroDivisionError):
        return []


def installed_packages(names: Iterable[str] = PACKAGES) -> dict[str, str]:
    """The versions of those of the packages that are installed."""
    versions = {}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
