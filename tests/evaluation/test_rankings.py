"""Rerankers and embedders on queries and passages, through compare and its reports."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from octavo.cli.order import check_compare
from octavo.data.ranking import files_of
from octavo.errors import InputError
from octavo.evaluation.benchmark import Timing
from octavo.evaluation.comparison import compare
from octavo.files import sha256_of
from octavo.metrics.ranking import OF_A_QUERY
from octavo.reporting.page import report_html, report_markdown
from octavo.schema.budget import Budget
from octavo.schema.comparison import read_comparison

QUERIES, PASSAGES = 30, 14
POOLING = {"modes": ["mean"], "dimension": 8, "prompts": {"query": "질문 ", "passage": "글 "}}
EMBEDDER = {"task": "feature-extraction", "labels": [], "pooling": POOLING, "output_names": ["last_hidden_state"]}


@pytest.fixture
def ranked(demo_float, tmp_path, monkeypatch):
    """A function of a signature and two models' outputs: their comparison on 30 queries, nothing being run."""
    generator = np.random.default_rng(1)
    grades = generator.integers(0, 3, (QUERIES, PASSAGES)) * (generator.random((QUERIES, PASSAGES)) < 0.3)
    grades[0] = 0  # of this one nothing is known

    def run(signature, outputs, *, judged=True, beir=None, **settings):
        folders = []
        for index in range(len(outputs)):
            folder = Path(shutil.copytree(demo_float, tmp_path / f"model{index}"))
            fields = json.loads((folder / "octavo.json").read_text(encoding="utf-8"))
            fields["signature"].update(signature)
            (folder / "octavo.json").write_text(json.dumps(fields), encoding="utf-8")
            folders.append(folder)
        rows = [(q, p, grades[q, p]) for q in range(QUERIES) for p in range(PASSAGES)]
        lines = ["\t".join(("query", "passage", "relevance")[: 3 if judged else 2])]
        lines += ["\t".join((f"물음 {q}", f"글 {p:02}", str(s))[: 3 if judged else 2]) for q, p, s in rows]
        (tmp_path / "data.tsv").write_text("\n".join(lines), encoding="utf-8")
        data = write_folder(beir, grades) if beir else tmp_path / "data.tsv"
        asked = {}

        def benchmark(contenders, batches, **_):
            asked["rows"] = sum(len(batch.rows) for batch in batches[0])
            single, turns = np.linspace(0.001, 0.003, 101), np.full((1, 3), 2.0)
            return [Timing(one(asked["rows"]), one(2), one(2), turns, single, 0.5, 0.6, 2**30) for one in outputs]

        monkeypatch.setattr("octavo.evaluation.comparison.run_benchmark", benchmark)
        found = compare(folders[0], folders[1:], data=data, **settings).under(Budget(max_drop=90))
        (tmp_path / "out.json").write_text(json.dumps(found.to_dict()), encoding="utf-8")
        for language in ("ko", "en"):
            again = read_comparison(tmp_path / "out.json")
            assert found.rows[1].name in report_html(again, language)
            assert found.rows[1].name in report_markdown(again, language)
        return found, grades, asked["rows"]

    return run


