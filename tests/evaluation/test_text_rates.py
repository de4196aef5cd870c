"""Rows a second from texts to answers: how many rows, in turns, and what a worker answers."""

import pytest

import octavo
from octavo.evaluation.text_rates import Texts, text_rates
from octavo.evaluation.worker import answer_texts
from octavo.progress import Silent

WARM, ROUNDS, SECONDS = 64, 3, 20.0


@pytest.fixture(autouse=True)
def as_for_users(monkeypatch):
    for name, value in {"WARM": WARM, "ROUNDS": ROUNDS, "SECONDS": SECONDS, "PAUSE": 0}.items():
        monkeypatch.setattr(f"octavo.evaluation.text_rates.{name}", value)


def workers(asked, *seconds):
    """Workers that take so many seconds for each row."""

    def make(number, each):
        def ask(request):
            asked.append((number, request["texts"]))
            return {"seconds": request["texts"] * each}

        return ask

    return [make(number, each) for number, each in enumerate(seconds)]


def test_all_models_answer_the_same_rows_in_turns():
    asked, texts = [], Texts([("눈", None)] * 1000, "{}")
    assert text_rates(workers(asked, 0.01, 0.04), [texts, texts], 50.0, Silent()) == [100.0, 25.0]
    assert asked[:2] == [(0, WARM), (1, WARM)]
    count = int(1000 * SECONDS / (ROUNDS + 1) / 50)  # so that rounds x models stay within the time
    assert WARM < count < 1000
    assert asked[2:] == [(0, count), (1, count)] * ROUNDS


def test_few_rows_are_all_of_them_and_models_that_write_have_no_rate():
    asked = []
    assert text_rates(workers(asked, 0.5), [Texts([("눈", None)] * 3, "{}")], 1.0, Silent()) == [2.0]
    assert {count for _, count in asked} == {3}
    assert text_rates(workers(asked, 0.5), [None], 1.0, Silent()) == [None]


def test_a_worker_cuts_and_answers_every_row(artifact, sentences, monkeypatch):
    predictor = octavo.load(artifact("bert", "float").folder)
    monkeypatch.setattr("octavo.evaluation.worker.ROWS_AT_ONCE", 4)
    ran = []
    monkeypatch.setattr(predictor, "run", lambda encoded, run=predictor.run: ran.append(len(encoded)) or run(encoded))
    assert answer_texts(predictor, [[text, None] for text in sentences[:10]]) > 0
    assert ran == [4, 4, 2]
