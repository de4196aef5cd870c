"""Which architecture works for which task, method and engine: tried on tiny random checkpoints, and told in the docs.

`docs/architectures.md` is what this test found: it fails where the table says otherwise, and writes it where
OCTAVO_WRITE_DOCS is set. All methods and engines are tried in every run, and of the tasks text-classification and one
other for each family; where the document is written, all.
"""

from functools import cache

import numpy as np
import pytest

import octavo
from octavo.errors import OctavoError
from octavo.schema.recipe import Recipe

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
METHODS = {
    "dynamic": Recipe(method="dynamic"),
    "static": Recipe(method="static"),
    "static, mixed": Recipe(method="static", mixed=True),
    "weight-only": Recipe(method="weight-only"),
    "dynamic, format torch": Recipe(method="dynamic", format="torch"),
}
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
            "num_hidden_layers": 2 if task == MEASURED else 1,
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
            settings["num_hidden_layers"] = 1  # takes longest to export; tests/qat has two
        if family == "ModernBERT":
            settings |= {
                "global_attn_every_n_layers": 2,
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


def tried(source, task, recipe, folder, sentences, engines, *, exported):
    """What a checkpoint becomes by a method: engine -> "yes", or the reason why not.

    `exported` gives the float graphs of a checkpoint.
    """
    if isinstance(source, str):
        return dict.fromkeys(engines, source)
    more = {}
    if recipe.method == "static":
        data = folder / "texts.txt"
        data.write_text("\n".join(sentences * 12), encoding="utf-8")
        more["calibration"] = data
    try:
        checkpoint = exported(source, recipe.opset) if recipe.format == "onnx" else source
        artifact = octavo.quantize(checkpoint, folder / "artifact", recipe=recipe, **more)
    except OctavoError as error:
        return dict.fromkeys(engines, str(error))
    expected, found = answers(source, task, sentences), {}
    for engine in engines:
        try:
            value = answers(artifact.folder, task, sentences, engine)
        except OctavoError as error:
            found[engine] = str(error)
            continue
        far = float(np.abs(value - expected).max()) if value.shape == expected.shape else float("inf")
        allowed = 1e-3 if recipe.method == "float" else 0.25  # scores; tiny random models take int8 badly
        found[engine] = "yes" if far <= allowed else f"answers differ from the checkpoint's by {far:.2g}"
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_every_task_and_method(family, checkpoint, tmp_path, sentences, tables):
    # One test for a family: its line of both tables has to be what the documentation says.
    section, tasks, ways = tables("encoders"), {}, {}
    exported = cache(lambda source, opset: octavo.export(source, recipe=Recipe(opset=opset)))
    engines = section.engines
    opset = 22 if family == "ModernBERT" and not section.writes else None  # where its export ends after 23 failed
    others = [task for task in TASKS if task != MEASURED]
    turn = others[FAMILIES.index(family) % len(others)]
    for task in TASKS if section.writes else (MEASURED, turn):
        (tmp_path / task).mkdir()
        given = tmp_path / task, sentences, engines
        found = tried(checkpoint(family, task), task, Recipe(method="float", opset=opset), *given, exported=exported)
        tasks[task] = next((why for why in found.values() if why != "yes"), "yes")
        if task == MEASURED:
            ways |= {f"float, {engine}": why for engine, why in found.items()}
    for name, recipe in METHODS.items():
        (tmp_path / name).mkdir()
        run_by = engines if recipe.format == "onnx" else ("torch",)
        given = tmp_path / name, sentences, run_by
        known = recipe.model_copy(update={"opset": opset}) if recipe.format == "onnx" else recipe
        found = tried(checkpoint(family, MEASURED), MEASURED, known, *given, exported=exported)
        ways |= {name if engine == "torch" else f"{name}, {engine}": why for engine, why in found.items()}
    section.hold(family, {"Tasks, as float": tasks, f"Methods and engines, for {MEASURED}": ways})
