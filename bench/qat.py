"""What training for int8 gives beside static int8: how near each is to the float model, on rows that neither has seen.

    .venv/bin/python bench/qat.py [--shared ../shared] [--only nli ner outliers int4 shares] [--steps 400] [--quick]

nli: ko-nli, trained on the texts of KLUE-NLI (labels unread), asked KorNLI's test set. ner: ko-ner, trained on the
training texts of WikiANN (PAN-X), asked its dev set. outliers: ko-nli with four channels of each attention's values a
hundred times as large, and its output projection's weights for them a hundredth: the same function in float. int4:
ko-nli with weights of 4 bits, as they are rounded, without a step of training, and trained. shares: the distance of
ko-nli and ko-ner to float, in torch, where only activations are rounded, only weights or only tables, and nothing is
trained; of ko-ner all tokens count there. The teacher is the float model itself. Static int8 is calibrated on the 300
rows that the ranges start from. All is for any CPU (weights of 8 bits in pairs), and but for shares run on ONNX
Runtime.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import transformers

import octavo
from machine import machine
from octavo import qat
from octavo.checkpoint.source import read_source
from octavo.data.examples import DataFile
from octavo.encoding.batching import make_batches
from octavo.encoding.tokenizing import Asked
from octavo.qat.model import held
from octavo.schema.recipe import Recipe
from octavo.schema.signature import lower_limit
from octavo.tasks import find_task

ROOT = Path(__file__).resolve().parents[1]
BATCH, LENGTH = 16, 48
RATE, LARGE = 1e-5, 1e-4  # the second where rounding has ruined the model: the less there is to mend, the lower
CALIBRATION, OUTLIERS, FACTOR = 300, 4, 100.0
PARTS = ("nli", "ner", "outliers", "int4", "shares")
ROUNDED = ("activations", "weights", "tables")
ASKED = {"nli": "kornli/xnli.test.ko.tsv", "ner": "panx/dev-ko.tsv"}
TRAINED = {"nli": "klue_nli/train.tsv", "ner": "panx/train-ko.tsv"}
STARTS = {"nli": "kornli/xnli.dev.ko.tsv", "ner": "panx/train-ko.tsv"}


def load(folder: Path, task: str):
    kind = transformers.AutoModelForTokenClassification if task == "ner" else None
    return (kind or transformers.AutoModelForSequenceClassification).from_pretrained(folder).eval()


def inputs_of(checkpoint: Path, file: Path, limit: int | None, batch: int, seed: int = 0) -> list[dict]:
    """Examples as batches of tensors, similar lengths together, in a random order."""
    signature = read_source(checkpoint).signature
    task = find_task(lower_limit(signature, LENGTH))
    examples = task.read_examples(DataFile(file, limit=limit, seed=seed))
    tokenizer = task.make_tokenizer((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))
    batches = make_batches(task.encode(tokenizer, task.rows(examples)), task.signature, batch * LENGTH, batch)
    tensors = [{name: torch.from_numpy(array) for name, array in one.inputs.items()} for one in batches]
    order = np.random.default_rng(seed).permutation(len(tensors))
    return [tensors[index] for index in order]


def train(student, teacher, batches: Sequence[dict], steps: int, rate: float) -> Iterator[float]:
    """Self-distillation: KL of the answers, and the mean squared difference of the hidden states."""
    optimizer = torch.optim.AdamW(student.parameters(), lr=rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda k: min((k + 1) / 20, max(0.0, 1 - k / max(steps, 1)))
    )
    for step in range(steps):
        batch = batches[step % len(batches)]
        with torch.no_grad():
            wanted = teacher(**batch, output_hidden_states=True)
        found = student(**batch, output_hidden_states=True)
        real = batch["attention_mask"].bool()
        logits = [one.logits[real] if one.logits.ndim == 3 else one.logits for one in (found, wanted)]
        loss = torch.nn.functional.kl_div(
            logits[0].log_softmax(-1), logits[1].log_softmax(-1), log_target=True, reduction="batchmean"
        )
        for mine, own in zip(found.hidden_states, wanted.hidden_states, strict=True):
            loss = loss + (mine - own)[real].square().mean() / own[real].var()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step == int(0.8 * steps):
            qat.freeze(student)
        yield loss.item()


def trained(
    checkpoint: Path,
    task: str,
    batches: Sequence[dict],
    start: Sequence[dict],
    folder: Path,
    steps: int,
    *,
    bits: int = 8,
    **given,
) -> dict:
    """Train the checkpoint for int8 and save it; what it took."""
    teacher, student = load(checkpoint, task), load(checkpoint, task)
    begin = time.perf_counter()
    qat.prepare(student, start, Recipe(method="qat", **given), bits=bits)
    losses, rate = [], LARGE if given or bits == 4 else RATE
    for step, loss in enumerate(train(student, teacher, batches, steps, rate)):
        losses.append(loss)
        if step % 50 == 0:
            print(
                f"step {step}, {time.perf_counter() - begin:.0f} s: {np.mean(losses[-50:]):.5f}",
                file=sys.stderr,
                flush=True,
            )
    qat.save(student, folder, transformers.AutoTokenizer.from_pretrained(checkpoint))
    return {
        "steps": steps,
        "seconds": round(time.perf_counter() - begin),
        "loss": [round(np.mean(losses[k : k + 50]), 6) for k in range(0, steps, 50)],
    }


def asked(folder: Path, reference: object | None, file: Path, rows: int) -> tuple[object, dict]:
    """What an artifact answers to the data, and how good and how near that is."""
    predictor = octavo.load(folder, engine="onnxruntime", max_length=LENGTH)
    task = predictor.task
    examples = task.read_examples(DataFile(file, limit=rows, seed=1), predictor.signature.labels)
    examples, texts, encoded = task.prepare(predictor.tokenizer, examples)
    found = task.read(predictor.run(encoded), Asked(texts, encoded, predictor.tokenizer))
    near = {} if reference is None else task.fidelity(reference, found, texts)
    return found, task.quality(found, examples) | near


def plant(checkpoint: Path, folder: Path) -> Path:
    """The checkpoint with outliers in what the output projections of its attentions read, the same function."""
    model = load(checkpoint, "nli")
    with torch.no_grad():
        for layer in model.bert.encoder.layer:
            value, output = layer.attention.self.value, layer.attention.output.dense
            for channel in np.random.default_rng(0).permutation(value.out_features)[:OUTLIERS].tolist():
                value.weight[channel] *= FACTOR
                value.bias[channel] *= FACTOR
                output.weight[:, channel] /= FACTOR
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(checkpoint).save_pretrained(folder)
    return folder


def part(name: str, shared: Path, work: Path, steps: int, rows: int) -> dict:
    """Float, static and trained, on the same rows."""
    kind = "ner" if name == "ner" else "nli"
    checkpoint = shared / "models" / f"ko-{kind}"
    if name == "outliers":
        checkpoint = plant(checkpoint, work / "outliers")
    data = {
        key: shared / "data" / table[kind] for key, table in (("ask", ASKED), ("train", TRAINED), ("start", STARTS))
    }
    start = inputs_of(checkpoint, data["start"], CALIBRATION, BATCH)
    batches = inputs_of(checkpoint, data["train"], None, BATCH)
    calibration = DataFile(data["start"], limit=CALIBRATION, max_length=LENGTH)
    floats = octavo.export(checkpoint)
    rest = {"smoothing none": {"smoothing": "none"}} if name == "outliers" else {}
    four = {"rounded, 4 bits": ({"bits": 4}, 0), "trained, 4 bits": ({"bits": 4}, steps)}
    found = {"float": octavo.quantize(floats, work / "float", recipe="float").folder}
    for title, given in {"static": {}, **{f"static, {key}": value for key, value in rest.items()}}.items():
        recipe = Recipe(method="static", **given)
        found[title] = octavo.quantize(
            floats, work / title, recipe=recipe, calibration=calibration, target="any"
        ).folder
    result: dict = {}
    eight = {"trained": ({}, steps), **{f"trained, {key}": (value, steps) for key, value in rest.items()}}
    for title, (given, count) in (four if name == "int4" else eight).items():
        result[title] = trained(checkpoint, kind, batches, start, work / f"{title} checkpoint", count, **given)
        found[title] = octavo.quantize(work / f"{title} checkpoint", work / title, recipe="qat", target="any").folder
    reference = None
    for title, folder in found.items():
        answers, scores = asked(folder, reference, data["ask"], rows)
        reference = answers if reference is None else reference
        result[title] = result.get(title, {}) | scores | {"bytes": (folder / "model.onnx").stat().st_size}
        print(name, title, json.dumps(result[title]), file=sys.stderr, flush=True)
    return result


def divergence(model, expected: Sequence[torch.Tensor], batches: Sequence[dict]) -> float:
    """KL of a model's answers, in nats; of one that tags, of all real tokens, not of the first of each word alone."""
    total = count = 0
    for batch, wanted in zip(batches, expected, strict=True):
        answer = answers_of(model, batch)
        total += (wanted.exp() * (wanted - answer)).sum().item()
        count += len(wanted)
    return total / count


