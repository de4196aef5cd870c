"""The next window is read and cut while the model runs on this one, and nobody can tell but by the time."""

import json
import threading

import pytest

import octavo
from octavo.errors import DataError
from octavo.inference.ahead import ahead
from octavo.inference.predictor import Predictor
from octavo.tasks.task import Task

WORDS = ["그", "남자는", "어제", "서울에서", "친구를", "만났다", "아이들이", "공원에서", "놀고", "있다", "하늘은"]
TEXTS = [" ".join(WORDS[number % 5 : number % 5 + 1 + number % 7]) for number in range(23)]


def test_the_next_item_is_made_while_one_is_worked_on():
    made = [threading.Event() for _ in range(4)]

    def items():
        for number, event in enumerate(made):
            event.set()
            yield number

    found = ahead(items())
    assert not made[0].is_set(), "nothing is made before it is asked for"
    for number in found:
        if number < 3:
            assert made[number + 1].wait(20), "made without being asked for"
        assert not any(event.is_set() for event in made[number + 2 :]), "two are held, and no more"


def test_an_error_comes_where_its_item_would_have():
    def items():
        yield "하나"
        raise LookupError("둘")

    found = ahead(items())
    assert next(found) == "하나"
    with pytest.raises(LookupError, match="둘"):
        next(found)


def test_no_thread_is_left_behind_whoever_ends_early():
    found = ahead(iter(range(9)))
    next(found)
    found.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("octavo-ahead")]


@pytest.fixture(scope="module")
def predictor(artifact):
    return octavo.load(artifact("bert", "float").folder)


@pytest.fixture
def threads(monkeypatch):
    """Windows of five rows, and the names of the threads that cut them and that ran the model."""
    monkeypatch.setattr("octavo.inference.predictor.ROWS_AT_ONCE", 5)
    seen = {"cut": set(), "run": set()}
    encode, run = Task.encode, Predictor.run

    def noted_encode(self, *arguments):
        seen["cut"].add(threading.current_thread().name)
        return encode(self, *arguments)

    def noted_run(self, *arguments):
        seen["run"].add(threading.current_thread().name)
        return run(self, *arguments)

    monkeypatch.setattr(Task, "encode", noted_encode)
    monkeypatch.setattr(Predictor, "run", noted_run)
    return seen


def test_lists_are_cut_ahead_and_answered_the_same_to_the_bit(predictor, threads):
    here = threading.current_thread().name
    expected = list(predictor.stream(TEXTS, ahead=False))
    assert threads == {"cut": {here}, "run": {here}}
    threads["cut"].clear()
    assert predictor(TEXTS) == expected
    assert len({row["score"] for row in expected}) > 20
    assert [name.startswith("octavo-ahead") for name in threads["cut"]] == [True]
    assert threads["run"] == {here}, "the model runs where it was asked, so that Ctrl-C ends it between two batches"


def test_an_iterator_is_drawn_when_it_is_asked_for(predictor, threads):
    list(predictor(iter(TEXTS)))
    assert threads["cut"] == {threading.current_thread().name}


def test_a_file_gives_the_same_bytes_as_without(threads, artifact, tmp_path, monkeypatch):
    rows = [{"text": text, "id": number} for number, text in enumerate(TEXTS)]
    (tmp_path / "in.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    folder = artifact("bert", "float").folder
    counts = octavo.predict(folder, tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    assert (counts.rows, [name.startswith("octavo-ahead") for name in threads["cut"]]) == (23, [True])
    told = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in told] == list(range(23))
    stream = Predictor.stream
    monkeypatch.setattr(Predictor, "stream", lambda *given, ahead, **more: stream(*given, ahead=False, **more))
    octavo.predict(folder, tmp_path / "in.jsonl", tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "out.jsonl").read_bytes()


def test_a_wrong_row_of_a_later_window_comes_behind_the_answers_before_it(predictor, threads):
    found = predictor.stream([*TEXTS[:7], 7], ahead=True)
    assert len([next(found) for _ in range(5)]) == 5
    with pytest.raises(DataError, match="row 7"):
        next(found)
