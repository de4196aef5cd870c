"""Preparing a model and turning it back: which layers, what is shared, and that nothing else changes."""

import pytest
import torch

from octavo import qat
from octavo.checkpoint.model import load_model
from octavo.checkpoint.source import read_source
from octavo.errors import DataError, InputError, RecipeError
from octavo.pipeline.calibration import sentence_batches
from octavo.qat import model as model_module
from octavo.qat.fake import FakeEmbedding, FakeLinear
from octavo.schema.recipe import LayerRule, Recipe


@pytest.fixture
def tiny(checkpoint):
    """A function of a family: its model, and batches."""

    def make(family="bert"):
        source = read_source(checkpoint(family))
        return load_model(source), sentence_batches(source.tokenizer.json, source.signature)

    return make


def run(model, batch):
    with torch.no_grad():
        return model(**{name: torch.from_numpy(array) for name, array in batch.items()}).logits


def test_a_prepared_model_is_near_and_turns_back_into_a_float_one(tiny):
    model, batches = tiny()
    before, names, expected = str(model), list(model.state_dict()), run(model, batches[0])
    assert qat.prepare(model, batches) is model
    assert [name for name in model.state_dict() if not name.startswith("quantization_ranges.")] == names
    found = run(model, batches[0])
    assert 0 < float((found - expected).norm() / expected.norm()) < 0.3
    back, ranges = qat.convert(model)
    assert back is model
    assert str(back) == before
    assert list(back.state_dict()) == names
    assert 0 < float((run(back, batches[0]) - expected).norm() / expected.norm()) < 0.2
    assert all(one.low <= 0 <= one.high for one in ranges)


def test_weights_start_where_codes_make_up_for_each_other(tiny, monkeypatch):
    errors = []
    rounding = model_module.round_weights
    for start in (rounding, lambda *given, **more: rounding(*given, **(more | {"move": False}))):
        model, batches = tiny()
        expected = run(model, batches[0])
        monkeypatch.setattr(model_module, "round_weights", start)
        errors.append(float((run(qat.prepare(model, batches), batches[0]) - expected).norm()))
    assert errors[0] < 0.9 * errors[1]


def test_linears_that_read_the_same_share_a_range(tiny):
    model, batches = tiny()
    qat.prepare(model, batches)
    attention = model.bert.encoder.layer[0].attention
    learnt = [getattr(attention.self, name).int8[0] for name in ("query", "key", "value")]
    assert learnt[0] is learnt[1] is learnt[2]
    assert attention.output.dense.int8[0] is not learnt[0]
    assert sum(parameter is learnt[0].moved for parameter in model.parameters()) == 1


def test_a_layer_that_runs_at_several_places_has_one_range(tiny):
    model, batches = tiny("albert")
    qat.prepare(model, batches)
    groups = model.quantization_ranges.groups
    assert sum("query" in path for group in groups for path in group) == 1


def test_rules_and_small_tables_are_those_of_the_other_methods(tiny):
    model, batches = tiny()
    rule = LayerRule(match="*.attention.output.dense", keep="float")
    qat.prepare(model, batches, Recipe(method="qat", layers=(rule,)))
    fakes = {path for path, module in model.named_modules() if isinstance(module, FakeLinear | FakeEmbedding)}
    plain = {path for path, module in model.named_modules() if hasattr(module, "weight")} - fakes
    assert {"bert.embeddings.word_embeddings", "classifier", "bert.encoder.layer.1.output.dense"} <= fakes
    assert "bert.embeddings.token_type_embeddings" in plain
    assert {f"bert.encoder.layer.{layer}.attention.output.dense" for layer in (0, 1)} <= plain
    with pytest.raises(RecipeError, match="matches nothing"):
        qat.prepare(tiny()[0], batches, Recipe(method="qat", layers=(LayerRule(match="x.*", keep="float"),)))


def test_padding_is_not_seen(tiny):
    _, batches = tiny()
    batch = {name: torch.from_numpy(one[:, :20]) for name, one in batches[0].items()}
    padded = {name: torch.nn.functional.pad(one, (0, 9)) for name, one in batch.items()}
    ends = []
    for one in (batch, padded):
        model = qat.prepare(tiny()[0], [one], Recipe(method="qat", smoothing="none"))
        ends.append([(learnt.low, learnt.high) for learnt in qat.convert(model)[1]])
    for one, other in zip(*ends, strict=True):
        assert one == pytest.approx(other, rel=1e-4)


def test_what_cannot_be_prepared_is_refused(tiny):
    model, batches = tiny()
    with pytest.raises(DataError, match="no batches"):
        qat.prepare(model, [])
    with pytest.raises(InputError, match="not prepared"):
        qat.convert(model)
    with pytest.raises(RecipeError, match="prepared for the method qat; got: static"):
        qat.prepare(model, batches, Recipe(method="static"))
    with pytest.raises(RecipeError, match="unknown target"):
        qat.prepare(model, batches, target="z80")
    with pytest.raises(InputError, match="8 or 4 bits; got: 3"):
        qat.prepare(model, batches, bits=3)
    qat.prepare(model, batches)
    with pytest.raises(InputError, match="prepared already"):
        qat.prepare(model, batches)
