"""late-interaction: ColBERT folders of three kinds against transformers and torch; MaxSim in float64; ranking, int8."""

import json
import shutil
import string
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import octavo
from octavo.checkpoint.source import Checkpoint, read_source
from octavo.metrics.maxsim import maxsim, nearest_by_tokens
from octavo.schema.signature import TokenVectors

QUERY, DOCUMENT = 12, 20  # tokens
WIDTH = 8
KOREAN = "아이들이 공원에서 놀고 있다."


def write(path, value):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def normal(*shape, seed=3):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="session")
def encoder(tiny_parts, tmp_path_factory):
    """A function of markers: a tiny random BERT whose tokenizer has them."""
    import transformers

    def make(*markers):
        transformers.logging.disable_progress_bar()
        folder = tmp_path_factory.mktemp("late") / "model"
        tokenizer = tiny_parts.make_tokenizer("bert")
        tokenizer.add_tokens(list(markers))
        config = tiny_parts.make_config("bert", tokenizer, layers=1)
        model = tiny_parts.randomize(transformers.BertModel(config, add_pooling_layer=False), tokenizer)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def pylate(encoder):
    """A folder as PyLate 1.4 saves it."""
    folder = encoder("[Q] ", "[D] ")
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Dense", "type": "pylate.models.Dense.Dense"},
    ]
    write(folder / "modules.json", modules)
    identity = "torch.nn.modules.linear.Identity"
    dense = {"in_features": 48, "out_features": WIDTH, "bias": False, "activation_function": identity}
    write(folder / "1_Dense" / "config.json", dense | {"use_residual": False})
    save_file({"linear.weight": normal(WIDTH, 48)}, folder / "1_Dense" / "model.safetensors")
    write(folder / "sentence_bert_config.json", {"max_seq_length": QUERY - 1, "do_lower_case": False})
    settings = {
        "model_type": "ColBERT", "prompts": {}, "default_prompt_name": None, "similarity_fn_name": "MaxSim",
        "query_prefix": "[Q] ", "document_prefix": "[D] ", "query_length": QUERY, "document_length": DOCUMENT,
        "attend_to_expansion_tokens": False, "do_query_expansion": True, "skiplist_words": list(string.punctuation),
    }  # fmt: skip
    write(folder / "config_sentence_transformers.json", settings)
    return folder


