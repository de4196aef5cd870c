"""What the corpus is made of: broken inputs, what is asked with each, and what has to come of it."""

import json
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ERRORS = ("error: ", "오류: ")
SEED = 20
ROW = '{"text": "공원에서 놀고 있다", "text_pair": "아무도 없다"}\n'
CPU_SECONDS = 10
MEMORY = 1 << 30  # beyond what a process holds that has only imported everything


@dataclass(frozen=True)
class Case:
    """A broken input.

    `make` writes it into an empty folder, given the folder of whole models and files, and returns the command line.
    `says` is a pattern that the one line has: the file, field or row that is broken. `why` it may be taken as it is,
    where `expect` is not that it is refused; `fixed`: it is of the part that runs with every test run. `file_limit`:
    bytes that a file may grow to, as on a full disk.
    """

    family: str
    name: str
    make: Callable[[Path, Path], list[object]]
    says: str = ""
    expect: Literal["refused", "accepted", "either"] = "refused"
    why: str = ""
    fixed: bool = False
    file_limit: int | None = None

    @property
    def title(self) -> str:
        return f"{self.family}: {self.name}"


@dataclass(frozen=True)
class Outcome:
    """What came of a case: `code` is the exit code, or that of the signal that ended it, below 0."""

    code: int
    out: str
    err: str
    seconds: float
    memory: int
    left: tuple[str, ...]  # files that are there after it, or changed by it, and should not be

    @property
    def lines(self) -> list[str]:
        """What was said besides steps and warnings."""
        told = [line for line in self.err.split("\n") if line and not line.startswith("warning: ")]
        return [line for line in told if line.startswith(ERRORS) or not line.endswith(" ...")]


def faults(case: Case, found: Outcome) -> list[str]:
    """What is wrong with an outcome; nothing where it is as it should be."""
    wrong = []
    if "Traceback" in found.err or "a defect of Octavo" in found.err:
        wrong.append("traceback")
    if found.code < 0:
        wrong.append("hang" if found.code in (-24, -9) else "crash")  # SIGXCPU, or killed while it waited
    if found.memory > MEMORY:
        wrong.append("memory")
    if found.left:
        wrong.append(f"left behind: {', '.join(found.left)}")
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", found.out + found.err):
        wrong.append("control characters")
    if found.code == 0:
        return [*wrong, "accepted"] if case.expect == "refused" else wrong
    if case.expect == "accepted":
        wrong.append("refused")
    if found.code not in (2, 3) and found.code > 0:
        wrong.append(f"exit code {found.code}")
    told = [line for line in found.lines if line.startswith(ERRORS)]
    if not 0 < len(set(told)) == len(found.lines) < 5:  # a line for each thing that is wrong
        wrong.append(f"{len(found.lines)} lines")
    elif case.expect == "refused" and not re.search(case.says, "\n".join(told)):
        wrong.append(f"the line does not say {case.says!r}")
    return wrong


def generator(name: str) -> random.Random:
    """Random numbers that are the same for the same name in every run."""
    return random.Random(f"{SEED} {name}")


def copied(base: Path, name: str, folder: Path) -> Path:
    """A copy of a whole model, to be broken."""
    return Path(shutil.copytree(base / name, folder / name))


def predicting(folder: Path, model: Path, rows: str | bytes = ROW) -> list[object]:
    """The command line that predicts rows into a file."""
    source = folder / "rows.jsonl"
    source.write_bytes(rows if isinstance(rows, bytes) else rows.encode())
    return ["predict", model, source, "-o", folder / "out.jsonl", "--threads", 1]


def edit_json(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    """Change the object that a file holds."""
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


DEEP = "[" * 100_000 + "]" * 100_000
MANY_DIGITS = "9" * 5_000
