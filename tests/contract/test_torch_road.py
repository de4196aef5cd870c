"""The format torch, over every family: what was quantized, what is stored, and what comes back in a fresh process."""

import json
import pickle
import shutil
from functools import partial

import numpy as np
import pytest
import torch
import transformers
from safetensors import safe_open
from safetensors.numpy import load_file

import octavo
from octavo.artifact.folder import open_artifact
from octavo.checkpoint.libraries import silent_transformers
from octavo.checkpoint.model import load_model
from octavo.checkpoint.source import read_source
from octavo.engines.torch_saved import load_saved
from octavo.errors import ArtifactError, CheckpointError, HardwareError, InputError, RecipeError
from octavo.inspection.models import inspect
from octavo.methods.torch_modules import quantize_modules
from octavo.pipeline.measuring import measure_layers
from octavo.schema.recipe import LayerRule, Recipe

FAMILIES = ("bert", "distilbert", "roberta", "electra", "albert", "camembert", "klue-roberta")
METHODS = ("dynamic", "weight-only")
RELOAD = """
import sys, numpy, octavo, torch
for folder in sys.argv[1:]:
    with numpy.load(folder + "-inputs.npz") as stored:
        inputs = {name: torch.from_numpy(stored[name]) for name in stored.files}
    with torch.inference_mode():
        numpy.save(folder + "-logits.npy", octavo.load(folder).model(**inputs).logits.numpy())
"""


@pytest.fixture(scope="module")
def made(checkpoint, tmp_path_factory):
    """A function of a family and a recipe: the artifact, made once."""
    known = {}

    def make(family, **settings):
        key = family, tuple(settings.items())
        if key not in known:
            folder = tmp_path_factory.mktemp("torch") / family
            known[key] = octavo.quantize(checkpoint(family), folder, recipe=Recipe(format="torch", **settings))
        return known[key]

    return make


def encoded(folder, sentences):
    with silent_transformers(transformers):
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return dict(tokenizer(list(sentences), padding=True, return_tensors="pt"))


@pytest.fixture(scope="module")
def reloaded(checkpoint, made, sentences, fresh):
    """A fresh process has loaded an artifact of every family and method: a function of both, the logits that it got."""
    folders = {(family, method): made(family, method=method).folder for family in FAMILIES for method in METHODS}
    for (family, _), folder in folders.items():
        inputs = {name: tensor.numpy() for name, tensor in encoded(checkpoint(family), sentences).items()}
        np.savez(f"{folder}-inputs.npz", **inputs)
    fresh(RELOAD, *folders.values())
    return lambda family, method: np.load(f"{folders[family, method]}-logits.npy")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_fresh_process_gives_the_logits_of_the_model_that_was_quantized(
    checkpoint, made, sentences, reloaded, family, method
):
    artifact = made(family, method=method)
    model = load_model(read_source(checkpoint(family)))
    quantized = quantize_modules(model, artifact.manifest.recipe, saturates=not artifact.manifest.exact_u8s8)
    inputs = encoded(checkpoint(family), sentences)
    with torch.inference_mode():
        expected = quantized.model(**inputs).logits.numpy()
        exact = model(**inputs).logits.numpy()
    found = reloaded(family, method)
    assert np.array_equal(found, expected)
    assert 0 < np.abs(found - exact).max() < 0.2 * np.ptp(exact)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_is_accounted_for_and_no_float_copy_is_stored(checkpoint, made, family):
    artifact = made(family)
    layers = {layer.path: layer for layer in artifact.manifest.layers}
    model = load_model(read_source(checkpoint(family)))
    modules = {
        path: module
        for path, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | torch.nn.Embedding)
    }
    assert layers.keys() == modules.keys()
    stored = load_file(artifact.model_file)
    for path, module in modules.items():
        if layers[path].dtype == "int8":
            assert f"{path}.weight" not in stored
            codes, scale = stored[f"{path}._weight_qdata"], stored[f"{path}._weight_scale"]
            assert codes.dtype == np.int8
            weight = module.weight.detach().numpy()
            assert np.all(np.abs(codes * scale - weight) <= scale / 2 * (1 + 1e-5))
        else:
            assert layers[path].reason
            assert np.array_equal(stored[f"{path}.weight"], module.weight.detach().numpy())
    assert {layer.dtype for layer in layers.values() if layer.kind == "linear"} == {"int8"}
    assert all(layer.output_db > 10 for layer in layers.values() if layer.output_db is not None)


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta", "electra", "albert"])
@pytest.mark.parametrize("method", ["dynamic", "weight-only"])
def test_plain_transformers_opens_the_folder(made, sentences, family, method):
    pytest.importorskip("torchao", reason="torchao is not installed")
    from torchao.quantization import Int8Tensor

    artifact = made(family, method=method)
    with silent_transformers(transformers):
        model = transformers.AutoModelForSequenceClassification.from_pretrained(artifact.folder).eval()
    weights = {name for name, weight in model.named_parameters() if isinstance(weight, Int8Tensor)}
    assert weights == {f"{layer.path}.weight" for layer in artifact.manifest.layers if layer.dtype == "int8"}
    assert all(not isinstance(weight, Int8Tensor) for name, weight in model.named_parameters() if "bias" in name)
    inputs = encoded(artifact.folder, sentences)
    mine = octavo.load(artifact.folder).model
    with torch.inference_mode():
        ours, theirs = mine(**inputs).logits, model(**inputs).logits
    moved, best = float((ours - theirs).abs().max()), ours.topk(2).values
    assert moved < 0.1 * float(ours.max() - ours.min())
    clear = best[:, 0] - best[:, 1] > 2 * moved
    assert int(clear.sum()) >= 3
    assert torch.equal(ours.argmax(1)[clear], theirs.argmax(1)[clear])


