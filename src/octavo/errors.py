"""The exceptions and warnings that Octavo raises, and the exit code that each one means.

    OctavoError                     3  the run failed
    ├── ExportError                 3  the architecture cannot be exported, or the graph differs from torch
    └── InputError                  2  something that you gave
        ├── CheckpointError         2  the folder or hub id that is to be quantized
        ├── RecipeError             2  the recipe, its layer rules, the target
        ├── DataError               2  rows, columns, labels, encodings
        ├── ArtifactError           2  the folder that Octavo wrote, or was asked to write
        ├── HardwareError           2  an artifact that this CPU would run wrongly, threads that it does not have
        └── MissingExtraError       2  an optional dependency that is not installed

A message is one line: what is wrong, where, what was found, what is allowed, what to do next. Nothing in it moves a
terminal's cursor or turns its text around.
"""

import difflib
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePath

_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # Unicode's controls, formats (direction), half surrogates, ends of lines
_NEEDED = "\u00ad\u200c\u200d"  # formats that words and emoji are written with: soft hyphen, (non-)joiner


class OctavoError(Exception):
    """One problem, told in one line. `exit_code` is what the command line returns for it."""

    exit_code = 3

    def __init__(
        self, what: str, *, where: object = None, got: object = None, allowed: object = None, then: object = None
    ) -> None:
        """Join the parts that are given: `what`, `where` (a place), `got`, `allowed`, `then` (the next step)."""
        self.problems: tuple[OctavoError, ...] = ()  # those that are raised together by this one
        self._what, self._where = what, None if where is None else str(where)
        self._is_path = isinstance(where, PurePath)
        rest = {"got": got, "allowed": allowed, "next": then}
        self._rest = {name: str(value) for name, value in rest.items() if value is not None}
        super().__init__(self.told_in(str, str))

    def told_in(
        self,
        say: Callable[[str], str],
        known: Callable[[str], str],
        place: Callable[[str], str] = str,
        found: Callable[[str], str] = str,
    ) -> str:
        """The line in another language.

        `say` has its fixed words, `known` its sentences, `place` what has a name, `found` what was got.
        """
        if not self._what and self.args:  # told elsewhere, whole
            return printable(str(self.args[0]))
        what = known(self._what)
        where = self._where if self._where is None or self._is_path else place(self._where)
        parts = [what if where is None else say("{what} in {where}").format(what=what, where=where)]
        parts += [
            f"{say(name)}: {found(value) if name == 'got' else known(value)}" for name, value in self._rest.items()
        ]
        return printable("; ".join(" ".join(part.split()) for part in parts))


class ExportError(OctavoError):
    """The architecture cannot be exported, or the exported graph does not compute what torch computes."""


class InputError(OctavoError):
    """Something that the user gave: a path, a file, an option."""

    exit_code = 2


class CheckpointError(InputError):
    """The checkpoint is not there, not complete, or not of a kind that can be quantized."""


class RecipeError(InputError):
    """A recipe, one of its layer rules, or a target that does not exist."""


class DataError(InputError):
    """A data file that cannot be read as examples of the task."""


class ArtifactError(InputError):
    """An artifact that is damaged, unknown, or in the way."""


class HardwareError(InputError):
    """This CPU would compute the artifact wrongly, or does not have the threads that were asked for."""


class MissingExtraError(InputError):
    """A dependency of an optional part is not installed."""


class OctavoWarning(UserWarning):
    """Something that the user should know and that does not stop the work."""


def raise_together(problems: Sequence[OctavoError]) -> None:
    """Raise the only problem, or all of them as one error with a line each; do nothing without one."""
    if len(problems) == 1:
        raise problems[0]
    if problems:
        error = type(problems[0])("")
        error.args = ("\n".join(str(problem) for problem in problems),)
        error.problems = tuple(single for problem in problems for single in problem.problems or (problem,))
        raise error


def printable(text: str) -> str:
    r"""A text with what a terminal would obey, and no reader see, as an escape: `\x1b`, `\n`, `\u202e`."""
    return replace_hidden(text, lambda character: character.encode("unicode_escape").decode())


def replace_hidden(text: str, escape: Callable[[str], str]) -> str:
    """A text whose control and format characters are escaped; those that words and emoji need stay."""
    if text.isprintable():
        return text
    hidden = (unicodedata.category(character) in _HIDDEN and character not in _NEEDED for character in text)
    return "".join(escape(character) if is_so else character for character, is_so in zip(text, hidden, strict=True))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The known names as one string, led by the closest one where the spelling is near."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    listed = ", ".join(known)
    return f"{listed} (did you mean {close[0]!r}?)" if close else listed
