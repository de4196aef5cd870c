"""Weight files: which there are, what they hold, and how damaged ones are told."""

import json
import pickle
import shutil
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from octavo.checkpoint.weights import read_weights
from octavo.errors import CheckpointError

PACKED = r"PyTorch's quantize_dynamic made.*leave every Linear random.*got: \S*_packed_params.*next: octavo quantize"


@pytest.fixture
def folder(checkpoint, tmp_path):
    """A checkpoint that may be changed."""
    return Path(shutil.copytree(checkpoint("bert"), tmp_path / "bert"))


@pytest.fixture
def state(folder):
    """Its weights; the folder is left without any."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    return tensors


def refused(folder, match):
    """The message of the one-line error that reading the weights gives."""
    with pytest.raises(CheckpointError, match=match) as caught:
        read_weights(folder)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_safetensors_are_found_with_their_dtype(folder):
    found = read_weights(folder)
    assert found.files == (folder / "model.safetensors",)
    assert found.dtype == "float32"


@pytest.mark.parametrize(
    ("dtype", "name"),
    [(torch.float16, "float16"), (torch.bfloat16, "bfloat16"), (torch.float64, "float64"), (torch.int8, "int8")],
)
@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_the_dtype_is_the_one_that_is_stored(folder, state, dtype, name, suffix):
    tensors = {key: tensor.to(dtype) for key, tensor in state.items()}
    if suffix == "bin":
        torch.save(tensors, folder / "pytorch_model.bin")
    else:
        save_file(tensors, folder / "model.safetensors")
    assert read_weights(folder).dtype == name


def test_the_dtype_is_that_of_most_numbers_not_of_most_tensors(folder, state):
    save_file(
        {"table": torch.zeros(100, 10, dtype=torch.float16)} | {f"bias.{index}": torch.zeros(3) for index in range(9)},
        folder / "model.safetensors",
    )
    assert read_weights(folder).dtype == "float16"


def test_safetensors_come_before_bin(folder):
    (folder / "pytorch_model.bin").write_bytes(b"never read")
    assert read_weights(folder).files == (folder / "model.safetensors",)


def test_no_weights(folder, state):
    message = refused(folder, "no weights in ")
    assert "allowed: model.safetensors or pytorch_model.bin" in message
    assert "got:" not in message


@pytest.mark.parametrize("name", ["tf_model.h5", "flax_model.msgpack"])
def test_weights_of_another_framework_are_named(folder, state, name):
    (folder / name).write_bytes(b"x")
    refused(folder, f"no weights in .*; got: {name}; allowed: model.safetensors")


def test_an_adapter_alone_is_to_be_merged(folder, state):
    save_file({"lora": torch.zeros(2)}, folder / "adapter_model.safetensors")
    refused(folder, "no weights.*got: adapter_model.safetensors.*next: merge the adapter into its model first")


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: content[:100],
        lambda content: content[:5],
        lambda content: b"",
        lambda content: b"\x00" * len(content),
        lambda content: b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 121916\n",
        lambda content: (8).to_bytes(8, "little") + b"[1, 2]  " + content,
        lambda content: (8).to_bytes(8, "little") + b'{"a":1} ' + content,
        lambda content: (8).to_bytes(8, "little") + b"\xff" * 8 + content,
        lambda content: (2**63).to_bytes(8, "little") + content[8:],
    ],
)
def test_damaged_safetensors(folder, damage):
    file = folder / "model.safetensors"
    file.write_bytes(damage(file.read_bytes()))
    refused(folder, "the weights are damaged in .*model.safetensors.*next: fetch them again")


def test_safetensors_without_a_tensor(folder):
    save_file({}, folder / "model.safetensors")
    refused(folder, "the weight files are empty")


def shard(folder, model_name="model.safetensors"):
    """Split the weights over three files as save_pretrained does; returns their names."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    keys = sorted(tensors)
    stem, _, suffix = model_name.partition(".")
    names = [f"{stem}-0000{index}-of-00003.{suffix}" for index in (1, 2, 3)]
    for index, name in enumerate(names):
        part = {key: tensors[key] for key in keys[index::3]}
        if suffix == "bin":
            torch.save(part, folder / name)
        else:
            save_file(part, folder / name, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {key: names[position % 3] for position, key in enumerate(keys)}}
    (folder / f"{model_name}.index.json").write_text(json.dumps(index), encoding="utf-8")
    return names


@pytest.mark.parametrize("model_name", ["model.safetensors", "pytorch_model.bin"])
def test_sharded_weights_are_found_by_their_index(folder, model_name):
    names = shard(folder, model_name)
    found = read_weights(folder)
    assert found.files == tuple(folder / name for name in names)
    assert found.dtype == "float32"


