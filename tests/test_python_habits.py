"""What hands do in a Python shell and a notebook: the version, what a value shows, the names of the command line."""

import json
import re
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

import octavo
from octavo.errors import InputError, RecipeError
from octavo.inspection.machine import doctor

DEMO = Path(__file__).parents[1] / "examples" / "korean-nli"
PAIRS = DEMO / "pairs.tsv"
EVIL = "<script>alert('\x1b[31m눈')</script>"


def test_the_version(fresh):
    assert octavo.__version__ == version("octavo")
    assert fresh("import octavo; print(octavo.__version__)").strip() == version("octavo")
    with pytest.raises(AttributeError):
        octavo.__versions__  # noqa: B018


@pytest.fixture(scope="module")
def comparison(demo_float, demo_int8):
    return octavo.compare(demo_float, str(demo_int8), data=str(PAIRS), limit=6, engines="onnxruntime", threads=1)


class TestNamesOfTheCommandLine:
    def test_one_candidate_and_a_limit(self, comparison):
        assert [row.name for row in comparison.rows] == ["float", "int8"]
        assert (comparison.n, comparison.data.limit) == (6, 6)

    def test_columns_and_labels(self, demo_float, monkeypatch, tmp_path):
        seen = {}

        def stop(entries, examples, task, **_):
            seen.update(names=task.signature.labels, examples=examples)
            raise InputError("seen")

        monkeypatch.setattr("octavo.evaluation.comparison.compare_entries", stop)
        data = tmp_path / "data.tsv"
        data.write_text("문장\t답\n눈이 왔다\t중립\n", encoding="utf-8")
        names = {"columns": {"text": "문장", "label": "답"}, "labels": ["함의", "모순", "중립"]}
        with pytest.raises(InputError, match="seen"):
            octavo.compare(demo_float, demo_float, data=data, **names)
        assert seen["names"] == ("함의", "모순", "중립")
        assert [(one.text, one.label) for one in seen["examples"]] == [("눈이 왔다", 2)]

    def test_said_twice(self, demo_float):
        with pytest.raises(InputError, match="said twice: to compare and in the DataFile; got: limit"):
            octavo.compare(demo_float, data=octavo.DataFile(PAIRS, limit=3), limit=4)

    def test_method_and_calibrate(self, demo_float, monkeypatch, tmp_path):
        plans = []

        def stop(plan):
            plans.append(plan)
            raise InputError("planned")

        monkeypatch.setattr("octavo.pipeline.quantization.read_checkpoint", stop)
        for names in ({"method": "static", "calibrate": PAIRS}, {"recipe": "static", "calibration": PAIRS}):
            with pytest.raises(InputError, match="planned"):
                octavo.quantize(DEMO, tmp_path / "out", **names)
        assert replace(plans[0], progress=None) == replace(plans[1], progress=None)
        assert plans[0].recipe.method == "static"
        with pytest.raises(RecipeError, match="recipe and method exclude each other; got: recipe=float, method=static"):
            octavo.quantize(DEMO, tmp_path / "out", recipe="float", method="static")
        with pytest.raises(RecipeError, match="calibration and calibrate exclude each other"):
            octavo.quantize(DEMO, tmp_path / "out", calibration=PAIRS, calibrate=PAIRS)
        with pytest.raises(RecipeError, match=r"unknown method in the recipe; got: statik; .*did you mean 'static'"):
            octavo.quantize(DEMO, tmp_path / "out", method="statik")


class TestWhatAValueShows:
    def test_it_is_a_line(self, comparison, demo_int8):
        artifact = octavo.open_artifact(demo_int8)
        values = {
            "Artifact": artifact,
            "Manifest": artifact.manifest,
            "Recipe": artifact.manifest.recipe,
            "Comparison": comparison,
            "ComparedRow": comparison.rows[1],
            "Inspection": octavo.inspect(demo_int8),
            "Diagnosis": octavo.doctor(),
            "Predictor": octavo.load(demo_int8),
        }
        for kind, value in values.items():
            text = repr(value)
            assert re.match(rf"<{kind}\b.*>$|{kind}\(.*\)$", text), text
            assert len(text) < 250
        assert repr(values["Recipe"]) == "Recipe(method='dynamic')"
        assert "int8 (dynamic, onnxruntime) on 6 rows" in repr(comparison)
        assert "text-classification, dynamic, onnx" in repr(artifact)
        assert repr(octavo.Recipe(method="static", observer="mse")) == "Recipe(method='static', observer='mse')"
        json.dumps(comparison.to_dict())

    def test_float_graphs(self):
        assert re.fullmatch(r"<FloatGraphs of korean-nli: model, opset \d+>", repr(octavo.export(DEMO)))

    def test_a_notebook_shows_an_inspection_as_tables(self, demo_int8):
        found = octavo.inspect(demo_int8)
        html = found._repr_html_()
        assert html.count("<table>") == 1
        assert "<td>embedding</td>" in html
        assert type(replace(found, path=EVIL)) is octavo.Inspection
        html = replace(found, path=EVIL)._repr_html_()
        assert "<script" not in html
        assert "\x1b" not in html
        assert "&lt;script&gt;alert(&#x27;\\x1b[31m눈&#x27;)" in html

    def test_and_a_diagnosis(self):
        found = doctor()
        html = replace(found, cpu=EVIL, problems=("<b>",))._repr_html_()
        assert html.count("<tr>") > 10
        assert "<script" not in html
        assert "<td>&lt;b&gt;</td>" in html
        assert isinstance(found, octavo.Diagnosis)
