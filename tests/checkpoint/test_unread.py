"""What the folder says and the model does not do: weights without a place, settings that no code reads."""

import json
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import octavo
from octavo.checkpoint.model import load_model
from octavo.checkpoint.source import Checkpoint, read_source
from octavo.errors import CheckpointError, OctavoWarning
from octavo.reporting.card import ignored_note

SHARED = Path(__file__).resolve().parents[3] / "shared" / "models"
PLACES = [path.parent for path in sorted(SHARED.rglob("config.json")) if (path.parent / "model.safetensors").exists()]


@pytest.fixture
def folder(checkpoint, tmp_path):
    return Path(shutil.copytree(checkpoint("bert"), tmp_path / "bert"))


def change(folder, **settings):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | settings), encoding="utf-8")


def add(folder, *names, shape=(3,), gone=()):
    tensors = {name: each for name, each in load_file(folder / "model.safetensors").items() if name not in gone}
    save_file(tensors | {name: torch.ones(shape) for name in names}, folder / "model.safetensors", {"format": "pt"})


def load(folder, task=None, ignore=()):
    return load_model(read_source(Checkpoint(folder, task, ignore_weights=ignore)))


def refused(folder, match, **settings):
    with pytest.raises(CheckpointError, match=match) as caught:
        load(folder, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Weights


@pytest.mark.parametrize(
    "name",
    [
        "transitions",  # of a CRF
        "crf.start_transitions",
        "dense.weight",  # a head of the user's own
        "bert.encoder.layer.0.attention.self.distance_embedding.weight",  # of relative positions
        "bert.encoder.layer.0.output.adapters.task.adapter_down.0.weight",
        "bert.encoder.layer.0.attention.self.query.lora_A.default.weight",
        "bert.encoder.layer.7.output.dense.weight",  # a layer more than the config has
        "bert.embeddings.sentiment_embeddings.weight",
        "classifier.out_proj.weight",
    ],
)
def test_a_weight_without_a_place_is_an_error(folder, name):
    add(folder, name)
    message = refused(
        folder, f"1 weights of the checkpoint have no place in BertForSequenceClassification.*got: {name};"
    )
    assert f"--ignore-weights '{name}'" in message


def test_many_of_them_are_one_short_line(folder):
    add(folder, *(f"한국어.{number}" for number in range(9)))
    message = refused(folder, "9 weights of the checkpoint have no place")
    assert "got: 한국어.0, 한국어.1, 한국어.2, 한국어.3, ... (9 in all);" in message


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("bert.embeddings.position_ids", (1, 64)),
        ("cls.predictions.transform.dense.weight", (48, 48)),
        ("cls.seq_relationship.bias", (2,)),
        ("lm_head.bias", (9,)),
        ("discriminator_predictions.dense.weight", (48, 48)),
        ("generator_lm_head.bias", (9,)),
        ("bert.encoder.layer.0.attention.rotary_emb.inv_freq", (6,)),
        ("bert.encoder.layer.0.attn.attention.bias", (1, 1, 64, 64)),
        ("bert.encoder.layer.0.attn.masked_bias", ()),
    ],
)
def test_what_changes_nothing_is_no_error(folder, name, shape):
    before = load(folder).state_dict()
    add(folder, name, shape=shape)
    assert all(torch.equal(each, before[name]) for name, each in load(folder).state_dict().items())


def test_a_bias_of_attention_is_no_mask(folder):
    add(folder, "bert.encoder.layer.0.attn.attention.bias", shape=(48,))
    refused(folder, "1 weights of the checkpoint have no place")


def test_a_word_head_counts_where_the_task_is_to_fill_in_words(make_checkpoint, tmp_path):
    folder = make_checkpoint("bert", tmp_path / "mlm", "BertForMaskedLM")
    add(folder, "cls.seq_relationship.bias", "bert.pooler.dense.bias")
    load(folder)
    add(folder, "cls.predictions.more.weight")
    refused(folder, "1 weights of the checkpoint have no place in BertForMaskedLM.*got: cls.predictions.more.weight;")


def test_vectors_of_a_classifier_leave_its_head_and_nothing_else(folder):
    assert "classifier.weight" in load_file(folder / "model.safetensors")
    load(folder, task="feature-extraction")
    add(folder, "crf.transitions", "bert.encoder.more")
    refused(folder, "1 weights of the checkpoint have no place.*got: bert.encoder.more;", task="feature-extraction")
    change(folder, architectures=["BertModel"])  # now nothing says that there is a head to leave
    refused(
        folder,
        "4 weights of the checkpoint have no place.*got: bert.encoder.more, classifier.bias,",
        task="feature-extraction",
    )


def test_missing_and_unread_weights_are_told_together(folder):
    add(folder, "classifier.dense.weight", gone=("classifier.weight",))
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    first, second = str(caught.value).splitlines()
    assert first.startswith("1 weights of BertForSequenceClassification are missing")
    assert "got: classifier.dense.weight;" in second


