"""Rows to be predicted, and what else they have: from a file as `compare` reads it, a stream, or memory.

JSON lines are read one by one, whatever their number; other files as a whole.
"""

import json
import sys
from codecs import BOM_UTF8
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from octavo.data.examples import DataFile
from octavo.data.json_text import parse_json
from octavo.data.rows import check_length, longest_line
from octavo.errors import DataError
from octavo.schema.documents import not_finite
from octavo.tasks.task import Task

WHOLE = (".tsv", ".csv", ".json", ".txt")  # and what files of tagged words are called (`data.tagged`)
TEXTS = (".conll", ".conllu", ".conll2003", ".bio", ".iob", ".iob2", ".bioes", ".annotated")
_Placed = Iterable[tuple[str, Any]]  # rows, each with its place in words


class AskedRows:
    """Rows as a call takes them, one after the other; `others` are the fields of each that the model does not read.

    `total` is how many there are, None where that is not known before the end.
    """

    def __init__(self, source: str | Path | Sequence[Any], columns: Mapping[str, str] | None, encoding: str) -> None:
        """Look at the source, and read nothing yet.

        Raises:
            DataError: there is no such file.
        """
        self.source, self.file = source, DataFile("", encoding, columns)
        self.others: deque[dict[str, Any]] = deque()
        self.total: int | None = None
        if isinstance(source, str | Path) and str(source) != "-":
            _require_file(Path(source))
            self.file = DataFile(source, encoding, columns)

    @property
    def is_there(self) -> bool:
        """Whether all rows are there before any is asked for, as those of files and lists are."""
        return not isinstance(self.source, str | Path) or str(self.source) != "-"

    def read(self, task: Task[Any]) -> Iterator[Any]:
        """The rows; see the class.

        Raises:
            DataError: the file cannot be read, or, later, a row is not what the task reads; the message names it.
        """
        if not isinstance(self.source, str | Path):
            rows: _Placed = [(f"row {number}", row) for number, row in enumerate(self.source)]
            self.total = len(self.source)
        elif str(self.source) == "-":
            rows = _json_lines(sys.stdin.buffer, "standard input", self.file.encoding)
        elif _is_whole(Path(self.source), self.file.encoding):
            rows = task.read_rows(self.file)
            self.total = len(rows)
        else:
            rows, self.total = _lines_of(Path(self.source), self.file.encoding), _count_lines(Path(self.source))
        return self._fields(rows, task)

    def _fields(self, rows: _Placed, task: Task[Any]) -> Iterator[Any]:
        for place, row in rows:
            is_line = isinstance(self.source, str | Path)
            fields, other = read_row(row, task, self.file.columns or {}, place, is_line=is_line)
            self.others.append(other)
            yield fields


def read_row(
    row: Any, task: Task[Any], columns: Mapping[str, str], place: str, *, is_line: bool = True
) -> tuple[Any, dict[str, Any]]:
    """What a task reads of a row, and its other fields, in which no number is NaN or infinite.

    `is_line`: it is of a file, where a row is an object.

    Raises:
        DataError: it is not what the task reads; the message names its place.
    """
    split = isinstance(row, dict)
    fields, other = task.split_row(row, columns, place) if split else (row, {})
    key, value = task.keys[0], fields.get(task.keys[0]) if isinstance(fields, dict) else None
    if (isinstance(fields, dict) or is_line) and not isinstance(value, str):
        then = f"name the columns, such as --columns {key}=NAME" if split and row else None
        allowed = f"an object with {', '.join(task.keys)}"
        raise DataError(f"a line needs a {key}", where=place, got=f"{row!r:.80}", allowed=allowed, then=then)
    try:
        task.parse_row(fields)
    except DataError as error:
        raise DataError(f"{place}: {error}") from None
    return fields, finite(other)


def finite(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields as JSON takes them: one with a number that is NaN or infinite is null."""
    return {name: None if not_finite(value) else value for name, value in fields.items()}


def _require_file(path: Path) -> None:
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "a pipe or a device (- reads standard input)"
        raise DataError(f"a data file is expected, and this is {kind}", got=path)
    if not path.exists():
        raise DataError("no such file", got=path, then=None if path.suffix else "a text itself is given with --text")


def _is_whole(path: Path, encoding: str) -> bool:
    """Whether a file is read as a whole: by its ending, but for JSON lines under another name."""
    if path.suffix.lower() in {".json", ".txt"}:
        with path.open("rb") as stream:
            lines = iter(lambda: stream.readline(longest_line()), b"")
            try:
                first = parse_json(next(filter(bytes.strip, lines), b"").removeprefix(BOM_UTF8).decode(encoding))
            except ValueError:
                return True
            squad = path.suffix.lower() == ".json" and isinstance(first, dict) and isinstance(first.get("data"), list)
            return squad or not isinstance(first, dict)
    return path.suffix.lower() in {*WHOLE, *TEXTS} or encoding.lower().replace("_", "-") not in {"utf-8", "utf8"}


def _count_lines(path: Path) -> int:
    with path.open("rb") as stream:
        return sum(block.count(b"\n") for block in iter(lambda: stream.read(1 << 20), b""))


def _lines_of(path: Path, encoding: str) -> Iterator[tuple[str, Any]]:
    with path.open("rb") as stream:
        yield from _json_lines(stream, str(path), encoding)


def _json_lines(lines: IO[bytes], file: str, encoding: str) -> Iterator[tuple[str, Any]]:
    most = longest_line()
    for number, line in enumerate(iter(lambda: lines.readline(most + 1), b""), 1):
        where = f"{file}, line {number}"
        check_length(line, most, where)
        try:
            text = (line.removeprefix(BOM_UTF8) if number == 1 else line).decode(encoding)
            if not text.strip():
                continue
            row = parse_json(text)
            json.dumps(row, ensure_ascii=False).encode()  # halves of surrogate pairs are JSON, but no text
        except ValueError as error:
            raise DataError("not a line of JSON", where=where, got=error) from None
        yield where, row
