"""From training to an artifact: the Trainer, the checkpoint with its ranges, `octavo quantize`, and what is refused."""

import json
import shutil

import numpy as np
import pytest
import torch
import transformers
from typer.testing import CliRunner

import octavo
from octavo import qat
from octavo.artifact.folder import open_artifact
from octavo.checkpoint.model import load_model
from octavo.checkpoint.ranges import read_ranges
from octavo.checkpoint.source import read_source
from octavo.cli.main import app
from octavo.errors import CheckpointError, ExportError, InputError, OctavoWarning, RecipeError
from octavo.exporting.float_graphs import export_source
from octavo.hardware import find_target
from octavo.methods import Context
from octavo.methods.qat import quantize_learnt
from octavo.pipeline.calibration import sentence_batches
from octavo.progress import Silent
from octavo.qat.proof import require_agreement
from octavo.schema.ranges import RANGES
from octavo.schema.recipe import LayerRule, Recipe

RECIPE = Recipe(method="qat")


class Rows(torch.utils.data.Dataset):
    """The rows of batches, with labels."""

    def __init__(self, batches):
        self.rows = [
            {name: array[row] for name, array in batch.items()} | {"labels": row % 3}
            for batch in batches
            for row in range(len(batch["input_ids"]))
        ]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]


def make_trainer(source, folder, steps, callbacks):
    transformers.logging.disable_progress_bar()
    batches = sentence_batches(source.tokenizer.json, source.signature)
    arguments = transformers.TrainingArguments(
        output_dir=str(folder), max_steps=steps, per_device_train_batch_size=1, learning_rate=1e-3,
        report_to="none", disable_tqdm=True, save_steps=2, use_cpu=True, logging_strategy="no",
    )  # fmt: skip
    return transformers.Trainer(load_model(source), arguments, train_dataset=Rows(batches), callbacks=callbacks)


@pytest.fixture(scope="module")
def trained(checkpoint, tmp_path_factory):
    """A checkpoint that a Trainer trained for int8, and what the trained model answers to the probe."""
    source, work = read_source(checkpoint("bert")), tmp_path_factory.mktemp("trained")
    batches = sentence_batches(source.tokenizer.json, source.signature)
    trainer = make_trainer(source, work / "run", 5, [qat.Callback(batches)])
    trainer.train()
    ranges = trainer.model.quantization_ranges
    assert all(float(one.moved.abs().max()) > 0 for one in ranges.inputs)
    assert not any(parameter.requires_grad for parameter in ranges.parameters()), "frozen near the end"
    qat.save(trainer.model, work / "checkpoint", transformers.AutoTokenizer.from_pretrained(source.folder))
    return work


def copy(trained, tmp_path):
    return shutil.copytree(trained / "checkpoint", tmp_path / "copy")


def test_the_checkpoint_is_a_plain_one_with_ranges_beside(trained):
    folder = trained / "checkpoint"
    assert RANGES in {path.name for path in folder.iterdir()}
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=False)
    assert not any("quantization_ranges" in name for name in model.state_dict())
    load_model(read_source(folder))  # nothing is unread


def test_quantize_takes_the_ranges_and_needs_no_examples(trained, tmp_path):
    done = CliRunner().invoke(
        app, ["quantize", str(trained / "checkpoint"), "-o", str(tmp_path / "int8"), "--target", "any"]
    )
    assert done.exit_code == 0, done.output
    assert "method qat was chosen: the checkpoint was trained for int8" in done.output
    manifest = open_artifact(tmp_path / "int8").manifest
    assert manifest.recipe.method == "qat"
    assert not manifest.exact_u8s8
    assert {layer.activation for layer in manifest.layers if layer.kind == "linear"} == {"static"}
    assert manifest.source.ranges == read_ranges_hash(trained / "checkpoint")
    probe = json.loads((trained / "checkpoint" / RANGES).read_text(encoding="utf-8"))["probe"]
    session = octavo.load(tmp_path / "int8", engine="onnxruntime").session
    found = session.run({name: np.array(rows, np.int64) for name, rows in probe["inputs"].items()})
    expected = np.array(probe["outputs"])
    assert np.sqrt(np.mean((found - expected) ** 2)) < 0.01 * np.ptp(expected)


