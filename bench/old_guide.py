"""The experiment of the old guides, measured again: models of two shapes on the 5,010 KorNLI test pairs.

    .venv/bin/python bench/old_guide.py [--shared ../shared]

DistilBERT's shape (6 layers, 172 M parameters) and multilingual BERT's (12 layers, 215 M), random weights and a
vocabulary of 167,550; ids from the tokenizer of examples/korean-nli. As in the guides: every pair padded to 128 tokens,
batches of 32, in torch float32, torch dynamic int8 and ONNX Runtime's quantize_dynamic. Then Octavo. Every run is a
process of its own, in turns. Where all batches cost the same a sample of them is timed and scaled to 5,010 rows; what
Octavo's int8 takes is of all rows. Fidelity comes from examples/korean-nli itself: random weights agree with nothing.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

import octavo
from dynamic import DEMO, EXPORTED, ROOT, quantize_all, stock
from machine import THREADS, machine, results_file
from octavo.schema.recipe import Recipe
from publish import publish

VOCABULARY, WIDTH, BATCH = 167_550, 128, 32
SAMPLE, ROUNDS = 96, 2  # rows of a padded run, of 5,010; turns
SHAPES = {"DistilBERT": 6, "multilingual BERT": 12}
GUIDE = {"DistilBERT": [672, 548], "multilingual BERT": [819, 574]}  # MiB, float and int8, in the guides
RUNS = {  # how it is run, and the rows that are timed (None: all)
    "torch fp32": ("torch", "checkpoint", "padded", SAMPLE),
    "torch dynamic int8": ("torch int8", "checkpoint", "padded", SAMPLE),
    "stock ONNX Runtime int8": ("onnx", "stock", "padded", SAMPLE),
    "torch fp32, not padded": ("torch", "checkpoint", "sorted", 4 * SAMPLE),
    "Octavo float": ("octavo", "float", "sorted", 4 * SAMPLE),
    "Octavo int8": ("octavo", "int8", "sorted", None),
}


def read_pairs(shared: Path) -> list[tuple[str, str]]:
    examples = octavo.read_examples(
        shared / "data/kornli/xnli.test.ko.tsv", labels=("entailment", "contradiction", "neutral")
    )
    return [(example.text, example.text_pair) for example in examples]


def make(layers: int, folder: Path) -> None:
    """The checkpoint, and what is made of it."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, DistilBertConfig
    from transformers import DistilBertForSequenceClassification as DistilBert

    torch.manual_seed(0)
    if layers == 6:
        model = DistilBert(DistilBertConfig(vocab_size=VOCABULARY, num_labels=3))
    else:
        model = BertForSequenceClassification(BertConfig(vocab_size=VOCABULARY, num_labels=3))
    model.save_pretrained(folder / "checkpoint")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / "checkpoint" / name).write_bytes((DEMO / name).read_bytes())
    convert(folder / "checkpoint", folder)


def convert(checkpoint: Path, folder: Path) -> None:
    quantize_all(checkpoint, folder, {"exported": EXPORTED, "float": Recipe(method="float"), "int8": Recipe()})
    stock(folder / "exported" / "model.onnx", folder / "stock", reduce_range=False)


def load_torch(folder: Path, *, int8: bool):
    import torch
    from transformers import AutoModelForSequenceClassification

    torch.set_num_threads(THREADS)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    if int8:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.ao.quantization is deprecated, and what the guides use
            model = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
    return model


def size_of(kind: str, path: Path) -> int:
    """Bytes of the model alone, as the guides count."""
    if kind == "torch int8":
        import torch

        with tempfile.TemporaryDirectory() as folder:
            torch.save(load_torch(path, int8=True).state_dict(), Path(folder) / "model.bin")
            return (Path(folder) / "model.bin").stat().st_size
    name = "model.safetensors" if kind == "torch" else "model.onnx"
    return (path / name).stat().st_size


def run_torch(model, pairs: list[tuple[str, str]], *, padded: bool) -> np.ndarray:
    """Tokenize and predict as the guides do; not padded: sorted by length, batches padded to their longest row."""
    import torch
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(DEMO)
    names = ("input_ids", "attention_mask")  # as in the guides; neither shape's speed depends on token types
    order = range(len(pairs)) if padded else sorted(range(len(pairs)), key=lambda i: sum(map(len, pairs[i])))
    parts = []
    with torch.inference_mode():
        for start in range(0, len(pairs), BATCH):
            rows = [pairs[i] for i in list(order)[start : start + BATCH]]
            how = {"padding": "max_length" if padded else True, "truncation": True, "max_length": WIDTH}
            encoded = tokenizer([a for a, _ in rows], [b for _, b in rows], return_tensors="pt", **how)
            parts.append(model(**{name: encoded[name] for name in names}).logits.numpy())
    found = np.empty((len(pairs), parts[0].shape[1]), np.float32)
    found[list(order)] = np.concatenate(parts)
    return found


