"""Large files in parts: where each block of rows begins, and the rows of one, without the rest of the file.

JSON lines, CSV and Parquet. A row that cannot be read is an error in its place, and the others are read.
"""

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import accumulate, groupby, islice
from pathlib import Path
from typing import IO, Any

from octavo.data.json_text import parse_json
from octavo.data.rows import check_length, longest_line
from octavo.errors import DataError, MissingExtraError

KINDS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}
Value = Any  # the value of a row, or the DataError of one that cannot be read
_MARK = len(codecs.BOM_UTF8)


@dataclass(frozen=True)
class Block:
    """Rows of a file, `rows` of them from number `first` on, from 0.

    They are the bytes from `start` to `end`; of Parquet the part number `end` of the row group `start`, of which each
    part has `part` rows, the last perhaps fewer.
    """

    file: str
    first: int
    rows: int
    start: int
    end: int
    part: int

    def place(self, row: int) -> str:
        """Where its row is, in words."""
        return f"{self.file}, row {self.first + row + 1}"


def kind_of_file(path: str | Path) -> str:
    """`jsonl`, `csv` or `parquet`, by the ending.

    Raises:
        DataError: it is none of these, or there is no such file.
    """
    path = Path(path)
    if path.suffix.lower() not in KINDS:
        raise DataError("a file that is not read in blocks", got=path, allowed=", ".join(KINDS))
    if not path.is_file():
        raise DataError("no such data file", got=path)
    return KINDS[path.suffix.lower()]


def cut(path: Path, encoding: str, rows: int) -> list[Block]:
    """A file as blocks of so many rows; blank lines are none.

    Raises:
        DataError: it is no such file, a line is too long, or the quoting is broken.
    """
    kind = kind_of_file(path)
    if kind == "parquet":
        return list(_cut_parquet(path, rows))
    with _lines(path, encoding) as lines:
        ends = _csv_ends(lines, path) if kind == "csv" else _json_ends(lines, path)
        blocks, start = list[Block](), next(ends, 0)  # of an empty file nothing ends
        while row_ends := list(islice(ends, rows)):
            blocks.append(Block(str(path), len(blocks) * rows, len(row_ends), start, row_ends[-1], rows))
            start = row_ends[-1]
    return blocks


