"""Any part of a vocabulary, closed: texts whose tokens all stay are split as before, and nothing becomes unknown."""

import json

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from octavo.errors import CheckpointError
from octavo.shrinking.vocabulary import close, fixed_tokens, require_known, trimmed_tokenizer

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]


def trained(kind, texts):
    """A tokenizer of a kind, learnt from texts; with an added token, and special ones at both ends of a text."""
    if kind == "WordPiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=SPECIAL, show_progress=False)
    elif kind == "Unigram":
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=260, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
        )
    else:
        byte = kind == "bytes"
        suffix = {"end_of_word_suffix": "</w>"} if kind == "word ends" else {}
        tokenizer = Tokenizer(models.BPE(**suffix) if byte else models.BPE(unk_token="<unk>", **suffix))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel() if byte else pre_tokenizers.Whitespace()
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet()) if byte else []
        trainer = trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=SPECIAL,
            initial_alphabet=alphabet,
            **suffix,
            show_progress=False,
        )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens(["나비족"])
    ends = [(token, tokenizer.token_to_id(token)) for token in ("</s>", "<s>")]
    tokenizer.post_processor = processors.Sequence([processors.RobertaProcessing(*ends), processors.ByteLevel()])
    return tokenizer


def all_splits(texts):
    """As Llama's tokenizers are converted: each pair of tokens that makes a token is a merge; bytes for the rest."""
    pieces = sorted({word[a:b] for text in texts for word in text.split() for a in range(4) for b in range(a + 1, 6)})
    pieces = sorted({piece for piece in pieces if piece and piece != "문"}, key=lambda piece: (len(piece), piece))
    pieces = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *pieces]
    known = set(pieces)
    merges = [(one[:i], one[i:]) for one in pieces for i in range(1, len(one)) if {one[:i], one[i:]} <= known]
    model = models.BPE(
        vocab={piece: index for index, piece in enumerate(dict.fromkeys(pieces))},
        merges=[merge for merge in merges if not merge[0].startswith("<")],
        unk_token="<unk>",
        byte_fallback=True,
        fuse_unk=True,
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.ByteFallback()
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


KINDS = ("WordPiece", "Unigram", "bytes", "characters", "word ends", "all splits")


@pytest.fixture(scope="module")
def tokenizers(sentences):
    texts = list(sentences) * 3
    return {kind: all_splits(texts) if kind == "all splits" else trained(kind, texts) for kind in KINDS}


def mixed(sentences, generator):
    """A text of words of the sentences, some cut, some with letters of others."""
    words = " ".join(sentences).split()
    drawn = [words[place] for place in generator.integers(0, len(words), 5)]
    return " ".join(word[: 1 + generator.integers(0, len(word))] + drawn[0][-1:] for word in drawn)


@pytest.mark.parametrize("kind", KINDS)
def test_texts_whose_tokens_stay_are_split_as_before(kind, tokenizers, sentences):
    before, generator, same, changed = tokenizers[kind], np.random.default_rng(3), 0, 0
    content = json.loads(before.to_str())
    unknown = before.token_to_id("<unk>")
    for round_ in range(12):
        drawn = generator.integers(0, before.get_vocab_size(), before.get_vocab_size() * (round_ % 6) // 2).tolist()
        order = close(content, {*drawn, *fixed_tokens(content, ())}, "all")
        new_ids = {old: new for new, old in enumerate(order)}
        after = Tokenizer.from_str(trimmed_tokenizer(content, order))
        assert {before.id_to_token(old): new for old, new in new_ids.items()} == after.get_vocab()
        for _ in range(40):
            text = mixed(sentences, generator) + " 나비족 Ω쀍"
            old, new = before.encode(text), after.encode(text)
            if all(index in new_ids for index in old.ids):
                assert [new_ids[index] for index in old.ids] == new.ids
                same += 1
            else:
                assert old.tokens != new.tokens
                changed += 1
            assert new.ids.count(new_ids[unknown]) <= old.ids.count(unknown)
    assert same > 5
    assert changed > 5


@pytest.mark.parametrize("kind", ["WordPiece", "Unigram", "characters"])
def test_of_kept_characters_those_alone_stay(kind, tokenizers):
    content = json.loads(tokenizers[kind].to_str())
    word = next(token for token in ("공원", "▁공원에", "공원에") if tokenizers[kind].token_to_id(token) is not None)
    kept = {tokenizers[kind].token_to_id(word), *fixed_tokens(content, ())}
    tokens = {tokenizers[kind].id_to_token(index) for index in close(content, kept, "kept")}
    assert {"공", "원"} & tokens
    assert "영" not in tokens
    assert "영" in {tokenizers[kind].id_to_token(index) for index in close(content, kept, "all")}


def test_tokens_of_bytes_stay_in_any_case(tokenizers):
    content = json.loads(tokenizers["bytes"].to_str())
    assert set(pre_tokenizers.ByteLevel.alphabet()) <= {
        tokenizers["bytes"].id_to_token(index) for index in close(content, fixed_tokens(content, ()), "kept")
    }


def test_an_unknown_character_scores_what_it_did(tokenizers):
    content = json.loads(tokenizers["Unigram"].to_str())
    scores = dict(content["model"]["vocab"])
    fixed = fixed_tokens(content, ())
    lowest = min(scores, key=scores.get)
    assert scores[lowest] in {score for index, (_, score) in enumerate(content["model"]["vocab"]) if index in fixed}


def test_ids_of_a_template_and_of_ends_move(tokenizers):
    before = Tokenizer.from_str(tokenizers["characters"].to_str())
    before.post_processor = processors.TemplateProcessing(
        single="$A 나비족", pair="$A 나비족 $B", special_tokens=[("나비족", before.token_to_id("나비족"))]
    )
    content = json.loads(before.to_str())
    order = close(content, fixed_tokens(content, ()), "all")
    after = Tokenizer.from_str(trimmed_tokenizer(content, order))
    assert after.token_to_id("나비족") < before.token_to_id("나비족")
    assert after.encode("아이", "a").ids.count(after.token_to_id("나비족")) == 1


def test_whole_words_and_chance_are_refused():
    words = Tokenizer(models.WordLevel({"<unk>": 0, "공원": 1}, unk_token="<unk>"))
    with pytest.raises(CheckpointError, match="become unknown; got: WordLevel; allowed: WordPiece, BPE, Unigram"):
        require_known(json.loads(words.to_str()))
    drawn = Tokenizer(models.BPE({"a": 0}, [], dropout=0.1))
    with pytest.raises(CheckpointError, match="draws at random"):
        require_known(json.loads(drawn.to_str()))
