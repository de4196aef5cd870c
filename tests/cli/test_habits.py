"""What hands try without reading: in this process, with an artifact that is in the repository."""

import csv
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from importlib.metadata import version
from types import SimpleNamespace

import pytest

import octavo
from octavo.artifact.folder import open_artifact
from octavo.cli import display, lines, main
from octavo.cli.limits import read_budget, read_limit
from octavo.errors import DataError, HardwareError, InputError
from octavo.schema.budget import Budget
from octavo.tasks import task_class

VERBS = (
    "quantize", "export", "search", "trim", "distill", "compare", "report", "predict", "inspect", "doctor", "layout",
    "push",
)  # fmt: skip
PAIRS = (("아이들이 공원에서 놀고 있다.", "아무도 공원에 없다."), ("오늘 날씨는 춥다.", "하늘은 맑다."))


@pytest.fixture
def run(monkeypatch, capsys):
    """The command line in this process: (exit code, stdout, stderr)."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["octavo", *map(str, arguments)])
        with warnings.catch_warnings(), pytest.raises(SystemExit) as end:
            main.run()
        out, err = capsys.readouterr()
        return end.value.code or 0, out, err

    return call


@pytest.fixture
def told(run):
    """The one line by which a command fails."""

    def call(*arguments):
        code, out, err = run(*arguments)
        assert (code, out, err.count("\n")) == (2, "", 1), err
        return err.removeprefix("error: ").removesuffix("\n")

    return call


@pytest.fixture(scope="module")
def answers(made_before):
    """Of each pair, and of a text alone."""
    return octavo.load(made_before)([*PAIRS, PAIRS[0][0]])


class TestFirstMinute:
    def test_version(self, run):
        assert run("--version") == (0, f"octavo {version('octavo')}\n", "")

    @pytest.mark.parametrize("verb", [(), *((verb,) for verb in VERBS)])
    def test_h_is_help_without_boxes(self, run, verb):
        code, out, err = run(*verb, "-h")
        assert (code, err) == (0, "")
        assert out == run(*verb, "--help")[1]
        assert out.startswith(" ".join(["Usage: octavo", *verb]))
        assert not set(out) & set("╭│─\x1b")

    def test_every_verb_is_listed_with_its_whole_sentence(self, run):
        lines = run("-h")[1].partition("Commands:\n")[2].splitlines()
        assert [line.split()[0] for line in lines] == list(VERBS)
        assert not [line for line in lines if line.endswith("...")]

    def test_help_is_as_wide_as_the_terminal(self, run, monkeypatch):
        widths = []
        for columns in (60, 110):
            monkeypatch.setenv("COLUMNS", str(columns))
            widths.append(max(map(len, run("compare", "-h")[1].splitlines())))
        assert widths[0] <= 60 < widths[1] <= 110

    def test_python_m_octavo_and_completion(self):
        """One process for each, as a shell starts them."""
        command = [sys.executable, "-m", "octavo"]
        told = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True, timeout=120)
        assert told.stdout == f"octavo {version('octavo')}\n"
        asked = {"_OCTAVO_COMPLETE": "complete_bash", "COMP_WORDS": "octavo quantize --meth", "COMP_CWORD": "2"}
        environment = {"PATH": "", "PYTHONPATH": ":".join(filter(None, sys.path))} | asked
        found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
        assert found.stdout.split() == ["--method"]

    def test_completion_is_offered_for_shells(self, run):
        out = run("-h")[1]
        assert "--install-completion" in out
        assert "--show-completion" in out

    def test_export_is_quantize_by_the_method_float(self, run, monkeypatch, tmp_path):
        seen = []

        def stop(model, folder, *, recipe, **_):
            seen.append((model, folder, recipe))
            raise SystemExit(0)

        monkeypatch.setattr("octavo.pipeline.quantization.quantize", stop)
        assert run("export", "모델", "-o", tmp_path / "작은 것", "--labels", "예,아니요") == (0, "", "")
        ((model, folder, recipe),) = seen
        assert (model.path, model.labels) == ("모델", ("예", "아니요"))
        assert (folder, recipe.method) == (tmp_path / "작은 것", "float")


class TestUnits:
    @pytest.mark.parametrize(
        ("name", "texts", "value"),
        [
            ("max_size", ("30%", "0.3", " 30 % ", ".3"), 0.3),
            ("min_agreement", ("99%", "0.99"), 0.99),
            ("min_cosine", ("0.95", "95%"), 0.95),
            ("min_speedup", ("1.5x", "1.5", "1.5X", "1.5×"), 1.5),
            ("max_drop", ("1%", "1", "1.0"), 1.0),
            ("max_drop", ("0.5%", "0.5", ".5", "5e-1"), 0.5),
            ("max_drop", ("0", "0%"), 0.0),
        ],
    )
    def test_spellings_of_one_limit(self, name, texts, value):
        assert {read_limit(name, text) for text in texts} == {value}

    @pytest.mark.parametrize(
        ("name", "text", "says"),
        [
            ("max_size", "30", "--max-size is out of range; got: 30; allowed: 0.1% to 1000%; next: 30% or 0.3"),
            ("max_size", "1500%", "out of range"),
            ("max_size", "0", "out of range"),
            ("max_size", "3x", "not understood"),
            ("max_size", "삼분의 일", "not understood; got: 삼분의 일; allowed: such as 30% or 0.3"),
            ("max_drop", "-1", "out of range"),
            ("max_drop", "101", "out of range"),
            ("min_speedup", "150%", "not understood"),
            ("min_speedup", "-2x", "out of range"),
            ("min_speedup", "0", "out of range"),
            ("min_agreement", "98", "next: 98% or 0.98"),
            ("min_agreement", "nan", "not understood"),
            ("min_cosine", "-1.5", "out of range"),
            ("min_cosine_worst", "1.5", "--min-cosine-worst is out of range"),
        ],
    )
    def test_limits_that_mean_nothing_or_two_things(self, name, text, says):
        with pytest.raises(InputError) as caught:
            read_limit(name, text)
        assert says in str(caught.value)

    def test_a_budget(self):
        given = {"max_drop": "1%", "max_size": "30%", "min_speedup": "1.5x", "min_cosine": None}
        assert read_budget(given) == Budget(max_drop=1.0, max_size=0.3, min_speedup=1.5)
        assert read_budget({"max_drop": None}) is None

    def test_all_are_told_before_anything_is_read(self, run):
        code, out, err = run("compare", "없다", "없다", "--data", "없다.tsv", "--max-drop", "-1", "--max-size", "30")
        assert (code, out) == (2, "")
        assert [line.split()[1] for line in err.splitlines()] == ["--max-drop", "--max-size"]


class TestTables:
    CELLS = (
        ["model", "engine", "accuracy", "points"],
        ["한국어 모델", "torch", "91.20", ""],
        ["작은 것", "x", "9", "-0.2"],
    )

    def test_columns_of_plain_text_in_a_pipe(self, capsys):
        display.print_cells([list(row) for row in self.CELLS])
        assert capsys.readouterr().out.splitlines() == [
            "model        engine  accuracy  points",
            "한국어 모델  torch      91.20",
            "작은 것      x              9    -0.2",
        ]

    def test_nothing_is_cut_in_a_pipe(self, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "20")
        display.print_cells([["model", "text"], ["가" * 300, "b" * 300]])
        display.print_heat([["block", "query"], ["0", "31.0"]])
        out = capsys.readouterr().out
        assert f"{'가' * 300}  {'b' * 300}\n" in out
        assert not set(out) & set("│┃━\x1b")

    @pytest.mark.parametrize("columns", [100, 40])
    def test_a_terminal_decides_the_width(self, capsys, monkeypatch, columns):
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        display.print_cells([list(row) for row in self.CELLS])
        lines = re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
        assert max(map(display.cell_len, lines)) <= columns
        assert "model" in lines[1]
        assert ("engine" in lines[1]) is (columns == 100)  # else the models are the columns

    def test_a_heat_map_has_colours_on_a_terminal_unless_there_are_to_be_none(self, capsys, monkeypatch):
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.delenv("NO_COLOR", raising=False)
        display.print_heat([["block", "query"], ["0", "31.0"]])
        coloured = capsys.readouterr().out
        monkeypatch.setenv("NO_COLOR", "1")
        display.print_heat([["block", "query"], ["0", "31.0"]])
        plain = capsys.readouterr().out
        assert ("\x1b[3" in coloured, "\x1b[3" in plain) == (True, False)


class TestProgress:
    def test_counts_and_what_is_left(self):
        assert display.progress_note(5, 20, 10.0) == "5 of 20, about 30 s left"
        assert display.progress_note(1234, None, 10.0) == "1,234"
        assert display.progress_note(0, 20, 10.0) == "0 of 20"

    def test_lines_where_there_is_no_terminal(self, capsys, monkeypatch):
        monkeypatch.setattr(display, "EVERY", 0.0)
        with display.TerminalProgress() as progress:
            progress.start("측정", 3)
            progress.advance()
            progress.advance()
        monkeypatch.setattr(lines, "EVERY", 0.0)
        with lines.LineProgress() as progress:  # what predict has: steps without names
            progress.start("예측", 2)
            progress.advance()
        out, err = capsys.readouterr()
        assert out == ""
        told = [line.partition(", about ")[0] for line in err.splitlines()]
        assert told == ["측정 ...", "측정: 1 of 3", "측정: 2 of 3", "예측: 1 of 2"]


class TestEndOfQuantize:
    @pytest.fixture
    def end(self, run, made_before, monkeypatch):
        """The lines that a command ends with where every artifact is the one of the repository."""
        monkeypatch.setattr("octavo.pipeline.plan.make_plan", lambda *_, **__: None)
        monkeypatch.setattr("octavo.exporting.float_graphs.export", lambda *_, **__: None)
        monkeypatch.setattr("octavo.pipeline.quantization.quantize", lambda *_, **__: open_artifact(made_before))

        def call(*arguments):
            code, out, err = run("quantize", *arguments)
            assert (code, err) == (0, "")
            return out.splitlines()

        return call

    def test_the_command_is_typed_as_it_stands(self, end):
        asked = ("--task", "ner", "--tokenizer", "토큰 사전", "--labels", "예,아니요", "--ignore-weights", "crf.*")
        *_, last = end("한국어 모델", "-o", "작은 것", "--method", "float", "--method", "dynamic", *asked)
        words = shlex.split(last.removeprefix("next, with examples of yours: "))
        assert words[:5] == ["octavo", "compare", "한국어 모델", "작은 것/float", "작은 것/dynamic"]
        assert words[5:9] == ["--task", "ner", "--tokenizer", "토큰 사전"]
        assert words[9:] == ["--labels", "예,아니요", "--ignore-weights", "crf.*", "--data", "FILE"]

    def test_whether_it_loads_here(self, end, monkeypatch):
        told = [line for line in end("모델", "-o", "작은 것") if "on this CPU" in line]
        assert [line.startswith("loads on this CPU: ") for line in told] == [True]

        def wrong(*_):
            raise HardwareError("made for avx512_vnni", then="make it again with --target avx2")

        monkeypatch.setattr("octavo.artifact.compatibility.check_cpu", wrong)
        expected = "does not load on this CPU: made for avx512_vnni; next: make it again with --target avx2"
        assert [line for line in end("모델", "-o", "작은 것") if "on this CPU" in line] == [expected]


class TestPredict:
    def predicted(self, run, *arguments):
        code, out, err = run("predict", *arguments)
        assert code == 0, err
        return [json.loads(line) for line in out.splitlines()]

    def write(self, path, header, rows):
        if path.suffix == ".tsv":
            path.write_text("\n".join("\t".join(row) for row in (header, *rows)) + "\n", encoding="utf-8")
            return path
        text = io.StringIO()
        csv.writer(text).writerows([header, *rows])
        path.write_text(text.getvalue(), encoding="utf-8")
        return path

    @pytest.mark.parametrize("ending", ["tsv", "csv"])
    @pytest.mark.parametrize("names", [("premise", "hypothesis"), ("sentence1", "sentence2"), ("text", "text_pair")])
    def test_tables_as_compare_reads_them(self, run, made_before, answers, tmp_path, ending, names):
        rows = [[f"행-{number}", *pair, "neutral"] for number, pair in enumerate(PAIRS)]
        file = self.write(tmp_path / f"입력.{ending}", ["id", *names, "label"], rows)
        found = self.predicted(run, made_before, file)
        expected = [{"id": f"행-{n}", "input_label": "neutral", **answer} for n, answer in enumerate(answers[:2])]
        assert found == expected

    def test_columns_of_other_names(self, run, made_before, answers, tmp_path):
        file = self.write(tmp_path / "in.tsv", ["문장", "둘째", "번호"], [[*pair, "7"] for pair in PAIRS])
        found = self.predicted(run, made_before, file, "--columns", "text=문장,text_pair=둘째")
        assert found == [{"번호": "7", **answer} for answer in answers[:2]]

    def test_json_lines_keep_what_they_have(self, run, made_before, answers, tmp_path):
        row = {
            "id": 7,
            "premise": PAIRS[0][0],
            "hypothesis": PAIRS[0][1],
            "score": 3,
            "input_score": [1],
            "곳": {"a": None},
        }
        (tmp_path / "in.jsonl").write_text(
            json.dumps(row) + "\n\n" + '{"text": "' + PAIRS[0][0] + '"}\n', encoding="utf-8"
        )
        found = self.predicted(run, made_before, tmp_path / "in.jsonl")
        kept = {"id": 7, "input_input_score": 3, "input_score": [1], "곳": {"a": None}}
        assert found == [kept | answers[0], answers[2]]

    def test_a_row_with_a_text_is_that_text_whatever_else_it_has(self, run, made_before, answers, tmp_path):
        others = {"sentence1": "비가 온다.", "sentence2": "맑다.", "hypothesis": "눈", "data": [1], "비율": None}
        line = json.dumps({"text": PAIRS[0][0]} | others).replace("null", "NaN")  # as pandas writes it
        for name in ("in.jsonl", "in.txt"):
            (tmp_path / name).write_text(f"\n{line}\n{line}\n", encoding="utf-8")
            assert self.predicted(run, made_before, tmp_path / name) == [others | answers[2]] * 2
        (tmp_path / "in.json").write_text(line.replace("[1]", "1"), encoding="utf-8")  # a list would be SQuAD's
        assert self.predicted(run, made_before, tmp_path / "in.json") == [others | {"data": 1} | answers[2]]
        (tmp_path / "cp949.txt").write_bytes(f'{{"text": "{PAIRS[0][0]}"}}\n'.encode("cp949"))
        assert self.predicted(run, made_before, tmp_path / "cp949.txt", "--encoding", "cp949") == [answers[2]]

    def test_progress_counts_the_rows_that_are_answered(self, made_before, tmp_path):
        said = []
        progress = SimpleNamespace(
            start=lambda _, total: said.append(total), advance=lambda amount=1: said.append(amount)
        )
        octavo.predict(made_before, ["눈"] * 5, tmp_path / "out.jsonl", progress=progress)
        assert said == [5, 1, 1, 1, 1, 1]

    def test_lists_lines_of_text_and_json_lines_under_other_names(self, run, made_before, answers, tmp_path):
        text = PAIRS[0][0]
        contents = {
            "a.json": json.dumps([{"review": text}]),
            "b.txt": text + "\n",
            "c.json": json.dumps({"text": text}),
        }
        for name, content in contents.items():
            (tmp_path / name).write_text(content, encoding="utf-8")
            assert self.predicted(run, made_before, tmp_path / name) == [answers[2]]
        (tmp_path / "d.tsv").write_bytes(f"text\n{text}\n".encode("cp949"))
        assert self.predicted(run, made_before, tmp_path / "d.tsv", "--encoding", "cp949") == [answers[2]]

    def test_a_text_on_the_command_line(self, run, made_before, answers):
        assert self.predicted(run, made_before, "--text", PAIRS[0][0]) == [answers[2]]
        options = [word for a, b in PAIRS for word in ("--text", a, "--text-pair", b)]
        assert self.predicted(run, made_before, *options) == answers[:2]

    def test_all_scores(self, run, made_before, answers):
        (found,) = self.predicted(run, made_before, "--text", PAIRS[0][0], "--top-k", 100)
        scores = found.pop("scores")
        assert found == answers[2] == scores[0]
        assert len(scores) == len(open_artifact(made_before).manifest.signature.labels)
        assert sum(score["score"] for score in scores) == pytest.approx(1)
        assert scores == sorted(scores, key=lambda score: -score["score"])
        assert len(self.predicted(run, made_before, "--text", "눈", "--top-k", 2)[0]["scores"]) == 2

    def test_what_is_asked_twice_or_half(self, told):
        assert "rows are those of a file, or texts" in told("predict", "모델", "in.tsv", "--text", "눈")
        assert "1 --text and 2 --text-pair" in told(
            "predict", "모델", "--text", "눈", "--text-pair", "a", "--text-pair", "b"
        )
        assert "next: a text itself is given with --text" in told("predict", "모델", "오늘은 눈이 왔다")

    def test_rows_that_cannot_be(self, told, made_before, tmp_path):
        file = self.write(tmp_path / "in.tsv", ["문장"], [["눈"]])
        assert f"a line needs a text in {file}, line 2" in told("predict", made_before, file)

    @pytest.mark.parametrize(
        ("task", "row", "read", "other"),
        [
            (
                "question-answering",
                {"id": 1, "question": "누가?", "context": "그가.", "answers": []},
                ("question", "context"),
                {"id", "answers"},
            ),
            (
                "multiple-choice",
                {"ctx": "눈이", "endings": ["왔다", "갔다"], "label": 0},
                ("text", "choices"),
                {"label"},
            ),
            (
                "multiple-choice",
                {"sent1": "눈이", "choice0": "왔다", "choice1": "갔다", "id": 3},
                ("text", "choices"),
                {"id"},
            ),
            (
                "token-classification",
                {"tokens": ["서울", "역"], "ner_tags": [1, 0], "id": 2},
                ("text",),
                {"ner_tags", "id"},
            ),
            ("feature-extraction", {"sentence1": "눈", "score": 1.0}, ("text",), {"score"}),
        ],
    )
    def test_each_task_finds_its_fields(self, task, row, read, other):
        one = object.__new__(task_class(task))
        fields, others = one.split_row(row, {}, "행 1")
        assert (tuple(fields), set(others)) == (read, other)
        one.parse_row(fields)


class TestSwapped:
    @pytest.fixture
    def places(self, tmp_path, made_before):
        checkpoint = tmp_path / "한국어 모델"
        checkpoint.mkdir()
        (checkpoint / "config.json").write_text("{}", encoding="utf-8")
        shutil.copytree(made_before, tmp_path / "out" / "dynamic")
        for number in (500, 1500, 1000):
            (tmp_path / "trained" / f"checkpoint-{number}").mkdir(parents=True)
            (tmp_path / "trained" / f"checkpoint-{number}" / "config.json").write_text("{}", encoding="utf-8")
        (tmp_path / "data.tsv").write_text("text\n눈\n", encoding="utf-8")
        names = {"checkpoint": checkpoint, "artifact": tmp_path / "out" / "dynamic", "trained": tmp_path / "trained"}
        return SimpleNamespace(**names, data=tmp_path / "data.tsv", folder=tmp_path)

    def test_the_output_is_the_checkpoint(self, told, places):
        line, given = told("quantize", places.folder / "새것", "-o", places.checkpoint), [str(places.checkpoint), "-o"]
        given.append(str(places.folder / "새것"))
        assert line.endswith(f"next: {shlex.join(['octavo', 'quantize', *given])}")
        for given in (places.checkpoint, "klue/roberta-base"):  # an id of the hub is no folder that is swapped
            line = told("quantize", given, "-o", places.checkpoint)
            assert line.endswith("next: name a folder that is not there yet")

    def test_data_before_the_artifact(self, told, places):
        line = told("predict", places.data, places.artifact)
        assert line.endswith(f"next: octavo predict {places.artifact} {places.data}")

    def test_data_and_models_of_compare(self, told, places):
        line = told("compare", places.artifact, places.data)
        assert line.endswith(f"next: octavo compare {places.artifact} --data {places.data}")
        line = told("compare", places.artifact, places.data, "--data", places.checkpoint)
        assert line.endswith(f"next: octavo compare {places.artifact} '{places.checkpoint}' --data {places.data}")
        assert "--data is a folder" in told("compare", places.artifact, "--data", places.checkpoint)

    @pytest.mark.parametrize(
        "command", [("predict",), ("inspect",), ("compare", "--data", "x.tsv"), ("quantize", "-o", "x")]
    )
    def test_a_trainers_folder(self, run, places, command):
        verb, *options = command
        code, out, err = run(verb, places.trained, *options)
        line = err.splitlines()[-1]
        assert (code, out) == (2, "")
        assert f"a Trainer's folder of checkpoints, and none itself; got: {places.trained}, with 3 in it" in line
        assert line.endswith(f"the last is {places.trained / 'checkpoint-1500'}")

    def test_files_where_folders_are_wanted(self, told, places):
        line = told("predict", places.artifact / "octavo.json")
        assert line.endswith(f"next: name its folder: {places.artifact}")
        assert told("predict", places.artifact / "model.onnx").endswith(f"next: name its folder: {places.artifact}")
        assert f"name one of them: {places.artifact}" in told("predict", places.folder / "out")
        assert "a data file in the place of a model" in told("inspect", places.data)
        assert "this is a folder" in told("predict", places.artifact, places.checkpoint)

    def test_the_json_of_a_report(self, told, places):
        page, then = places.folder / "out.html", "octavo compare ... --report FILE.json writes one"
        missing = places.folder / "없다.json"
        assert told("report", missing, "-o", page) == f"no such JSON file; got: {missing}; next: {then}"
        line = told("report", places.artifact / "octavo.json", "-o", page)
        assert line.startswith("this is not a comparison that Octavo wrote in ")
        assert "got: an object with " in line
        assert line.endswith(f"next: {then}")
        assert told("report", places.data, "-o", page).startswith(f"this is not a readable JSON file in {places.data}")
        (places.folder / "r.json").write_text("{}", encoding="utf-8")
        line = told("report", page, "-o", places.folder / "r.json")
        assert line.endswith(f"next: octavo report {places.folder / 'r.json'} -o {page}")


def test_columns_that_a_row_does_not_have():
    one = object.__new__(task_class("text-classification"))
    with pytest.raises(DataError, match="no such column for text in 행 1; got: 문자; allowed: 문장"):
        one.split_row({"문장": "눈"}, {"text": "문자"}, "행 1")
