"""The error of each layer as a heat map, block by block, for the terminal and the page."""

from collections.abc import Mapping

from octavo.reporting.languages import Say, english
from octavo.schema.layers import ROLES, place_of

COLOUR_STEPS = (20.0, 25.0, 30.0, 35.0)  # decibels at which the colour changes


def heat_cells(errors: Mapping[str, float], say: Say = english) -> list[list[str]]:
    """Rows of blocks, columns of what is in them, decibels in between; `errors` are those of module paths.

    A cell has the worst of its layers, and is empty where there is none. No rows where no layer is in a block.
    """
    blocks: dict[int, dict[str, float]] = {}
    for path, error in errors.items():
        place = place_of(path)
        if place is not None:
            block = blocks.setdefault(place[0], {})
            block.update({role: min(error, block.get(role, error)) for role in place[1]})
    rows = [
        [str(block), *(f"{roles[role]:.1f}" if role in roles else "" for role in ROLES)]
        for block, roles in sorted(blocks.items())
    ]
    return [[say("block"), *ROLES], *rows] if rows else []


def other_cells(errors: Mapping[str, float], say: Say = english) -> list[list[str]]:
    """The layers that the map has no place for: embeddings and head."""
    rows = ([path, f"{error:.1f}"] for path, error in errors.items() if place_of(path) is None)
    return [[say("layer"), say("dB")], *rows]


def heat_level(decibels: float) -> int:
    """0 for the worst colour to 4 for the best."""
    return sum(decibels >= step for step in COLOUR_STEPS)
