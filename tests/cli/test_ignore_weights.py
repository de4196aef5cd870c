import sys

import pytest

from octavo.cli import main


@pytest.mark.parametrize(
    ("command", "where"),
    [
        (["quantize", "모델", "-o", "out"], "octavo.pipeline.quantization.quantize"),
        (["compare", "모델", "--data", "rows.tsv"], "octavo.evaluation.comparison.compare"),
    ],
)
def test_each_pattern_reaches_the_checkpoint(monkeypatch, command, where):
    seen = []

    def stop(model, *_, **__):
        seen.append(model)
        raise SystemExit(0)

    monkeypatch.setattr(where, stop)
    monkeypatch.setattr(sys, "argv", ["octavo", *command, "--ignore-weights", "crf.*", "--ignore-weights", "dense.*"])
    with pytest.raises(SystemExit):
        main.run()
    (checkpoint,) = seen
    assert (checkpoint.path, checkpoint.ignore_weights) == ("모델", ("crf.*", "dense.*"))
