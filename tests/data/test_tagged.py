"""Files of tagged words."""

import json

import pytest

from octavo.data.examples import DataFile, Example
from octavo.data.tagged import read_tagged
from octavo.errors import DataError
from octavo.tasks.entities import overlapping

LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


@pytest.fixture
def file(tmp_path):
    def write(name, content, **settings):
        (tmp_path / name).write_text(content, encoding="utf-8")
        return DataFile(tmp_path / name, **settings)

    return write


def test_columns_with_tabs(file):
    found = read_tagged(file("a.tsv", "김구\tB-PER\n는\tO\n\n\t\n서울\tB-LOC\n"), LABELS)
    assert found == (
        Example("김구 는", words=((0, 2), (3, 4)), tags=("B-PER", "O")),
        Example("서울", words=((0, 2),), tags=("B-LOC",)),
    )


def test_conll_2003(file):
    content = "-DOCSTART- -X- -X- O\n\nEU NNP B-NP I-LOC\n# NN I-NP O\r\n\r\nPeter NNP B-NP I-PER"
    found = read_tagged(file("a.conll", content), LABELS)
    assert [one.text for one in found] == ["EU #", "Peter"]
    assert found[0].tags == ("I-LOC", "O")
    third = read_tagged(file("a.conll", content, columns={"text": "1", "label": "3"}))
    assert third[0].tags == ("B-NP", "I-NP")


def test_characters_as_klue_tags_them(file):
    content = "## 주석\t<김:PS>\n김\tB-PER\n 구\tI-PER\n".replace(" 구", " \tI-PER\n구") + "는\tO\n"
    (found,) = read_tagged(file("a.tsv", content), LABELS)
    assert found == Example("김 구는", words=((0, 1), (2, 3), (3, 4)), tags=("B-PER", "I-PER", "O"))


def test_json_by_names_and_ids(file):
    rows = '{"tokens": ["김구", "는"], "ner_tags": ["B-PER", "O"]}\n{"words": ["서울"], "tags": [3]}\n'
    assert [one.tags for one in read_tagged(file("a.jsonl", rows), LABELS)] == [("B-PER", "O"), ("B-LOC",)]
    assert read_tagged(file("b.jsonl", '{"tokens": ["김구"]}'))[0].tags is None


def test_texts_without_tags(file):
    texts = ["김구는 갔다.", "서울에 왔다. O"]
    for content in (
        file("a.txt", "\n".join(texts)),
        file("a.jsonl", "\n".join(json.dumps({"text": text}) for text in texts)),
        file("b.jsonl", "\n".join(json.dumps({"tokens": text.split()}) for text in texts)),
    ):
        for labels in ((), LABELS):
            found = read_tagged(content, labels)
            assert [one.text for one in found] == texts
            assert [one.tags for one in found] == [None, None]
    columns = read_tagged(file("b.txt", "김구 B-PER\n는 O\n"), LABELS)
    assert columns == (Example("김구 는", words=((0, 2), (3, 4)), tags=("B-PER", "O")),)
    (spoken,) = read_tagged(file("c.txt", "dog NN\nruns VB\n"), ("NN", "VB"))  # tags that are in no scheme of entities
    assert spoken.tags == ("NN", "VB")
    with pytest.raises(DataError, match="line 2; got: 1 column"):
        read_tagged(file("d.txt", "김구 B-PER\n는\n갔다 O\n"), LABELS)
    (named,) = read_tagged(file("e.jsonl", '{"review": "김구는 갔다."}', columns={"text": "review"}), LABELS)
    assert (named.text, named.tags) == ("김구는 갔다.", None)


