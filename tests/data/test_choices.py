"""Files of choices."""

import json

import pytest

from octavo.data.choices import read_choices
from octavo.data.examples import DataFile, Example
from octavo.errors import DataError


@pytest.fixture
def read(tmp_path):
    def write(content, name="a.jsonl", **settings):
        text = content if isinstance(content, str) else "\n".join(json.dumps(row) for row in content)
        (tmp_path / name).write_text(text, encoding="utf-8")
        return read_choices(DataFile(tmp_path / name, **settings))

    return write


def test_any_number_of_choices(read):
    rows = [
        {"text": "a", "choices": ["x", "y"], "label": 1},
        {"text": "b", "choices": ["x", "y", "z"], "label": "C"},
        {"text": "c", "choices": ["p", "q"], "label": "q"},
        {"text": "d", "choices": ["p", "q"]},
    ]
    assert [one.label for one in read(rows)] == [1, 2, 1, None]
    assert read(rows)[1] == Example("b", label=2, choices=("x", "y", "z"))


def test_swag_and_columns(read):
    swag = "sent1,sent2,ending0,ending1,ending2,ending3,label\nHe ran.,He,fell.,sang.,ate.,slept.,0\n"
    (found,) = read(swag, "a.csv")
    assert found == Example("He ran.", label=0, choices=("He fell.", "He sang.", "He ate.", "He slept."))
    table = "question\tchoice1\tchoice2\tchoice3\tanswer\nq\tx\ty\t\t1\nr\tx\ty\tz\tC\n"
    assert [(len(one.choices), one.label) for one in read(table, "a.tsv")] == [(2, 1), (3, 2)]
    arc = {"question": "q", "choices": {"text": ["x", "y"], "label": ["A", "B"]}, "answerKey": "B"}
    assert read([arc])[0].label == 1
    numbered = {"question": "q", "choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "1"}
    assert read([numbered])[0].label == 0
    assert read([numbered | {"answerKey": 1}])[0].label == 1  # no text of a choice, and no name
    counted = {"question": "q", "choices": {"text": ["4", "3"], "label": [1, 2]}, "answerKey": 1}
    assert read([counted])[0].label == 0
    copa = {"premise": "비가 왔다.", "question": "cause", "alternative_1": "x", "alternative_2": "y", "label": 1}
    assert read([copa])[0] == Example("비가 왔다.", label=1, choices=("x", "y"))
    race = {"article": "A story.", "question": "Who?", "options": ["x", "y"], "answer": "B"}
    assert read([race])[0] == Example("A story. Who?", label=1, choices=("x", "y"))
    assert read([race], columns={"text": "question"})[0].text == "Who?"


@pytest.mark.parametrize(
    ("choices", "value", "right"),
    [
        (["8", "2", "24", "120"], 2, 2),
        (["2", "1", "0", "3"], 0, 0),
        (["x", "y"], "1", 1),
        (["0", "y"], "0", 0),
        (["B", "A"], "A", None),
        (["2", "1", "0"], "0", None),
        (["x", "y", "x"], "x", None),
    ],
)
def test_positions_are_no_texts(read, choices, value, right):
    row = {"text": "a", "choices": choices, "label": value}
    if right is not None:
        assert read([row])[0].label == right
        return
    with pytest.raises(DataError, match=r"more than one of the choices is meant .*which is choice 0 and [12]"):
        read([row])


def test_an_empty_choice_between_others_keeps_its_place(read):
    table = "text\tchoice1\tchoice2\tchoice3\tchoice4\tlabel\na\tx\t\tz\t\t2\n"
    assert read(table, "a.tsv") == (Example("a", label=2, choices=("x", "", "z")),)
    with pytest.raises(DataError, match="two choices or more"):
        read([{"text": "a", "choice1": "x", "choice2": None, "choice3": "z", "label": 1}])


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("", "the file is empty"),
        ([{"text": "a"}], "no text and choices"),
        ([{"text": "a", "choices": ["x"]}], "two choices or more"),
        ([{"text": "a", "choices": ["x", 3]}], "two choices or more"),
        ([{"text": "a", "choices": ["x", None]}], "two choices or more"),
        ([{"text": "a", "choices": ["x", "\ud800"]}], "half of a surrogate pair"),
        ([{"text": "a", "choice1": ["x"], "choice2": "y"}], "two choices or more"),
        ([{"text": 3, "choices": ["x", "y"]}], "'text' is not text"),
        ([{"text": "a", "choices": ["x", "y"], "label": 2}], r"line 1; got: 2; allowed: 0 to 1, A to B"),
        ([{"text": "a", "choices": ["x", "y"], "label": True}], "none of the choices"),
    ],
)
def test_errors(read, rows, told):
    with pytest.raises(DataError, match=told):
        read(rows)


def test_an_unknown_role(read):
    with pytest.raises(DataError, match=r"unknown role; got: labels; allowed: .*did you mean 'label'"):
        read([{"text": "a", "choices": ["x", "y"]}], columns={"labels": "x"})


@pytest.mark.parametrize("role", ["text", "choices", "label"])
def test_a_column_that_is_not_there(read, role):
    with pytest.raises(DataError, match=f"no such column for {role} .*got: labell"):
        read([{"text": "a", "choices": ["x", "y"], "label": 1}], columns={role: "labell"})
