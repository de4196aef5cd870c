"""Lines and texts that are too long to be meant."""

import os

import pytest

import octavo
from octavo.data.rows import longest_line
from octavo.errors import DataError

LONG = "가나다라 " * 10  # 130 bytes


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setenv("OCTAVO_MAX_LINE", "100")


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("d.tsv", f"text\tlabel\n짧다\t1\n{LONG}\t1\n", "line 3"),
        ("d.tsv", f"text\tlabel\n짧다\t1\n{LONG}", "line 3"),
        ("d.csv", "text,label\n" + f'"{LONG}",1\n', "line 2"),
        ("d.csv", 'text,label\n짧다,1\n"' + LONG.replace(" ", "\n") + '",1\n', "line 3"),
        ("d.jsonl", f'{{"text": "{LONG}"}}\n', "line 1"),
        ("d.json", f'[{{"text": "짧다"}}, {{"text": "{LONG}"}}]', "row 2"),
        ("d.txt", f"짧다\n{LONG}\n", "line 2"),
    ],
)
def test_they_are_refused_by_their_place(tmp_path, name, text, place):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=rf"too long for a row in .*{place}; .*OCTAVO_MAX_LINE") as caught:
        octavo.read_examples(tmp_path / name)
    assert caught.value.exit_code == 2


def test_bytes_are_counted_and_not_letters(tmp_path):
    (tmp_path / "d.txt").write_text("가" * 33 + "\n" + "a" * 100, encoding="utf-8")  # 99 and 100 bytes
    assert len(octavo.read_examples(tmp_path / "d.txt")) == 2
    (tmp_path / "d.txt").write_text("가" * 34, encoding="utf-8")
    with pytest.raises(DataError, match="102 bytes"):
        octavo.read_examples(tmp_path / "d.txt")


def test_a_document_of_json_may_be_one_line(tmp_path):
    (tmp_path / "d.json").write_text("[" + ", ".join(['{"text": "짧다"}'] * 50) + "]", encoding="utf-8")
    assert len(octavo.read_examples(tmp_path / "d.json")) == 50


def test_a_file_of_too_many_lines_is_not_read(tmp_path):
    (tmp_path / "d.tsv").touch()
    os.truncate(tmp_path / "d.tsv", 1 << 40)
    with pytest.raises(DataError, match=r"too large.*1,099,511,627,776 bytes"):
        octavo.read_examples(tmp_path / "d.tsv")


@pytest.mark.parametrize("value", ["", "many", "-1", "1e6", "９", "9" * 5_000])
def test_a_limit_that_is_no_number(monkeypatch, value):
    monkeypatch.setenv("OCTAVO_MAX_LINE", value)
    with pytest.raises(DataError, match="OCTAVO_MAX_LINE is no number"):
        longest_line()


def test_pipes_and_devices_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "d.tsv")
    (tmp_path / "e.tsv").symlink_to("/dev/zero")
    for name in ("d.tsv", "e.tsv"):
        with pytest.raises(DataError, match="a pipe or a device"):
            octavo.read_examples(tmp_path / name)
