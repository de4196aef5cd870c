import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import octavo
from octavo.artifact.folder import open_artifact
from octavo.cli import main
from octavo.cli.display import TerminalProgress, print_cells, print_heat
from octavo.cli.echo import say

DEMO = Path(__file__).parents[2] / "examples" / "korean-nli"
PAIRS = DEMO / "pairs.tsv"
PAIRED = ("--data", PAIRS, "--max-length", 16)  # where the answers matter little: shorter rows take less time
CORES = os.cpu_count()
OCTAVO = Path(sys.executable).with_name("octavo")
RECIPE = """
[[layers]]
match = "*.attention.output.dense"
keep = "float"

[[layers]]
match = "classifier"
keep = "float"
"""
NO_MATCH = """
[[layers]]
match = "*.attention.output.dens"
keep = "float"
"""
PLAIN = """
import sys
sys.modules.update(dict.fromkeys(("torch", "transformers", "onnxscript")))  # which take seconds to import
from octavo.cli.main import run
"""
INTERRUPTED_WHILE_WRITING = f"""{PLAIN}
import os, signal, time
import octavo.pipeline.quantization

def interrupted(fields, folder):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)

octavo.pipeline.quantization.write_card = interrupted
run()
"""


def heeding_interruptions():
    """What runs in the background of a shell inherits that SIGINT is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(*arguments, code=None, cwd=None, stdin=None, **environment):
    """The command line, or code that calls it, in a process of its own."""
    command = [str(OCTAVO)] if code is None else [sys.executable, "-c", code]
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        cwd=cwd,
        env={key: value for key, value in os.environ.items() if key != "OCTAVO_DEBUG"} | environment,
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        preexec_fn=heeding_interruptions,  # noqa: PLW1509
    )


def run_apart(*arguments, given=None, **options):
    """The exit code, standard output and standard error of a command in a process of its own."""
    process = start(*arguments, stdin=None if given is None else subprocess.PIPE, **options)
    out, err = process.communicate(given, timeout=300)
    return process.returncode, out, err


def run(*arguments, given="", cwd="."):
    """The same of a command in this process, which has imported what takes seconds already."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    out, err = io.StringIO(), io.StringIO()
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(sys, "argv", ["octavo", *map(str, arguments)])
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given.encode()), encoding="utf-8"))
        patch.delenv("OCTAVO_DEBUG", raising=False)
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        for enter in (contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)):
            stack.enter_context(enter)
        caught = stack.enter_context(pytest.raises(SystemExit))
        main.run()
    for number, handler in handlers.items():
        signal.signal(number, handler)
    return caught.value.code or 0, out.getvalue(), err.getvalue()


