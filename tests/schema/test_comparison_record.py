import copy
import dataclasses
import json
from pathlib import Path

import jsonschema
import pytest
import scipy.stats

from octavo.data.examples import DataFile
from octavo.errors import InputError
from octavo.evaluation.comparison import compare
from octavo.reporting.page import comparison_json, report
from octavo.schema.budget import Budget
from octavo.schema.comparison import FORMAT, json_schema, read_comparison

DOCS = Path(__file__).parents[2] / "docs"
DEMO = Path(__file__).parents[2] / "examples" / "korean-nli"
SCHEMA = json.loads((DOCS / "comparison.schema.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def made(demo_float, demo_int8):
    found = compare(demo_float, [demo_int8], data=DataFile(DEMO / "pairs.tsv", limit=60, max_length=16), threads=1)
    return found.under(Budget(max_drop=10, min_speedup=0.01, min_cosine=0.9))


def test_the_documented_schema_is_the_one_in_force():
    assert json_schema() == SCHEMA, "run bench/publish.py"
    assert SCHEMA["properties"]["format"] == {"const": FORMAT}


def test_what_is_written_is_what_the_schema_says(made, tmp_path):
    report(made, tmp_path / "out.json")
    document = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    jsonschema.Draft202012Validator(SCHEMA).validate(
        json.loads(comparison_json(dataclasses.replace(made, profile=({},))))
    )
    assert document["verdict"] == "FAIL"  # a cosine, of classifiers
    assert read_comparison(tmp_path / "out.json").to_dict() == made.to_dict()


def test_a_comparison_of_before_there_was_a_modelled_difference_is_read(made, tmp_path):
    document = json.loads(comparison_json(made))
    for row in document["rows"]:
        del row["modelled"]
    (tmp_path / "old.json").write_text(json.dumps(document), encoding="utf-8")
    found = read_comparison(tmp_path / "old.json")
    assert [row.modelled for row in found.rows] == [None, None]
    assert found.rows[1].differences == made.rows[1].differences
    assert made.rows[0].modelled is None
    assert made.rows[1].modelled.method == "modelled"
    report(found, tmp_path / "old.md")
    assert "the counted difference" not in (tmp_path / "old.md").read_text(encoding="utf-8")


def test_a_budget_with_nothing_to_judge_is_refused(made):
    with pytest.raises(InputError, match="only the baseline"):
        dataclasses.replace(made, rows=made.rows[:1]).under(Budget(max_drop=10))


@pytest.mark.parametrize("change", ["missing", "unknown", "type", "nested"])
def test_the_schema_sees_what_is_wrong(made, change):
    document = json.loads(comparison_json(made))
    broken = copy.deepcopy(document)
    if change == "missing":
        del broken["threads"]
    elif change == "unknown":
        broken["speed"] = 1
    elif change == "type":
        broken["n"] = "many"
    else:
        del broken["rows"][1]["speedup"]["low"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate(broken)


def test_every_field_is_documented():
    text = (DOCS / "comparison.md").read_text(encoding="utf-8")
    for part in (SCHEMA, SCHEMA["$defs"]["ComparedRow"], SCHEMA["$defs"]["Estimate"], SCHEMA["$defs"]["Origin"]):
        for name in part["properties"]:
            assert f"`{name}`" in text, name


def test_what_is_recorded_to_have_it_again(made, demo_int8):
    manifest = json.loads((demo_int8 / "octavo.json").read_text(encoding="utf-8"))
    origin = made.rows[1].origin
    assert origin.sha256 == manifest["files"]["model.onnx"]["sha256"]
    assert origin.source_sha256 == manifest["source"]["sha256"]
    assert origin.layers == {one["path"]: one["output_db"] for one in manifest["layers"] if "output_db" in one}
    assert made.data.name == "pairs.tsv"
    assert made.data.limit == 60
    assert set(made.versions) >= {"octavo", "onnxruntime", "numpy"}
    for row in made.rows:
        assert row.cold_start_seconds > row.load_seconds > 0
    accuracies = [row.quality["accuracy"] for row in made.rows]
    changed = made.rows[1].mcnemar
    assert changed.better - changed.worse == pytest.approx(60 * (accuracies[1] - accuracies[0]))
    assert changed.p == pytest.approx(
        scipy.stats.binomtest(changed.worse, max(1, changed.worse + changed.better)).pvalue
    )
    assert dataclasses.replace(made, budget=None).verdict == "FAIL"
    assert "torch" not in made.versions
