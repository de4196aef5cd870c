import json
import os
from importlib.metadata import version

import octavo
from octavo.hardware import Cpu, this_cpu
from octavo.inspection.machine import find_problems


def test_this_machine_is_described():
    found = octavo.doctor()
    cpu = this_cpu()
    assert (found.cpu, found.kind, found.usable_cores) == (cpu.name, cpu.kind, cpu.cores)
    assert found.packages["onnxruntime"] == version("onnxruntime")
    assert found.packages["torch"] == version("torch")
    assert found.memory == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert f"target {cpu.kind}" in found.choices
    assert json.loads(json.dumps(found.to_dict()))["kind"] == cpu.kind


def test_what_is_chosen_and_expected_follows_the_instructions(monkeypatch):
    def told(*flags):
        monkeypatch.setattr("octavo.inspection.machine.this_cpu", lambda: Cpu("made up", "x86_64", frozenset(flags), 4))
        return octavo.doctor()

    old, new = told("avx2"), told("avx2", "avx512f", "avx512bw", "avx512_vnni")
    assert "pairs" in old.choices["target avx2"]
    assert "without VNNI" in old.expected
    assert "8-bit" in new.choices["target avx512_vnni"]
    assert new.instructions["VNNI"]
    assert not new.instructions["AMX int8"]
    assert "AMX" in told("avx2", "avx512f", "avx512bw", "avx512_vnni", "amx_int8").expected


def test_known_bad_versions_are_told_with_a_cure():
    assert find_problems({"onnxruntime": "1.32.0", "torch": "2.13.0+cpu", "transformers": "5.23.0"}) == []
    old = find_problems(
        {"onnxruntime": "1.22.1", "torch": "2.13.0", "optimum-onnx": "0.1.0", "nvidia-cuda-runtime": "13"}
    )
    assert len(old) == 3
    assert "pip install 'onnxruntime>=1.23'" in old[0]
    assert "pip uninstall optimum-onnx" in old[1]
    assert "CUDA" in old[2]