def run_onnx(session, pairs: list[tuple[str, str]]) -> np.ndarray:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(DEMO)
    names, parts = [value.name for value in session.get_inputs()], []
    for start in range(0, len(pairs), BATCH):
        rows = pairs[start : start + BATCH]
        how = {"padding": "max_length", "truncation": True, "max_length": WIDTH}
        encoded = tokenizer([a for a, _ in rows], [b for _, b in rows], return_tensors="np", **how)
        parts.append(session.run(None, {name: encoded[name].astype(np.int64) for name in names})[0])
    return np.concatenate(parts)


def child(kind: str, path: Path, batching: str, count: int, shared: Path) -> None:
    """Load, warm up, and time the rows once, from texts to logits; prints seconds."""
    pairs = read_pairs(shared)
    chosen = random.Random(0).sample(pairs, count) if count else pairs
    if kind.startswith("torch"):
        model = load_torch(path, int8=kind == "torch int8")
        run = lambda rows: run_torch(model, rows, padded=batching == "padded")  # noqa: E731
    elif kind == "onnx":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        session = onnxruntime.InferenceSession(path / "model.onnx", options)
        run = lambda rows: run_onnx(session, rows)  # noqa: E731
    else:
        predictor = octavo.load(path, threads=THREADS, max_length=WIDTH)
        run = lambda rows: predictor(list(rows))  # noqa: E731
    run(pairs[:BATCH])
    start = time.perf_counter()
    run(chosen)
    print(json.dumps((time.perf_counter() - start) * len(pairs) / len(chosen)))


def measure(layers: int, shared: Path) -> list[dict]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(layers, folder)
        seconds: dict[str, list[float]] = {title: [] for title in RUNS}
        for _ in range(ROUNDS):
            for title, (kind, place, batching, count) in RUNS.items():
                print(f"  {title}", file=sys.stderr, flush=True)
                command = [sys.executable, __file__, "--shared", str(shared), "--child", kind]
                command += [str(folder / place), batching, str(count or 0)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                seconds[title].append(json.loads(done.stdout.splitlines()[-1]))
        return [
            {
                "name": title,
                "mib": size_of(kind, folder / place) / 2**20,
                "seconds": statistics.median(seconds[title]),
                "runs": seconds[title],
                "timed_rows": count or 5010,
            }
            for title, (kind, place, _, count) in RUNS.items()
        ]


def fidelity(shared: Path) -> list[dict]:
    """Agreement with the float model of the trained checkpoint, all 5,010 pairs, each asked as in its guide."""
    import onnxruntime

    pairs = read_pairs(shared)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        convert(DEMO, folder)

        def labels(made: str) -> np.ndarray:
            predictor = octavo.load(folder / made, threads=THREADS)
            return np.array([predictor.signature.labels.index(row["label"]) for row in predictor(list(pairs))])

        guide = [run_torch(load_torch(DEMO, int8=int8), pairs, padded=True).argmax(1) for int8 in (False, True)]
        session = onnxruntime.InferenceSession(folder / "stock/model.onnx")
        reference = labels("float")
        agreement = {
            "torch dynamic int8": np.mean(guide[1] == guide[0]),  # both without token types, as in the guides
            "stock ONNX Runtime int8": np.mean(run_onnx(session, pairs).argmax(1) == reference),
            "Octavo int8": np.mean(labels("int8") == reference),
        }
    return [{"name": title, "agreement": float(share)} for title, share in agreement.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared", help="where data/ is")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        kind, path, batching, count = arguments.child
        child(kind, Path(path), batching, int(count), arguments.shared)
        return
    start = time.perf_counter()
    results = {title: measure(layers, arguments.shared) for title, layers in SHAPES.items()}
    document = {
        "oldguide": {
            "models": results,
            "guide_mib": GUIDE,
            "fidelity": fidelity(arguments.shared),
            "minutes": (time.perf_counter() - start) / 60,
            "machine": machine("torch", "transformers"),
        }
    }
    kept = results_file("old-guide")
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    publish()


if __name__ == "__main__":
    main()
