"""`smaller.py --only sentiment nli nli-labels killed`: fewer layers, beside runs with labels and without a teacher.

Scores are taken by plain torch and transformers, on all rows of a test set. "alone": the same layers of ko-encoder,
which never saw the task, trained on the labels by a plain Trainer as long, to its end. ko-nli: the pairs of KLUE-NLI,
alone and as all pairs of sentences that share a premise; judged on KorNLI; "nli-labels": three layers, without labels,
with them and without a teacher, all in one run. "killed": a process that learns from 1,500
reviews is killed (SIGKILL) at random moments, five of them after it has kept something, and begun again each time;
the weights of each end against those of a run left alone.
"""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
import time
from itertools import permutations
from pathlib import Path

import numpy as np
import torch
import transformers

import octavo
from machine import THREADS
from octavo.files import sha256_of

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

Row = tuple[str, str | None, str]  # text, second text, label
EPOCHS, RATE, BATCH = 3, 3e-4, 32  # the rate of what has no teacher
NLI = (  # layers, units in the feed-forward part of each (None: all), passes, whether pairs are recombined
    (3, None, 2, False),
    (3, None, 2, True),
    (2, None, 2, False),
    (4, 256, 2, False),
)


def rows_of(file: Path, text: str, pair: str | None, label: str) -> list[Row]:
    with file.open(encoding="utf-8", newline="") as stream:
        found = csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [(row[text], row[pair] if pair else None, row[label]) for row in found if row[label]]


def write(file: Path, rows: list[Row], *, labels: bool) -> Path:
    """Rows as a table, with their labels or without."""
    head = ["text", *(["text_pair"] if rows[0][1] is not None else []), *(["label"] if labels else [])]
    lines = ["\t".join(head)] + [
        "\t".join([one for one in row[:2] if one is not None] + [row[2]] * labels) for row in rows
    ]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def recombined(rows: list[Row]) -> list[Row]:
    """All pairs of the sentences that share a first one, both ways; no labels."""
    groups = dict[str, dict[str, None]]()
    for text, pair, _ in rows:
        groups.setdefault(text, {text: None})[str(pair)] = None
    return [(one, other, "") for group in groups.values() for one, other in permutations(group, 2)]


class Reader:
    """A checkpoint by plain transformers; label ids of rows by its names, or by `names`."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
        self.ids = {name: number for number, name in self.model.config.id2label.items()}

    def encode(self, rows: list[Row]):
        pairs = [one[1] for one in rows] if rows[0][1] is not None else None
        return self.tokenizer([one[0] for one in rows], pairs, padding=True, truncation=True, return_tensors="pt")

    def logits(self, rows: list[Row]) -> np.ndarray:
        order = sorted(range(len(rows)), key=lambda place: len(rows[place][0]) + len(rows[place][1] or ""))
        answers = np.zeros((len(rows), len(self.ids)), np.float32)
        for start in range(0, len(order), 128):
            places = order[start : start + 128]
            with torch.inference_mode():
                answers[places] = self.model(**self.encode([rows[place] for place in places])).logits.numpy()
        return answers


class Judge:
    """A teacher's answers to rows with labels, and how near others come."""

    def __init__(self, teacher: Path, rows: list[Row], names: dict[str, str]) -> None:
        reader = Reader(teacher)
        self.rows, self.teacher = rows, reader.logits(rows).argmax(1)
        self.gold = np.array([reader.ids[names.get(row[2], row[2])] for row in rows])

    def say(self, folder: Path) -> dict:
        answers = Reader(folder).logits(self.rows).argmax(1)
        right, before = (one == self.gold for one in (answers, self.teacher))
        moved = right.astype(float) - before
        return {
            "rows": len(self.rows),
            "teacher": round(100 * float(before.mean()), 2),
            "score": round(100 * float(right.mean()), 2),
            "drop": round(-100 * float(moved.mean()), 2),
            "drop_se": round(100 * float(moved.std(ddof=1)) / len(moved) ** 0.5, 2),
            "agreement": round(float((answers == self.teacher).mean()), 4),
        }


