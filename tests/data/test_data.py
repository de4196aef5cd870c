import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavo.data.examples import Example, read_examples, sample
from octavo.errors import DataError, OctavoWarning
from octavo.tasks.label_order import better_assignment

SHARED = Path(__file__).resolve().parents[3] / "shared"
needs_data = pytest.mark.skipif(
    not (SHARED / "data").is_dir(), reason=f"the real data sets are not in {SHARED / 'data'}"
)
NLI = ("entailment", "contradiction", "neutral")


@pytest.fixture
def file(tmp_path):
    """Write a file of this name and content, and give its path."""

    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def refused(path, *parts, **settings):
    """The one line of the DataError that reading raises, which has all the parts."""
    with pytest.raises(DataError) as caught:
        read_examples(path, **settings)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message
    return message


# --- real files ---


@needs_data
def test_kornli_test_has_5010_rows_with_its_quotes():
    examples = read_examples(SHARED / "data/kornli/xnli.test.ko.tsv", labels=NLI, require_labels=True)
    assert len(examples) == 5010
    assert [sum(example.label == label for example in examples) for label in range(3)] == [1670, 1670, 1670]
    assert all(example.text_pair for example in examples)
    assert sum('"' in example.text + example.text_pair for example in examples) == 104


@needs_data
def test_klue_nli_is_the_same_as_json_and_as_tsv():
    rows = json.loads((SHARED / "data/klue_nli/klue-nli-v1.1_dev.json").read_text(encoding="utf-8"))
    examples = read_examples(SHARED / "data/klue_nli/klue-nli-v1.1_dev.json", labels=NLI)
    assert len(examples) == 3000
    assert examples[2] == Example(rows[2]["premise"], rows[2]["hypothesis"], NLI.index(rows[2]["gold_label"]))
    assert [NLI[example.label] for example in examples] == [row["gold_label"] for row in rows]
    flattened = read_examples(SHARED / "data/klue_nli/dev.tsv", labels=NLI)

    def with_plain_spaces(examples):  # the TSV was written with every white space as one space
        return [(example.text.split(), example.text_pair.split(), example.label) for example in examples]

    assert with_plain_spaces(flattened) == with_plain_spaces(examples)


@needs_data
def test_nsmc_has_13131_reviews_labelled_by_id():
    examples = read_examples(SHARED / "data/nsmc/test.tsv", labels=("negative", "positive"))
    assert len(examples) == 13131
    assert examples[0] == Example("로맨스 감성 업! ㅎㅎ", label=1)
    assert {example.label for example in examples} == {0, 1}


@needs_data
def test_pawsx_without_a_header_is_read_by_positions():
    path = SHARED / "data/pawsx_ko/mesh_dev-ko.tsv"
    examples = read_examples(path, labels=("no", "yes"), columns={"text": "1", "text_pair": "2", "label": "3"})
    assert len(examples) == 2000
    assert {example.label for example in examples} == {0, 1}
    refused(path, "no text column", "Four Rivers", "--columns text=1")


# --- formats ---

PAIRS = [
    {
        "guid": "0",
        "premise": "비가 온다.",
        "hypothesis": "날이 맑다.",
        "gold_label": "contradiction",
        "label2": "neutral",
    },
    {"guid": "1", "premise": "가", "hypothesis": "나", "gold_label": 2, "label2": "entailment"},
]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", "sentence1\tsentence2\tgold_label\n비가 온다.\t날이 맑다.\tcontradiction\n가\t나\tneutral\n"),
        (
            "a.TSV",
            "sentence1\tsentence2\tgold_label\r\n비가 온다.\t날이 맑다.\tcontradiction\r\n가\t나\tneutral\r\n\r\n\n",
        ),
        ("a.csv", "premise,hypothesis,label\n비가 온다.,날이 맑다.,contradiction\n가,나,neutral"),
        ("a.csv", 'Premise, Hypothesis,Label\r\n"비가 온다.","날이 맑다.",contradiction\r\n가,나,neutral\r\n\r\n'),
        ("a.jsonl", f"{json.dumps(PAIRS[0])}\n\n{json.dumps(PAIRS[1], ensure_ascii=False)}\n"),
        ("a.ndjson", f"{json.dumps(PAIRS[0], ensure_ascii=False)}\r\n{json.dumps(PAIRS[1])}"),
        ("a.json", json.dumps(PAIRS, ensure_ascii=False, indent=4)),
        ("a.json", json.dumps({"version": 1, "data": PAIRS})),
    ],
)
def test_every_format_gives_the_same_examples(file, name, content):
    examples = read_examples(file(name, content), labels=NLI)
    assert examples == (Example("비가 온다.", "날이 맑다.", 1), Example("가", "나", 2))


