"""`octavo layout` and `octavo push`, as they are typed."""

import sys

import pytest

from octavo.artifact import hub
from octavo.cli import main


@pytest.fixture
def run(monkeypatch, capsys):
    """The command line in this process: (exit code, stdout, stderr)."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["octavo", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main.run()
        out, err = capsys.readouterr()
        return end.value.code or 0, out, err

    return call


def test_a_layout_is_written_and_named(run, made_before, tmp_path):
    out = tmp_path / "자바스크립트"
    code, told, err = run("layout", made_before, "--for", "transformers.js", "-o", out)
    assert (code, err) == (0, "")
    assert told == f"written to {out}: README.md, config.json, onnx, tokenizer.json, tokenizer_config.json\n"
    assert (out / "onnx/model_quantized.onnx").is_file()


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("triton", "error: Triton Inference Server may not read that opset in "),
        ("fastembed", "error: fastembed has no such task in "),
        ("vllm", "error: unknown program; got: vllm; allowed: tei, transformers.js, "),
    ],
)
def test_what_cannot_be_is_one_line(run, made_before, tmp_path, program, says):
    code, told, err = run("layout", made_before, "--for", program, "-o", tmp_path / "x")
    assert (code, told, err.count("\n")) == (2, "", 1)
    assert err.startswith(says)


def test_a_push_prints_its_revision(run, made_before, monkeypatch):
    asked = []

    def push_files(folder, manifest, repo, **more):
        asked.append((folder, repo, more))
        return "8bbab3a"

    monkeypatch.setattr(hub, "push_files", push_files)
    code, told, err = run("push", made_before, "user/ko-nli-int8", "--private", "--base-model", "klue/bert-base")
    assert (code, told) == (0, "8bbab3a\n")
    assert err == 'next: octavo.load("user/ko-nli-int8", revision="8bbab3a")\n'
    assert asked == [
        (made_before, "user/ko-nli-int8", {"private": True, "base_model": "klue/bert-base", "comparison": None})
    ]


def test_a_comparison_that_is_none_is_one_line(run, made_before, tmp_path):
    code, told, err = run("push", made_before, "user/x", "--comparison", tmp_path / "없다.json")
    assert (code, told, err.count("\n")) == (2, "", 1)
    assert "no such JSON file" in err
