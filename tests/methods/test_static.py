"""Static int8 on whole models: every family, real data, both engines, what an artifact remembers of its examples."""

import json
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest

import octavo
from octavo.artifact.folder import open_artifact
from octavo.cli.quantize import choose_recipes
from octavo.data.examples import example_hashes
from octavo.errors import DataError, InputError, OctavoWarning, RecipeError
from octavo.graph.layers import find_layers
from octavo.methods.layer_results import rounded_by_token
from octavo.pipeline.calibration import ENOUGH
from octavo.pipeline.plan import choose_recipe
from octavo.schema.recipe import WITH_EXAMPLES, LayerRule, Recipe, recipe_from

DEMO = Path(__file__).resolve().parents[2] / "examples" / "korean-nli"
SHARED = Path(__file__).resolve().parents[3] / "shared"
FAMILIES = ("bert", "distilbert", "roberta", "electra", "albert", "camembert")
STANDARD = {"", "ai.onnx"}


def answers(folder, rows, engine="onnxruntime"):
    predictor = octavo.load(folder, engine=engine)
    pairs = [row if isinstance(row, tuple) else (row, None) for row in rows]
    return predictor.logits(pairs)


def per_token(graphs):
    """A rule for each Linear of the float graphs."""
    linears = [layer for layer in find_layers(graphs.graphs["model"]) if layer.kind == "linear"]
    return tuple(LayerRule(match=layer.path, keep="per-token") for layer in linears)