def test_tsv_has_no_quoting_and_only_line_feeds_end_a_line(file):
    lines = ["document\tlabel", '"엄마, 저 왔어요."\t1', '그는 "아니\t0', "한 줄\u2028두 줄\r세 줄\x85\t1", '"\t0']
    examples = read_examples(file("a.tsv", "\n".join(lines)), labels=("0", "1"))
    assert [example.text for example in examples] == [line.split("\t")[0] for line in lines[1:]]


def test_csv_fields_may_be_quoted_span_lines_and_be_long(file):
    limit = csv.field_size_limit()
    long = "긴 글 " * limit
    path = file("a.csv", f'text,label\n"첫째, ""둘째""\n셋째",1\n{long},0\n')
    assert read_examples(path, labels=("0", "1")) == (Example('첫째, "둘째"\n셋째', label=1), Example(long, label=0))
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize("row", ['"닫히지 않은,1\n다음,0', '"엄마" 라고,1'])
def test_broken_csv_quoting_is_refused_where_it_begins(file, row):
    limit = csv.field_size_limit()
    refused(file("a.csv", f'text,label\n"두\n줄",0\n{row}\n'), "a.csv, line 4", "quoting")
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize(("name", "separator"), [("a.tsv", "\t"), ("a.csv", ",")])
def test_a_row_with_a_wrong_number_of_columns_is_named(file, name, separator):
    rows = [["text", "label"], ["좋다", "1"], ["싫다", "0", "덤"]]
    path = file(name, "\n".join(separator.join(row) for row in rows))
    refused(path, f"{name}, line 3", "got: 3", "allowed: 2")
    path = file(name, f"text{separator}label\n좋다{separator}1\n\n싫다{separator}0\n")
    refused(path, f"{name}, line 3", "got: 1", "allowed: 2")


def test_lines_of_csv_rows_count_the_line_ends_inside_quotes(file):
    refused(file("a.csv", 'text,label\n"한\n두\n세",1\n싫다\n'), "a.csv, line 5", "got: 1")


def test_empty_texts_are_examples_and_trailing_blank_lines_are_not(file):
    assert [example.text for example in read_examples(file("a.tsv", "id\tdocument\n1\t\n2\t \n\n\n"))] == ["", " "]
    assert [example.text for example in read_examples(file("a.tsv", "text\n\n좋다\n\n"))] == ["", "좋다"]
    assert [example.text for example in read_examples(file("a.csv", 'text\n좋다\n""\n\n'))] == ["좋다", ""]
    assert read_examples(file("a.json", '[{"text": ""}]')) == (Example(""),)


@given(
    st.lists(
        st.tuples(*[st.text(st.characters(exclude_characters="\t\n\r", codec="utf-8"))] * 2), min_size=1, max_size=20
    )
)
def test_tsv_gives_back_what_was_written(tmp_path_factory, pairs):
    path = tmp_path_factory.mktemp("tsv") / "a.tsv"
    text = "".join(f"{first}\t{second}\n" for first, second in [("premise", "hypothesis"), *pairs])
    path.write_text(text, encoding="utf-8", newline="")
    assert read_examples(path) == tuple(Example(first, second) for first, second in pairs)


