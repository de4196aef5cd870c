"""An adapter beside the weights: merged as peft merges it, or refused by name; never the base model's answers."""

import importlib.machinery
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from octavo.checkpoint import adapter
from octavo.checkpoint.model import load_model
from octavo.checkpoint.source import Checkpoint, read_source
from octavo.errors import CheckpointError

QUERY = "bert.encoder.layer.0.attention.self.query"
STEM = f"base_model.model.{QUERY}."


@pytest.fixture
def folder(checkpoint, tmp_path):
    """BERT with a LoRA of rank 2 over one layer's queries, and the weight that it should have then."""
    folder = Path(shutil.copytree(checkpoint("bert"), tmp_path / "bert"))
    torch.manual_seed(3)
    a, b = torch.randn(2, 48), torch.randn(48, 2)
    lora = {f"{STEM}lora_A.weight": a, f"{STEM}lora_B.weight": b}
    save_file(lora, folder / "adapter_model.safetensors", {"format": "pt"})
    settings = {"peft_type": "LORA", "task_type": "SEQ_CLS", "r": 2, "lora_alpha": 8, "target_modules": ["query"]}
    settings |= {"base_model_name_or_path": "klue/bert-base", "layers_to_transform": [0], "inference_mode": True}
    (folder / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def refused(folder, match, action=read_source):
    with pytest.raises(CheckpointError, match=match) as caught:
        action(folder)
    assert "\n" not in str(caught.value)


def load(given):
    return load_model(read_source(given))


def with_peft(monkeypatch, merge):
    """A module `peft` with the names that are used of it, `merge` in the place of its arithmetic."""

    class Adapted:
        def __init__(self, model, folder):
            self.model, self.lora = model, load_file(Path(folder) / "adapter_model.safetensors")

        @classmethod
        def from_pretrained(cls, model, folder, *, config, trust_remote_code):
            assert config.task_type is None  # no head is stored
            assert not trust_remote_code
            return cls(model, folder)

        def merge_and_unload(self, *, safe_merge):
            assert safe_merge
            merge(self.model, self.lora)
            return self.model

    peft = ModuleType("peft")
    peft.__spec__ = importlib.machinery.ModuleSpec("peft", None)
    peft.PeftModel = Adapted
    peft.PeftConfig = SimpleNamespace(from_pretrained=lambda folder: SimpleNamespace(task_type="SEQ_CLS"))
    peft.get_peft_model_state_dict = lambda adapted: {
        name: each for name, each in adapted.lora.items() if name.startswith(STEM)
    }
    monkeypatch.setitem(sys.modules, "peft", peft)


def add_lora(model, lora):
    """W + (alpha / r) B A (Hu et al. 2021)."""
    model.get_submodule(QUERY).weight.data += 8 / 2 * lora[f"{STEM}lora_B.weight"] @ lora[f"{STEM}lora_A.weight"]


def test_without_peft_it_is_refused_by_the_name_of_its_base(folder, monkeypatch):
    monkeypatch.setattr(adapter, "find_spec", lambda name: None)
    refused(folder, "has an adapter, which changes its model in .*base model klue/bert-base; next: pip install peft")


def test_alone_it_is_refused_by_the_name_of_its_base(folder, monkeypatch):
    with_peft(monkeypatch, add_lora)
    for name in ("model.safetensors", "config.json"):
        (folder / name).unlink()
        refused(folder, "an adapter without its base model in .*klue/bert-base; next: merge it where it was trained")


@pytest.mark.parametrize("name", ["adapter_model.bin", "pytorch_adapter.bin"])
def test_one_that_is_a_pickle_is_refused(folder, monkeypatch, name):
    with_peft(monkeypatch, add_lora)
    (folder / "adapter_model.safetensors").rename(folder / name)
    refused(folder, f"has an adapter.*got: adapter_config.json, {name}; .*allowed: .*adapter_model.safetensors")


def test_a_damaged_config_is_a_line(folder):
    (folder / "adapter_config.json").write_text("[", encoding="utf-8")
    refused(folder, "adapter_config.json is not a table of settings")


def test_it_is_merged(folder, checkpoint, monkeypatch):
    with_peft(monkeypatch, add_lora)
    source, plain = read_source(folder), read_source(checkpoint("bert"))
    found, base = load_model(source).state_dict(), load_model(plain).state_dict()
    lora = load_file(folder / "adapter_model.safetensors")
    change = 4 * lora[f"{STEM}lora_B.weight"] @ lora[f"{STEM}lora_A.weight"]
    assert torch.allclose(found[f"{QUERY}.weight"], base[f"{QUERY}.weight"] + change)
    assert {name for name in base if not torch.equal(found[name], base[name])} == {f"{QUERY}.weight"}
    assert source.sha256 != plain.sha256
    assert source.bytes > plain.bytes


def test_a_tensor_without_a_place_is_an_error(folder, monkeypatch):
    with_peft(monkeypatch, add_lora)
    file = folder / "adapter_model.safetensors"
    save_file(load_file(file) | {"base_model.model.score.weight": torch.ones(3)}, file, {"format": "pt"})
    refused(folder, "adapter does not fit BertForSeq.*: 1 weights .*score.weight", load)


def test_what_peft_says_is_one_line(folder, monkeypatch):
    def fail(model, lora):
        raise RuntimeError("two\nlines")

    with_peft(monkeypatch, fail)
    task = Checkpoint(folder, "text-classification")
    refused(task, "peft cannot merge the adapter in .*RuntimeError: two lines", load)
