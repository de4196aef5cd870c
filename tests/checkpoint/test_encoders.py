"""What is known of encoders without transformers is what transformers says of them."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import transformers

import octavo
from octavo.checkpoint.config import fill_config, read_config
from octavo.checkpoint.encoders import CLASSES, DEFAULTS, beyond, filled
from octavo.checkpoint.plain_tokenizer import read_plain_tokenizer
from octavo.checkpoint.tokenizer import read_tokenizer

FAMILIES = ("bert", "distilbert", "roberta", "xlm-roberta", "electra", "albert", "camembert", "klue-roberta")


@pytest.fixture
def folder(checkpoint, tmp_path):
    """A checkpoint that may be changed."""
    return Path(shutil.copytree(checkpoint("bert"), tmp_path / "bert"))


def change(file, **settings):
    table = json.loads(file.read_text(encoding="utf-8")) | settings
    file.write_text(json.dumps(table, ensure_ascii=False), encoding="utf-8")


@pytest.mark.parametrize("kind", DEFAULTS)
def test_defaults_are_those_of_the_class(kind):
    config = getattr(transformers, f"{CLASSES[kind]}Config")().to_dict()
    own = {name: value for name, value in config.items() if name in DEFAULTS[kind]}
    assert own == DEFAULTS[kind]
    # What else the class has changes nothing that is computed, or is refused where it says something.
    del config["model_type"]
    assert beyond({"model_type": kind} | config, Path("nowhere")) is None


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_is_read_as_transformers_reads_it(checkpoint, family):
    folder = checkpoint(family)
    stored = read_config(folder)
    assert beyond(stored, folder) is None
    theirs, ours = fill_config(folder, stored), filled(stored)
    assert {name: theirs[name] for name in DEFAULTS[stored["model_type"]]} == {
        name: ours[name] for name in DEFAULTS[stored["model_type"]]
    }
    assert {int(key): name for key, name in theirs["id2label"].items()} == {
        int(key): name for key, name in ours["id2label"].items()
    }
    assert asdict(read_plain_tokenizer(folder)) == asdict(read_tokenizer(folder))


@pytest.mark.parametrize("count", [{}, {"num_labels": 4}])
def test_labels_that_the_config_does_not_name(folder, count):
    stored = {name: value for name, value in read_config(folder).items() if name not in {"id2label", "label2id"}}
    (folder / "config.json").write_text(json.dumps(stored | count), encoding="utf-8")
    names = {int(key): name for key, name in filled(read_config(folder))["id2label"].items()}
    assert names == {int(key): name for key, name in fill_config(folder, stored)["id2label"].items()}
    assert len(names) == count.get("num_labels", 2)


@pytest.mark.parametrize(
    "settings",
    [
        {"model_type": "modernbert"}, {"model_type": ["bert"]}, {"position_embedding_type": "relative_key"},
        {"is_decoder": True}, {"add_cross_attention": True}, {"pruned_heads": {"0": [1]}}, {"hidden_act": "silu"},
        {"hidden_act": ["gelu"]}, {"hidden_size": "48"}, {"layer_norm_eps": None}, {"tie_word_embeddings": "yes"},
        {"pad_token_id": None}, {"num_hidden_layers": True}, {"alibi": True}, {"auto_map": {"AutoModel": "x.Y"}},
        {"architectures": ["OurBert"]}, {"architectures": ["RobertaForMaskedLM"]}, {"embedding_size": 16},
        {"our_own_setting": 1}, {"is_encoder_decoder": True},
    ],
    ids=str,
)  # fmt: skip
def test_a_setting_that_is_not_known_is_named(settings):
    config = {"model_type": "bert", "architectures": ["BertForSequenceClassification"], "hidden_dropout_prob": 0.3}
    assert beyond(config, Path("nowhere")) is None
    told = beyond(config | settings, Path("nowhere"))
    assert told is not None
    (name,) = settings
    assert name in told or "class" in told


@pytest.mark.parametrize("name", ["adapter_config.json", "model_head.pkl"])
def test_a_file_that_changes_a_model_is_named(folder, name):
    (folder / name).write_text("{}", encoding="utf-8")
    assert beyond(read_config(folder), folder) == name


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"tokenizer_class": "PreTrainedTokenizerFast"}, "the class of the tokenizer.*got: 'PreTrainedTokenizerFast'"),
        ({"additional_special_tokens": ["<새것>"]}, "tokens are not in tokenizer.json.*got: <새것>"),
        ({"mask_token": {"content": "<가림>"}}, "tokens are not in tokenizer.json.*got: <가림>"),
    ],
)
def test_a_tokenizer_that_needs_transformers_says_why(folder, settings, told):
    change(folder / "tokenizer_config.json", **settings)
    with pytest.raises(octavo.MissingExtraError, match=told) as caught:
        read_plain_tokenizer(folder)
    assert "pip install 'octavo[convert]'" in str(caught.value)


def test_the_limit_of_an_older_tokenizer(folder):
    file = folder / "tokenizer_config.json"
    settings = json.loads(file.read_text(encoding="utf-8"))
    settings.pop("model_max_length", None)
    file.write_text(json.dumps(settings | {"max_len": 17}, ensure_ascii=False), encoding="utf-8")
    assert read_plain_tokenizer(folder).max_length == read_tokenizer(folder).max_length == 17


def test_a_vocabulary_alone_needs_transformers(folder):
    (folder / "tokenizer.json").rename(folder / "vocab.txt")
    with pytest.raises(octavo.MissingExtraError, match=r"the tokenizer has no tokenizer\.json"):
        read_plain_tokenizer(folder)


def test_a_tokenizer_that_its_settings_contradict_is_warned_of(folder):
    change(folder / "tokenizer_config.json", do_lower_case=False)
    with pytest.warns(octavo.OctavoWarning, match=r"another do_lower_case than tokenizer_config.json$"):
        read_plain_tokenizer(folder)


def test_a_sentencepiece_model_that_is_not_looked_at_is_told(folder):
    (folder / "spiece.model").write_bytes(b"")
    with pytest.warns(
        octavo.OctavoWarning, match="was not held against spiece.model, for which sentencepiece is needed"
    ):
        read_plain_tokenizer(folder)