# --- files that are not there, not text, or empty ---


def test_a_missing_file_a_folder_and_an_unknown_kind_are_refused(tmp_path, file):
    refused(tmp_path / "missing.tsv", "no such data file", "missing.tsv")
    refused(tmp_path, "folder")
    refused(file("a.parquet", "text"), ".tsv, .csv, .jsonl, .ndjson, .json")
    refused(tmp_path / ("a" * 300 + ".tsv"), "cannot be read")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", ""),
        ("a.tsv", "\ufeff"),
        ("a.csv", "\n \n"),
        ("a.tsv", "text\tlabel\n"),
        ("a.csv", "text,label\r\n\r\n"),
        ("a.csv", '""\n'),
        ("a.jsonl", "\n\n"),
        ("a.json", "[]"),
        ("a.json", '{"data": []}'),
    ],
)
def test_a_file_without_rows_is_refused(file, name, content):
    assert re.search("the file is empty|no rows", refused(file(name, content), name))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize(("name", "content"), [("a.tsv", "text\n좋다\n"), ("a.json", '[{"text": "좋다"}]')])
def test_a_byte_order_mark_decides_the_encoding(file, encoding, name, content):
    for asked in ("utf-8", "cp949"):
        assert read_examples(file(name, content.encode(encoding)), encoding=asked) == (Example("좋다"),)


def test_a_cp949_file_is_read_as_such_and_otherwise_refused_with_the_line(file):
    path = file("a.tsv", "text\tlabel\nfine\t1\n똠방각하\t0\n".encode("cp949"))
    assert read_examples(path, encoding="cp949", labels=("0", "1"))[1] == Example("똠방각하", label=0)
    refused(path, "not utf-8", "a.tsv, line 3", "next: --encoding cp949")


def test_bad_bytes_behind_a_byte_order_mark_are_counted_in_letters_not_bytes(file):
    content = "text\n\u0a0a\uac0a\n".encode("utf-16-le")  # their low or high bytes look like line ends
    refused(file("a.tsv", b"\xff\xfe" + content + b"\x00\xdc"), "not utf-16", "line 3")
    refused(file("a.tsv", b"\xef\xbb\xbftext\n\n\xb0\xa1\n"), "not utf-8-sig", "line 3", "0xb0")


def test_a_file_that_is_not_cp949_is_sent_to_utf_8(file):
    refused(file("a.tsv", b"text\n\xff\n"), "not uhc", "line 2", "next: --encoding utf-8", encoding="uhc")


@pytest.mark.parametrize("encoding", ["korean-8", "hex", "undefined"])
def test_an_unknown_encoding_is_refused(file, encoding):
    refused(file("a.tsv", "text\n좋다\n"), "unknown text encoding", encoding, encoding=encoding)


# --- JSON ---


def test_a_bad_line_of_json_lines_is_named(file):
    good = '{"text": "좋다\u2028"}'  # a separator that is legal inside JSON text
    refused(file("a.jsonl", f'{good}\n{good}\n{{"text": \n'), "not JSON", "a.jsonl, line 3")
    refused(file("a.jsonl", f'{good}\n\n["좋다"]\n'), "not a JSON object", "a.jsonl, line 3", "list")
    refused(file("a.jsonl", f"{good}\n{'[' * 200_000}\n"), "not JSON", "a.jsonl, line 2")
    assert len(read_examples(file("a.jsonl", f"{good}\n{good}\n"))) == 2


