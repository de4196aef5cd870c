"""Scores of answers, held against torchmetrics (SQuAD), and KorQuAD 1.0's script, written down here as it counts."""

import re
import string
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octavo.metrics.answers import exact_match, f1, is_korean, normalized

LETTERS = "aAtThHeEnN 가나다the1990년.,'\"()<>《》〈〉‘’!-\t"
answers = st.text(alphabet=LETTERS, max_size=14)


def as_torchmetrics(said, gold):
    """Exact match and F1 of one answer, of 1."""
    from torchmetrics.functional.text import squad

    answers = {"text": list(gold), "answer_start": [0] * len(gold)}
    found = squad({"id": "q", "prediction_text": said}, {"id": "q", "answers": answers})
    return [float(found[name]) / 100 for name in ("exact_match", "f1")]


def korquad_normalized(text):
    for mark in ("'", '"', "《", "》", "<", ">", "〈", "〉", r"\(", r"\)", "‘", "’"):
        text = re.sub(mark, " ", text)
    return " ".join("".join(letter for letter in text.lower() if letter not in set(string.punctuation)).split())


def korquad_f1(said, gold):
    """By letters, as KorQuAD 1.0 counts."""
    one, other = ([letter for word in korquad_normalized(text).split() for letter in word] for text in (said, gold))
    both = sum((Counter(one) & Counter(other)).values())
    return 0.0 if both == 0 else 2 * (both / len(one)) * (both / len(other)) / (both / len(one) + both / len(other))


@settings(max_examples=300)
@given(answers, st.lists(answers.filter(bool), min_size=1, max_size=3))
def test_as_squad(said, gold):
    match, overlap = as_torchmetrics(said, gold)
    assert exact_match(said, gold, korean=False) == match
    assert f1(said, gold, korean=False) == pytest.approx(overlap, abs=1e-6)  # torchmetrics counts in float32


def test_no_answer_as_squad_2():
    """What torchmetrics, as SQuAD 1.1, has no questions for: no answer is right where there is none."""
    for said, wanted in (("", 1), ("the", 1), ("cat", 0)):
        assert exact_match(said, (), korean=False) == f1(said, (), korean=False) == wanted


@settings(max_examples=300)
@given(answers, st.lists(answers.filter(bool), min_size=1, max_size=3))
def test_as_korquad(said, gold):
    equal = [korquad_normalized(said) == korquad_normalized(one) for one in gold]
    assert exact_match(said, gold, korean=True) == max(equal)
    assert f1(said, gold, korean=True) == pytest.approx(max(korquad_f1(said, one) for one in gold), abs=1e-12)


def test_examples():
    assert normalized("The  《한국》 (Korea), a!", korean=False) == "《한국》 korea"
    assert normalized("《한국》(Korea)의", korean=True) == "한국 korea 의"
    assert f1("서울특별시", ["서울시"], korean=True) == pytest.approx(2 * (3 / 5) * 1 / (3 / 5 + 1))
    assert f1("서울특별시", ["서울시"], korean=False) == 0
    assert exact_match("", (), korean=True) == f1("", (), korean=True) == 1
    assert exact_match("서울", (), korean=True) == f1("서울", (), korean=True) == 0
    assert is_korean("1989년 6월 평양축전(Pyongyang)에 간 사람은?")
    assert not is_korean("Who is 세종 of Korea?")