def test_a_blank_among_words_is_none_of_them(file):
    rows = [
        {"tokens": ["I", " ", "live"], "tags": ["O", "O", "O"]},
        {"tokens": ["Kim", "left"], "tags": ["B-PER", "O"]},
    ]
    found = read_tagged(file("a.jsonl", "\n".join(map(json.dumps, rows))), LABELS)
    assert [one.text for one in found] == ["I live", "Kim left"]
    assert found[0] == Example("I live", words=((0, 1), (2, 6)), tags=("O", "O"))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.tsv", "", ["no sentences"]),
        ("a.tsv", "\n\n", ["no sentences"]),
        ("a.tsv", "김구\tB-PER\n는\n", ["line 2", "1 column", "a word and its tag a line"]),
        ("a.tsv", "김구\tB-PER\n는\t\n", ["line 2", "a word and a tag"]),
        (
            "a.tsv",
            "김구\tB-PER\n3월\tB-DT\n",
            ["line 1", "no tag 'B-DT'", "PER, DT in the file", "PER, LOC", "--labels"],
        ),
        ("a.jsonl", '{"txt": "x"}', ["no words", "txt", "tokens or words"]),
        ("a.jsonl", '{"tokens": ["\\ud800"], "tags": ["O"]}', ["half of a surrogate pair"]),
        ("a.jsonl", '{"tokens": ["x"], "tags": ["O"]}\n{"tokens": ["x"]}', ["line 2", "a tag for each word"]),
        ("a.jsonl", '{"tokens": ["x", "y"], "tags": ["O"]}', ["a tag for each word", "2 words"]),
        ("a.jsonl", '{"tokens": ["x"], "tags": [9]}', ["neither a name nor an id", "0 to 4"]),
        ("a.parquet", "x", ["unknown kind of data file"]),
    ],
)
def test_errors(file, name, content, told):
    with pytest.raises(DataError) as raised:
        read_tagged(file(name, content), LABELS)
    assert all(part in str(raised.value) for part in told), str(raised.value)
    assert "\n" not in str(raised.value)


def test_columns_are_positions(file):
    with pytest.raises(DataError, match="by position; got: text=word"):
        read_tagged(file("a.tsv", "a\tO", columns={"text": "word"}), LABELS)
    with pytest.raises(DataError, match="unknown role; got: tags"):
        read_tagged(file("a.tsv", "a\tO", columns={"tags": "2"}), LABELS)


def test_the_first_token_of_each_word():
    # SentencePiece: "▁" alone stands for the blank before the second word, and is its first token.
    assert overlapping([(0, 2), (3, 5)], [(0, 2), (2, 3), (3, 4), (4, 5)]) == [0, 1]
    assert overlapping([(0, 2), (3, 5)], [(0, 0), (0, 1), (1, 2), (3, 5)]) == [1, 3]
    assert overlapping([(0, 1), (1, 2), (2, 3)], [(0, 2), (2, 3)]) == [0, 0, 1]  # a token of two letters
    assert overlapping([(0, 2), (3, 5)], [(0, 2)]) == [0, None]  # cut at the limit
    assert overlapping([(0, 1), (2, 3)], [(2, 3)]) == [None, 0]  # a word that the tokenizer drops


def test_the_real_files(tmp_path):
    from pathlib import Path

    data = Path(__file__).resolve().parents[3] / "shared" / "data"
    if not data.exists():
        pytest.skip("needs ../shared")
    counts = {
        "panx/dev-ko.tsv": 10_000,
        "klue_ner/klue-ner-v1.1_dev.tsv": 5_000,
        "wnut17/emerging.dev.conll": 1_009,
        "wnut17/emerging.test.annotated": 1_287,
        "wnut17/wnut17train.conll": 3_394,
    }
    for name, count in counts.items():
        found = read_tagged(DataFile(data / name))
        assert len(found) == count
        assert all(one.tags and len(one.tags) == len(one.words) for one in found)
    assert found[0].text.startswith("@paulwalk It 's the view")
    klue = read_tagged(DataFile(data / "klue_ner/klue-ner-v1.1_dev.tsv"))[0]
    assert klue.text.startswith("경찰은 또 성매매 알선 자금을 관리한 박씨의 딸(32)과")