def test_the_model_is_an_ordinary_one(made, sentences):
    predict = octavo.load(made("bert").folder)
    inputs = encoded(made("bert").folder, sentences)
    labels = torch.arange(len(sentences)) % 3
    with torch.inference_mode():
        answer = predict.model(**inputs, labels=labels)
    assert isinstance(predict.model, transformers.BertForSequenceClassification)
    expected = torch.nn.functional.cross_entropy(answer.logits, labels)
    assert torch.allclose(answer.loss, expected)
    first = torch.softmax(answer.logits[0], 0)
    assert predict(list(sentences))[0]["score"] == pytest.approx(float(first.max()), abs=1e-5)


def test_twelve_layers_have_74_linears_at_27_percent(make_checkpoint, tmp_path):
    folder = make_checkpoint("bert", tmp_path / "bert")
    with silent_transformers(transformers):
        config = transformers.AutoConfig.from_pretrained(folder)
        config.num_hidden_layers, config.vocab_size = 12, 2000
        config.hidden_size, config.intermediate_size = 192, 768
        torch.manual_seed(0)
        transformers.BertForSequenceClassification(config).save_pretrained(folder)
    artifact = octavo.quantize(folder, tmp_path / "int8", recipe=Recipe(format="torch"))
    linear = [layer for layer in artifact.manifest.layers if layer.kind == "linear"]
    assert [layer.dtype for layer in linear] == ["int8"] * 74
    assert artifact.model_file.stat().st_size <= 0.27 * (folder / "model.safetensors").stat().st_size


def test_batches_do_not_change_answers_but_with_one_scale_for_all(made, sentences):
    def moved(artifact):
        session = octavo.load(artifact.folder).session
        inputs = {name: tensor.numpy() for name, tensor in encoded(artifact.folder, sentences).items()}
        length = int(inputs["attention_mask"][0].sum())
        alone = session.run({name: array[:1, :length] for name, array in inputs.items()})
        return float(np.abs(alone[0] - session.run(inputs)[0]).max())

    assert moved(made("bert", granularity="token")) < 1e-5
    assert moved(made("bert")) > 1e-3


