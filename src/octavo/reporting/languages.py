"""The languages of reports and of the terminal: what stands in the code is English, its Korean in a table of sentences.

Sentences that reports, tables and the command line are made of have Korean, or are a defect (`korean`). What comes from
elsewhere, as a reason in `octavo.json` or a step's name, is told in Korean where that is known (`known_korean`), and so
are errors and warnings (`known_error`). What machines read, JSON, recipes and names of layers, is in no language.
"""

import os
import re
from collections.abc import Callable
from functools import cache
from typing import Literal

from octavo.errors import InputError, did_you_mean
from octavo.reporting.korean import REPORT
from octavo.reporting.korean_advice import ADVICE
from octavo.reporting.korean_data import DATA
from octavo.reporting.korean_found import FOUND, VALIDATION
from octavo.reporting.korean_models import MODELS
from octavo.reporting.korean_requests import REQUESTS
from octavo.reporting.korean_terminal import ELSEWHERE, TERMINAL

Say = Callable[[str], str]
Language = Literal["en", "ko"]
Kind = Literal["errors", "elsewhere", "found"]
FEW_LETTERS = 10  # of a sentence, up to which it may stand in another by chance
KOREAN = REPORT | TERMINAL
ERRORS = REQUESTS | DATA | MODELS | ADVICE | VALIDATION
_VARYING: dict[Kind, dict[str, str]] = {"errors": ERRORS, "elsewhere": ELSEWHERE, "found": FOUND}


def english(text: str) -> str:
    """The text itself."""
    return text


def korean(text: str) -> str:
    """The text in Korean; what has no Korean is a defect, and a KeyError."""
    return KOREAN[text] if text else text


def known_korean(text: str) -> str:
    """The text in Korean where it has some; of `a step: detail` the step. Anything else as it is."""
    head, colon, rest = text.partition(": ")
    known = KOREAN | ELSEWHERE
    return known.get(text) or _filled(text, "elsewhere") or known.get(head, head) + colon + ELSEWHERE.get(rest, rest)


def known_error(text: str) -> str:
    """A sentence of an error or a warning in Korean where it has some, behind a place too: `data.tsv: no rows`.

    Values are as they are, whatever they spell.
    """
    place, colon, rest = text.partition(": ")
    told = ERRORS.get(text) or _filled(text, "errors")
    return told or place + colon + (ERRORS.get(rest) or _filled(rest, "errors") or rest)


def known_found(text: str) -> str:
    """What an error got in Korean, where that is a sentence that only Octavo says; a value, or a path, as it is."""
    return FOUND.get(text) or _filled(text, "found") or text


def known_place(text: str) -> str:
    """A place that has a name, such as the recipe, in Korean; a path as it is, whatever it spells."""
    return ERRORS.get(text, text)


def _filled(text: str, kind: Kind) -> str | None:
    """The Korean of the most detailed sentence whose `{}` fit the text, with what stands in their places."""
    for pattern, told in _patterns(kind):
        if fit := pattern.fullmatch(text):
            start, *parts = told.split("{}")
            own = _VARYING[kind]  # advice in advice; a single word is a name or a value
            values = (own.get(value, value) if " " in value else value for value in fit.groups())
            return start + "".join(value + part for value, part in zip(values, parts, strict=True))
    return None


@cache
def _patterns(kind: Kind) -> tuple[tuple[re.Pattern[str], str], ...]:
    """Sentences in which something varies, and their Korean, the longest first.

    `{}` takes any text; in a sentence of few letters that begins with `{}`, only a word without a comma. A sentence
    that begins with `{}` does not fit a text that begins with a place (`a.tsv: `).
    """
    table = _VARYING[kind]
    varying = sorted((sentence for sentence in table if "{}" in sentence), key=len, reverse=True)
    few = {sentence for sentence in varying if len(sentence.replace("{}", "")) < FEW_LETTERS}
    holes = {
        sentence: r"([^\s,]+)" if sentence in few and sentence.startswith("{}") else "(.*)" for sentence in varying
    }
    patterns = []
    for sentence in varying:
        text = holes[sentence].join(map(re.escape, sentence.split("{}")))
        text = "(?![^ ]*: )" + text if sentence.startswith("{}") and not sentence.startswith("{}: ") else text
        patterns.append((re.compile(text, re.DOTALL), table[sentence]))
    return tuple(patterns)


LANGUAGES: dict[str, Say] = {"en": english, "ko": korean}


def known(say: Say) -> Say:
    """The same language for texts that were written elsewhere, and that may have no translation."""
    return known_korean if say("unknown") == KOREAN["unknown"] else english  # a language is known by what it says


def find_language(name: str | None = None) -> Language:
    """The language asked for, or that of the locale: Korean where its name begins with `ko`, else English.

    Raises:
        InputError: there is no such language.
    """
    if name is None:
        locale = next((os.environ[key] for key in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(key)), "")
        return "ko" if locale.lower().startswith("ko") else "en"
    if name not in LANGUAGES:
        raise InputError("unknown language", got=name, allowed=did_you_mean(name, tuple(LANGUAGES)))
    return "ko" if name == "ko" else "en"
