import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from octavo.errors import RecipeError
from octavo.schema.recipe import FORMATS, LayerRule, Recipe, kept_as, recipe_from

RULES = st.builds(LayerRule, match=st.text(st.characters(codec="utf-8")), keep=st.sampled_from(["float", "int8"]))
RECIPES = st.builds(
    Recipe,
    method=st.sampled_from(FORMATS["onnx"]),
    opset=st.sampled_from([None, 20, 21, 22, 23]),
    layers=st.lists(RULES, max_size=4).map(tuple),
)

PATHS = ["embeddings.word", "layer.0.attention.output.dense", "layer.1.attention.output.dense", "classifier"]


@given(recipe=RECIPES)
def test_toml_reads_back_equal(tmp_path_factory, recipe):
    path = tmp_path_factory.getbasetemp() / "round_trip.toml"
    path.write_text(recipe.to_toml(), encoding="utf-8")
    again = Recipe.from_toml(path)
    assert again == recipe
    assert hash(again) == hash(recipe)


def test_the_format_decides_how_much_shares_a_scale():
    assert Recipe().granularity == "token"
    assert Recipe(format="torch").granularity == "tensor"
    assert recipe_from({"format": "torch", "granularity": "token"}).granularity == "token"


def test_toml_of_the_documentation(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(
        'method = "dynamic"\n\n[[layers]]\nmatch = "*.attention.output.dense"   # a glob\nkeep = "float"\n',
        encoding="utf-8",
    )
    rule = LayerRule(match="*.attention.output.dense", keep="float")
    assert Recipe.from_toml(path) == Recipe(method="dynamic", layers=(rule,))


def test_toml_holds_every_setting():
    recipe = Recipe(method="float", opset=21, layers=(LayerRule(match="a", keep="int8"),))
    assert tomllib.loads(recipe.to_toml()) == {
        "method": "float",
        "format": "onnx",
        "granularity": "token",
        "optimize": True,
        "merge_qkv": False,
        "observer": "minmax",
        "percentile": 99.99,
        "smoothing": "auto",
        "bias_correction": True,
        "own_sentences": False,
        "mixed": False,
        "storage": "float32",
        "bits": 8,
        "products": "int8",
        "embedding": "int8",
        "opset": 21,
        "layers": [{"match": "a", "keep": "int8"}],
    }


def test_recipe_is_found_in_a_dictionary_by_its_value():
    rules = [{"match": "a", "keep": "float"}, {"match": "b", "keep": "int8"}]
    recipe = recipe_from({"layers": rules})
    assert {recipe: "found"}[recipe_from({"method": "dynamic", "layers": rules})] == "found"
    assert recipe != recipe_from({"layers": rules[::-1]})
    assert recipe != recipe_from({"method": "float", "layers": rules})


@pytest.mark.parametrize(("thing", "name"), [(Recipe(), "method"), (LayerRule(match="a", keep="float"), "keep")])
def test_recipe_and_rules_are_frozen(thing, name):
    with pytest.raises(ValidationError, match="frozen"):
        setattr(thing, name, "int8")


def test_unknown_key_proposes_the_closest():
    with pytest.raises(RecipeError) as caught:
        recipe_from({"metod": "float"}, where="a.toml")
    assert str(caught.value) == (
        "unknown key in a.toml; got: metod; "
        "allowed: method, format, granularity, opset, optimize, merge_qkv, observer, percentile, smoothing, "
        "bias_correction, own_sentences, mixed, storage, bits, block, products, embedding, "
        "layers (did you mean 'method'?)"
    )


def test_unknown_key_of_a_rule_proposes_the_keys_of_rules():
    with pytest.raises(RecipeError) as caught:
        recipe_from({"layers": [{"match": "a", "keep": "float"}, {"match": "a", "keep": "float", "mtch": "b"}]})
    assert "got: layers.1.mtch; allowed: match, keep (did you mean 'match'?)" in str(caught.value)


def test_unknown_method_proposes_the_closest():
    with pytest.raises(RecipeError, match=r"unknown method .*got: dynamik; .*did you mean 'dynamic'"):
        recipe_from({"method": "dynamik"})


@pytest.mark.parametrize("value", [7, ["dynamic"], {}])
def test_method_that_is_not_a_name(value):
    with pytest.raises(RecipeError, match="unknown method"):
        recipe_from({"method": value})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            {"layers": [{"match": "a", "keep": "int3"}]},
            r"layers\.0\.keep .*got: int3; allowed: 'float', 'float16', 'int8', 'per-token' or 'int4'",
        ),
        (
            {"method": "float", "layers": [{"match": "a", "keep": "int4"}]},
            r"int4 layers are made by dynamic, static and weight-only, .* float",
        ),
        ({"embedding": "int2"}, r"embedding .*got: int2; allowed: 'int8' or 'int4'"),
        (
            {"method": "float", "embedding": "int4"},
            r"embedding is a setting of the method dynamic, static, weight-only",
        ),
        ({"format": "torch", "embedding": "int4"}, r"embedding is a setting of the format onnx"),
        ({"method": "weight-only", "bits": 3}, r"bits .*got: 3; allowed: 4 or 8"),
        ({"granularity": "row"}, r"granularity .*got: row; allowed: 'token' or 'tensor'"),
        ({"opset": 19}, r"opset .*got: 19; allowed: 20, 21, 22 or 23"),
        ({"layers": [{"match": "a"}]}, r"layers\.0\.keep: Field required"),
        ({"layers": "a"}, r"layers: .*got: a$"),
        ({"layers": [{"match": 3, "keep": "float"}]}, r"layers\.0\.match: .*got: 3$"),
    ],
)
def test_wrong_value_is_named_with_its_place(table, message):
    with pytest.raises(RecipeError, match=message):
        recipe_from(table)


