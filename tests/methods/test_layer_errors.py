import numpy as np
import pytest

import octavo
from octavo.artifact.folder import open_artifact
from octavo.errors import InputError, RecipeError
from octavo.graph.reading import read_graph
from octavo.inference.opening import open_artifact_model
from octavo.methods import Context
from octavo.methods.layer_errors import TEXTS, TOKENS, layer_errors, single_rows
from octavo.pipeline.measuring import measure_layers

RECIPES = {
    "dynamic": octavo.Recipe(method="dynamic"),
    "static": octavo.Recipe(method="static", smoothing=0.5),
}


@pytest.fixture(scope="module")
def checkpoint(make_checkpoint, tmp_path_factory):
    return make_checkpoint("bert", tmp_path_factory.mktemp("layers") / "bert")


@pytest.fixture(scope="module")
def made(checkpoint, tmp_path_factory, sentences):
    folder = tmp_path_factory.mktemp("made")
    (folder / "texts.txt").write_text("\n".join(sentences), encoding="utf-8")
    with pytest.warns(octavo.OctavoWarning, match="few to calibrate on"):
        return {
            name: octavo.quantize(
                checkpoint,
                folder / name,
                recipe=recipe,
                calibration=folder / "texts.txt" if name == "static" else None,
            )
            for name, recipe in RECIPES.items()
        }


@pytest.mark.parametrize("method", RECIPES)
def test_every_int8_layer_has_its_error(made, method):
    layers = made[method].manifest.layers
    assert len(layers) > 10
    for layer in layers:
        if layer.dtype == "int8":
            assert 8 < layer.output_db < 70, layer
    assert open_artifact(made[method].folder).manifest.layers == layers


def test_a_float_artifact_has_none(demo_float):
    assert {layer.output_db for layer in open_artifact(demo_float).manifest.layers} == {None}


@pytest.mark.parametrize("method", RECIPES)
def test_the_error_is_that_of_the_layers_outputs_in_torch(made, checkpoint, method, sentences):
    """The classifier's output is the model's: its error, by hand from torch's logits and the artifact's."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    batches, expected, found = [], [], []
    session = open_artifact_model(made[method])
    for text in sentences:
        one = tokenizer(text, return_tensors="np")
        inputs = {name: np.asarray(one[name], np.int64) for name in ("input_ids", "attention_mask", "token_type_ids")}
        batches.append(inputs)
        with torch.no_grad():
            expected.append(model(**{name: torch.from_numpy(array) for name, array in inputs.items()}).logits.numpy())
        found.append(session.run(inputs))
    expected, found = np.concatenate(expected), np.concatenate(found)
    by_hand = 10 * np.log10(np.sum(expected**2) / np.sum((expected - found) ** 2))
    float_model = octavo.quantize(checkpoint, made[method].folder.parent / f"{method}-float", recipe="float")
    given = Context(octavo.hardware.find_target("any"), tuple(batches))
    errors = layer_errors(read_graph(float_model.model_file), read_graph(made[method].model_file), given)
    assert errors["classifier"] == pytest.approx(by_hand, abs=0.3)


@pytest.mark.parametrize("method", RECIPES)
def test_measured_anew_against_the_checkpoint(made, checkpoint, method):
    """On other texts than those that were stored, but of the same order, folded smoothing factors or not."""
    stored = {layer.path: layer.output_db for layer in made[method].manifest.layers}
    anew = {layer.path: layer.output_db for layer in measure_layers(made[method], checkpoint)}
    assert anew.keys() == stored.keys()
    both = [path for path in stored if stored[path] is not None]
    assert np.mean([abs(stored[path] - anew[path]) for path in both]) < 4
    assert {path for path in anew if anew[path] is not None} == set(both)


def test_a_randomized_layer_stands_out(made, checkpoint, make_checkpoint, tmp_path):
    from safetensors.torch import load_file, save_file

    other = make_checkpoint("bert", tmp_path / "bert")
    tensors = load_file(other / "model.safetensors")
    name = "bert.encoder.layer.1.output.dense.weight"
    tensors[name] = tensors[name].flip(0)
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    errors = {layer.path: layer.output_db for layer in measure_layers(made["dynamic"], other)}
    assert errors["bert.encoder.layer.1.output.dense"] < 3
    assert errors["bert.encoder.layer.1.intermediate.dense"] > 10


def test_another_checkpoint_is_refused(made, make_checkpoint, tmp_path):
    other = make_checkpoint("distilbert", tmp_path / "distilbert")
    with pytest.raises(InputError, match="made from a checkpoint with other layers"):
        measure_layers(made["dynamic"], other)


def test_rows_are_without_padding_and_no_more_than_are_needed():
    mask = np.array([[1, 1, 1, 0], [1, 1, 1, 1]])
    ids = np.arange(8).reshape(2, 4)
    rows = single_rows([{"input_ids": ids, "attention_mask": mask}])
    assert sorted(row["input_ids"].tolist() for row in rows) == [[[0, 1, 2]], [[4, 5, 6, 7]]]
    for length, rows in ((20, -(-TOKENS // 20)), (TOKENS, TEXTS)):  # long texts: not one alone
        ones = np.ones((4, length), int)
        assert len(single_rows([{"input_ids": ones, "attention_mask": ones}] * 5)) == rows


def test_octavos_own_sentences_bring_dynamic_nearer_too(made, checkpoint, tmp_path, sentences):
    recipe = octavo.Recipe(own_sentences=True)
    own = octavo.quantize(checkpoint, tmp_path / "own", recipe=recipe)
    assert own.manifest.calibration is None
    assert any(layer.smoothing for layer in own.manifest.layers)
    assert not any(layer.smoothing for layer in made["dynamic"].manifest.layers)
    errors = [
        [layer.output_db for layer in one.manifest.layers if layer.kind == "linear"] for one in (own, made["dynamic"])
    ]
    assert np.mean(errors[0]) > np.mean(errors[1])
    (tmp_path / "texts.txt").write_text("\n".join(sentences), encoding="utf-8")
    with pytest.raises(RecipeError, match="own_sentences are Octavo's, and examples of yours were given"):
        octavo.quantize("nowhere", tmp_path / "out", recipe=recipe, calibration=tmp_path / "texts.txt")