def test_json_that_is_no_list_of_objects_is_refused(file):
    refused(file("a.json", '{"text": "좋다"}\n{"text": "싫다"}\n'), "not JSON", "line 2", ".jsonl")
    refused(file("a.json", '{"rows": []}'), "an object with rows", "data list")
    refused(file("a.json", '"좋다"'), "got: str")
    refused(file("a.json", '[{"text": "좋다"}, 3]'), "a.json, row 2", "got: int")


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        ('{"text": null, "label": 1}', ["'text' is not text", "got: null"]),
        ('{"text": 12, "label": 1}', ["'text' is not text", "got: int"]),
        ('{"document": "싫다", "label": 1}', ["no 'text'", "document, label"]),
        ('{"text": "싫다"}', ["no 'label'"]),
        ('{"text": "\\ud800", "label": 1}', ["surrogate"]),
        ('{"text": "싫다", "label": true}', ["neither a name nor an id", "bool"]),
        ('{"text": "싫다", "label": 1.0}', ["neither a name nor an id", "1.0 (float)"]),
        ('{"text": "싫다", "label": {"binary-label": 1}}', ["neither a name nor an id", "dict"]),
    ],
)
def test_a_json_row_that_does_not_fit_is_named(file, row, parts):
    path = file("a.json", f'[{{"text": "좋다", "label": 0}}, {row}]')
    refused(path, "a.json, row 2", *parts, labels=("0", "1"))


def test_a_key_that_only_later_rows_have_is_not_overlooked(file):
    path = file("a.jsonl", '{"text": "좋다"}\n{"text": "싫다", "label": 0}\n')
    refused(path, "a.jsonl, line 1", "no 'label'", labels=("0", "1"))


# --- columns ---


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        ("id document label", ("document", None)),
        ("sentence1 label", ("sentence1", None)),
        ("premise text", ("text", None)),
        ("text sentence1 sentence2", ("sentence1", "sentence2")),
        ("sentence1 hypothesis premise sentence2", ("sentence1", "sentence2")),
        ("hypothesis premise", ("premise", "hypothesis")),
        ("question sentence idx", ("question", "sentence")),
        ("question1 question2", ("question1", "question2")),
        ("review hypothesis", ("review", "hypothesis")),
        ("comment content", ("content", None)),
        ("TEXT Text_Pair", ("TEXT", "Text_Pair")),
        ("Text text", ("text", None)),
    ],
)
def test_columns_are_found_by_their_names_and_pairs_go_first(file, header, chosen):
    names = header.split()
    row = "\t".join(f"<{name}>" for name in names)
    text, text_pair = chosen
    found = read_examples(file("a.tsv", "\t".join(names) + "\n" + row + "\n"))
    assert found == (Example(f"<{text}>", None if text_pair is None else f"<{text_pair}>"),)


def test_the_first_known_label_column_is_read(file):
    path = file("a.csv", "class,text,Gold_Label,label\n0,좋다,1,0\n")
    assert read_examples(path, labels=("no", "yes"))[0].label == 1
    assert read_examples(path, labels=("no", "yes"), columns={"label": "class"})[0].label == 0


def test_named_columns_replace_the_known_ones(file):
    path = file("a.tsv", "문장\tpremise\thypothesis\t정답\n좋다\t가\t나\tyes\n")
    read = lambda **columns: read_examples(path, labels=("no", "yes"), columns=columns)[0]  # noqa: E731
    assert read() == Example("가", "나")
    assert read(label="정답") == Example("가", "나", 1)
    assert read(text="문장") == Example("좋다")
    assert read(text="문장", text_pair="premise", label="정답") == Example("좋다", "가", 1)
    assert read(text_pair="문장") == Example("가", "좋다")
    assert read(text_pair="premise", text="HYPOTHESIS") == Example("나", "가")
    path = file("b.tsv", "premise\tdocument\tlabel\n가\t나\t1\n")
    assert read(text_pair="premise") == Example("나", "가", 1)


def test_a_column_that_is_not_there_is_refused_with_those_that_are(file):
    path = file("a.tsv", "id\tdocument\tlabel\n1\t좋다\t1\n")
    refused(path, "id, document, label", "did you mean 'document'?", columns={"text": "documents"})
    refused(path, "no such column for label", "got: 점수", columns={"label": "점수"})
    refused(path, "unknown role", "got: txt", "did you mean 'text'?", columns={"txt": "document"})