@pytest.fixture(scope="session")
def stanford(encoder):
    """A folder as Stanford's ColBERT saves it: one file with the encoder below `bert`, and the projection."""
    folder = encoder("[unused0]", "[unused1]")
    weights = {f"bert.{name}": tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(weights | {"linear.weight": normal(WIDTH, 48)}, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    write(folder / "config.json", config | {"architectures": ["HF_ColBERT"]})
    settings = {"query_token_id": "[unused0]", "doc_token_id": "[unused1]", "query_maxlen": QUERY, "dim": WIDTH}
    settings |= {"doc_maxlen": DOCUMENT, "mask_punctuation": True, "attend_to_mask_tokens": False}
    write(folder / "artifact.metadata", settings | {"similarity": "cosine"})
    return folder


@pytest.fixture(scope="session")
def multi_vector(encoder):
    """A folder as sentence-transformers 6 saves a MultiVectorEncoder: prompts are texts, and queries may be longer."""
    folder, home = encoder(), "sentence_transformers"
    kinds = (
        ("", f"{home}.base.modules.transformer.Transformer"),
        ("1_Dense", f"{home}.base.modules.dense.Dense"),
        ("2_MultiVectorMask", f"{home}.multi_vector_encoder.modules.multi_vector_mask.MultiVectorMask"),
        ("3_Normalize", f"{home}.sentence_transformer.modules.normalize.Normalize"),
    )
    modules = [{"idx": i, "name": str(i), "path": path, "type": kind} for i, (path, kind) in enumerate(kinds)]
    write(folder / "modules.json", modules)
    dense = {"in_features": 48, "out_features": WIDTH, "bias": True, "activation_function": "torch.nn.Identity"}
    write(folder / "1_Dense" / "config.json", dense | {"module_input_name": "token_embeddings"})
    weights = {"linear.weight": normal(WIDTH, 48), "linear.bias": normal(WIDTH)}
    save_file(weights, folder / "1_Dense" / "model.safetensors")
    write(folder / "2_MultiVectorMask" / "config.json", {"skiplist_words": ["."], "skiplist_tasks": ["document"]})
    write(folder / "3_Normalize" / "config.json", {"module_input_name": "token_embeddings"})
    expansion = {"strategy": "min", "attend": True, "token": None, "length": QUERY}
    own = {"query_length": 16, "document_length": DOCUMENT, "query_expansion": expansion}
    write(folder / "sentence_bert_config.json", own)
    settings = {"model_type": "MultiVectorEncoder", "prompts": {"query": "누가 ", "document": "오늘 "}}
    write(folder / "config_sentence_transformers.json", settings | {"similarity_fn_name": "maxsim"})
    return folder


@pytest.fixture(scope="session")
def graphs(pylate):
    return octavo.export(pylate)


@pytest.fixture(scope="session")
def late_float(graphs, tmp_path_factory):
    return octavo.quantize(graphs, tmp_path_factory.mktemp("late") / "float", recipe="float").folder


@pytest.fixture(scope="session")
def late_int8(graphs, tmp_path_factory):
    return octavo.quantize(graphs, tmp_path_factory.mktemp("late") / "int8", recipe="dynamic", target="any").folder


def by_transformers(folder, texts, *, marker, length, query, skipped=(), dense="1_Dense", attends=False):
    """Each text alone, as the papers and PyLate have it; float64 from the encoder's states on."""
    import transformers

    transformers.logging.disable_progress_bar()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    state = {name.removeprefix("bert."): tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    model = transformers.BertModel(transformers.BertConfig.from_pretrained(folder), add_pooling_layer=False).eval()
    model.load_state_dict({name: tensor for name, tensor in state.items() if name != "linear.weight"})
    weights = load_file(folder / dense / "model.safetensors") if dense else state
    found = []
    for text in texts:
        ids = tokenizer(text, truncation=True, max_length=length - bool(marker))["input_ids"]
        ids = ids[:1] + ([tokenizer.convert_tokens_to_ids(marker)] if marker else []) + ids[1:]
        filled = max(0, QUERY - len(ids)) if query else 0
        mask = [1] * len(ids) + [int(attends)] * filled
        ids = ids + [tokenizer.mask_token_id] * filled
        with torch.no_grad():
            hidden = model(torch.tensor([ids]), torch.tensor([mask])).last_hidden_state[0].double()
        projected = hidden @ weights["linear.weight"].double().T + weights.get("linear.bias", torch.zeros(1)).double()
        unit = (projected / projected.norm(dim=1, keepdim=True)).numpy()
        skip = set() if query else {tokenizer.convert_tokens_to_ids(word) for word in skipped}
        found.append(unit[[index for index, one in enumerate(ids) if one not in skip]])
    return found


def best(query, passage):
    """MaxSim in float64, one product at a time."""
    return sum(max(float(np.dot(q, p)) for p in passage) for q in query.astype(np.float64))


def near(found, expected, atol=2e-5):
    assert [one.shape for one in found] == [one.shape for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, other, atol=atol)


def both(folder, texts, markers, **settings):
    """What queries and documents should be."""
    query = by_transformers(folder, texts, marker=markers[0], length=QUERY, query=True, **settings)
    document = by_transformers(folder, texts, marker=markers[1], length=DOCUMENT, query=False, **settings)
    return query, document


@pytest.fixture(scope="session")
def expected(pylate, sentences):
    return both(pylate, [*sentences, KOREAN * 5], ("[Q] ", "[D] "), skipped=string.punctuation)


def test_a_pylate_folder_gives_the_vectors_of_its_queries_and_documents(pylate, late_float, sentences, expected):
    texts, (queries, documents) = [*sentences, KOREAN * 5], expected
    assert len({len(one) for one in documents}) > 2
    assert {len(one) for one in queries} == {QUERY}
    for folder in (pylate, late_float):
        encode = octavo.load(folder)
        assert encode.signature.task == "late-interaction"
        near(encode(texts, prompt="query"), queries)
        near(encode.embed(texts, prompt="query"), queries)
        near(encode.embed(texts), documents)
        near(encode(texts, prompt="document", batch_size=1), documents)
        near([encode.embed(KOREAN)], by_transformers(
            pylate, [KOREAN], marker="[D] ", length=DOCUMENT, query=False, skipped=string.punctuation
        ))  # fmt: skip
        alone = [encode([text], prompt="query")[0] for text in texts]
        near(encode(texts, prompt="query"), alone, atol=1e-6)
        with pytest.raises(octavo.InputError, match="no such prompt; got: passages; allowed: query, document"):
            encode(texts, prompt="passages")
        with pytest.raises(octavo.InputError, match="whole, in float32; got: dimensions and precision"):
            encode.embed(texts, dimensions=4, precision="int8")
        with pytest.raises(octavo.DataError, match="token vectors are of one text"):
            encode([("a", "b")])


def test_a_text_that_is_cut_is_counted_and_a_lower_limit_holds(late_float):
    encode = octavo.load(late_float, max_length=10)
    assert [len(encode.embed(KOREAN * 9, prompt=kind)) for kind in ("query", "document")] == [10, 10 - 1]
    assert encode.counts.truncated == 2
    with pytest.raises(octavo.InputError, match="leaves no room for text; got: 3"):
        octavo.load(late_float, max_length=3)


def test_rank_is_by_maxsim(late_float, sentences, expected):
    encode = octavo.load(late_float)
    (queries, documents), passages = expected, list(sentences)
    for row in (0, 3, 6):
        scores = np.array([best(queries[row], one) for one in documents[: len(passages)]])
        found = encode.rank(sentences[row], passages, top_k=4, return_documents=True)
        assert [one["corpus_id"] for one in found] == np.argsort(-scores)[:4].tolist()
        np.testing.assert_allclose([one["score"] for one in found], np.sort(scores)[::-1][:4], rtol=1e-4)
        assert found[0]["text"] == passages[found[0]["corpus_id"]]
    assert encode.rank(KOREAN, []) == []


def test_maxsim_by_hand_and_in_blocks(monkeypatch):
    generator = np.random.default_rng(0)
    queries = [generator.normal(size=(n, 5)).astype(np.float32) for n in (3, 0, 7, 1)]
    passages = [generator.normal(size=(n, 5)).astype(np.float32) for n in (4, 9, 0, 2, 30, 1, 1)]
    expected = [[best(q, p) if len(p) else 0 for p in passages] for q in queries]
    np.testing.assert_allclose(maxsim(queries, passages), expected, rtol=1e-5, atol=1e-6)
    for name, size in (("BLOCK", 20), ("TOKENS", 5)):
        monkeypatch.setattr(f"octavo.metrics.maxsim.{name}", size)
        np.testing.assert_allclose(maxsim(queries, passages), expected, rtol=1e-5, atol=1e-6)
    order, scores = nearest_by_tokens(queries, passages, 3)
    for row, values in enumerate(np.array(expected)):
        np.testing.assert_allclose(scores[row], np.sort(values)[::-1][:3], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(values[order[row]], scores[row], rtol=1e-5, atol=1e-6)
    assert order[1].tolist() == [0, 1, 2]  # of equal ones the first
    assert maxsim([], passages).shape == (0, 7)


def test_stanfords_format(stanford, sentences, tmp_path):
    settings = {"skipped": string.punctuation, "dense": None}
    queries, documents = both(stanford, sentences, ("[unused0]", "[unused1]"), **settings)
    artifact = octavo.quantize(stanford, tmp_path / "float", method="float")
    assert artifact.manifest.export.graph == "written"
    assert (artifact.folder / "artifact.metadata").exists()
    for folder in (stanford, artifact.folder):
        encode = octavo.load(folder)
        near(encode.embed(list(sentences), prompt="query"), queries)
        near(encode.embed(list(sentences)), documents)
    (stanford / "artifact.metadata").rename(tmp_path / "away")
    try:
        how = read_source(stanford).signature.token_vectors
    finally:
        (tmp_path / "away").rename(stanford / "artifact.metadata")
    assert how.lengths == {"query": 32, "document": 64}  # 220, where the model has positions for 64
    assert how.expansion == 32


def test_a_multi_vector_encoder_of_sentence_transformers(multi_vector, sentences, tmp_path):
    texts = [*sentences, KOREAN * 3]
    before = [["누가 " + text for text in texts], ["오늘 " + text for text in texts]]
    query = by_transformers(multi_vector, before[0], marker=None, length=16, query=True, attends=True)
    document = by_transformers(multi_vector, before[1], marker=None, length=DOCUMENT, query=False, skipped=".")
    assert {len(one) for one in query} > {QUERY, 16}
    artifact = octavo.quantize(multi_vector, tmp_path / "float", method="float")
    for folder in (multi_vector, artifact.folder):
        encode = octavo.load(folder)
        near(encode.embed(texts, prompt="query"), query)
        near(encode.embed(texts), document)


def test_any_encoder_is_asked_for_vectors_of_tokens(checkpoint, sentences, tmp_path):
    import transformers

    folder = checkpoint("roberta")
    model = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        answers = [model(**tokenizer(text, truncation=True, return_tensors="pt")) for text in sentences]
    states = [answer.last_hidden_state[0].double() for answer in answers]
    units = [(one / one.norm(dim=1, keepdim=True)).numpy() for one in states]
    artifact = octavo.quantize(folder, tmp_path / "float", method="float", token_embeddings=True)
    assert artifact.manifest.signature.token_vectors.dimension == 48
    for encode in (octavo.load(artifact.folder), octavo.load(Checkpoint(folder, "late-interaction"))):
        for kind in ("query", "document"):
            near(encode.embed(list(sentences), prompt=kind), units)
    with pytest.raises(octavo.CheckpointError, match="token_embeddings=True is the task late-interaction"):
        octavo.export(Checkpoint(folder, "feature-extraction"), token_embeddings=True)


@pytest.mark.parametrize("method", ["static", "weight-only"])
def test_other_methods(graphs, late_float, sentences, tmp_path, method):
    rows = tmp_path / "rows.tsv"
    lines = [f"{a}\t{b}\t{int(a == b)}" for a in sentences for b in sentences]
    rows.write_text("\n".join(["query\tpassage\trelevance", *lines]), encoding="utf-8")
    calibrate = {"calibrate": rows} if method == "static" else {}
    with pytest.warns(octavo.OctavoWarning, match="few to calibrate on") if calibrate else _nothing():
        artifact = octavo.quantize(graphs, tmp_path / "out", method=method, target="any", **calibrate)
    octavo.verify(artifact)
    for kind in ("query", "document"):
        first, second = (octavo.load(one).embed(list(sentences), prompt=kind) for one in (late_float, artifact.folder))
        pairs = zip(first, second, strict=True)
        assert np.mean([(a * b).sum(axis=1).mean() for a, b in pairs]) > 0.95


def _nothing():
    from contextlib import nullcontext

    return nullcontext()


def test_the_graph_of_the_exporter_answers_alike(pylate, late_float, sentences, tmp_path):
    exported = octavo.export(pylate, exporter=True)
    assert exported.record.graph == "exported"
    output = octavo.quantize(exported, tmp_path / "float", recipe="float").folder
    for kind in ("query", "document"):
        near(*(octavo.load(one).embed(list(sentences), prompt=kind) for one in (output, late_float)), atol=1e-5)


def test_it_is_written_and_proved_without_torch(pylate, graphs, monkeypatch):
    assert graphs.record.graph == "written"
    for module in ("octavo.checkpoint.source", "octavo.exporting.float_graphs"):
        monkeypatch.setattr(f"{module}.has_torch", lambda: False)
    floats = octavo.export(pylate)
    assert floats.record.reference == "numpy"
    filled = floats.source.tokenizer.mask_token_id
    inputs = {"input_ids": np.array([[2, 9, 3, filled, filled], [2, filled, 9, 8, 0]])}
    inputs |= {"attention_mask": np.array([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]]), "token_type_ids": np.zeros((2, 5), int)}
    np.testing.assert_allclose(floats.reference().run(inputs), graphs.reference().run(inputs), atol=1e-5)


def test_int8_is_compared_by_its_vectors_and_their_order(late_float, late_int8, sentences, tmp_path):
    octavo.verify(octavo.open_artifact(late_int8))
    texts = tmp_path / "texts.txt"
    lines = [*sentences, *(f"{text} {text}" for text in sentences[:4])]
    texts.write_text("\n".join(lines), encoding="utf-8")
    before, after = octavo.compare(late_float, late_int8, data=texts).rows
    assert (before.fidelity["tau"], before.fidelity["recall_at_10"]) == (1, 1)
    assert before.fidelity["cosine_min"] == pytest.approx(1)
    first, second = (octavo.load(one).embed(lines) for one in (late_float, late_int8))
    near_of = [float(np.mean((a.astype(float) * b).sum(1))) for a, b in zip(first, second, strict=True)]
    assert after.fidelity["cosine_mean"] == pytest.approx(np.mean(near_of), abs=1e-5)
    assert after.fidelity["cosine_min"] == pytest.approx(min(near_of), abs=1e-5)
    from scipy.stats import kendalltau

    taus = []
    for row in range(len(lines)):
        scores = [[best(one[row], p) for i, p in enumerate(one) if i != row] for one in (first, second)]
        taus.append(kendalltau(*scores).statistic)
    assert after.fidelity["tau"] == pytest.approx(np.mean(taus), abs=0.02)
    assert 0.5 < after.fidelity["tau"] < 1
    assert after.closeness["cosine"].value == pytest.approx(after.fidelity["cosine_mean"], abs=1e-6)
    assert before.batch_effect < 1e-5


def test_queries_and_passages_are_scored_by_maxsim(pylate, late_float, late_int8, sentences, tmp_path):
    from sklearn.metrics import ndcg_score

    rows = tmp_path / "rows.tsv"
    grades = np.array([[(a * 7 + b * 3) % 5 == 0 for b in range(10)] for a in range(4)], int)
    lines = [f"{sentences[a]}\t{sentences[b]}\t{grades[a, b]}" for a in range(4) for b in range(10)]
    rows.write_text("\n".join(["query\tpassage\trelevance", *lines]), encoding="utf-8")
    before, after = octavo.compare(pylate, late_int8, data=rows).rows
    encode = octavo.load(late_float)
    queries, passages = encode.embed(list(sentences[:4]), prompt="query"), encode.embed(list(sentences))
    scores = [[best(query, passage) for passage in passages] for query in queries]
    assert before.quality["ndcg_at_10"] == pytest.approx(ndcg_score(grades, scores, k=10), abs=1e-6)
    assert before.fidelity.keys() >= {"cosine_mean", "tau", "rbo"}
    assert 0.5 < after.fidelity["tau"] <= 1
    assert set(after.differences) == set(after.quality)
    with pytest.raises(octavo.InputError, match="stored vectors are scored by a search"):
        octavo.compare(late_float, late_int8, data=rows, dimensions=[4])


def test_pairs_with_a_score_are_a_query_and_a_document(late_float, sentences, tmp_path):
    rows = tmp_path / "pairs.tsv"
    lines = [f"{sentences[i]}\t{sentences[-1 - i]}\t{i}" for i in range(5)]
    rows.write_text("\n".join(["sentence1\tsentence2\tscore", *lines]), encoding="utf-8")
    encode = octavo.load(late_float)
    pairs = zip(encode.embed(list(sentences[:5]), prompt="query"), encode.embed(list(sentences[:-6:-1])), strict=True)
    from scipy.stats import spearmanr

    expected = spearmanr(range(5), [best(*pair) for pair in pairs]).statistic
    (row,) = octavo.compare(late_float, data=rows).rows
    assert row.quality["spearman"] == pytest.approx(expected)


def test_lines_of_json(late_float, tmp_path):
    rows, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    rows.write_text(json.dumps({"id": 7, "text": KOREAN}), encoding="utf-8")
    octavo.predict(late_float, rows, output, prompt="query")
    line = json.loads(output.read_text(encoding="utf-8"))
    assert line["id"] == 7
    np.testing.assert_array_equal(
        np.array(line["token_embeddings"], np.float32), octavo.load(late_float).embed(KOREAN, prompt="query")
    )


def test_neither_trimmed_nor_distilled(pylate, tmp_path):
    from octavo.shrinking.student import read_teacher

    with pytest.raises(octavo.CheckpointError, match="answers with vectors of tokens is not trimmed"):
        octavo.trim(pylate, tmp_path / "out", data=_texts(tmp_path))
    with pytest.raises(octavo.CheckpointError, match="models that answer with vectors of tokens are not distilled"):
        read_teacher(pylate)


def _texts(folder):
    file = folder / "texts.txt"
    file.write_text(KOREAN, encoding="utf-8")
    return file


SETTINGS = "config_sentence_transformers.json"


@pytest.mark.parametrize(
    ("file", "change", "told"),
    [
        (SETTINGS, {"query_prefix": "[질문] "}, r"the tokenizer has no token for query_prefix.*got: '\[질문\] '"),
        (
            SETTINGS,
            {"similarity_fn_name": "cosine"},
            "not carried over.*got: similarity_fn_name cosine; allowed: MaxSim",
        ),
        (SETTINGS, {"prompts": {"query": "물음: "}}, "not carried over.*got: the prompt query '물음: '"),
        ("1_Dense/config.json", {"activation_function": "torch.nn.Softmax"}, "got: activation_function Softmax"),
        ("1_Dense/config.json", {"in_features": 7}, "a Dense reads another width.*got: in_features 7; allowed: 48"),
        ("1_Dense/config.json", {"out_features": 7}, "the weights of a Dense have another size"),
        ("modules.json", [{"path": "", "type": "own.modules.CNN"}], "got: the module CNN"),
        ("sentence_bert_config.json", {"do_lower_case": True}, "got: do_lower_case in sentence_bert_config.json"),
    ],
)
def test_what_is_not_carried_over_is_refused(pylate, tmp_path, file, change, told):
    folder = Path(shutil.copytree(pylate, tmp_path / "changed"))
    stored = json.loads((folder / file).read_text(encoding="utf-8"))
    write(folder / file, stored | change if isinstance(change, dict) else change)
    with pytest.raises(octavo.CheckpointError, match=told):
        octavo.export(folder)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"do_query_expansion": False}, {"expansion": 0, "expansion_token_id": None, "attended": True}),
        ({"attend_to_expansion_tokens": True}, {"expansion": QUERY, "attended": True}),
        ({"query_prefix": "", "skiplist_words": []}, {"skipped": ()}),
    ],
)
def test_settings_of_a_pylate_folder(pylate, tmp_path, sentences, change, wanted):
    folder = Path(shutil.copytree(pylate, tmp_path / "changed"))
    stored = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    write(folder / SETTINGS, stored | change)
    how = read_source(folder).signature.token_vectors
    assert {name: getattr(how, name) for name in wanted} == wanted
    marker = None if "query_prefix" in change else "[Q] "
    attends = bool(change.get("attend_to_expansion_tokens"))
    expands = change.get("do_query_expansion", True)
    settings = {"marker": marker, "length": QUERY, "query": expands, "attends": attends}
    near(octavo.load(folder).embed(list(sentences), prompt="query"), by_transformers(folder, sentences, **settings))


