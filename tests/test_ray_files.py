"""`octavo predict --ray`: files in blocks, each row once, with what `octavo predict` says of it or with its error."""

import csv
import json
import os
import shutil
import sys
from contextlib import nullcontext
from itertools import accumulate
from pathlib import Path

import pytest

import octavo
import octavo.ray
from octavo.artifact.folder import open_artifact
from octavo.data.blocks import cut, join, read_block, read_table
from octavo.hardware import Cpu
from octavo.ray import job
from octavo.ray.blocks import Asked, BlockPredictor
from octavo.ray.job import JOB
from tiny_writers import write_tiny

TEXTS = [
    "아이들이 공원에서 놀고 있다.",
    "오늘 날씨는 춥지만 하늘은 맑다.",
    "a man is playing\nthe guitar",
    "아무도 공원에 없다.",
]
ROWS = [{"id": number, "text": TEXTS[number % 4], "score": number / 4} for number in range(23)]


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def write_lines(path, rows=ROWS):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def write_csv(path, rows=ROWS):
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def here(monkeypatch):
    """The actor's work in this process, and the blocks that it was given."""
    given = []

    def run(artifact, asked, parts):
        predictor = BlockPredictor(artifact.folder, asked)
        for part, block in parts.items():
            given.append(block)
            told = predictor({"part": [str(part)], "block": [json.dumps(block.__dict__)]})
            yield job.done_of(json.loads(told["told"][0]))

    monkeypatch.setattr(job, "run_parts", run)
    monkeypatch.setattr(job, "connected", lambda _: nullcontext())
    return given


def parts(folder):
    return sorted(folder.glob("part-*"))


# Blocks


@pytest.mark.parametrize("rows", [1, 4, 5, 23, 100])
@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_blocks_have_every_row_once(tmp_path, rows, ending):
    file = {"jsonl": write_lines, "csv": write_csv}[ending](tmp_path / f"입력.{ending}")
    blocks = cut(file, "utf-8", rows)
    assert [block.first for block in blocks] == list(range(0, 23, rows))
    found = [row for block in blocks for row in read_block(block, "utf-8")]
    assert found == (ROWS if ending == "jsonl" else [{k: str(v) for k, v in row.items()} for row in ROWS])


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_the_last_blocks_are_done_in_parts(tmp_path, ending):
    many = [row | {"id": number} for number, row in enumerate(ROWS * 9)]
    file = tmp_path / f"입력.{ending}"
    if ending == "parquet":
        pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
        pytest.importorskip("pyarrow.parquet").write_table(pa.Table.from_pylist(many), file, row_group_size=150)
    else:
        {"jsonl": write_lines, "csv": write_csv}[ending](file, many)
    blocks = join(cut(file, "utf-8", 3), 4)
    sizes = {"jsonl": [12] * 14 + [3] * 13, "csv": [12] * 14 + [3] * 13}
    sizes["parquet"] = [12] * 12 + [6, 12] + [3] * 15  # the row group ends at 150
    assert [block.rows for block in blocks] == sizes[ending]
    if ending == "parquet":
        assert [row for block in blocks for row in read_table(block).to_pylist()] == many
    else:
        assert [int(row["id"]) for block in blocks for row in read_block(block, "utf-8")] == list(range(207))
    assert [block.first for block in blocks] == [0, *accumulate(sizes[ending])][:-1]
    assert [block.rows for block in join(cut(file, "utf-8", 60)[:1], 4)] == [60]


def test_a_file_that_is_named_twice_is_done_twice(tmp_path):
    few, more = write_lines(tmp_path / "a.jsonl", ROWS[:3]), write_lines(tmp_path / "b.jsonl", ROWS * 9)
    cuts = [part for file in (few, few, more) for part in cut(file, "utf-8", 2)]
    found = [row for block in join(cuts, 4) for row in read_block(block, "utf-8")]
    assert found == ROWS[:3] * 2 + ROWS * 9


