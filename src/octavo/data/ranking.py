"""Files of rankings -> examples: a query, the passages to choose from, and how relevant those are that were judged.

Rows of `query`, `passage`, `relevance`; rows of `query`, `positive`, `negative`, each a text or a list; or a folder as
BEIR and MTEB write them: `queries.jsonl`, `corpus.jsonl`, `qrels/test.tsv`, and `top_ranked.jsonl` with the candidates
that a reranker is given.

Passages stand in falling order of their ids, or, where they have none, of the hash of their texts: trec_eval puts equal
scores into that order, and no format gives away which passage is relevant.
"""

import hashlib
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from octavo.data.examples import DataFile, Example, sample, text_of
from octavo.data.rows import check_roles, column_names, listed, read_rows, value_of
from octavo.errors import DataError, OctavoWarning, did_you_mean

ROLES = ("query", "passage", "relevance")
PASSAGE = ("passage", "document", "text")
RELEVANCE = ("relevance", "score", "grade", "label")
POSITIVE = ("positive", "positives", "pos")
NEGATIVE = re.compile(r"negatives?(_\d+)?|neg")
CORPUS, QUERIES, QRELS, TOP_RANKED = "corpus.jsonl", "queries.jsonl", "qrels", "top_ranked.jsonl"


@dataclass
class _Judged:
    """A query: the ids of its candidates, and the grades of those that were judged."""

    text: str
    candidates: dict[str, None] = field(default_factory=dict)
    grades: dict[str, float] = field(default_factory=dict)


def is_ranking(file: DataFile) -> bool:
    """Whether a file is of queries and passages.

    Raises:
        DataError: it cannot be read.
    """
    path, named = Path(file.path), file.columns or {}
    if folder_of(path):
        return True
    if path.is_dir() or path.suffix.lower() not in {".tsv", ".csv", ".jsonl", ".ndjson", ".json"}:
        return False
    if named:
        return "query" in named
    try:
        names = column_names(read_rows(path, file.encoding, {}))
    except DataError:
        return False  # what else reads the file tells what is wrong with it
    return "query" in names and bool({*PASSAGE, *POSITIVE} & set(names))


def folder_of(path: Path) -> Path | None:
    """The folder of a corpus, which a path names, or the file of a split in its `qrels`; None of other paths."""
    folder = path.parent.parent if path.parent.name == QRELS and path.suffix == ".tsv" else path
    return folder if (folder / CORPUS).is_file() and (folder / QRELS).is_dir() else None


def files_of(path: Path) -> list[Path]:
    """The files that a path of rankings stands for: itself, or those of its folder."""
    folder = folder_of(path)
    if folder is None:
        return [path]
    named = [folder / CORPUS, folder / QUERIES, _qrels(path, folder), folder / TOP_RANKED]
    return [file for file in named if file.is_file()]


def read_ranking(file: DataFile, *, shared: bool) -> tuple[Example, ...]:
    """Queries with their passages (`choices`), sampled by the limit and seed of `file`.

    `shared`: every query has all passages of the file, the same tuple, as who searches a corpus has; else its own.

    Raises:
        DataError: the file cannot be read, a row has no query or passage, a passage two grades, or nothing is to be
            ranked.
    """
    path = Path(file.path)
    folder = folder_of(path)
    queries, texts = _read_folder(path, folder, file.encoding) if folder else _read_rows(file)
    if not shared:  # a corpus is searched by every query
        queries = _with_candidates(queries, path)
    if not queries:
        raise DataError("no queries", where=path)
    order = sorted(texts, reverse=True)
    corpus, place = tuple(texts[key] for key in order), {key: index for index, key in enumerate(order)}
    examples = []
    for query in queries:
        ids = None if shared else sorted(query.candidates, reverse=True)
        choices = corpus if ids is None else tuple(texts[key] for key in ids)
        positions = place if ids is None else {key: index for index, key in enumerate(ids)}
        relevance = tuple((positions.get(key, -1), grade) for key, grade in query.grades.items() if grade > 0)
        examples.append(Example(query.text, choices=choices, relevance=relevance))
    if max(len(example.choices) for example in examples) < 2:
        raise DataError("nothing to rank", where=path, got="one passage for each query", allowed="two or more")
    if not shared and all(
        len(example.choices) == sum(at >= 0 for at, _ in example.relevance or ()) for example in examples
    ):
        then = f"write the candidates of each query into {TOP_RANKED}" if folder else "add passages that are not"
        raise DataError("nothing to rank", where=path, got="relevant passages only", then=then)
    return sample(examples, file.limit, file.seed)


def read_pieces(file: DataFile) -> tuple[list[tuple[str, str]], list[str]]:
    """Every query with each of its passages, and all passages: what a model would read. Nothing has to be judged.

    Raises:
        DataError: the file cannot be read, or has no query.
    """
    path = Path(file.path)
    folder = folder_of(path)
    queries, texts = _read_folder(path, folder, file.encoding) if folder else _read_rows(file)
    pairs = [(query.text, texts[key]) for query in queries for key in query.candidates]
    if not pairs:
        raise DataError("no queries", where=path)
    return pairs, list(texts.values())


def _with_candidates(queries: Sequence[_Judged], path: Path) -> list[_Judged]:
    """Those with passages to choose from; of others a warning, as they would count as not found."""
    kept = [query for query in queries if query.candidates]
    if left := len(queries) - len(kept):
        warning = f"{left:,} of {len(queries):,} queries have no candidates in {TOP_RANKED} and are left out"
        warnings.warn(f"{path}: {warning}", OctavoWarning, stacklevel=3)
    return kept


