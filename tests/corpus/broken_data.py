"""Files of examples and lines of JSON that are broken."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from cases import DEEP, MANY_DIGITS, ROW, Case, copied, generator, predicting

HEAD = "sentence1\tsentence2\tgold_label\n"
PAIR = "공원에서 놀고 있다\t아무도 없다\tcontradiction\n"
LONG = "가나다라마바사아자차 " * 400_000  # 12 MB in UTF-8


def cases() -> Iterator[Case]:
    yield from _tables()
    yield from _things()
    yield from _encodings()
    yield from _damaged_tables()
    yield from _lines()
    yield from _damaged_lines()


def _comparing(name: str, content: bytes, options: tuple[str, ...], folder: Path, base: Path) -> list[object]:
    (folder / name).write_bytes(content)
    artifact = copied(base, "artifact", folder)
    return ["compare", artifact, "--data", folder / name, "--threads", 1, *options]


def _table(title: str, name: str, content: str | bytes, says: str, *options: str, **settings: Any) -> Case:
    data = content if isinstance(content, bytes) else content.encode()
    return Case("data", title, partial(_comparing, name, data, options), says, **settings)


def _tables() -> Iterator[Case]:
    csv = "sentence1,sentence2,gold_label\n"
    texts: list[tuple[str, str, str, str]] = [
        ("an empty file", "d.tsv", "", r"d\.tsv"),
        ("blanks alone", "d.tsv", " \n\t\n ", r"d\.tsv"),
        ("a header alone", "d.tsv", HEAD, r"d\.tsv"),
        ("a row with too few columns", "d.tsv", HEAD + PAIR + "하나\n", "line 3"),
        ("a row with too many columns", "d.tsv", HEAD + PAIR.strip() + "\t넷\n", "line 2"),
        ("columns of unknown names", "d.tsv", "가\t나\n1\t2\n", "text column"),
        ("two columns of one name", "d.tsv", "text\ttext\n1\t2\n", "text"),
        ("a label that the model has not", "d.tsv", HEAD + "가\t나\t모름\n", "모름"),
        ("no row with a label", "d.tsv", HEAD + "가\t나\t-\n", "label"),
        ("a label of 5,000 digits", "d.tsv", HEAD + f"가\t나\t{MANY_DIGITS}\n", "label"),
        ("a quote that does not end", "d.csv", csv + '"가,나,neutral\n' * 5, "line 2"),
        ("a field of 12 MB", "d.csv", csv + f'"{LONG}",나,neutral\n', "line 2"),
        ("a field of 12 MB over many lines", "d.csv", csv + '"' + LONG.replace(" ", "\n") + '",나,neutral\n', "line 2"),
        ("a line of 12 MB", "d.tsv", HEAD + f"{LONG}\t나\tneutral\n", "line 2"),
        ("a line of 12 MB of text", "d.jsonl", f'{{"text": "{LONG}"}}\n', "line 1"),
        ("a text of 12 MB in JSON", "d.json", f'[{{"text": "{LONG}"}}]', "row 1"),
        ("a header of 12 MB", "d.tsv", LONG + "\ttext\n가\t나\n", "line 1"),
        ("half a million columns", "d.tsv", "\t".join(map(str, range(500_000))) + "\n", "text column|rows|column"),
        ("JSON nested 100,000 deep", "d.json", DEEP, r"d\.json"),
        ("JSON nested 900 deep", "d.json", f'[{{"text": "가", "label": {"[" * 900}{"]" * 900}}}]', "row 1|d.json"),
        ("a line nested 900 deep", "d.jsonl", f'{{"text": "가", "label": {"[" * 900}{"]" * 900}}}', "line 1"),
        ("a number of 5,000 digits", "d.jsonl", f'{{"text": "가", "label": {MANY_DIGITS}}}\n', "line 1"),
        ("a number of 401 digits", "d.jsonl", '{"text": "가", "label": 1' + "0" * 400 + "}\n", "label|line 1"),
        ("a label that is a list", "d.jsonl", '{"text": "가", "label": [1]}\n', "line 1"),
        ("a label that is NaN", "d.jsonl", '{"text": "가", "label": NaN}\n', "line 1"),
        ("a text that is a number", "d.jsonl", '{"text": 3, "label": 1}\n', "line 1"),
        ("a text that is null", "d.jsonl", '{"text": null, "label": 1}\n', "line 1"),
        ("a row without the text", "d.jsonl", '{"text": "가", "label": 1}\n{"label": 1}\n', "line 2"),
        ("a line that is a list", "d.jsonl", "[1]\n", "line 1"),
        ("a line that ends early", "d.jsonl", '{"text": "가"\n', "line 1"),
        ("half of a surrogate pair", "d.jsonl", '{"text": "\\ud800", "label": 1}\n', "line 1"),
        ("JSON that is a number", "d.json", "3", r"d\.json"),
        ("JSON without data", "d.json", '{"rows": []}', "data"),
        ("an empty list", "d.json", "[]", r"d\.json"),
        ("an ending that is unknown", "d.xlsx", "가", "xlsx"),
        ("no ending", "data", "가", "data"),
        ("an escape in a label", "d.tsv", HEAD + "가\t나\t\x1b[31m빨강\n", "label"),
        ("an escape in a column", "d.tsv", "\x1b[2J가\t나\n1\t2\n", "text column"),
    ]
    slow = {"a field of 12 MB over many lines", "a header of 12 MB", "half a million columns"}
    for title, name, text, says in texts:
        yield _table(title, name, text, says, fixed=title not in slow and "escape" not in title)
    yield _table("NUL bytes", "d.tsv", HEAD + "가\0\t나\0\tneutral\n", "", expect="accepted",
                 why="a NUL is a character, which tokenizers drop")  # fmt: skip
    yield _table("a mark in front", "d.tsv", b"\xef\xbb\xbf" + (HEAD + PAIR).encode(), "", "--encoding", "cp949",
                 expect="accepted", why="a byte-order mark is surer than the option")  # fmt: skip
    options: list[tuple[str, tuple[str, ...], str]] = [
        ("a column that is not there", ("--columns", "text=없다"), "없다"),
        ("a role that is not there", ("--columns", "colour=sentence1"), "colour"),
        ("a position of 5,000 digits", ("--columns", f"text={MANY_DIGITS}"), "text"),
        ("a limit of 2^70", ("--limit", str(2**70), "--columns", "text=9"), "text"),
        ("a length of 2^70", ("--max-length", str(2**70)), "max_length"),
        ("labels that do not fit", ("--labels", "가,나"), "labels"),
        ("a task that it is not for", ("--task", "token-classification"), "token-classification"),
    ]
    for title, more, says in options:
        yield _table(title, "d.tsv", HEAD + PAIR, says, *more)


def _things() -> Iterator[Case]:
    def comparing(kind: str, name: str, folder: Path, base: Path) -> list[object]:
        path, artifact = folder / name, copied(base, "artifact", folder)
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        elif kind == "itself":
            path.symlink_to(path.name)
        elif kind == "sparse":
            path.touch()
            os.truncate(path, 1 << 40)
        elif kind != "absent":
            path.symlink_to(f"/dev/{kind}")
        return ["compare", artifact, "--data", path]

    for kind in ("pipe", "folder", "itself", "sparse", "absent", "zero", "null", "tty", "stdin"):
        for ending in ("tsv", "jsonl"):
            make = partial(comparing, kind, f"d.{ending}")
            yield Case("data", f"a .{ending} that is {kind}", make, rf"d\.{ending}|/dev/", fixed=ending == "tsv")

    def calibrating(folder: Path, base: Path) -> list[object]:
        os.mkfifo(folder / "d.tsv")
        return ["quantize", copied(base, "checkpoint", folder), "-o", folder / "out", "--calibrate", folder / "d.tsv"]

    yield Case("data", "a .tsv that is a pipe, to calibrate on", calibrating, r"d\.tsv", fixed=True)

    def writing(target: str, folder: Path, base: Path) -> list[object]:
        return [*predicting(folder, copied(base, "artifact", folder))[:3], "-o", folder / target]

    yield Case("JSONL", "an output in a folder that is not there", partial(writing, "없다/out.jsonl"), "없다")
    yield Case("JSONL", "an output that is a folder", partial(writing, "artifact"), "artifact")
    many = ROW * 2_000

    def full(folder: Path, base: Path) -> list[object]:
        return predicting(folder, copied(base, "artifact", folder), many)

    yield Case("JSONL", "a disk that is full", full, "File too large", file_limit=4_096, fixed=True)


def _encodings() -> Iterator[Case]:
    text = (HEAD + PAIR).encode()
    for name in ("hex", "rot13", "base64", "zip", "bz2", "undefined", "idna", "punycode", "unicode_escape", "mbcs",
                 "raw_unicode_escape", "utf-99", "", "uu", "../utf8", "charmap", "ascii", "utf-16", "utf-32"):  # fmt: skip
        says = "encoding|not |d.tsv"
        either = name in {"unicode_escape", "raw_unicode_escape", "charmap"}
        why = "a codec of texts, which this file may be written in" if either else ""
        yield _table(f"--encoding {name or 'of no name'}", "d.tsv", text, says, "--encoding", name,
                     expect="either" if either else "refused", why=why, fixed=not either)  # fmt: skip
    yield _table("cp949 read as UTF-8", "d.tsv", (HEAD + PAIR).encode("cp949"), "cp949", fixed=True)


def _damaged_tables() -> Iterator[Case]:
    """A byte somewhere that no UTF-8 has, a tab more, a tab less: at drawn places."""
    draw = generator("tables")
    rows = [PAIR] * 40
    for number in range(8):
        row = draw.randrange(len(rows))
        before, after = (HEAD + "".join(rows[:row])).encode(), "".join(rows[row + 1 :]).encode()
        place = f"line {row + 2}"
        for kind, broken in (
            ("a byte", rows[row].encode()[:4] + b"\xff\xfe" + rows[row].encode()[4:]),
            ("a tab", rows[row].replace(" ", "\t", 1).encode()),
            ("a line break", rows[row].replace("\t", "\n", 1).encode()),
        ):
            yield _table(f"{kind} in row {row}, {number}", "d.tsv", before + broken + after, place)


def _lines() -> Iterator[Case]:
    """What `predict` reads."""
    texts: list[tuple[str, str | bytes, str]] = [
        ("no JSON", "가나다\n", "line 1"),
        ("a list", "[]\n", "line 1"),
        ("a text", '"가"\n', "line 1"),
        ("null", "null\n", "line 1"),
        ("no text", '{"texts": "가"}\n', "line 1"),
        ("a text that is a number", '{"text": 3}\n', "line 1"),
        ("a pair that is a list", '{"text": "가", "text_pair": ["나"]}\n', "line 1"),
        ("a second line that ends early", ROW + '{"text": "가"\n', "line 2"),
        ("two objects in a line", ROW.strip() + ROW, "line 1"),
        ("nested 100,000 deep", DEEP + "\n", "line 1"),
        ("nested 900 deep", f'{{"text": {"[" * 900}{"]" * 900}}}\n', "line 1"),
        ("nested 900 deep, in a field that is not read", f'{{"text": "가", "x": {"[" * 900}{"]" * 900}}}\n', "line 1"),
        ("5,000 digits", f'{{"text": "가", "id": {MANY_DIGITS}}}\n', "line 1"),
        ("half of a surrogate pair", '{"text": "\\udc00"}\n', "line 1"),
        ("cp949", ROW.encode("cp949"), "line 1"),
        ("UTF-16", ROW.encode("utf-16"), "line 1"),
        ("a line of 12 MB", f'{{"text": "{LONG}"}}\n', "line 1"),
        ("a line of 12 MB that is no JSON", LONG, "line 1"),
        ("an escape", '{"texts": "\x1b[31m"}\n', "line 1"),
        ("an escape in what is no text", '{"text": ["\\u001b[31m"]}\n', "line 1"),
    ]
    for title, text, says in texts:
        make = partial(_predicting, text, ())
        yield Case("JSONL", title, make, says, fixed=title not in {"an escape", "an escape in what is no text"})
    accepted: list[tuple[str, str | bytes, str]] = [
        ("a mark in front", b"\xef\xbb\xbf" + ROW.encode(), "Windows puts one in front of every file"),
        ("blank lines", f"\n{ROW}\n\n", "a blank line is no row"),
        ("no line", "", "no rows have no answers"),
        ("an empty text", '{"text": ""}\n', "it is a text"),
        ("a NUL", '{"text": "가\\u0000나"}\n', "it is a character"),
        ("a thousand combining marks", '{"text": "가' + "́" * 1_000 + '"}\n', "they are characters"),
    ]
    for title, text, why in accepted:
        make = partial(_predicting, text, ())
        yield Case("JSONL", title, make, expect="accepted", why=why, fixed=True)
    options: list[tuple[str, tuple[str, ...], str]] = [
        ("an option that is not there", ("--option", "colour=red"), "colour"),
        ("an option that is a list", ("--option", "top_k=[1]"), "top_k"),
        ("an option nested 100,000 deep", ("--option", f"top_k={DEEP[:50_000]}"), "top_k|option"),
        ("an option of 5,000 digits", ("--option", f"top_k={MANY_DIGITS}"), "top_k"),
        ("an option without a name", ("--option", "=3"), "option"),
        ("a length of 2^70", ("--max-length", str(2**70)), "max_length"),
        ("2^40 threads", ("--threads", str(2**40)), "threads"),
        ("an engine that is not there", ("--engine", "magic"), "magic"),
        ("a prompt for a classifier", ("--prompt", "query"), "query"),
    ]
    for title, more, says in options:
        yield Case("JSONL", title, partial(_predicting, ROW, more), says)
    yield Case("JSONL", "an option of 10^400", partial(_predicting, ROW, ("--option", "top_k=1" + "0" * 400)), "top_k",
               "either", "more labels than there are is all of them")  # fmt: skip


def _predicting(text: str | bytes, more: tuple[str, ...], folder: Path, base: Path) -> list[object]:
    return [*predicting(folder, copied(base, "artifact", folder), text), *more]


def _damaged_lines() -> Iterator[Case]:
    """Lines of which one has a control character, or lacks its end, at a drawn place."""
    draw = generator("lines")
    for number in range(8):
        row, place = draw.randrange(30), draw.randrange(2, len(ROW) - 2)
        for kind, broken in (("cut", ROW[:place] + "\n"), ("a control character", ROW[:place] + "\x01" + ROW[place:])):
            text = ROW * row + broken + ROW * 3
            make = partial(_predicting, text, ())
            yield Case("JSONL", f"{kind} in row {row}, {number}", make, f"line {row + 1}")