def test_marks_blank_lines_and_other_encodings(tmp_path):
    text = "\n" + "\n\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS[:3]) + "\n \n"
    (tmp_path / "a.jsonl").write_bytes(text.encode("utf-8-sig"))
    (tmp_path / "b.csv").write_bytes("id,문장\r\n1,눈이 온다\r\n\r\n2,비\r\n".encode("cp949"))
    (tmp_path / "c.csv").write_bytes("﻿id,문장\n1,눈\n".encode())
    assert [row for block in cut(tmp_path / "a.jsonl", "utf-8", 2) for row in read_block(block, "utf-8")] == ROWS[:3]
    found = [row for block in cut(tmp_path / "b.csv", "cp949", 1) for row in read_block(block, "cp949")]
    assert found == [{"id": "1", "문장": "눈이 온다"}, {"id": "2", "문장": "비"}]
    (block,) = cut(tmp_path / "c.csv", "utf-8", 9)
    assert read_block(block, "utf-8") == [{"id": "1", "문장": "눈"}]
    with pytest.raises(octavo.DataError, match="blocks cannot be cut in this encoding; got: utf-16"):
        cut(tmp_path / "b.csv", "utf-16", 1)


def test_rows_that_cannot_be_read_are_errors_in_their_places(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"text": 1}\n{broken\n[1]\n{"text": "\xff"}\n{"text": "x"}\n')
    found = [row for block in cut(tmp_path / "a.jsonl", "utf-8", 2) for row in read_block(block, "utf-8")]
    assert [isinstance(row, octavo.DataError) for row in found] == [False, True, True, True, False]
    assert "a.jsonl, row 2; got" in str(found[1])
    (tmp_path / "b.csv").write_bytes(b'a,b\n1,2\n3\n4,\xff\n"5\n5",6\n')
    found = [row for block in cut(tmp_path / "b.csv", "utf-8", 3) for row in read_block(block, "utf-8")]
    assert [isinstance(row, octavo.DataError) for row in found] == [False, True, True, False]
    assert found[3] == {"a": "5\n5", "b": "6"}
    (tmp_path / "c.csv").write_bytes(b'a,b\n1,2\n"3,4\n')
    with pytest.raises(octavo.DataError, match=r"the quoting is broken in .*c.csv, behind row 1"):
        cut(tmp_path / "c.csv", "utf-8", 3)


def test_a_file_that_changed_is_an_error(tmp_path):
    blocks = cut(write_lines(tmp_path / "a.jsonl"), "utf-8", 10)
    write_lines(tmp_path / "a.jsonl", ROWS[:12])
    assert len(read_block(blocks[0], "utf-8")) == 10
    with pytest.raises(octavo.DataError, match=r"the file has changed: .*from row 11; got: 2; allowed: 10"):
        read_block(blocks[1], "utf-8")


def test_parquet_keeps_its_types(tmp_path, here, made_before):
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")

    rows = [row | {"text": None} if row["id"] == 7 else row for row in ROWS]
    table = pa.Table.from_pylist(rows).append_column("when", pa.array([0] * 23, pa.timestamp("ms")))
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=9)
    blocks = cut(tmp_path / "a.parquet", "utf-8", 4)
    assert [block.rows for block in blocks] == [4, 4, 1, 4, 4, 1, 4, 1]
    assert pa.concat_tables(map(read_table, blocks)).equals(table)
    (tmp_path / "b.parquet").write_bytes(b"PAR1")
    with pytest.raises(octavo.DataError, match="no Parquet file"):
        cut(tmp_path / "b.parquet", "utf-8", 4)

    done = octavo.ray.predict_files(made_before, [tmp_path / "a.parquet"], tmp_path / "out", block_rows=4)
    assert (done.rows, done.errors) == (23, 1)
    found = pa.concat_tables(map(parquet.read_table, parts(tmp_path / "out")))
    kept = [(field.name, str(field.type)) for field in found.schema]
    assert kept[:4] == [("id", "int64"), ("text", "string"), ("input_score", "double"), ("when", "timestamp[ms]")]
    assert kept[4:] == [("label", "string"), ("score", "double"), ("error", "string")]
    answers = octavo.load(made_before, threads=1)(TEXTS)
    for row in found.to_pylist():
        assert row["input_score"] == row["id"] / 4
        if row["id"] == 7:
            assert (row["label"], row["score"]) == (None, None)
            assert "a line needs a text in" in row["error"]
        else:
            assert ({k: row[k] for k in ("label", "score")}, row["error"]) == (answers[row["id"] % 4], None)