def refused(*arguments, code=2, **options):
    """The one line by which a command fails, after the steps that it told."""
    found, out, err = run(*arguments, **options)
    assert (found, out) == (code, ""), err
    lines = [line for line in err.splitlines() if not line.endswith(" ...")]
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    return lines[0]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def quantized(tmp_path_factory):
    """Three runs of quantize: name -> (exit code, stdout, stderr, folder)."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("kept", "no_match", "interrupted")}
    (folders["kept"] / "레시피.toml").write_text(RECIPE, encoding="utf-8")
    (folders["no_match"] / "recipe.toml").write_text(NO_MATCH, encoding="utf-8")
    (folders["interrupted"] / "out").mkdir()
    shutil.copytree(DEMO, folders["kept"] / "한국어 모델", ignore=shutil.ignore_patterns("pairs.tsv"))
    kept = ("한국어 모델", "-o", "모델/작은 것", "--recipe", "레시피.toml", "--target", "any")
    interrupted = {"code": INTERRUPTED_WHILE_WRITING, "cwd": folders["interrupted"]}
    found = {
        "kept": run("quantize", *kept, cwd=folders["kept"]),
        "no_match": run("quantize", DEMO, "-o", "out", "--recipe", "recipe.toml", cwd=folders["no_match"]),
        "interrupted": run_apart("quantize", DEMO, "-o", "out/model", **interrupted),
    }
    return {name: (*result, folders[name]) for name, result in found.items()}


class TestQuantize:
    def test_the_steps_go_to_stderr(self, quantized):
        code, out, err, _ = quantized["kept"]
        assert (code, out != "") == (0, True)
        steps = [
            "reading the checkpoint ...",
            "writing the graph: opset 23 ...",
            "quantizing: dynamic ...",
            "measuring layers: float ...",
            "measuring layers: int8 ...",
            "writing the artifact ...",
        ]
        assert [line for line in err.splitlines() if line.endswith("...")] == steps
        assert not set(steps) & set(out.splitlines())

    def test_a_rule_keeps_its_layers_float(self, quantized):
        artifact = open_artifact(quantized["kept"][3] / "모델" / "작은 것")
        layers = artifact.manifest.layers
        kept = {layer.path: layer.reason for layer in layers if layer.reason.startswith("kept by the rule")}
        dense = [f"bert.encoder.layer.{number}.attention.output.dense" for number in range(4)]
        rule = "kept by the rule '*.attention.output.dense'"
        assert kept == dict.fromkeys(dense, rule) | {"classifier": "kept by the rule 'classifier'"}
        assert {layer.dtype for layer in layers if layer.path in kept} == {"float32"}
        assert {
            layer.dtype for layer in layers if layer.path.startswith("bert.encoder") and layer.path not in kept
        } == {"int8"}
        assert [rule.match for rule in artifact.manifest.recipe.layers] == ["*.attention.output.dense", "classifier"]

    def test_the_end_tells_what_became_int8_and_what_stayed_float_and_why(self, quantized):
        _, out, _, folder = quantized["kept"]
        artifact = open_artifact(folder / "모델" / "작은 것")
        assert re.search(r"^attention +int8.*? +12 ", out, re.MULTILINE)
        assert re.search(r"^attention +float32 +4 ", out, re.MULTILINE)
        assert "4 of 29 layers stayed float, kept by the rule '*.attention.output.dense': bert.encoder.layer.0." in out
        assert "1 of 29 layers stayed float, kept by the rule 'classifier': classifier\n" in out
        assert f"{artifact.bytes / 2**20:.1f} MiB of 24.5 (" in out
        assert "method dynamic, target any, opset 23" in out
        assert "\nloads on this CPU: " in out
        command = "octavo compare '한국어 모델' '모델/작은 것' --data FILE"
        assert out.endswith(f"written to 모델/작은 것\nnext, with examples of yours: {command}\n")

    def test_hangul_in_paths(self, quantized):
        folder = quantized["kept"][3]
        assert names(folder / "모델") == ["작은 것"]
        assert open_artifact(folder / "모델" / "작은 것").manifest.source.name == "한국어 모델"
        code, out, err = run_apart("predict", "모델/작은 것", cwd=folder, given='{"text": "눈이 왔다"}\n')
        assert (code, err) == (0, "1 rows\n")
        assert octavo.load(folder / "모델" / "작은 것")("눈이 왔다") == [json.loads(out)]

    def test_a_pattern_that_matches_nothing(self, quantized):
        code, out, err, folder = quantized["no_match"]
        assert (code, out) == (2, "")
        message = err.splitlines()[-1]
        assert message.startswith("error: a layer rule matches nothing; got: *.attention.output.dens; allowed: ")
        assert "did you mean 'bert.encoder.layer." in message
        assert "Traceback" not in err
        assert names(folder) == ["recipe.toml"]

    def test_an_interruption_while_it_writes_leaves_nothing(self, quantized):
        code, out, err, folder = quantized["interrupted"]
        assert "writing the artifact ..." in err.splitlines()
        assert (code, out) == (130, "")
        assert "Traceback" not in err
        assert names(folder / "out") == []

    def test_an_interruption_while_it_works_leaves_nothing(self, tmp_path):
        (tmp_path / "out").mkdir()
        process = start("quantize", DEMO, "-o", tmp_path / "out" / "model", code=f"{PLAIN}\nrun()")
        for line in process.stderr:
            if line.startswith("writing the graph"):
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out) == (130, "")
        assert "Traceback" not in err
        assert names(tmp_path / "out") == []

    def test_an_output_that_exists(self, tmp_path):
        output = tmp_path / "모델"
        output.mkdir()
        (output / "octavo.json").write_text("the old one", encoding="utf-8")
        message = refused("quantize", DEMO, "-o", output)
        assert (
            message == f"error: the output exists; got: {output}; next: name another output, or replace it with --force"
        )
        assert (output / "octavo.json").read_text(encoding="utf-8") == "the old one"

    def test_an_output_that_is_no_artifact_even_with_force(self, tmp_path):
        (tmp_path / "thesis.tex").touch()
        message = refused("quantize", DEMO, "-o", tmp_path, "--force")
        assert "something that is not an artifact is in the way" in message
        assert names(tmp_path) == ["thesis.tex"]

    def test_ranges_that_are_not_there(self, tmp_path):
        message = refused("quantize", DEMO, "-o", tmp_path / "out", "--method", "qat")
        assert "the method qat takes ranges from quantization_ranges.json" in message
        assert "next: train the checkpoint for int8" in message
        assert names(tmp_path) == []

    def test_an_unknown_method(self, tmp_path):
        message = refused("quantize", DEMO, "-o", tmp_path / "out", "--method", "dynamc")
        assert "unknown method" in message
        assert "did you mean 'dynamic'?" in message

    def test_an_unknown_target(self, tmp_path):
        message = refused("quantize", DEMO, "-o", tmp_path / "out", "--target", "avx512_vni")
        assert "unknown target; got: avx512_vni" in message
        assert "did you mean 'avx512_vnni'?" in message

    def test_an_opset_that_is_not_written(self, tmp_path):
        message = refused("quantize", DEMO, "-o", tmp_path / "out", "--opset", "12")
        assert "opset has an unknown value in --opset; got: 12; allowed: 20, 21, 22 or 23" in message

    def test_method_and_recipe_together(self, tmp_path):
        (tmp_path / "recipe.toml").write_text(RECIPE, encoding="utf-8")
        arguments = ("--method", "dynamic", "--recipe", tmp_path / "recipe.toml")
        message = refused("quantize", DEMO, "-o", tmp_path / "out", *arguments)
        assert "--method and --recipe exclude each other" in message

    def test_a_recipe_that_is_not_there(self, tmp_path):
        message = refused("quantize", DEMO, "-o", tmp_path / "out", "--recipe", tmp_path / "없다.toml")
        assert message == f"error: no such recipe file in {tmp_path / '없다.toml'}"

    def test_every_problem_of_a_recipe_has_a_line(self, tmp_path):
        (tmp_path / "recipe.toml").write_text('method = "magic"\ncolour = "red"\n', encoding="utf-8")
        code, out, err = run("quantize", DEMO, "-o", tmp_path / "out", "--recipe", tmp_path / "recipe.toml")
        assert (code, out) == (2, "")
        assert [line.partition(" in ")[0] for line in err.splitlines()] == [
            "error: unknown method",
            "error: unknown key",
        ]

    def test_a_checkpoint_that_is_not_there(self, tmp_path):
        message = refused("quantize", tmp_path / "없다", "-o", tmp_path / "out")
        assert message == f"error: no such folder; got: {tmp_path / '없다'}"

    def test_every_problem_of_a_checkpoint_has_a_line(self, tmp_path):
        (tmp_path / "config.json").write_text("{}", encoding="utf-8")
        code, out, err = run("quantize", tmp_path, "-o", tmp_path / "out")
        assert (code, out) == (2, "")
        errors = [line for line in err.splitlines() if line.startswith("error: ")]
        assert len(errors) >= 3
        assert [line for line in err.splitlines() if line not in errors] == ["reading the checkpoint ..."]

    def test_labels_that_do_not_fit(self, tmp_path):
        message = refused("quantize", DEMO, "-o", tmp_path / "out", "--labels", "가, 나")
        assert "--labels does not fit the model" in message
        assert "got: 가, 나; allowed: 3 names" in message

    def test_an_output_is_needed(self):
        code, out, err = run("quantize", DEMO)
        assert (code, out) == (2, "")
        assert "--output" in err
        assert "Traceback" not in err


class TestCompare:
    def test_json_is_all_there_is_on_stdout(self, demo_float, demo_int8):
        code, out, err = run("compare", DEMO, demo_float, demo_int8, *PAIRED, "--limit", 30, "--threads", 1, "--json")
        assert code == 0, err
        found = json.loads(out)
        assert (found["task"], found["n"]) == ("text-classification", 30)
        assert [(row["name"], row["method"]) for row in found["rows"]] == [
            ("korean-nli", "float"),
            ("float", "float"),
            ("int8", "dynamic"),
        ]
        assert found["rows"][1]["fidelity"]["agreement"] == 1.0
        assert "predicting ...\n" in err

    def test_a_table_is_for_people(self, demo_float, demo_int8):
        code, out, err = run("compare", demo_float, demo_int8, *PAIRED, "--limit", 20, "--threads", 1)
        assert code == 0, err
        assert all(word in out for word in ("float (float)", "int8 (dynamic)", "accuracy", "agreement", "100.00%"))
        assert "…" not in out
        assert "20 rows, " in out
        assert "1 threads, " in out
        assert "predicting" not in out

    def test_data_is_needed(self, demo_float):
        message = refused("compare", demo_float)
        assert message == "error: compare needs examples; next: --data FILE (.tsv, .csv, .jsonl or .json)"

    def test_data_that_is_not_there(self, demo_float, tmp_path):
        assert "no such data file" in refused("compare", demo_float, "--data", tmp_path / "없다.tsv")

    def test_columns_that_are_not_understood(self, demo_float):
        message = refused("compare", demo_float, "--data", PAIRS, "--columns", "text:sentence1")
        assert "--columns is not understood; got: text:sentence1; allowed: text=...,text_pair=...,label=..." in message

    def test_a_budget_decides_the_exit_code(self, demo_float, demo_int8):
        models = ("compare", demo_float, demo_int8, *PAIRED, "--limit", 80)
        code, out, _ = run(*models, "--max-drop", 20, "--max-size", "30%", "--min-agreement", 0.5)
        assert code == 0
        assert "PASS  int8 (dynamic), onnxruntime" in out
        code, out, _ = run(*models, "--max-drop", 20, "--max-size", "10%", "--json")
        assert code == 1
        found = json.loads(out)
        assert found["verdict"] == "FAIL"
        checks = {check["name"]: check for check in found["rows"][1]["judgement"]["checks"]}
        assert checks["max_drop"]["verdict"] == "PASS"
        assert checks["max_size"]["limit"] == 0.1
        assert checks["max_size"]["verdict"] == "FAIL"

    def test_twenty_rows_do_not_show_half_a_point(self, demo_float, demo_int8):
        models = ("compare", demo_float, demo_int8, *PAIRED, "--limit", 20, "--max-drop", "0.5%")
        code, out, _ = run(*models)
        assert code == 1
        assert "UNSURE  drop at most 0.50 points" in out
        assert "rows would decide" in out
        assert run(*models, "--allow-unsure")[0] == 0

    def test_a_report_a_card_and_the_report_again(self, demo_float, demo_int8, tmp_path):
        copy = tmp_path / "한국어 모델"
        shutil.copytree(demo_int8, copy)
        pages = [tmp_path / name for name in ("out.html", "out.md", "out.json")]
        models = ("compare", demo_float, copy, *PAIRED, "--limit", 40, "--max-size", "40%")
        reports = [option for page in pages for option in ("--report", page)]
        code, _, err = run(*models, *reports, "--write-card", "--lang", "ko")
        assert code == 0, err
        html, text, stored = (page.read_text(encoding="utf-8") for page in pages)
        assert '<html lang="ko">' in html
        assert text.startswith("# 모델 비교 보고서")
        fields = json.loads(stored)
        assert fields["command"].startswith("octavo compare ")
        assert fields["data"]["name"] == PAIRS.name
        assert fields["rows"][1]["origin"]["recipe"] == {"method": "dynamic"}
        assert fields["rows"][1]["origin"]["layers"]
        card = (copy / "README.md").read_text(encoding="utf-8")
        assert "## 비교 결과" in card
        assert card.startswith("---\nlibrary_name: octavo")
        octavo.verify(octavo.open_artifact(copy))  # the card is outside the hashes
        again = tmp_path / "again.html"
        assert run("report", pages[2], "-o", again, "--lang", "ko")[0] == 0
        assert again.read_text(encoding="utf-8") == html
        run("compare", demo_float, copy, *PAIRED, "--limit", 20, "--write-card", "--lang", "en")
        card = (copy / "README.md").read_text(encoding="utf-8")
        assert card.count("octavo compare") == 2
        assert "## 비교 결과" not in card

    def test_a_card_has_a_row_for_each_engine(self, demo_float, tmp_path):
        copy = shutil.copytree(demo_float, tmp_path / "copy")
        engines = ("--engine", "onnxruntime", "--engine", "openvino")
        code, _, err = run("compare", DEMO, copy, *PAIRED, "--limit", 20, "--write-card", "--lang", "en", *engines)
        assert code == 0, err
        card = (copy / "README.md").read_text(encoding="utf-8").partition("## Comparison")[2]
        assert [name in card for name in ("onnxruntime", "openvino")] == [True, True]

    def test_a_report_that_cannot_be_is_refused_before_the_work(self, demo_float, tmp_path):
        message = refused("compare", demo_float, "--data", PAIRS, "--report", tmp_path / "out.pdf")
        assert message == "error: a report's ending says what it is; got: out.pdf; allowed: .html, .md, .json"
        assert "unknown language" in refused("compare", demo_float, "--data", PAIRS, "--lang", "fr")
        assert "no such JSON file" in refused("report", tmp_path / "없다.json", "-o", tmp_path / "out.html")
        assert list(tmp_path.iterdir()) == []

    def test_details_name_classes_lengths_and_examples(self, demo_float, demo_int8):
        code, out, _ = run("compare", demo_float, demo_int8, "--data", PAIRS, "--limit", 60, "--details")
        assert code == 0
        assert "contradiction" in out
        assert "tokens" in out
        assert "moved" in out

    def test_a_model_is_as_good_as_itself(self, demo_int8):
        code, out, _ = run("compare", demo_int8, demo_int8, *PAIRED, "--limit", 20, "--max-drop", 0, "--json")
        row = json.loads(out)["rows"][1]
        assert code == 0
        assert (row["differences"]["accuracy"]["low"], row["differences"]["accuracy"]["high"]) == (0, 0)
        assert row["fidelity"] == {"agreement": 1, "kl": 0, "margin": 1}

    def test_a_model_with_a_random_layer_fails(self, tmp_path):
        copy = tmp_path / "broken"
        shutil.copytree(DEMO, copy)
        weights = load_file(copy / "model.safetensors")
        (name,) = [name for name in weights if name.endswith("encoder.layer.0.output.dense.weight")]
        noise = np.random.default_rng(0).normal(size=weights[name].shape)
        weights[name] = (noise * 10 * weights[name].std()).astype(np.float32)
        save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
        limits = ("--max-drop", 1.5, "--min-agreement", 0.98)
        code, out, _ = run("compare", DEMO, copy, "--data", PAIRS, "--limit", 80, "--json", *limits)
        found = json.loads(out)
        assert (code, found["verdict"]) == (1, "FAIL")
        assert [check["verdict"] for check in found["rows"][1]["judgement"]["checks"]] == ["FAIL", "FAIL"]
        assert found["rows"][1]["fidelity"]["agreement"] < 0.9

    def test_a_budget_needs_a_candidate_and_a_percentage(self, demo_int8):
        message = refused("compare", demo_int8, "--data", PAIRS, "--max-drop", 1)
        assert "a budget judges candidates, and there is only the baseline" in message
        twice = ("--engine", "auto", "--engine", "onnxruntime")  # the same one twice makes one row
        assert "only the baseline" in refused("compare", demo_int8, "--data", PAIRS, "--max-drop", 1, *twice)
        message = refused("compare", demo_int8, demo_int8, "--data", PAIRS, "--max-size", "a third")
        assert "--max-size is not understood; got: a third; allowed: such as 30% or 0.3" in message

    def test_an_unknown_engine(self, demo_float):
        message = refused("compare", demo_float, "--data", PAIRS, "--engine", "onnxruntim")
        allowed = "auto, onnxruntime, openvino, torch (did you mean 'onnxruntime'?)"
        assert f"unknown engine; got: onnxruntim; allowed: {allowed}" in message

    def test_an_interruption_leaves_no_process(self, demo_float, demo_int8):
        process = subprocess.Popen(
            [str(OCTAVO), "compare", str(demo_float), str(demo_int8), "--data", str(PAIRS)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=heeding_interruptions,  # noqa: PLW1509
        )
        for line in process.stderr:
            if line.startswith("predicting"):
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (130, "")
        assert "Traceback" not in err
        with pytest.raises(ProcessLookupError):  # nobody is left in its group
            os.killpg(process.pid, 0)


class TestPredict:
    def test_standard_input_and_output(self, demo_int8):
        rows = [{"text": "눈이 왔다"}, {"text": "눈이 왔다", "text_pair": "비가 왔다"}]
        given = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        expected = octavo.load(demo_int8)(rows)
        for source in ([], ["-"]):
            code, out, err = run("predict", demo_int8, *source, given=given)
            assert (code, err) == (0, "2 rows\n")
            assert [json.loads(line) for line in out.splitlines()] == expected

    def test_a_locale_without_hangul_does_not_matter(self, demo_int8, tmp_path):
        folder = shutil.copytree(demo_int8, tmp_path / "copy")
        for file in (folder / "octavo.json", folder / "config.json"):
            text = file.read_text(encoding="utf-8")
            for name in ("entailment", "contradiction", "neutral"):
                text = text.replace(f'"{name}"', f'"{name[0]}-함의"')
            file.write_text(text, encoding="utf-8")
        manifest = json.loads((folder / "octavo.json").read_text(encoding="utf-8"))
        content = (folder / "config.json").read_bytes()
        manifest["files"]["config.json"] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        (folder / "octavo.json").write_text(json.dumps(manifest), encoding="utf-8")
        code, out, err = run_apart("predict", folder, given='{"text": "눈"}\n', PYTHONIOENCODING="ascii")
        assert (code, err) == (0, "1 rows\n")
        assert json.loads(out)["label"].endswith("-함의")

    def test_files(self, demo_int8, tmp_path):
        (tmp_path / "입력.jsonl").write_text('{"text": "눈"}\n' * 3, encoding="utf-8")
        arguments = ("입력.jsonl", "-o", "출력.jsonl", "--max-length", 5, "--threads", 1)
        code, out, err = run("predict", demo_int8, *arguments, cwd=tmp_path)
        assert (code, out, err) == (0, "", "3 rows\n")
        assert len((tmp_path / "출력.jsonl").read_text(encoding="utf-8").splitlines()) == 3
        assert names(tmp_path) == ["입력.jsonl", "출력.jsonl"]

    def test_rows_that_were_cut_are_told(self, demo_int8):
        given = '{"text": "설악산 정상 부근에는 눈이 남아 있다."}\n{"text": "눈"}\n'
        code, _, err = run("predict", demo_int8, "--max-length", 5, given=given)
        assert (code, err) == (0, "2 rows, 1 of them cut at the limit\n")

    def test_a_bad_line(self, demo_int8, tmp_path):
        (tmp_path / "in.jsonl").write_text('{"text": "눈"}\n{"문장": "눈"}\n', encoding="utf-8")
        message = refused("predict", demo_int8, tmp_path / "in.jsonl", "-o", tmp_path / "out.jsonl")
        assert message.startswith(
            f"error: a line needs a text in {tmp_path / 'in.jsonl'}, line 2; got: {{'문장': '눈'}}"
        )
        assert names(tmp_path) == ["in.jsonl"]
        assert "standard input, line 1" in refused("predict", demo_int8, given="nonsense\n")

    def test_what_is_no_artifact(self, tmp_path):
        assert "no such folder" in refused("predict", tmp_path / "없다", given="")
        assert "this is not an artifact of Octavo" in refused("predict", tmp_path, given="")

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            (["--engine", "tensorrt"], "unknown engine; got: tensorrt; allowed: auto, onnxruntime, openvino, torch"),
            (["--max-length", "300"], "max_length can only be lowered; got: 300; allowed: 1 to 256"),
            (
                ["--threads", "100000"],
                f"a number of threads that makes no sense here; got: 100000; allowed: 1 to {CORES}",
            ),
            (["--max-length", "3"], "max_length leaves no room for text; got: 3; allowed: above 3"),
        ],
    )
    def test_options_that_do_not_fit(self, demo_int8, options, told):
        assert refused("predict", demo_int8, *options, given="") == f"error: {told}"

    @pytest.mark.parametrize("option", ["--threads", "--max-length"])
    def test_numbers_below_one(self, demo_int8, option):
        code, out, err = run("predict", demo_int8, option, 0, given="")
        assert (code, out) == (2, "")
        assert "Traceback" not in err

    def test_a_run_that_fails_has_another_exit_code(self, demo_int8, tmp_path):
        folder = shutil.copytree(demo_int8, tmp_path / "copy")
        fields = json.loads((folder / "octavo.json").read_text(encoding="utf-8"))
        fields["signature"]["input_names"].remove("token_type_ids")
        (folder / "octavo.json").write_text(json.dumps(fields), encoding="utf-8")
        message = refused("predict", folder, "-o", tmp_path / "out.jsonl", given='{"text": "눈"}\n', code=3)
        assert message.startswith("error: ONNX Runtime could not run the model; got: ")
        assert names(tmp_path) == ["copy"]

    def test_a_warning_is_a_line_on_stderr(self, demo_int8):
        given = json.dumps({"text": "𐍈 𐍉 𐌰 𐌱 " * 20}) + "\n"
        code, out, err = run("predict", demo_int8, given=given)
        assert (code, len(out.splitlines())) == (0, 1)
        warning, count = err.splitlines()
        assert warning.startswith("warning: 98% of the tokens are unknown to the tokenizer")
        assert count == "1 rows"

    def test_a_reader_that_goes_away_gets_no_traceback(self, demo_int8, tmp_path):
        (tmp_path / "in.jsonl").write_text('{"text": "눈"}\n' * 5000, encoding="utf-8")
        process = start("predict", demo_int8, tmp_path / "in.jsonl")
        assert json.loads(process.stdout.readline())["label"]
        process.stdout.close()
        err = process.stderr.read()
        assert (process.wait(timeout=60), err) == (1, "")
        process.stderr.close()


class TestAll:
    @pytest.mark.parametrize("arguments", [["--help"], []])
    def test_help_lists_the_verbs(self, arguments):
        code, out, err = run_apart(*arguments, COLUMNS="100")
        assert code == (0 if arguments else 2)
        for verb in ("quantize", "compare", "report", "inspect", "doctor", "predict"):
            assert re.search(rf"^ +{verb} +\w", out + err, re.MULTILINE)

    def test_help_is_quick_because_it_imports_nothing_heavy(self):
        code = (
            "import sys, octavo.cli.main as m; print({'torch', 'onnxruntime', 'onnx_ir', 'numpy'} & set(sys.modules))"
        )
        assert run_apart(code=code) == (0, "set()\n", "")

    @pytest.mark.parametrize("verb", ["quantize", "compare", "report", "inspect", "doctor", "predict"])
    def test_each_verb_has_help(self, verb):
        code, out, err = run_apart(verb, "--help", COLUMNS="100")
        assert (code, err) == (0, "")
        assert f"octavo {verb}" in out

    @pytest.mark.parametrize("arguments", [["quantise"], ["predict"], ["compare", "--no-such-option"]])
    def test_a_command_that_does_not_exist(self, arguments):
        code, out, err = run(*arguments)
        assert (code, out) == (2, "")
        assert "Traceback" not in err


class TestMapping:
    """How `run` tells what was raised inside of it; in this process, since no input leads to a defect."""

    @pytest.fixture
    def fails(self, monkeypatch, capsys):
        def failing(error):
            def predict(*_, **__):
                raise error

            monkeypatch.setattr("octavo.inference.jsonl.predict", predict)
            monkeypatch.setattr(sys, "argv", ["octavo", "predict", "model"])
            with warnings.catch_warnings(), pytest.raises(SystemExit) as caught:
                main.run()
            out, err = capsys.readouterr()
            assert out == ""
            return caught.value.code, err

        monkeypatch.delenv("OCTAVO_DEBUG", raising=False)
        return failing

    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (octavo.OctavoError("it failed"), 3),
            (octavo.ExportError("it failed"), 3),
            (octavo.InputError("it failed"), 2),
            (octavo.DataError("it failed"), 2),
            (octavo.HardwareError("it failed"), 2),
            (octavo.MissingExtraError("it failed"), 2),
        ],
    )
    def test_an_error_of_octavo(self, fails, error, code):
        assert fails(error) == (code, "error: it failed\n")

    def test_an_error_of_the_system(self, fails):
        code, err = fails(OSError(28, "No space left on device"))
        assert (code, err) == (3, "error: [Errno 28] No space left on device\n")

    def test_a_defect(self, fails, monkeypatch):
        code, err = fails(ZeroDivisionError("first line\nsecond line"))
        assert code == 3
        assert err == "error: a defect of Octavo: ZeroDivisionError: first line; next: set OCTAVO_DEBUG=1\n"
        monkeypatch.setenv("OCTAVO_DEBUG", "1")
        with pytest.raises(ZeroDivisionError):
            fails(ZeroDivisionError("first line"))

    def test_an_interruption(self, fails):
        assert fails(KeyboardInterrupt()) == (130, "interrupted\n")


class TestDisplay:
    def test_no_cell_is_cut_or_read_as_markup(self, capsys):
        cells = [["model", "engine", "MiB"], ["model[v2]", "[/]", "6.5"], ["가" * 40, "b" * 60, "[red]1[/red]"]]
        print_cells(cells)
        out = capsys.readouterr().out
        for row in cells:
            for cell in row:
                assert cell in out


class TestHostileTexts:
    """What names, labels and texts hold is shown on the terminal, and not obeyed by it."""

    TEXT = "\x1b[31m빨강\x1b]0;제목\x07\x9b2J\u202e"
    SHOWN = r"\x1b[31m빨강\x1b]0;제목\x07\x9b2J\u202e"

    def test_lines_tables_and_steps(self, capsys):
        say(self.TEXT, f"{self.TEXT}\nerror: 거짓")
        print_cells([["model", self.TEXT], ["a", "b"], [self.TEXT, "c"]])
        print_heat([["block", "\x1b[1m"], ["\x1b[1m", "31.0"]])
        with TerminalProgress() as progress:
            progress.start(f"{self.TEXT} [/red]")
        out, err = capsys.readouterr()
        assert not set(self.TEXT) & set("\x1b\x07\x9b\u202e") & set(out + err)
        assert (out.count(self.SHOWN), out.count(r"\x1b[1m")) == (4, 2)
        assert err == f"{self.SHOWN} [/red] ...\n"
        assert "\nerror: 거짓" not in out

    def test_an_argument_too_many(self, monkeypatch, capsys):
        for arguments in (["inspect", "model", self.TEXT], [f"--{self.TEXT}"], ["inspect", f"--{self.TEXT}"]):
            monkeypatch.setattr(sys, "argv", ["octavo", *arguments])
            with warnings.catch_warnings(), pytest.raises(SystemExit) as caught:
                main.run()
            err = capsys.readouterr().err
            assert caught.value.code == 2
            assert not set(err) & set("\x1b\x07\x9b\u202e")
            assert "빨강" in err

    def test_only_one_function_prints(self):
        """All other files of the command line print by it, or JSON, whose texts are escaped."""
        folder = Path(main.__file__).parent
        calls = {
            (file.name, line.strip())
            for file in folder.glob("*.py")
            for line in file.read_text(encoding="utf-8").splitlines()
            if "typer.echo(" in line or "typer.secho(" in line
        }
        assert calls == {
            ("echo.py", "typer.echo(printable(line), err=err)"),
            ("compare.py", "typer.echo(comparison_json(comparison), nl=False)"),
            ("inspect.py", "typer.echo(json_text(document, indent=1))"),
            ("doctor.py", "typer.echo(json_text(diagnosis.to_dict(), indent=1))"),
        }


class TestInspect:
    def test_an_artifact(self, demo_int8, made_before):
        code, out, err = run("inspect", demo_int8)
        assert (code, err) == (0, "")
        assert "task text-classification" in out
        assert "dynamic quantization" in out
        difference = re.search(
            "float graph written from config and weights; its largest difference from torch: (.*)", out
        )
        assert 0 < float(difference[1]) < 1e-5
        pieces = run("inspect", made_before)[1]  # its graph was exported, and went through the passes
        assert "float graph exported by transformers" in pieces
        assert "attend_without_transposes" in pieces
        assert "found nothing" in pieces

    def test_layers_and_the_self_test(self, demo_int8):
        code, out, _ = run("inspect", demo_int8, "--layers", "--verify")
        assert code == 0
        assert "4 files have the hashes that octavo.json lists" in out
        assert "\nnot checked, as octavo.json has no hash of them: README.md, octavo.json\n" in out
        assert "the lowest: " in out
        heat = [line for line in out.splitlines() if re.match(r" +\d+  +[\d.]+", line)]
        assert len(heat) == 4
        _, out, _ = run("inspect", demo_int8, "--layers", "--verify", "--json")
        found = json.loads(out)
        assert found["verified"]["deviation"] <= found["verified"]["allowed"]
        assert found["verified"]["unchecked"] == ["README.md", "octavo.json"]
        assert [layer for layer in found["layers"] if layer["output_db"]]

    def test_layers_against_the_checkpoint(self, demo_int8):
        code, out, err = run("inspect", demo_int8, "--against", DEMO, "--json")
        assert code == 0, err
        assert {layer["path"] for layer in json.loads(out)["layers"]}
        assert "measuring layers" in err

    def test_only_an_artifact_has_layers_and_answers(self):
        assert "not an artifact of Octavo" in refused("inspect", DEMO, "--layers")
        assert "not an artifact of Octavo" in refused("inspect", DEMO, "--verify")

    def test_json_and_graph(self, demo_int8):
        _, out, _ = run("inspect", demo_int8, "--json")
        assert json.loads(out)["method"] == "dynamic"
        _, out, _ = run("inspect", demo_int8 / "model.onnx", "--graph")
        assert out.startswith("input  %input_ids: int64[batch,length]\n")

    @pytest.mark.parametrize("content", [b"", b"\x08\x07 not onnx", b"\x0a" * 1000])
    def test_a_damaged_file_is_one_line(self, content, tmp_path):
        path = tmp_path / "damaged.onnx"
        path.write_bytes(content)
        for option in ([], ["--graph"], ["--json"]):
            code, out, err = run("inspect", path, *option)
            assert (code, out) == (2, "")
            assert err.startswith("error: ")
            assert len(err.splitlines()) == 1


class TestDoctor:
    def test_a_table_and_json(self):
        code, out, err = run("doctor")
        assert (code, err) == (0, "")
        assert "threads" in out
        assert json.loads(run("doctor", "--json")[1])["usable_cores"] >= 1


def test_a_profile_stands_under_the_comparison(demo_int8, tmp_path):
    code, out, err = run("compare", demo_int8, *PAIRED, "--limit", "40", "--profile")
    assert code == 0, err
    assert "of the peak here" in out
    files = [tmp_path / name for name in ("out.json", "again.json")]
    _, out, _ = run("compare", demo_int8, *PAIRED, "--limit", "40", "--profile", "--json", "--report", files[0])
    assert json.loads(out)["profile"][0]["rows"] == 40
    assert run("report", files[0], "-o", files[1])[0] == 0
    for file in files:
        assert json.loads(file.read_text(encoding="utf-8"))["profile"] == json.loads(out)["profile"]


def test_passes_can_be_left_out(checkpoint, tmp_path):
    command = ("quantize", checkpoint("bert"), "-o", tmp_path / "plain", "--method", "float", "--no-optimize")
    code, _, err = run(*command)
    assert code == 0, err
    manifest = open_artifact(tmp_path / "plain").manifest
    assert (manifest.passes, manifest.recipe.optimize) == ((), False)
