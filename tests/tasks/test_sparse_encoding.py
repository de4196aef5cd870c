"""sparse-encoding: what a SparseEncoder of sentence-transformers gives, in the graph; words and weights; overlap."""

import json
import shutil

import numpy as np
import pytest
import torch

import octavo
from octavo.checkpoint.sparse import read_sparse
from octavo.data.examples import Example
from octavo.schema.signature import SparsePooling
from octavo.tasks.sparse_encoding import SparseEncoding, Terms, top_overlap

PROMPTS = {"query": "오늘 ", "document": ""}


def write(path, value):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


@pytest.fixture(scope="session")
def splade(make_checkpoint, tmp_path_factory):
    """A tiny folder as SparseEncoder 6 saves it."""
    folder = make_checkpoint("bert", tmp_path_factory.mktemp("splade") / "splade", "BertForMaskedLM", layers=1)
    home = "sentence_transformers"
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": f"{home}.base.modules.transformer.Transformer"},
        {
            "idx": 1,
            "name": "1",
            "path": "1_SpladePooling",
            "type": f"{home}.sparse_encoder.modules.splade_pooling.SpladePooling",
        },
    ]
    write(folder / "modules.json", modules)
    pooling = {"pooling_strategy": "max", "activation_function": "relu", "embedding_dimension": None}
    write(folder / "1_SpladePooling" / "config.json", pooling)
    write(folder / "sentence_bert_config.json", {"transformer_task": "fill-mask"})
    settings = {"model_type": "SparseEncoder", "prompts": PROMPTS, "default_prompt_name": None}
    write(folder / "config_sentence_transformers.json", settings | {"similarity_fn_name": "dot"})
    return folder


@pytest.fixture(scope="session")
def splade_graphs(splade):
    return octavo.export(splade)


@pytest.fixture(scope="session")
def splade_float(splade_graphs, tmp_path_factory):
    return octavo.quantize(splade_graphs, tmp_path_factory.mktemp("splade") / "float", recipe="float").folder


def by_transformers(folder, texts):
    """Each text alone: log(1 + relu) of every logit, then the largest of each word, in float64."""
    import transformers

    transformers.logging.disable_progress_bar()
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        logits = [model(**tokenizer(text, truncation=True, return_tensors="pt")).logits[0].double() for text in texts]
    return np.stack([torch.log1p(torch.relu(one)).amax(0).numpy() for one in logits])


def dense(terms, size):
    found = np.zeros((len(terms), size))
    for row, one in zip(found, terms, strict=True):
        row[[term["token"] for term in one]] = [term["weight"] for term in one]
    return found


def test_artifact_and_checkpoint_give_the_words_that_sentence_transformers_gives(splade, splade_float, sentences):
    texts = [*sentences, " ".join(sentences)]
    expected = by_transformers(splade, texts)
    assert 0 < (expected == 0).mean() < 1  # some words weigh nothing
    for folder in (splade, splade_float):
        encode = octavo.load(folder)
        assert encode.signature.task == "sparse-encoding"
        found = encode(texts)
        np.testing.assert_allclose(dense(found, expected.shape[1]), expected, atol=2e-5)
        for row, terms in enumerate(found):
            weights = [term["weight"] for term in terms]
            assert weights == sorted(weights, reverse=True)
            assert min(weights) > 0
            assert terms[0]["token_str"] == encode.tokenizer.id_to_token(int(expected[row].argmax()))
        assert encode(texts[0]) == encode([texts[0]])[0]
        assert encode(texts[:2], top_k=3) == [one[:3] for one in encode(texts[:2])]
        prompted = dense(encode(texts[:1], prompt="query"), expected.shape[1])
        np.testing.assert_allclose(prompted, by_transformers(splade, ["오늘 " + texts[0]]), atol=2e-5)
    with pytest.raises(octavo.InputError, match="top_k is 1 or more"):
        encode(texts, top_k=0)
    with pytest.raises(octavo.InputError, match="a model that gives no vectors"):
        encode.embed(texts)


