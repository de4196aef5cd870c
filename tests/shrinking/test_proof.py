"""Where the bits of two checkpoints are compared, their weights lie alike, wherever their files have them."""

import torch
from safetensors.torch import load_file

from octavo.checkpoint.model import load_model
from octavo.checkpoint.source import read_source
from octavo.shrinking.proof import ALIGNMENT, align


def shift(file, more):
    """Move all tensors of a safetensors file by so many bytes: blanks behind its header."""
    content = file.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length].rstrip()
    padded = header + b" " * (-(8 + len(header)) % ALIGNMENT + more)
    file.write_bytes(len(padded).to_bytes(8, "little") + padded + content[8 + length :])


def test_weights_lie_where_torch_lays_them_and_stay_what_they_are(make_checkpoint, tmp_path):
    folder = make_checkpoint("bert", tmp_path / "shifted", "BertForMaskedLM")
    shift(folder / "model.safetensors", 8)
    stored = load_file(folder / "model.safetensors")
    model = load_model(read_source(folder))
    assert any(tensor.data_ptr() % ALIGNMENT for tensor in model.parameters())  # or this test shows nothing
    tied = model.get_input_embeddings().weight
    assert align(model) is model
    assert all(tensor.data_ptr() % ALIGNMENT == 0 for tensor in (*model.parameters(), *model.buffers()))
    assert model.get_output_embeddings().weight is tied is model.get_input_embeddings().weight
    named = dict(model.named_parameters())
    assert len(stored) > 20
    assert all(torch.equal(named[name], tensor) for name, tensor in stored.items() if name in named)