@pytest.fixture(scope="module")
def examples(tmp_path_factory, sentences):
    file = tmp_path_factory.mktemp("calibration") / "문장.txt"
    file.write_text("\n".join(f"{one} {other}" for one in sentences for other in sentences), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def demo_graphs():
    """The demo's float graphs, exported once for the recipes below."""
    return octavo.export(DEMO)


@pytest.fixture(scope="module")
def tiny_graphs(checkpoint):
    """The float graphs of a tiny model, for what does not depend on answers."""
    return octavo.export(checkpoint("bert"))


@pytest.fixture(scope="module")
def static_demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("static") / "int8"
    octavo.quantize(DEMO, folder, recipe="static", calibration=DEMO / "pairs.tsv", target="any")
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_answers_nearly_as_its_float_model(checkpoint, artifact, examples, sentences, tmp_path, family):
    octavo.quantize(checkpoint(family), tmp_path / "int8", recipe="static", calibration=examples, target="any")
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


def test_the_same_examples_give_the_same_bytes(checkpoint, examples, tmp_path):
    for name in ("once", "again"):
        octavo.quantize(checkpoint("bert"), tmp_path / name, recipe="static", calibration=examples, target="any")
    assert (tmp_path / "again" / "model.onnx").read_bytes() == (tmp_path / "once" / "model.onnx").read_bytes()


@pytest.mark.parametrize("settings", [{"observer": "mse"}, {"observer": "percentile"}, {"smoothing": "none"}])
@pytest.mark.filterwarnings("ignore:.*few to calibrate on:octavo.OctavoWarning")
def test_other_settings_are_near_float_too(settings, demo_graphs, demo_float, tmp_path):
    recipe, few = Recipe(method="static", **settings), octavo.DataFile(DEMO / "pairs.tsv", limit=64)
    octavo.quantize(demo_graphs, tmp_path / "int8", recipe=recipe, calibration=few, target="any")
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


def test_few_examples_are_warned_of(demo_graphs, tmp_path):
    few = octavo.DataFile(DEMO / "pairs.tsv", limit=20)
    with pytest.warns(OctavoWarning, match="20 examples are few to calibrate on.*300 would do"):
        octavo.quantize(demo_graphs, tmp_path / "int8", calibration=few, target="any")


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


BIASES = 10  # of four layers the query's and that of the feed-forward's first Linear, and both of the head
BY_TOKEN = LayerRule(match="*.output.dense", keep="per-token")  # behind the attention, and the second of a feed-forward


@pytest.fixture(scope="module")
def mixed_demo(demo_graphs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixed") / "int8"
    recipe = Recipe(method="static", layers=(BY_TOKEN,))
    octavo.quantize(demo_graphs, folder, recipe=recipe, calibration=DEMO / "pairs.tsv", target="any")
    return folder


def test_layers_are_rounded_per_token_where_a_rule_says_so(mixed_demo, static_demo, demo_float, sentences):
    manifest = open_artifact(mixed_demo).manifest
    kinds = {layer.path: layer.activation for layer in manifest.layers if layer.kind == "linear"}
    assert {path for path, kind in kinds.items() if kind == "token"} == {
        path for path in kinds if path.endswith("output.dense")
    }
    assert set(kinds.values()) == {"token", "static"}
    pairs = [tuple(line.split("\t")[:2]) for line in (DEMO / "pairs.tsv").read_text("utf-8").splitlines()[1:100]]
    expected = answers(demo_float, pairs)
    mixed, static = (np.abs(answers(folder, pairs) - expected).mean() for folder in (mixed_demo, static_demo))
    assert mixed < static
    together = answers(mixed_demo, [*sentences, " ".join(sentences)])
    for index, text in enumerate(sentences):
        np.testing.assert_allclose(answers(mixed_demo, [text])[0], together[index], atol=2e-5)


def test_layers_per_token_are_for_onnx_runtime(mixed_demo):
    assert octavo.load(mixed_demo).session.name == "onnxruntime"
    with pytest.raises(InputError, match="OpenVINO does not run layers that are rounded per token"):
        octavo.load(mixed_demo, engine="openvino")


def test_all_layers_per_token_are_dynamic_int8_with_examples(tiny_graphs, examples, tmp_path):
    recipes = {"dynamic": Recipe(), "static": Recipe(method="static", layers=per_token(tiny_graphs))}
    for name, recipe in recipes.items():
        octavo.quantize(tiny_graphs, tmp_path / name, recipe=recipe, calibration=examples, target="any")
    dynamic, static = ((tmp_path / name / "model.onnx").read_bytes() for name in recipes)
    assert static == dynamic


def test_mixed_rounds_what_the_outputs_of_attention_and_feed_forward_read_per_token(tiny_graphs, examples, tmp_path):
    rule = LayerRule(match="*.layer.0.output.dense", keep="int8")
    recipe = Recipe(method="static", mixed=True, layers=(rule,))
    octavo.quantize(tiny_graphs, tmp_path / "int8", recipe=recipe, calibration=examples, target="any")
    layers = [layer for layer in open_artifact(tmp_path / "int8").manifest.layers if layer.kind == "linear"]
    outputs = {one.path for one in layers if one.path.endswith(".output.dense")}
    kept = {one for one in outputs if one.endswith(".layer.0.output.dense")}
    assert (len(outputs), len(kept)) == (4, 1)
    assert {one.path for one in layers if one.activation == "token"} == outputs - kept
    assert {one.activation for one in layers} == {"token", "static"}
    assert octavo.load(tmp_path / "int8").session.name == "onnxruntime"
    with pytest.raises(RecipeError, match="mixed is a setting of the method static, and this is dynamic"):
        recipe_from({"mixed": True})


@pytest.mark.parametrize("family", ["albert", "distilbert", "electra", "xlm-roberta"])
def test_families_are_mixed(checkpoint, artifact, examples, sentences, tmp_path, family):
    recipe = Recipe(method="static", mixed=True)
    octavo.quantize(checkpoint(family), tmp_path / "int8", recipe=recipe, calibration=examples, target="any")
    layers = open_artifact(tmp_path / "int8").manifest.layers
    assert {layer.activation for layer in layers if layer.kind == "linear"} == {"token", "static"}
    rows = [*sentences, *pairwise(sentences)]
    expected, found = answers(artifact(family, "float").folder, rows), answers(tmp_path / "int8", rows)
    assert np.linalg.norm(found - expected) < 0.5 * np.linalg.norm(expected - expected.mean(axis=0))


def test_every_layer_per_token_leaves_no_range_to_find(tiny_graphs, examples, tmp_path):
    recipe = Recipe(method="static", observer="mse", layers=per_token(tiny_graphs))
    octavo.quantize(tiny_graphs, tmp_path / "int8", recipe=recipe, calibration=examples, target="any")
    layers = open_artifact(tmp_path / "int8").manifest.layers
    assert {layer.activation for layer in layers if layer.kind == "linear"} == {"token"}


def test_mixed_is_an_option_of_static_alone():
    mixed = WITH_EXAMPLES
    assert choose_recipes(None, None, {"mixed": True}, calibrated=True) == [mixed]
    assert choose_recipes(None, None, {}, calibrated=True) == [mixed] == [choose_recipe(None, calibrated=True)]
    assert choose_recipes(["static"], None, {}, calibrated=True) == [Recipe(method="static")]
    assert choose_recipe("static", calibrated=True) == Recipe(method="static")
    assert choose_recipes(["dynamic", "static"], None, {"mixed": True}, calibrated=True) == [Recipe(), mixed]
    with pytest.raises(RecipeError, match="mixed is a setting of the method static, and this is dynamic in --mixed"):
        choose_recipes(None, None, {"mixed": True}, calibrated=False)


def test_products_of_known_ranges_are_the_same_in_both_forms(demo_graphs, static_demo, tmp_path, sentences):
    recipe = Recipe(method="static", mixed=True, layers=(LayerRule(match="*dense", keep="int8"),))
    octavo.quantize(demo_graphs, tmp_path / "int8", recipe=recipe, calibration=DEMO / "pairs.tsv", target="any")
    layers = [one for one in open_artifact(tmp_path / "int8").manifest.layers if one.kind == "linear"]
    assert {one.activation for one in layers} == {"static"}
    operators = {node.op_type for node in onnx.load(tmp_path / "int8" / "model.onnx").graph.node}
    assert "MatMulInteger" in operators
    assert "DequantizeLinear" not in operators
    rows = [*sentences, *pairwise(sentences)]
    np.testing.assert_allclose(answers(tmp_path / "int8", rows), answers(static_demo, rows), atol=2e-5)


def test_onnx_runtime_makes_one_kernel_of_a_product_and_its_bias(mixed_demo, tmp_path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(mixed_demo / "model.onnx"), options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(tmp_path / "optimized.onnx").graph.node
    products = [node for node in nodes if node.op_type == "MatMulIntegerToFloat"]
    assert len(products) == len([node for node in nodes if "MatMul" in node.op_type])
    assert len([node for node in products if len(node.input) > 6 and node.input[6]]) == BIASES


def test_one_scale_for_each_token_beside_one_for_each_tensor(demo_graphs, tmp_path):
    recipe = Recipe(granularity="tensor", layers=(LayerRule(match="*.query", keep="per-token"),))
    octavo.quantize(demo_graphs, tmp_path / "int8", recipe=recipe, target="any")
    layers = open_artifact(tmp_path / "int8").manifest.layers
    assert {layer.activation for layer in layers if layer.path.endswith(".query")} == {"token"}
    assert {layer.activation for layer in layers if layer.path.endswith(".key")} == {"tensor"}


def test_tables_are_not_rounded_per_token(tmp_path):
    recipe = Recipe(layers=(LayerRule(match="*embeddings*", keep="per-token"),))
    with pytest.raises(RecipeError, match="rows of a table are looked up, not rounded per token"):
        octavo.quantize(DEMO, tmp_path / "int8", recipe=recipe)
    for settings in ({"method": "weight-only"}, {"format": "torch"}, {"method": "qat"}):
        with pytest.raises(RecipeError, match="per token by dynamic and static, format onnx"):
            recipe_from(settings | {"layers": [{"match": "*", "keep": "per-token"}]})


def test_half_of_the_bytes_and_nearly_the_same_answers(demo_graphs, demo_float, tmp_path):
    octavo.quantize(demo_graphs, tmp_path / "half", recipe=Recipe(method="float", storage="float16"))
    sizes = [(folder / "model.onnx").stat().st_size for folder in (tmp_path / "half", demo_float)]
    assert sizes[0] < 0.52 * sizes[1]
    rows = ["정말 재미있는 영화였다.", "비가 온다."]
    np.testing.assert_allclose(answers(tmp_path / "half", rows), answers(demo_float, rows), atol=5e-3)


def test_kornli(tmp_path):
    model, data = SHARED / "models" / "ko-nli", SHARED / "data" / "kornli"
    if not model.is_dir():
        pytest.skip(f"{model} is not here")
    graphs, examples = octavo.export(model), octavo.DataFile(data / "xnli.dev.ko.tsv", limit=300)
    octavo.quantize(graphs, tmp_path / "int8", recipe="static", calibration=examples, target="any")
    octavo.quantize(graphs, tmp_path / "float", recipe="float")
    rows = [(one.text, one.text_pair) for one in octavo.DataFile(data / "xnli.test.ko.tsv", limit=1500).read()]
    expected, found = answers(tmp_path / "float", rows), answers(tmp_path / "int8", rows)
    assert np.mean(expected.argmax(axis=1) == found.argmax(axis=1)) > 0.98


def test_where_no_linear_is_known_by_its_name_all_ranges_are_learnt_with_a_warning():
    layers = [
        SimpleNamespace(kind="linear", path=path, paths=(path,)) for path in ("encoder.0.widen", "encoder.0.narrow")
    ]
    with pytest.warns(OctavoWarning, match=r"mixed knows no Linear of this model .*last one: encoder\.0\.narrow"):
        assert rounded_by_token([(layer, None) for layer in layers], WITH_EXAMPLES) == set()
