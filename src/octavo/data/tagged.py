"""Files of tagged words -> examples: columns with blank lines between sentences (CoNLL, WikiAnn, KLUE-NER), or JSON."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from octavo.data.examples import DataFile, Example, sample, text_of
from octavo.data.rows import Rows, check_roles, listed, read_rows, read_text
from octavo.data.tags import types
from octavo.errors import DataError

COLUMNED = (".tsv", ".conll", ".conllu", ".conll2003", ".bio", ".iob", ".iob2", ".bioes", ".txt", ".annotated")
JSON = (".json", ".jsonl", ".ndjson")
WORDS = ("tokens", "words")
TAGS = ("ner_tags", "tags", "labels")
COLUMNS = {"text": "1", "label": "-1"}  # the first column and the last
ROLES = ("text", "label")
Sentence = tuple[str, list[str], list[str] | None]  # place, words, tags


def read_tagged(file: DataFile, labels: Sequence[str] = ()) -> tuple[Example, ...]:
    """The sentences of a file with their tags, where it has some, sampled by the limit and seed of `file`.

    Columns are separated by tabs, or by blanks in a file without tabs; the first is the word and the last its tag, or
    those that `file.columns` gives as `text` and `label` by position. Blank lines end sentences; lines of `-DOCSTART-`,
    and in a file with tabs those that begin with `# ` or `## `, are left out. Where a blank is tagged as a word is, as
    in KLUE-NER, words are characters. JSON has objects of `tokens` and `ner_tags`, of `tokens` alone, or of `text`. A
    `.txt` that is not in columns has a text a line.

    Args:
        file: the file.
        labels: the model's tags in id order. Without them tags are not looked at, and not needed.

    Raises:
        DataError: the file cannot be read or has no sentence, a line has one column, or tags are of types that the
            model does not have.
    """
    path, named = Path(file.path), dict(file.columns or {})
    suffix = path.suffix.lower()
    check_roles(named, ROLES)
    text = read_text(path, file.encoding, (*COLUMNED, *JSON))
    if suffix == ".txt" and not named and not _in_columns(text):
        return file.read()
    if suffix in JSON:
        rows = read_rows(path, file.encoding, {})
        column = named.get("text", "text")
        bare = all(isinstance(row.get(column), str) and not {*WORDS, *TAGS} & set(row) for _, row in rows)
        if bare and "label" not in named:
            return replace(file, columns={"text": column}).read()
        sentences = _from_json(rows, named, labels)
    else:
        sentences = _from_columns(text, path, COLUMNS | named)
    if not sentences:
        raise DataError("no sentences", where=path)
    if labels:
        _check_types(sentences, labels)
    # Where words are characters a blank is a word too; elsewhere it is not.
    characters = all(len(word) == 1 for _, words, _ in sentences for word in words) and any(
        not word.strip() for _, words, _ in sentences for word in words
    )
    return sample([_example(words, tags, characters=characters) for _, words, tags in sentences], file.limit, file.seed)


def words_as_text(row: Mapping[str, Any], place: str) -> tuple[str, str] | None:
    """The text that a row's list of words makes, and the name of that list; None where a row has none.

    Raises:
        DataError: a word is no text.
    """
    name = next((key for key in WORDS if key in row), None)
    if name is None:
        return None
    ((_, words, _),) = _from_json([(place, {name: row[name]})], {}, ())
    return _example(words, None, characters=all(len(word) == 1 for word in words) and " " in words).text, name


def _in_columns(text: str) -> bool:
    """Whether a text is words in columns: two in each line, or most lines end in a tag, whatever the others have."""
    lines = [line.split() for line in text.split("\n") if line.strip()]
    tags = [line[-1] for line in lines if line[-1] == "O" or re.fullmatch(r"[BIESLU]-\S+|\S+[-_][BIESLU]", line[-1])]
    return {len(line) for line in lines} == {2} or 2 * len(tags) > len(lines)


def _example(words: Sequence[str], tags: Sequence[str] | None, *, characters: bool) -> Example:
    between, text, spans, kept = "" if characters else " ", "", [], []
    for word, tag in zip(words, tags or [""] * len(words), strict=True):
        if word.strip():  # a blank inside an entity belongs to it and has no tag of its own
            text += between if text else ""
            spans.append((len(text), len(text) + len(word)))
            kept.append(tag)
        if word.strip() or characters:
            text += word
    return Example(text, words=tuple(spans), tags=tuple(kept) if tags is not None else None)


def _from_columns(text: str, path: Path, columns: Mapping[str, str]) -> list[Sentence]:
    try:
        word_at, tag_at = (_index(columns[role]) for role in ("text", "label"))
    except ValueError:
        got = ", ".join(f"{role}={name}" for role, name in columns.items())
        raise DataError(
            "columns of tagged words are given by position", got=got, allowed="--columns text=1,label=4"
        ) from None
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    tabs = any("\t" in line for line in lines if line.strip() and not line.startswith("#"))
    sentences: list[Sentence] = []
    words: list[str] = []
    tags: list[str] = []
    for number, line in enumerate([*lines, ""], start=1):
        if not line.strip():
            if words:
                sentences.append((f"{path}, line {number - len(words)}", words, tags))
            words, tags = [], []
            continue
        if line.startswith("-DOCSTART-") or (tabs and re.match(r"##? ", line)):
            continue
        fields = line.split("\t") if tabs else line.split()
        try:
            word, tag = fields[word_at], fields[tag_at].strip()
        except IndexError:
            word = tag = ""
        if len(fields) < 2 or not tag or not word:
            got = f"{len(fields)} column" + ("s" if len(fields) > 1 else "")
            then = "write a word and its tag a line, with a tab between, and a blank line behind each sentence"
            raise DataError(
                "a line needs a word and a tag", where=f"{path}, line {number}", got=f"{got}: {line!r:.40}", then=then
            )
        words.append(word)
        tags.append(tag)
    return sentences


def _index(position: str) -> int:
    """A 1-based position, or a negative one from the end, as an index."""
    number = int(position)
    return number - 1 if number > 0 else number


def _from_json(rows: Rows, named: Mapping[str, str], labels: Sequence[str]) -> list[Sentence]:
    sentences: list[Sentence] = []
    tagged = any(key in row for _, row in rows for key in ([named["label"]] if "label" in named else TAGS))
    if "label" in named and not tagged:
        place, row = rows[0]
        raise DataError("no such column for label", where=place, got=named["label"], allowed=listed(row))
    for place, row in rows:
        word_key = named.get("text") or next((key for key in WORDS if key in row), WORDS[0])
        tag_key = named.get("label") or next((key for key in TAGS if key in row), TAGS[0])
        words, tags = row.get(word_key), row.get(tag_key)
        if not isinstance(words, list) or not words or not all(isinstance(word, str) and word for word in words):
            allowed = f"a list of words under {' or '.join(WORDS)}"
            raise DataError("a row has no words", where=place, got=listed(row), allowed=allowed)
        words = [text_of({"a word": word}, "a word", place) for word in words]
        if not tagged or (tags is None and not labels):
            sentences.append((place, words, None))
            continue
        if not isinstance(tags, list) or len(tags) != len(words):
            got = listed(row) if tags is None else f"{len(words)} words and {tags!r:.60}"
            raise DataError("a row needs a tag for each word", where=place, got=got, allowed=" or ".join(TAGS))
        sentences.append((place, words, [_named(tag, labels, place) for tag in tags]))
    return sentences


def _named(tag: Any, labels: Sequence[str], place: str) -> str:
    """The name of a tag; the model's where the file has an id."""
    if isinstance(tag, int) and not isinstance(tag, bool) and (not labels or 0 <= tag < len(labels)):
        return labels[tag] if labels else str(tag)
    if not isinstance(tag, str):
        allowed = f"names, or ids from 0 to {len(labels) - 1}"
        raise DataError("a tag is neither a name nor an id", where=place, got=f"{tag!r:.40}", allowed=allowed)
    return tag


def _check_types(sentences: Sequence[Sentence], labels: Sequence[str]) -> None:
    """See that the model has each type of entity that the file has.

    Raises:
        DataError: it does not; both sides are listed.
    """
    known = types(labels)
    strange = [(place, tag) for place, _, tags in sentences for tag in tags or () if set(types([tag])) - set(known)]
    if strange:
        stored = types(tag for _, _, tags in sentences for tag in tags or ())
        place, tag = strange[0]
        raise DataError(
            f"the model has no tag {tag!r}",
            where=place,
            got=f"{listed(stored)} in the file",
            allowed=listed(known) if known else listed(labels),
            then="give the model's tags in id order, by the names of the file, with --labels",
        )
