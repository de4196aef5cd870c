"""Sentence embeddings: the whole road against transformers, the scores against scipy and scikit-learn."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy import stats
from sklearn.neighbors import NearestNeighbors

import octavo
from octavo.errors import DataError, InputError
from octavo.evaluation.comparison import compare
from octavo.metrics import scores as metrics
from octavo.reporting.page import comparison_json
from octavo.tasks.feature_extraction import FeatureExtraction

DOCS = Path(__file__).resolve().parents[2] / "docs"
SHARED = Path(__file__).resolve().parents[3] / "shared"
FAMILIES = {"bert": "BertModel", "distilbert": "DistilBertModel", "roberta": "RobertaModel", "electra": "ElectraModel"}
FRESH = """
import json, sys
import octavo
vectors = octavo.load(sys.argv[1])(json.loads(sys.argv[2]))
heavy = [name for name in ("torch", "transformers", "onnx_ir", "onnx", "onnxscript") if name in sys.modules]
print(json.dumps({"vectors": vectors.tolist(), "heavy": heavy}))
"""
PROMPTS = {"query": "오늘 하늘은 ", "none": ""}


def make_embedder(make_checkpoint, family, folder, default=None):
    """A tiny sentence-transformers folder: mean, a Dense with Tanh, Normalize, prompts."""
    make_checkpoint(family, folder, FAMILIES[family])
    kinds = ("Transformer", "Pooling", "Dense", "Normalize")
    modules = [
        {"path": f"{index}_{kind}" if index else "", "type": f"sentence_transformers.models.{kind}"}
        for index, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}', encoding="utf-8")
    (folder / "2_Dense").mkdir()
    dense = {"in_features": 48, "out_features": 16, "activation_function": "torch.nn.modules.activation.Tanh"}
    (folder / "2_Dense" / "config.json").write_text(json.dumps(dense), encoding="utf-8")
    chance = torch.Generator().manual_seed(1)
    weights = {"linear.weight": torch.randn(16, 48, generator=chance) / 7, "linear.bias": torch.zeros(16)}
    save_file(weights, folder / "2_Dense" / "model.safetensors")
    settings = json.dumps({"prompts": PROMPTS, "default_prompt_name": default})
    (folder / "config_sentence_transformers.json").write_text(settings, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def embedder(make_checkpoint, tmp_path_factory):
    return make_embedder(make_checkpoint, "bert", tmp_path_factory.mktemp("embedders") / "bert")


@pytest.fixture(scope="session")
def embedder_float(embedder, exported, tmp_path_factory):
    return octavo.quantize(exported(embedder), tmp_path_factory.mktemp("embedders") / "float", recipe="float").folder


def by_transformers(folder, texts):
    """Each text alone through transformers, then mean, Dense, Tanh and Normalize in torch."""
    import transformers
    from safetensors.torch import load_file

    transformers.logging.disable_progress_bar()
    model = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    stored = load_file(folder / "2_Dense" / "model.safetensors")
    rows = []
    for text in texts:
        with torch.no_grad():
            hidden = model(**tokenizer(text, truncation=True, max_length=64, return_tensors="pt")).last_hidden_state
        dense = torch.nn.functional.linear(hidden[0].mean(0), stored["linear.weight"], stored["linear.bias"])
        rows.append(torch.nn.functional.normalize(torch.tanh(dense), dim=0).numpy())
    return np.stack(rows)


@pytest.mark.filterwarnings("ignore:.*:UserWarning:transformers")
@pytest.mark.parametrize("family", FAMILIES)
def test_the_float_artifact_embeds_as_the_checkpoint(family, make_checkpoint, sentences, fresh, tmp_path):
    folder = make_embedder(make_checkpoint, family, tmp_path / family)
    artifact = octavo.quantize(folder, tmp_path / "float", recipe="float")
    texts = [*sentences, "", " ".join(sentences) * 2]
    expected = by_transformers(folder, texts)
    found = json.loads(fresh(FRESH, artifact.folder, json.dumps(texts)))
    assert found["heavy"] == []
    np.testing.assert_allclose(np.array(found["vectors"]), expected, atol=2e-5)
    np.testing.assert_allclose(octavo.load(folder)(texts), expected, atol=2e-5)
    assert metrics.cosine(expected[:1], expected[1:2])[0] < 0.999, "texts that embed alike prove nothing"
    octavo.verify(artifact)


def test_a_plain_install_opens_an_embedder_with_a_dense_layer(embedder_float, sentences, plain):
    found = json.loads(plain(FRESH, embedder_float, json.dumps(sentences)))
    np.testing.assert_array_equal(np.array(found["vectors"], np.float32), octavo.load(embedder_float)(list(sentences)))


def test_what_sentence_transformers_looks_for_is_in_the_artifact(embedder, embedder_float):
    for name in (
        "modules.json",
        "1_Pooling/config.json",
        "2_Dense/model.safetensors",
        "config_sentence_transformers.json",
    ):
        assert (embedder_float / name).read_bytes() == (embedder / name).read_bytes()
        assert name in octavo.open_artifact(embedder_float).manifest.files


def test_an_artifact_with_folders_can_be_replaced_and_a_stranger_in_them_is_seen(
    embedder, exported, embedder_float, tmp_path
):
    copy = tmp_path / "copy"
    shutil.copytree(embedder_float, copy)
    (copy / "1_Pooling" / "notes.txt").write_text("mine")
    with pytest.raises(octavo.OctavoError, match=r"1_Pooling/notes\.txt"):
        octavo.quantize(exported(embedder), copy, recipe="float", force=True)
    (copy / "1_Pooling" / "notes.txt").unlink()
    octavo.quantize(exported(embedder), copy, recipe="float", force=True)
    octavo.verify(octavo.open_artifact(copy))


def test_shapes_are_those_of_sentence_transformers(embedder_float, sentences):
    embed = octavo.load(embedder_float)
    one, many = embed(sentences[0]), embed(list(sentences))
    assert (one.shape, many.shape, embed([]).shape) == ((16,), (len(sentences), 16), (0, 16))
    np.testing.assert_allclose(many[0], one, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(many, axis=1), 1, atol=1e-6)
    streamed = list(embed(iter(sentences)))
    assert (np.stack(streamed) == many).all()
    with pytest.raises(DataError, match="row 1: an embedding is of one text"):
        embed(["하나", ("둘", "셋")])


def test_prompts_go_before_the_text(embedder_float, make_checkpoint, sentences, tmp_path):
    embed = octavo.load(embedder_float)
    asked = embed(list(sentences), prompt="query")
    assert (asked == embed([PROMPTS["query"] + text for text in sentences])).all()
    assert not np.allclose(asked, embed(list(sentences)))
    with pytest.raises(InputError, match=r"no such prompt; got: querry.*query"):
        embed("x", prompt="querry")
    folder = make_embedder(make_checkpoint, "bert", tmp_path / "default", default="query")
    by_default = octavo.load(octavo.quantize(folder, tmp_path / "float", recipe="float").folder)
    assert (by_default(list(sentences)) == asked).all()
    assert not np.allclose(by_default(list(sentences), prompt="none"), asked)


def test_jsonl_holds_the_vectors(embedder_float, sentences, tmp_path):
    rows = "\n".join(json.dumps({"text": text}, ensure_ascii=False) for text in sentences)
    (tmp_path / "in.jsonl").write_text(rows, encoding="utf-8")
    octavo.predict(embedder_float, tmp_path / "in.jsonl", tmp_path / "out.jsonl", prompt="query")
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    found = np.array([json.loads(line)["embedding"] for line in lines], np.float32)
    assert (found == octavo.load(embedder_float)(list(sentences), prompt="query")).all()


def test_compare_scores_pairs_and_neighbours(embedder, exported, embedder_float, sentences, tmp_path):
    chance = np.random.default_rng(0)
    pairs = [(a, b, chance.uniform(0, 5)) for a in sentences for b in sentences if a < b]
    lines = ["sentence1\tsentence2\tscore", *(f"{a}\t{b}\t{score:.3f}" for a, b, score in pairs)]
    (tmp_path / "sts.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    dynamic = octavo.quantize(exported(embedder), tmp_path / "int8").folder
    found = compare(embedder_float, [dynamic], data=tmp_path / "sts.tsv", threads=1)
    assert (found.n, found.texts) == (len(pairs), 2 * len(pairs))
    embed = octavo.load(embedder_float)
    first, second = embed([a for a, _, _ in pairs]), embed([b for _, b, _ in pairs])
    similar, gold = (first * second).sum(axis=1), [round(score, 3) for _, _, score in pairs]
    assert found.rows[0].quality["spearman"] == pytest.approx(stats.spearmanr(similar, gold).statistic, abs=1e-3)
    assert found.rows[0].quality["pearson"] == pytest.approx(stats.pearsonr(similar, gold).statistic, abs=1e-5)
    assert found.rows[0].fidelity["cosine_min"] == pytest.approx(1)
    assert 0.9 < found.rows[1].fidelity["cosine_min"] < found.rows[1].fidelity["cosine_mean"] < 1
    assert found.rows[0].batch_effect < 1e-6
    schema = json.loads((DOCS / "comparison.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(
        json.loads(comparison_json(found.under(octavo.Budget(min_cosine=0.9))))
    )


def test_without_scores_there_is_fidelity_alone(embedder_float, sentences, tmp_path):
    (tmp_path / "texts.txt").write_text("\n".join([*sentences, "춤", "노래"]), encoding="utf-8")
    found = compare(embedder_float, [embedder_float], data=tmp_path / "texts.txt", threads=1)
    assert [row.quality for row in found.rows] == [{}, {}]
    assert list(found.rows[1].fidelity) == ["cosine_mean", "cosine_p1", "cosine_min", "recall_at_10"]


def test_models_that_pool_otherwise_are_not_compared(embedder, embedder_float, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(embedder, other)
    (other / "1_Pooling" / "config.json").write_text('{"pooling_mode": "cls"}', encoding="utf-8")
    (tmp_path / "texts.txt").write_text("하나\n둘\n", encoding="utf-8")
    with pytest.raises(InputError, match="do not pool alike"):
        compare(embedder_float, [other], data=tmp_path / "texts.txt")


def test_correlations_are_those_of_scipy():
    chance = np.random.default_rng(7)
    x = chance.integers(0, 6, 200).astype(np.float64)  # as STS scores: many ties
    y = x + chance.normal(size=200).round(1)
    assert metrics.spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
    assert metrics.pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12)
    assert metrics.pearson(x, np.ones(200)) == 0


def test_neighbours_are_those_of_scikit_learn():
    chance = np.random.default_rng(8)
    first = chance.normal(size=(120, 8)).astype(np.float32)
    second = first + 0.3 * chance.normal(size=first.shape).astype(np.float32)

    def nearest(vectors):
        found = NearestNeighbors(n_neighbors=11, metric="cosine").fit(vectors).kneighbors(vectors)[1]
        return [set(row) - {index} for index, row in enumerate(found)]

    expected = np.mean([len(a & b) / 10 for a, b in zip(nearest(first), nearest(second), strict=True)])
    assert metrics.neighbour_recall(first, second, 10) == pytest.approx(expected)
    assert metrics.neighbour_recall(first, first, 10) == 1


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "models" / "ko-sts").exists(), reason="the shared models are not here")
def test_korean_sentence_similarity_survives_int8(tmp_path):
    data = octavo.DataFile(SHARED / "data" / "korsts" / "sts-test.tsv")
    calibration = octavo.DataFile(SHARED / "data" / "korsts" / "sts-dev.tsv", limit=300)
    static = octavo.quantize(SHARED / "models" / "ko-sts", tmp_path / "static", calibration=calibration).folder
    found = compare(SHARED / "models" / "ko-sts", [static], data=data)
    assert found.rows[0].quality["spearman"] == pytest.approx(0.6402, abs=5e-5), "as the model's card says"
    assert abs(found.rows[1].differences["spearman"].value) < 0.003
    assert found.rows[1].fidelity["cosine_min"] > 0.99
    assert found.rows[1].batch_effect < 1e-6


@pytest.mark.filterwarnings("ignore:.*examples are few:octavo.OctavoWarning")
def test_an_artifact_keeps_the_ranges_of_the_texts_it_was_calibrated_on(embedder, exported, sentences, tmp_path):
    data = tmp_path / "texts.txt"
    data.write_text("\n".join(sentences), encoding="utf-8")
    artifact = octavo.quantize(exported(embedder), tmp_path / "static", recipe="static", calibration=data)
    assert "vector_ranges.safetensors" in artifact.manifest.files
    embed = octavo.load(artifact.folder)
    vectors = embed(list(sentences))
    low, high = vectors.min(axis=0), vectors.max(axis=0)
    np.testing.assert_allclose(embed.ranges[16], [low, high], atol=1e-6)
    codes = embed.embed(list(sentences), precision="int8")
    expected = np.clip(np.floor((vectors - low) / ((high - low) / 255)), 0, 255) - 128
    assert np.abs(codes - expected).max() <= 1  # where a number stands at the border of two codes
    assert (codes != expected).mean() < 0.1
    with pytest.raises(InputError, match="int8 needs ranges of the numbers; got: 8 dimensions; allowed: 16 dimensions"):
        embed.embed("하나", dimensions=8, precision="int8")


@pytest.mark.parametrize(("kind", "stays"), [("bert", False), ("squeezebert", True)])
def test_a_pooler_is_taken_off_where_the_model_runs_without(kind, stays):
    task = FeatureExtraction(None)  # it does not look at the signature
    model = SimpleNamespace(config=SimpleNamespace(model_type=kind), pooler=len)
    task.adapt_model(model)
    assert (model.pooler is not None) == stays
