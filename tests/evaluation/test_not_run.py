"""A candidate that cannot be run has its reason in the table, in plain words, and the others have their figures."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import transformers
from onnxruntime import InferenceSession
from onnxruntime.quantization import quantize_dynamic
from typer.testing import CliRunner

import octavo
from octavo.cli.main import app
from octavo.reporting.comparison_tables import comparison_notes, headline, quality_cells, speed_cells, verdict_notes
from octavo.schema.comparison import read_comparison

DEMO = Path(__file__).resolve().parents[2] / "examples" / "korean-nli"
PAIRS = DEMO / "pairs.tsv"
pytestmark = pytest.mark.filterwarnings("ignore:.* can saturate on this CPU")  # of the stock file, without VNNI


@pytest.fixture(scope="module")
def stock(demo_float, tmp_path_factory):
    """What the stock tool makes of our float graph with the operators that it takes by default."""
    file = tmp_path_factory.mktemp("stock") / "stock.onnx"
    quantize_dynamic(demo_float / "model.onnx", file)
    return octavo.Checkpoint(file, tokenizer=DEMO)


@pytest.fixture(scope="module")
def comparison(demo_float, demo_int8, stock):
    candidates, engines = [demo_int8, stock], ("onnxruntime", "openvino")
    return octavo.compare(demo_float, candidates, data=octavo.DataFile(PAIRS, limit=6), engines=engines, threads=1)


def test_the_others_have_their_figures(comparison):
    assert [(row.name, row.engine) for row in comparison.rows] == [
        ("float", "onnxruntime"),
        ("float", "openvino"),
        ("int8", "onnxruntime"),
    ]
    assert all(row.seconds > 0 and row.quality for row in comparison.rows)


def test_the_reasons_are_in_plain_words(comparison):
    dynamic, stock, stock_openvino = comparison.not_run
    assert (dynamic.name, dynamic.method, dynamic.engine) == ("int8", "dynamic", "openvino")
    assert dynamic.reason.startswith("OpenVINO does not run dynamic int8; ")
    assert "method static" in dynamic.reason
    assert (stock.name, stock.engine) == ("stock", "onnxruntime")
    assert "QAttention of an Attention that is not its own" in stock.reason
    assert "op_types_to_quantize=['MatMul', 'Gather']" in stock.reason
    assert "--opset 22" in stock.reason
    assert stock_openvino.reason.startswith("OpenVINO cannot load the model")
    assert "take the engine onnxruntime" in stock_openvino.reason
    for one in comparison.not_run:
        assert len(one.reason.splitlines()) == 1


def test_tables_and_reports_show_them(comparison, tmp_path):
    for cells in (quality_cells(comparison), speed_cells(comparison)):
        assert [row[:2] for row in cells[-3:]] == [
            ["int8 (dynamic)", "openvino"],
            ["stock (dynamic)", "onnxruntime"],
            ["stock (dynamic)", "openvino"],
        ]
        assert {cell for row in cells[-3:] for cell in row[2:]} == {"-"}
        assert {len(row) for row in cells} == {len(cells[0])}
    notes = comparison_notes(comparison)
    assert any(note.startswith("int8 (dynamic), openvino could not be run: OpenVINO does") for note in notes)
    for name in ("out.html", "out.md", "out.json"):
        for language in ("ko", "en"):
            octavo.report(comparison, tmp_path / name, language=language)
    assert "OpenVINO does not run dynamic int8" in (tmp_path / "out.html").read_text(encoding="utf-8")
    assert vars(read_comparison(tmp_path / "out.json")) == vars(comparison)


def test_no_budget_is_kept_by_them(comparison):
    assert comparison.verdict is None
    budget = octavo.Budget(max_size=0.9999, max_drop=100)
    alone = replace(comparison, rows=(comparison.rows[0], comparison.rows[2]), not_run=())
    assert alone.under(budget).verdict == "PASS"
    judged = replace(alone, not_run=comparison.not_run[:1]).under(budget)
    assert judged.verdict == "FAIL"
    assert headline(judged).startswith("FAIL: the budget is broken by int8 (dynamic), openvino.")
    assert verdict_notes(judged)[-1].startswith("FAIL  int8 (dynamic), openvino could not be run: OpenVINO does not")


def test_the_command_line_shows_the_table_and_ends_with_1(comparison, demo_float, demo_int8, monkeypatch):
    monkeypatch.setattr("octavo.evaluation.comparison.compare", lambda *_, **__: found.pop())
    arguments = ["compare", str(demo_float), str(demo_int8), "--data", str(PAIRS)]
    found = [replace(comparison, not_run=()), comparison]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert "int8 (dynamic), openvino could not be run: OpenVINO does not run dynamic int8" in done.output
    assert CliRunner().invoke(app, arguments).exit_code == 0


def test_loading_says_it_in_one_line(demo_int8):
    with pytest.raises(octavo.InputError, match=r"^OpenVINO does not run dynamic int8; got: openvino; allowed: onnx"):
        octavo.load(demo_int8, engine="openvino")


def test_what_the_error_tells_to_do_loads_and_runs(tmp_path):
    one = shutil.copytree(DEMO, tmp_path / "one layer")
    transformers.BertForSequenceClassification.from_pretrained(DEMO, num_hidden_layers=1).save_pretrained(one)
    new, old = (
        octavo.quantize(one, tmp_path / str(opset), recipe=octavo.Recipe(method="float", opset=opset))
        for opset in (None, 22)
    )
    quantize_dynamic(old.model_file, tmp_path / "default.onnx")
    chosen = {"op_types_to_quantize": ["MatMul", "Gather"]}
    quantize_dynamic(new.model_file, tmp_path / "chosen.onnx", **chosen)
    rows = np.array([[2, 7, 9, 3], [2, 400, 5000, 3], [2, 11000, 31, 3], [2, 900, 77, 3]])
    inputs = {name: rows.copy() for name in ("input_ids", "attention_mask", "token_type_ids")}
    inputs["token_type_ids"][:], inputs["attention_mask"][:] = 0, 1
    expected = InferenceSession(new.model_file).run(None, inputs)[0]
    for name in ("default.onnx", "chosen.onnx"):
        found = InferenceSession(tmp_path / name).run(None, inputs)[0]
        assert np.abs(found - expected).max() < 0.2 * np.ptp(expected)
        assert (tmp_path / name).stat().st_size < 0.3 * new.model_file.stat().st_size
