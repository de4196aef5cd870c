"""What this machine has, what Octavo will choose here and why, and what to expect. It imports no engine."""

import os
import platform
import re
from pathlib import Path

from octavo.engines import choose_engine
from octavo.hardware import default_threads, installed_packages, this_cpu
from octavo.reporting.inspection_tables import diagnosis_cells
from octavo.reporting.notebook import notebook_tables
from octavo.schema.inspection import DiagnosisRecord
from octavo.schema.recipe import Recipe

# what matters for int8 and bf16 -> the flags of the Linux kernel, any of which stands for it
_INSTRUCTIONS = {
    "x86": {
        "AVX2": {"avx2"},
        "AVX-512": {"avx512f"},
        "VNNI": {"avx512_vnni", "avx_vnni"},
        "AMX int8": {"amx_int8"},
        "AMX bf16": {"amx_bf16"},
        "AVX-512 bf16": {"avx512_bf16"},
    },
    "arm": {"dot product": {"asimddp"}, "i8mm": {"i8mm"}, "bf16": {"bf16"}},
}
_PACKAGES = (
    "octavo",
    "onnxruntime",
    "openvino",
    "torch",
    "transformers",
    "onnx",
    "onnx-ir",
    "onnxscript",
    "tokenizers",
)
_CUDA = ("nvidia-cuda-runtime", "nvidia-cuda-runtime-cu12", "nvidia-cuda-runtime-cu13")
# package, first bad version, first good version (None: none yet), what happens
_KNOWN_BAD: tuple[tuple[str, str, str | None, str], ...] = (
    ("onnxruntime", "0", "1.23", "it has no Attention of opset 23: quantize with --opset 22"),
    ("transformers", "0", "5.20", "it has no transformers.exporters: checkpoints cannot be exported"),
    ("torch", "0", "2.12", "its exporter is too old for transformers.exporters"),
    ("optimum-onnx", "0", None, "it pins transformers < 4.58 and breaks the export; Octavo does not need it"),
)


class Diagnosis(DiagnosisRecord):
    """What was found on a machine; see `DiagnosisRecord`. A notebook shows its table."""

    def _repr_html_(self) -> str:
        return notebook_tables([], diagnosis_cells(self))


def doctor() -> Diagnosis:
    """Look at this machine and what is installed."""
    cpu = this_cpu()
    sets = _INSTRUCTIONS["arm" if cpu.kind == "arm64" else "x86"]
    instructions = {name: bool(flags & cpu.features) for name, flags in sets.items()}
    versions = installed_packages(_PACKAGES)
    packages = {name: versions.get(name) for name in _PACKAGES}
    return Diagnosis(
        cpu=cpu.name,
        kind=cpu.kind,
        instructions=instructions,
        usable_cores=cpu.cores,
        machine_cores=os.cpu_count() or 1,
        memory=_memory(),
        memory_limit=_memory_limit(),
        python=platform.python_version(),
        packages=packages,
        choices=_choices(packages),
        expected=_expected(instructions),
        problems=tuple(find_problems({**packages, **installed_packages(("optimum-onnx", *_CUDA))})),
    )


def _choices(packages: dict[str, str | None]) -> dict[str, str]:
    cpu = this_cpu()
    bits = (
        "weights in pairs of 8 bits together: products of any 8-bit ones saturate here"
        if cpu.saturates
        else "8-bit weights: they are exact here"
    )
    dynamic, static = choose_engine(Recipe()), choose_engine(Recipe(method="static"))
    threads, granted = default_threads()
    ready = all(packages[name] for name in ("torch", "transformers", "onnxscript"))
    return {
        f"target {cpu.kind}": bits,
        f"engine {dynamic[0]} for float, dynamic int8 and mixed": dynamic[1],
        f"engine {static[0]} for --method static": static[1],
        f"threads {threads}": f"by default, from {granted}",
        "quantize": "ready" if ready else "ready for BERT and its kin; other models need pip install 'octavo[convert]'",
    }


def _expected(instructions: dict[str, bool]) -> str:
    if instructions.get("AMX int8"):
        return "faster than torch fp32 on batches; by how much on AMX octavo compare tells with the model"
    if instructions.get("VNNI") or instructions.get("i8mm") or instructions.get("dot product"):
        return "2 to 3 times the speed of torch fp32 on batches is usual; Octavo has not been measured there yet"
    if instructions.get("AVX2"):
        return (
            "without VNNI about 1.5 to 1.9 times the speed of torch fp32 on batches and about 3 times on single short "
            "texts; a quarter of the size"
        )
    return "a quarter of the size; no gain in speed is promised without AVX2 or ARM's dot product"


def find_problems(packages: dict[str, str | None]) -> list[str]:
    """Known-bad versions among those that are installed, in words."""
    problems = []
    for name, first_bad, first_good, what in _KNOWN_BAD:
        version = packages.get(name)
        if version is None or _numbers(version) < _numbers(first_bad):
            continue
        if first_good is None or _numbers(version) < _numbers(first_good):
            then = f"; next: pip install '{name}>={first_good}'" if first_good else f"; next: pip uninstall {name}"
            problems.append(f"{name} {version}: {what}{then}")
    runtimes = [name for name in _CUDA if packages.get(name)]  # the version of a wheel from PyPI does not say CUDA
    if packages.get("torch") and runtimes:
        got = f"torch {packages['torch']} with {runtimes[0]}"
        problems.append(f"{got}: the CUDA build, gigabytes that a CPU server does not need; see the README")
    return problems


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text.partition("+")[0])[:3])


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):  # not on every system
        return None


def _memory_limit() -> int | None:
    """Bytes that the control group grants (memory.max of version 2, limit_in_bytes of 1), None for no limit."""
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(name).read_text(encoding="utf-8").strip()
        except OSError:
            continue
        if text.isdigit() and int(text) < 1 << 60:
            return int(text)
    return None
