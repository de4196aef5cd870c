"""What a session does for a GPU, as far as a CPU can tell: shapes, padding, weights that were int8, warnings."""

import numpy as np
import pytest
import torch

import octavo
from octavo.engines import torch as engine
from octavo.engines import torch_gpu
from octavo.engines.torch import TorchSession
from octavo.engines.torch_gpu import bucket, pad_to, to_device
from octavo.errors import InputError, OctavoWarning
from octavo.exporting.reference import probe
from octavo.schema.recipe import Recipe


@pytest.mark.parametrize(
    ("shape", "longest", "expected"),
    [
        ((1, 1), 512, (1, 16)), ((3, 17), 512, (4, 32)), ((32, 128), 512, (32, 128)), ((33, 129), 512, (64, 192)),
        ((5, 500), 509, (8, 509)), ((2, 510), 509, (2, 510)), ((1, 600), 8192, (1, 1024)),
    ],
)  # fmt: skip
def test_shapes_fall_into_few(shape, longest, expected):
    assert bucket(*shape, longest) == expected


def test_padding_stands_behind_and_rows_are_repeated():
    inputs = {"input_ids": np.array([[5, 6], [7, 8], [9, 2]]), "attention_mask": np.array([[1, 1], [1, 1], [1, 0]])}
    padded = pad_to(inputs, (4, 3), 1)
    assert padded["input_ids"].tolist() == [[5, 6, 1], [7, 8, 1], [9, 2, 1], [9, 2, 1]]
    assert padded["attention_mask"].tolist() == [[1, 1, 0], [1, 1, 0], [1, 0, 0], [1, 0, 0]]
    tensors = to_device(padded, "cpu")
    assert {name: tensor.tolist() for name, tensor in tensors.items()} == {
        name: array.tolist() for name, array in padded.items()
    }


@pytest.mark.parametrize("family", ["bert", "roberta"])  # roberta counts positions from behind the padding id
def test_a_compiled_model_sees_few_shapes_and_answers_the_same(checkpoint, family, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda model, dynamic: model)
    plain = octavo.load(checkpoint(family))
    shapes = ((3, 9), (4, 16), (3, 64), (4, 50))
    asked = [probe(plain.signature, *shape, {"vocab_size": plain.signature.vocab_size}) for shape in shapes]
    expected = [TorchSession(plain.model, 1).run(inputs) for inputs in asked]
    session, seen = TorchSession(plain.model, 1, compiled=True), set()
    session.static = True
    monkeypatch.setattr(engine, "to_device", lambda inputs, device: seen.add(inputs["input_ids"].shape)
                        or torch_gpu.to_device(inputs, device))  # fmt: skip
    for inputs, answers in zip(asked, expected, strict=True):
        np.testing.assert_allclose(session.run(inputs), answers, rtol=0, atol=1e-5)
        assert np.ptp(answers, axis=0).max() > 1e-3
    assert seen - {(4, 63)} == {(4, 16), (4, 64)}


def test_int8_weights_in_bf16_answer_as_the_artifact(artifact, tmp_path, checkpoint, sentences):
    """What a GPU runs, on a CPU: the numbers that the int8 weights stand for, in bf16."""
    folder = tmp_path / "int8"
    octavo.quantize(checkpoint("bert"), folder, recipe=Recipe(method="dynamic", format="torch"))
    here = octavo.load(folder)
    decoded = engine.as_float(engine.load_saved(folder / "model.safetensors"))
    assert not [one for one in decoded.modules() if type(one).__name__.startswith("Int8")]
    inputs = probe(here.signature, 4, 12, {"vocab_size": here.signature.vocab_size})
    expected = here.session.run(inputs)
    reach = 0.1 * max(1.0, float(np.abs(expected).max()))
    short = TorchSession(decoded, 1, precision="bf16")
    assert {parameter.dtype for parameter in short.model.parameters()} == {torch.bfloat16}
    np.testing.assert_allclose(short.run(inputs), expected, rtol=0, atol=reach)
    for modes in ({"torchao": True}, {"precision": "bf16"}):
        with pytest.raises(InputError, match="int8 layers compute in float32 on a CPU"):
            engine.open_session(folder / "model.safetensors", **modes)


def test_slow_ways_say_so_when_they_are_asked_for(monkeypatch, tmp_path):
    opened = []
    monkeypatch.setattr(engine, "require_device", lambda device: None)
    monkeypatch.setattr(engine, "load_by_transformers", lambda file: "int8")
    monkeypatch.setattr(engine, "TorchSession", lambda model, *_, **modes: opened.append((model, modes["compiled"])))
    with pytest.warns(OctavoWarning, match=r"torch:torchao took 8.5 times .* torch:torchao,compile"):
        engine.open_session(tmp_path, device="cuda", torchao=True)
    engine.open_session(tmp_path, device="cuda", torchao=True, compiled=True)  # a warning would be an error
    assert opened == [("int8", False), ("int8", True)]
    with pytest.raises(InputError, match=r"products of these weights give float32 .*; got: torchao,bf16"):
        engine.open_session(tmp_path, device="cuda", torchao=True, precision="bf16")


def test_torchao_is_of_artifacts(checkpoint):
    with pytest.raises(InputError, match="torchao multiplies the int8 weights of an artifact"):
        octavo.load(checkpoint("bert"), engine="torch:torchao")
