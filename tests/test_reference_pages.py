"""The reference of the manual is what the code says."""

import sys
from pathlib import Path

import pytest

import octavo

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "reference"


@pytest.fixture(scope="module")
def made():
    sys.path.insert(0, str(ROOT / "bench"))
    try:
        import reference

        return reference.pages()
    finally:
        sys.path.remove(str(ROOT / "bench"))
        sys.modules.pop("reference", None)


def test_every_page_is_what_the_code_says(made):
    assert {path.name for path in FOLDER.iterdir()} == set(made)
    stale = [name for name, text in made.items() if (FOLDER / name).read_text(encoding="utf-8") != text]
    assert stale == [], "run bench/reference.py"


def test_every_public_name_and_verb_is_there(made):
    assert [name for name in octavo.__all__ if f"### octavo.{name}\n" not in made["api.md"]] == []
    for verb in ("quantize", "search", "trim", "distill", "compare", "predict", "doctor"):
        assert f"## octavo {verb}\n" in made["cli.md"]
    assert "| `--max-drop` | Budget: the first score may fall so far." in made["cli.md"]