def test_a_residual_projection_is_left_to_the_exporter(pylate, tmp_path, sentences):
    folder = Path(shutil.copytree(pylate, tmp_path / "residual"))
    file = folder / "1_Dense" / "config.json"
    stored = json.loads(file.read_text(encoding="utf-8")) | {
        "use_residual": True,
        "activation_function": "torch.nn.GELU",
    }
    write(file, stored)
    weights = {"linear.weight": normal(WIDTH, 48), "residual.weight": normal(WIDTH, 48, seed=5)}
    save_file(weights, folder / "1_Dense" / "model.safetensors")
    artifact = octavo.quantize(folder, tmp_path / "float", method="float")
    assert artifact.manifest.export.graph == "exported"
    near(*(octavo.load(one).embed(list(sentences)) for one in (artifact.folder, folder)), atol=1e-5)


def test_defaults_of_the_record():
    how = TokenVectors(dimension=3, lengths={"query": 5, "document": 7})
    assert how.unseen is None
    assert how.prompts == {"query": "", "document": ""}


def test_a_query_is_not_filled_up_with_what_ends_every_text(pylate, tmp_path):
    folder = Path(shutil.copytree(pylate, tmp_path / "copy"))
    settings = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    settings["mask_token"] = None
    write(folder / "tokenizer_config.json", settings | {"eos_token": settings["sep_token"]})
    with pytest.raises(
        octavo.CheckpointError, match=r"filled up with a token that ends every text.*give the tokenizer"
    ):
        octavo.load(folder)


