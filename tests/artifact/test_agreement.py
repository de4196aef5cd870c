"""Facts that several files of an artifact tell: where one of them was changed alone, it is not opened."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import octavo
from octavo.artifact.agreement import require_agreement, require_graph, require_labels
from octavo.artifact.folder import open_artifact
from octavo.errors import ArtifactError
from octavo.schema.manifest import MANIFEST
from octavo.schema.signature import Signature

LABELS = ("긍정", "부정", "중립")
SIGNATURE = Signature(
    task="text-classification",
    input_names=("input_ids", "attention_mask"),
    output_names=("logits",),
    max_length=64,
    pad_token_id=1,
    labels=LABELS,
    vocab_size=100,
)
CONFIG = {
    "architectures": ["RobertaForSequenceClassification"],
    "model_type": "roberta",
    "id2label": {"0": "긍정", "1": "부정", "2": "중립"},
    "vocab_size": 100,
    "pad_token_id": 1,
    "max_position_embeddings": 66,
    "layer_norm_eps": 1e-5,
}


@pytest.fixture
def agree(tmp_path):
    """A function of changes to the signature and to the config: whether they agree."""

    def ask(signature=None, **config):
        table = {name: value for name, value in (CONFIG | config).items() if value is not None}
        (tmp_path / "config.json").write_text(json.dumps(table, ensure_ascii=False), encoding="utf-8")
        require_agreement(SIGNATURE.model_copy(update=signature or {}), tmp_path)

    return ask


def test_what_agrees(agree, tmp_path, demo_int8, made_before):
    agree()
    agree({"max_length": 8, "vocab_size": None})
    agree(vocab_size=None, pad_token_id=None, max_position_embeddings=None, id2label=None, architectures=None)
    agree({"vocab_size": 120}, vocab_size=120)  # a table larger than the vocabulary is usual
    for folder in (demo_int8, made_before):
        require_agreement(open_artifact(folder).manifest.signature, folder)
    (tmp_path / "config.json").unlink()
    require_agreement(SIGNATURE, tmp_path)


@pytest.mark.parametrize(
    ("signature", "config", "told"),
    [
        ({"labels": ("긍정", "부정")}, {}, "the labels are others than those of config.json"),
        ({"labels": LABELS[::-1]}, {}, "the labels are others than those of config.json"),
        ({}, {"id2label": {"0": "긍정", "1": "부정", "3": "중립"}}, "the labels are others"),
        ({"labels": ("긍정", "긍정", "중립")}, {"id2label": None}, "labels have to name each output"),
        ({"labels": ("긍정", "", "중립")}, {"id2label": None}, "labels have to name each output"),
        ({"labels": ()}, {}, "labels have to name each output, and no two alike in .*; got: none"),
        ({}, {"vocab_size": 90}, "vocab_size is another one .*; got: 100; allowed: 90"),
        ({"pad_token_id": 0}, {"max_position_embeddings": None}, "pad_token_id is another one .*got: 0; allowed: 1"),
        ({"pad_token_id": 100}, {"pad_token_id": None}, "pad_token_id has no vector .*; allowed: 0 to 99"),
        ({"max_length": 65}, {}, "max_length is above the model's positions .*got: 65; allowed: up to 64"),
        ({"task": "token-classification"}, {}, "the task is another one than that of config.json"),
        ({"task": "fill-mask"}, {"architectures": None}, "mask_token_id does not belong to the task"),
        ({"task": "text-generation"}, {"architectures": None}, "generation does not belong to the task"),
        ({"task": "feature-extraction"}, {"architectures": None}, "pooling does not belong .*allowed: with pooling"),
        ({"output_names": ("last_hidden_state",)}, {}, "the outputs are not those of text-classification"),
        ({}, {"layer_norm_eps": float("nan")}, "a setting of config.json is NaN or infinite .*layer_norm_eps: nan"),
    ],
)
def test_what_does_not(agree, signature, config, told):
    with pytest.raises(ArtifactError, match=told):
        agree(signature, **config)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_a_config_that_is_none(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"config\.json is not"):
        require_agreement(SIGNATURE, tmp_path)


def graph(**shapes):
    return SimpleNamespace(shapes=shapes)


@pytest.mark.parametrize(
    ("signature", "shapes", "told"),
    [
        ({}, {"logits": ("batch", 4)}, r"another number of outputs than labels .*logits \[batch, 4\]; allowed: 3"),
        ({}, {"logits": ("batch", "length", 3)}, "the graph is not one for text-classification"),
        ({}, {"last_hidden_state": ("batch", "length", 8)}, "the graph is not one for text-classification"),
        ({"task": "token-classification"}, {"logits": ("batch", 3)}, "the graph is not one for token-classification"),
    ],
)
def test_a_graph_that_answers_something_else(tmp_path, signature, shapes, told):
    with pytest.raises(ArtifactError, match=told):
        require_graph(SIGNATURE.model_copy(update=signature), graph(**shapes), tmp_path)


@pytest.mark.parametrize("shapes", [{"logits": ("batch", 3)}, {"logits": ("batch", "classes")}, {"logits": ()}, {}])
def test_a_graph_that_fits_or_tells_nothing(tmp_path, shapes):
    require_graph(SIGNATURE, graph(**shapes), tmp_path)


def test_outputs_and_labels():
    require_labels(np.zeros((2, 3), np.float32), SIGNATURE)
    require_labels(np.zeros((2, 9), np.float32), SIGNATURE.model_copy(update={"labels": ()}))
    with pytest.raises(ArtifactError, match="another number of outputs than labels; got: 4 outputs; allowed: 3"):
        require_labels(np.zeros((2, 4), np.float32), SIGNATURE)


def test_an_artifact_whose_files_agree_on_labels_that_the_graph_has_not(demo_int8, tmp_path):
    folder = Path(shutil.copytree(demo_int8, tmp_path / "copy"))
    config, manifest = (json.loads((folder / name).read_text(encoding="utf-8")) for name in ("config.json", MANIFEST))
    config["id2label"]["3"] = "모름"
    manifest["signature"]["labels"].append("모름")
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    manifest["files"]["config.json"]["bytes"] = (folder / "config.json").stat().st_size
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    artifact = open_artifact(folder)
    with pytest.raises(ArtifactError, match="the graph has another number of outputs than labels"):
        octavo.inference.opening.open_artifact_model(artifact)
