"""Every task through compare and into both languages of the report, and the errors of models for another task."""

import json

import pytest
from scipy.stats import binomtest
from seqeval.metrics.sequence_labeling import get_entities

import octavo
from octavo.checkpoint.source import Checkpoint
from octavo.errors import CheckpointError, DataError, InputError
from octavo.evaluation.comparison import compare
from octavo.reporting.page import report_html, report_markdown
from octavo.schema.budget import Budget
from octavo.schema.comparison import read_comparison
from octavo.schema.recipe import Recipe

SCORE = {
    "token-classification": "entity_f1",
    "question-answering": "exact_match",
    "multiple-choice": "accuracy",
    "fill-mask": "accuracy",
}


def write_data(task, folder, sentences):
    """Forty rows of a task, and the same without what is right."""
    rows = []
    for index in range(40):
        text, other = sentences[index % 10], sentences[(index + 1 + index // 10) % 10]
        if task == "token-classification":
            words = text.split()
            rows.append({"tokens": words, "tags": [("O", "B-X", "I-X")[(index + i) % 3] for i in range(len(words))]})
        elif task == "question-answering":
            context = " ".join(sentences[: 2 + index % 8])
            rows.append({"question": other, "context": context, "answers": {"text": [context.split()[index % 5]]}})
        elif task == "multiple-choice":
            more = [one for one in sentences if one != other][: 1 + index % 3]  # of two that are alike neither is right
            rows.append({"text": text, "choices": [other, *more], "label": index % 2})
        else:
            rows.append({"text": f"{text} {other}"})
    bare = [{key: row[key] for key in row if key not in {"tags", "answers", "label"}} for row in rows]
    if task == "fill-mask":
        bare = [{"text": "[MASK] " + row["text"]} for row in rows]
    paths = [folder / "gold.jsonl", folder / "bare.jsonl"]
    for path, content in zip(paths, (rows, bare), strict=True):
        path.write_text("\n".join(json.dumps(row) for row in content), encoding="utf-8")
    return paths


def said(task, predictor, lines):
    """What a model says of each row, in a form where two models agree if they are equal."""
    if task == "token-classification":
        texts = [" ".join(line["tokens"]) for line in lines]
        tokens = predictor(texts, ignore_labels=())
        heads = [[one for one in row if not one["word"].startswith("##")] for row in tokens]
        return [get_entities([one["entity"] for one in row]) for row in heads]
    if task == "question-answering":
        rows = [(line["question"], line["context"]) for line in lines]
        ways = [predictor(rows, handle_impossible_answer=nothing) for nothing in (False, True)]
        return [tuple(one["answer"] for one in pair) for pair in zip(*ways, strict=True)]
    if task == "multiple-choice":
        return [one["index"] for one in predictor([(line["text"], line["choices"]) for line in lines])]
    return [logits.argmax(axis=1).tolist() for logits in predictor.logits([line["text"] for line in lines])]


def bytes_of(folder):
    """What inference needs of a checkpoint or an artifact: all but what is written for people."""
    return sum(file.stat().st_size for file in folder.iterdir() if file.name != "README.md")


@pytest.mark.parametrize("task", SCORE)
def test_compare_and_report(task, made, tiny, tmp_path, sentences):
    models = [made(tiny(task), method) for method in ("float", "dynamic")]
    gold, bare = write_data(task, tmp_path, sentences)
    found = compare(tiny(task), models, data=gold, threads=1)
    assert found.n == 40
    torch, exact, int8 = found.rows
    assert next(iter(torch.quality)) == SCORE[task]
    assert torch.quality == pytest.approx(exact.quality)
    assert exact.fidelity["agreement"] == 1
    assert int8.differences.keys() == int8.quality.keys()
    assert int8.closeness.keys() == {"agreement"}
    assert exact.batch_effect < 1e-3
    lines = [json.loads(line) for line in gold.read_text(encoding="utf-8").splitlines()]
    answers = [said(task, octavo.load(path), lines) for path in (tiny(task), models[1])]
    same = sum(one == other for one, other in zip(*answers, strict=True))
    assert int8.fidelity["agreement"] == pytest.approx(same / 40)
    bounds = binomtest(same, 40).proportion_ci(0.9, "wilson")  # 95 % on each side
    size = bytes_of(models[1]) / bytes_of(tiny(task))
    smallest = {"max_drop": 100, "max_size": 1.1 * size, "min_agreement": 0.99 * bounds.low}
    verdicts = {"PASS": smallest, "FAIL": smallest | {"max_size": 0.9 * size}}
    for verdict, limits in verdicts.items():
        judged = found.under(Budget(**limits)).rows[2].judgement
        assert judged.verdict == verdict, judged
    for limit in (bounds.low - 0.01, bounds.low + 0.01, bounds.high - 0.01, bounds.high + 0.01):
        verdict = "PASS" if limit <= bounds.low else "FAIL" if limit > bounds.high else "UNSURE"
        if limit <= 1:
            assert found.under(Budget(min_agreement=limit)).rows[2].judgement.verdict == verdict
    (drop,) = found.under(Budget(max_drop=50)).rows[2].judgement.checks
    assert drop.value == pytest.approx(100 * (torch.quality[SCORE[task]] - int8.quality[SCORE[task]]))
    found = found.under(Budget(**smallest))
    unscored = compare(models[0], models[1:], data=bare, threads=1)
    assert not unscored.rows[1].quality
    for one in (found, unscored):
        (tmp_path / "result.json").write_text(json.dumps(one.to_dict()), encoding="utf-8")
        again = read_comparison(tmp_path / "result.json")
        for language in ("ko", "en"):
            page, text = report_html(again, language), report_markdown(again, language)
            assert task in page
            for row in again.rows:
                assert row.name in page
                assert row.name in text
            assert ("PASS" in text) == (one is found)


@pytest.mark.parametrize("task", SCORE)
def test_the_format_torch_takes_every_task(task, tiny, tmp_path, sentences):
    artifact = octavo.quantize(tiny(task), tmp_path / "torch", recipe=Recipe(format="torch"))
    assert octavo.inspect(artifact.folder).loads_as == task
    gold, _ = write_data(task, tmp_path, sentences)
    exact, int8 = compare(tiny(task), [artifact.folder], data=gold, threads=1).rows
    assert (int8.engine, int8.quality.keys()) == ("torch", exact.quality.keys())
    assert int8.fidelity["kl"] < 0.1
    (tmp_path / "in.jsonl").write_text(json.dumps(ROWS[task]) + "\n", encoding="utf-8")
    octavo.predict(artifact.folder, tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    predictor = octavo.load(artifact.folder)
    (expected,) = predictor([ROWS[task]])
    told = json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8"))
    assert told == json.loads(json.dumps(predictor.task.to_json(expected)))
    assert type(predictor.model).__name__ == type(octavo.load(tiny(task)).model).__name__


ROWS = {  # of the sentences that the tokenizer here knows
    "token-classification": {"text": "아무도 공원에 없다."},
    "question-answering": {"question": "아무도 없다.", "context": "아이들이 공원에서 놀고 있다."},
    "multiple-choice": {"text": "아무도 없다.", "choices": ["아이들이 있다.", "공원에 없다.", "하늘은 맑다."]},
    "fill-mask": {"text": "[MASK] 공원에 없다."},
}


@pytest.mark.parametrize("task", ROWS)
def test_predict_reads_the_rows_of_the_task(task, made, tiny, tmp_path):
    folder, line = made(tiny(task), "float"), json.dumps(ROWS[task] | {"id": 3}, ensure_ascii=False)
    (tmp_path / "in.jsonl").write_text(f"{line}\n{line}\n", encoding="utf-8")
    octavo.predict(folder, tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    found = [json.loads(one) for one in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    predictor = octavo.load(folder)
    (expected,) = predictor([ROWS[task]])
    assert found == [{"id": 3} | json.loads(json.dumps(predictor.task.to_json(expected)))] * 2
    for bad in ('["a"]', '{"id": 3}', json.dumps(dict.fromkeys(ROWS[task], 3))):
        (tmp_path / "bad.jsonl").write_text(f"{line}\n{bad}\n", encoding="utf-8")
        with pytest.raises(DataError, match=r"bad\.jsonl, line 2"):
            octavo.predict(folder, tmp_path / "bad.jsonl", tmp_path / "bad.out")
        assert not (tmp_path / "bad.out").exists()


@pytest.mark.parametrize("task", ["question-answering", "multiple-choice", "fill-mask"])
def test_a_file_that_tells_of_some_rows_what_is_right(task, made, tiny, tmp_path, sentences):
    """Those that are known are scored; of texts with masks of their own, none."""
    gold, bare = (path.read_text(encoding="utf-8").splitlines() for path in write_data(task, tmp_path, sentences))
    data = tmp_path / "some.jsonl"
    data.write_text("\n".join([*gold[:30], *bare[30:]]), encoding="utf-8")
    models = [made(tiny(task), method) for method in ("float", "dynamic")]
    row = compare(models[0], models[1:], data=data, threads=1).rows[1]
    if task == "fill-mask":
        assert (row.quality, row.differences, row.groups) == ({}, {}, ())
        return
    data.write_text("\n".join(gold[:30]), encoding="utf-8")
    alone = compare(models[0], models[1:], data=data, threads=1).rows[1]
    assert row.quality == pytest.approx(alone.quality)
    found, expected = row.differences[SCORE[task]], alone.differences[SCORE[task]]
    assert (found.value, found.low, found.high) == pytest.approx(
        (expected.value, expected.low, expected.high), rel=0.05, abs=0.02
    )


def test_static_calibrates_on_texts(tiny, exported, tmp_path, sentences):
    data = tmp_path / "texts.txt"
    data.write_text("\n".join(sentences * 12), encoding="utf-8")
    floats = exported(tiny("token-classification"))
    artifact = octavo.quantize(floats, tmp_path / "static", recipe="static", calibration=data)
    assert artifact.manifest.calibration.rows == 120


def test_static_calibrates_on_the_files_of_the_task(tiny, exported, tmp_path, sentences):
    for task in SCORE:
        data = write_data(task, tmp_path, sentences)[0]
        with pytest.warns(octavo.OctavoWarning, match="40 examples are few"):
            artifact = octavo.quantize(exported(tiny(task)), tmp_path / task, recipe="static", calibration=data)
        assert artifact.manifest.calibration.rows == 40
        assert {layer.dtype for layer in artifact.manifest.layers} >= {"int8"}
        assert artifact.manifest.signature.task == task


@pytest.mark.parametrize("task", SCORE)
def test_a_model_for_another_task(task, made, tiny):
    folder = made(tiny(task), "float")
    assert octavo.load(folder, task=task).signature.task == task
    with pytest.raises(InputError) as raised:
        octavo.load(folder, task="text-classification")
    told = str(raised.value)
    assert f"this is a model for {task}, and not for text-classification" in told
    assert f"load it as {task}" in told
    with pytest.raises(CheckpointError, match=f"this is a model for {task}, and not for text-classification"):
        octavo.quantize(Checkpoint(tiny(task), "text-classification"), folder.parent / "wrong")
    with pytest.raises(CheckpointError, match=f"this is a model for {task}, and not for text-classification"):
        octavo.load(tiny(task), task="text-classification")
