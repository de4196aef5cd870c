"""Scores of answers, held against SQuAD 2.0's and KorQuAD 1.0's scripts, written down here as they count."""

import re
import string
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octavo.tasks.answer_scores import exact_match, f1, is_korean, normalized

LETTERS = "aAtThHeEnN 가나다the1990년.,'\"()<>《》〈〉‘’!-\t"
answers = st.text(alphabet=LETTERS, max_size=14)


def squad_normalized(text):
    text = "".join(letter for letter in text.lower() if letter not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def squad_f1(said, gold):
    """As `compute_f1` of SQuAD 2.0."""
    one, other = squad_normalized(said).split(), squad_normalized(gold).split()
    if not one or not other:
        return float(one == other)
    both = sum((Counter(one) & Counter(other)).values())
    return 0.0 if both == 0 else 2 * (both / len(one)) * (both / len(other)) / (both / len(one) + both / len(other))


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
@given(answers, st.lists(answers.filter(squad_normalized), max_size=3))
def test_as_squad(said, gold):
    wanted = gold or [""]
    assert exact_match(said, gold, korean=False) == max(squad_normalized(said) == squad_normalized(g) for g in wanted)
    assert f1(said, gold, korean=False) == pytest.approx(max(squad_f1(said, one) for one in wanted), abs=1e-12)


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