# Jobs


def test_a_job_says_what_predict_says_and_is_taken_up(made_before, tmp_path, here):
    file, more = write_lines(tmp_path / "a.jsonl"), write_lines(tmp_path / "b.jsonl", ROWS[:3])
    octavo.predict(made_before, file, tmp_path / "alone.jsonl", threads=1)

    def ask(**changed):
        return octavo.ray.predict_files(made_before, [file, more], tmp_path / "out", block_rows=5, **changed)

    assert ask().rows == 26
    assert [path.name for path in parts(tmp_path / "out")] == [f"part-{number:06d}.jsonl" for number in range(6)]
    found = [row for part in parts(tmp_path / "out") for row in lines(part)]
    assert found == [row | {"error": None} for row in lines(tmp_path / "alone.jsonl") * 2][:26]

    before = {path: path.read_bytes() for path in parts(tmp_path / "out")}
    lost = parts(tmp_path / "out")[1::3]
    for part in lost:
        part.unlink()
    here.clear()
    assert ask().rows == 8
    assert [block.first for block in here] == [5, 20]
    assert {path: path.read_bytes() for path in parts(tmp_path / "out")} == before
    assert ask().rows == 0

    with pytest.raises(octavo.InputError, match=r"the folder has another job in .*; got: another settings"):
        ask(max_length=9)
    with pytest.raises(octavo.InputError, match=r"another job in .*; got: another files"):  # in another order
        octavo.ray.predict_files(made_before, [more, file], tmp_path / "out", block_rows=5)
    write_lines(more, ROWS[:4])
    with pytest.raises(octavo.InputError, match=r"another job in .*; got: another files"):
        ask()
    (tmp_path / "out" / JOB).unlink()
    with pytest.raises(octavo.InputError, match="there is something in the folder, and no job"):
        ask()


def test_an_empty_file_has_no_rows(made_before, tmp_path, here):
    (tmp_path / "b.csv").touch()
    broken = f"{TEXTS[1]}\r{TEXTS[2]}"
    file = write_csv(tmp_path / "a.csv", [{"premise": TEXTS[0], "hypothesis": broken}])
    assert octavo.ray.predict_files(made_before, [file, tmp_path / "b.csv"], tmp_path / "out").rows == 1
    with parts(tmp_path / "out")[0].open(encoding="utf-8", newline="") as stream:
        assert next(csv.DictReader(stream))["hypothesis"] == broken


def test_csv_in_and_out_with_errors_of_rows(made_before, tmp_path, here):
    rows = [{"번호": row["id"], "premise": row["text"], "hypothesis": TEXTS[3], "label": "x"} for row in ROWS]
    file = write_csv(tmp_path / "a.csv", rows)
    with file.open("a", encoding="utf-8") as stream:
        stream.write("23,하나\n")
    assert octavo.ray.predict_files(made_before, [file], tmp_path / "out", block_rows=10).errors == 1
    found = []
    for part in parts(tmp_path / "out"):
        with part.open(encoding="utf-8", newline="") as stream:
            found += list(csv.DictReader(stream))
    answers = octavo.load(made_before, threads=1)([(text, TEXTS[3]) for text in TEXTS])
    for number, row in enumerate(found[:-1]):
        answer = answers[number % 4]
        expected = {"번호": str(number), "premise": TEXTS[number % 4], "hypothesis": TEXTS[3], "input_label": "x"}
        expected |= {"label": answer["label"], "score": str(answer["score"])}
        assert row == expected | {"error": ""}
    assert found[-1]["error"].startswith("wrong number of columns")