def _read_rows(file: DataFile) -> tuple[list[_Judged], dict[str, str]]:
    path, named = Path(file.path), dict(file.columns or {})
    check_roles(named, ROLES)
    rows = read_rows(path, file.encoding, named)
    names = column_names(rows)
    for role, name in named.items():
        if name not in names:
            raise DataError(f"no such column for {role}", where=path, got=name, allowed=did_you_mean(name, names))
    query = named.get("query", "query")
    passage = named.get("passage") or next((name for name in PASSAGE if name in names), None)
    positive = next((name for name in POSITIVE if name in names), None)
    grade = named.get("relevance") or next((name for name in RELEVANCE if name in names), None)
    queries, texts = dict[str, _Judged](), dict[str, str]()
    for place, row in rows:
        text = text_of(row, query, place)
        graded: list[tuple[str, float | None]]
        if positive and "passage" not in named:
            negatives = [name for name in row if NEGATIVE.fullmatch(name)]
            graded = [(choice, 1.0) for choice in _texts(row, positive, place)]
            graded += [(choice, 0.0) for name in negatives for choice in _texts(row, name, place)]
        elif passage:
            graded = [(text_of(row, passage, place), _grade(row, grade, place) if grade else None)]
        else:
            raise DataError("no passage column", where=path, got=listed(names), allowed=", ".join(PASSAGE))
        if not graded:
            raise DataError("a query without passages", where=place, got=f"{text:.60}")
        _add(queries.setdefault(text, _Judged(text)), texts, graded, place)
    return list(queries.values()), texts


def _add(query: _Judged, texts: dict[str, str], graded: Iterable[tuple[str, float | None]], place: str) -> None:
    for passage, grade in graded:
        key = hashlib.sha256(passage.encode()).hexdigest()
        texts[key] = passage
        query.candidates[key] = None
        if grade is not None and query.grades.setdefault(key, grade) != grade:
            got = f"{query.grades[key]:g} and {grade:g}: {passage:.60}"
            raise DataError("a passage has two grades for one query", where=place, got=got)


def _read_folder(path: Path, folder: Path, encoding: str) -> tuple[list[_Judged], dict[str, str]]:
    texts = {}
    for place, row in read_rows(folder / CORPUS, encoding, {}):
        title = text_of(row, "title", place) if row.get("title") else ""
        texts[_id(row, "_id", place)] = f"{title} {text_of(row, 'text', place)}".strip()
    asked = {_id(row, "_id", at): text_of(row, "text", at) for at, row in read_rows(folder / QUERIES, encoding, {})}
    queries = dict[str, _Judged]()
    for place, row in read_rows(_qrels(path, folder), encoding, {}):
        query_id, passage = _id(row, "query-id", place), _id(row, "corpus-id", place)
        _require(asked, query_id, QUERIES, place)
        _require(texts, passage, CORPUS, place)
        query = queries.setdefault(query_id, _Judged(asked[query_id]))
        query.candidates[passage] = None
        query.grades[passage] = _grade(row, "score", place)
    if (folder / TOP_RANKED).is_file():
        for query in queries.values():
            query.candidates.clear()
        for place, row in read_rows(folder / TOP_RANKED, encoding, {}):
            ids = value_of(row, "corpus-ids", place)
            if not isinstance(ids, list):
                raise DataError("corpus-ids is no list", where=place, got=type(ids).__name__)
            query_id = _id(row, "query-id", place)
            for passage in map(str, ids):
                _require(texts, passage, CORPUS, place)
                if query_id in queries:
                    queries[query_id].candidates[passage] = None
    return list(queries.values()), texts


def _qrels(path: Path, folder: Path) -> Path:
    """The file of grades: the one that was named, `test.tsv`, or the only one.

    Raises:
        DataError: there are several, or none.
    """
    if path != folder:
        return path
    files = sorted((folder / QRELS).glob("*.tsv"))
    chosen = next((file for file in files if file.stem == "test" or len(files) == 1), None)
    if chosen is None:
        got = ", ".join(file.name for file in files) or "none"
        raise DataError("which qrels?", where=folder / QRELS, got=got, then=f"--data {folder}/{QRELS}/NAME.tsv")
    return chosen


def _require(known: Mapping[str, str], key: str, file: str, place: str) -> None:
    if key not in known:
        raise DataError(f"an id that {file} does not have", where=place, got=key[:60])


def _id(row: Mapping[str, Any], column: str, place: str) -> str:
    value = value_of(row, column, place)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise DataError(f"{column} is no id", where=place, got=f"{value!r:.40}")
    return str(value)


def _grade(row: Mapping[str, Any], column: str, place: str) -> float:
    value = value_of(row, column, place)
    try:
        grade = float(value)
    except (TypeError, ValueError, OverflowError):
        grade = float("nan")
    if not abs(grade) < 1e6:
        raise DataError("a relevance is no number", where=place, got=f"{value!r:.40}", allowed="0, 1, or a grade")
    return grade


def _texts(row: Mapping[str, Any], column: str, place: str) -> Sequence[str]:
    """One text, or a list of texts; none where a cell of a table is empty: rows have unlike numbers of passages."""
    value = row.get(column)
    values = value if isinstance(value, list) else [] if value is None or value == "" else [value]
    return [text_of({column: item}, column, place) for item in values]
