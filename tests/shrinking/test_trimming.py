"""A trimmed checkpoint, held against the one before: by transformers' own tokenizers and models of both folders."""

from functools import cache

import pytest
import torch
import transformers

import octavo

HEADS = {
    "bert": "BertForMaskedLM",
    "distilbert": "DistilBertForMaskedLM",
    "roberta": "RobertaForMaskedLM",
    "xlm-roberta": "XLMRobertaForMaskedLM",
    "camembert": "CamembertForMaskedLM",
    "electra": "ElectraForMaskedLM",
    "albert": "AlbertForMaskedLM",
}
KEEP = {"roberta": 80}  # of other families, whose vocabularies have whole words: 16


@pytest.fixture(scope="session")
def texts(sentences, tmp_path_factory):
    """A file of lines: of the first six sentences many, of the others a few."""
    common, rare = sentences[:6], sentences[6:]
    lines = (
        [f"{common[i % 6]} {common[(i + j) % 6]}" for i in range(6) for j in range(6)] * 2 + list(common) + list(rare)
    )
    file = tmp_path_factory.mktemp("texts") / "texts.txt"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def trimmed(checkpoint, make_checkpoint, texts, tmp_path_factory):
    """A function of a family and perhaps a class: the folder before, and what trimming it gave."""

    @cache
    def make(family, head=None):
        place = tmp_path_factory.mktemp("trimmed")
        before = make_checkpoint(family, place / "before", head) if head else checkpoint(family)
        return before, octavo.trim(before, place / "after", data=texts, keep=KEEP.get(family, 16))

    return make


def both(before, after):
    """The tokenizers and models of two folders, by transformers."""
    loaded = []
    for folder in (before, after):
        config = transformers.AutoConfig.from_pretrained(folder)
        model = getattr(transformers, config.architectures[0]).from_pretrained(folder)
        loaded.append((transformers.AutoTokenizer.from_pretrained(folder), model.eval()))
    return loaded


def logits(model, ids, **more):
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), **more)[0]


def hold(before, result, lines, *, over_tokens=False):
    """Each line is split and answered as before, or has a token that is gone; what the record counts is that."""
    (old, model), (new, small) = both(before, result.folder)
    left = new.get_vocab()
    order = [old.convert_tokens_to_ids(token) for token in sorted(left, key=left.get)]
    assert len(order) == result.record.rows == small.config.vocab_size < result.record.rows_before
    assert small.get_input_embeddings().weight.shape[0] == result.record.rows
    changed = 0
    for line in lines:
        tokens, others = old.tokenize(line), new.tokenize(line)
        if not left.keys() >= set(tokens):
            changed += 1
            assert tokens != others
            assert old.unk_token is None or others.count(new.unk_token) <= tokens.count(old.unk_token)
            continue
        assert tokens == others
        ids, other_ids = (one(line, truncation=True)["input_ids"] for one in (old, new))
        assert old.convert_ids_to_tokens(ids) == new.convert_ids_to_tokens(other_ids)
        more = [{}, {}]
        if model.config.is_encoder_decoder:
            more = [{"decoder_input_ids": torch.tensor([one[::-1]])} for one in (ids, other_ids)]
        first, second = logits(model, ids, **more[0]), logits(small, other_ids, **more[1])
        if over_tokens:
            assert torch.allclose(first[..., order], second, rtol=0, atol=1e-5 * float(first.abs().max()))
        else:
            assert torch.equal(first, second)
    record = result.record
    assert 0 < changed < len(lines)
    counted = [record.counted, *([record.held_out] if record.held_out else [])]
    assert sum(round(one.changed_texts.value * one.texts) for one in counted) == changed
    assert sum(one.texts for one in counted) == len(lines)
    return old, new


@pytest.mark.parametrize(
    "family", ["bert", "distilbert", "roberta", "xlm-roberta", "camembert", "electra", "albert", "klue-roberta"]
)
def test_classifiers_answer_to_the_bit_what_they_answered(family, trimmed, texts):
    before, result = trimmed(family)
    hold(before, result, texts.read_text(encoding="utf-8").splitlines())
    assert result.record.logits.difference == 0


@pytest.mark.parametrize("family", HEADS)
def test_heads_over_the_vocabulary_keep_the_rows_that_stay(family, trimmed, texts):
    before, result = trimmed(family, HEADS[family])
    hold(before, result, texts.read_text(encoding="utf-8").splitlines(), over_tokens=True)