def read_ranges_hash(folder):
    from octavo.files import sha256_of

    return sha256_of(folder / RANGES)


def test_several_methods_take_one_export(trained, tmp_path):
    arguments = [
        "quantize",
        str(trained / "checkpoint"),
        "-o",
        str(tmp_path / "out"),
        "--method",
        "float",
        "--method",
        "qat",
    ]
    done = CliRunner().invoke(app, [*arguments, "--target", "any"])
    assert done.exit_code == 0, done.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"float", "qat"}


def test_other_methods_say_that_they_leave_the_ranges_alone(trained, tmp_path):
    with pytest.warns(OctavoWarning, match=f"{RANGES} is read by the method qat, and not by dynamic"):
        octavo.quantize(trained / "checkpoint", tmp_path / "out", recipe="dynamic")


def test_other_weights_are_refused(trained, checkpoint, tmp_path):
    folder = copy(trained, tmp_path)
    shutil.copy(checkpoint("bert") / "model.safetensors", folder)
    with pytest.raises(CheckpointError, match="learnt with other weights"):
        octavo.quantize(folder, tmp_path / "out", recipe="qat")


def test_another_tokenizer_is_refused(trained, tmp_path):
    folder = copy(trained, tmp_path)
    text = (folder / "tokenizer.json").read_text(encoding="utf-8")
    assert '"공원에서":' in text
    (folder / "tokenizer.json").write_text(text.replace('"공원에서":', '"공원에게":'), encoding="utf-8")
    with pytest.raises(CheckpointError, match="learnt with another tokenizer"):
        octavo.quantize(folder, tmp_path / "out", recipe="qat")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.pop("probe"), "is not valid.*probe"),
        (lambda table: table["inputs"][0].update(low=1.0), "is not valid.*low"),
        (lambda table: table["embeddings"].append(next(iter(table["inputs"][0]["layers"]))), "is not valid.*one twice"),
        (lambda table: table.update(octavo_ranges=2), "is not valid.*octavo_ranges"),
    ],
)
def test_damaged_ranges_are_refused(trained, tmp_path, change, message):
    folder = copy(trained, tmp_path)
    table = json.loads((folder / RANGES).read_text(encoding="utf-8"))
    change(table)
    (folder / RANGES).write_text(json.dumps(table), encoding="utf-8")
    with pytest.raises(CheckpointError, match=message):
        read_ranges(read_source(folder))


def test_what_training_has_settled_cannot_be_asked_for_again(trained, checkpoint, tmp_path):
    with pytest.raises(CheckpointError, match=f"takes ranges from {RANGES}"):
        octavo.quantize(checkpoint("bert"), tmp_path / "out", recipe="qat")
    rule = LayerRule(match="classifier", keep="float")
    with pytest.raises(RecipeError, match="settled when the checkpoint was trained"):
        octavo.quantize(trained / "checkpoint", tmp_path / "out", recipe=Recipe(method="qat", layers=(rule,)))