def test_a_table_without_known_columns_is_refused_with_its_columns(file):
    path = file("a.tsv", "좋은 영화\t1\n나쁜 영화\t0\n")
    refused(
        path, "no text column", "got: 좋은 영화, 1;", "--columns text=document,label=label", "--columns text=1,label=2"
    )
    assert len(refused(file("a.tsv", "가" * 5000 + "\n나\n"))) < 500
    assert "and 38 more" in refused(file("a.tsv", "\t".join(f"x{i}" for i in range(50)) + "\n" + "\t" * 49 + "y\n"))


def test_two_columns_of_one_name_are_refused(file):
    refused(file("a.csv", "text,label,label\n좋다,1,0\n"), "two columns have one name", "got: label")
    assert read_examples(file("a.csv", ",text,\n1,좋다,2\n")) == (Example("좋다"),)


def test_positions_read_a_table_without_a_header(file):
    path = file("a.tsv", "좋은 영화\t1\t평\n나쁜 영화\t0\t\n")
    both = read_examples(path, labels=("0", "1"), columns={"text": "1", "label": "2"})
    assert both == (Example("좋은 영화", label=1), Example("나쁜 영화", label=0))
    assert read_examples(path, columns={"text": "1", "text_pair": "3"})[1] == Example("나쁜 영화", "")
    for position in ("0", "4"):
        refused(path, "no such column", f"got: {position}", "allowed: 1, 2, 3", columns={"text": position})
    refused(path, "no text column", columns={"label": "2"})


def test_digits_are_names_where_the_header_has_them(file):
    path = file("a.csv", "1,0\n좋다,덤\n")
    assert read_examples(path, columns={"text": "0", "text_pair": "1"}) == (Example("덤", "좋다"),)


# --- labels ---


def labels_of(file, values, labels):
    path = file("a.jsonl", "\n".join(json.dumps({"text": "글", "label": value}) for value in values))
    return [example.label for example in read_examples(path, labels=labels)]


def test_labels_are_mapped_by_name_then_by_folded_name_then_by_id(file):
    assert labels_of(file, ["neutral", "entailment", "contradiction"], NLI) == [2, 0, 1]
    assert labels_of(file, [" Neutral ", "ENTAILMENT", "2", 1], NLI) == [2, 0, 2, 1]
    assert labels_of(file, ["긍정", "부정 "], ("부정", "긍정")) == [1, 0]
    assert labels_of(file, ["a", "A"], ("A", "a")) == [1, 0]


def test_a_label_named_by_a_number_goes_before_the_id(file):
    assert labels_of(file, ["0", "1", 0, 1], ("1", "0")) == [1, 0, 1, 0]


def test_without_labels_the_label_column_is_not_read(file):
    assert labels_of(file, ["whatever", 7, None, True], ()) == [None] * 4


@pytest.mark.parametrize("value", ["positive", "3", 3, -1, "1.0", "01", "１", "9" * 5000])
def test_an_unknown_label_lists_both_sides(file, value):
    with pytest.raises(DataError) as caught:
        labels_of(file, ["neutral", value, "another", None], NLI)
    message = str(caught.value)
    assert "a.jsonl, line 2" in message
    assert "entailment, contradiction, neutral" in message
    assert "--labels" in message
    listed = re.search(r"got: (.*) in the file", message)[1].split(", ")
    assert listed == sorted(listed)
    assert {"neutral", "another"} < set(listed)
    assert len(listed) == 3


def test_an_unknown_label_lists_at_most_12_labels_of_the_file(file):
    with pytest.raises(DataError, match=r"got: c00, c01, .*, c11 and 18 more in the file"):
        labels_of(file, [f"c{index:02}" for index in range(29, -1, -1)], NLI)


def test_a_model_without_names_is_sent_to_the_option(file):
    with pytest.raises(DataError, match="in id order, such as --labels entailment,contradiction,neutral"):
        labels_of(file, ["neutral"], ("LABEL_0", "LABEL_1", "LABEL_2"))
    assert labels_of(file, ["LABEL_2", 1], ("LABEL_0", "LABEL_1", "LABEL_2")) == [2, 1]


