"""What a model is calibrated on where the file is of queries and passages: texts of embedders, pairs of rerankers."""

import json

import pytest

from octavo.data.examples import DataFile, Example, example_hashes
from octavo.errors import OctavoWarning
from octavo.pipeline.calibration import read_calibration
from octavo.schema.signature import Pooling, Signature
from octavo.tasks import find_task

GROUPS = [
    {"query": "공원은 어디", "positive": "공원은 강가에 있다", "negative": ["비가 온다", "버스가 늦다"]},
    {"query": "비는 언제", "positive": "비가 온다", "negative": "공원은 강가에 있다"},
]
SIGNATURE = Signature(
    task="text-classification",
    input_names=("input_ids", "attention_mask"),
    output_names=("logits",),
    max_length=32,
    pad_token_id=0,
    labels=("LABEL_0",),
)
EMBEDDER = SIGNATURE.model_copy(
    update={
        "task": "feature-extraction",
        "labels": (),
        "pooling": Pooling(modes=("mean",), dimension=4, prompts={"query": "질문 ", "document": "글 "}),
    }
)


@pytest.fixture
def tokenizer_json(tiny_parts):
    return tiny_parts.make_tokenizer("bert").backend_tokenizer.to_str()


@pytest.fixture
def grouped(tmp_path):
    path = tmp_path / "groups.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in GROUPS), encoding="utf-8")
    return path


@pytest.fixture
def beir(tmp_path):
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    texts = {"p1": "공원은 강가에 있다", "p2": "비가 온다", "p3": "버스가 늦다"}
    rows = [{"_id": one, "text": text} for one, text in texts.items()]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    asked = [{"_id": f"q{number}", "text": one["query"]} for number, one in enumerate(GROUPS)]
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, asked)), encoding="utf-8")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq0\tp1\t1\nq1\tp2\t1\n", encoding="utf-8")
    return folder


def ids(tokenizer_json, signature, rows):
    task = find_task(signature)
    return sorted(tuple(row.ids) for row in task.encode(task.make_tokenizer(tokenizer_json), rows))


def read(file, tokenizer_json, signature):
    with pytest.warns(OctavoWarning, match="examples are few"):
        found = read_calibration(file, tokenizer_json, signature)
    rows = [
        tuple(row[: mask.sum()].tolist())
        for batch in found.batches
        for row, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)
    ]
    return found.record, sorted(rows)


def test_a_reranker_reads_each_query_with_its_passages(grouped, tokenizer_json):
    record, rows = read(DataFile(grouped), tokenizer_json, SIGNATURE)
    passages = [(one["positive"], *([x] if isinstance(x := one["negative"], str) else x)) for one in GROUPS]
    pairs = [(one["query"], text) for one, own in zip(GROUPS, passages, strict=True) for text in own]
    assert rows == ids(tokenizer_json, SIGNATURE, pairs)
    assert set(record.examples) == set(example_hashes([Example(one["query"]) for one in GROUPS]))  # what compare asks


@pytest.mark.parametrize("kind", ["grouped", "beir"])
def test_an_embedder_reads_queries_and_passages_behind_their_prompts(kind, request, tokenizer_json):
    record, rows = read(DataFile(request.getfixturevalue(kind)), tokenizer_json, EMBEDDER)
    texts = ["질문 공원은 어디", "질문 비는 언제", "글 공원은 강가에 있다", "글 비가 온다", "글 버스가 늦다"]
    assert rows == ids(tokenizer_json, EMBEDDER, [(text, None) for text in texts])
    assert example_hashes([Example("비가 온다")])[0] in record.examples


def test_a_sample_of_them_is_of_rows(grouped, tokenizer_json):
    record, rows = read(DataFile(grouped, limit=2), tokenizer_json, SIGNATURE)
    assert record.rows == len(rows) == 2


def test_pairs_without_a_passage_to_choose_from_are_read_too(tmp_path, tokenizer_json):
    path = tmp_path / "pairs.tsv"
    path.write_text("query\tpassage\n비는 언제\t비가 온다\n", encoding="utf-8")
    assert read(DataFile(path), tokenizer_json, SIGNATURE)[0].rows == 1
