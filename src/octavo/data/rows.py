"""Files -> rows: column -> value, each with its place in words. It knows formats and not what a column means.

TSV (no quoting at all), CSV, JSON lines, JSON (a list of objects, or an object with a `data` list), and plain text of
one row a line.
"""

import codecs
import csv
import io
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from octavo.data import json_text
from octavo.errors import DataError, did_you_mean

EXTENSIONS = (".tsv", ".csv", ".jsonl", ".ndjson", ".json", ".txt")
# A byte-order mark is surer than what a user knows of a file, so it goes before the encoding that was asked for.
BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
NO_HEADER = "where the file has no header, give positions, such as --columns text=1,label=2"
LINES_OF_A_FILE = 100  # as long as a line may be: more is not read into memory
LONGER = "allow more with OCTAVO_MAX_LINE=BYTES"
_Fields = list[tuple[int, list[str]]]  # (line number, the fields of that line)
Rows = list[tuple[str, dict[str, Any]]]  # (the row's place in words, column -> value)


def read_rows(path: Path, encoding: str, named: Mapping[str, str]) -> Rows:
    """The rows of a file of any format, at least one; `named` is role -> column, as the user gave it."""
    text = read_text(path, encoding)
    if not text.strip():
        raise DataError("the file is empty", where=path)
    suffix = path.suffix.lower()
    if suffix in (".tsv", ".csv"):
        rows = _table(_tsv_fields(text) if suffix == ".tsv" else _csv_fields(text, path), path, named)
    elif suffix == ".txt":
        lines = enumerate(text.split("\n"), start=1)
        rows = [(f"{path}, line {number}", {"text": line.strip()}) for number, line in lines if line.strip()]
    else:
        rows = _json_values(text, path) if suffix == ".json" else _json_lines(text, path)
        for place, value in rows:
            if not isinstance(value, dict):
                raise DataError("a row is not a JSON object", where=place, got=type(value).__name__)
    if not rows:
        raise DataError("no rows", where=path)
    return rows


def check_roles(columns: Iterable[str], roles: Sequence[str]) -> None:
    """Refuse columns that are given for a role which the format does not have.

    Raises:
        DataError: there is one.
    """
    for role in columns:
        if role not in roles:
            raise DataError("columns are given for an unknown role", got=role, allowed=did_you_mean(role, roles))


def column_names(rows: Rows) -> list[str]:
    """The columns of all rows, in the order in which they first come."""
    return list(dict.fromkeys(name for _, row in rows for name in row))


def read_text(path: Path, encoding: str, extensions: Sequence[str] = EXTENSIONS) -> str:
    """The file's text, without a byte-order mark and with its line ends as they are.

    Raises:
        DataError: there is no such file, it has another ending, or is in another encoding.
    """
    most = longest_line()
    try:
        if path.is_dir():
            raise DataError("a data file is expected, and this is a folder", got=path)
        if path.suffix.lower() not in extensions:
            raise DataError("unknown kind of data file", got=path, allowed=", ".join(extensions))
        if path.exists() and not path.is_file():  # one that never ends
            raise DataError("a data file is expected, and this is a pipe or a device", got=path)
        if path.stat().st_size > LINES_OF_A_FILE * most:
            got, allowed = f"{path.stat().st_size:,} bytes", f"{LINES_OF_A_FILE * most:,}"
            raise DataError("the data file is too large", where=path, got=got, allowed=allowed, then=LONGER)
        raw = path.read_bytes()
    except FileNotFoundError:
        raise DataError("no such data file", got=path) from None
    except OSError as error:
        raise DataError("the data file cannot be read", got=error) from None
    encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if raw.startswith(mark)), encoding)
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        place, got = f"{path}, line {_line_of(error)}", f"byte 0x{error.object[error.start]:02x}"
        suggested = "utf-8" if codecs.lookup(encoding).name == "cp949" else "cp949"
        raise DataError(f"the file is not {encoding}", where=place, got=got, then=f"--encoding {suggested}") from None
    except (LookupError, ValueError):  # ValueError: codecs that are there but are not for files, such as "undefined"
        raise DataError("unknown text encoding", got=encoding, allowed="utf-8, cp949, utf-16, ...") from None
    if path.suffix.lower() not in {".json", ".csv"}:  # JSON may be one line; of CSV each field is checked
        _check_lines(text, path, most)
    return text


def _line_of(error: UnicodeDecodeError) -> int:
    """The line of a bad byte."""
    before = error.object[: error.start]
    try:  # line ends are counted in the text: in UTF-16, 0x0A may be half of a letter
        return 1 + before.decode(error.encoding, errors="replace").count("\n")
    except (LookupError, ValueError):  # a codec that calls itself by a name that Python does not know
        return 1 + before.count(b"\n")


def longest_line() -> int:
    """The bytes that a line, or a text in it, may have in UTF-8: 10 million, or `OCTAVO_MAX_LINE`.

    Raises:
        DataError: that is no such number.
    """
    asked = os.environ.get("OCTAVO_MAX_LINE", "10000000")
    if not (asked.isascii() and asked.isdigit() and 0 < len(asked) < 15):
        raise DataError("OCTAVO_MAX_LINE is no number of bytes", got=asked[:40], allowed="such as 10000000")
    return int(asked)