def test_labels_that_are_not_distinct_are_refused(file):
    with pytest.raises(DataError, match="one name; got: a, b, a"):
        labels_of(file, ["a"], ("a", "b", "a"))


def test_folded_names_that_are_not_distinct_are_no_guess(file):
    with pytest.raises(DataError, match="no label 'YES'"):
        labels_of(file, ["YES"], ("Yes", "yes"))


def test_rows_without_gold_are_left_out_with_a_warning(file):
    path = file("a.tsv", "premise\thypothesis\tgold_label\n가\t나\t-\n다\t라\tneutral\n마\t바\t\n")
    with pytest.warns(OctavoWarning, match="2 of 3 rows") as caught:
        assert read_examples(path, labels=NLI) == (Example("다", "라", 2),)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with pytest.warns(OctavoWarning, match="1 of 2 rows"):
        assert labels_of(file, [None, "neutral"], NLI) == [2]
    assert labels_of(file, ["-", "neutral"], ("-", "neutral")) == [0, 1]


def test_a_file_where_no_row_has_gold_is_refused(file):
    with pytest.raises(DataError, match="no row has a label"):
        labels_of(file, ["-", ""], NLI)


def test_required_labels_need_a_column(file):
    path = file("a.tsv", "id\tdocument\n1\t좋다\n")
    assert read_examples(path, labels=("0", "1")) == (Example("좋다"),)
    refused(path, "no label column", "got: id, document", "gold_label", labels=("0", "1"), require_labels=True)


# --- sample ---


def test_a_sample_is_seeded_and_keeps_the_order():
    examples = tuple(Example(str(index)) for index in range(100))
    drawn = sample(examples, 30, seed=1)
    places = [int(example.text) for example in drawn]
    assert len(set(places)) == 30
    assert places == sorted(places)
    assert places != list(range(30))
    assert sample(examples, 30, seed=1) == drawn
    assert sample(examples, 30, seed=2) != drawn
    assert sample(examples, 30) == sample(examples, 30, seed=0)


def test_a_sample_draws_every_example_as_often():
    examples = [Example(str(index)) for index in range(10)]
    drawn = [example.text for seed in range(600) for example in sample(examples, 3, seed)]
    counts = [drawn.count(str(index)) for index in range(10)]
    assert min(counts) > 130  # 180 expected, standard deviation 11
    assert max(counts) < 230


def test_a_sample_without_a_limit_or_with_a_large_one_is_everything():
    examples = [Example("가"), Example("나")]
    for limit in (None, 2, 3):
        assert sample(examples, limit) == tuple(examples)
    for limit in (0, -1):
        with pytest.raises(DataError, match=f"got: {limit}"):
            sample(examples, limit)


# --- better_assignment ---


def simulated(true_order, given_order, rows, accuracy, seed=0):
    """Ids predicted by a model whose outputs mean `true_order`, and gold ids by name in `given_order`."""
    random = np.random.default_rng(seed)
    meant = random.integers(len(true_order), size=rows)
    names = np.array(true_order)[meant]
    predicted = np.where(random.random(rows) < accuracy, meant, random.integers(len(true_order), size=rows))
    return predicted, np.array([given_order.index(name) for name in names])


def suggested(message):
    return tuple(re.search(r"--labels ([^ ;)]+)", message)[1].split(","))