def answers_of(model, batch: dict) -> torch.Tensor:
    """Logarithms of probabilities, [rows or real tokens, labels], in float64."""
    with torch.no_grad():
        logits = model(**batch).logits.double()
    return (logits[batch["attention_mask"].bool()] if logits.ndim == 3 else logits).log_softmax(-1)


def rounding_alone(prepared, teacher, kept: Sequence[str]):
    """A copy of a prepared model that rounds nothing else; without the rounding of weights they are the teacher's."""
    model = copy.deepcopy(prepared)
    ranges = held(model)
    if "activations" not in kept:
        for learnt in ranges.inputs:
            learnt.forward = learnt.smoothed
    if "weights" not in kept:
        model.load_state_dict(teacher.state_dict(), strict=False)
        for steps in ranges.steps:
            steps.forward = lambda weight: weight
    if "tables" not in kept:
        for path in ranges.embeddings:
            model.get_submodule(path).__class__ = torch.nn.Embedding
    return model


def shares(shared: Path, rows: int) -> dict:
    """Where the distance to float comes from, by kind of model."""
    found: dict = {}
    for kind in ("nli", "ner"):
        checkpoint, place = shared / "models" / f"ko-{kind}", shared / "data"
        teacher, student = load(checkpoint, kind), load(checkpoint, kind)
        qat.prepare(student, inputs_of(checkpoint, place / STARTS[kind], CALIBRATION, BATCH), Recipe(method="qat"))
        batches = inputs_of(checkpoint, place / ASKED[kind], rows, BATCH, seed=1)
        expected = [answers_of(teacher, batch) for batch in batches]
        found[kind] = {
            name: divergence(rounding_alone(student, teacher, kept), expected, batches)
            for name, kept in {"all": ROUNDED, **{name: (name,) for name in ROUNDED}, "none": ()}.items()
        }
        print(kind, found[kind], file=sys.stderr, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared", help="where models/ and data/ are")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--steps", type=int, default=400, help="batches of 16 that are trained on")
    parser.add_argument("--rows", type=int, default=2000, help="of the data that is asked, a seeded sample")
    parser.add_argument("--quick", action="store_true", help="few steps, to see that it works; nothing is kept")
    arguments = parser.parse_args()
    transformers.logging.disable_progress_bar()
    torch.manual_seed(0)
    kept = ROOT / "bench" / "results" / "qat.json"
    results = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    steps, rows = (20, 300) if arguments.quick else (arguments.steps, arguments.rows)
    for name in arguments.only:
        with tempfile.TemporaryDirectory() as folder:
            made = (
                shares(arguments.shared, rows)
                if name == "shares"
                else part(name, arguments.shared, Path(folder), steps, rows)
            )
            results[name] = made | {
                "rows": rows,
                "machine": machine("torch", "transformers", threads=None),
            }
        if not arguments.quick:
            kept.write_text(json.dumps(results, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
