"""What the user may ask of a candidate, and one rule for the units of it.

`30%` is 0.3 and `1.5x` is 1.5. A bare number is in the option's own unit, which its help names: a share (0.3), times
(1.5), or points of a score (0.5 is `0.5%`). What means nothing is refused, before any work.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from octavo.errors import InputError, OctavoError, raise_together

if TYPE_CHECKING:
    from octavo.schema.budget import Budget

MaxDrop = Annotated[
    str | None,
    typer.Option(metavar="POINTS", help="Budget: the first score may fall so far. 1% or 1: one point of 100."),
]
MinSpeedup = Annotated[
    str | None, typer.Option(metavar="TIMES", help="Budget: at least so many times as fast. 1.5x or 1.5.")
]
MaxSize = Annotated[
    str | None, typer.Option(metavar="SHARE", help="Budget: at most so much of the first one's bytes. 30% or 0.3.")
]
MinAgreement = Annotated[
    str | None,
    typer.Option(metavar="SHARE", help="Budget without labels: rows that are answered alike. 99% or 0.99."),
]
MinCosine = Annotated[
    str | None, typer.Option(metavar="COSINE", help="Budget without scores: the mean cosine. 0.99 or 99%.")
]
MinCosineWorst = Annotated[
    str | None,
    typer.Option(metavar="COSINE", help="Budget without scores: cosine of the worst texts, the 1st percentile."),
]
_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(%|[xX×]?)\s*", re.ASCII)  # noqa: RUF001 - a sign that users have
_SUCH_AS = {
    "max_drop": "1% (one point)",
    "min_speedup": "1.5x",
    "max_size": "30% or 0.3",
    "min_agreement": "99% or 0.99",
    "min_cosine": "0.99",
    "min_cosine_worst": "0.95",
}


def read_budget(given: Mapping[str, str | None]) -> Budget | None:
    """The budget of the limits that were given, by their names in `Budget`; None without one.

    Raises:
        InputError: see `read_limit`; a line for each.
    """
    from octavo.schema.budget import Budget

    limits, problems = dict[str, float](), list[OctavoError]()
    for name, text in given.items():
        try:
            limits |= {} if text is None else {name: read_limit(name, text)}
        except InputError as problem:
            problems.append(problem)
    raise_together(problems)
    return Budget(**limits) if limits else None


def read_limit(name: str, text: str) -> float:
    """A limit in the unit of `Budget`.

    Raises:
        InputError: it is not understood, or means nothing.
    """
    from octavo.schema.budget import RANGES

    option, times, points = f"--{name.replace('_', '-')}", name == "min_speedup", name == "max_drop"
    matched = _NUMBER.fullmatch(text)
    if matched is None or matched[2] not in ({"", "x", "X", "×"} if times else {"", "%"}):  # noqa: RUF001
        raise InputError(f"{option} is not understood", got=text, allowed=f"such as {_SUCH_AS[name]}")
    number, (low, high) = float(matched[1]), RANGES[name]
    value = number / 100 if matched[2] == "%" and not points else number
    if not low <= value <= high:
        unit, scale = ("x", 1) if times else ("%", 1 if points else 100)
        then = f"{number:g}% or {number / 100:g}" if value == number > 1 and not times and not points else None
        raise InputError(
            f"{option} is out of range", got=text, allowed=f"{scale * low:g}{unit} to {scale * high:g}{unit}", then=then
        )
    return value
