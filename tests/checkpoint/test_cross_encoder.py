"""Folders of CrossEncoders, and encoders that a config names: the scores and vectors that their own library gives."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import octavo
from octavo.checkpoint.source import Checkpoint, read_source
from octavo.errors import CheckpointError
from octavo.schema.recipe import Recipe

PAIRS = [("공원에서 놀고 있다", "아무도 없다"), ("the quick fox", "jumps"), ("영화가 좋았다", "영화가 좋았다")]
TORCH = {
    "Identity": torch.nn.Identity(),
    "Sigmoid": torch.nn.Sigmoid(),
    "Softmax": torch.nn.Softmax(dim=-1),
}


@pytest.fixture
def folder(checkpoint, tmp_path):
    """A function of a number of labels: BERT as a CrossEncoder of sentence-transformers 6 writes it."""

    def make(labels):
        folder = Path(shutil.copytree(checkpoint("bert"), tmp_path / f"bert{labels}"))
        tensors = load_file(folder / "model.safetensors")
        head = {name: tensors[name][:labels].clone() for name in ("classifier.weight", "classifier.bias")}
        save_file(tensors | head, folder / "model.safetensors", {"format": "pt"})
        names = {str(number): f"LABEL_{number}" for number in range(labels)}
        change(folder, "config.json", id2label=names, label2id={name: int(key) for key, name in names.items()})
        modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.base.modules.Transformer"}]
        (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
        settings = {"model_type": "CrossEncoder", "prompts": {}, "default_prompt_name": None}
        change(folder, "config_sentence_transformers.json", **settings)
        return folder

    return make


def change(folder, name, **settings):
    file = folder / name
    stored = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    file.write_text(json.dumps(stored | settings), encoding="utf-8")


def logits(folder):
    import transformers

    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        return torch.cat([model(**tokenizer(*pair, return_tensors="pt")).logits for pair in PAIRS])


@pytest.mark.parametrize(
    ("labels", "stored", "wanted"),
    [
        (1, {}, "Sigmoid"),  # sentence-transformers' default
        (1, {"activation_fn": "torch.nn.modules.linear.Identity"}, "Identity"),
        (1, {"activation_fn": "torch.nn.modules.activation.Sigmoid"}, "Sigmoid"),
        (3, {"activation_fn": "torch.nn.modules.activation.Sigmoid"}, "Sigmoid"),
        (3, {"activation_fn": "torch.nn.modules.activation.Softmax"}, "Softmax"),
        (3, {"activation_fn": "torch.nn.modules.linear.Identity"}, "Softmax"),  # the default: the pipeline's scores
    ],
)
def test_scores_have_the_activation_of_the_folder(folder, labels, stored, wanted):
    folder = folder(labels)
    change(folder, "config_sentence_transformers.json", **stored)
    expected = TORCH[wanted](logits(folder)).numpy()
    for task in (None, "text-classification"):
        found = octavo.load(Checkpoint(folder, task))(PAIRS)
        assert [one["score"] for one in found] == pytest.approx(expected.max(axis=1).tolist(), abs=1e-5)
        assert [one["label"] for one in found] == [f"LABEL_{index}" for index in expected.argmax(axis=1)]


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}}, "Identity"),
        ({"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"}, "Identity"),
        ({"problem_type": "regression"}, "Identity"),  # no activation is stored: the pipeline's scores
        ({"problem_type": "regression", "sentence_transformers": {"activation_fn": "torch.nn.Sigmoid"}}, "Sigmoid"),
        ({}, "Sigmoid"),
    ],
)
def test_older_ones_have_no_modules_and_an_activation_in_the_config(folder, settings, wanted):
    folder = folder(1)
    for name in ("modules.json", "config_sentence_transformers.json"):
        (folder / name).unlink()
    change(folder, "config.json", **settings)
    found = [one["score"] for one in octavo.load(folder)(PAIRS)]
    assert found == pytest.approx(TORCH[wanted](logits(folder))[:, 0].tolist(), abs=1e-5)


def test_modules_of_a_classifier_alone_are_enough(folder):
    folder = folder(1)
    (folder / "config_sentence_transformers.json").unlink()
    assert read_source(folder).signature.task == "text-classification"


@pytest.mark.parametrize(
    ("name", "settings", "match"),
    [
        ("config_sentence_transformers.json", {"activation_fn": "torch.nn.Tanh"}, "got: activation_fn torch.nn.Tanh;"),
        ("config_sentence_transformers.json", {"activation_fn": "own.Sigmoid"}, "got: activation_fn own.Sigmoid;"),
        ("config_sentence_transformers.json", {"prompts": {"질문": "질문: "}, "default_prompt_name": "질문"}, "질문"),
        ("sentence_bert_config.json", {"do_lower_case": True}, "do_lower_case"),
    ],
)
def test_what_is_not_carried_over_is_refused_by_name(folder, name, settings, match):
    folder = folder(1)
    change(folder, name, **settings)
    with pytest.raises(CheckpointError, match=f"this CrossEncoder is not carried over in .*{match}"):
        read_source(folder)


def test_modules_behind_the_transformer_are_refused_by_name(folder):
    folder = folder(1)
    modules = [{"path": "", "type": "x.Transformer"}, {"path": "1_LogitScore", "type": "x.LogitScore"}]
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    with pytest.raises(CheckpointError, match="got: the modules Transformer, LogitScore; allowed: Transformer alone"):
        read_source(folder)


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    """A function of a class of T5: the folder of an embedder, and the vectors that torch gives."""
    import transformers

    words = list("abcdef")
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((f"▁{word}", -3.0) for word in words)]
    tokenizer = transformers.T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=32)
    sizes = {"d_model": 32, "d_kv": 16, "d_ff": 32, "num_layers": 1, "num_heads": 2, "decoder_start_token_id": 0}

    def make(name):
        config = transformers.T5Config(vocab_size=len(tokenizer), **sizes)
        folder = tmp_path_factory.mktemp("t5") / name
        torch.manual_seed(2)
        model = getattr(transformers, name)(config).eval()
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling/config.json").write_text('{"pooling_mode_mean_tokens": true}', encoding="utf-8")
        kinds = (("", "Transformer"), ("1_Pooling", "Pooling"))
        modules = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds]
        (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
        texts = ["a b c", "f e d c"]
        inputs = [tokenizer(text, return_tensors="pt").input_ids for text in texts]
        with torch.no_grad():
            vectors = [model.encoder(one).last_hidden_state[0].mean(0).numpy() for one in inputs]
        return folder, texts, np.stack(vectors)

    return make


@pytest.mark.parametrize("name", ["T5EncoderModel", "T5ForConditionalGeneration"])
def test_an_embedder_is_the_encoder(t5, name):
    folder, texts, expected = t5(name)
    np.testing.assert_allclose(octavo.load(folder)(texts), expected, atol=1e-5)


@pytest.mark.parametrize("recipe", [Recipe(method="float"), Recipe(method="dynamic", format="torch")])
def test_an_encoder_is_made_in_both_formats(t5, recipe, tmp_path):
    folder, texts, expected = t5("T5EncoderModel")
    made = octavo.quantize(folder, tmp_path / "out", recipe=recipe)
    np.testing.assert_allclose(
        octavo.load(made.folder)(texts), expected, atol=1e-4 if recipe.method == "float" else 0.1
    )
