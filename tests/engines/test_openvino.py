import pytest

import octavo


@pytest.mark.parametrize("threads", [1, 2])
def test_int8_with_a_scale_for_each_token_is_an_error_and_never_an_empty_answer(demo_int8, threads, monkeypatch):
    # OpenVINO 2026.4 fails with two threads, and gives an array without rows with one.
    monkeypatch.setattr("octavo.hardware.usable_cores", lambda: 2)
    with pytest.raises(octavo.OctavoError, match="OpenVINO"):
        octavo.load(demo_int8, engine="openvino", threads=threads)("눈이 왔다")
