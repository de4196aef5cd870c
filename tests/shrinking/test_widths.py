"""Feed-forward parts of fewer units: those go that say the same of every token, and what they said stays."""

import copy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import transformers

from octavo.errors import CheckpointError, InputError
from octavo.shrinking.layers import find_layers
from octavo.shrinking.widths import Moments, check_width, narrow

SIZE = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2, "vocab_size": 40}
ARCHITECTURES = {
    "Bert": SIZE,
    "Electra": SIZE | {"embedding_size": 8},
    "MPNet": SIZE,
    "DebertaV2": SIZE,
    "DistilBert": {"dim": 16, "hidden_dim": 32, "n_heads": 2, "n_layers": 2, "vocab_size": 40},
    "ModernBert": SIZE | {"pad_token_id": 0},
}
SOURCE = SimpleNamespace(folder=Path("here"))


def stack_of(name):
    torch.manual_seed(20)
    config = getattr(transformers, f"{name}Config")(**ARCHITECTURES[name])
    return find_layers(getattr(transformers, f"{name}ForSequenceClassification")(config).eval(), SOURCE)


def batches():
    ids = torch.randint(4, 40, (8, 12), generator=torch.Generator().manual_seed(20))
    mask = (torch.arange(12) < torch.arange(5, 13)[:, None]).long()
    return [{"input_ids": ids[start : start + 4], "attention_mask": mask[start : start + 4]} for start in (0, 4)]


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name != "ModernBert"])
def test_units_that_are_constant_go_and_nothing_changes(name, tmp_path):
    stack, constant = stack_of(name), torch.randperm(32, generator=torch.Generator().manual_seed(7))[:20]
    for layer in stack.layers:
        for part in layer.modules():
            if isinstance(part, torch.nn.Linear):
                torch.nn.init.normal_(part.weight, std=0.5)
                torch.nn.init.normal_(part.bias, std=0.5)
                if part.out_features == 32:
                    part.weight.data[constant] = 0.0
    model = stack.model
    ids = torch.tensor([[4, 5, 6, 7, 8, 9, 10, 11]])
    with torch.no_grad():
        before = model(input_ids=ids).logits
        assert check_width(12, stack) == 32
        narrow(stack, 12, batches())
        after = model(input_ids=ids).logits
        assert torch.allclose(before, after, atol=1e-5)
        model.save_pretrained(tmp_path)
        again = copy.deepcopy(type(model).from_pretrained(tmp_path)).eval()  # where torch lays it, not the file
        assert torch.equal(again(input_ids=ids).logits, after)
    sizes = {(one.in_features, one.out_features) for one in again.modules() if isinstance(one, torch.nn.Linear)}
    assert {(16, 12), (12, 16)} <= sizes
    assert not any(32 in pair for pair in sizes)


def test_padding_says_nothing_of_a_unit():
    """Units that change at padding alone go first."""
    stack = stack_of("Bert")
    inputs = batches()
    changed = [one | {"input_ids": one["input_ids"].where(one["attention_mask"].bool(), 5)} for one in inputs]
    other = stack_of("Bert")
    narrow(stack, 12, inputs)
    narrow(other, 12, changed)
    for one, two in zip(stack.layers, other.layers, strict=True):
        assert torch.equal(one.intermediate.dense.weight, two.intermediate.dense.weight)


def test_gates_and_sizes_that_are_not_there_are_refused():
    with pytest.raises(CheckpointError, match="ModernBertForSequenceClassification is not narrowed"):
        check_width(12, stack_of("ModernBert"))
    for asked in (0, 32):
        with pytest.raises(InputError, match="allowed: 1 to 31"):
            check_width(asked, stack_of("Bert"))


def test_moments_in_parts_are_those_of_all():
    values = torch.randn(1000, 7, generator=torch.Generator().manual_seed(3)) * 1e-3 + 50
    found = Moments()
    for part in values.split([1, 400, 599]):
        found.add(part)
    assert torch.allclose(found.mean, values.double().mean(0), rtol=1e-12)
    assert torch.allclose(found.variance().double(), values.double().var(0), rtol=1e-6)