def test_weights_are_ignored_by_pattern_and_told(folder, tmp_path):
    add(folder, "crf.transitions", "crf.start", "dense.weight")
    refused(folder, "1 weights of the checkpoint have no place.*got: dense.weight;", ignore=("crf.*",))
    patterns = ("crf.*", "dense.weight")
    source = read_source(Checkpoint(folder, ignore_weights=patterns))
    assert source.ignored == ("crf.start", "crf.transitions", "dense.weight")
    made = octavo.quantize(Checkpoint(folder, ignore_weights=patterns), tmp_path / "out", recipe="float")
    assert made.manifest.source.ignored_weights == source.ignored
    assert ignored_note(source.ignored) in (made.folder / "README.md").read_text(encoding="utf-8")
    assert "`crf.start`, `crf.transitions`, `dense.weight`." in ignored_note(source.ignored)
    assert "and 2 more." in ignored_note([f"w{number}" for number in range(12)])


@pytest.mark.parametrize(
    ("pattern", "match"),
    [
        ("crf.*", r"matches no weight of the checkpoint in .*; got: crf.\*; allowed: none: every weight is taken"),
        ("classifier.*", "names weights that BertForSequenceClassification takes in .*; got: classifier.bias, "),
    ],
)
def test_patterns_that_are_wrong(folder, pattern, match):
    refused(folder, match, ignore=(pattern,))


# Settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("position_embedding_type", "relative_key"),
        ("position_embedding_type", "relative_key_query"),
        ("position_embedding_type", "alibi"),
        ("relative_attention", True),
        ("rope_theta", 10000.0),
        ("sliding_window", 16),
        ("activation_function", "relu"),
        ("use_crf", True),
        ("pruned_heads", {"0": [1]}),
    ],
)
def test_a_setting_that_the_class_does_not_read_is_an_error(folder, name, value):
    change(folder, **{name: value})
    refused(folder, f"settings of config.json that BertForSequenceClassification does not read.*got: {name} ")


@pytest.mark.parametrize(
    "settings",
    [
        {"position_embedding_type": "absolute", "relative_attention": False, "pruned_heads": {}, "alibi": None},
        {"hidden_act": "relu", "activation_function": "gelu", "layer_norm_eps": 1e-6, "sliding_window": 4096},
        {"pooler_fc_size": 768, "pooler_type": "first_token_transform", "directionality": "bidi", "output_past": True},
        {"gradient_checkpointing": True, "finetuning_task": "nli", "_name_or_path": "x", "torch_dtype": "float32"},
        {"top_k": 5, "max_length": 20, "task_specific_params": {"a": 1}, "summary_type": "first", "n_ctx": 64},
    ],
)
def test_a_setting_that_is_read_or_means_nothing_is_no_error(folder, settings):
    change(folder, **settings)
    load(folder)


def test_a_setting_that_nobody_knows_is_a_warning(folder):
    change(folder, hierarchical_head="attention", 비고="한국어", empty=None)
    with pytest.warns(
        OctavoWarning, match="does not read these settings.*: hierarchical_head 'attention', 비고 '한국어'"
    ):
        load(folder)


def test_a_class_that_transformers_does_not_have_is_a_warning(folder):
    change(folder, architectures=["OwnBertForSequenceClassification"])
    with pytest.warns(OctavoWarning, match="the class OwnBertForSequenceClassification, which transformers does not"):
        load(folder)


# What transformers may be asked beside an answer


def test_settings_of_convenience_reach_neither_the_model_nor_the_artifact(folder, tmp_path):
    expected = octavo.load(folder)("공원에서 놀고 있다")
    asked = {"output_hidden_states": True, "output_attentions": True, "return_dict": False, "torchscript": True}
    change(folder, use_cache=True, chunk_size_feed_forward=5, **asked)
    assert octavo.load(folder)("공원에서 놀고 있다") == expected
    for recipe in ({"method": "float"}, {"method": "dynamic", "format": "torch"}):
        made = octavo.quantize(folder, tmp_path / recipe["method"], recipe=octavo.Recipe(**recipe))
        assert not asked.keys() & json.loads((made.folder / "config.json").read_text(encoding="utf-8")).keys()
        found = octavo.load(made.folder)("공원에서 놀고 있다")
        assert found[0]["score"] == pytest.approx(expected[0]["score"], abs=0.1)


def test_a_kernel_that_is_not_installed_is_not_asked_for(folder):
    change(folder, _attn_implementation="flash_attention_2")
    assert load(folder).config._attn_implementation == "sdpa"


# Checkpoints of others


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_real_checkpoints_load_without_a_word(place):
    with warnings.catch_warnings():
        warnings.simplefilter("error", OctavoWarning)
        load(place)


def test_no_table_of_positions_is_what_modernbert_does(folder, tmp_path):
    """mmBERT's config says "sans_pos": without a table of positions, which rotary ones replace."""
    import transformers

    size = {"vocab_size": 252, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "pad_token_id": 0}
    config = transformers.ModernBertConfig(num_attention_heads=2, max_position_embeddings=64, **size)
    place = tmp_path / "modern"
    transformers.ModernBertForSequenceClassification(config).save_pretrained(place)
    for file in folder.glob("tokenizer*"):
        shutil.copy(file, place)
    change(place, position_embedding_type="sans_pos")
    load(place)


def test_a_pooler_is_harmless_wherever_it_stands(folder):
    add(folder, "bert.question_encoder.bert_model.pooler.dense.bias")
    load(folder)
