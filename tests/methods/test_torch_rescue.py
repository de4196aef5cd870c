import json
import shutil
import warnings

import numpy as np
import pytest
import torch
import transformers

import octavo
from octavo.errors import CheckpointError, RecipeError
from octavo.schema.recipe import Recipe

DEMO = "examples/korean-nli"
TORCH = Recipe(format="torch")


def broken(checkpoint, folder, spec, *, whole=False):
    """The old recipe: quantize every Linear, and save what `state_dict` gives (or pickle the whole model)."""
    transformers.logging.disable_progress_bar()
    model = transformers.AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantized = torch.ao.quantization.quantize_dynamic(model, spec, torch.qint8)
        shutil.copytree(checkpoint, folder, ignore=shutil.ignore_patterns("*.safetensors"))
        torch.save(quantized if whole else quantized.state_dict(), folder / "pytorch_model.bin")
    return quantized


def logits(model, inputs):
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model(**inputs).logits


@pytest.fixture(scope="module")
def spec():
    return {torch.nn.Linear}


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta", "electra", "albert"])
def test_a_broken_folder_gives_the_logits_that_it_gave_before(checkpoint, sentences, tmp_path, spec, family):
    quantized = broken(checkpoint(family), tmp_path / "저장", spec)
    inputs = transformers.AutoTokenizer.from_pretrained(checkpoint(family))(
        list(sentences), padding=True, return_tensors="pt"
    )
    made = octavo.quantize(tmp_path / "저장", tmp_path / "rescued", recipe=TORCH)
    expected, found = logits(quantized, inputs), logits(octavo.load(made.folder).model, inputs)
    assert float((found - expected).abs().max()) < 1e-5
    linear = [layer for layer in made.manifest.layers if layer.kind == "linear"]
    assert all(layer.dtype == "int8" and layer.activation == "tensor-7bit" for layer in linear)
    assert all(layer.dtype == "float32" for layer in made.manifest.layers if layer.kind == "embedding")


def test_what_from_pretrained_makes_of_it_is_noise(checkpoint, sentences, tmp_path, spec):
    """The disappointment that this mends: the folder loads, and answers by random weights."""
    quantized = broken(checkpoint("bert"), tmp_path / "saved", spec)
    inputs = transformers.AutoTokenizer.from_pretrained(checkpoint("bert"))(
        list(sentences), padding=True, return_tensors="pt"
    )
    expected = logits(quantized, inputs)
    try:
        noise = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved").eval()
    except Exception:
        return
    assert float((logits(noise, inputs) - expected).abs().max()) > 1e-2


def test_weights_per_channel_and_rows_with_zero_points(checkpoint, sentences, tmp_path):
    spec = {
        torch.nn.Linear: torch.ao.quantization.per_channel_dynamic_qconfig,
        torch.nn.Embedding: torch.ao.quantization.float_qparams_weight_only_qconfig,
    }
    quantized = broken(checkpoint("bert"), tmp_path / "saved", spec)
    inputs = transformers.AutoTokenizer.from_pretrained(checkpoint("bert"))(
        list(sentences), padding=True, return_tensors="pt"
    )
    made = octavo.quantize(tmp_path / "saved", tmp_path / "rescued", recipe=TORCH)
    found = logits(octavo.load(made.folder).model, inputs)
    assert float((found - logits(quantized, inputs)).abs().max()) < 1e-4
    reasons = {layer.reason for layer in made.manifest.layers if layer.kind == "embedding"}
    assert reasons == {"its rows had zero points between the codes"}


def test_other_formats_and_methods_say_what_to_do(checkpoint, tmp_path, spec):
    broken(checkpoint("bert"), tmp_path / "saved", spec)
    with pytest.raises(CheckpointError, match=r"every Linear random.*next: octavo quantize \S+ -o OUT --format torch"):
        octavo.quantize(tmp_path / "saved", tmp_path / "onnx")
    with pytest.raises(RecipeError, match=r"keeps what it has.*got: method weight-only"):
        octavo.quantize(tmp_path / "saved", tmp_path / "out", recipe=Recipe(format="torch", method="weight-only"))
    assert not (tmp_path / "out").exists()


class Trap:
    """Whoever unpickles it opens a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_pickled_model_is_explained_and_not_run(checkpoint, tmp_path, spec):
    broken(checkpoint("bert"), tmp_path / "saved", spec, whole=True)
    torch.save(Trap(tmp_path / "sprung"), tmp_path / "saved" / "trap.bin")
    with pytest.raises(CheckpointError, match=r"a pickled model, which runs code.*save its state_dict\(\)"):
        octavo.quantize(tmp_path / "saved", tmp_path / "out", recipe=TORCH)
    (tmp_path / "saved" / "trap.bin").rename(tmp_path / "saved" / "pytorch_model.bin")
    with pytest.raises(CheckpointError):
        octavo.quantize(tmp_path / "saved", tmp_path / "out", recipe=TORCH)
    assert not (tmp_path / "sprung").exists()


def test_a_config_for_other_shapes_is_no_rescue(checkpoint, tmp_path, spec):
    broken(checkpoint("bert"), tmp_path / "saved", spec)
    config = json.loads((tmp_path / "saved/config.json").read_text(encoding="utf-8"))
    config = {name: value for name, value in config.items() if name not in {"id2label", "label2id"}}
    (tmp_path / "saved/config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"classifier is \(3, \d+\) and should be \(2, "):
        octavo.quantize(tmp_path / "saved", tmp_path / "out", recipe=TORCH)


def test_weights_that_are_not_there_are_no_rescue(checkpoint, tmp_path, spec):
    broken(checkpoint("bert"), tmp_path / "saved", spec)
    state = torch.load(tmp_path / "saved/pytorch_model.bin", weights_only=True)
    gone = next(name for name in state if name.endswith("query._packed_params._packed_params"))
    torch.save({name: value for name, value in state.items() if name != gone}, tmp_path / "saved/pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"not all weights .* are there.*query\.weight.*float checkpoint"):
        octavo.quantize(tmp_path / "saved", tmp_path / "out", recipe=TORCH)
    assert not (tmp_path / "out").exists()


def test_weights_that_no_module_takes_are_no_rescue(checkpoint, tmp_path, spec):
    broken(checkpoint("bert"), tmp_path / "saved", spec)
    state = torch.load(tmp_path / "saved/pytorch_model.bin", weights_only=True)
    torch.save(state | {"crf.transitions": torch.ones(3, 3)}, tmp_path / "saved/pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"1 weights of the checkpoint have no place.*got: crf\.transitions;"):
        octavo.quantize(tmp_path / "saved", tmp_path / "out", recipe=TORCH)
    given = octavo.Checkpoint(tmp_path / "saved", ignore_weights=("crf.*",))
    made = octavo.quantize(given, tmp_path / "out", recipe=TORCH)
    assert made.manifest.source.ignored_weights == ("crf.transitions",)


def test_the_self_test_and_the_card_of_a_rescued_one(checkpoint, tmp_path, spec):
    broken(checkpoint("bert"), tmp_path / "saved", spec)
    made = octavo.quantize(tmp_path / "saved", tmp_path / "rescued", recipe=TORCH)
    assert made.manifest.self_test.distance > 0  # from the same weights in float, activations not rounded
    assert octavo.verify(made) <= made.manifest.self_test.allowed()
    assert made.manifest.source.dtype == "qint8"
    assert "rescued from PyTorch's packed parameters" in (made.folder / "README.md").read_text(encoding="utf-8")
    assert np.isfinite(made.manifest.self_test.outputs).all()