def check_length(text: str | bytes, most: int, where: object) -> None:
    """Refuse a line or a text that is too long to be meant: a tokenizer needs a hundred times its bytes.

    Raises:
        DataError: it is.
    """
    if 4 * len(text) > most:  # a character has four bytes at most
        size = len(text.encode(errors="replace") if isinstance(text, str) else text)
        if size > most:
            raise DataError("too long for a row", where=where, got=f"{size:,} bytes", allowed=f"{most:,}", then=LONGER)


def _check_lines(text: str, path: Path, most: int) -> None:
    start, number = 0, 1
    while 4 * (len(text) - start) > most:
        end = text.find("\n", start)
        if end < 0:
            check_length(text[start:], most, f"{path}, line {number}")
            return
        if 4 * (end - start) > most:
            check_length(text[start:end], most, f"{path}, line {number}")
        start, number = end + 1, number + 1


def _tsv_fields(text: str) -> _Fields:
    """Lines split at tabs. Neither `csv` nor `splitlines`: quotes, a lone carriage return and U+2028 are text here."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return [(number, line.split("\t") if line else []) for number, line in enumerate(lines, start=1)]


def _csv_fields(text: str, path: Path) -> _Fields:
    """Rows as `csv` reads them, each with the number of its first line."""
    fields: _Fields = []
    start = 1
    # Strict, since the lenient reader swallows rows behind a stray quote without a word.
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    # The usual limit of 131,072 characters refuses long documents; a field cannot be longer than the text.
    usual_limit, most = csv.field_size_limit(len(text)), longest_line()
    try:
        for row in reader:
            for field in row:
                check_length(field, most, f"{path}, line {start}")
            fields.append((start, row))
            start = reader.line_num + 1
    except csv.Error as error:
        then = 'write a quote inside quotes as "", or save the file as .tsv, which has no quoting'
        raise DataError("the quoting is broken", where=f"{path}, line {start}", got=error, then=then) from None
    finally:
        csv.field_size_limit(usual_limit)
    return fields


def _table(fields: _Fields, path: Path, named: Mapping[str, str]) -> Rows:
    """Rows under the names of the first one, or under "1", "2", ... where `named` gives positions."""
    last = max((index for index, (_, values) in enumerate(fields) if values), default=0)
    fields = [(line, values or [""]) for line, values in fields[: last + 1]]  # a blank line between others is a row
    header = [name.strip() for name in fields[0][1]]
    wanted = set(named.values())
    if wanted and all(name.isdecimal() for name in wanted) and not wanted <= set(header):
        header = [str(position) for position in range(1, len(header) + 1)]
    else:
        fields = fields[1:]
    twice = [name for name, number in Counter(header).items() if name and number > 1]
    if twice:
        raise DataError("two columns have one name", where=path, got=listed(twice), then=NO_HEADER)
    expected = f"{len(header)}, as in the first line"
    for line, values in fields:
        if len(values) != len(header):
            raise DataError("wrong number of columns", where=f"{path}, line {line}", got=len(values), allowed=expected)
    return [(f"{path}, line {line}", dict(zip(header, values, strict=True))) for line, values in fields]


def _json_lines(text: str, path: Path) -> list[tuple[str, Any]]:
    """The value of each line that is not blank, with its place."""
    then = "write one JSON object a line; a list of objects is a .json"
    lines = [(f"{path}, line {number}", line) for number, line in enumerate(text.split("\n"), start=1)]
    return [(place, parse_json(line, place, then)) for place, line in lines if line.strip()]


def _json_values(text: str, path: Path) -> list[tuple[str, Any]]:
    """The values of the list that the file is, or that it has under `data`, with their places."""
    whole = parse_json(text, path, "one object a line is a .jsonl")
    values = whole.get("data") if isinstance(whole, dict) else whole
    if not isinstance(values, list):
        got = f"an object with {listed(whole)}" if isinstance(whole, dict) else type(whole).__name__
        raise DataError("no rows", where=path, got=got, allowed="a list of objects, or an object with a data list")
    return [(f"{path}, row {number}", value) for number, value in enumerate(values, start=1)]


def parse_json(text: str, where: object, then: str) -> Any:
    """The text as JSON; `then` is what an error advises."""
    try:
        return json_text.parse_json(text)
    except ValueError as error:
        raise DataError("not JSON", where=where, got=error, then=then) from None


def value_of(row: Mapping[str, Any], column: str, place: str) -> Any:
    """The row's value of a column, which a row of JSON may lack."""
    if column not in row:
        raise DataError(f"a row has no {column!r}", where=place, got=listed(row))
    return row[column]


def without(row: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """A row's other fields than these."""
    left_out = set(names)
    return {name: value for name, value in row.items() if name not in left_out}


def listed(names: Iterable[str]) -> str:
    """Up to 12 names, and how many more there are."""
    names = [shortened(name) for name in names]
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if names[12:] else "")


def shortened(name: str) -> str:
    """A name, or its beginning: the first line of a file without a header can be a paragraph."""
    return name if len(name) <= 40 else f"{name[:37]}..."
