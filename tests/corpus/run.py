"""Runs the corpus: each case in a process of its own, forked from one that has imported everything.

`python tests/corpus/run.py` runs all of it and writes the table in docs/reliability.md; `--fixed` runs the part that
every test run has; `--only PATTERN` some cases, and shows what they said. `--json FILE` keeps what came of each.
"""

import argparse
import contextlib
import hashlib
import importlib
import json
import os
import pkgutil
import re
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import broken_artifacts
import broken_checkpoints
import broken_data
import broken_onnx
import broken_reports
from cases import CPU_SECONDS, MEMORY, Case, Outcome, faults, generator
from killed import kill_all

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
FAMILIES = (broken_artifacts, broken_checkpoints, broken_data, broken_onnx, broken_reports)
FAMILY_NAMES = ("artifact", "manifest", "checkpoint", "tokenizer", "data", "JSONL", "ONNX", "report")
FIXED_OF_A_FAMILY = 14
WAIT = 20  # seconds without any work, after which a process is taken to wait for ever
BEGIN, END = "<!-- corpus -->", "<!-- end -->"


def all_cases() -> list[Case]:
    found = [case for family in FAMILIES for case in family.cases()]
    assert len({case.title for case in found}) == len(found), Counter(case.title for case in found).most_common(3)
    assert all(case.expect == "refused" or case.why for case in found)
    return found


def fixed_cases(cases: list[Case]) -> list[Case]:
    """The part that every test run has: of each family the same few of those that are quick."""
    quick = {family: [case for case in cases if case.fixed and case.family == family] for family in FAMILY_NAMES}
    return [case for own in quick.values() for case in generator("fixed").sample(own, min(FIXED_OF_A_FAMILY, len(own)))]


def import_everything() -> None:
    """What a command may import, so that no case pays for it."""
    import onnx.checker
    import torch
    import transformers
    from transformers.models.bert import modeling_bert, tokenization_bert

    import octavo
    from octavo.cli import main

    assert all((main, modeling_bert, tokenization_bert, onnx.checker, transformers.AutoTokenizer))
    torch.set_num_threads(1)  # a pool of threads is not there behind a fork
    for module in pkgutil.walk_packages(octavo.__path__, "octavo."):
        if module.name not in {"octavo.evaluation.worker", "octavo.engines.openvino"}:
            importlib.import_module(module.name)


def memory_of_imports() -> int:
    """What a child has that does nothing: less than this process, as pages of files come to it when it reads them."""
    idle = os.fork()
    if idle == 0:
        os._exit(0)
    return _wait(idle)[1]


def run_case(case: Case, base: Path, imports: int) -> Outcome:
    """Make the input, run the command line on it in a child, and look at what is left."""
    with tempfile.TemporaryDirectory() as place:
        folder, told = Path(place) / "폴더", Path(place) / "told"
        folder.mkdir()
        told.mkdir()
        arguments = [str(argument) for argument in case.make(folder, base)]
        before = _state(folder)
        child = os.fork()
        if child == 0:
            _become(arguments, folder, told, case.file_limit)
        code, memory, seconds = _wait(child)
        changed = {name for name, state in _state(folder).items() if before.get(name) != state}
        lost = before.keys() - _state(folder).keys()
        wanted = {"out.jsonl", "out.html", "out.md", "out.json"} if code == 0 else set()
        left = [name for name in sorted(changed | lost) if name.split("/")[0] not in wanted | {"out"} or code]
        texts = [(told / name).read_text(encoding="utf-8", errors="replace") for name in ("out", "err")]
        return Outcome(code, *texts, seconds, max(0, memory - imports), tuple(left))


def _become(arguments: list[str], folder: Path, told: Path, file_limit: int | None) -> None:
    """The command line, in a child: never returns."""
    os.setsid()
    for name, number in (("out", 1), ("err", 2)):
        os.dup2(os.open(told / name, os.O_WRONLY | os.O_CREAT, 0o600), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    used = int(re.search(r"VmData:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024  # type: ignore[index]
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 2))
    resource.setrlimit(resource.RLIMIT_DATA, (used + 2 * MEMORY, used + 2 * MEMORY))  # so that this machine lives
    if file_limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    os.chdir(folder)
    sys.argv = ["octavo", *arguments]
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - until the end of the process
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115 - likewise
    code = 70
    try:
        from octavo.cli.main import run

        run()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def _wait(child: int) -> tuple[int, int, float]:
    """The exit code (or minus the signal), the most memory, and the CPU seconds of a child."""
    worked, last, looked = 0, time.monotonic(), time.monotonic()
    while not (ended := os.wait4(child, os.WNOHANG))[0]:
        now = time.monotonic()
        if now > looked + 1:
            looked, before, worked = now, worked, _work_of(child)
            last = now if worked > before else last
        if now > last + WAIT:
            os.killpg(child, signal.SIGKILL)
            ended = os.wait4(child, 0)
            break
        time.sleep(0.005)
    _, status, usage = ended
    code = os.waitstatus_to_exitcode(status)
    return code, usage.ru_maxrss * 1024, usage.ru_utime + usage.ru_stime


def _work_of(group: int) -> int:
    """The CPU time of a group of processes, in ticks."""
    total = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12]) if int(fields[2]) == group else 0
    return total


