"""Layers that stay: found in models of transformers as they come, chosen by a loss, loaded again as they were."""

import copy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import transformers

from octavo.errors import CheckpointError, InputError
from octavo.shrinking.layers import check_asked, choose_layers, evenly_spaced, find_layers

SIZE = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 4, "vocab_size": 40}
ARCHITECTURES = {
    "Bert": {},
    "Roberta": {},
    "Electra": {"embedding_size": 8},
    "MPNet": {},
    "DebertaV2": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8},
    "ModernBert": {"global_attn_every_n_layers": 2, "pad_token_id": 0, "local_attention": 4},
    "Longformer": {"attention_window": [4, 4, 8, 8], "pad_token_id": 0},
    "MegatronBert": {},
}
SOURCE = SimpleNamespace(folder=Path("here"))


def make(name):
    torch.manual_seed(20)
    config = getattr(transformers, f"{name}Config")(**SIZE | ARCHITECTURES[name])
    return getattr(transformers, f"{name}ForSequenceClassification")(config).eval()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_models_keep_some_of_their_layers_and_load_as_they_were(name, tmp_path):
    model = make(name)
    stack = find_layers(model, SOURCE)
    assert len(stack.layers) == 4
    ids = torch.tensor([[4, 5, 6, 7, 8, 9, 10, 11]])
    with torch.no_grad():
        whole = model(input_ids=ids).logits
        stack.keep((0, 2))
        stack.keep(range(4))
        assert torch.equal(model(input_ids=ids).logits, whole)
        stack.keep_for_good((0, 2))
        two = model(input_ids=ids).logits
        model.save_pretrained(tmp_path)
        again = copy.deepcopy(type(model).from_pretrained(tmp_path)).eval()  # where torch lays it, not the file
        assert again.config.num_hidden_layers == 2
        assert torch.equal(again(input_ids=ids).logits, two)
    assert not torch.equal(two, whole)
    assert len(find_layers(again, SOURCE).layers) == 2
    assert stack.first == (name == "ModernBert")


def test_a_list_of_the_config_that_is_as_long_by_chance_stays():
    model = make("DebertaV2")
    find_layers(model, SOURCE).keep_for_good((0, 2))
    find_layers(model, SOURCE).keep_for_good((1,))  # of two layers, with two kinds of positions
    assert (model.config.num_hidden_layers, list(model.config.pos_att_type)) == (1, ["p2c", "c2p"])


def test_layers_that_are_shared_or_of_two_kinds_are_refused():
    shared = transformers.AlbertForSequenceClassification(transformers.AlbertConfig(**SIZE, embedding_size=8))
    with pytest.raises(CheckpointError, match="AlbertForSequenceClassification are not found: it may share one"):
        find_layers(shared, SOURCE)
    model = make("Bert")
    model.bert.encoder.layer[2].intermediate.dense = torch.nn.Linear(16, 48)
    model.bert.encoder.layer[2].output.dense = torch.nn.Linear(48, 16)
    with pytest.raises(CheckpointError, match=r"unlike each other in here; got: \[2\]"):
        find_layers(model, SOURCE)


def tried(count, loss, *, first=False):
    """A stack whose loss is that of the layers that stay, and every set that was tried."""
    sets = []
    stack = SimpleNamespace(layers=tuple(range(count)), keep=lambda chosen: sets.append(tuple(chosen)), first=first)
    return stack, sets, lambda: loss(sets[-1])


def test_of_few_sets_all_are_tried():
    stack, sets, loss = tried(4, lambda chosen: abs(sum(chosen) - 4))
    assert choose_layers(stack, 2, loss) == ((1, 3), "all tried", 0)
    assert sorted(sets) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    stack, sets, loss = tried(4, lambda chosen: -sum(chosen), first=True)
    assert choose_layers(stack, 2, loss) == ((0, 3), "all tried", -3)
    assert {chosen[0] for chosen in sets} == {0}


def test_of_many_the_layer_that_is_missed_least_goes_first():
    worth = [5, 0, 7, 1, 8, 2, 9, 3, 6, 4, 11, 10]
    stack, sets, loss = tried(12, lambda chosen: -sum(worth[place] for place in chosen))
    best = tuple(sorted(sorted(range(12), key=lambda place: -worth[place])[:6]))
    assert choose_layers(stack, 6, loss) == (best, "one after the other", -sum(sorted(worth)[-6:]))
    assert len(sets) == sum(range(7, 13)) + 1


def test_evenly_spaced_layers_are_the_fallback():
    even = (0, 2, 4, 6, 8, 10)
    stack, _, loss = tried(12, lambda chosen: 0.0 if chosen == even else 1.0)
    assert choose_layers(stack, 6, loss) == (even, "evenly spaced", 0.0)
    stack, _, loss = tried(4, lambda _: float("nan"))
    assert choose_layers(stack, 2, loss)[:2] == ((0, 2), "evenly spaced")
    assert evenly_spaced(12, 4) == (0, 3, 6, 9)
    assert evenly_spaced(5, 2) == (0, 2)


def test_what_is_asked_must_be_there():
    stack = SimpleNamespace(layers=tuple(range(4)), first=True)
    for asked in (0, 4, (), (2, 1), (1, 1), (0, 4), (1, 2)):
        with pytest.raises(InputError):
            check_asked(asked, stack)
    for asked in (1, 3, (0,), (0, 1, 2, 3)):
        check_asked(asked, stack)
