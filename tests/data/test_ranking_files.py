"""Files of queries and passages: rows, groups and folders say the same."""

import json

import pytest

from octavo.data.examples import DataFile
from octavo.data.ranking import files_of, is_ranking, read_ranking
from octavo.errors import DataError, OctavoWarning

GRADES = {  # query -> passage -> grade
    "서울의 인구는?": {"서울에는 940만 명이 산다.": 2, "부산은 항구다.": 0, "서울은 수도다.": 1},
    "누가 노래하나?": {"한 여자가 노래한다.": 1, "부산은 항구다.": 0},
}


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def folder_of(path, top_ranked=None):
    """As BEIR writes it; one passage more than was judged, and a query of another split."""
    texts = [*dict.fromkeys(text for grades in GRADES.values() for text in grades), "아무도 묻지 않은 글."]
    ids = {text: f"d{index}" for index, text in enumerate(texts)}
    queries = {text: f"q{index}" for index, text in enumerate(GRADES)}
    (path / "qrels").mkdir(parents=True)
    jsonl(path / "corpus.jsonl", [{"_id": ids[text], "title": "", "text": text} for text in texts])
    jsonl(path / "queries.jsonl", [{"_id": one, "text": text} for text, one in [*queries.items(), ("다른 질문", "q9")]])
    lines = [f"{queries[q]}\t{ids[p]}\t{grade}\n" for q, grades in GRADES.items() for p, grade in grades.items()]
    (path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines), encoding="utf-8")
    if top_ranked is not None:
        jsonl(path / "top_ranked.jsonl", [{"query-id": "q0", "corpus-ids": top_ranked}])
    return path


def write(way, folder):
    if way == "folder":
        return folder_of(folder / "beir")
    if way == "groups":
        rows = []
        for query, grades in GRADES.items():
            good, bad = ([text for text in grades if (grades[text] > 0) == side] for side in (True, False))
            rows.append({"query": query, "positive": good if len(good) > 1 else good[0], "negative": bad})
        return jsonl(folder / "groups.jsonl", rows)
    rows = [(query, text, grade) for query, grades in GRADES.items() for text, grade in grades.items()]
    if way == "tsv":
        lines = ["query\tpassage\trelevance", *("\t".join(map(str, row)) for row in reversed(rows))]
        (folder / "rows.tsv").write_text("\n".join(lines), encoding="utf-8")
        return folder / "rows.tsv"
    return jsonl(folder / "rows.jsonl", [{"query": q, "document": p, "score": str(s)} for q, p, s in rows])


@pytest.mark.parametrize("way", ["tsv", "jsonl", "groups", "folder"])
@pytest.mark.parametrize("shared", [True, False])
def test_every_format_says_the_same(way, shared, tmp_path):
    file = DataFile(write(way, tmp_path))
    assert is_ranking(file)
    examples = read_ranking(file, shared=shared)
    found = {one.text: {one.choices[place]: grade for place, grade in one.relevance} for one in examples}
    grades = {q: {p: min(s, 1) if way == "groups" else s for p, s in row.items() if s} for q, row in GRADES.items()}
    assert found == grades
    every = {text for row in GRADES.values() for text in row} | ({"아무도 묻지 않은 글."} if way == "folder" else set())
    for one in examples:
        assert {*one.choices} == (every if shared else {*GRADES[one.text]})
        assert len({*one.choices}) == len(one.choices)
        assert not shared or one.choices is examples[0].choices


