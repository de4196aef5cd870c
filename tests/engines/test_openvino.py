import numpy as np
import pytest

import octavo
from octavo.engines import choose_engine
from octavo.engines.openvino import open_session
from octavo.hardware import Cpu
from octavo.schema.recipe import Recipe


@pytest.mark.parametrize("threads", [1, 2])
def test_a_scale_for_each_token_is_an_error_and_never_an_empty_answer(demo_int8, threads, monkeypatch):
    # OpenVINO 2026.4 fails with two threads, and gives an array without rows with one.
    monkeypatch.setattr("octavo.hardware.usable_cores", lambda: 2)
    session = open_session(demo_int8 / "model.onnx", threads)
    inputs = {name: np.ones((3, 7), np.int64) for name in ("input_ids", "attention_mask", "token_type_ids")}
    with pytest.raises(octavo.OctavoError, match="OpenVINO could not run the model"):
        session.run(inputs)


@pytest.mark.parametrize(
    ("features", "parameters", "engine"),
    [
        ({"avx2"}, 85_000_000, "onnxruntime"),
        ({"avx512_vnni"}, 85_000_000, "openvino"),
        ({"avx512_vnni"}, 42_000_000, "openvino"),
        ({"avx512_vnni", "amx_int8"}, 10_600_000, "onnxruntime"),
        ({"avx512_vnni"}, None, "openvino"),
    ],
)
def test_static_int8_goes_where_its_size_is_fast(monkeypatch, features, parameters, engine):
    monkeypatch.setattr("octavo.engines.this_cpu", lambda: Cpu("made up", "x86_64", frozenset(features), 2))
    assert choose_engine(Recipe(method="static"), parameters)[0] == engine
    assert choose_engine(Recipe(method="static", mixed=True), parameters)[0] == "onnxruntime"
    assert choose_engine(Recipe(), parameters)[0] == "onnxruntime"
