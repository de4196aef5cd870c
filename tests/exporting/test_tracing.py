"""Models that torch cannot trace as they are, or whose answers depend on what stands beside a text."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers

from octavo.errors import ExportError
from octavo.exporting import reference
from octavo.exporting.tracing import UNTRACEABLE, UNTRACEABLE_READERS, make_traceable, require_traceable
from octavo.schema.signature import Signature

SIGNATURE = Signature(
    task="text-classification",
    input_names=("input_ids", "attention_mask"),
    output_names=("logits",),
    max_length=16,
    pad_token_id=1,
)
END = 2


def classifier(kind):
    """A tiny random classifier with a decoder."""
    size = {"vocab_size": 40, "d_model": 16, "pad_token_id": 1, "eos_token_id": END, "num_labels": 3, "d_ff": 32}
    size |= {"decoder_start_token_id": 1, "num_layers": 1, "num_heads": 2, "d_kv": 8}
    if kind == "bart":
        for side in ("encoder", "decoder"):
            size |= {f"{side}_layers": 1, f"{side}_attention_heads": 2, f"{side}_ffn_dim": 32}
    torch.manual_seed(3)
    config = transformers.AutoConfig.for_model(kind, **size)
    return transformers.AutoModelForSequenceClassification.from_config(config).eval()


@pytest.mark.parametrize("kind", ["bart", "t5"])
def test_the_traced_copy_of_a_classifier_with_a_decoder_reads_the_last_end_token_of_each_row(kind):
    model = classifier(kind)
    rows = [[5, 6, 7, END], [8, END, 9, END], [10, END]]  # two have one end token, and one has two
    with torch.no_grad():
        alone = [model(input_ids=torch.tensor([row])).logits[0].numpy() for row in rows]
        assert make_traceable(model, "text-classification") is model
        ids = torch.tensor([row + [1] * (4 - len(row)) for row in rows])
        found = model(input_ids=ids, attention_mask=(ids != 1).long()).logits.numpy()
    assert np.abs(found - np.array(alone)).max() < 1e-5
    assert np.abs(alone[0] - alone[2]).max() > 1e-3


def test_other_models_are_traced_as_they_are():
    config = transformers.BertConfig(vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    model = transformers.BertForSequenceClassification(config)
    assert "forward" not in vars(make_traceable(model, "text-classification"))


def test_probes_of_a_classifier_with_a_decoder_end_with_the_token_that_it_reads():
    config = {"is_encoder_decoder": True, "eos_token_id": END, "vocab_size": 6}
    inputs = reference.probe(SIGNATURE, 3, 9, config)
    ends = (inputs["input_ids"] == END).sum(axis=1)
    assert ends.tolist() == [1, 1, 1]
    last = inputs["attention_mask"].sum(axis=1) - 1
    assert inputs["input_ids"][np.arange(3), last].tolist() == [END] * 3
    assert (reference.probe(SIGNATURE, 3, 9, {"vocab_size": 6})["input_ids"] == END).sum() > 0


@pytest.mark.parametrize("kind", UNTRACEABLE | UNTRACEABLE_READERS)
def test_what_cannot_be_traced_is_refused_by_name(kind, tmp_path):
    source = SimpleNamespace(config={"model_type": kind}, folder=tmp_path, signature=SIGNATURE)
    with pytest.raises(ExportError, match=rf"{kind} cannot be exported: .*got: {kind}; next: take a checkpoint"):
        require_traceable(source)
    if kind in UNTRACEABLE_READERS:  # as a model that writes it is made
        source.signature = SIGNATURE.model_copy(update={"task": "text2text-generation"})
        require_traceable(source)
    require_traceable(SimpleNamespace(config={"model_type": "bert"}, folder=tmp_path, signature=SIGNATURE))


class Mean:
    """A model that takes the mean of all ids of a row, real or not."""

    name, threads, streams = "torch", 1, 1

    def run(self, inputs):
        return inputs["input_ids"].mean(axis=1, keepdims=True).astype(np.float32)


def test_a_model_whose_answers_padding_changes_is_refused_by_name(monkeypatch):
    monkeypatch.setattr("octavo.engines.torch.TorchSession", lambda model: Mean())
    config = SimpleNamespace(model_type="averages", to_dict=lambda: {"vocab_size": 30})
    model = SimpleNamespace(config=config)
    with pytest.raises(ExportError, match=r"padding changes what averages models .* answer, in torch too"):
        reference.ask_reference(model, SIGNATURE)
    exact = SIGNATURE.model_copy(update={"exact_lengths": True})
    answers = reference.ask_reference(model, exact)
    assert all(one.inputs["attention_mask"].all() for one in answers)
    assert "3 x 9" in {one.shape for one in answers}
