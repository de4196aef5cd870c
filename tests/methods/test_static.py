"""Static int8 on whole models: every family, real data, both engines, what an artifact remembers of its examples."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest

import octavo
from octavo.artifact.folder import open_artifact
from octavo.data.examples import example_hashes
from octavo.errors import DataError, OctavoWarning, RecipeError
from octavo.pipeline.calibration import ENOUGH
from octavo.schema.recipe import Recipe

DEMO = Path(__file__).resolve().parents[2] / "examples" / "korean-nli"
SHARED = Path(__file__).resolve().parents[3] / "shared"
FAMILIES = ("bert", "distilbert", "roberta", "electra", "albert", "camembert")
STANDARD = {"", "ai.onnx"}


def answers(folder, rows, engine="onnxruntime"):
    predictor = octavo.load(folder, engine=engine)
    pairs = [row if isinstance(row, tuple) else (row, None) for row in rows]
    return predictor.logits(pairs)


@pytest.fixture(scope="module")
def examples(tmp_path_factory, sentences):
    file = tmp_path_factory.mktemp("calibration") / "문장.txt"
    file.write_text("\n".join(f"{one} {other}" for one in sentences for other in sentences), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def static_demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("static") / "int8"
    octavo.quantize(DEMO, folder, calibration=DEMO / "pairs.tsv", target="any")
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_answers_nearly_as_its_float_model(checkpoint, artifact, examples, sentences, tmp_path, family):
    octavo.quantize(checkpoint(family), tmp_path / "int8", calibration=examples, target="any")
    manifest = open_artifact(tmp_path / "int8").manifest
    assert manifest.recipe.method == "static"
    linears = [layer for layer in manifest.layers if layer.kind == "linear"]
    assert {layer.dtype for layer in linears} == {"int8"}
    assert {layer.activation for layer in linears} == {"static"}
    rows = [*sentences, *pairwise(sentences)]
    expected, found = answers(artifact(family, "float").folder, rows), answers(tmp_path / "int8", rows)
    noise = np.linalg.norm(found - expected) / np.linalg.norm(expected - expected.mean(axis=0))
    assert noise < 0.5, "random weights and a tiny width: coarse, but clearly the same function"
    graph = onnx.load(tmp_path / "int8" / "model.onnx")
    assert {node.domain for node in graph.graph.node} <= STANDARD
    onnx.checker.check_model(graph)


def test_the_batch_does_not_matter(static_demo, sentences):
    predictor = octavo.load(static_demo, engine="onnxruntime")
    together = answers(static_demo, [*sentences, " ".join(sentences)])
    for index, text in enumerate(sentences):
        np.testing.assert_allclose(answers(static_demo, [text])[0], together[index], atol=2e-5)
    assert predictor("영화가 재미있다.")[0]["label"] in predictor.signature.labels


def test_no_product_can_saturate_and_the_card_tells_the_count(static_demo):
    overflow = open_artifact(static_demo).manifest.overflow
    assert overflow.pairs > 10**6
    assert overflow.with_8_bits > 0
    assert overflow.with_7_bits == 0
    assert f"{overflow.with_8_bits:,} would overflow" in (static_demo / "README.md").read_text(encoding="utf-8")


def test_the_examples_are_remembered_by_hash(static_demo):
    record = open_artifact(static_demo).manifest.calibration
    file = octavo.DataFile(DEMO / "pairs.tsv", limit=ENOUGH)
    assert record.rows == ENOUGH
    assert record.examples == example_hashes(file.read())
    assert "소" not in json.dumps(record.model_dump(), ensure_ascii=False), "texts stay with their owner"


def test_compare_warns_of_rows_that_were_calibrated_on(static_demo):
    with pytest.warns(OctavoWarning, match=r"int8: \d+ of 60 rows were calibrated on"):
        octavo.compare(static_demo, data=octavo.DataFile(DEMO / "pairs.tsv", limit=60, seed=0, max_length=32))


def test_the_same_examples_give_the_same_bytes(static_demo, tmp_path):
    octavo.quantize(DEMO, tmp_path / "again", calibration=DEMO / "pairs.tsv", target="any")
    assert (tmp_path / "again" / "model.onnx").read_bytes() == (static_demo / "model.onnx").read_bytes()


@pytest.mark.parametrize("settings", [{"observer": "mse"}, {"observer": "percentile"}, {"smoothing": "none"}])
@pytest.mark.filterwarnings("ignore:.*few to calibrate on:octavo.OctavoWarning")
def test_other_settings_are_near_float_too(settings, demo_float, tmp_path):
    recipe, few = Recipe(method="static", **settings), octavo.DataFile(DEMO / "pairs.tsv", limit=64)
    octavo.quantize(DEMO, tmp_path / "int8", recipe=recipe, calibration=few, target="any")
    rows = [(one.text, one.text_pair) for one in octavo.DataFile(DEMO / "pairs.tsv", limit=80).read()]
    expected, found = answers(demo_float, rows), answers(tmp_path / "int8", rows)
    assert np.mean(expected.argmax(axis=1) == found.argmax(axis=1)) > 0.9


def test_without_examples_it_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(RecipeError, match="--calibrate FILE"):
        octavo.quantize("no-such-folder", tmp_path / "out", recipe="static")
    recipe = Recipe(smoothing=0.5, bias_correction=False)
    with pytest.raises(RecipeError, match=r"smoothing and bias_correction are learnt from examples.*--calibrate FILE"):
        octavo.quantize("no-such-folder", tmp_path / "out", recipe=recipe)
    with pytest.raises(RecipeError, match="does not calibrate"):
        octavo.quantize("no-such-folder", tmp_path / "out", recipe="float", calibration=DEMO / "pairs.tsv")
    recipe = Recipe(format="torch")
    with pytest.raises(RecipeError, match="the format torch does not calibrate"):
        octavo.quantize("no-such-folder", tmp_path / "out", recipe=recipe, calibration=DEMO / "pairs.tsv")
    with pytest.raises(RecipeError, match=r"rounded without examples.*take 4 bits"):
        octavo.quantize("no-such-folder", tmp_path / "out", recipe="weight-only", calibration=DEMO / "pairs.tsv")


def test_few_examples_are_warned_of(tmp_path):
    with pytest.warns(OctavoWarning, match="20 examples are few to calibrate on.*300 would do"):
        octavo.quantize(
            DEMO, tmp_path / "int8", calibration=octavo.DataFile(DEMO / "pairs.tsv", limit=20), target="any"
        )


def test_an_empty_file_is_an_error(tmp_path):
    (tmp_path / "empty.txt").write_text("\n \n", encoding="utf-8")
    with pytest.raises(DataError, match="the file is empty"):
        octavo.quantize(DEMO, tmp_path / "int8", calibration=tmp_path / "empty.txt")


def test_both_engines_answer_alike(static_demo, tmp_path, monkeypatch):
    monkeypatch.setenv("OCTAVO_CACHE", str(tmp_path))
    rows = [(one.text, one.text_pair) for one in octavo.DataFile(DEMO / "pairs.tsv", limit=40).read()]
    one = answers(static_demo, rows)
    for engine in ("openvino", "openvino:throughput"):
        other = answers(static_demo, rows, engine)
        assert np.mean(one.argmax(axis=1) == other.argmax(axis=1)) >= 0.95
        assert np.abs(one - other).max() < 0.2
    assert any((tmp_path / "openvino").iterdir()), "compiled models are kept"


def test_half_of_the_bytes_and_nearly_the_same_answers(demo_float, tmp_path):
    octavo.quantize(DEMO, tmp_path / "half", recipe=Recipe(method="float", storage="float16"))
    sizes = [(folder / "model.onnx").stat().st_size for folder in (tmp_path / "half", demo_float)]
    assert sizes[0] < 0.52 * sizes[1]
    rows = ["정말 재미있는 영화였다.", "비가 온다."]
    np.testing.assert_allclose(answers(tmp_path / "half", rows), answers(demo_float, rows), atol=5e-3)


def test_kornli(tmp_path):
    model, data = SHARED / "models" / "ko-nli", SHARED / "data" / "kornli"
    if not model.is_dir():
        pytest.skip(f"{model} is not here")
    octavo.quantize(model, tmp_path / "int8", calibration=data / "xnli.dev.ko.tsv", target="any")
    octavo.quantize(model, tmp_path / "float", recipe="float")
    rows = [(one.text, one.text_pair) for one in octavo.DataFile(data / "xnli.test.ko.tsv", limit=1500).read()]
    expected, found = answers(tmp_path / "float", rows), answers(tmp_path / "int8", rows)
    assert np.mean(expected.argmax(axis=1) == found.argmax(axis=1)) > 0.98
