"""The one way of lines to the terminal: what is in a name, a label or a text is shown there, and never obeyed.

Also the language that the terminal speaks. Lines for machines, JSON and answers, have none.
"""

from types import SimpleNamespace

import typer

from octavo.errors import printable
from octavo.reporting.languages import LANGUAGES, Language, find_language, known, known_error, known_found, known_place

_TERMINAL = SimpleNamespace(language="en")  # a process has one, and speaks one language from its first line on


def speak(name: str | None) -> Language:
    """Choose the terminal's language: the one named, or that of the locale.

    Raises:
        InputError: there is no such language.
    """
    _TERMINAL.language = find_language(name)
    return language()


def language() -> Language:
    """The terminal's language."""
    return "ko" if _TERMINAL.language == "ko" else "en"


def words(text: str) -> str:
    """A sentence of the command line, or of a table, in the terminal's language."""
    return LANGUAGES[language()](text)


def known_words(text: str) -> str:
    """A text from elsewhere in the terminal's language where it is known there, else as it is."""
    return known(LANGUAGES[language()])(text)


def place_words(text: str) -> str:
    """A place that has a name, in the terminal's language."""
    return known_place(text) if language() == "ko" else text


def found_words(text: str) -> str:
    """What an error got, in the terminal's language where it is a sentence."""
    return known_found(text) if language() == "ko" else text


def error_words(text: str) -> str:
    """A sentence of an error or a warning in the terminal's language where it is known there, else as it is."""
    return known_error(text) if language() == "ko" else text


def size_note(size: int, before: int) -> str:
    """Bytes of a checkpoint, and of the one that it was made from."""
    text = words("{mib:.1f} MiB of {before:.1f} ({share:.1%})")
    return text.format(mib=size / 2**20, before=before / 2**20, share=size / before)


def say(*lines: str, err: bool = False) -> None:
    """Print lines on stdout, or on stderr."""
    for line in lines:
        typer.echo(printable(line), err=err)