def test_int8_is_compared_by_its_words(splade, splade_graphs, splade_float, sentences, tmp_path):
    output = tmp_path / "int8"
    artifact = octavo.quantize(splade_graphs, output, recipe="dynamic", target="any")
    assert "int8" in {layer.dtype for layer in artifact.manifest.layers if layer.part == "head"}
    octavo.verify(artifact)
    assert (output / "1_SpladePooling" / "config.json").exists()
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(sentences), encoding="utf-8")
    before, after = octavo.compare(splade_float, output, data=texts).rows
    assert before.fidelity["top_10"] == 1
    size = by_transformers(splade, sentences[:1]).shape[1]
    first, second = (dense(octavo.load(one)(list(sentences)), size) for one in (splade_float, output))
    assert after.fidelity["top_10"] == pytest.approx(top_overlap(first, second), abs=1e-6)
    assert 0.5 < after.fidelity["top_10"] <= 1
    assert 0.9 < after.fidelity["cosine_mean"] < 1


def test_a_masked_language_model_becomes_one_where_it_is_asked_to(splade, tmp_path):
    plain = tmp_path / "plain"
    shutil.copytree(splade, plain)
    for name in ("modules.json", "config_sentence_transformers.json"):
        (plain / name).unlink()
    from octavo.checkpoint.source import Checkpoint, read_source

    assert read_source(plain).signature.task == "fill-mask"
    signature = read_source(Checkpoint(plain, "sparse-encoding")).signature
    assert signature.sparse == SparsePooling()
    assert signature.mask_token_id is None
    with pytest.raises(octavo.CheckpointError, match="this is a model for sparse-encoding, and not for fill-mask"):
        read_source(Checkpoint(splade, "fill-mask"))


@pytest.mark.parametrize(
    ("file", "change", "told"),
    [
        ("1_SpladePooling/config.json", {"pooling_strategy": "sum"}, "got: pooling_strategy sum; allowed: max"),
        ("1_SpladePooling/config.json", {"activation_function": "gelu"}, "got: activation_function gelu"),
        ("config_sentence_transformers.json", {"max_active_dims": 8}, "got: max_active_dims 8; allowed: none"),
        ("config_sentence_transformers.json", {"similarity_fn_name": "own"}, "got: similarity_fn_name own"),
        ("modules.json", [{"type": "sentence_transformers.sparse_encoder.models.SpladePooling"}], "got: the modules"),
    ],
)
def test_what_is_not_carried_over_is_refused(splade, tmp_path, file, change, told):
    folder = tmp_path / "changed"
    folder.mkdir()
    for name in ("modules.json", "config_sentence_transformers.json", "1_SpladePooling/config.json"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(splade / name, folder / name)
    stored = json.loads((folder / file).read_text(encoding="utf-8"))
    write(folder / file, stored | change if isinstance(change, dict) else change)
    with pytest.raises(octavo.CheckpointError, match=f"this SparseEncoder is not carried over.*{told}"):
        read_sparse(folder)


def test_overlap_by_hand():
    first = np.array([[3, 2, 1, 0, 0], [0, 0, 0, 0, 0], [0, 5, 0, 0, 0]], np.float32)
    second = np.array([[1, 2, 0, 3, 0], [1, 0, 0, 0, 0], [0, 4, 0, 9, 0]], np.float32)
    assert top_overlap(first, first) == 1
    assert top_overlap(first, second) == pytest.approx((2 / 3 + 0) / 2)
    assert top_overlap(first[1:2], second[1:2]) == 1


def test_pairs_are_scored_by_the_similarity_of_the_model(splade_float):
    signature = octavo.open_artifact(splade_float).manifest.signature
    weights = np.array([[2, 0], [0, 1], [1, 1], [0, 3]], np.float32)
    pairs = [Example("가", "나", score=1.0), Example("다", "라", score=2.0)]
    assert SparseEncoding(signature).judged(Terms(weights, None), pairs)[1].tolist() == [2, 3]
    cosine = signature.model_copy(update={"sparse": SparsePooling(similarity="cosine")})
    found = SparseEncoding(cosine).judged(Terms(weights, None), pairs)[1]
    assert found.tolist() == pytest.approx([1 / 2**0.5, 1])
