"""Large models: weights stay in their files, torch's are let go, covariances come in parts. Artifacts are the same."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import octavo
from octavo import hardware
from octavo.engines import onnxruntime
from octavo.exporting import original, tensors
from octavo.methods import activations, calibrated
from octavo.pipeline import quantization


@pytest.fixture
def large(monkeypatch):
    """A function by which the tiny models here count as large."""

    def count():
        for module in (onnxruntime, original, tensors, quantization):
            monkeypatch.setattr(module, "HELD", 0)
        monkeypatch.setattr(onnxruntime, "TABLE", 0)
        monkeypatch.setattr(calibrated, "IN_MEMORY", 1)
        monkeypatch.setattr(activations, "SEEN", 1)
        monkeypatch.setattr(hardware, "gc", SimpleNamespace(collect=int))  # of all that tests hold: seconds

    return count


@pytest.fixture
def covariances(monkeypatch):
    """The names of what is read whose covariances were seen, of each part."""
    runs, see = [], calibrated.see_covariances
    monkeypatch.setattr(
        calibrated, "see_covariances", lambda model, names, *more: runs.append(names) or see(model, names, *more)
    )
    return runs


@pytest.mark.parametrize("method", ["dynamic", "static"])
def test_the_artifact_is_the_same(checkpoint, tmp_path, sentences, large, covariances, method):
    texts = tmp_path / "문장.txt"
    texts.write_text("\n".join(sentences * 10), encoding="utf-8")
    given = {"method": method} | ({"calibrate": texts} if method == "static" else {})
    small = octavo.quantize(checkpoint("bert"), tmp_path / "small", **given)
    assert covariances == [], "those of a small model are seen in one go"
    large()
    artifact = octavo.quantize(checkpoint("bert"), tmp_path / "large", **given)
    if method == "dynamic":
        assert artifact.model_file.read_bytes() == small.model_file.read_bytes()
    else:
        assert len(covariances) > 4
        assert all(len(names) == 1 for names in covariances)
    rows = [("아이들이 공원에서 놀고 있다.", "아무도 공원에 없다."), ("오늘 날씨는 춥다.", "영화가 정말 재미있다!")]
    expected, found = (octavo.load(one.folder).logits(rows) for one in (small, artifact))
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.02 * np.ptp(expected))  # codes that turned over
    dtypes = [[(layer.path, layer.dtype) for layer in one.manifest.layers] for one in (small, artifact)]
    assert dtypes[0] == dtypes[1]


def test_torch_is_let_go_and_comes_back(checkpoint, large):
    large()
    floats = octavo.export(checkpoint("bert"))
    first = floats.model
    floats.original.release()
    assert floats.model is not first
    inputs = {name: np.ones((1, 5), np.int64) for name in floats.source.signature.input_names}
    kept = octavo.export(checkpoint("bert"))
    np.testing.assert_array_equal(floats.reference().run(inputs), kept.reference().run(inputs))


def test_weights_that_were_changed_since_are_an_error(checkpoint, tmp_path, large):
    folder = Path(shutil.copytree(checkpoint("bert"), tmp_path / "checkpoint"))
    large()
    floats = octavo.export(folder)
    file = folder / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[:-4] + b"\0\0\0\0")
    with pytest.raises(octavo.CheckpointError, match="the weights were changed after they were read"):
        octavo.quantize(floats, tmp_path / "out", method="dynamic")
    assert not (tmp_path / "out").exists()
