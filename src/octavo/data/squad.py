"""Files of questions -> examples: SQuAD's JSON (KorQuAD 1.0, TyDi QA gold passages, XQuAD), or one question a row."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from octavo.data.examples import DataFile, Example, sample, text_of
from octavo.data.rows import listed, parse_json, read_rows, read_text
from octavo.errors import DataError

EXTENSIONS = (".json", ".jsonl", ".ndjson")


def read_squad(file: DataFile) -> tuple[Example, ...]:
    """The questions of a file, each with its context and answers, sampled by the limit and seed of `file`.

    A question that is marked as impossible, or has an empty list of answers, has none; one without `answers`, or with
    answers that were left out (empty texts, as in the development sets of TyDi QA), is asked without being scored. A
    row has `question`, `context` and perhaps `answers`, as SQuAD writes them or as `{"text": [...]}`.

    Raises:
        DataError: the file cannot be read, a question has no context, or an answer is not in it.
    """
    examples = [_example(row, place) for place, row in read_questions(file)]
    if not examples:
        raise DataError("no questions", where=file.path)
    return sample(examples, file.limit, file.seed)


def read_questions(file: DataFile) -> Iterator[tuple[str, dict[str, Any]]]:
    """The questions of a file as rows, each with its place; `context` beside the fields that SQuAD gives a question.

    Raises:
        DataError: the file cannot be read.
    """
    path = Path(file.path)
    if file.columns:
        got = ", ".join(f"{role}={name}" for role, name in file.columns.items())
        raise DataError("files of questions have their columns by name", got=got, allowed="no --columns")
    text = read_text(path, file.encoding, EXTENSIONS)
    whole = parse_json(text, path, "one question a line is a .jsonl") if path.suffix.lower() == ".json" else None
    articles: Any = whole.get("data") if isinstance(whole, dict) else None
    nested = isinstance(articles, list) and any(isinstance(item, dict) and "paragraphs" in item for item in articles)
    return _questions(articles, path) if nested else iter(read_rows(path, file.encoding, {}))


def _questions(articles: list[Any], path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each question of SQuAD's nested form, as a row, with its place."""
    for number, article in enumerate(articles, start=1):
        place = f"{path}, article {number}"
        try:
            for paragraph in article["paragraphs"]:
                for question in paragraph["qas"]:
                    where = f"{place}, question {question.get('id', question.get('question', ''))!s:.60}"
                    yield where, {**question, "context": paragraph["context"]}
        except (KeyError, TypeError, AttributeError) as error:
            allowed = '{"paragraphs": [{"context": ..., "qas": [{"question": ..., "answers": [...]}]}]}'
            got = f"{type(error).__name__}: {error}"
            raise DataError("not as SQuAD writes it", where=place, got=got, allowed=allowed) from None


def _example(row: dict[str, Any], place: str) -> Example:
    if not all(isinstance(row.get(name), str) and row[name] for name in ("question", "context")):
        raise DataError(
            "a row needs a question and a context", where=place, got=listed(row), allowed="question, context"
        )
    question, context = (text_of(row, name, place) for name in ("question", "context"))
    if "answers" not in row:
        return Example(question, context, answers=() if row.get("is_impossible") else None)
    stored = row["answers"]
    texts = stored.get("text") if isinstance(stored, dict) else stored
    if not isinstance(texts, list):
        raise DataError(
            "answers are no list", where=place, got=f"{stored!r:.60}", allowed='[{"text": ...}] or {"text": [...]}'
        )
    texts = [answer.get("text") if isinstance(answer, dict) else answer for answer in texts]
    for text in texts:
        if not isinstance(text, str) or text not in context:
            then = "an impossible question has no answers: []"
            raise DataError("an answer is not in the context", where=place, got=f"{text!r:.60}", then=then)
    if row.get("is_impossible"):
        texts = []
    known = tuple(dict.fromkeys(text for text in texts if text))
    return Example(question, context, answers=known if known or not texts else None)
