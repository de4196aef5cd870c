"""`predictor.rank` and `predictor.embed` on tiny checkpoints, beside what calls and transformers give."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers

import octavo
from octavo.arithmetic.vectors import ranges_of
from octavo.errors import DataError, InputError
from octavo.inference.storing import Storage
from octavo.schema.signature import Pooling

QUERY = "아이들이 공원에 없다."
PASSAGES = [
    "아이들이 공원에서 놀고 있다.",
    "오늘 날씨는 춥지만 하늘은 맑다.",
    "",
    "아무도 공원에 없다.",
    "아무도 공원에 없다.",
]


def save(folder, tiny_parts, kind, **settings):
    transformers.logging.disable_progress_bar()
    tokenizer = tiny_parts.make_tokenizer("bert")
    config = tiny_parts.make_config("bert", tokenizer)
    for name, value in settings.items():
        setattr(config, name, value)
    torch.manual_seed(3)
    model = getattr(transformers, kind)(config)
    for parameter in model.parameters():
        parameter.data = 0.3 * torch.randn(parameter.shape)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def reranker(tiny_parts, tmp_path_factory):
    names = {"id2label": {0: "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    folder = save(tmp_path_factory.mktemp("rank") / "reranker", tiny_parts, "BertForSequenceClassification", **names)
    return octavo.load(folder)


@pytest.fixture(scope="module")
def embedder(tiny_parts, tmp_path_factory):
    folder = save(tmp_path_factory.mktemp("rank") / "embedder", tiny_parts, "BertModel")
    kinds = ("Transformer", "Pooling", "Normalize")
    modules = [
        {"path": f"{i}_{kind}" if i else "", "type": f"sentence_transformers.models.{kind}"}
        for i, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}', encoding="utf-8")
    settings = {"prompts": {"query": "오늘 ", "passage": "하늘 "}, "similarity_fn_name": "dot"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings), encoding="utf-8")
    return octavo.load(folder)


def test_a_reranker_ranks_by_its_logits(reranker):
    found = reranker.rank(QUERY, PASSAGES, return_documents=True)
    logits = reranker.logits([(QUERY, passage) for passage in PASSAGES])[:, 0]
    assert [one["corpus_id"] for one in found] == sorted(range(5), key=lambda i: (-logits[i], i))
    for one in found:
        assert one["text"] == PASSAGES[one["corpus_id"]]
        assert one["score"] == pytest.approx(1 / (1 + np.exp(-float(logits[one["corpus_id"]]))), abs=1e-6)
    assert reranker.rank(QUERY, iter(PASSAGES), top_k=2) == [
        {name: one[name] for name in ("corpus_id", "score")} for one in found[:2]
    ]
    assert len({round(one["score"], 9) for one in found}) == 4  # two passages are the same
    assert reranker.rank(QUERY, []) == []


def test_an_embedder_ranks_by_its_similarity_behind_its_prompts(embedder):
    found = embedder.rank(QUERY, PASSAGES)
    query, passages = embedder(QUERY, prompt="query"), embedder(PASSAGES, prompt="passage")
    dots = passages @ query
    order = sorted(range(5), key=lambda i: -float(dots[i]))  # of the two that are the same text either may be first
    assert [PASSAGES[one["corpus_id"]] for one in found] == [PASSAGES[index] for index in order]
    assert sorted(one["corpus_id"] for one in found) == list(range(5))
    assert [one["score"] for one in found] == pytest.approx(sorted(dots.tolist(), reverse=True), abs=1e-5)
    many = embedder.rank(QUERY, [f"{PASSAGES[0]} {number}" for number in range(130)])
    assert sorted(one["corpus_id"] for one in many) == list(range(130))


def test_what_cannot_be_ranked(reranker, demo_float):
    with pytest.raises(DataError, match="passage 1 is no text"):
        reranker.rank(QUERY, ["가", 3])
    with pytest.raises(DataError, match="a stream is of several rows"):
        reranker.rank(QUERY, "가")
    with pytest.raises(InputError, match="top_k is how many passages are told; got: 0"):
        reranker.rank(QUERY, PASSAGES, top_k=0)
    with pytest.raises(InputError, match="one score for a pair, or vectors; got: text-classification with 3 outputs"):
        octavo.load(demo_float).rank(QUERY, PASSAGES)
    with pytest.raises(InputError, match="a model that gives no vectors"):
        reranker.embed(PASSAGES)


def test_vectors_as_they_are_stored(embedder):
    whole = embedder(PASSAGES)
    np.testing.assert_array_equal(embedder.embed(PASSAGES), whole)
    short = whole[:, :12] / np.linalg.norm(whole[:, :12], axis=1, keepdims=True)
    np.testing.assert_allclose(embedder.embed(PASSAGES, dimensions=12), short, atol=1e-7)
    bits = embedder.embed(PASSAGES, dimensions=12, precision="ubinary")
    np.testing.assert_array_equal(bits, np.packbits(short > 0, axis=1))
    assert bits.shape == (5, 2)
    one = embedder.embed(PASSAGES[0], precision="float16", prompt="passage")
    assert (one.shape, one.dtype) == ((48,), np.float16)
    ranges = ranges_of(short)
    codes = embedder.embed(PASSAGES, dimensions=12, precision="uint8", ranges=ranges)
    assert (codes.min(), codes.max()) == (0, 255)


def test_settings_of_stored_vectors(embedder):
    with pytest.raises(InputError, match="dimensions are how many numbers are kept; got: 49; allowed: 1 to 48"):
        embedder.embed(PASSAGES, dimensions=49)
    with pytest.raises(InputError, match="unknown precision; got: int4"):
        embedder.embed(PASSAGES, precision="int4")
    with pytest.raises(
        InputError, match=r"int8 needs ranges of the numbers; got: 48 dimensions; next: octavo quantize"
    ):
        embedder.embed(PASSAGES, precision="int8")
    with pytest.raises(InputError, match=r"ranges do not fit; got: an array \[2, 3\]"):
        embedder.embed(PASSAGES, precision="int8", ranges=np.zeros((2, 3)))


def test_ranges_the_other_way_round():
    signature = SimpleNamespace(pooling=Pooling(modes=("mean",), dimension=48))
    told = "ranges are the smallest numbers and then the largest; got: 47 places"
    with pytest.raises(InputError, match=told):
        Storage(signature, None, "int8", np.stack([np.eye(48)[0] + 1, np.eye(48)[0] * 2]))
