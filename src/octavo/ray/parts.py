"""Blocks of rows with their answers, as files: JSON lines, CSV, Parquet.

Every row has the answer's fields and `error`, which is null where there is none. A row with an error has no answer. In
CSV and Parquet what is neither a number nor a text is JSON, but embeddings, which Parquet has as lists of float32.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from octavo.files import whole_file
from octavo.inference.jsonl import joined
from octavo.ray.predictor import ERROR
from octavo.schema.documents import json_text

_TYPES = {bool: "bool", int: "int64", float: "float64"}  # of pyarrow


@dataclass(frozen=True)
class Answered:
    """A row: its fields that the model does not read (where something is wrong, all), the answer, or what is wrong."""

    other: Mapping[str, Any]
    answer: Mapping[str, Any] | None
    error: str | None = None

    def told(self, example: Mapping[str, Any]) -> dict[str, Any]:
        """Its answer and its error; `example` is any answer, whose names an absent one has too."""
        return {**(dict.fromkeys(example) if self.answer is None else self.answer), ERROR: self.error}


def write_lines(path: Path, rows: Sequence[Answered], example: Mapping[str, Any]) -> None:
    """As JSON lines, whole or not at all."""
    with whole_file(path) as stream:
        stream.writelines(json_text(joined(row.other, row.told(example))) + "\n" for row in rows)


def write_csv(path: Path, rows: Sequence[Answered], example: Mapping[str, Any], kept: Sequence[str]) -> None:
    """As CSV with the columns `kept` of the input before those of the answers."""
    names = list(joined(dict.fromkeys(kept), {**example, ERROR: None}))
    with whole_file(path) as stream:
        writer = csv.DictWriter(stream, names, restval="")  # its line ends are those that it quotes in a field
        writer.writeheader()
        for row in rows:
            told = {name: _plain(value) for name, value in row.told(example).items()}
            writer.writerow(joined({name: row.other[name] for name in kept if name in row.other}, told))


def write_table(
    path: Path, rows: Sequence[Answered], example: Mapping[str, Any], kept: Sequence[str], table: Any
) -> None:
    """As Parquet: the columns `kept` of the table, with their types, and those of the answers."""
    import pyarrow as pa
    import pyarrow.parquet

    said = {**example, ERROR: ""}
    names = list(joined(dict.fromkeys(kept), said))[: len(kept)]
    written = table.select(list(kept)).rename_columns(names)
    told = [row.told(example) for row in rows]
    for name, value in said.items():
        vectors = name == "embedding"
        kind = pa.list_(pa.float32()) if vectors else _TYPES.get(type(value), "string")
        values = [answer[name] if vectors else _plain(answer[name]) for answer in told]
        written = written.append_column(name, pa.array(values, kind))
    with whole_file(path) as stream:
        pa.parquet.write_table(written, stream.buffer)


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, str | int | float) else json_text(value)
