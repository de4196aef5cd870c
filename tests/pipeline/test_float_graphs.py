"""One export for many recipes: the same artifacts as from an export each."""

import json
import shutil
import sys
from pathlib import Path

import pytest

import octavo
from octavo.cli import main
from octavo.errors import RecipeError
from octavo.exporting import float_graphs


@pytest.fixture
def exports(monkeypatch):
    """A list that grows by one with each checkpoint that becomes graphs."""
    count, prove = [], float_graphs.prove
    monkeypatch.setattr(float_graphs, "prove", lambda *given, **more: count.append(1) or prove(*given, **more))
    return count


@pytest.fixture
def texts(tmp_path, sentences):
    file = tmp_path / "문장.txt"
    file.write_text("\n".join(sentences * 20), encoding="utf-8")
    return file


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def test_each_recipe_gives_what_it_gives_alone(checkpoint, texts, tmp_path, exports):
    floats = octavo.export(checkpoint("bert"))
    assert len(exports) == 1
    for method in ("static", "dynamic", "float", "dynamic"):
        calibration = texts if method == "static" else None
        shared = octavo.quantize(floats, tmp_path / "shared", recipe=method, calibration=calibration, force=True)
        assert len(exports) == 1
        alone = octavo.quantize(
            checkpoint("bert"), tmp_path / "alone", recipe=method, calibration=calibration, force=True
        )
        assert content(shared.folder) == content(alone.folder)
        assert exports.pop()


def test_it_is_of_the_weights_that_were_read(checkpoint, tmp_path):
    folder = Path(shutil.copytree(checkpoint("bert"), tmp_path / "checkpoint"))
    before = octavo.quantize(folder, tmp_path / "before", recipe="dynamic")
    floats = octavo.export(folder)
    (folder / "model.safetensors").write_bytes(b"")  # in place, as safetensors writes
    after = octavo.quantize(floats, tmp_path / "after", recipe="dynamic")
    assert content(after.folder) == content(before.folder)


@pytest.mark.parametrize("other", [{"optimize": False}, {"opset": 20}, {"merge_qkv": True}])
def test_other_graphs_than_a_recipe_needs_are_refused(checkpoint, tmp_path, other):
    floats = octavo.export(checkpoint("bert"))
    with pytest.raises(RecipeError, match="the float graphs were exported with other settings"):
        octavo.quantize(floats, tmp_path / "out", recipe=octavo.Recipe(method="dynamic", **other))
    assert not (tmp_path / "out").exists()
    right = octavo.export(checkpoint("bert"), recipe=octavo.Recipe(method="dynamic", **other))
    made = octavo.quantize(right, tmp_path / "out", recipe=octavo.Recipe(method="dynamic", **other))
    assert made.manifest.recipe.model_dump(include=set(other)) == other


def run(monkeypatch, *arguments):
    """The exit code of a command, in this process."""
    monkeypatch.setattr(sys, "argv", ["octavo", *map(str, arguments)])
    try:
        main.run()
    except SystemExit as end:
        return end.code or 0
    return 0


def test_several_methods_on_the_command_line(checkpoint, texts, tmp_path, exports, monkeypatch, capsys):
    options = ("--calibrate", texts, "--method", "static", "--method", "float", "--method", "weight-only")
    assert run(monkeypatch, "quantize", checkpoint("bert"), "-o", tmp_path / "out", *options) == 0
    assert len(exports) == 1
    told = capsys.readouterr().out
    for method in ("static", "float", "weight-only"):
        manifest = json.loads((tmp_path / "out" / method / "octavo.json").read_text(encoding="utf-8"))
        assert manifest["recipe"]["method"] == method
        assert ("calibration" in manifest) == (method == "static")
        assert f"written to {tmp_path / 'out' / method}" in told


def test_nothing_is_exported_where_one_of_them_cannot_be_written(checkpoint, tmp_path, exports, monkeypatch, capsys):
    (tmp_path / "out" / "dynamic").mkdir(parents=True)
    (tmp_path / "out" / "dynamic" / "mine.txt").write_text("내 것", encoding="utf-8")
    options = ("--method", "float", "--method", "dynamic")
    assert run(monkeypatch, "quantize", checkpoint("bert"), "-o", tmp_path / "out", *options) != 0
    assert "in the way" in capsys.readouterr().err
    assert not exports
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["dynamic"]
