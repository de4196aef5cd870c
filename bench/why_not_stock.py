"""The table that README.md begins with: a model of BERT-base's size by the usual tools and by Octavo, in one run.

    .venv/bin/python bench/why_not_stock.py [--shared ../shared] [--rows 1000]

The model is examples/korean-nli (4 layers, 256 wide) grown to BERT-base's shape, so that its labels mean something: its
numbers stand three times side by side, every product mixes the three copies with random shares that add up to 1, and
two more layers behind each trained one change little. Data: KorNLI's test set, where `shared` is there, else the demo's
pairs; static int8 is calibrated on 300 pairs of KorNLI's dev set. Writes bench/results/why-<kind of CPU>.json and the
tables.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

import octavo
import worker
from dynamic import DEMO, EXPORTED, ROOT, Steps, stock
from machine import THREADS, machine, results_file
from octavo.data.examples import DataFile
from octavo.evaluation import benchmark
from octavo.evaluation.benchmark import Contender
from octavo.evaluation.comparison import compare_entries
from octavo.evaluation.entries import Entry, find_entries
from octavo.hardware import this_cpu
from octavo.schema.recipe import Recipe
from octavo.tasks import find_task
from publish import publish
from publish_speed import why
from publish_words import ENGLISH

COPIES, EXTRA, FAINT = 3, 2, 0.05  # times as wide; layers behind each trained one, and how much of theirs is added
VOCABULARY = 30_522  # of BERT-base; words behind those of the demo's tokenizer are random


def grow(folder: Path) -> Path:
    """The demo's model in BERT-base's shape."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    small = BertForSequenceClassification.from_pretrained(DEMO).eval()
    stored, layers = small.state_dict(), small.config.num_hidden_layers
    wide = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 12}
    config = BertConfig(**(small.config.to_dict() | wide | {"vocab_size": VOCABULARY}))
    large = BertForSequenceClassification(config)
    rows = octavo.read_examples(DEMO / "pairs.tsv", labels=tuple(config.id2label.values()))[:64]
    tokenizer = AutoTokenizer.from_pretrained(DEMO)
    inputs = tokenizer([row.text for row in rows], [row.text_pair for row in rows], padding=True, return_tensors="pt")
    with torch.inference_mode():
        states = small(**inputs, output_hidden_states=True).hidden_states[1:]
    tokens = [state[inputs["attention_mask"].bool()] for state in states]

    def widen(name: str, values: torch.Tensor) -> torch.Tensor:
        outputs = 1 if name.startswith("classifier") else COPIES
        if "embeddings" in name or values.dim() == 1:
            return values.repeat(*[1] * (values.dim() - 1), COPIES if "embeddings" in name else outputs)
        shares = torch.distributions.Dirichlet(torch.ones(COPIES)).sample((outputs * len(values),))
        return torch.cat([values.repeat(outputs, 1) * share for share in shares.T[:, :, None]], dim=1)

    found = {name: widen(name, values) for name, values in stored.items() if ".layer." not in name}
    words = "bert.embeddings.word_embeddings.weight"
    missing = torch.randn(VOCABULARY - len(found[words]), found[words].shape[1]) * found[words].std()
    found[words] = torch.cat([found[words], missing])
    for name, values in stored.items():
        if ".layer." in name:
            before, number, after = name.partition(".layer.")[0], *name.partition(".layer.")[2].split(".", 1)
            for extra in range(1 + EXTRA):
                new = widen(name, values)
                if extra and "LayerNorm" in after:  # behind it a token is nearly what it was
                    seen = tokens[int(number)]
                    new = torch.full_like(new, float((seen.std(-1) if "weight" in after else seen.mean(-1)).mean()))
                elif extra and "output.dense" in after:
                    new *= FAINT
                found[f"{before}.layer.{int(number) * (1 + EXTRA) + extra}.{after}"] = new
    assert layers * (1 + EXTRA) == config.num_hidden_layers
    large.load_state_dict(found)
    large.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((DEMO / name).read_bytes())
    return folder


