"""`distill --int8` and `--int4`: the student computes as its graph will, and `octavo quantize` needs no examples."""

import numpy as np
import pytest

import octavo
from octavo.artifact.folder import open_artifact
from octavo.checkpoint.lineage import read_lineage
from octavo.checkpoint.source import read_source
from octavo.errors import InputError, OctavoWarning
from octavo.schema.ranges import RANGES


@pytest.fixture(scope="module")
def texts(sentences, tmp_path_factory):
    file = tmp_path_factory.mktemp("texts") / "문장.txt"
    lines = [f"{one} {other}" for one in sentences for other in sentences if one != other]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


@pytest.mark.parametrize("layers", [1, 2])
def test_a_student_is_trained_for_int8(checkpoint, texts, sentences, tmp_path, layers):
    output, rate = tmp_path / "student", None if layers == 2 else 1.6e-3  # few texts
    asked = {"layers": layers, "epochs": 2, "batch_size": 8, "learning_rate": rate, "int8": True}
    result = octavo.distill(checkpoint("bert"), output, data=texts, **asked)
    assert result.record.int8
    assert len(result.record.layers) == layers
    if layers == 2:  # only the rounding is left to learn: a tenth of the usual rate
        assert result.record.learning_rate == pytest.approx(1e-5 * 256 / 48)
    assert RANGES in read_lineage(output).files
    assert not any(RANGES.partition(".")[0] in name for name in read_source(output).weights.tensors)
    artifact = octavo.quantize(output, tmp_path / "int8", target="any")
    manifest = open_artifact(artifact.folder).manifest
    assert manifest.recipe.method == "qat"
    assert manifest.lineage[-1].int8
    rows = list(sentences)
    found = octavo.load(artifact.folder, engine="onnxruntime").logits(rows)
    expected = octavo.load(output).logits(rows)
    assert np.abs(found - expected).max() < 0.2 * np.ptp(expected)
    if layers == 2:
        with pytest.warns(OctavoWarning, match=f"{RANGES} is of the weights before"):
            octavo.trim(output, tmp_path / "trimmed", data=texts, keep=60)


def test_a_student_is_trained_with_weights_of_four_bits(checkpoint, texts, sentences, tmp_path):
    output = tmp_path / "student"
    result = octavo.distill(checkpoint("bert"), output, data=texts, layers=2, epochs=1, batch_size=8, int4=True)
    assert result.record.int4
    assert not result.record.int8
    assert result.record.learning_rate == pytest.approx(1e-4 * 256 / 48)  # the usual rate
    artifact = octavo.quantize(output, tmp_path / "int4", target="any")
    manifest = open_artifact(artifact.folder).manifest
    assert manifest.recipe.method == "qat"
    assert manifest.lineage[-1].int4
    linears = [layer for layer in manifest.layers if layer.kind == "linear"]
    assert {(layer.part == "head", layer.weight_bits) for layer in linears} == {(True, 8), (False, 4)}
    assert "weights of 4 bits" in (artifact.folder / "README.md").read_text(encoding="utf-8")
    found = octavo.load(artifact.folder, engine="onnxruntime").logits(list(sentences))
    expected = octavo.load(output).logits(list(sentences))
    assert np.abs(found - expected).max() < 0.5 * np.ptp(expected)


def test_weights_have_one_number_of_bits(checkpoint, texts, tmp_path):
    with pytest.raises(InputError, match="weights are trained for 8 or 4 bits"):
        octavo.distill(checkpoint("bert"), tmp_path / "out", data=texts, layers=2, int8=True, int4=True)


def test_all_layers_stay_for_int8_alone(checkpoint, texts, tmp_path):
    with pytest.raises(InputError, match="--layers says how many stay"):
        octavo.distill(checkpoint("bert"), tmp_path / "out", data=texts, layers=2)
