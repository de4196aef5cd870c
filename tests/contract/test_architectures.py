"""Which architecture works for which task, method and engine: tried on tiny random checkpoints, and told in the docs.

`docs/architectures.md` is what this test found: it fails where the table says otherwise, and writes it where
OCTAVO_WRITE_DOCS is set.
"""

import json
import os
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import octavo
from octavo.errors import OctavoError

DOCS = Path(__file__).resolve().parents[2] / "docs" / "architectures.md"
START, END = "<!-- encoders: made by tests/contract/test_architectures.py -->", "<!-- end of encoders -->"
FAMILIES = (
    "BERT", "DistilBERT", "RoBERTa", "XLM-R", "CamemBERT", "ELECTRA", "ALBERT", "MPNet", "DeBERTa-v2", "ModernBERT",
)  # fmt: skip
CLASSES = {
    "BERT": "Bert", "DistilBERT": "DistilBert", "RoBERTa": "Roberta", "XLM-R": "XLMRoberta", "ELECTRA": "Electra",
    "ALBERT": "Albert", "MPNet": "MPNet", "DeBERTa-v2": "DebertaV2", "ModernBERT": "ModernBert",
    "CamemBERT": "Camembert",
}  # fmt: skip
TASKS = {
    "text-classification": "ForSequenceClassification",
    "feature-extraction": "Model",
    "token-classification": "ForTokenClassification",
    "question-answering": "ForQuestionAnswering",
    "multiple-choice": "ForMultipleChoice",
    "fill-mask": "ForMaskedLM",
}
METHODS = ("float", "dynamic", "static")
ENGINES = ("onnxruntime", *(["openvino"] if find_spec("openvino") else []))
POSITIONS = 48
MEASURED = "text-classification"  # the task that methods and engines are tried on


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, tiny_parts):
    """A function of a family and a task: the folder of a tiny random checkpoint, or why there is none."""
    import torch
    import transformers

    @cache
    def make(family, task):
        name = CLASSES[family]
        special = ("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]")  # padding is 1, as MPNet and RoBERTa have it
        limit = {"model_max_length": POSITIONS, "do_lower_case": True, "strip_accents": False}
        tokenizer = transformers.BertTokenizer(vocab=tiny_parts.word_pieces(*special), **limit)
        head = getattr(transformers, f"{name}{TASKS[task]}", None)
        if head is None:
            return "transformers has no such head"
        settings = {
            "vocab_size": len(tokenizer),
            "pad_token_id": 1,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": POSITIONS + 2,
            "num_labels": 3,
        }
        if family == "DistilBERT":
            settings = {
                key: settings[key] for key in ("vocab_size", "pad_token_id", "max_position_embeddings", "num_labels")
            }
            settings |= {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 4}
        if family in {"ELECTRA", "ALBERT"}:
            settings["embedding_size"] = 16
        if family == "DeBERTa-v2":
            settings |= {"relative_attention": True, "position_buckets": 8, "pos_att_type": ["p2c", "c2p"]}
            settings |= {"share_att_key": True, "norm_rel_ebd": "layer_norm", "position_biased_input": False}
        if family == "ModernBERT":
            settings |= {
                "num_hidden_layers": 3,
                "bos_token_id": 0,
                "eos_token_id": 2,
                "cls_token_id": 0,
                "sep_token_id": 2,
            }
        if task == "question-answering":
            settings["num_labels"] = 2
        torch.manual_seed(4)
        model = head(getattr(transformers, f"{name}Config")(**settings)).eval()
        for parameter_name, parameter in model.named_parameters():
            if parameter.ndim > 1 and "norm" not in parameter_name.lower():
                parameter.data = torch.randn(parameter.shape) * 0.15
        transformers.logging.disable_progress_bar()
        folder = tmp_path_factory.mktemp("architectures") / f"{family}-{task}"
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make


def rows_for(task, sentences):
    if task == "question-answering":
        return [(sentences[i], " ".join(sentences[i + 1 : i + 4])) for i in range(6)]
    if task == "multiple-choice":
        return [(sentences[i], tuple(sentences[i + 1 : i + 3 + i % 2])) for i in range(6)]
    return [f"{text} [MASK]" for text in sentences] if task == "fill-mask" else list(sentences)


def numbers(prediction):
    """The scores of a prediction, or its vector."""
    if isinstance(prediction, np.ndarray):
        return prediction.ravel().tolist()
    if isinstance(prediction, dict):
        prediction = [prediction]
    return [one["score"] for one in prediction]


def answers(folder, task, sentences, engine="auto"):
    options = {"token-classification": {"ignore_labels": ()}, "fill-mask": {"top_k": 1}}.get(task, {})
    found = octavo.load(folder, engine=engine)(rows_for(task, sentences), **options)
    return np.array([number for one in found for number in numbers(one)])