def write_folder(folder, grades):
    """The same as BEIR writes it; the ids of passages rise with their numbers."""
    (folder / "qrels").mkdir(parents=True)
    for name, kind, count in (("corpus", "글", PASSAGES), ("queries", "물음", QUERIES)):
        lines = [json.dumps({"_id": f"{kind}{i:02}", "text": f"{kind} {i}"}) for i in range(count)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    rows = [f"물음{q:02}\t글{p:02}\t{grades[q, p]}" for q in range(QUERIES) for p in range(PASSAGES)]
    text = "\n".join(["query-id\tcorpus-id\tscore", *rows])
    (folder / "qrels" / "test.tsv").write_text(text, encoding="utf-8")
    return folder


def noisy(seed, columns, noise):
    def outputs(rows):
        generator = np.random.default_rng(seed)
        first = generator.normal(size=(rows, columns))
        return (first + noise * generator.normal(size=first.shape)).astype(np.float32)

    return outputs


def test_a_reranker(ranked):
    outputs = noisy(2, 1, 0), noisy(2, 1, 0.3)
    found, _, rows = ranked({"labels": ["LABEL_0"], "problem_type": None}, outputs)
    assert (found.n, found.texts, rows) == (QUERIES, QUERIES, QUERIES * PASSAGES)
    first, row = found.rows
    assert list(first.quality) == list(OF_A_QUERY[:4])
    difference = row.differences["ndcg_at_10"]
    assert difference.value == pytest.approx(row.quality["ndcg_at_10"] - first.quality["ndcg_at_10"])
    assert difference.low < difference.lower < difference.value < difference.upper < difference.high
    assert row.fidelity.keys() == {"agreement", "top_10", "tau", "rbo"}
    assert 0.6 < row.fidelity["tau"] < 1
    assert row.closeness["agreement"].value == row.fidelity["agreement"]
    assert row.judgement.verdict == "PASS"
    assert {group.kind for group in row.groups} == {"length"}
    assert row.changed[0].before.label.startswith("글 ")


def test_the_scores_of_a_reranker_are_scikit_learns(ranked):
    """Its logits, put back to the pairs of the file; passages stand by falling hashes of their texts."""
    outputs = noisy(2, 1, 0)
    found, grades, rows = ranked({"labels": ["LABEL_0"], "problem_type": "regression"}, (outputs, noisy(3, 1, 0)))
    order = sorted(range(PASSAGES), key=lambda p: hashlib.sha256(f"글 {p:02}".encode()).hexdigest(), reverse=True)
    scores = np.empty((QUERIES, PASSAGES))
    scores[:, order] = outputs(rows).reshape(QUERIES, PASSAGES)
    known = grades.sum(axis=1) > 0
    assert found.rows[0].quality["ndcg_at_10"] == pytest.approx(ndcg_score(grades[known], scores[known], k=10))


def test_an_embedder(ranked):
    outputs = noisy(4, 8, 0), noisy(4, 8, 0.1)
    found, _, rows = ranked(EMBEDDER, outputs)
    assert (found.n, found.texts, rows) == (QUERIES, QUERIES + PASSAGES, QUERIES + PASSAGES)
    assert list(found.rows[0].quality) == list(OF_A_QUERY)
    row = found.rows[1]
    assert row.fidelity.keys() == {"cosine_mean", "cosine_p1", "cosine_min", "top_10", "tau", "rbo"}
    assert row.closeness.keys() == {"cosine", "cosine_p1"}
    assert row.quality["recall_at_100"] == 1  # of 14 passages
    assert row.differences["ndcg_at_10"].low < 0 < row.differences["ndcg_at_10"].high


def test_a_folder_of_beir(ranked, tmp_path):
    """Passages stand by falling ids; the record of the data has the hash of all its files."""
    outputs, folder = noisy(4, 8, 0), tmp_path / "beir"
    found, grades, rows = ranked(EMBEDDER, (outputs, noisy(4, 8, 0.1)), beir=folder)
    vectors, known = outputs(rows), grades.sum(axis=1) > 0
    queries, passages = vectors[:QUERIES], vectors[QUERIES:][::-1]
    scores = (queries @ passages.T) / np.linalg.norm(passages, axis=1)
    assert found.rows[0].quality["ndcg_at_10"] == pytest.approx(ndcg_score(grades[known], scores[known], k=10))
    before = found.data.sha256
    (folder / "queries.jsonl").write_text(
        (folder / "queries.jsonl").read_text(encoding="utf-8") + "\n", encoding="utf-8"
    )
    assert before != sha256_of(*files_of(folder))
    assert check_compare(["a", "b"], folder) == folder


def test_without_relevance_there_is_likeness_only(ranked):
    found, _, _ = ranked({"labels": ["LABEL_0"]}, (noisy(5, 1, 0), noisy(5, 1, 1e-6)), judged=False)
    row = found.rows[1]
    assert (row.quality, row.differences, row.groups) == ({}, {}, ())
    assert row.fidelity["tau"] > 0.999
    assert row.closeness["agreement"].value == row.fidelity["agreement"] == 1


@pytest.mark.parametrize(("signature", "columns"), [({"labels": ["LABEL_0"]}, 1), (EMBEDDER, 8)])
def test_outputs_that_hardly_move_pass_a_budget(ranked, signature, columns):
    """Thirty queries of which none changed allow points; that no score moved by more than 1e-6 makes it nothing."""
    found, _, _ = ranked(signature, (noisy(6, columns, 0), noisy(6, columns, 1e-6)))
    difference = found.rows[1].differences["ndcg_at_10"]
    assert abs(difference.value) < 1e-9
    assert -0.005 < difference.low <= difference.high < 0.005


def test_vectors_as_they_might_be_stored(ranked):
    """Bits by their Hamming distances and codes by their cosines, counted here; a second look brings some back."""
    outputs = noisy(7, 8, 0), noisy(7, 8, 0.02)
    settings = {"dimensions": (4, 8), "precision": ("float32", "int8", "binary")}
    found, grades, rows = ranked(EMBEDDER, outputs, **settings)
    kinds = [(one.dimensions, one.precision, one.rescored) for one in found.rows[0].stored]
    each = [("float32", False), ("int8", False), ("int8", True), ("binary", False), ("binary", True)]
    assert kinds == [(count, *kind) for count in (4, 8) for kind in each]
    assert [one.bytes for one in found.rows[1].stored] == [16, 4, 4, 1, 1, 32, 8, 8, 1, 1]
    vectors = outputs[1](rows)
    queries, passages = vectors[:QUERIES], vectors[QUERIES:]
    names = sorted(range(PASSAGES), key=lambda p: hashlib.sha256(f"글 {p:02}".encode()).hexdigest(), reverse=True)
    known = grades.sum(axis=1) > 0
    for one in found.rows[1].stored:
        q, p = queries[:, : one.dimensions], passages[:, : one.dimensions]
        if one.rescored or one.precision == "int8":
            continue
        if one.precision == "binary":
            scores = -((q > 0)[:, None] != (p > 0)).sum(axis=2) - np.arange(PASSAGES) / 1000  # of equal ones the first
        else:
            scores = (q @ p.T) / np.linalg.norm(p, axis=1)
        ordered = np.empty(scores.shape)
        ordered[:, names] = scores
        assert one.quality["ndcg_at_10"] == pytest.approx(ndcg_score(grades[known], ordered[known], k=10))
        moved = one.quality["ndcg_at_10"] - found.rows[0].quality["ndcg_at_10"]
        assert one.differences["ndcg_at_10"].value == pytest.approx(moved)
    whole = found.rows[0].stored[5]
    assert (whole.dimensions, whole.precision, whole.top_10) == (8, "float32", 1)
    assert whole.quality == pytest.approx(found.rows[0].quality)
    assert 0.7 < found.rows[0].stored[6].top_10 < 1  # codes are not about 0: their cosines are others
    assert found.rows[0].stored[9].top_10 > found.rows[0].stored[8].top_10
    text = report_markdown(found)
    assert "Stored vectors" in text
    assert "8 binary" in text


def test_settings_of_vectors_that_might_be_stored(ranked):
    with pytest.raises(InputError, match="--dimensions is how many numbers are kept; got: 9; allowed: 1 to 8"):
        ranked(EMBEDDER, (noisy(2, 8, 0), noisy(2, 8, 0.1)), dimensions=(9,))


def test_a_reranker_has_no_vectors_to_store(ranked):
    with pytest.raises(InputError, match="stored vectors are scored by a search; got: a model for text-classification"):
        ranked({"labels": ["LABEL_0"]}, (noisy(2, 1, 0), noisy(2, 1, 0.1)), precision=("binary",))
