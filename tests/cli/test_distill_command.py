"""What `octavo distill` says to type next."""

import shlex
import sys
from types import SimpleNamespace

import pytest

from octavo.cli import main
from octavo.schema.lineage import CurvePoint, Distilling, SourceRecord

RECORD = Distilling(
    version="1",
    source=SourceRecord(name="모델", dtype="float32", bytes=2, sha256="0"),
    layers_before=2,
    layers=(0,),
    chosen="asked",
    epochs=1,
    batch_size=1,
    learning_rate=1e-4,
    temperature=2.0,
    use_labels=False,
    seed=0,
    data=(),
    trained=1,
    held_out=2,
    judged=1,
    curve=(CurvePoint(step=0, distance=2.0), CurvePoint(step=1, distance=1.0)),
    fidelity={"agreement": 1.0},
    bytes_before=2,
    bytes=1,
)


@pytest.fixture
def next_command(monkeypatch, capsys):
    """The words of the command that is told behind a training, which is left out."""

    def call(*arguments):
        def fake(*_, int8, int4, **__):
            return SimpleNamespace(record=RECORD.model_copy(update={"int8": int8, "int4": int4}))

        monkeypatch.setattr("octavo.shrinking.distilling.distill", fake)
        asked = ["octavo", "distill", "모델", "-o", "작은 것", "--layers", "1", *arguments]
        monkeypatch.setattr(sys, "argv", asked)
        with pytest.raises(SystemExit) as end:
            main.run()
        assert not end.value.code
        return shlex.split(capsys.readouterr().err.splitlines()[-1].removeprefix("next: "))

    return call


def test_what_is_next_reads_the_same_texts(next_command):
    words = next_command("--data", "내 글.tsv", "--columns", "text=review,label=별", "--encoding", "cp949")
    read = ["--calibrate", "내 글.tsv", "--columns", "text=review,label=별", "--encoding", "cp949"]
    assert words[-len(read) :] == read
    assert next_command("--data", "a.tsv")[-2:] == ["--calibrate", "a.tsv"]
    assert words[:5] == ["octavo", "quantize", "작은 것", "-o", "작은 것-int8"]
    for option in ("--int8", "--int4"):
        words = next_command("--data", "a.tsv", option)
        assert "--calibrate" not in words
        assert words[words.index("-o") + 1].endswith(option[1:])
    words = next_command("--data", "a.tsv", "--task", "text-classification", "--ignore-weights", "my *")
    assert words[5:9] == ["--task", "text-classification", "--ignore-weights", "my *"]
