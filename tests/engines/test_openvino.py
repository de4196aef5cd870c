import numpy as np
import pytest

import octavo
from octavo.engines.openvino import open_session


@pytest.mark.parametrize("threads", [1, 2])
def test_a_scale_for_each_token_is_an_error_and_never_an_empty_answer(demo_int8, threads, monkeypatch):
    # OpenVINO 2026.4 fails with two threads, and gives an array without rows with one.
    monkeypatch.setattr("octavo.hardware.usable_cores", lambda: 2)
    session = open_session(demo_int8 / "model.onnx", threads)
    inputs = {name: np.ones((3, 7), np.int64) for name in ("input_ids", "attention_mask", "token_type_ids")}
    with pytest.raises(octavo.OctavoError, match="OpenVINO could not run the model"):
        session.run(inputs)