def test_weights_of_four_bits_take_half_of_the_bytes_on_any_engine(checkpoint, sentences, tmp_path):
    source = read_source(checkpoint("bert"))
    batches = sentence_batches(source.tokenizer.json, source.signature)
    made = {}
    for bits in (8, 4):
        model = qat.prepare(load_model(source), batches, bits=bits)
        qat.save(model, tmp_path / f"{bits}", transformers.AutoTokenizer.from_pretrained(source.folder))
        made[bits] = octavo.quantize(tmp_path / f"{bits}", tmp_path / f"int{bits}", recipe="qat", target="any")
    layers = {bits: made[bits].manifest.layers for bits in made}
    stored = {layer.path: (layer.dtype, layer.weight_bits) for layer in layers[4] if layer.kind == "linear"}
    assert stored.pop("classifier") == stored.pop("bert.pooler.dense") == ("int8", 8)
    assert {*stored.values()} == {("int4", 4)}
    saved = sum(one.bytes - other.bytes for one, other in zip(layers[8], layers[4], strict=True))
    assert saved == sum(layer.parameters for layer in layers[4] if layer.dtype == "int4") // 2
    files = [(made[bits].folder / "model.onnx").stat().st_size for bits in made]
    assert 0.8 * saved < files[0] - files[1] <= saved  # a Cast stands in front of each
    assert {weight.dtype for weight in octavo.inspect(made[4].folder).weights if weight.kind == "linear"} == {
        "int4",
        "int8",
    }
    answers = [
        octavo.load(made[4].folder, engine=engine).logits(list(sentences)) for engine in ("onnxruntime", "openvino")
    ]
    np.testing.assert_allclose(*answers, atol=1e-3 * np.ptp(answers[0]))
    with pytest.raises(RecipeError, match="weights of 4 bits need opset 21; got: 20"):
        octavo.quantize(tmp_path / "4", tmp_path / "out", recipe=Recipe(method="qat", opset=20), target="any")


def test_what_was_trained_for_some_cpus_is_not_for_every_one(checkpoint, tmp_path):
    source = read_source(checkpoint("bert"))
    batches = sentence_batches(source.tokenizer.json, source.signature)
    model = qat.prepare(load_model(source), batches, target="avx512_vnni")
    qat.save(model, tmp_path / "eight", transformers.AutoTokenizer.from_pretrained(source.folder))
    with pytest.raises(RecipeError, match="for CPUs whose products do not saturate"):
        octavo.quantize(tmp_path / "eight", tmp_path / "out", target="any")


def test_a_graph_that_reads_other_numbers_is_found(trained):
    """The pass that moves a value's bias behind the attention: layers read what no range was learnt of."""
    source = read_source(trained / "checkpoint")
    ranges = read_ranges(source)
    floats = export_source(source, Recipe(method="static"), Silent())
    result = quantize_learnt(floats.graphs["model"], RECIPE, Context(find_target("any"), ranges=ranges))
    with pytest.raises(ExportError, match="does not compute what the model did in training"):
        require_agreement(floats.model, result.model, ranges)
    with pytest.raises(RecipeError, match="exported with other settings"):
        floats.require_fit(RECIPE)


def test_answers_of_another_model_are_found(trained):
    source = read_source(trained / "checkpoint")
    ranges = read_ranges(source)
    floats = export_source(source, RECIPE, Silent())
    result = quantize_learnt(floats.graphs["model"], RECIPE, Context(find_target("any"), ranges=ranges))
    assert require_agreement(floats.model, result.model, ranges) < 1e-4
    outputs = ranges.probe.outputs[1:] + ranges.probe.outputs[:1]
    other = ranges.model_copy(update={"probe": ranges.probe.model_copy(update={"outputs": outputs})})
    with pytest.raises(ExportError, match="does not answer as the trained model did"):
        require_agreement(floats.model, result.model, other)


def test_a_run_goes_on_where_it_was_stopped(trained, checkpoint):
    source = read_source(checkpoint("bert"))
    batches = sentence_batches(source.tokenizer.json, source.signature)
    again = make_trainer(source, trained / "run", 5, [qat.Callback(batches)])
    again.train(resume_from_checkpoint=str(trained / "run" / "checkpoint-4"))
    found = again.model.quantization_ranges.records()
    assert found == read_ranges(read_source(trained / "checkpoint")).inputs


def test_a_callback_that_comes_too_late_says_so(checkpoint, tmp_path):
    source = read_source(checkpoint("bert"))
    trainer = make_trainer(source, tmp_path, 1, [])
    trainer.add_callback(qat.Callback(sentence_batches(source.tokenizer.json, source.signature)))
    with pytest.raises(InputError, match="too late to prepare"):
        trainer.train()