def tried(checkpoint, family, task, method, folder, sentences):
    """What a family's checkpoint becomes by a method: engine -> "yes", or the reason why not."""
    source = checkpoint(family, task)
    if isinstance(source, str):
        return dict.fromkeys(ENGINES, source)
    more = {}
    if method == "static":
        data = folder / "texts.txt"
        data.write_text("\n".join(sentences * 12), encoding="utf-8")
        more["calibration"] = data
    try:
        artifact = octavo.quantize(source, folder / "artifact", recipe=method, **more)
    except OctavoError as error:
        return dict.fromkeys(ENGINES, str(error))
    expected, found = answers(source, task, sentences), {}
    for engine in ENGINES:
        try:
            value = answers(artifact.folder, task, sentences, engine)
        except OctavoError as error:
            found[engine] = str(error)
            continue
        far = float(np.abs(value - expected).max()) if value.shape == expected.shape else float("inf")
        allowed = 1e-3 if method == "float" else 0.25  # scores and unit vectors; tiny random models take int8 badly
        found[engine] = "yes" if far <= allowed else f"answers differ from the checkpoint's by {far:.2g}"
    return found


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Where what was found lies: the workers of a test run share its folder."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.mark.parametrize("family", FAMILIES)
def test_every_task_and_method(family, checkpoint, tmp_path, sentences, results):
    # One test for a family: its line of both tables has to be what the documentation says.
    if not os.environ.get("OCTAVO_WRITE_DOCS") and family not in documented_lines():
        pytest.skip("not in docs/architectures.md yet: run all families with OCTAVO_WRITE_DOCS=1")
    line = {}
    for task in TASKS:
        (tmp_path / task).mkdir()
        found = tried(checkpoint, family, task, "float", tmp_path / task, sentences)
        line[task] = next((why for why in found.values() if why != "yes"), "yes")
        if task == MEASURED:
            line |= {f"float, {engine}": why for engine, why in found.items()}
    for method in METHODS[1:]:
        (tmp_path / method).mkdir()
        found = tried(checkpoint, family, MEASURED, method, tmp_path / method, sentences)
        line |= {f"{method}, {engine}": why for engine, why in found.items()}
    (results / f"architecture-{family}.json").write_text(json.dumps(line), encoding="utf-8")
    if os.environ.get("OCTAVO_WRITE_DOCS"):
        write_docs(results)
        return
    documented = documented_lines()[family]
    assert {column: why == "yes" for column, why in line.items() if column in documented} == {
        column: cell == "yes" for column, cell in documented.items() if column in line
    }, line


def documented_lines():
    """Family -> column -> cell, of both tables."""
    lines: dict[str, dict[str, str]] = {}
    header: list[str] = []
    for text in DOCS.read_text(encoding="utf-8").partition(START)[2].partition(END)[0].splitlines():
        cells = [cell.strip() for cell in text.strip().strip("|").split("|")]
        if text.startswith("| architecture"):
            header = cells
        elif text.startswith("| ") and header:
            lines.setdefault(cells[0], {}).update(zip(header[1:], cells[1:], strict=True))
    return lines


def write_docs(results):
    """The tables of what was found so far, with the reasons below."""
    found = {
        family: json.loads((results / f"architecture-{family}.json").read_text(encoding="utf-8"))
        for family in FAMILIES
        if (results / f"architecture-{family}.json").exists()
    }
    reasons: list[str] = []
    parts = []
    pairs = [f"{method}, {engine}" for method in METHODS for engine in ENGINES]
    for title, columns in (("Tasks, as float", list(TASKS)), (f"Methods and engines, for {MEASURED}", pairs)):
        table = [["architecture", *columns]]
        for family, line in found.items():
            cells = []
            for column in columns:
                why = re.sub(r"got: .*': ", "got: ", line[column])  # numbers of nodes, which are others in each run
                if why != "yes" and why not in reasons:
                    reasons.append(why)
                cells.append("yes" if why == "yes" else f"no ({1 + reasons.index(why)})")
            table.append([family, *cells])
        lines = ["| " + " | ".join(row) + " |" for row in table]
        parts += [f"### {title}", "\n".join([lines[0], "|" + "---|" * len(table[0]), *lines[1:]])]
    if reasons:
        parts.append("\n".join(f"({number}) {why}" for number, why in enumerate(reasons, start=1)))
    before, _, rest = DOCS.read_text(encoding="utf-8").partition(START)
    after = rest.partition(END)[2]
    text = f"{before}{START}\n" + "\n\n".join(parts) + f"\n{END}{after}"
    DOCS.write_text(text, encoding="utf-8")
