"""The reference of an export: an object of its own, asked before, on both sides of whatever a config names."""

from types import SimpleNamespace

import numpy as np
import pytest
import transformers

import octavo
from octavo.checkpoint.source import read_source
from octavo.exporting import exporter, float_graphs
from octavo.exporting.original import Original
from octavo.exporting.reference import (
    describe_sizes,
    require_near,
    require_stateless,
    shapes,
    sizes_in,
    threshold_lengths,
)
from octavo.progress import Silent
from octavo.schema.recipe import Recipe


@pytest.fixture(scope="module")
def bigbird(tmp_path_factory, tiny_parts):
    """A function of settings: a BigBird, whose long texts are read in blocks, and its limit is 64."""
    import torch

    def make(**settings):
        folder = tmp_path_factory.mktemp("bigbird") / "model"
        words = tiny_parts.word_pieces("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
        limit = settings.pop("model_max_length", 64)
        torch.manual_seed(0)
        config = transformers.BigBirdConfig(
            vocab_size=len(words), hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
            max_position_embeddings=64, num_labels=2, block_size=4, num_random_blocks=1, pad_token_id=0, **settings,
        )  # fmt: skip
        model = transformers.BigBirdForSequenceClassification(config)
        for name, parameter in model.named_parameters():
            parameter.data.normal_(1 if "LayerNorm.weight" in name else 0, 0.3)
        transformers.logging.disable_progress_bar()
        model.save_pretrained(folder)
        transformers.BertTokenizer(vocab=words, strip_accents=False, model_max_length=limit).save_pretrained(folder)
        return folder

    return make


def test_a_model_that_changes_with_what_it_reads_is_refused_by_name(bigbird, tmp_path):
    with pytest.raises(octavo.ExportError) as caught:
        octavo.quantize(bigbird(attention_type="block_sparse"), tmp_path / "out", recipe="float")
    told = str(caught.value)
    assert "BigBirdForSequenceClassification answers a text otherwise after shorter ones" in told
    assert "at 1 x 64, and block_size 4 in config.json" in told
    assert 'attention_type "original_full"' in told
    assert "\n" not in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("way_out", [{"attention_type": "original_full"}, {"model_max_length": 28}])
def test_what_the_refusal_says_to_do_works(bigbird, tmp_path, way_out):
    """With blocks of 4 and one random one BigBird attends to all of up to (5 + 2) * 4 tokens."""
    folder = bigbird(**{"attention_type": "block_sparse"} | way_out)
    made = octavo.quantize(folder, tmp_path / "out", recipe="float")
    rows = ["공원에서 놀고 있다 " * 3, "아무도 없다", "the quick brown fox " * 12]
    found = octavo.load(made.folder)(rows)
    for row, answer in zip(rows, found, strict=True):  # a model loaded anew for each
        expected = octavo.load(folder)([row])[0]
        assert answer["label"] == expected["label"]
        assert answer["score"] == pytest.approx(expected["score"], abs=1e-4)


def test_the_model_that_is_asked_is_not_the_one_that_is_exported(checkpoint, monkeypatch):
    """An export that spoils its model is found out, and the model that is kept is whole."""
    exported = []
    honest = exporter.run_exporter

    def spoil(model, sample, opset):
        exported.append(model)
        graph = honest(model, sample, opset)
        model.classifier.out_features = 7
        model.config.num_labels = 99
        model.bert.encoder = None
        return graph

    monkeypatch.setattr(exporter, "run_exporter", spoil)
    floats = octavo.export(checkpoint("bert"), exporter=True)
    assert len(exported) == 1
    assert exported[0] is not floats.model
    assert floats.model.config.num_labels == 3
    inputs = {name: np.ones((1, 5), np.int64) for name in floats.source.signature.input_names}
    assert np.isfinite(floats.reference().run(inputs)).all()
    weights = dict(floats.model.named_parameters())
    for name, parameter in exported[0].named_parameters():
        assert parameter.data_ptr() == weights[name].data_ptr(), name  # one copy in memory


def test_an_export_that_changes_the_model_for_good_does_not_pass(checkpoint, monkeypatch):
    """What the same object would answer afterwards is what the graph answers; the reference answers otherwise."""
    honest = exporter.run_exporter

    def turn(model, sample, opset):
        model.bert.encoder.layer = model.bert.encoder.layer[:1]  # as BigBird changes its attention
        return honest(model, sample, opset)

    monkeypatch.setattr(exporter, "run_exporter", turn)
    source = read_source(checkpoint("bert"))
    with pytest.raises(octavo.ExportError, match="differs from torch at 1 x 1"):
        float_graphs.prove(source, Original(source), Recipe(opset=23), Silent(), exporter=True)


def test_lengths_are_on_both_sides_of_every_size_in_a_config():
    config = {
        "block_size": 8, "attention_window": [16, 16, 32], "hidden_size": 20, "vocab_size": 30, "use_window": True,
        "rope_parameters": {"original_max_position_embeddings": 40}, "label2id": {"block": 11}, "window": None,
    }  # fmt: skip
    assert sizes_in(config, 64) == {
        "block_size": [8], "attention_window": [16, 32], "original_max_position_embeddings": [40],
    }  # fmt: skip
    assert threshold_lengths(config, 64) == [8, 9, 16, 17, 32, 33, 40, 41, 63]
    assert threshold_lengths(config, 16) == [8, 9, 15]
    assert shapes(config, 64)[-1] == (1, 64)
    assert {(2, 40), (2, 41), (1, 1), (3, 9)} < set(shapes(config, 64))
    assert describe_sizes({"block_size": 8}) == "block_size 8"


def test_without_sizes_nothing_more_is_asked():
    assert shapes({"hidden_size": 20, "max_position_embeddings": 512}, 512) == [(1, 1), (1, 12), (3, 9), (1, 512)]
    assert shapes({}, 4) == [(1, 1), (1, 4), (3, 4)]


def test_the_cost_is_bounded():
    many = {f"window_{size}": size for size in range(2, 4000, 7)}
    asked = shapes(many, 4096)
    assert len(asked) <= 16
    assert all(rows * length <= 4096 for rows, length in asked)


def test_a_model_without_a_state_passes_and_noise_does_not():
    model = SimpleNamespace(config=SimpleNamespace(to_dict=dict))
    before = np.ones((1, 3), np.float32)
    require_stateless(model, before, before + np.float32(1e-6), "1 x 64")
    with pytest.raises(octavo.ExportError, match="SimpleNamespace answers a text otherwise after shorter ones"):
        require_stateless(model, before, before + np.float32(0.01), "1 x 64")


def test_a_difference_at_long_texts_only_tells_up_to_where_they_agree():
    from octavo.exporting.reference import describe_agreement

    advice = describe_agreement(28, 64, {"block_size": 4})
    with pytest.raises(octavo.ExportError) as caught:
        require_near(0.5, 1.0, "1 x 64", advice)
    assert str(caught.value).endswith(
        "next: lower model_max_length in tokenizer_config.json, as they agree up to 28 tokens (config.json has "
        "block_size 4)"
    )
    assert describe_agreement(12, 9, {}) == describe_agreement(0, 9, {}) == ""