def distilled(teacher: Path, data: Path, output: Path, judge: Judge, **asked) -> dict:
    start = time.perf_counter()
    result = octavo.distill(teacher, output, data=data, **asked)
    found = {"minutes": round((time.perf_counter() - start) / 60, 1)} | judge.say(output)
    print(output.name, found, file=sys.stderr, flush=True)
    return found | {"lineage": json.loads(result.record.model_dump_json(exclude_none=True))}


def alone(teacher: Path, rows: list[Row], output: Path, layers: tuple[int, ...], passes: int) -> Path:
    """The same layers of the encoder that never saw the task, trained on labels: a checkpoint."""
    torch.manual_seed(0)
    config = transformers.AutoConfig.from_pretrained(teacher)
    reader = Reader(teacher)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        teacher.with_name("ko-encoder"), config=config
    )
    model.bert.encoder.layer = torch.nn.ModuleList(model.bert.encoder.layer[number] for number in layers)
    model.config.num_hidden_layers = len(layers)
    pairs = [row[1] for row in rows] if rows[0][1] is not None else None
    tokens = reader.tokenizer([row[0] for row in rows], pairs, truncation=True)
    labels = [reader.ids[row[2]] for row in rows]
    data = [
        {name: values[place] for name, values in tokens.items()} | {"labels": labels[place]}
        for place in range(len(rows))
    ]
    arguments = transformers.TrainingArguments(
        output_dir=str(output) + ".training",
        num_train_epochs=passes,
        per_device_train_batch_size=BATCH,
        learning_rate=RATE,
        warmup_steps=100,
        train_sampling_strategy="group_by_length",
        dataloader_pin_memory=False,
        save_strategy="no",
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
        logging_strategy="no",
    )
    transformers.Trainer(
        model=model,
        args=arguments,
        train_dataset=data,
        data_collator=transformers.DataCollatorWithPadding(reader.tokenizer),
    ).train()
    model.save_pretrained(output)
    reader.tokenizer.save_pretrained(output)
    return output


def by_teaching(teacher: Path, rows: list[Row], folder: Path, judge: Judge, layers: int, passes: int) -> dict:
    """So many layers by the teacher's answers, and the same ones by these and labels, and by labels alone."""
    texts, labels = (write(folder / f"{name}.tsv", rows, labels=name == "labels") for name in ("texts", "labels"))
    found = {"labels unused": distilled(teacher, texts, folder / "unlabelled", judge, layers=layers, epochs=passes)}
    kept = tuple(found["labels unused"]["lineage"]["layers"])
    found["labels used"] = distilled(
        teacher, labels, folder / "labelled", judge, layers=kept, epochs=passes, use_labels=True
    )
    found["alone"] = judge.say(alone(teacher, rows, folder / "alone", kept, passes))
    return found


def in_int8(teacher: Path, student: Path, calibration: Path, judged: Path) -> dict:
    """The student in static int8 beside the teacher in torch, both timed on the same rows, in turns."""
    examples = octavo.DataFile(calibration, limit=300)
    octavo.quantize(student, student.with_name("int8"), recipe="static", calibration=examples)
    found = octavo.compare(teacher, [student.with_name("int8")], data=octavo.DataFile(judged), threads=THREADS)
    row, (_, difference) = found.rows[1], next(iter(found.rows[1].differences.items()))
    return {
        "rows": found.n,
        "engine": row.engine,
        "busy": found.was_busy,
        "speedup": [row.speedup.value, row.speedup.low, row.speedup.high],
        "size": 1 / row.smaller,
        "difference": [100 * one for one in (difference.value, difference.low, difference.high)],
        "agreement": row.fidelity["agreement"],
    }


