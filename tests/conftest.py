"""Tiny checkpoints of every family, made on the spot with random weights, and the artifacts that are made of them."""

import json
from functools import cache
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

import octavo

SHARED = Path(__file__).resolve().parents[2] / "shared"
LABELS = ("entailment", "contradiction", "neutral")
MAX_LENGTH = 64
SENTENCES = (
    "한국어 문장은 조사와 어미가 붙어서 길어진다.",
    "그 남자는 어제 서울에서 친구를 만났다.",
    "영화가 정말 재미있고 배우들의 연기도 좋았다!",
    "아이들이 공원에서 놀고 있다.",
    "아무도 공원에 없다.",
    "오늘 날씨는 춥지만 하늘은 맑다.",
    "The quick brown fox jumps over the lazy dog.",
    "a man is playing the guitar, and a woman sings.",
    "nobody plays music in the park?",
    "12 people won 345 prizes in 2024",
)
WORDS = tuple(dict.fromkeys(" ".join(SENTENCES).split()))
LETTERS = tuple(sorted(set("".join(SENTENCES)) - {" "}))
TEXTS = (
    *SENTENCES,
    "",
    "공원에서 music 을 듣는 사람 ☕",
    " ".join(SENTENCES[:6]),  # longer than MAX_LENGTH in every tokenizer
)
PAIRS = (
    (SENTENCES[3], SENTENCES[4]),
    (SENTENCES[7], SENTENCES[8]),
    (SENTENCES[0], "The fox 와 개"),
    (SENTENCES[5], ""),
    ("", SENTENCES[5]),
    (" ".join(SENTENCES[:6]), SENTENCES[7]),  # the longer text is cut first
    (SENTENCES[2], " ".join(SENTENCES[4:])),
)
FAMILIES = ("bert", "distilbert", "roberta", "xlm-roberta", "electra", "albert", "camembert", "klue-roberta")
HEADED = {
    "bert": "BertForSequenceClassification",
    "distilbert": "DistilBertForSequenceClassification",
    "roberta": "RobertaForSequenceClassification",
    "xlm-roberta": "XLMRobertaForSequenceClassification",
    "electra": "ElectraForSequenceClassification",
    "albert": "AlbertForSequenceClassification",
    "camembert": "CamembertForSequenceClassification",
    "klue-roberta": "RobertaForSequenceClassification",
}


def word_piece_vocabulary(*special):
    pieces = (*special, *WORDS, *LETTERS, *(f"##{letter}" for letter in LETTERS))
    return {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}


def _unigram(*special):
    return [
        *((piece, 0.0) for piece in special),
        ("▁", -4.0),
        *((f"▁{word}", -5.0 - len(word) / 10) for word in WORDS),
        *((letter, -8.0) for letter in LETTERS),
    ]


@cache
def _byte_pairs():
    """A vocabulary and merges of bytes, learnt from the sentences."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


def make_tokenizer(family):
    """The tokenizer of a family, as transformers builds it; its limit is that of the models here."""
    bert_like = dict(do_lower_case=True, strip_accents=False, model_max_length=MAX_LENGTH)
    if family == "roberta":
        vocabulary, merges = _byte_pairs()
        return transformers.RobertaTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_LENGTH)
    if family == "xlm-roberta":
        vocabulary = [*_unigram("<s>", "<pad>", "</s>", "<unk>"), ("<mask>", 0.0)]
        return transformers.XLMRobertaTokenizer(vocab=vocabulary, model_max_length=MAX_LENGTH)
    if family == "camembert":
        vocabulary = [*_unigram("<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED", "<s>", "</s>")]
        return transformers.CamembertTokenizer(vocab=[*vocabulary, ("<mask>", 0.0)], model_max_length=MAX_LENGTH)
    if family == "albert":
        vocabulary = _unigram("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")
        return transformers.AlbertTokenizer(vocab=vocabulary, keep_accents=True, model_max_length=MAX_LENGTH)
    if family == "klue-roberta":
        vocabulary = word_piece_vocabulary("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]")
        return transformers.BertTokenizer(vocab=vocabulary, **bert_like)
    vocabulary = word_piece_vocabulary("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    name = {"bert": "BertTokenizer", "distilbert": "DistilBertTokenizer", "electra": "ElectraTokenizer"}[family]
    return getattr(transformers, name)(vocab=vocabulary, **bert_like)


def make_config(family, tokenizer):
    shape = dict(
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        id2label=dict(enumerate(LABELS)),
        label2id={name: index for index, name in enumerate(LABELS)},
    )
    if family == "distilbert":
        return transformers.DistilBertConfig(
            **shape, dim=48, hidden_dim=96, n_layers=2, n_heads=4, max_position_embeddings=MAX_LENGTH
        )
    shape |= dict(hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4)
    shape["max_position_embeddings"] = MAX_LENGTH
    if family in {"roberta", "xlm-roberta", "camembert", "klue-roberta"}:
        shape["max_position_embeddings"] = MAX_LENGTH + 2
        shape |= dict(bos_token_id=tokenizer.cls_token_id, eos_token_id=tokenizer.sep_token_id, type_vocab_size=1)
    if family in {"electra", "albert"}:
        shape["embedding_size"] = 32
    name = HEADED[family].replace("ForSequenceClassification", "Config")
    return getattr(transformers, name)(**shape)


def randomize(model, seed=20):
    """Weights large enough that different texts get different answers: fresh ones of transformers hardly do."""
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "LayerNorm" in name or "layer_norm" in name:
            parameter.data += 0.1 * torch.randn_like(parameter)
        else:
            parameter.data = 0.2 * torch.randn_like(parameter)
    return model.eval()


def make_checkpoint(family, folder, head=None):
    """Write a tiny random checkpoint of a family to a folder, and return the folder."""
    tokenizer = make_tokenizer(family)
    model = randomize(getattr(transformers, head or HEADED[family])(make_config(family, tokenizer)))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Path(folder)