def _state(folder: Path) -> dict[str, object]:
    """Every path below a folder, and what is there."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        kind = path.lstat()
        plain = path.is_file() and not path.is_symlink() and kind.st_size < MEMORY // 8
        content = hashlib.sha256(path.read_bytes()).hexdigest() if plain else kind.st_size
        found[path.relative_to(folder).as_posix()] = (kind.st_mode, content if not path.is_dir() else 0)
    return found


def run_all(cases: list[Case], kills: int, *, again: bool) -> Iterator[tuple[Case, Outcome | list[str]]]:
    """Every case with what came of it; and runs that are killed, with what was wrong."""
    import_everything()
    with tempfile.TemporaryDirectory() as place:
        base = Path(place) / "base"
        base.mkdir()
        child = os.fork()
        if child == 0:
            from materials import make_all

            code = 1
            try:
                make_all(base)
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        imports = memory_of_imports()
        for case in cases:
            yield case, run_case(case, base, imports)
        for title, wrong in kill_all(base, kills, _become, again=again):
            yield Case("killed", title, lambda *_: [], why=title), wrong


def table(results: list[tuple[Case, Outcome]]) -> str:
    """Counts by family, as Markdown."""
    head = ["family", "inputs", "refused in one line", "accepted, with a reason", "wrong"]
    lines = ["| " + " | ".join(head) + " |", "|---|---:|---:|---:|---:|"]
    for family in [*dict.fromkeys(case.family for case, _ in results), "all"]:
        own = [(case, found) for case, found in results if family in (case.family, "all")]
        wrong = sum(bool(faults(case, found)) for case, found in own)
        accepted = sum(found.code == 0 and not faults(case, found) for case, found in own)
        lines.append(f"| {family} | {len(own)} | {len(own) - accepted - wrong} | {accepted} | {wrong} |")
    kinds = Counter(fault.partition(":")[0] for case, found in results for fault in faults(case, found))
    named = [f"{kinds[kind]} {name}" for kind, name in (
        ("traceback", "tracebacks"), ("hang", "hangs"), ("crash", "crashes"), ("memory", "above 1 GiB"),
        ("left behind", "half-written outputs"), ("accepted", "taken without a word"),
    )]  # fmt: skip
    longest = max(results, key=lambda pair: pair[1].seconds)
    largest = max(results, key=lambda pair: pair[1].memory)
    most = f"The longest took {longest[1].seconds:.1f} CPU seconds ({longest[0].title}), the largest "
    most += f"{largest[1].memory / 2**20:.0f} MiB more than the imports ({largest[0].title})."
    return "\n".join([*lines, "", f"{', '.join(named)}. {most}"])


def main(arguments: list[str] | None = None) -> None:
    """The command line, or `arguments`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fixed", action="store_true")
    parser.add_argument("--only", metavar="PATTERN")
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args(arguments)
    chosen = fixed_cases(all_cases()) if asked.fixed else all_cases()
    chosen = [case for case in chosen if not asked.only or re.search(asked.only, case.title)]
    results, killed, kept = [], [], []
    for case, found in run_all(chosen, asked.kills, again=not asked.fixed):
        if isinstance(found, list):
            killed.append((case.title, found))
            kept.append({"title": case.name, "faults": found})
            continue
        results.append((case, found))
        wrong = faults(case, found)
        kept.append({"title": case.title, "faults": wrong} | asdict(found))
        if wrong or asked.only:
            print(f"{'WRONG' if wrong else 'right'}  {case.title}  {wrong}  exit {found.code}", flush=True)
            print("       " + (found.err or found.out).strip().replace("\n", "\n       ")[:1200], flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(kept, ensure_ascii=False, indent=1), encoding="utf-8")
    counts = table(results) + (f"\n\n{kills_note(killed)}" if killed else "")
    print(counts)
    if not (asked.fixed or asked.only):
        page = PAGE.read_text(encoding="utf-8")
        before, _, rest = page.partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{counts}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    sys.exit(any(one["faults"] for one in kept))


def kills_note(killed: list[tuple[str, list[str]]]) -> str:
    """What was left of runs that were killed, as a sentence."""
    wrong = Counter(fault.partition(":")[0] for _, faulty in killed for fault in faulty)
    named = f"{wrong['lost']} left neither the old artifact nor a whole new one, {wrong['left behind']} left litter"
    return f"`quantize` was killed at {len(killed)} moments: {named} behind the next run."


if __name__ == "__main__":
    main()