def sentiment(shared: Path, folder: Path, *, quick: bool) -> dict:
    teacher, names = shared / "models/ko-sentiment", {"0": "negative", "1": "positive"}
    nsmc = [rows_of(shared / "data/nsmc" / name, "document", None, "label") for name in ("train_60k.tsv", "test.tsv")]
    rows, judged = (part[:1500] for part in nsmc) if quick else nsmc
    judge = Judge(teacher, judged, names)
    labelled, held = ([(*row[:2], names[row[2]]) for row in part] for part in (rows, judged))
    runs = by_teaching(teacher, labelled, folder, judge, 2, 1 if quick else EPOCHS)
    judged_file = write(folder / "judged.tsv", held, labels=True)
    return {"runs": runs, "int8": in_int8(teacher, folder / "unlabelled", folder / "texts.tsv", judged_file)}


def pairs_of(shared: Path, *, quick: bool) -> tuple[Path, list[Row], Judge]:
    """ko-nli, the pairs that its students learn from, and who judges them."""
    teacher, columns = shared / "models/ko-nli", ("sentence1", "sentence2", "gold_label")
    rows = rows_of(shared / "data/klue_nli/train.tsv", *columns)
    judged = rows_of(shared / "data/kornli/xnli.test.ko.tsv", *columns)
    return teacher, rows, Judge(teacher, judged[:500] if quick else judged, {})


def nli_labels(shared: Path, folder: Path, *, quick: bool) -> dict:
    """Three layers of ko-nli by what teaches them."""
    teacher, rows, judge = pairs_of(shared, quick=quick)
    rows, passes = (rows[:1500], 1) if quick else (rows, NLI[0][2])
    return {"runs": by_teaching(teacher, rows, folder, judge, NLI[0][0], passes)}


def nli(shared: Path, folder: Path, *, quick: bool) -> dict:
    teacher, rows, judge = pairs_of(shared, quick=quick)
    rows, others = (part[:1500] if quick else part for part in (rows, recombined(rows)))
    found = {}
    for layers, ffn, passes, many in NLI[:2] if quick else NLI:
        narrower = f" of {ffn} units" if ffn else ""
        name, output = f"{layers} layers{narrower}, {passes} x {len(rows):,} pairs", folder / f"nli-{len(found)}"
        chosen = rows
        if many:  # as many pairs in all, each of them once
            name, chosen = f"{name} recombined", random.Random(0).sample(others, min(len(others), passes * len(rows)))
        data = write(folder / f"pairs-{len(found)}.tsv", chosen, labels=False)
        found[name] = distilled(teacher, data, output, judge, layers=layers, ffn=ffn, epochs=1 if many else passes)
    return {"runs": found}


def killed(shared: Path, folder: Path, **_: bool) -> dict:
    """Weights of a run that was killed five times, and of one that was not."""
    rows = rows_of(shared / "data/nsmc/train_60k.tsv", "document", None, "label")[:1500]
    data = write(folder / "few.tsv", rows, labels=False)

    def command(output: Path) -> list[str]:
        asked = ["--data", str(data), "-o", str(output), "--layers", "2", "--epochs", "2"]
        return [sys.executable, "-m", "octavo", "distill", str(shared / "models/ko-sentiment"), *asked]

    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    start = time.perf_counter()
    subprocess.run(command(folder / "whole"), check=True, **quiet)
    seconds, chance, runs = time.perf_counter() - start, random.Random(20), []
    while sum(len(run["seconds"]) for run in runs) < 5:  # kills of trainings that had begun, and every end is compared
        moments, found = [], folder / f"killed-{len(runs)}"
        kept = found.with_name(f"{found.name}.training")
        while not found.exists():
            moment = chance.uniform(0.3, 0.7) * seconds
            run = subprocess.Popen(command(found), **quiet)
            try:
                if run.wait(moment):
                    raise SystemExit("distill failed")
            except subprocess.TimeoutExpired:
                begun = any(kept.glob("checkpoint-*"))
                run.kill()
                run.wait()
                moments += [round(moment, 1)] if begun else []
            if len(moments) == 5 and not found.exists():
                subprocess.run(command(found), check=True, **quiet)
        same = sha256_of(found / "model.safetensors") == sha256_of(folder / "whole" / "model.safetensors")
        runs.append({"seconds": moments, "same": same})
    return {"runs": runs, "same": all(run["same"] for run in runs)}
