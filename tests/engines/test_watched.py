"""Static int8 whose ranges are watched: what leaves them is counted and told, and the answers stay."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

import octavo
from octavo.cli.main import app
from octavo.engines import watched
from octavo.engines.watched import FAR, RangesLeft, WatchedSession
from octavo.errors import InputError, OctavoWarning
from octavo.schema.recipe import Recipe

DEMO = Path(__file__).resolve().parents[2] / "examples" / "korean-nli"
STEP, MIDDLE = np.float32(0.03), 100  # codes of -3.00 to 4.65


SHORT = [(one, other) for one in "가나다라마바사아자차" for other in "카타파하거너더러머버"]


@pytest.fixture
def graph(tmp_path):
    """Ids times ten, in a table of three numbers each, rounded with a known range."""
    table = np.linspace(-18, 18, 60, dtype=np.float32).reshape(20, 3)
    arrays = {"table": table, "step": np.array(STEP), "middle": np.array(MIDDLE, np.uint8)}
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["x"]),
        helper.make_node("QuantizeLinear", ["x", "step", "middle"], ["codes"]),
        helper.make_node("DequantizeLinear", ["codes", "step", "middle"], ["logits"]),
        helper.make_node("Identity", ["attention_mask"], ["unused"]),
    ]
    ports = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
        for name in ("input_ids", "attention_mask")
    ]
    answer = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "length", 3])]
    initial = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    made = helper.make_graph(nodes, "g", ports, answer, initial)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.save(model, tmp_path / "model.onnx")
    return tmp_path / "model.onnx", table


def test_distances_are_those_of_numpy_and_padding_has_none(graph):
    file, table = graph
    ids = np.array([[9, 10, 11], [0, 10, 19], [12, 0, 0], [19, 10, 0]])
    mask = np.array([[1, 1, 1], [1, 1, 1], [1, 0, 0], [1, 1, 0]])
    x, low, high = table[ids].astype(np.float64), -MIDDLE * float(STEP), (255 - MIDDLE) * float(STEP)
    outside = np.maximum(np.maximum(x - high, low - x), 0).max(axis=2) / (high - low) * mask
    left = RangesLeft()
    with pytest.warns(OctavoWarning, match=r"2 of 4 rows left the ranges .* by up to 2\.0 times"):
        answers = WatchedSession(file, 1, left).run({"input_ids": ids, "attention_mask": mask})
    assert answers.shape == (4, 3, 3)
    assert left.rows == 4
    assert left.left == int((outside.max(axis=1) > FAR).sum()) == 2
    assert left.farthest == pytest.approx(outside.max(), rel=1e-5)


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """The demo, calibrated on pairs of a syllable each, by both forms of a static graph."""
    place = tmp_path_factory.mktemp("watched")
    (place / "few.tsv").write_text("\n".join(["text\ttext_pair", *map("\t".join, SHORT)]) + "\n", encoding="utf-8")
    floats = octavo.export(DEMO)
    for name, mixed in (("static", False), ("mixed", True)):
        recipe = Recipe(method="static", mixed=mixed, smoothing="none")
        octavo.quantize(floats, place / name, recipe=recipe, calibration=place / "few.tsv", target="any")
    return place


@pytest.fixture
def near(monkeypatch):
    """A limit that whole sentences pass here; `FAR` is for models that have a few huge values."""
    monkeypatch.setattr(watched, "FAR", 0.1)
    return 0.1


@pytest.mark.parametrize("name", ["static", "mixed"])
def test_texts_unlike_the_examples_are_counted_and_answered_as_ever(calibrated, sentences, name, near):
    texts = [(one, other) for one in sentences for other in sentences]
    predictor = octavo.load(calibrated / name, watch_ranges=True, threads=1)
    assert predictor.session.name == "onnxruntime"
    with pytest.warns(OctavoWarning, match="left the ranges that static int8 learnt"):
        found = predictor.logits(texts)
    plain = octavo.load(calibrated / name, engine="onnxruntime", threads=1)
    assert plain.ranges_left is None
    np.testing.assert_allclose(found, plain.logits(texts), atol=2e-5)
    left = predictor.ranges_left
    assert left.rows == len(texts)
    assert 0 < left.left <= left.rows
    assert left.farthest > near


def test_the_examples_themselves_do_not_leave(calibrated):
    predictor = octavo.load(calibrated / "static", watch_ranges=True)
    predictor(SHORT)
    assert (predictor.ranges_left.rows, predictor.ranges_left.left) == (len(SHORT), 0)
    assert predictor.ranges_left.farthest < 0.05


def test_the_command_line_tells_how_many(calibrated, tmp_path, sentences, near):
    lines = [json.dumps({"text": one, "text_pair": one}, ensure_ascii=False) for one in sentences]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = ["predict", str(calibrated / "static"), str(tmp_path / "rows.jsonl"), "--watch-ranges"]
    with pytest.warns(OctavoWarning, match=r"of 10 rows left the ranges"):
        done = CliRunner().invoke(app, [*command, "-o", str(tmp_path / "answers.jsonl")])
    assert done.exit_code == 0, done.output
    assert near < FAR
    assert len((tmp_path / "answers.jsonl").read_text(encoding="utf-8").splitlines()) == len(lines)


def test_what_has_no_ranges_is_refused(calibrated, demo_int8):
    with pytest.raises(InputError, match="only static int8 has ranges to watch; got: dynamic"):
        octavo.load(demo_int8, watch_ranges=True)
    with pytest.raises(InputError, match="only static int8 has ranges to watch; got: a checkpoint"):
        octavo.load(DEMO, watch_ranges=True)
    with pytest.raises(InputError, match="ranges are watched in ONNX Runtime; got: openvino"):
        octavo.load(calibrated / "static", watch_ranges=True, engine="openvino")
