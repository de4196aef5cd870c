"""Every task through compare and into both languages of the report, and the errors of models for another task."""

import json

import pytest

import octavo
from octavo.errors import CheckpointError, InputError
from octavo.evaluation.budget import Budget
from octavo.evaluation.comparison import compare
from octavo.evaluation.result import read_comparison
from octavo.reporting.page import report_html, report_markdown
from octavo.source import Checkpoint

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
            rows.append({"text": text, "choices": [other, *sentences[: 1 + index % 3]], "label": index % 2})
        else:
            rows.append({"text": f"{text} {other}"})
    bare = [{key: row[key] for key in row if key not in {"tags", "answers", "label"}} for row in rows]
    if task == "token-classification":
        bare = None
    if task == "fill-mask":
        bare = [{"text": "[MASK] " + row["text"]} for row in rows]
    paths = []
    for name, content in (("gold", rows), ("bare", bare)):
        if content is not None:
            paths.append(folder / f"{name}.jsonl")
            paths[-1].write_text("\n".join(json.dumps(row) for row in content), encoding="utf-8")
    return paths


@pytest.mark.parametrize("task", SCORE)
def test_compare_and_report(task, made, tiny, tmp_path, sentences):
    models = [made(tiny(task), method) for method in ("float", "dynamic")]
    gold, *bare = write_data(task, tmp_path, sentences)
    found = compare(tiny(task), models, data=gold, threads=1).under(Budget(max_drop=50, min_agreement=0.1))
    assert found.n == 40
    torch, exact, int8 = found.rows
    assert next(iter(torch.quality)) == SCORE[task]
    assert torch.quality == pytest.approx(exact.quality)
    assert exact.fidelity["agreement"] == 1
    assert int8.differences.keys() == int8.quality.keys()
    assert int8.closeness.keys() == {"agreement"}
    assert exact.batch_effect < 1e-3
    assert int8.judgement.verdict in {"PASS", "UNSURE", "FAIL"}
    comparisons = [found, *(compare(models[0], models[1:], data=path, threads=1) for path in bare)]
    assert all(not one.rows[1].quality for one in comparisons[1:])
    for one in comparisons:
        (tmp_path / "result.json").write_text(json.dumps(one.to_dict()), encoding="utf-8")
        again = read_comparison(tmp_path / "result.json")
        for language in ("ko", "en"):
            assert task in report_html(again, language)
            assert report_markdown(again, language)


def test_static_calibrates_on_the_files_of_the_task(tiny, tmp_path, sentences):
    for task in SCORE:
        data = write_data(task, tmp_path, sentences)[0]
        with pytest.warns(octavo.OctavoWarning, match="40 examples are few"):
            artifact = octavo.quantize(tiny(task), tmp_path / task, recipe="static", calibration=data)
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
