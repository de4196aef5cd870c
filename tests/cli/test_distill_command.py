"""What `octavo distill` says to type next."""

import shlex
from pathlib import Path

from octavo.cli.distill import _calibrate


def test_what_is_next_reads_the_same_texts():
    asked = _calibrate(Path("내 글.tsv"), "text=review,label=별", "cp949")
    words = ["--calibrate", "내 글.tsv", "--columns", "text=review,label=별", "--encoding", "cp949"]
    assert shlex.split(asked) == words
    assert _calibrate(Path("a.tsv"), None, "utf-8") == " --calibrate a.tsv"
