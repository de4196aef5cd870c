"""The languages of reports and of the terminal: what stands in the code is English, its Korean in a table of sentences.

Sentences that reports, tables and the command line are made of have Korean, or are a defect (`korean`). What comes from
elsewhere, as a reason in `octavo.json` or a step's name, is told in Korean where that is known (`known_korean`). What
machines read, JSON, recipes and names of layers, is in no language.
"""

import os
from collections.abc import Callable
from typing import Literal

from octavo.errors import InputError, did_you_mean
from octavo.reporting.korean import REPORT
from octavo.reporting.korean_terminal import ELSEWHERE, TERMINAL

Say = Callable[[str], str]
Language = Literal["en", "ko"]
KOREAN = REPORT | TERMINAL


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
    return known.get(text) or known.get(head, head) + colon + ELSEWHERE.get(rest, rest)


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
