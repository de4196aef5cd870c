"""Every task that compare scores is searched: with labels by their first score, without by agreement or likeness."""

import json
import random
from functools import cache
from pathlib import Path

import pytest

import octavo
from octavo.metrics.estimates import identical
from octavo.schema.recipe import Recipe
from octavo.schema.search import FLOAT, Candidate, Speed

SHARED = Path(__file__).resolve().parents[3] / "shared"
N = 200
LABELS = ("긍정", "부정", "중립")
DYNAMIC = [Candidate(Recipe())]
SETTINGS = {"several": {"problem_type": "multi_label_classification"}, "number": {"problem_type": "regression"}}


def lines(kind, text, draw):
    """A header and a line for each example."""
    pair = lambda: f"{text(5)}\t{text(4)}"  # noqa: E731
    if kind == "labels":
        return ["text\tlabel", *(f"{text(6)}\t{draw.choice(LABELS)}" for _ in range(N))]
    if kind == "several":
        return ["\t".join(("text", *LABELS)), *(f"{text(6)}\t1\t0\t{draw.randrange(2)}" for _ in range(N))]
    if kind == "numbers":
        return ["sentence1\tsentence2\tscore", *(f"{pair()}\t{draw.random():.2f}" for _ in range(N))]
    if kind == "texts":
        return [text(6) for _ in range(N)]
    if kind == "passages":
        queries = [text(6) for _ in range(N)]
        rows = [f"{query}\t{text(7)}\t{int(n == 0)}" for query in queries for n in range(3)]
        return ["query\tpassage\trelevance", *rows]
    return [
        line for _ in range(N) for line in [*(f"{word}\t{draw.choice(('O', 'B-X'))}" for word in text(6).split()), ""]
    ]


def objects(kind, text, draw):
    """Examples of the tasks whose files are JSON lines."""
    for number in range(N):
        if kind == "questions":
            context = text(9)
            answer = {"text": [context.split()[3]], "answer_start": [context.index(context.split()[3])]}
            yield {"id": str(number), "question": text(4), "context": context, "answers": answer}
        else:
            yield {"question": text(5), "choices": [text(3) for _ in range(3)], "label": draw.randrange(3)}


TASKS = {  # name -> architecture, its labels, the data, the limit, and what it is of
    "classifier": ("BertForSequenceClassification", LABELS, "labels", {"max_drop": 99.0}, "accuracy"),
    "several": ("BertForSequenceClassification", LABELS, "several", {"max_drop": 99.0}, "micro_f1"),
    "number": ("BertForSequenceClassification", ("점수",), "numbers", {"max_drop": 99.0}, "pearson"),
    "reranker": ("BertForSequenceClassification", ("점수",), "passages", {"max_drop": 99.0}, "ndcg_at_10"),
    "embedder": ("BertModel", LABELS, "numbers", {"max_drop": 99.0}, "spearman"),
    "embedder, texts alone": ("BertModel", LABELS, "texts", {"min_cosine": 0.5}, "cosine"),
    "embedder, a corpus": ("BertModel", LABELS, "passages", {"max_drop": 99.0}, "ndcg_at_10"),
    "tagger": ("BertForTokenClassification", ("O", "B-X", "I-X"), "tags", {"max_drop": 99.0}, "entity_f1"),
    "tagger, texts alone": ("BertForTokenClassification", ("O", "B-X"), "texts", {"min_agreement": 0.01}, "agreement"),
    "questions": ("BertForQuestionAnswering", ("START", "END"), "questions", {"max_drop": 99.0}, "exact_match"),
    "choices": ("BertForMultipleChoice", ("하나",), "choices", {"max_drop": 99.0}, "accuracy"),
    "fill-mask": ("BertForMaskedLM", LABELS, "texts", {"min_agreement": 0.01}, "agreement"),
}


@pytest.fixture(scope="module")
def model(tiny_parts, tmp_path_factory):
    """A function of an architecture, labels and settings: a tiny random BERT, made once."""

    @cache
    def make(architecture, labels, settings):
        import torch
        import transformers

        transformers.logging.disable_progress_bar()
        tokenizer = tiny_parts.make_tokenizer("bert")
        config = tiny_parts.make_config("bert", tokenizer)
        config.update({"id2label": dict(enumerate(labels)), "label2id": {name: n for n, name in enumerate(labels)}})
        config.update(dict(settings))
        torch.manual_seed(20)
        folder = tmp_path_factory.mktemp("models") / architecture
        getattr(transformers, architecture)(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make


@pytest.fixture
def searched(tmp_path, monkeypatch):
    """A function of a checkpoint, its data and a budget: the search, run to its end; speeds are told, not taken."""
    monkeypatch.setattr("octavo.pipeline.calibration.FEW", 0)
    told = Speed(identical(2.0), 100.0, 1.0, 2.0)
    asked = []

    def speeds(shop, candidates, split):
        asked.append(sum(len(batch.rows) for batch in shop.to_time(split).batches))
        return [told] * len(candidates)

    monkeypatch.setattr("octavo.tuning.measuring.Workshop.speeds", speeds)

    def run(checkpoint, data, budget):
        settings = {"data": data, "budget": octavo.Budget(**budget), "threads": 1}
        found = octavo.search(checkpoint, tmp_path / "int8", space=DYNAMIC, **settings)
        found.run()
        assert all(rows <= 2 * N for rows in asked), "a corpus is not timed whole"
        return found

    return run


@pytest.mark.parametrize("name", TASKS)
def test_it_is_searched(name, model, searched, sentences, tmp_path):
    architecture, labels, kind, budget, figure = TASKS[name]
    draw, words = random.Random(7), sorted({word for text in sentences for word in text.split()})

    def text(count):
        return " ".join(draw.sample(words, count))

    bare = {"texts": "자료.txt", "questions": "자료.jsonl", "choices": "자료.jsonl"}
    data = tmp_path / bare.get(kind, "자료.tsv")
    rows = (
        [json.dumps(one, ensure_ascii=False) for one in objects(kind, text, draw)]
        if data.suffix == ".jsonl"
        else lines(kind, text, draw)
    )
    data.write_text("\n".join(rows) + "\n", encoding="utf-8")
    settings = tuple(SETTINGS.get(name, {}).items())
    found = searched(model(architecture, labels, settings), data, budget)
    outcome = found.outcome
    assert (outcome.chosen, outcome.verdict) == (DYNAMIC[0], "PASS")
    likeness = outcome.confirmed.quality.differences | outcome.confirmed.quality.closeness
    assert outcome.confirmed.checks[0].value is not None
    assert figure in likeness
    assert outcome.confirmed.quality.moved > 0
    assert found.artifact.manifest.calibration.rows == len(found.identity.splits["calibration"])


def test_a_model_that_writes_is_searched(searched, tmp_path):
    if not SHARED.exists():
        pytest.skip("needs ../shared")
    source = SHARED / "data" / "tinystories_sample" / "tinystories_sample.txt"
    data = tmp_path / "이야기.txt"
    data.write_text("\n".join(source.read_text(encoding="utf-8").split("\n")[:N]), encoding="utf-8")
    data = octavo.DataFile(data, max_length=32)
    found = searched(SHARED / "models" / "stories260k" / "hf", data, {"max_drop": 50.0})
    assert found.outcome.chosen != FLOAT
    assert "perplexity" in found.outcome.confirmed.quality.differences