def test_a_missing_part_is_named(folder):
    first, second, third = shard(folder)
    (folder / first).unlink()
    (folder / third).unlink()
    assert second not in refused(folder, f"a part of the weights is missing in .*; got: {first}, {third}$")


def test_a_damaged_part_is_named(folder):
    second = folder / shard(folder)[1]
    second.write_bytes(second.read_bytes()[:-4])
    refused(folder, f"the weights are damaged in .*{second.name}")


@pytest.mark.parametrize("index", ["{", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {"a": 3}}'])
def test_a_damaged_index(folder, state, index):
    (folder / "model.safetensors.index.json").write_text(index, encoding="utf-8")
    refused(folder, "model.safetensors.index.json")


def test_a_plain_state_dict_is_read(folder, state):
    torch.save(state, folder / "pytorch_model.bin")
    found = read_weights(folder)
    assert found.files == (folder / "pytorch_model.bin",)
    assert found.dtype == "float32"


def test_a_plain_state_dict_of_an_old_torch_is_read(folder, state):
    torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)  # before torch 1.6
    assert read_weights(folder).dtype == "float32"


class Malicious:
    """Touches a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


@pytest.mark.parametrize("form", ["zip", "old", "pickle"])
def test_a_malicious_pickle_is_refused_and_not_run(folder, state, tmp_path, form):
    marker, file = tmp_path / "was-run", folder / "pytorch_model.bin"
    content = state | {"extra": Malicious(marker)}
    if form == "pickle":
        file.write_bytes(pickle.dumps(Malicious(marker)))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=form == "zip")
    refused(folder, "the weights cannot be read safely in .*pytorch_model.bin")
    assert not marker.exists()
    with warnings.catch_warnings(action="ignore"):  # and it would have run:
        torch.load(file, weights_only=False) if form != "pickle" else pickle.loads(file.read_bytes())
    assert marker.exists()


def test_a_whole_pickled_model_is_refused(folder, state):
    torch.save(torch.nn.Sequential(torch.nn.Linear(2, 2)), folder / "pytorch_model.bin")
    refused(folder, "cannot be read safely")


@pytest.mark.parametrize("content", [b"", b"not a pickle", b"PK\x03\x04 half a zip"])
def test_a_damaged_bin(folder, state, content):
    (folder / "pytorch_model.bin").write_bytes(content)
    refused(folder, "cannot be read safely in .*pytorch_model.bin")


@pytest.mark.parametrize("content", [[torch.zeros(2)], torch.zeros(2), 7])
def test_a_bin_that_holds_no_state_dict(folder, state, content):
    torch.save(content, folder / "pytorch_model.bin")
    refused(folder, "pytorch_model.bin")


def test_a_model_that_torch_quantized_is_recognised(folder, state):
    with warnings.catch_warnings(action="ignore"):  # it is deprecated, and in wide use
        model = torch.nn.Sequential(torch.nn.Embedding(9, 4), torch.nn.Linear(4, 4))
        quantized = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
        torch.save(quantized.state_dict(), folder / "pytorch_model.bin")
    refused(folder, PACKED)


def test_a_whole_pickled_model_that_torch_quantized_is_recognised(folder, state):
    with warnings.catch_warnings(action="ignore"):
        model = torch.nn.Sequential(torch.nn.Linear(4, 4))
        quantized = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
        torch.save(quantized, folder / "pytorch_model.bin")
    refused(folder, r"every Linear random.*got: a pickled model, which runs code.*next: load it where it was made")


def test_packed_parameters_in_safetensors_are_recognised(folder, state):
    save_file(state | {"classifier._packed_params.weight": torch.zeros(2)}, folder / "model.safetensors")
    refused(folder, r"got: classifier._packed_params.weight; next: load it where it was made")


def test_a_zip_that_grows_when_it_is_read_is_refused(folder, state):
    torch.save(state, folder / "whole.bin")
    with (
        zipfile.ZipFile(folder / "whole.bin") as whole,
        zipfile.ZipFile(folder / "pytorch_model.bin", "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name in whole.namelist():
            archive.writestr(name, whole.read(name))
    assert "compressed zip" in refused(folder, "data.pkl")
    (folder / "whole.bin").replace(folder / "pytorch_model.bin")
    assert read_weights(folder).dtype == "float32"


def test_a_view_of_few_numbers_is_no_weight_of_many(folder, state):
    state["bert.embeddings.word_embeddings.weight"] = torch.zeros(1).expand(2**20, 2**20)
    torch.save(state, folder / "pytorch_model.bin")
    refused(folder, r"larger than the file.*word_embeddings\.weight: \(1048576, 1048576\)")