def test_rules_keep_layers_float(checkpoint, tmp_path):
    rules = (LayerRule(match="*.layer.0.output.dense", keep="float"),)
    made = octavo.quantize(checkpoint("bert"), tmp_path / "out", recipe=Recipe(format="torch", layers=rules))
    (kept,) = [layer for layer in made.manifest.layers if "kept by the rule" in layer.reason]
    assert kept.path == "bert.encoder.layer.0.output.dense"
    assert type(octavo.load(made.folder).model.get_submodule(kept.path)) is torch.nn.Linear


def test_tied_weights_are_stored_once_and_embeddings_pool(make_checkpoint, tmp_path, sentences):
    folder = make_checkpoint("bert", tmp_path / "bert", "BertModel")
    made = octavo.quantize(
        octavo.Checkpoint(folder, task="feature-extraction"), tmp_path / "e", recipe=Recipe(format="torch")
    )
    found = octavo.load(made.folder)(list(sentences))
    expected = octavo.quantize(octavo.Checkpoint(folder, task="feature-extraction"), tmp_path / "f", recipe="float")
    reference = octavo.load(expected.folder)(list(sentences))
    cosine = (found * reference).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(reference, axis=1)
    assert cosine.min() > 0.97


def test_the_same_checkpoint_gives_the_same_bytes(checkpoint, made, tmp_path):
    again = octavo.quantize(checkpoint("bert"), tmp_path / "again", recipe=Recipe(format="torch"))
    assert again.model_file.read_bytes() == made("bert").model_file.read_bytes()
    assert not any(path.suffix in {".bin", ".pkl", ".pt"} for path in again.folder.iterdir())


def test_a_changed_scale_is_refused_on_another_host(made, tmp_path):
    folder = tmp_path / "moved"
    shutil.copytree(made("bert").folder, folder)
    fields = json.loads((folder / "octavo.json").read_text(encoding="utf-8"))
    fields["host"]["cpu"] = "another CPU"
    (folder / "octavo.json").write_text(json.dumps(fields), encoding="utf-8")
    assert octavo.load(folder)("한국어 문장이다.")
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    with safe_open(file, framework="np") as opened:
        wanted = "bert.encoder.layer.0.attention.self.value._weight_qdata"
        codes = opened.get_tensor(wanted).tobytes()
    start = content.index(codes)
    content[start : start + len(codes)] = codes[::-1]
    file.write_bytes(content)
    with pytest.raises(ArtifactError, match="does not answer here as it did"):
        octavo.load(folder, verify=False)
    with pytest.raises(ArtifactError, match="was changed"):
        octavo.verify(open_artifact(folder))


