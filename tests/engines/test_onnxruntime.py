import shutil
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

import octavo
from octavo.engines import find_engine
from octavo.engines.onnxruntime import LIGHT, open_graph, open_session
from octavo.errors import ArtifactError, InputError, OctavoError
from octavo.hardware import usable_cores


def inputs_of(rows, length):
    ids = np.random.default_rng(rows * length).integers(5, 1000, (rows, length))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


REPORTS = """
import sys, octavo
octavo.load(sys.argv[1])(["아이들이 공원에서 놀고 있다."])
"""


def test_nobody_is_told_that_a_model_runs(made_before, tmp_path, fresh, monkeypatch):
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)  # set here by `import octavo`, and handed on
    places = {name: str(tmp_path) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME")}
    fresh(REPORTS, made_before, **places)
    assert not list(tmp_path.rglob("*"))


@pytest.fixture
def opened(monkeypatch):
    """The sessions of ONNX Runtime itself, as they are opened."""
    sessions = []

    class Noted(onnxruntime.InferenceSession):
        def __init__(self, *arguments, **settings):
            super().__init__(*arguments, **settings)
            sessions.append(self)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Noted)
    return sessions


@pytest.fixture
def copy(demo_float, tmp_path):
    return Path(shutil.copytree(demo_float, tmp_path / "copy"))


def test_threads_are_the_usable_cores_by_default(demo_float, monkeypatch, opened):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for cores in (usable_cores(), 3):
        monkeypatch.setattr("octavo.hardware.usable_cores", lambda cores=cores: cores)
        session = open_session(demo_float / "model.onnx")
        assert (session.threads, opened[-1].get_session_options().intra_op_num_threads) == (cores, cores)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_can_be_set(demo_float, monkeypatch, opened, threads):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    session = octavo.load(demo_float, threads=threads).session
    assert session.threads == threads
    options = opened[-1].get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (threads, 1)


@pytest.mark.parametrize("threads", [0, -1, 5, 100_000])
def test_a_number_of_threads_that_makes_no_sense(demo_float, monkeypatch, threads):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    monkeypatch.setattr("octavo.hardware.usable_cores", lambda: 2)
    with pytest.raises(InputError, match=f"number of threads .*got: {threads}; allowed: 1 to 4"):
        octavo.load(demo_float, threads=threads)


def test_it_runs_on_the_cpu_whatever_else_is_installed(demo_float, opened):
    session = open_session(demo_float / "model.onnx", 1)
    assert session.name == "onnxruntime"
    assert opened[-1].get_providers() == ["CPUExecutionProvider"]


@pytest.mark.parametrize("shape", [(1, 1), (1, 256), (5, 17), (64, 64)])
def test_every_shape_runs(demo_float, demo_int8, shape):
    for folder in (demo_float, demo_int8):
        found = open_session(folder / "model.onnx").run(inputs_of(*shape))
        assert (found.shape, found.dtype) == ((shape[0], 3), np.float32)
        assert np.isfinite(found).all()


def test_a_file_and_its_bytes_are_one_model(demo_int8):
    model, inputs = demo_int8 / "model.onnx", inputs_of(3, 9)
    expected = open_session(model).run(inputs)
    assert np.array_equal(open_session(model.read_bytes()).run(inputs), expected)
    assert len(np.unique(expected)) > 3


def test_a_path_with_hangul(demo_int8, tmp_path):
    folder = tmp_path / "모델 하나"
    folder.mkdir()
    shutil.copy(demo_int8 / "model.onnx", folder)
    inputs = inputs_of(2, 4)
    expected = open_session(demo_int8 / "model.onnx").run(inputs)
    assert np.array_equal(open_session(folder / "model.onnx").run(inputs), expected)


@pytest.mark.parametrize("content", [b"", b"this is no model", b"\x00" * 100])
def test_a_file_that_is_no_model(tmp_path, content):
    model = tmp_path / "model.onnx"
    model.write_bytes(content)
    with pytest.raises(ArtifactError, match="ONNX Runtime cannot load the model in ") as caught:
        open_session(model)
    assert str(model) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_no_file(tmp_path):
    with pytest.raises(ArtifactError, match="cannot load the model"):
        open_session(tmp_path / "model.onnx")


def test_bytes_that_are_no_model():
    with pytest.raises(ArtifactError, match="cannot load the model; got: "):
        open_session(b"this is no model")


def test_a_damaged_model_of_an_artifact(copy):
    model = copy / "model.onnx"
    content = bytearray(model.read_bytes())
    content[:4096] = bytes(4096)
    model.write_bytes(content)
    with pytest.raises(ArtifactError, match="this is not an ONNX model") as caught:
        octavo.load(copy, verify=False)
    assert str(model) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda inputs: inputs.pop("token_type_ids"),
        lambda inputs: inputs.update(input_ids=inputs["input_ids"].astype(np.float32)),
        lambda inputs: inputs.update(input_ids=inputs["input_ids"] + 10**6),
        lambda inputs: inputs.update(attention_mask=inputs["attention_mask"][:, :2]),
    ],
)
def test_inputs_that_do_not_fit(demo_float, change):
    inputs = inputs_of(2, 5)
    change(inputs)
    with pytest.raises(OctavoError, match="could not run the model; got: ") as caught:
        open_session(demo_float / "model.onnx").run(inputs)
    assert not isinstance(caught.value, InputError)
    assert len(str(caught.value).splitlines()) == 1


def test_the_engine_is_found():
    assert find_engine("onnxruntime").func is open_session


def test_an_unknown_engine_is_answered_with_the_nearest(demo_float):
    known = "auto, onnxruntime, openvino, torch"
    expected = rf"unknown engine; got: onxruntime; allowed: {known} \(did you mean 'onnxruntime'\?\)"
    with pytest.raises(InputError, match=expected):
        find_engine("onxruntime")
    with pytest.raises(InputError, match="unknown engine; got: tensorrt; allowed: auto, onnxruntime, openvino"):
        octavo.load(demo_float, engine="tensorrt")


@pytest.mark.parametrize("outside", [False, True])
def test_a_graph_in_memory_may_have_weights_of_four_bits(tmp_path, outside):
    """Large ones, of which no OrtValue can be made, and where they lie in a file beside that of the graph."""
    codes = np.random.default_rng(2).integers(-7, 8, (640, 512)).astype(np.int8)
    stored = ir.tensor(codes.astype(ir.DataType.INT4.numpy()), name="codes")
    value = ir.Value(name="codes", shape=stored.shape, type=ir.TensorType(ir.DataType.INT4), const_value=stored)
    x = ir.Value(name="x", shape=ir.Shape(["n"]), type=ir.TensorType(ir.DataType.INT64))
    wide = ir.node("Cast", [value], {"to": int(ir.DataType.FLOAT)})
    rows = ir.node("Gather", [wide.outputs[0], x])
    rows.outputs[0].name, rows.outputs[0].type = "logits", ir.TensorType(ir.DataType.FLOAT)
    graph = ir.Graph(
        [x], rows.outputs, nodes=[wide, rows], initializers=[value], opset_imports={"": 23}, name="four_bits"
    )
    model = ir.Model(graph, ir_version=10)
    assert stored.nbytes > LIGHT
    if outside:
        ir.save(model, tmp_path / "model.onnx", external_data="model.onnx.data")
        model = ir.load(tmp_path / "model.onnx")
        assert isinstance(model.graph.initializers["codes"].const_value, ir.ExternalTensor)
    (answer,) = open_graph(model).fetch({"x": np.array([3, 639], np.int64)}, ["logits"])
    np.testing.assert_array_equal(answer, codes[[3, 639]].astype(np.float32))