def test_several_problems_are_told_together_a_line_each():
    table = {"method": "awq", "granularty": "tensor", "layers": [{"match": "a", "keep": "int3"}]}
    with pytest.raises(RecipeError) as caught:
        recipe_from(table)
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    for told in ("unknown method", "layers.0.keep has an unknown value", "got: granularty"):
        assert sum(told in line for line in lines) == 1


@pytest.mark.parametrize("content", [b"method = ", b'method = "float"\nmethod = "float"', "# 한글".encode("cp949")])
def test_file_that_is_not_toml(tmp_path, content):
    path = tmp_path / "recipe.toml"
    path.write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        Recipe.from_toml(path)
    assert str(caught.value).startswith(f"the recipe is not readable as TOML in {path}; got: ")
    assert len(str(caught.value).splitlines()) == 1


def test_folder_in_the_place_of_a_file(tmp_path):
    with pytest.raises(RecipeError, match="a recipe is a file, and this is a folder"):
        Recipe.from_toml(tmp_path)


def test_missing_file(tmp_path):
    with pytest.raises(RecipeError) as caught:
        Recipe.from_toml(tmp_path / "없음.toml")
    assert str(caught.value) == f"no such recipe file in {tmp_path / '없음.toml'}"


def test_korean_path_and_text(tmp_path):
    path = tmp_path / "양자화 설정" / "동적.toml"
    path.parent.mkdir()
    recipe = Recipe(layers=(LayerRule(match="분류기.*", keep="float"),))
    path.write_text(recipe.to_toml(), encoding="utf-8")
    assert Recipe.from_toml(path) == recipe
    path.write_text('metod = "float"', encoding="utf-8")
    with pytest.raises(RecipeError, match=r"양자화 설정/동적\.toml; got: metod"):
        Recipe.from_toml(path)


def rules(*pairs):
    return Recipe(layers=tuple(LayerRule(match=match, keep=keep) for match, keep in pairs))