def test_other_weights_than_the_configs_are_one_line(made, tmp_path):
    folder = tmp_path / "mixed"
    shutil.copytree(made("bert").folder, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    text = json.dumps(config | {"intermediate_size": config["intermediate_size"] * 2, "num_hidden_layers": 3})
    (folder / "config.json").write_text(text, encoding="utf-8")
    fields = json.loads((folder / "octavo.json").read_text(encoding="utf-8"))
    fields["files"]["config.json"]["bytes"] = (folder / "config.json").stat().st_size
    (folder / "octavo.json").write_text(json.dumps(fields), encoding="utf-8")
    with pytest.raises(ArtifactError, match="weights do not belong to the config"):
        octavo.load(folder, verify=False)


def with_config(folder, config):
    """Replace the config of an artifact, and its size in the manifest."""
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    fields = json.loads((folder / "octavo.json").read_text(encoding="utf-8"))
    fields["files"]["config.json"]["bytes"] = (folder / "config.json").stat().st_size
    (folder / "octavo.json").write_text(json.dumps(fields), encoding="utf-8")


def test_code_in_the_folder_does_not_run(made, tmp_path):
    folder = tmp_path / "artifact"
    shutil.copytree(made("bert").folder, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    with_config(folder, config | {"model_type": "strange", "auto_map": {"AutoConfig": "code.Config"}})
    (folder / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"do not belong to the config .*custom code"):
        octavo.load(folder, verify=False)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"vocab_size": 999}, "vocab_size is another one"),
        ({"id2label": {"0": "a"}}, "labels"),
        ({"hidden_size": 64}, "be"),
    ],
)
def test_other_sizes_than_the_configs_are_one_line(made, tmp_path, settings, told):
    folder = tmp_path / "artifact"
    shutil.copytree(made("bert").folder, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    with_config(folder, config | settings)
    with pytest.raises(ArtifactError, match=told):
        octavo.load(folder, verify=False)


def test_the_loaded_model_saves_itself_again(made, tmp_path, sentences):
    folder, again = made("bert").folder, tmp_path / "again"
    model = octavo.load(folder).model
    model.save_pretrained(again)
    inputs = encoded(folder, sentences)
    with torch.inference_mode():
        assert torch.equal(pickle.loads(pickle.dumps(model))(**inputs).logits, model(**inputs).logits)
    for wrong in (model.bfloat16(), octavo.load(folder).model):
        with pytest.raises(InputError, match=r"saved as it was loaded; got: (torch.bfloat16, )?push_to_hub"):
            wrong.save_pretrained(tmp_path / "wrong", push_to_hub=True)
    assert not (tmp_path / "wrong").exists()
    assert (again / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    for name in ("tokenizer.json", "tokenizer_config.json", "octavo.json"):
        if (folder / name).exists():
            shutil.copy(folder / name, again / name)
    with_config(again, json.loads((again / "config.json").read_text(encoding="utf-8")))
    assert octavo.load(again, verify=False)(list(sentences)) == octavo.load(folder)(list(sentences))
    (again / "octavo.json").unlink()
    with pytest.raises(CheckpointError, match=r"quantized already .*got: torchao"):
        octavo.load(again)


def test_a_module_that_computes_something_else_stays_float(make_checkpoint, tmp_path, sentences):
    """BART scales its words, and its table of positions adds 2 to what it is asked."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(make_checkpoint("bert", tmp_path / "bert"))
    size = {"d_model": 32, "vocab_size": len(tokenizer), "max_position_embeddings": 64}
    for side in ("encoder", "decoder"):
        size |= {f"{side}_layers": 1, f"{side}_attention_heads": 2, f"{side}_ffn_dim": 64}
    torch.manual_seed(2)
    special = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.sep_token_id, "num_labels": 3}
    config = transformers.BartConfig(scale_embedding=True, decoder_start_token_id=0, **size, **special)
    model = transformers.BartForSequenceClassification(config).eval()
    quantized = quantize_modules(model, Recipe(format="torch"), saturates=False)
    kept = {layer.path: layer.reason for layer in quantized.layers if layer.dtype == "float32"}
    assert "BartScaledWordEmbedding computes something else" in kept.values()
    assert all(layer.kind == "embedding" for layer in quantized.layers if layer.dtype == "float32")
    inputs = encoded(tmp_path / "bert", sentences)
    inputs.pop("token_type_ids", None)
    with torch.inference_mode():
        expected, found = model(**inputs).logits, quantized.model(**inputs).logits
    assert float((found - expected).abs().max()) < 0.1 * float(expected.abs().max())


@pytest.mark.parametrize("target", ["avx2", "avx512_vnni"])
def test_a_tied_head_and_its_table_have_one_set_of_codes(make_checkpoint, tmp_path, target):
    source = make_checkpoint("bert", tmp_path / "source", "BertForMaskedLM")
    made = octavo.quantize(source, tmp_path / "out", recipe=Recipe(format="torch"), target=target)
    assert (
        sum(name.endswith("_weight_qdata") for name in load_file(made.folder / "model.safetensors"))
        == sum(layer.dtype == "int8" for layer in made.manifest.layers) - 1
    )
    model = load_saved(made.model_file)
    head, table = model.cls.predictions.decoder, model.bert.embeddings.word_embeddings
    assert head.codes.data_ptr() == table.codes.data_ptr()
    opened = transformers.AutoModelForMaskedLM.from_pretrained(made.folder)
    assert opened.cls.predictions.decoder.weight.shape[0] == opened.config.vocab_size


def test_compiled_it_answers_the_same(checkpoint, sentences, monkeypatch, tmp_path):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))  # all but the C++ compiler's minute
    one = shutil.copytree(checkpoint("bert"), tmp_path / "one")  # a layer: each is traced, and the others are like it
    shorter = transformers.BertForSequenceClassification.from_pretrained(checkpoint("bert"), num_hidden_layers=1)
    shorter.save_pretrained(one)
    int8 = octavo.quantize(one, tmp_path / "int8", recipe=Recipe(format="torch"))
    for path in (one, int8.folder):
        plain, compiled = (octavo.load(path, engine=engine) for engine in ("torch", "torch:compile"))
        assert compiled.session.name == "torch:compile"
        scores = [[one["score"] for one in predictor(list(sentences))] for predictor in (plain, compiled)]
        np.testing.assert_allclose(*scores, atol=1e-5)


def test_inspect_and_engines(checkpoint, made):
    artifact = made("bert")
    again = measure_layers(artifact, checkpoint("bert"))
    assert [layer.output_db for layer in again] == [layer.output_db for layer in artifact.manifest.layers]
    with pytest.raises(InputError, match="made from a checkpoint with other layers"):
        measure_layers(artifact, checkpoint("distilbert"))
    found = inspect(artifact.folder)
    assert (found.kind, found.method, found.loads_as) == ("artifact", "dynamic", "text-classification")
    assert {weight.dtype for weight in found.weights if weight.kind == "linear"} == {"int8"}
    assert artifact.engine() == "torch"
    with pytest.raises(InputError, match="format torch; got: onnxruntime; allowed: auto, torch"):
        octavo.load(artifact.folder, engine="onnxruntime")
    with pytest.raises(InputError, match="unknown mode of torch; got: b16"):
        octavo.load(artifact.folder, engine="torch:b16")
    with pytest.raises(InputError, match="int8 layers compute in float32"):
        octavo.load(artifact.folder, engine="torch:bf16")


def test_bf16_of_a_checkpoint(checkpoint, sentences):
    single, short = (octavo.load(checkpoint("bert"), engine=engine) for engine in ("torch", "torch:bf16"))
    assert short.session.name == "torch:bf16"
    ours, theirs = single(list(sentences)), short(list(sentences))
    scores = [[one["score"] for one in found] for found in (ours, theirs)]
    np.testing.assert_allclose(*scores, atol=0.05)
    assert scores[0] != scores[1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(made, checkpoint):
    for path in (made("bert").folder, checkpoint("bert")):
        with pytest.raises(
            HardwareError, match=r"no CUDA device here; got: torch .*; allowed: cpu; next: leave the dev"
        ):
            octavo.load(path, device="cuda")
    with pytest.raises(InputError, match="unknown device; got: tpu"):
        octavo.load(checkpoint("bert"), device="tpu")
    with pytest.raises(HardwareError, match="fp8 is not available here; got: the CPU"):
        octavo.load(checkpoint("bert"), engine="torch:fp8")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU: int8 and fp8 on one are not tested")
@pytest.mark.parametrize("method", ["dynamic", "weight-only"])
def test_a_gpu_answers_as_the_cpu(made, sentences, method):
    here = octavo.load(made("bert", method=method).folder)(list(sentences))
    there = octavo.load(made("bert", method=method).folder, device="cuda")(list(sentences))
    assert [one["label"] for one in here] == [one["label"] for one in there]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"method": "static"}, "the format torch has the methods dynamic, weight-only, and this is static"),
        ({"method": "float"}, "has the methods dynamic, weight-only, and this is float"),
        ({"method": "weight-only", "bits": 4}, "bits is a setting of the format onnx, and this is torch"),
        (
            {"layers": [{"match": "*", "keep": "int4"}], "method": "weight-only"},
            "int4 layers .* this is weight-only, torch",
        ),
        ({"opset": 21}, "opset is a setting of the format onnx, and this is torch"),
    ],
)
def test_what_belongs_to_graphs_is_refused(settings, said):
    from octavo.schema.recipe import recipe_from

    with pytest.raises(RecipeError, match=said):
        recipe_from({"format": "torch"} | settings)
