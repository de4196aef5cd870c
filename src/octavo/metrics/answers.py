"""Scores of answers to questions, as SQuAD's and KorQuAD 1.0's own scripts count them."""

import re
import string
from collections import Counter
from collections.abc import Sequence

_MARKS = str.maketrans(dict.fromkeys("'\"《》<>〈〉()‘’", " "))  # that KorQuAD takes for blanks  # noqa: RUF001
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def is_korean(text: str) -> bool:
    """Whether a text has more Hangul syllables than Latin letters."""
    hangul = sum("가" <= letter <= "힣" for letter in text)
    return hangul > sum(letter.isascii() and letter.isalpha() for letter in text)


def normalized(answer: str, *, korean: bool) -> str:
    """In lower case without punctuation; without articles in English, brackets and quotes being blanks in Korean."""
    if korean:
        return " ".join(answer.translate(_MARKS).lower().translate(_PUNCTUATION).split())
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split())


def exact_match(answer: str, gold: Sequence[str], *, korean: bool) -> float:
    """1 where the answer is one of the gold ones, normalized; no gold one means that nothing is the answer."""
    return float(normalized(answer, korean=korean) in {normalized(right, korean=korean) for right in gold or ("",)})


def f1(answer: str, gold: Sequence[str], *, korean: bool) -> float:
    """The F1 of the answer's parts with those of the gold one that is nearest; words in English, letters in Korean."""
    parts = _parts(answer, korean=korean)
    if not any(gold):
        return float(not parts)
    return max(_f1(parts, _parts(right, korean=korean), korean=korean) for right in gold)


def _parts(answer: str, *, korean: bool) -> Counter[str]:
    words = normalized(answer, korean=korean).split()
    return Counter("".join(words)) if korean else Counter(words)


def _f1(answer: Counter[str], gold: Counter[str], *, korean: bool) -> float:
    if not answer or not gold:  # answers of marks alone: SQuAD 2.0 takes two of them for the same, KorQuAD does not
        return float(answer == gold and not korean)
    both = (answer & gold).total()
    if both == 0:
        return 0.0
    precision, recall = both / answer.total(), both / gold.total()
    return 2 * precision * recall / (precision + recall)
