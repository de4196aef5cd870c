"""The whole models and files that are broken: each is small, and every case takes a copy."""

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import numpy as np

TESTS = Path(__file__).parents[1]
ROWS = (("아이들이 공원에서 놀고 있다.", "아무도 공원에 없다.", "contradiction"),) * 2 + (
    ("오늘 날씨는 춥지만 하늘은 맑다.", "하늘은 맑다.", "entailment"),
)


def make_all(folder: Path) -> None:
    """Write everything: two checkpoints, three artifacts, ONNX files, data, a comparison."""
    sys.path[:0] = [str(TESTS), str(TESTS / "reporting")]
    shutil.copytree(TESTS / "artifact" / "made-by-0.1.0", folder / "artifact")
    _checkpoint(folder / "checkpoint")
    _embedder(folder / "checkpoint", folder / "embedder")
    _torch_artifact(folder)
    _onnx(folder / "onnx")
    header = "sentence1\tsentence2\tgold_label\n"
    (folder / "pairs.tsv").write_text(header + "".join("\t".join(row) + "\n" for row in ROWS), encoding="utf-8")
    _comparison(folder / "result.json")


def _checkpoint(folder: Path) -> None:
    import transformers

    from conftest import make_config, make_tokenizer, randomize

    transformers.logging.disable_progress_bar()
    tokenizer = make_tokenizer("bert")
    model = transformers.BertForSequenceClassification(make_config("bert", tokenizer))
    randomize(model, tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _embedder(checkpoint: Path, folder: Path) -> None:
    """The same as a folder of sentence-transformers, with a Dense layer."""
    from safetensors.numpy import load_file, save_file

    shutil.copytree(checkpoint, folder)
    stored = load_file(folder / "model.safetensors")
    named = {name.removeprefix("bert."): array for name, array in stored.items() if name.startswith("bert.")}
    save_file(named, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["BertModel"]}), encoding="utf-8")
    kinds = ("Transformer", ""), ("Pooling", "1_Pooling"), ("Dense", "2_Dense"), ("Normalize", "3_Normalize")
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (kind, path) in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    for name in ("1_Pooling", "2_Dense"):
        (folder / name).mkdir()
    pooling = {"word_embedding_dimension": 48, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling), encoding="utf-8")
    dense = {"in_features": 48, "out_features": 16, "bias": True, "activation_function": "torch.nn.modules.Tanh"}
    (folder / "2_Dense" / "config.json").write_text(json.dumps(dense), encoding="utf-8")
    draw = np.random.default_rng(1)
    weights = {"linear.weight": draw.normal(size=(16, 48)), "linear.bias": draw.normal(size=16)}
    arrays = {name: array.astype(np.float32) for name, array in weights.items()}
    save_file(arrays, folder / "2_Dense" / "model.safetensors")
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 48, "do_lower_case": false}')


def _torch_artifact(folder: Path) -> None:
    """Of the embedder: what is pooled stands beside the weights."""
    import octavo

    octavo.quantize(folder / "embedder", folder / "torch", recipe=octavo.Recipe(format="torch"))


def _onnx(folder: Path) -> None:
    """A classifier as other tools write it: a table, a pooled sum, a head; with a tokenizer beside it."""
    import onnx
    from broken_onnx import classifier

    folder.mkdir()
    onnx.save(classifier(), folder / "model.onnx")
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folder.parent / "checkpoint" / name, folder / name)


def _comparison(path: Path) -> None:
    from test_tables import COMPARISON

    from octavo.schema.budget import Budget
    from octavo.schema.comparison import DataRecord

    data = DataRecord("test.tsv", "ef" * 32, None, 0)
    whole = dataclasses.replace(COMPARISON, data=data, versions={"octavo": "0.1.0"}, command="octavo compare a b")
    whole = whole.under(Budget(max_drop=1.5, min_speedup=2.5, max_size=0.3, min_agreement=0.9))
    path.write_text(json.dumps(whole.to_dict(), ensure_ascii=False), encoding="utf-8")
