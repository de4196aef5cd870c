"""A tokenizer made of a sentencepiece model: its pieces are sentencepiece's own, or it is told where not."""

import json
import unicodedata
import warnings

import pytest
import sentencepiece
import transformers
from tokenizers import Tokenizer

import octavo
from octavo.checkpoint.tokenizer import read_tokenizer

TEXTS = (
    "ㅋㅋㅋ 재미있다", "①번 문제", "ＦＵＬＬ width", "오늘 비가 온다…", "서울에서 친구를 만났다", "good film",
    "  비가   온다 ", "", "모르는 낱말 xyz", unicodedata.normalize("NFD", "서울에서 친구를"), "½ 문제",
)  # fmt: skip
XLNET = {"user_defined_symbols": "<cls>,<sep>,<pad>,<mask>,<eod>,<eop>"}
DEBERTA = {
    "pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3, "pad_piece": "[PAD]", "bos_piece": "[CLS]",
    "eos_piece": "[SEP]", "unk_piece": "[UNK]",
}  # fmt: skip
KINDS = {  # class -> file, model type, how the pieces are trained, settings
    "DebertaV2Tokenizer": ("spm.model", "deberta-v2", DEBERTA, {}),
    "XLNetTokenizer": ("spiece.model", "bert", XLNET, {"keep_accents": True}),
    "XLMRobertaTokenizer": ("sentencepiece.bpe.model", "xlm-roberta", {}, {}),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, sentences):
    """A function of the settings of a training: the file of its model."""
    home = tmp_path_factory.mktemp("sentencepiece")
    lines = [*sentences, *TEXTS[:6], "번 문제 1 2 3", "FULL width ㅋㅋㅋ"] * 20
    (home / "corpus.txt").write_text("\n".join(lines), encoding="utf-8")

    def train(settings):
        sentencepiece.SentencePieceTrainer.train(
            input=str(home / "corpus.txt"), model_prefix=str(home / "m"), vocab_size=160, model_type="unigram",
            minloglevel=2, num_threads=1, hard_vocab_limit=False, **settings,
        )  # fmt: skip
        return (home / "m.model").read_bytes()

    return train


@pytest.fixture
def make(trained, tmp_path):
    """A function of a class: a folder with nothing but its sentencepiece model and its settings."""

    def write(kind, **settings):
        name, model_type, training, usual = KINDS[kind]
        (tmp_path / name).write_bytes(trained(training))
        (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
        told = {"tokenizer_class": kind, "model_max_length": 64, "do_lower_case": False} | usual | settings
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(told))
        return tmp_path

    return write


def read(folder):
    """The tokenizer of a folder, and the warnings on the way."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        parts = read_tokenizer(folder)
    told = [str(one.message) for one in heard if issubclass(one.category, octavo.OctavoWarning)]
    assert all("\n" not in line for line in told)
    return Tokenizer.from_str(parts.json), told


def unlike(folder, tokenizer, prepare=str):
    """The texts that are split otherwise than by sentencepiece."""
    model = sentencepiece.SentencePieceProcessor(model_file=str(next(folder.glob("*.model"))))
    return [
        text
        for text in TEXTS
        if tokenizer.encode(text, add_special_tokens=False).tokens != model.encode(prepare(text), out_type=str)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_the_pieces_are_those_of_sentencepiece(make, kind):
    folder = make(kind)
    tokenizer, told = read(folder)
    assert unlike(folder, tokenizer) == []
    plain = Tokenizer.from_str(transformers.AutoTokenizer.from_pretrained(folder).backend_tokenizer.to_str())
    if unlike(folder, plain):
        name = KINDS[kind][0]
        assert [line for line in told if f"otherwise than {name} does" in line and f"takes the way of {name}" in line]
        assert "for AutoTokenizer's way save it to a folder by save_pretrained" in told[0]


def test_what_a_class_does_before_sentencepiece_is_kept(make):
    """Accents are dropped, and Hangul stays in one piece."""
    folder = make("XLNetTokenizer", keep_accents=False, do_lower_case=True)
    tokenizer, _ = read(folder)

    def prepare(text):
        decomposed = unicodedata.normalize("NFKD", text)
        return "".join(one for one in decomposed if not unicodedata.combining(one)).lower()

    assert unlike(folder, tokenizer, prepare) == []
    assert tokenizer.encode("GOOD fílm").ids == tokenizer.encode("good film").ids


def test_a_tokenizer_json_beside_is_taken_and_its_difference_told(make):
    folder = make("DebertaV2Tokenizer")
    tokenizer, _ = read(folder)
    plain = transformers.AutoTokenizer.from_pretrained(folder).backend_tokenizer.to_str()
    (folder / "tokenizer.json").write_text(plain, encoding="utf-8")
    taken, told = read(folder)
    assert unlike(folder, taken)
    assert any("tokenizer.json, which Octavo uses, splits" in line and "than spm.model does" in line for line in told)
    (folder / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")  # the right one
    taken, told = read(folder)
    assert unlike(folder, taken) == []
    assert [line for line in told if "than spm.model does" in line] == []


def test_pieces_with_other_ids_than_the_models(make, monkeypatch):
    folder = make("DebertaV2Tokenizer")
    tokenizer, _ = read(folder)
    content = json.loads(tokenizer.to_str())
    vocabulary = content["model"]["vocab"]
    vocabulary[20], vocabulary[21] = vocabulary[21], vocabulary[20]
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(octavo.OctavoWarning, match=r"has other ids than spm.model for 2 tokens, such as"):
        read_tokenizer(folder)


def test_a_damaged_sentencepiece_model(make):
    folder = make("DebertaV2Tokenizer")
    (folder / "spm.model").write_bytes(b"nothing")
    with pytest.raises(octavo.CheckpointError) as caught:
        read_tokenizer(folder)
    assert "\n" not in str(caught.value)