def test_kept_as_holds_the_paths_that_a_rule_matches():
    recipe = rules(("*.attention.*", "float"))
    assert kept_as(recipe, PATHS) == dict.fromkeys(PATHS[1:3], recipe.layers[0])


def test_kept_as_of_no_rules_is_empty():
    assert kept_as(Recipe(), PATHS) == {}


@pytest.mark.parametrize("keep", ["float", "int8"])
def test_last_match_wins(keep):
    other = "int8" if keep == "float" else "float"
    recipe = rules(("*", other), ("layer.1.*", keep), ("layer.1.nowhere*", keep))
    with pytest.raises(RecipeError):
        kept_as(recipe, PATHS)
    decided = kept_as(rules(("*", other), ("layer.1.*", keep)), PATHS)
    assert {path: rule.keep for path, rule in decided.items()} == {
        path: keep if path.startswith("layer.1.") else other for path in PATHS
    }
    decided = kept_as(rules(("layer.1.*", keep), ("*", other)), PATHS)
    assert {rule.keep for rule in decided.values()} == {other}


def test_pattern_is_a_glob_on_the_whole_path_and_knows_case():
    assert list(kept_as(rules(("layer.?.attention.output.dense", "float")), PATHS)) == PATHS[1:3]
    assert list(kept_as(rules(("layer.[!0].*", "float")), PATHS)) == PATHS[2:3]
    for pattern in ("dense", "Classifier", "layer"):
        with pytest.raises(RecipeError):
            kept_as(rules((pattern, "float")), PATHS)


def test_patterns_that_match_nothing_are_errors_a_line_each():
    with pytest.raises(RecipeError) as caught:
        kept_as(rules(("clasifier", "float"), ("classifier", "float"), ("zzz", "int8")), PATHS)
    first, second = str(caught.value).splitlines()
    assert "a layer rule matches nothing; got: clasifier" in first
    assert "did you mean 'classifier'?" in first
    assert "got: zzz" in second
    assert "did you mean" not in second


@pytest.mark.parametrize(
    ("setting", "owner"),
    [
        ({"observer": "mse"}, "static"),
        ({"percentile": 99.9}, "static"),
        ({"storage": "float16"}, "float"),
        ({"bits": 4}, "weight-only"),
        ({"block": 64}, "weight-only"),
        ({"products": "float"}, "weight-only"),
    ],
)
def test_a_setting_of_another_method_is_refused(setting, owner):
    with pytest.raises(RecipeError) as caught:
        recipe_from({"method": "dynamic"} | setting, where="a.toml")
    name = next(iter(setting))
    assert str(caught.value) == f"{name} is a setting of the method {owner}, and this is dynamic in a.toml"
    assert recipe_from({"method": owner} | setting)


@pytest.mark.parametrize("setting", [{"bits": 4}, {"block": 32}, {"layers": [{"match": "*", "keep": "int4"}]}])
def test_products_in_float_are_of_8_bits(setting):
    with pytest.raises(RecipeError, match="of weights of 8 bits with one scale per output channel"):
        recipe_from({"method": "weight-only", "products": "float"} | setting)


def test_layers_in_16_bits_are_for_graphs():
    rule = {"layers": [{"match": "*", "keep": "float16"}]}
    assert recipe_from(rule).layers[0].keep == "float16"
    with pytest.raises(RecipeError, match="stored in 16 bits in the format onnx, and this is torch"):
        recipe_from(rule | {"format": "torch"})


@pytest.mark.parametrize("setting", [{"smoothing": 0.7}, {"bias_correction": False}])
def test_what_is_learnt_from_examples_is_a_setting_of_both_methods_that_learn_it(setting):
    name = next(iter(setting))
    for method in ("static", "dynamic"):
        assert recipe_from({"method": method} | setting).calibrates
    assert recipe_from({"own_sentences": True} | setting)
    for other in ({"method": "weight-only"}, {"method": "dynamic", "format": "torch"}):
        with pytest.raises(RecipeError, match=f"{name} is a setting of"):
            recipe_from(other | setting)
