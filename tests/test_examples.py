"""The examples run, and say what they are meant to."""

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "tasks"


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("token_classification.py", "F1 "),
        ("question_answering.py", "exact_match"),
        ("multiple_choice.py", "accuracy "),
        ("fill_mask.py", "accuracy "),
        ("text_generation.py", "perplexity "),
        ("text2text_generation.py", "exact_match "),
    ],
)
def test_an_example_runs(script, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [script])
    monkeypatch.syspath_prepend(EXAMPLES)
    runpy.run_path(str(EXAMPLES / script), run_name="__main__")
    assert capsys.readouterr().out.count(told) == 2
    assert not list(tmp_path.iterdir())
