"""A user's script passes mypy --strict, and its mistakes do not."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import octavo

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "tests" / "typed_script.py"


def test_the_script_uses_every_public_name():
    text = SCRIPT.read_text(encoding="utf-8")
    assert [name for name in octavo.__all__ if f"octavo.{name}" not in text] == []


def test_mypy_finds_its_mistakes_and_nothing_else():
    """By the repository's settings, which are strict, with the cache of `make check`."""
    command = [sys.executable, "-m", "mypy", "--strict", str(SCRIPT)]
    source = str(Path(octavo.__file__).resolve().parents[1])
    environment = os.environ | {"MYPYPATH": source}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.stdout.startswith("Success: no issues found in 1 source file"), done.stdout + done.stderr


def test_a_wheel_says_that_it_is_typed():
    assert (Path(octavo.__file__).parent / "py.typed").read_bytes() == b""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    assert settings == {"targets": {"wheel": {"packages": ["src/octavo"]}}}  # everything in it, as hatchling takes it