# Cycles of three are what tells an order from its inverse.
@pytest.mark.parametrize(
    ("true_order", "given_order"),
    [
        (("entailment", "neutral", "contradiction"), ("entailment", "contradiction", "neutral")),
        (("contradiction", "neutral", "entailment"), ("entailment", "contradiction", "neutral")),
        (("neutral", "entailment", "contradiction"), ("entailment", "contradiction", "neutral")),
        (tuple("cdbaef"), tuple("abcdef")),
        (("no", "yes"), ("yes", "no")),
    ],
)
def test_labels_given_in_a_wrong_order_are_found_and_the_advice_repairs_them(true_order, given_order):
    predicted, gold = simulated(true_order, given_order, rows=400, accuracy=0.7)
    message = better_assignment(predicted, gold, given_order)
    assert suggested(message) == true_order
    assert f"if the model's labels were {', '.join(true_order)}; next:" in message
    assert "\n" not in message
    repaired, gold_repaired = simulated(true_order, true_order, rows=400, accuracy=0.7)
    assert f"{np.mean(predicted == gold):.4f} as given and {np.mean(repaired == gold_repaired):.4f} if" in message
    assert better_assignment(repaired, gold_repaired, true_order) is None


def test_both_advices_repair_the_file_that_they_are_for(file):
    true_order, given_order = ("neutral", "entailment", "contradiction"), NLI
    predicted, gold = simulated(true_order, given_order, rows=300, accuracy=0.8)
    for values in ([given_order[label] for label in gold], gold.tolist()):
        message = better_assignment(predicted, np.array(labels_of(file, values, given_order)), given_order)
        by_name, by_id = (tuple(order.split(",")) for order in re.findall(r"--labels ([^ ;)]+)", message))
        advised = by_id if isinstance(values[0], int) else by_name
        assert np.mean(predicted == labels_of(file, values, advised)) > 0.8


def test_the_advice_can_be_pasted_into_a_shell():
    predicted, gold = simulated(("아주 좋다", "no"), ("no", "아주 좋다"), rows=200, accuracy=0.9)
    assert "--labels '아주 좋다,no'" in better_assignment(predicted, gold, ("no", "아주 좋다"))


def test_a_right_order_is_not_doubted():
    for accuracy in (1.0, 0.6, 0.0):
        for seed in range(20):
            assert better_assignment(*simulated(NLI, NLI, 200, accuracy, seed), NLI) is None


def test_a_difference_below_ten_points_is_not_reported():
    gold = np.repeat([0, 1], 5000)
    predicted = np.where(np.arange(10_000) % 100 < 46, gold, 1 - gold)  # 0.46 as given, 0.54 swapped
    assert better_assignment(predicted, gold, ("no", "yes")) is None
    predicted = np.where(np.arange(10_000) % 100 < 44, gold, 1 - gold)
    assert better_assignment(predicted, gold, ("no", "yes")) is not None


def test_few_rows_many_labels_or_one_label_are_not_judged():
    gold = np.arange(60) % 2
    assert better_assignment(1 - gold, gold, ("no", "yes")) is not None
    assert better_assignment(1 - gold[:49], gold[:49], ("no", "yes")) is None
    assert better_assignment(1 - gold, gold, tuple("abcdefg")) is None
    assert better_assignment(gold * 0, gold * 0, ("only",)) is None


def test_a_difference_that_may_be_luck_is_not_reported():
    gold = np.arange(60) % 2
    predicted = np.where(np.arange(60) // 2 % 5 < 2, gold, 1 - gold)  # 0.40 as given, 0.60 swapped
    assert better_assignment(predicted, gold, ("no", "yes")) is None
    # Clearly better than chance, and 0.75 swapped against 0.58 as given: but 25 rows against 15 are a matter of luck.
    gold = np.repeat([0, 1, 2], 20)
    predicted = np.where((gold > 0) & (np.arange(60) % 8 < 5), 3 - gold, gold)
    assert np.mean(predicted == gold) == 35 / 60
    assert better_assignment(predicted, gold, NLI) is None


def test_a_model_that_always_answers_the_same_is_broken_and_not_permuted():
    gold = np.array([0] * 800 + [1] * 200)
    assert better_assignment(np.ones_like(gold), gold, ("no", "yes")) is None


def test_labels_that_never_occur_stay_where_they_are():
    gold = np.array([0, 1] * 50)
    assert suggested(better_assignment(1 - gold, gold, tuple("abcd"))) == tuple("bacd")
