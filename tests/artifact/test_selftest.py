import json
import shutil

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from pydantic import ValidationError

import octavo
import octavo.artifact.folder as artifacts
from octavo.artifact.compatibility import made_elsewhere
from octavo.artifact.folder import open_artifact
from octavo.artifact.selftest import check_self_test
from octavo.errors import ArtifactError
from octavo.hardware import choose_threads
from octavo.inference import opening
from octavo.inference.opening import open_artifact_model
from octavo.schema.manifest import OF_THE_RANGE, OF_THE_RANGE_IN_BF16, SelfTest
from saturating import saturating_product


@pytest.fixture
def elsewhere(demo_int8, tmp_path):
    """A copy of an artifact, as if it had been made on another host."""
    folder = tmp_path / "옮긴 모델"
    shutil.copytree(demo_int8, folder)
    fields = json.loads((folder / "octavo.json").read_text(encoding="utf-8"))
    fields["host"]["cpu"] = "another CPU"
    (folder / "octavo.json").write_text(json.dumps(fields), encoding="utf-8")
    return folder


def tamper(folder, changes):
    """Write the model anew with its int8 weights changed; the file keeps its size."""
    model = onnx.load(folder / "model.onnx")
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.INT8 and "word_embeddings" not in tensor.name and len(tensor.dims) == 2:
            tensor.raw_data = changes(np.frombuffer(tensor.raw_data, np.int8)).tobytes()
    (folder / "model.onnx").write_bytes(model.SerializeToString())


def test_an_artifact_from_another_host_runs_its_test_and_loads(elsewhere):
    manifest = open_artifact(elsewhere).manifest
    assert made_elsewhere(manifest, "onnxruntime", manifest.self_test.threads)
    assert octavo.load(elsewhere)("한국어 문장이다.")[0]["label"]


def test_here_nothing_is_run_again(demo_int8, monkeypatch):
    manifest = open_artifact(demo_int8).manifest
    threads = choose_threads(None)
    assert not made_elsewhere(manifest, "onnxruntime", threads)
    assert made_elsewhere(manifest, "openvino", threads)
    assert made_elsewhere(manifest, "onnxruntime", threads + 1)
    monkeypatch.setattr("octavo.inference.opening.check_self_test", lambda *_: pytest.fail("the self-test ran"))
    octavo.load(demo_int8)


def test_tampered_weights_are_not_served_on_another_host(elsewhere):
    tamper(elsewhere, lambda codes: np.roll(codes, 1))
    with pytest.raises(ArtifactError, match=r"does not answer here as it did where it was made.*--verify"):
        octavo.load(elsewhere, verify=False)
    for check in (octavo.load, lambda folder: octavo.verify(open_artifact(folder))):
        with pytest.raises(ArtifactError, match="a file of the artifact was changed"):
            check(elsewhere)


def test_last_bits_of_another_cpu_are_served(elsewhere):
    """A code here and there that rounds to its neighbour is what another order of sums brings about."""

    def nudge(codes):
        moved = codes.copy()
        moved[::997] += np.where(moved[::997] > 0, -1, 1).astype(np.int8)
        return moved

    tamper(elsewhere, nudge)
    octavo.load(elsewhere, verify=False)


def test_what_is_recorded(demo_int8, demo_float):
    for folder, most in ((demo_int8, 0.5), (demo_float, 1e-4)):
        test = open_artifact(folder).manifest.self_test
        outputs = np.array(test.outputs)
        assert 0 < test.distance < most * test.range
        assert test.range == pytest.approx(np.ptp(outputs), rel=most)
        assert test.allowed() == max(2 * test.distance, OF_THE_RANGE * test.range)
        assert test.allowed("bf16") == max(2 * test.distance, OF_THE_RANGE_IN_BF16 * test.range)
        assert octavo.verify(open_artifact(folder)) < 1e-6


