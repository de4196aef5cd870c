"""Models that answer with several labels, one logit or a number, through compare and its reports."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from octavo.errors import DataError, InputError
from octavo.evaluation.benchmark import Timing
from octavo.evaluation.comparison import compare
from octavo.reporting.page import report_html, report_markdown
from octavo.schema.budget import Budget

LABELS = ("기쁨", "슬픔", "분노")
N = 60


@pytest.fixture
def answered(demo_float, tmp_path, monkeypatch):
    """A function of a signature, two models' outputs and a file's text: their comparison, nothing being run."""

    def run(signature, outputs, text, name="data.tsv"):
        folders = []
        for index in range(len(outputs)):
            folder = Path(shutil.copytree(demo_float, tmp_path / f"model{index}"))
            fields = json.loads((folder / "octavo.json").read_text(encoding="utf-8"))
            fields["signature"].update(signature)
            (folder / "octavo.json").write_text(json.dumps(fields), encoding="utf-8")
            folders.append(folder)
        (tmp_path / name).write_text(text, encoding="utf-8")
        single = np.linspace(0.001, 0.003, 101)
        timings = [Timing(one, one[:1], one[:1], np.full((1, 3), 2.0), single, 0.5, 0.6, 2**30) for one in outputs]
        monkeypatch.setattr("octavo.evaluation.comparison.run_benchmark", lambda *_, **__: timings)
        found = compare(folders[0], folders[1:], data=tmp_path / name)
        for one in (found, found.under(Budget(max_drop=90))):
            for language in ("ko", "en"):
                assert found.rows[1].name in report_html(one, language)
                assert found.rows[1].name in report_markdown(one, language)
        return found

    return run


def logits(seed, columns):
    generator = np.random.default_rng(seed)
    first = generator.normal(size=(N, columns)).astype(np.float32)
    return first, first + 0.3 * generator.normal(size=first.shape).astype(np.float32)


@pytest.mark.parametrize("way", ["bars", "lists", "columns"])
def test_several_labels_at_once(answered, way):
    first, second = logits(1, 3)
    generator = np.random.default_rng(2)
    gold = generator.random((N, 3)) < (0.6, 0.3, 0.2)
    names = [[LABELS[index] for index in np.flatnonzero(row)] for row in gold]
    if way == "bars":
        text, name = "text\tlabels\n" + "".join(f"글{i}\t{'|'.join(row)}\n" for i, row in enumerate(names)), "a.tsv"
    elif way == "lists":
        rows = [json.dumps({"text": f"글{i}", "labels": row}, ensure_ascii=False) for i, row in enumerate(names)]
        text, name = "\n".join(rows), "a.jsonl"
    else:
        cells = ["\t".join(str(int(cell)) for cell in row) for row in gold]
        text = "\t".join(("text", *LABELS)) + "\n" + "".join(f"글{i}\t{row}\n" for i, row in enumerate(cells))
        name = "a.tsv"
    signature = {"labels": LABELS, "problem_type": "multi_label_classification"}
    found = answered(signature, (first, second), text, name)
    for row, output in zip(found.rows, (first, second), strict=True):
        assert row.quality == {
            "micro_f1": pytest.approx(f1_score(gold, output > 0, average="micro")),
            "macro_f1": pytest.approx(f1_score(gold, output > 0, average="macro")),
            "subset_accuracy": pytest.approx(np.mean((gold == (output > 0)).all(axis=1))),
        }
    row = found.rows[1]
    assert row.fidelity["agreement"] == pytest.approx(np.mean(((first > 0) == (second > 0)).all(axis=1)))
    classes = {group.name: group for group in row.groups if group.kind == "class"}
    expected = f1_score(gold, second > 0, average=None)
    assert [classes[label].value for label in LABELS] == pytest.approx(expected.tolist())
    assert row.differences["micro_f1"].low < row.differences["micro_f1"].high
    assert row.changed[0].before.label != row.changed[0].after.label
    assert (row.mcnemar, row.modelled) == (None, None)


def test_one_logit(answered):
    first, second = logits(3, 1)
    gold = (first[:, 0] + np.random.default_rng(4).normal(size=N) > 0).astype(int)
    text = "text\tlabel\n" + "".join(f"글{i}\t{one}\n" for i, one in enumerate(gold))
    found = answered({"labels": ["LABEL_0"], "problem_type": None}, (first, second), text)
    for row, output in zip(found.rows, (first, second), strict=True):
        assert row.quality == {
            "binary_accuracy": pytest.approx(np.mean((output[:, 0] > 0) == gold)),
            "auc": pytest.approx(roc_auc_score(gold, output[:, 0])),
        }
    row = found.rows[1]
    assert row.fidelity["agreement"] == pytest.approx(np.mean((first > 0) == (second > 0)))
    assert row.modelled is not None
    assert {group.name for group in row.groups if group.kind == "class"} == {"0", "1"}


@pytest.mark.parametrize("labels", [["LABEL_0"], ["점수"]])
def test_a_number(answered, labels):
    first, second = logits(5, 1)
    gold = np.round(first[:, 0] + np.random.default_rng(6).normal(size=N), 1)
    text = "sentence1\tsentence2\tscore\n" + "".join(f"글{i}\t다른 글\t{one}\n" for i, one in enumerate(gold))
    found = answered({"labels": labels, "problem_type": "regression"}, (first, second), text)
    for row, output in zip(found.rows, (first, second), strict=True):
        assert list(row.quality) == ["pearson", "spearman", "mae"]
        assert row.quality["pearson"] == pytest.approx(np.corrcoef(gold, output[:, 0])[0, 1])
        assert row.quality["mae"] == pytest.approx(np.abs(gold - output[:, 0]).mean())
    row = found.rows[1]
    assert (row.closeness.keys(), row.fidelity.keys()) == ({"tau"}, {"tau", "moved"})
    assert row.closeness["tau"].value == row.fidelity["tau"]
    assert row.closeness["tau"].low < row.fidelity["tau"] < row.closeness["tau"].high
    assert (row.mcnemar, row.modelled) == (None, None)
    assert row.changed[0].gold == gold[row.changed[0].row]


def test_one_logit_and_numbers_between_0_and_1(answered):
    """Those of a CrossEncoder with a sigmoid, trained on similarities."""
    first, second = logits(7, 1)
    gold = np.round(1 / (1 + np.exp(-first[:, 0])), 2)
    text = "text\tscore\n" + "".join(f"글{i}\t{one}\n" for i, one in enumerate(gold))
    found = answered({"labels": ["LABEL_0"], "problem_type": None}, (first, second), text)
    assert list(found.rows[0].quality) == ["pearson", "spearman", "mae"]
    assert found.rows[0].quality["mae"] < 0.006


def test_without_labels(answered):
    first, second = logits(8, 1)
    text = "text\n" + "".join(f"글{i}\n" for i in range(N))
    found = answered({"labels": ["LABEL_0"], "problem_type": "regression"}, (first, second), text)
    assert (found.rows[1].quality, found.rows[1].closeness.keys()) == ({}, {"tau"})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("text\tlabels\n가\t기쁨|화남\n", "the model has no label '화남'.*line 2"),
        ("text\tlabels\n가\t기쁨||분노\n", "a list of labels has an empty one.*line 2"),
        ("text\t기쁨\t슬픔\n가\t1\t0\n", "some labels have a column, others none.*allowed: 분노"),
        ("text\t기쁨\t슬픔\t분노\n가\t1\t2\t0\n", "'슬픔' does not say whether the row has this label.*got: '2'"),
    ],
)
def test_files_that_do_not_fit(answered, text, told):
    signature = {"labels": LABELS, "problem_type": "multi_label_classification"}
    with pytest.raises(DataError, match=told):
        answered(signature, logits(1, 3), text)


def test_models_that_answer_in_other_ways(demo_float, answered, tmp_path):
    with pytest.raises(InputError, match="compare scores one number a row; got: regression with 3 outputs"):
        answered({"problem_type": "regression"}, logits(1, 3), "text\n가\n")
    (tmp_path / "data.tsv").write_text("text\n가\n", encoding="utf-8")
    for name in ("model0", "model1"):
        shutil.rmtree(tmp_path / name)
    folder = Path(shutil.copytree(demo_float, tmp_path / "several"))
    fields = json.loads((folder / "octavo.json").read_text(encoding="utf-8"))
    fields["signature"]["problem_type"] = "multi_label_classification"
    (folder / "octavo.json").write_text(json.dumps(fields), encoding="utf-8")
    with pytest.raises(InputError, match="the models do not answer alike; got: problem_type multi_label"):
        compare(demo_float, [folder], data=tmp_path / "data.tsv")
