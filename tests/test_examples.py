"""The examples run, and say what they are meant to."""

import os
import subprocess
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
def test_an_example_runs(script, told, tmp_path):
    command = [sys.executable, str(EXAMPLES / script)]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(told) == 2
    assert not list(tmp_path.iterdir())
