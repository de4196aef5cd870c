"""Tags of words and the entities that they mark, in any of the schemes: IOB1, IOB2, IOE, BIOES, BILOU."""

import re
from collections.abc import Iterable, Sequence

Entity = tuple[str, int, int]  # type, first word, last word
_PREFIXED = re.compile(r"([BIESLU])-(.+)", re.DOTALL)
_SUFFIXED = re.compile(r"(.+)[-_]([BIESLU])", re.DOTALL)
ALONE = frozenset("BIESLU")
_BILOU = {"L": "E", "U": "S"}


def split_tag(tag: str) -> tuple[str, str]:
    """The place in an entity (B, I, E, S or O) and the entity's type; `PER`, without a place, is inside.

    A place alone has the type `_`, as in seqeval.
    """
    if tag == "O":
        return "O", ""
    if tag in ALONE:
        return _BILOU.get(tag, tag), "_"
    if prefixed := _PREFIXED.fullmatch(tag):
        place, kind = prefixed.groups()
    elif suffixed := _SUFFIXED.fullmatch(tag):
        kind, place = suffixed.groups()
    else:
        place, kind = "I", tag
    return _BILOU.get(place, place), kind


def entities(tags: Sequence[str]) -> list[Entity]:
    """The entities that the tags of words mark, by conlleval's rules, which read every scheme (Tjong Kim Sang 2000).

    As seqeval's `get_entities`: an entity goes on while the type stays and no B or S begins another, and no E ended it.
    """
    spans: list[Entity] = []
    before, kind_before, begin = "O", "", 0
    for index, tag in enumerate([*tags, "O"]):
        place, kind = split_tag(tag)
        if before != "O" and (before in "ES" or place in "BSO" or kind != kind_before):
            spans.append((kind_before, begin, index - 1))
        if place != "O" and (place in "BS" or before in "ESO" or kind != kind_before):
            begin = index
        before, kind_before = place, kind
    return spans


def as_iob2(tags: Sequence[str]) -> list[str]:
    """The same entities in IOB2, so that tags of two schemes can be compared word by word."""
    converted = ["O"] * len(tags)
    for kind, first, last in entities(tags):
        converted[first : last + 1] = [f"B-{kind}"] + [f"I-{kind}"] * (last - first)
    return converted


def spread(tag: str, count: int) -> list[str]:
    """The tag of one token as the tags of the `count` words, or characters, that it covers."""
    place, kind = split_tag(tag)
    if count == 1 or place == "O":
        return [tag] * count
    inside = [f"I-{kind}"] * count
    inside[0] = f"B-{kind}" if place in "BS" else inside[0]
    inside[-1] = f"E-{kind}" if place in "ES" else inside[-1]
    return inside


def types(tags: Iterable[str]) -> list[str]:
    """The types of entities that tags name, in the order in which they first come."""
    return list(dict.fromkeys(kind for tag in tags for _, kind in (split_tag(tag),) if kind))