def join(parts: Sequence[Block], many: int) -> list[Block]:
    """Each `many` parts of a size as one block, those of the last eighth of the blocks, at least four, alone.

    Whoever does the blocks with others waits at the end for a part, and not for a block.
    """
    files = accumulate(part.first == 0 for part in parts)  # a file may be named twice
    numbered = groupby(zip(files, parts, strict=True), lambda pair: (pair[0], _whole(pair[1], many)))
    groups = [[part for _, part in group] for _, group in numbered]
    alone = min(len(groups), max(4, -(-len(groups) // 8)))
    return [*(_join(group, many) for group in groups[:-alone]), *(part for group in groups[-alone:] for part in group)]


def _whole(part: Block, many: int) -> tuple[str, int, int]:
    """The block that it is a part of."""
    parquet = kind_of_file(part.file) == "parquet"
    return (part.file, part.start, part.end // many) if parquet else (part.file, 0, part.first // (part.part * many))


def _join(parts: Sequence[Block], many: int) -> Block:
    first, last = parts[0], parts[-1]
    end = first.end // many if kind_of_file(first.file) == "parquet" else last.end
    return replace(first, rows=sum(part.rows for part in parts), end=end, part=first.part * many)


def read_block(block: Block, encoding: str) -> list[Value]:
    """The rows of a block of JSON lines or CSV, as mappings.

    Raises:
        DataError: the file has other rows than it had.
    """
    path = Path(block.file)
    with path.open("rb") as stream:
        stream.seek(block.start)
        raw = stream.read(block.end - block.start)
    values = _csv_rows(raw, block, encoding) if kind_of_file(path) == "csv" else _json_rows(raw, block, encoding)
    _require_rows(block, len(values))
    return values


def read_table(block: Block) -> Any:
    """The rows of a block of Parquet, as a table of pyarrow.

    Raises:
        DataError: the file has other rows than it had.
    """
    with _parquet(Path(block.file)) as file:
        batches = file.iter_batches(block.part, row_groups=[block.start])
        batch = next(islice(batches, block.end, None), None)
        _require_rows(block, 0 if batch is None else len(batch))
        return _pyarrow().Table.from_batches([batch])


def header(path: Path, encoding: str) -> list[str]:
    """The names of a CSV file's columns."""
    with _lines(path, encoding) as lines:
        names = next(csv.reader(iter(lines.texts)), [])
    if len(set(names)) < len(names):
        raise DataError("two columns have one name", where=path)
    return [name.strip() for name in names]


def _require_rows(block: Block, rows: int) -> None:
    if rows != block.rows:
        where = f"{block.file}, from row {block.first + 1}"
        raise DataError("the file has changed: a block has other rows", where=where, got=rows, allowed=block.rows)


# Lines


class _Lines:
    """The lines of a file as texts; `end` is the byte behind the last that was given."""

    def __init__(self, stream: IO[bytes], path: Path, encoding: str) -> None:
        marked = stream.read(_MARK) == codecs.BOM_UTF8
        self.end = _MARK if marked else 0
        stream.seek(self.end)
        self.stream, self.path, self.encoding, self.texts = stream, path, encoding, self._texts()

    def _texts(self) -> Iterator[str]:
        most = longest_line()
        for number, line in enumerate(iter(lambda: self.stream.readline(most + 1), b""), 1):
            check_length(line, most, f"{self.path}, line {number}")
            self.end += len(line)
            yield line.decode(self.encoding, errors="surrogateescape")


@contextmanager
def _lines(path: Path, encoding: str) -> Iterator[_Lines]:
    """A file's lines, which end at the byte of a line feed.

    Raises:
        DataError: the encoding is unknown, or has more bytes in a line feed.
    """
    try:
        whole = "\n".encode(encoding) == b"\n"
    except LookupError:
        whole = False
    if not whole:
        then = "write the file in UTF-8"
        raise DataError("blocks cannot be cut in this encoding", got=encoding, allowed="utf-8, cp949, ...", then=then)
    with path.open("rb") as stream:
        yield _Lines(stream, path, encoding)


def _json_ends(lines: _Lines, _: Path) -> Iterator[int]:
    """Where the first row begins, and where each ends."""
    yield lines.end
    for line in lines.texts:
        if line.strip():
            yield lines.end


def _csv_ends(lines: _Lines, path: Path) -> Iterator[int]:
    """Where the header ends, and each row."""
    usual = csv.field_size_limit(longest_line())
    number = 0
    try:
        for number, row in enumerate(csv.reader(lines.texts, strict=True)):  # noqa: B007 - told in the error
            if row:
                yield lines.end
    except csv.Error as error:
        raise DataError("the quoting is broken", where=f"{path}, behind row {number}", got=error) from None
    finally:
        csv.field_size_limit(usual)


def _json_rows(raw: bytes, block: Block, encoding: str) -> list[Value]:
    lines = [line for line in raw.split(b"\n") if line.decode(encoding, errors="replace").strip()]
    return [_json_value(line, encoding, block.place(row)) for row, line in enumerate(lines)]


def _json_value(line: bytes, encoding: str, place: str) -> Value:
    try:
        value = parse_json(line.decode(encoding))
    except ValueError as error:
        return DataError("not a line of JSON", where=place, got=error)
    if not isinstance(value, dict):
        return DataError("a row is not a JSON object", where=place, got=type(value).__name__)
    return value


def _csv_rows(raw: bytes, block: Block, encoding: str) -> list[Value]:
    names = header(Path(block.file), encoding)
    usual = csv.field_size_limit(longest_line())
    try:
        text = io.StringIO(raw.decode(encoding, errors="surrogateescape"), newline="")
        rows = [row for row in csv.reader(text, strict=True) if row]
    finally:
        csv.field_size_limit(usual)
    return [_csv_value(row, names, block.place(number)) for number, row in enumerate(rows)]


def _csv_value(row: list[str], names: list[str], place: str) -> Value:
    if len(row) != len(names):
        allowed = f"{len(names)}, as in the first line"
        return DataError("wrong number of columns", where=place, got=len(row), allowed=allowed)
    try:
        "".join(row).encode()
    except UnicodeEncodeError:
        return DataError("the row is not in the encoding", where=place, got=ascii("".join(row))[:80])
    return dict(zip(names, row, strict=True))


# Parquet


def _pyarrow() -> Any:
    try:
        import pyarrow as pa
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("pyarrow is not installed, which reads Parquet", then="pip install pyarrow") from None
    return pa


@contextmanager
def _parquet(path: Path) -> Iterator[Any]:
    pa = _pyarrow()
    try:
        with pa.parquet.ParquetFile(path) as file:
            yield file
    except pa.ArrowInvalid as error:
        raise DataError("this is no Parquet file that can be read", where=path, got=error) from None


def _cut_parquet(path: Path, rows: int) -> Iterator[Block]:
    first = 0
    with _parquet(path) as file:
        for group in range(file.metadata.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            for part in range(-(-count // rows)):
                size = min(rows, count - part * rows)
                yield Block(str(path), first, size, group, part, rows)
                first += size