def test_a_row_with_an_answer_that_is_not_finite_is_found(made_before, tmp_path, here, monkeypatch):
    whole = octavo.Predictor.stream

    def stream(self, rows, **options):
        rows = list(rows)
        if any(row["text"] == TEXTS[2] for row in rows if isinstance(row, dict)):
            raise octavo.OctavoError("row 0: the model's answer is NaN or infinite")
        return whole(self, rows, **options)

    monkeypatch.setattr(octavo.Predictor, "stream", stream)
    file = write_lines(tmp_path / "a.jsonl", ROWS[:9])
    done = octavo.ray.predict_files(made_before, [file], tmp_path / "out")
    assert (done.rows, done.errors) == (9, 2)
    (part,) = parts(tmp_path / "out")
    for number, row in enumerate(lines(part)):
        place = f"{file}, row {number + 1}: the model's answer is NaN or infinite"
        assert row["error"] == (place if number in {2, 6} else None)
        assert (row.get("text") == TEXTS[2]) == (number in {2, 6})  # what is wrong keeps what it was asked
        assert (row["label"] is None) == (number in {2, 6})


def test_what_no_row_can_be_read_by_is_refused_before_the_job(made_before, tmp_path, here):
    file = write_lines(tmp_path / "a.jsonl", [{"문장": text} for text in TEXTS])

    def ask(**more):
        return octavo.ray.predict_files(made_before, [file], tmp_path / "out", **more)

    with pytest.raises(octavo.DataError, match=r"a line needs a text in .*, row 1"):
        ask()
    with pytest.raises(octavo.DataError, match="no such column for text"):
        ask(columns={"text": "문장들"})
    with pytest.raises(octavo.InputError, match="unknown option; got: top"):
        ask(columns={"text": "문장"}, options={"top": 3})
    with pytest.raises(octavo.InputError, match="this is a model for text-classification"):
        ask(columns={"text": "문장"}, task="fill-mask")
    assert not parts(tmp_path / "out")
    (tmp_path / "c.txt").write_text("눈", encoding="utf-8")
    with pytest.raises(octavo.DataError, match=r"not read in blocks; .*allowed: .jsonl, .ndjson, .csv, .parquet"):
        octavo.ray.predict_files(made_before, [tmp_path / "c.txt"], tmp_path / "out2")


def test_a_cpu_on_which_it_would_be_wrong_ends_the_job_with_node_and_reason(made_before, monkeypatch, tmp_path, here):
    folder = Path(shutil.copytree(made_before, tmp_path / "copy"))
    text = (folder / "octavo.json").read_text("utf-8").replace('"exact_u8s8": false', '"exact_u8s8": true')
    (folder / "octavo.json").write_text(text, encoding="utf-8")
    old = Cpu("an old one", "x86_64", frozenset({"avx2"}), 1)
    monkeypatch.setattr("octavo.artifact.compatibility.this_cpu", lambda: old)
    with pytest.raises(octavo.HardwareError, match=r"on the node .*: made for any: its products.*saturate.*an old one"):
        octavo.ray.predict_files(folder, [write_lines(tmp_path / "a.jsonl")], tmp_path / "out")


OTHER_TASKS = {
    "token-classification": "BertForTokenClassification",
    "question-answering": "BertForQuestionAnswering",
    "fill-mask": "BertForMaskedLM",
    "multiple-choice": "BertForMultipleChoice",
    "feature-extraction": "BertModel",
    "late-interaction": "BertModel",
}


@pytest.mark.parametrize("task", [*OTHER_TASKS, "text-generation", "text2text-generation"])
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*unknown to the tokenizer")
def test_other_tasks_say_what_predict_says(task, tiny_parts, tmp_path, here):
    transformers = pytest.importorskip("transformers")
    if task.endswith("-generation"):  # models whose exports others need too
        family = "gpt2" if task == "text-generation" else "bart"
        write_tiny(family, tmp_path / "model", *tiny_parts.byte_pairs())
    else:
        tokenizer = tiny_parts.make_tokenizer("bert")
        transformers.set_seed(5)
        config = tiny_parts.make_config("bert", tokenizer)
        if task == "question-answering":
            config.num_labels = 2
        getattr(transformers, OTHER_TASKS[task])(config).save_pretrained(tmp_path / "model")
        tokenizer.save_pretrained(tmp_path / "model")
    options = {"max_new_tokens": 5, "do_sample": True, "seed": 3} if task.endswith("-generation") else {}
    octavo.quantize(octavo.Checkpoint(tmp_path / "model", task=task), tmp_path / "int8", target="any")
    rows = {
        "token-classification": [{"text": text} for text in TEXTS],
        "question-answering": [{"question": "누가?", "context": text} for text in TEXTS],
        "fill-mask": [{"text": f"{text} [MASK]"} for text in TEXTS],
        "multiple-choice": [{"text": text, "choices": TEXTS[:2]} for text in TEXTS],
    }.get(task, [{"text": text} for text in TEXTS])
    file = write_lines(tmp_path / "a.jsonl", [{"id": number, **row} for number, row in enumerate(rows)])
    octavo.predict(tmp_path / "int8", file, tmp_path / "alone.jsonl", threads=1, options=options)
    octavo.ray.predict_files(tmp_path / "int8", [file], tmp_path / "out", block_rows=2, options=options)
    found = [row for part in parts(tmp_path / "out") for row in lines(part)]
    assert found == [row | {"error": None} for row in lines(tmp_path / "alone.jsonl")]