def test_the_order_of_passages_tells_nothing(tmp_path):
    """The same whatever the order of the rows, and of a folder by falling ids, as trec_eval takes equal scores."""
    one = read_ranking(DataFile(write("tsv", tmp_path)), shared=True)[0].choices
    assert one == read_ranking(DataFile(write("jsonl", tmp_path)), shared=True)[0].choices
    folder = write("folder", tmp_path)
    (beir,) = {example.choices for example in read_ranking(DataFile(folder), shared=True)}
    lines = (folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines()
    assert beir == tuple(json.loads(line)["text"] for line in lines)[::-1]
    split = DataFile(folder / "qrels" / "test.tsv")
    assert is_ranking(split)
    assert read_ranking(split, shared=True) == read_ranking(DataFile(folder), shared=True)
    assert [path.name for path in files_of(folder)] == ["corpus.jsonl", "queries.jsonl", "test.tsv"]


def test_candidates_of_a_folder_and_those_that_are_missing(tmp_path):
    folder = folder_of(tmp_path / "a", ["d1", "d4"])
    with pytest.warns(OctavoWarning, match="1 of 2 queries have no candidates in top_ranked.jsonl and are left out"):
        (one,) = read_ranking(DataFile(folder), shared=False)
    assert one.choices == ("아무도 묻지 않은 글.", "부산은 항구다.")
    assert one.relevance == ((-1, 2.0), (-1, 1.0))
    assert [one.text for one in read_ranking(DataFile(folder), shared=True)] == [*GRADES]  # who searches needs none


def test_an_empty_cell_is_no_passage(tmp_path):
    rows = "query,positive,negative_1,negative_2\n누가?,한 여자가 노래한다.,비가 온다.,\n서울은?,수도다.,항구다.,눈.\n"
    (tmp_path / "a.csv").write_text(rows, encoding="utf-8")
    examples = read_ranking(DataFile(tmp_path / "a.csv"), shared=False)
    assert [{*one.choices} for one in examples] == [
        {"한 여자가 노래한다.", "비가 온다."},
        {"수도다.", "항구다.", "눈."},
    ]
    assert "" not in read_ranking(DataFile(tmp_path / "a.csv"), shared=True)[0].choices


def test_without_relevance(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", [{"query": "가", "passage": text} for text in "나다라"])
    (one,) = read_ranking(DataFile(path), shared=False)
    assert (len(one.choices), one.relevance) == (3, ())


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (
            [{"query": "가", "passage": "나", "score": 1}, {"query": "가", "passage": "나", "score": 0}],
            "two grades.*line 2",
        ),
        ([{"query": "가", "passage": "나", "score": "많이"}], "a relevance is no number.*got: '많이'"),
        ([{"query": "가", "passage": "나", "score": 1}], "nothing to rank"),
        ([{"query": "가", "positive": "나", "negative": [3]}], "'negative' is not text.*line 1"),
        (
            [{"query": "가", "positive": ["나", "다"]}],
            "nothing to rank.*got: relevant passages only; next: add passages",
        ),
        (
            [{"query": "가", "positive": ["나"], "negative": "다"}, {"query": "라", "positive": []}],
            "a query without passages.*line 2.*got: 라",
        ),
    ],
)
def test_rows_that_do_not_fit(rows, told, tmp_path):
    with pytest.raises(DataError, match=told):
        read_ranking(DataFile(jsonl(tmp_path / "a.jsonl", rows)), shared=False)


def test_folders_that_do_not_fit(tmp_path):
    folder = folder_of(tmp_path / "a")
    (folder / "qrels" / "test.tsv").rename(folder / "qrels" / "train.tsv")
    (folder / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\nq0\td99\t1\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"which qrels\?.*got: dev\.tsv, train\.tsv.*NAME\.tsv"):
        read_ranking(DataFile(folder), shared=True)
    with pytest.raises(DataError, match=r"an id that corpus\.jsonl does not have.*got: d99"):
        read_ranking(DataFile(folder / "qrels" / "dev.tsv"), shared=True)
    (folder / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\nq0\td0\t1\nq0\td2\t1\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"nothing to rank.*relevant passages only.*top_ranked\.jsonl"):
        read_ranking(DataFile(folder / "qrels" / "dev.tsv"), shared=False)


def test_other_files_are_none(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", [{"text": "가", "label": "나"}])
    assert not is_ranking(DataFile(path))
    assert not is_ranking(DataFile(tmp_path))
    assert not is_ranking(DataFile(tmp_path / "nothing.tsv"))
    assert is_ranking(DataFile(path, columns={"query": "text", "passage": "label"}))
