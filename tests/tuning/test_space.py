"""Spaces: each candidate once, what the CPU and the task call for, and the user's own."""

import pytest

from octavo.errors import InputError, RecipeError
from octavo.hardware import Cpu
from octavo.schema.recipe import LayerRule, Recipe
from octavo.schema.search import FLOAT, Candidate, LayerState
from octavo.tuning.ladder import RUNGS, quantized_alone
from octavo.tuning.space import Setting, canonical, default_space, distinct, read_space, sixteen_bits


def setting(*features, **others):
    cpu = Cpu("a CPU", "x86_64", frozenset(features), 2)
    return Setting(cpu, **{"calibrates": True, "writes": False} | others)


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "space.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture(autouse=True)
def openvino_is_there(monkeypatch):
    monkeypatch.setattr("octavo.tuning.space.find_spec", lambda name: name)


def test_equal_models_are_one_candidate():
    rule, other = LayerRule(match="*.a", keep="float"), LayerRule(match="*.b", keep="float")
    same = [
        Candidate(Recipe(method="static", percentile=99.0)),
        Candidate(Recipe(method="static")),
        Candidate(Recipe(method="static", granularity="tensor")),
    ]
    assert len(distinct(same)) == 1
    twice = Candidate(Recipe(method="static", layers=(rule, other, rule)))
    assert canonical(twice).recipe.layers == (other, rule)
    assert len(distinct([Candidate(Recipe()), Candidate(Recipe(granularity="tensor")), FLOAT])) == 2


def test_the_default_depends_on_cpu_and_task():
    plain = default_space(setting("avx2"))
    assert {one.engine for one in plain} == {"onnxruntime"}
    assert plain[0] == Candidate(Recipe())
    vnni = default_space(setting("avx2", "avx512_vnni"))
    assert {one.engine for one in vnni if one.recipe.method == "static"} == {"onnxruntime", "openvino"}
    assert {one.engine for one in vnni if one.recipe.mixed} == {"onnxruntime"}
    uncalibrated = default_space(setting("avx512_vnni", calibrates=False, writes=True))
    assert {one.recipe.method for one in uncalibrated} == {"dynamic", "weight-only"}
    assert {one.engine for one in uncalibrated} == {"onnxruntime"}
    small = default_space(setting("avx2", small=True))
    assert {one.recipe.bits for one in small} == {8, 4}
    four = {one.recipe.method for one in small if one.recipe.embedding == "int4"}
    assert four == {"dynamic", "static", "weight-only"}
    assert not {one.recipe.embedding for one in plain} - {"int8"}
    assert [one.engine for one in sixteen_bits(setting("amx_bf16"))] == ["openvino:bf16", "onnxruntime"]


def test_a_list_means_try_each(written):
    text = """
[[space]]
method = "static"
observer = ["minmax", "mse"]
smoothing = ["auto", 0.5]
engine = ["onnxruntime", "openvino"]

[[space]]
method = "dynamic"
layers = [{match = "*.dense", keep = "float"}]
"""
    found = read_space(written(text), setting("avx512_vnni"))
    assert len(found) == 9
    assert {(one.recipe.observer, one.recipe.smoothing) for one in found[:8]} == {
        ("minmax", "auto"), ("minmax", 0.5), ("mse", "auto"), ("mse", 0.5)
    }  # fmt: skip
    assert found[8].recipe.layers == (LayerRule(match="*.dense", keep="float"),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[space]]\nmethod = ['static', 'dynamik']", "did you mean 'dynamic'"),
        ("[[space]]\nmethod = 'static'\nobservr = 'mse'", "observr"),
        ("[[space]]\nmethod = 'dynamic'\nobserver = 'mse'", "a setting of the method static"),
        ("[[space]]\nmethod = 'dynamic'\nengine = 'openvno'", "openvno"),
        ("[[space]]\nmethod = 'dynamic'\nopset = 21", "one export"),
        ("[[space]]\nmethod = 'float'", "no candidate"),
        ("method = ['static']", "[[space]] tables"),
        ("[[space]\n", "TOML"),
    ],
)
def test_what_means_nothing_is_refused_with_its_place(written, text, words):
    with pytest.raises(InputError) as error:
        read_space(written(text), setting("avx512_vnni"))
    assert words in str(error.value)


def test_layers_per_token_are_for_one_engine(written):
    text = "[[space]]\nmethod = 'static'\nmixed = [true, false]\n"
    auto = read_space(written(text), setting("avx512_vnni"))
    assert [(one.recipe.mixed, one.engine) for one in auto] == [(True, "onnxruntime"), (False, "openvino")]
    with pytest.raises(RecipeError, match="ONNX Runtime alone runs layers that are rounded per token"):
        read_space(written(text + "engine = 'openvino'"), setting("avx512_vnni"))


def test_the_ladder_rounds_single_layers_per_token_before_all():
    states = [LayerState(f"l.{number}", "linear", "int8", 30.0 - number) for number in range(7)]
    states += [LayerState("words", "embedding", "int8", 1.0), LayerState("head", "linear", "float16", None)]
    found = RUNGS["per-token activations"](Recipe(method="static"), states)
    worst = tuple(LayerRule(match=f"l.{number}", keep="per-token") for number in (6, 5))
    assert found == [Recipe(method="static", mixed=True), Recipe(method="static", layers=worst), Recipe()]
    assert RUNGS["per-token activations"](Recipe(method="static", mixed=True, layers=worst), []) == [Recipe()]
    kept = LayerRule(match="l.*", keep="float")
    mixed = Recipe(method="static", layers=(kept, *worst))
    assert RUNGS["per-token activations"](mixed, [])[-1].rounds_by_token("l.6") is False
    assert [rule.keep for rule in RUNGS["per-token activations"](mixed, [])[-1].layers] == ["float", "int8", "int8"]


def test_a_layer_that_is_rounded_per_token_is_looked_at_so():
    base = Candidate(Recipe(method="static", mixed=True))
    second = "bert.encoder.layer.0.output.dense"
    assert quantized_alone(base, second).recipe.layers[-1] == LayerRule(match=second, keep="per-token")
    first = second.replace("output", "intermediate")
    assert quantized_alone(base, first).recipe.layers[-1] == LayerRule(match=first, keep="int8")


def test_static_is_refused_where_nothing_is_calibrated(written):
    with pytest.raises(RecipeError, match="not calibrated"):
        read_space(written("[[space]]\nmethod = 'static'"), setting(calibrates=False))