def test_texts_that_the_tokenizer_hardly_knows_are_told_of(made_before, tmp_path, here):
    file = write_lines(tmp_path / "a.jsonl", [{"text": "☃ ☁ ☂ ☎ ☕ 하늘은"}] * 20)
    with pytest.warns(octavo.OctavoWarning, match="of the tokens are unknown to the tokenizer") as told:
        octavo.ray.predict_files(made_before, [file], tmp_path / "out", block_rows=2)
    assert any(warning.filename == __file__ for warning in told)


# The command line


def test_the_verb(made_before, tmp_path, here, monkeypatch, capsys):
    from octavo.cli import main

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["octavo", "predict", str(made_before), *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main.run()
        return end.value.code or 0, capsys.readouterr().err

    files = [write_lines(tmp_path / "a.jsonl"), write_lines(tmp_path / "b.jsonl", [{"text": "눈"}, {"text": None}])]
    code, told = run(*files, "-o", tmp_path / "out", "--ray", "--top-k", 2)
    assert (code, told.splitlines()[-1]) == (0, "25 rows, 1 of them with an error")
    assert len(lines(parts(tmp_path / "out")[0])[0]["scores"]) == 2
    assert run(*files, "-o", tmp_path / "out", "--ray", "--top-k", 2)[1].splitlines()[-1] == "all parts were there"
    assert "several files are for a cluster; got: 2" in run(*files, "-o", tmp_path / "x.jsonl")[1]
    assert "--address is that of a Ray cluster; got: auto; next: add --ray" in run(files[0], "--address", "auto")[1]
    assert "does not go with --ray; got: --text" in run("--text", "눈", "--ray")[1]
    assert "reads files and writes a folder" in run(files[0], "--ray")[1]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of Ray on its own libraries
def test_on_ray(made_before, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray", reason="ray is not installed")
    pytest.importorskip("pyarrow", reason="ray[data] is not installed")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # by default it writes a token into the user's home
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    file = write_lines(tmp_path / "a.jsonl", [*ROWS, {"id": 23, "text": 7}])
    assert not ray.is_initialized()
    done = octavo.ray.predict_files(made_before, [file], tmp_path / "out", block_rows=5)
    assert not ray.is_initialized()
    assert (done.rows, done.errors) == (24, 1)
    answers = octavo.load(made_before, threads=1)(TEXTS)
    found = [row for part in parts(tmp_path / "out") for row in lines(part)]
    assert [row["id"] for row in found] == list(range(24))
    assert [{k: row[k] for k in ("label", "score")} for row in found[:23]] == [answers[n % 4] for n in range(23)]

    folder = Path(shutil.copytree(made_before, tmp_path / "copy"))  # one that answers otherwise than it did
    manifest = json.loads((folder / "octavo.json").read_text(encoding="utf-8"))
    manifest["self_test"]["outputs"][0][0] += 9
    (folder / "octavo.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(octavo.ArtifactError, match=r"on the node .*: .*does not answer here as it did"):
        octavo.ray.predict_files(open_artifact(folder), [file], tmp_path / "other")


def test_reading_of_an_actor(made_before):
    predictor = BlockPredictor(made_before, Asked({}, "utf-8"))
    assert predictor.failed == {}
    assert predictor.example.keys() == {"label", "score"}
