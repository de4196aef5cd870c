"""Static int8 whose ranges are watched: what leaves them is counted and told, and the answers stay."""

import json
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
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
from octavo.schema.recipe import LayerRule, Recipe

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
    session = WatchedSession(file, 1, left)
    session.run({"input_ids": ids, "attention_mask": mask})
    assert left.rows == 0  # nothing counts yet
    left.counts = True
    assert session.run({"input_ids": ids, "attention_mask": mask}).shape == (4, 3, 3)
    assert left.rows == 4
    assert left.left == int((outside.max(axis=1) > FAR).sum()) == 2
    assert left.farthest == pytest.approx(outside.max(), rel=1e-5)


def test_a_share_of_far_inputs_is_a_warning_once(graph):
    file, _ = graph
    left = RangesLeft()
    left.counts, session = True, WatchedSession(file, 1, left)
    near, far = np.full((2, 1, 1), 10), np.full((1, 1), 0)

    def run(ids):
        session.run({"input_ids": ids, "attention_mask": np.ones_like(ids)})

    run(far)
    left.tell()  # one of one is no share yet
    for ids in near:
        run(np.repeat(ids, 9, axis=0))
    assert (left.rows, left.left) == (19, 1)
    run(far)
    left.tell()  # two of twenty: a tenth, and not more
    run(far)
    with pytest.warns(OctavoWarning, match=r"3 of 21 inputs left the ranges .* by up to 2\.0 times"):
        left.tell()
    run(far)
    left.tell()  # a second warning would be an error here


def test_after_many_good_inputs_the_next_thousand_count(graph):
    left = RangesLeft()
    left.counts, session = True, WatchedSession(graph[0], 1, left)
    for ids in (np.full((5000, 1), 10), np.full((30, 1), 0)):
        session.run({"input_ids": ids, "attention_mask": np.ones_like(ids)})
        if len(ids) > 30:
            left.tell()
    with pytest.warns(OctavoWarning, match="30 of 30 inputs"):
        left.tell()


def test_shapes_that_are_not_those_of_a_batch_are_refused(graph):
    file, _ = graph
    session = WatchedSession(file, 1, RangesLeft())
    with pytest.raises(InputError, match="ranges of this architecture are not watched"):
        session.run({"input_ids": np.zeros((3, 2), np.int64), "attention_mask": np.ones((2, 3), np.int64)})


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


def texts_of(sentences):
    return [(one, other) for one in sentences for other in sentences]


@pytest.mark.parametrize("name", ["static", "mixed"])
def test_texts_unlike_the_examples_are_counted_and_answered_as_ever(calibrated, sentences, name, near):
    predictor, texts = octavo.load(calibrated / name, watch_ranges=True), texts_of(sentences)
    assert predictor.session.name == "onnxruntime"
    with pytest.warns(OctavoWarning, match="left the ranges that static int8 learnt"):
        found = predictor.logits(texts)
    plain = octavo.load(calibrated / name, engine="onnxruntime")
    assert plain.ranges_left is None
    np.testing.assert_allclose(found, plain.logits(texts), atol=2e-5)
    left = predictor.ranges_left
    assert left.rows == len(texts)
    assert 0 < left.left <= left.rows
    assert left.farthest > near


@pytest.mark.parametrize("name", ["static", "mixed"])
def test_a_text_is_as_far_beside_longer_ones_as_alone(calibrated, sentences, name):
    """Also from several threads, and by a predictor that was pickled."""
    predictor = pickle.loads(pickle.dumps(octavo.load(calibrated / name, watch_ranges=True)))
    left, texts = predictor.ranges_left, texts_of(sentences)[:8]
    left.warns = False

    def farthest(*rows):
        left.farthest = 0.0
        predictor.logits(list(rows))
        return left.farthest

    alone = [farthest(text) for text in texts]
    shortest = ("가", "나")
    for text, own in zip(texts, alone, strict=True):
        assert farthest(text, shortest) == pytest.approx(max(own, farthest(shortest)), abs=0.02)  # a code turned over
    left.farthest, before = 0.0, left.rows
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: predictor.logits(texts), range(4)))
    assert left.rows == before + 4 * len(texts)
    assert left.farthest == pytest.approx(max(alone), abs=0.02)


def test_the_examples_themselves_do_not_leave(calibrated):
    predictor = octavo.load(calibrated / "static", watch_ranges=True)
    predictor(SHORT)
    assert (predictor.ranges_left.rows, predictor.ranges_left.left) == (len(SHORT), 0)
    assert predictor.ranges_left.farthest < 0.05


def test_the_sentences_of_the_self_test_do_not_count(calibrated, tmp_path):
    folder = shutil.copytree(calibrated / "static", tmp_path / "moved")
    manifest = json.loads((folder / "octavo.json").read_text(encoding="utf-8"))
    manifest["host"]["cpu"] = "another"
    (folder / "octavo.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert octavo.load(folder, watch_ranges=True).ranges_left.rows == 0


def test_the_command_line_tells_once_how_many(calibrated, tmp_path, sentences, near):
    lines = [json.dumps({"text": one, "text_pair": other}) for one, other in texts_of(sentences)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = ["predict", str(calibrated / "static"), str(tmp_path / "rows.jsonl"), "--watch-ranges"]
    with pytest.warns(OctavoWarning, match=f"of {len(lines)} inputs left the ranges") as told:
        done = CliRunner().invoke(app, [*command, "-o", str(tmp_path / "answers.jsonl")])
    assert done.exit_code == 0, done.output
    assert near < FAR
    assert len(told) == 1
    assert len((tmp_path / "answers.jsonl").read_text(encoding="utf-8").splitlines()) == len(lines)


def test_what_has_no_ranges_is_refused(calibrated, demo_int8, tmp_path):
    rule = LayerRule(match="*", keep="float")
    recipe = Recipe(method="static", layers=(rule, LayerRule(match="*embeddings*", keep="int8")))
    octavo.quantize(DEMO, tmp_path / "none", recipe=recipe, calibration=DEMO / "pairs.tsv", target="any")
    with pytest.raises(InputError, match="learnt range to watch"):
        octavo.load(tmp_path / "none", watch_ranges=True)
    with pytest.raises(InputError, match="only static int8 has ranges to watch; got: dynamic"):
        octavo.load(demo_int8, watch_ranges=True)
    with pytest.raises(InputError, match="only static int8 has ranges to watch; got: a checkpoint"):
        octavo.load(DEMO, watch_ranges=True)
    with pytest.raises(InputError, match="ranges are watched in ONNX Runtime; got: openvino"):
        octavo.load(calibrated / "static", watch_ranges=True, engine="openvino")