def test_the_card_says_how_queries_and_documents_are_read(late_int8):
    card = (late_int8 / "README.md").read_text("utf-8")
    assert 'prompt="query"' in card
    assert "or a pair" not in card
    assert "`token_vectors` in `octavo.json`" in card


@pytest.mark.skipif(find_spec("pylate") is None, reason="PyLate is not installed")
def test_pylate_itself_gives_these_vectors(pylate, sentences):
    from pylate import models

    theirs, ours = models.ColBERT(str(pylate), device="cpu"), octavo.load(pylate)
    for kind in ("query", "document"):
        near(ours.embed(list(sentences), prompt=kind), theirs.encode(list(sentences), is_query=kind == "query"))


@pytest.mark.skipif(find_spec("sentence_transformers") is None, reason="sentence-transformers is not installed")
def test_a_multi_vector_encoder_itself_gives_these_vectors(multi_vector, sentences):
    home = pytest.importorskip("sentence_transformers.multi_vector_encoder", reason="it is older than version 6")
    theirs, ours, texts = home.MultiVectorEncoder(str(multi_vector), device="cpu"), octavo.load(multi_vector), sentences
    for kind, encode in (("query", theirs.encode_query), ("document", theirs.encode_document)):
        near(ours.embed(list(texts), prompt=kind), encode(list(texts), convert_to_numpy=True))