def save_quantized(checkpoint: Path, folder: Path) -> Path:
    """What PyTorch's guides save: the state of a model behind `quantize_dynamic`, to be opened by `from_pretrained`."""
    import torch
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.ao is deprecated, and what the guides use
        quantized = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, torch.qint8)
    folder.mkdir()
    torch.save(quantized.state_dict(), folder / "pytorch_model.bin")
    (folder / "config.json").write_bytes((checkpoint / "config.json").read_bytes())
    return folder / "config.json"


def stock_as_it_comes(float_model: Path, folder: Path) -> Path:
    """ONNX Runtime's quantize_dynamic by its defaults, but for Attention: of opset 23's it makes what does not load."""
    from onnxruntime.quantization import quantize_dynamic

    folder.mkdir()
    quantize_dynamic(float_model, folder / "model.onnx", op_types_to_quantize=["MatMul", "Gemm", "Gather"])
    return folder


def entries_for(checkpoint: Path, calibration: DataFile, folder: Path) -> list[Entry]:
    exported = octavo.export(checkpoint, recipe=Recipe(method="float"), progress=Steps())
    octavo.quantize(exported, folder / "dynamic", recipe="dynamic", progress=Steps())
    octavo.quantize(exported, folder / "static", recipe="static", calibration=calibration, progress=Steps())
    plain = octavo.quantize(checkpoint, folder / "plain", recipe=EXPORTED, progress=Steps())
    del exported
    (first,) = find_entries(checkpoint)
    beside = plain.bytes - plain.model_file.stat().st_size
    saved = save_quantized(checkpoint, folder / "saved")
    state = saved.with_name("pytorch_model.bin")
    usual = stock_as_it_comes(plain.model_file, folder / "usual") / "model.onnx"
    best = stock(plain.model_file, folder / "best", reduce_range=this_cpu().saturates) / "model.onnx"
    rows = [replace(first, name="torch fp32")]
    for name, path, engine, weights in (
        ("torch quantize_dynamic", checkpoint / "config.json", "torch-int8", state),
        ("torch quantize_dynamic, saved and loaded", saved, "torch-ao", state),
        ("stock ONNX Runtime, as it comes", usual, "onnxruntime", usual),
        ("stock ONNX Runtime, best settings", best, "onnxruntime", best),
    ):
        contender = Contender(path, engine, first.signature, checkpoint)
        rows.append(replace(first, name=name, bytes=weights.stat().st_size + beside, contender=contender))
    for title, name in (("Octavo int8", "dynamic"), ("Octavo int8, with your sentences", "static")):
        rows += [replace(entry, name=title) for entry in find_entries(folder / name)]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared", help="where data/ is")
    parser.add_argument("--rows", type=int, default=1000, help="a seeded sample of the data")
    parser.add_argument("--try", dest="trial", action="store_true", help="print the table, and write nothing")
    arguments = parser.parse_args()
    benchmark.WORKER = [sys.executable, worker.__file__]  # and its engines are known here too
    benchmark.ROUNDS_SECONDS = 240.0
    data, calibration = (arguments.shared / f"data/kornli/xnli.{part}.ko.tsv" for part in ("test", "dev"))
    if not data.exists():
        data = calibration = DEMO / "pairs.tsv"
    with tempfile.TemporaryDirectory() as name:
        entries = entries_for(
            grow(Path(name) / "base"), DataFile(calibration, limit=min(300, arguments.rows)), Path(name)
        )
        signature = entries[0].signature
        examples = find_task(signature).read_examples(DataFile(data, limit=arguments.rows), signature.labels)
        found = compare_entries(entries, examples, find_task(signature), threads=THREADS, progress=Steps()).to_dict()
    kept = results_file("why")
    result = found | {"data": data.name, "machine": machine("openvino", "torch", "transformers")}
    if arguments.trial:
        print(why(result, ENGLISH))
        return
    kept.write_text(json.dumps({"why": result}, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    publish()


if __name__ == "__main__":
    main()
