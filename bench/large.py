"""A checkpoint above 2 GB, shaped as XLM-R large: quantized, loaded, embedded, inspected and verified; peak memory.

    .venv/bin/python bench/large.py [--work FOLDER] [--quick]

24 layers of 1,024, 250,002 rows, 2,048 of 8,192 tokens, CLS pooling and normalization, as KURE and BGE-m3-ko are
shaped; its weights are random, so that nothing is said of its answers but that they are those of the artifact. Each
step is a process of its own, whose largest resident memory the system tells (wait4). It needs 5 GB on the disk and 6
GB of memory, and half an hour on two cores. Writes bench/results/large-<kind of CPU>.json; --quick takes 2 layers of
256 and 8,000 rows, and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import machine, results_file

LIMIT = 2.5  # times the float weights: what a step's memory may be
MAKE = """
import json, sys
from pathlib import Path
import torch, transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
folder, layers, width, rows = Path(sys.argv[1]), *map(int, sys.argv[2:])
syllables = [chr(code) for code in range(0xAC00, 0xD7A4)]
pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", *syllables, *("▁" + one for one in syllables)]
pieces += [first + second for first in syllables[::40] for second in syllables[::12]]
pieces = [*dict.fromkeys(pieces)][: rows - 1] + ["<mask>"]
assert len(pieces) == rows, len(pieces)
tokenizer = Tokenizer(models.Unigram([(one, -2.0 - n / rows) for n, one in enumerate(pieces)], unk_id=3))
tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
tokenizer.post_processor = processors.TemplateProcessing(
    single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
names = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "pad_token": "<pad>",
         "unk_token": "<unk>", "mask_token": "<mask>"}
transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=2048, **names).save_pretrained(folder)
transformers.set_seed(7)
config = transformers.XLMRobertaConfig(
    vocab_size=rows, hidden_size=width, num_hidden_layers=layers, num_attention_heads=width // 64,
    intermediate_size=4 * width, max_position_embeddings=8194, type_vocab_size=1, layer_norm_eps=1e-5,
    pad_token_id=1, bos_token_id=0, eos_token_id=2)
transformers.XLMRobertaModel(config, add_pooling_layer=False).save_pretrained(folder, max_shard_size="100GB")
kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
modules = [{"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
           for n, (path, kind) in enumerate(kinds.items())]
(folder / "modules.json").write_text(json.dumps(modules))
(folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 2048, "do_lower_case": False}))
(folder / "1_Pooling").mkdir()
(folder / "1_Pooling" / "config.json").write_text(
    json.dumps({"word_embedding_dimension": width, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}))
"""
EMBED = """
import sys, numpy, octavo
embed = octavo.load(sys.argv[1], threads=2)
texts = ["서울의 인구는 몇 명인가?", "오늘은 비가 온다.", "가나다라 " * 400]
vectors = embed(texts)
assert vectors.shape[0] == 3 and numpy.allclose(numpy.linalg.norm(vectors, axis=1), 1, atol=1e-5)
assert numpy.array_equal(vectors[:1], embed(texts[:1])) or "static" in sys.argv[1]
"""
VERIFY = "import sys, octavo; octavo.verify(octavo.open_artifact(sys.argv[1]))"


def measured(name: str, command: list[Any], box: Path) -> dict[str, Any]:
    """Run a step: its seconds, and the largest resident memory of its process."""
    start = time.perf_counter()
    environment = os.environ | {"TMPDIR": str(box)}
    process = subprocess.Popen([sys.executable, *map(str, command)], env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    found = {"step": name, "seconds": time.perf_counter() - start, "peak_mib": usage.ru_maxrss / 1024}
    print(json.dumps(found | {"exit": process.returncode}), flush=True)
    if process.returncode:
        raise SystemExit(f"{name} failed")
    return found


def mebibytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, help="a folder on a disk with room")
    parser.add_argument("--quick", action="store_true", help="a small shape")
    args = parser.parse_args()
    shape = (2, 256, 8000) if args.quick else (24, 1024, 250_002)
    with tempfile.TemporaryDirectory(dir=args.work) as work:
        box, model = Path(work) / "tmp", Path(work) / "model"
        box.mkdir()
        model.mkdir()
        with tempfile.TemporaryDirectory(dir=args.work) as other:  # what torch leaves there is not Octavo's
            steps = [measured("make the checkpoint", ["-c", MAKE, model, *shape], Path(other))]
        texts = Path(work) / "texts.jsonl"
        line = json.dumps({"text": "가게 문이 열려 있고 사람이 많다"}, ensure_ascii=False)
        texts.write_text("".join(line[:-2] + " 정말" * (n % 9) + '"}\n' for n in range(40)), encoding="utf-8")
        floats, sizes = (model / "model.safetensors").stat().st_size / 2**20, {}
        for method, more in {"dynamic": [], "static": ["--calibrate", texts]}.items():
            out, octavo = Path(work) / method, ["-m", "octavo"]
            given = [*octavo, "quantize", model, "-o", out, "--method", method, *more]
            steps.append(measured(f"quantize {method}", given, box))
            steps.append(measured(f"load and embed {method}", ["-c", EMBED, out], box))
            steps.append(measured(f"inspect {method}", [*octavo, "inspect", out], box))
            steps.append(measured(f"verify {method}", ["-c", VERIFY, out], box))
            sizes[method] = mebibytes(out)
        left = [str(path.relative_to(work)) for path in Path(work).iterdir() if path.name.startswith(".")]
        left += [path.name for path in box.rglob("*") if path.is_file()]
    record = {"float_mib": floats, "artifacts_mib": sizes, "steps": steps, "left_on_disk": left, "limit": LIMIT}
    record["largest_share"] = max(step["peak_mib"] for step in steps[1:]) / floats
    print(json.dumps(record))
    record["machine"] = machine("torch", "transformers", threads=None)
    if not args.quick:
        place = results_file("large")
        place.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
