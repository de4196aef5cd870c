"""Graphs that are written without torch: as torch, as numpy and as the exporter's, or not at all."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import octavo
from octavo.checkpoint.encoders import CLASSES, HEADS
from octavo.checkpoint.model import load_model
from octavo.checkpoint.source import Checkpoint, read_source
from octavo.engines.onnxruntime import open_graph
from octavo.exporting import graph_writer, original
from octavo.exporting.families import FAMILIES
from octavo.exporting.numpy_reference import NumpyReference, erf
from octavo.exporting.reference import ask_reference, probe
from octavo.exporting.tensors import UnwrittenError
from octavo.exporting.written import write_checked, write_graph
from octavo.graph.layers import find_layers
from octavo.progress import Silent
from octavo.schema.recipe import Recipe

TASKS = tuple(FAMILIES["bert"].heads)
HEADED = "text-classification"
POSITIONS = 150  # MPNet's buckets end at a distance of 128
UNLIKE = {  # settings that another checkpoint of the family has
    "bert": {"hidden_act": "gelu_new", "type_vocab_size": 3, "layer_norm_eps": 1e-3},
    "roberta": {"type_vocab_size": 1, "pad_token_id": 5},
    "xlm-roberta": {"type_vocab_size": 1, "hidden_act": "relu"},
    "electra": {"embedding_size": 32},
    "albert": {"embedding_size": 12, "num_hidden_groups": 2, "num_hidden_layers": 5},
}

pytestmark = pytest.mark.filterwarnings("ignore:.*pads with the id 5, the tokenizer with 1")


@pytest.fixture(scope="module")
def make(tmp_path_factory, tiny_parts):
    """A function of a family and a task: the folder of a tiny random checkpoint with the settings of `UNLIKE`."""
    special = ("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]")  # padding is 1, as MPNet and RoBERTa have it
    limit = {"model_max_length": POSITIONS, "do_lower_case": True, "strip_accents": False}
    tokenizer = transformers.BertTokenizer(vocab=tiny_parts.word_pieces(*special), **limit)
    names = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save_pretrained(names)
    transformers.logging.disable_progress_bar()

    def write(family, task, layers=2):
        settings = {
            "vocab_size": len(tokenizer), "pad_token_id": 1, "hidden_size": 32, "intermediate_size": 48,
            "num_hidden_layers": layers, "num_attention_heads": 4, "max_position_embeddings": POSITIONS + 6,
        }  # fmt: skip
        settings = {FAMILIES[family].settings.get(name, name): value for name, value in settings.items()}
        settings |= {"num_labels": 2 if task == "question-answering" else 3} | UNLIKE.get(family, {})
        model = getattr(transformers, CLASSES[family] + HEADS.get(task, "Model"))
        model = model(getattr(transformers, f"{CLASSES[family]}Config")(**settings))
        generator = torch.Generator().manual_seed(3)
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.data = 1 + 0.1 * noise if "norm" in name.lower() and name.endswith("weight") else 0.2 * noise
        folder = tmp_path_factory.mktemp(family) / task
        model.save_pretrained(folder)
        return Path(shutil.copytree(names, folder, dirs_exist_ok=True))

    return write


@pytest.mark.parametrize("family", FAMILIES)
def test_every_task_answers_as_torch_does_and_so_does_numpy(make, family):
    for task in TASKS:
        source = read_source(Checkpoint(make(family, task), task))
        graph, tensors, config = write_graph(source, Recipe())
        assert tensors.left() == [
            name for name in source.weights.tensors if "pooler" in name and not _pools(family, task)
        ]
        written, in_numpy = open_graph(graph), NumpyReference(task, config, tensors, source.signature.token_vectors)
        answers = ask_reference(load_model(source), source.signature)
        assert {answer.inputs["input_ids"].shape for answer in answers} >= {(1, 1), (3, 9), (1, POSITIONS)}
        spread = np.ptp(np.concatenate([answer.outputs.ravel() for answer in answers]))
        assert spread > 0.01, "answers that are alike prove nothing"
        for answer in answers:
            allowed = 1e-5 * max(1.0, float(np.abs(answer.outputs).max()))
            for session in (written, in_numpy):
                np.testing.assert_allclose(session.run(answer.inputs), answer.outputs, rtol=0, atol=allowed)


def _pools(family, task):
    return task == "multiple-choice" or (task == "text-classification" and family in {"bert", "albert"})


@pytest.mark.parametrize(
    ("family", "task"),
    [*((family, HEADED) for family in FAMILIES), *(("bert", task) for task in TASKS if task != HEADED)],
)
def test_it_is_the_graph_of_the_exporter(make, traced, family, task):
    """The same layers and answers, with fewer nodes. Of a family it is the checkpoint that other tests export too."""
    of_all = task == HEADED and family != "mpnet"
    folder = traced(family) if of_all else make(family, task, layers=1)
    floats = octavo.export(Checkpoint(folder, task), exporter=True)
    assert (floats.record.graph, floats.record.reference) == ("exported", "torch")
    theirs, (ours, _, config) = floats.graphs["model"], write_graph(floats.source, Recipe())
    layers = [[(one.path, one.kind, len(one.nodes), one.parameters) for one in find_layers(g)] for g in (theirs, ours)]
    assert layers[0] == layers[1]
    assert [value.name for value in ours.graph.outputs] == [value.name for value in theirs.graph.outputs]
    assert len(ours.graph) < len(theirs.graph)
    inputs = probe(floats.source.signature, 5, 21, config)
    expected = open_graph(theirs).run(inputs)
    allowed = 1e-5 * max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(open_graph(ours).run(inputs), expected, rtol=0, atol=allowed)


@pytest.mark.parametrize("family", ["bert", "albert"])
def test_for_learnt_ranges_each_layer_reads_what_it_reads_in_torch(checkpoint, family):
    source = read_source(checkpoint(family))
    model = load_model(source)
    graph, _, config = write_graph(source, Recipe(method="qat"))
    biases = {name for name, _ in model.named_parameters() if name.endswith(".bias")}
    assert {name for name in graph.graph.initializers if name.endswith(".bias")} == biases
    inputs = probe(source.signature, 5, 21, config)
    expected = model(**{name: torch.from_numpy(array) for name, array in inputs.items()}).logits.detach().numpy()
    np.testing.assert_allclose(open_graph(graph).run(inputs), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_erf_is_that_of_the_library():
    x = torch.linspace(-7, 7, 20_011, dtype=torch.float64)
    np.testing.assert_allclose(erf(x.numpy()), torch.erf(x).numpy(), rtol=0, atol=2e-10)


@pytest.fixture
def folder(checkpoint, tmp_path):
    """A checkpoint that may be changed."""
    return Path(shutil.copytree(checkpoint("bert"), tmp_path / "bert"))


def rewrite(folder, change):
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {name: tensor.contiguous() for name, tensor in change(dict(tensors)).items()}, folder / "model.safetensors"
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_types_are_taken_as_torch_takes_them(folder, dtype):
    rewrite(folder, lambda tensors: {name: tensor.to(dtype) for name, tensor in tensors.items()})
    floats = octavo.export(folder)
    assert floats.record.graph == "written"
    assert max(floats.record.differences.values()) < 1e-5


def test_the_names_of_old_checkpoints_are_known(folder):
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}

    def renamed(name):
        ending = ".".join(name.split(".")[-2:])
        return name.removesuffix(ending) + old.get(ending, ending)

    rewrite(folder, lambda tensors: {renamed(name): tensor for name, tensor in tensors.items()})
    assert octavo.export(folder).record.graph == "written"


def test_vectors_of_a_model_with_a_head(checkpoint):
    floats = octavo.export(Checkpoint(checkpoint("bert"), task="feature-extraction"))
    assert floats.record.graph == "written"
    assert next(find_layers(floats.graphs["model"]).__iter__()).path == "embeddings.word_embeddings"


def without(part):
    return lambda tensors: {name: tensor for name, tensor in tensors.items() if part not in name}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without("layer.1.output.dense.bias"), "no weight bert.encoder.layer.1.output.dense.bias"),
        (
            lambda tensors: tensors | {"bert.pooler.dense.weight": torch.ones(4, 48)},
            r"bert.pooler.dense.weight is float32 \[4, 48\] where the config says \[48, 48\]",
        ),
        (
            lambda tensors: tensors | {"classifier.bias": torch.ones(3, dtype=torch.int64)},
            "classifier.bias is int64",
        ),
        (
            lambda tensors: tensors | {"bert.embeddings.LayerNorm.beta": torch.ones(48)},
            "LayerNorm.b.* and .*LayerNorm.b",
        ),
    ],
    ids=["missing", "shape", "type", "twice"],
)
def test_weights_that_are_not_what_the_config_says_are_the_exporters(folder, change, reason):
    rewrite(folder, change)
    with pytest.raises(UnwrittenError, match=reason):
        write_graph(read_source(folder), Recipe())


@pytest.mark.parametrize("recipe", [Recipe(opset=22), Recipe(optimize=False)])
def test_another_opset_and_a_graph_without_passes_are_the_exporters(checkpoint, recipe):
    with pytest.raises(UnwrittenError, match=r"opset 22|without passes"):
        write_graph(read_source(checkpoint("bert")), recipe)


def test_words_of_a_matrix_that_is_not_the_embeddings(make):
    folder = make("roberta", "fill-mask")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    own = {"lm_head.decoder.weight": torch.randn(config["vocab_size"], 32)}
    rewrite(folder, lambda tensors: tensors | own | {"lm_head.decoder.bias": tensors["lm_head.bias"].clone()})
    with pytest.raises(UnwrittenError, match=r"lm_head.decoder.weight, which is tied to .*, has other numbers"):
        write_graph(read_source(folder), Recipe())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}), encoding="utf-8")
    assert octavo.export(folder).record.graph == "written"


# Without torch: the same files, read and proved by what a plain install has


@pytest.fixture
def light(monkeypatch):
    """As if torch were not installed."""
    for module in ("octavo.checkpoint.source", "octavo.exporting.float_graphs"):
        monkeypatch.setattr(f"{module}.has_torch", lambda: False)
    monkeypatch.setattr(original, "load_model", None)


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_the_same_graph_without_torch(make, family, monkeypatch, request):
    folder = make(family, "token-classification")
    whole = octavo.export(folder)
    request.getfixturevalue("light")
    floats = octavo.export(folder)
    assert (floats.record.graph, floats.record.reference, floats.model) == ("written", "numpy", None)
    assert floats.record.differences.keys() == whole.record.differences.keys()
    protos = [ir.to_proto(one.graphs["model"]).SerializeToString() for one in (whole, floats)]
    assert protos[0] == protos[1]
    assert floats.source.signature == whole.source.signature
    assert floats.source.config == whole.source.config
    inputs = probe(floats.source.signature, 2, 5, floats.source.config)
    np.testing.assert_allclose(floats.reference().run(inputs), whole.reference().run(inputs), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda tensors: tensors | {"crf.transitions": torch.ones(3, 3)},
            "1 weights of the checkpoint have no place in Bert",
        ),
        (
            lambda tensors: tensors | {"classifier.bias": torch.tensor([0, np.nan, 0])},
            "weights that are NaN or infinite",
        ),
    ],
    ids=["unread", "not finite"],
)
def test_weights_that_are_wrong_are_errors_without_torch(folder, light, change, told):
    rewrite(folder, change)
    with pytest.raises(octavo.CheckpointError, match=told):
        octavo.export(folder)


def test_what_nobody_reads_is_left_to_torch_where_it_is(folder):
    model = load_model(read_source(folder))
    rewrite(folder, lambda tensors: tensors | {"crf.transitions": torch.ones(3, 3)})
    source = read_source(folder)
    with pytest.raises(UnwrittenError, match="have no place in BertForSequenceClassification"):
        write_checked(source, original.Original(source, model=model), Recipe(), Silent())


def spoil(monkeypatch):
    """Let the writer make a mistake: a residual is left out."""
    node = graph_writer.GraphWriter.node

    def half(self, where, inputs, *more, **attributes):
        inputs = inputs[:1] * 2 if where.endswith("layer.1.output/Sum") else inputs
        return node(self, where, inputs, *more, **attributes)

    monkeypatch.setattr(graph_writer.GraphWriter, "node", half)


def test_a_graph_that_is_written_wrongly_is_found_out_by_numpy(checkpoint, light, monkeypatch):
    spoil(monkeypatch)
    with pytest.raises(octavo.ExportError, match="the exported graph differs from numpy at 1 x 1"):
        octavo.export(checkpoint("bert"))


def test_a_graph_that_is_written_wrongly_is_exported_where_torch_is(checkpoint, monkeypatch):
    spoil(monkeypatch)
    record = octavo.export(checkpoint("bert")).record
    assert record.graph == "exported"
    assert record.note.startswith("the graph that Octavo writes did not do: the exported graph differs from torch")


PLAIN = """
import json, sys
from pathlib import Path
import octavo
from octavo.cli.main import run

