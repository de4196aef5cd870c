"""The examples run, and say what they are meant to."""

import ast
import json
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples/tasks"


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


def test_the_notebook_runs_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    cells = json.loads((ROOT / "examples/notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    shown, names = [], {}
    for source in ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"):
        body = ast.parse(source).body
        value = body.pop().value if isinstance(body[-1], ast.Expr) else None
        exec(compile(ast.Module(body, []), "notebook", "exec"), names)
        shown.append(value and eval(compile(ast.Expression(value), "notebook", "eval"), names))
    _, _, comparison, answers = shown
    assert [row.name for row in comparison.rows] == ["float", "dynamic", "static"]
    assert all(row.fidelity["agreement"] > 0.95 for row in comparison.rows)
    assert "float" in comparison._repr_html_()
    assert {answer["label"] for answer in answers} <= {"entailment", "neutral", "contradiction"}