def test_it_is_run_on_the_engine_that_serves(demo_float, monkeypatch):
    served, find = [], opening.find_engine
    monkeypatch.setattr(artifacts, "choose_engine", lambda *_: ("openvino", "this CPU has VNNI"))
    monkeypatch.setattr(opening, "find_engine", lambda name: served.append(name) or find("onnxruntime"))
    octavo.verify(open_artifact(demo_float))
    assert served == ["openvino"]


class MatMulInteger(OpRun):
    """What x86 without VNNI makes of it."""

    op_domain = ""

    def _run(self, x, weight, zero_point=None, weight_zero_point=None):
        rows, _ = saturating_product(x.reshape(-1, x.shape[-1]), weight)
        shift = 0 if zero_point is None else int(zero_point.reshape(-1)[0])
        rows = rows - shift * weight.astype(np.int32).sum(axis=0)
        return (rows.reshape(*x.shape[:-1], -1).astype(np.int32),)


class Emulated:
    """The model in numpy, its integer products exact or saturating."""

    name, threads, streams = "emulated", 1, 1

    def __init__(self, folder, *, saturating):
        operators = [MatMulInteger] if saturating else []
        self._model = ReferenceEvaluator(onnx.load(folder / "model.onnx"), new_ops=operators)

    def run(self, inputs):
        return self._model.run(None, inputs)[0]


@pytest.fixture(scope="module")
def coarse(make_checkpoint, tmp_path_factory):
    """A checkpoint whose weights are all as large as the largest of their channel, so that 8-bit products overflow."""
    from safetensors.torch import load_file, save_file

    folder = make_checkpoint("bert", tmp_path_factory.mktemp("coarse") / "bert")
    tensors = load_file(folder / "model.safetensors")
    for name, tensor in tensors.items():
        if name.endswith("dense.weight") or ("attention.self" in name and name.endswith("weight")):
            tensors[name] = tensor.sign() * 0.15
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize(("target", "refused"), [("avx512_vnni", True), ("any", False)])
def test_a_cpu_that_saturates_is_found_out(coarse, tmp_path, target, refused):
    artifact = octavo.quantize(coarse, tmp_path / "out", recipe="dynamic", target=target)
    test = artifact.manifest.self_test
    exact, saturating = (Emulated(artifact.folder, saturating=flag) for flag in (False, True))
    if refused:
        assert check_self_test(test, exact, "here") < test.allowed(), (
            "what was recorded is what a CPU with VNNI answers"
        )
        with pytest.raises(ArtifactError, match=r"computes its int8 wrongly .*got: a deviation of"):
            check_self_test(test, saturating, "here")
    else:
        assert check_self_test(test, exact, "here") < test.allowed()
        assert check_self_test(test, saturating, "here") < test.allowed()
        assert check_self_test(test, open_artifact_model(artifact), "here") < 1e-6


RECORD = {"inputs": {"input_ids": [[1, 2], [3, 4]], "decoder_input_ids": [[1], [2]]}, "outputs": [[0.5], [1.5]],
          "distance": 0.1, "range": 1.0}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": {}},
        {"inputs": {"input_ids": [[1, 2], [3]]}},
        {"inputs": {"input_ids": [[1, 2], [3, 4], [5, 6]]}},
        {"inputs": {"input_ids": [[1, 2], [3, 2**70]]}},
        {"inputs": {"input_ids": [[1, 2], [3, -1]]}},
        {"outputs": []},
        {"outputs": [[0.5], [1.5, 2.0]]},
        {"outputs": [[0.5], [float("nan")]]},
        {"distance": float("inf")},
        {"distance": float("nan")},
        {"distance": -1.0},
        {"range": float("inf")},
    ],
)
def test_a_record_that_is_no_array_of_finite_numbers_is_refused(change):
    assert SelfTest.model_validate(RECORD).allowed() == 0.2
    with pytest.raises(ValidationError):
        SelfTest.model_validate(RECORD | change)
