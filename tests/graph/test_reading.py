"""Files that nobody should trust: each is one clear line, or an ordinary report."""

import random
import shutil

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import octavo
from octavo.graph.reading import read_graph


def save(path, *, tensor=None, nodes=None):
    """A graph y = x + w, with another tensor or nodes."""
    tensor = tensor or helper.make_tensor("w", TensorProto.FLOAT, [4], np.ones(4, np.float32).tobytes(), raw=True)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "xy")
    graph = helper.make_graph(nodes or [helper.make_node("Add", ["x", "w"], ["y"])], "g", [x], [y], [tensor])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    path.write_bytes(model.SerializeToString())
    return path


def refused(path):
    with pytest.raises(octavo.InputError) as caught:
        octavo.inspect(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_a_sound_file_is_read(tmp_path):
    assert [node.op_type for node in read_graph(save(tmp_path / "a.onnx")).graph] == ["Add"]


@pytest.mark.parametrize("number", range(20))
def test_truncated_files(number, tmp_path, artifact):
    content = artifact("bert", "dynamic").model_file.read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(content[: random.Random(number).randrange(len(content))])
    refused(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 100, b"hello, world", "한국어 문장".encode(), b"PK\x03\x04" + b"\0" * 50, b"{}", b"\xff" * 300,
     b"\x08\x0a", b"\x80\x02ccollections\nOrderedDict\n", random.Random(1).randbytes(5000)],
)  # fmt: skip
def test_what_is_not_onnx(content, tmp_path):
    path = tmp_path / "no.onnx"
    path.write_bytes(content)
    refused(path)


@pytest.mark.parametrize(
    ("dims", "kind", "raw"),
    [
        ([10**12], TensorProto.FLOAT, b"\0" * 16),
        ([2**62, 2**62], TensorProto.INT8, b""),
        ([4, -1], TensorProto.FLOAT, b"\0" * 16),
        ([5], TensorProto.FLOAT, b"\0" * 16),
        ([4], 77, b"\0" * 16),
    ],
)
def test_shapes_that_the_bytes_do_not_fit(dims, kind, raw, tmp_path):
    tensor = TensorProto(name="w", data_type=kind, raw_data=raw)
    tensor.dims.extend(dims)
    message = refused(save(tmp_path / "huge.onnx", tensor=tensor))
    assert "tensor" in message


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("absent.bin", "missing"),
        ("../outside.bin", "outside"),
        ("/etc/hostname", "outside"),
        ("", "outside"),
        ("short.bin", "bytes"),
    ],
)
def test_external_data_that_is_not_there(location, told, tmp_path):
    (tmp_path / "outside.bin").write_bytes(b"\0" * 64)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "short.bin").write_bytes(b"\0" * 8)
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    tensor.dims.extend([4])
    tensor.external_data.add(key="location", value=location)
    assert told in refused(save(folder / "external.onnx", tensor=tensor))


def test_huge_declared_inputs_allocate_nothing(tmp_path):
    value = TensorProto(name="value", data_type=TensorProto.FLOAT, raw_data=b"\0" * 4)
    value.dims.extend([1])
    nodes = [
        helper.make_node("ConstantOfShape", ["w"], ["big"], value=value),
        helper.make_node("Add", ["x", "big"], ["y"]),
    ]
    shape = helper.make_tensor("w", TensorProto.INT64, [2], np.array([10**9, 10**9], np.int64).tobytes(), raw=True)
    told = refused(save(tmp_path / "of_shape.onnx", tensor=shape, nodes=nodes))
    assert "the model is larger than its file: ConstantOfShape" in told


@pytest.mark.parametrize("number", range(40))
def test_flipped_bits_are_an_error_or_a_report(number, tmp_path, artifact):
    chance = random.Random(number)
    content = bytearray(artifact("bert", "dynamic").model_file.read_bytes())
    for _ in range(chance.choice([1, 3, 30])):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path = tmp_path / "flipped.onnx"
    path.write_bytes(content)
    try:
        found = octavo.inspect(path)
    except octavo.InputError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either way is right
    else:
        assert found.operators


def test_graphs_inside_graphs_without_end(tmp_path):
    inner = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "leaf", [], [])
    for _ in range(40):
        inner = helper.make_graph(
            [helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)], "g", [], []
        )
        if inner.ByteSize() > 10**6:
            break
    model = helper.make_model(inner)
    path = tmp_path / "deep.onnx"
    path.write_bytes(model.SerializeToString())
    refused(path)


def test_a_name_that_is_no_file(tmp_path):
    assert "no such" in refused(tmp_path / "absent.onnx")
    shutil.copy(save(tmp_path / "a.onnx"), tmp_path / "b.onnx")
    assert "a.onnx, b.onnx" in refused(tmp_path)
    assert onnx.load(tmp_path / "a.onnx").ir_version == 10
