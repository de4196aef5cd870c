"""Which files an ONNX file keeps tensors in: read from its bytes as they lie, so that nothing large is read or made.

A protobuf message is a row of fields, each a key (its number, and how it is stored) and a value. What has a length is
jumped over unless it can hold a tensor. Numbers of fields: onnx.proto.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path

from octavo.errors import ArtifactError

_INNER = {  # message -> number of a field -> the message that it is
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},  # a key and a value of external_data
}
_KEY, _VALUE = 1, 2
_FIXED = {1: 8, 5: 4}  # bytes of a value, by how it is stored


def external_locations(file: Path) -> set[str]:
    """The places of external data that an ONNX file names, as they stand there.

    Raises:
        ArtifactError: these are not the bytes of a protobuf message.
    """
    places = set()
    try:
        with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            left = [("model", 0, len(data))]
            while left:
                kind, start, end = left.pop()
                inner = _INNER.get(kind, {})
                fields = [field for field in _fields(data, start, end) if kind == "entry" or field[0] in inner]
                if kind == "entry":
                    texts = {number: data[begin:stop] for number, begin, stop in fields}
                    if texts.get(_KEY) == b"location":
                        places.add(texts.get(_VALUE, b"").decode())
                left += [(inner[number], begin, stop) for number, begin, stop in fields if number in inner]
    except (ValueError, IndexError) as error:
        raise ArtifactError("this is not an ONNX model", where=file, got=error) from None
    return places


def _fields(data: mmap.mmap, place: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The fields of a message that have a length: their numbers, and where their bytes begin and end."""
    while place < end:
        key, place = _varint(data, place)
        stored = key & 7
        if not key >> 3:
            raise ValueError(f"a field without a number at byte {place}")
        if stored == 2:
            length, place = _varint(data, place)
            yield key >> 3, place, place + length
            place += length
        elif stored == 0:
            _, place = _varint(data, place)
        elif stored in _FIXED:
            place += _FIXED[stored]
        else:
            raise ValueError(f"a field that is stored as {stored} at byte {place}")
    if place != end:
        raise ValueError(f"a field that ends behind its message, at byte {place}")


def _varint(data: mmap.mmap, place: int) -> tuple[int, int]:
    """A number in 7 bits a byte, the lowest first, and the place behind it."""
    byte = data[place]
    if byte < 0x80:
        return byte, place + 1
    number = byte & 0x7F
    for shift in range(7, 70, 7):
        place += 1
        byte = data[place]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, place + 1
    raise ValueError(f"a number without an end at byte {place}")