def call(*arguments):
    sys.argv = ["octavo", *map(str, arguments)]
    try:
        run()
    except SystemExit as end:
        assert not end.code, end.code

checkpoint, work = sys.argv[1], Path(sys.argv[2])
call("quantize", checkpoint, "--method", "float", "--method", "dynamic", "-o", work / "out")
call("compare", work / "out" / "float", work / "out" / "dynamic", "--data", work / "rows.tsv")
call("predict", work / "out" / "dynamic", "--text", "공원에서 놀고 있다")
try:
    octavo.quantize(checkpoint, work / "old", recipe=octavo.Recipe(method="dynamic", opset=21))
except octavo.MissingExtraError as error:
    print(error)
assert not [name for name in sys.modules if name.partition(".")[0] == "torch" and sys.modules[name] is not None]
"""


def test_a_plain_install_quantizes_compares_and_predicts(plain, artifact, checkpoint, tmp_path, sentences):
    rows = [f"{text}\t{label}" for text in sentences for label in ("entailment", "neutral")]
    (tmp_path / "rows.tsv").write_text("\n".join(["text\tlabel", *rows]) + "\n", encoding="utf-8")
    told = plain(PLAIN, checkpoint("bert"), tmp_path)
    assert "no module" in told
    assert "for opset 21; next: pip install 'octavo[convert]'" in told
    manifest = octavo.open_artifact(tmp_path / "out" / "dynamic").manifest
    assert (manifest.export.graph, manifest.export.reference) == ("written", "numpy")
    for method in ("float", "dynamic"):
        whole = artifact("bert", method)
        assert (tmp_path / "out" / method / "model.onnx").read_bytes() == whole.model_file.read_bytes()
        assert (tmp_path / "out" / method / "tokenizer.json").read_bytes() == (
            whole.folder / "tokenizer.json"
        ).read_bytes()
