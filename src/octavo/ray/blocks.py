"""What an actor does with the blocks of a job: reads one, answers its rows, writes a part of the output.

A part is written whole or not at all, and is the same whoever writes it: a block that is done twice, because an actor
or a node was lost, is there once.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from octavo.data.blocks import Block, header, kind_of_file, read_block, read_table
from octavo.data.sentences import SENTENCES
from octavo.encoding.tokenizing import Options
from octavo.errors import DataError, OctavoError
from octavo.inference.asked import finite, read_row
from octavo.inference.generator import Generator
from octavo.inference.predictor import Predictor as Opened
from octavo.ray.cluster import node
from octavo.ray.parts import Answered, write_csv, write_lines, write_table
from octavo.ray.predictor import Predictor
from octavo.schema.signature import require_task
from octavo.tasks.task import Task

Parsed = tuple[Any, Mapping[str, Any], str | None]  # what the task reads of a row, its other fields, what is wrong


@dataclass(frozen=True)
class Asked:
    """How the rows of a job are read, and how they are answered."""

    columns: Mapping[str, str]
    encoding: str
    engine: str = "auto"
    threads: int | None = None
    max_length: int | None = None
    task: str | None = None
    options: Options = field(default_factory=dict)


@dataclass
class Done:
    """What was done: rows, those with an error, those cut at the limit, and tokens, unknown ones among them."""

    rows: int = 0
    errors: int = 0
    truncated: int = 0
    tokens: int = 0
    unknown: int = 0

    def add(self, other: "Done") -> None:
        """Count what another one did."""
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)


class BlockPredictor:
    """For `map_batches` over parts of a job, each `{"part": path, "block": JSON}`; gives `{"told": JSON}`.

    An error of Octavo's is told there, and not raised: the job ends with its message.
    """

    def __init__(self, artifact: Any, asked: Asked) -> None:
        """Open the artifact in this actor; see `octavo.ray.Predictor`."""
        self.asked, self.failed = asked, dict[str, str]()
        try:
            opened: dict[str, Any] = {"engine": asked.engine, "threads": asked.threads, "max_length": asked.max_length}
            self.predictor = Predictor(artifact, **opened).predict_fn.predictor()
            require_task(self.predictor.signature.task, asked.task, "the artifact")
            self.example = example_of(self.predictor, asked.options)
        except OctavoError as error:
            self.failed = _failure(error)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Do parts of the job."""
        parts = zip(batch["part"], batch["block"], strict=True)
        told = [json.dumps(self._try(Path(part), Block(**json.loads(block)))) for part, block in parts]
        return {"told": np.array(told, object)}

    def _try(self, part: Path, block: Block) -> dict[str, Any]:
        if self.failed:
            return self.failed
        try:
            return asdict(self.do(part, block))
        except OctavoError as error:
            return _failure(error)
        except OSError as error:
            return _failure(DataError("a file cannot be read or written", where=f"the node {node()}", got=error))

    def do(self, part: Path, block: Block) -> Done:
        """Answer a block, and write its part.

        Raises:
            DataError: the file has changed.
        """
        kind, before = kind_of_file(block.file), replace(self.predictor.counts)
        table: Any = read_table(block) if kind == "parquet" else None
        values = read_block(block, self.asked.encoding) if table is None else table.to_pylist()
        parsed = parse_rows(values, block, self.predictor.task, self.asked.columns)
        rows = self._answered(parsed, values, block)
        if table is not None:
            write_table(part, rows, self.example, table.column_names, table)
        elif kind == "csv":  # all columns stay, so that parts have the same, whatever their rows
            whole = [value if isinstance(value, dict) else {} for value in values]
            rows = [replace(row, other=value) for row, value in zip(rows, whole, strict=True)]
            write_csv(part, rows, self.example, header(Path(block.file), self.asked.encoding))
        else:
            write_lines(part, rows, self.example)
        counts, errors = self.predictor.counts, sum(row.error is not None for row in rows)
        more = (getattr(counts, name) - getattr(before, name) for name in ("truncated", "tokens", "unknown"))
        return Done(len(rows), errors, *more)

    def _answered(self, parsed: Sequence[Parsed], values: Sequence[Any], block: Block) -> list[Answered]:
        answers = self._answers([fields for fields, _, error in parsed if error is None], block.first)
        answered = list[Answered]()
        for number, ((_, other, error), value) in enumerate(zip(parsed, values, strict=True)):
            answer, wrong = (None, None) if error else next(answers)
            if wrong:  # the row keeps all its fields
                answered.append(Answered(finite(value), answer, f"{block.place(number)}: {wrong}"))
            else:
                answered.append(Answered(other, answer, error))
        return answered

    def _answers(self, fields: list[Any], first: int) -> Iterator[tuple[dict[str, Any] | None, str | None]]:
        """The answer to each row, or what is wrong with it; where something is, the rows are halved until it is found.

        An answer does not depend on the rows beside it.
        """
        numbered: dict[str, Any] = {"first": first} if isinstance(self.predictor, Generator) else {}
        before = replace(self.predictor.counts)
        try:
            answers = list(self.predictor.stream(fields, **self.asked.options, **numbered)) if fields else []
        except OctavoError as error:
            self.predictor.counts = before
            if len(fields) == 1:
                yield None, str(error).removeprefix("row 0: ")
                return
            half = len(fields) // 2
            yield from self._answers(fields[:half], first)
            yield from self._answers(fields[half:], first + half)
            return
        yield from ((self.predictor.task.to_json(answer), None) for answer in answers)


def parse_rows(values: Sequence[Any], block: Block, task: Task[Any], columns: Mapping[str, str]) -> list[Parsed]:
    """The rows, of which one that cannot be read keeps all of its fields."""
    parsed: list[Parsed] = []
    for number, value in enumerate(values):
        try:
            if isinstance(value, DataError):
                raise value
            parsed.append((*read_row(value, task, columns, block.place(number)), None))
        except DataError as error:
            fields = value if isinstance(value, dict) else {}
            parsed.append((None, finite(fields), str(error)))
    return parsed


def example_of(predictor: Opened | Generator, options: Options) -> dict[str, Any]:
    """An answer, for the names and types of its fields.

    Raises:
        InputError: the options are none of the task's.
    """
    text, pair = (SENTENCES[0], None) if predictor.task.late else predictor.task.from_texts(SENTENCES[:3])[0]
    if predictor.task.fills and predictor.signature.mask_token_id is not None:
        assert isinstance(predictor, Opened)
        text += f" {predictor.tokenizer.id_to_token(predictor.signature.mask_token_id)}"
    row: Any = text if pair is None else (text, pair)
    return predictor.task.to_json(next(iter(predictor.stream([row], **options))))


def _failure(error: OctavoError) -> dict[str, str]:
    return {"kind": type(error).__name__, "failed": str(error)}
