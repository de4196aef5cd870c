import io
import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import transformers

import octavo
from octavo.errors import ArtifactError, DataError, InputError, OctavoWarning
from octavo.inference.predictor import Predictor

DEMO = Path(__file__).parents[2] / "examples" / "korean-nli"
TEXTS = [
    "설악산 정상 부근에는 지난밤 내린 눈이 아직 녹지 않고 남아 있다.",
    "도로가 통제되었다.",
    "",
    "눈",
    "준석이는 어제도 냉면을 먹었으니 오늘은 국밥을 먹자고 했다. " * 6,
    "The quick brown fox, 1234!",
    "아무도 공원에 없다.",
]
PAIRS = [(TEXTS[0], TEXTS[1]), (TEXTS[1], TEXTS[0]), (TEXTS[3], ""), ("", TEXTS[3]), (TEXTS[4], TEXTS[0])]
MIXED = [row for rows in itertools.zip_longest(TEXTS, PAIRS) for row in rows if row is not None]
UNKNOWN = "𐍈 𐍉 𐌰 𐌱 " * 20  # Gothic


@pytest.fixture(scope="module")
def float32(demo_float):
    return octavo.load(demo_float)


@pytest.fixture
def fresh32(demo_float):
    """A predictor that has counted nothing yet."""
    return octavo.load(demo_float)


@pytest.fixture(scope="module")
def pipeline():
    transformers.logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return transformers.pipeline("text-classification", str(DEMO), device="cpu")


def near(expected, tolerance=1e-5):
    return [{"label": row["label"], "score": pytest.approx(row["score"], abs=tolerance)} for row in expected]


def one_by_one(predictor, rows):
    return [predictor([row])[0] for row in rows]


class TestShapes:
    def test_a_text_gives_a_list_with_one(self, float32, pipeline):
        (found,) = float32(TEXTS[0])
        assert set(found) == {"label", "score"}
        assert [found] == near(pipeline([TEXTS[0]]))

    def test_a_pair_gives_one(self, float32):
        found = float32(PAIRS[0])
        assert found == float32({"text": PAIRS[0][0], "text_pair": PAIRS[0][1]})
        assert [found] == float32([PAIRS[0]])
        assert [found] != float32([PAIRS[0][::-1]])

    def test_a_mapping_without_a_pair_is_a_text(self, float32):
        assert [float32({"text": TEXTS[0]})] == float32(TEXTS[0])
        assert [float32({"text": TEXTS[0], "text_pair": None})] == float32(TEXTS[0])

    def test_a_list_of_two_texts_is_two_texts(self, float32):
        found = float32([TEXTS[0], TEXTS[1]])
        assert found == near([*float32(TEXTS[0]), *float32(TEXTS[1])])
        assert found[0] != float32((TEXTS[0], TEXTS[1]))

    def test_an_empty_list_gives_an_empty_list(self, float32):
        assert float32([]) == []
        assert list(float32(iter([]))) == []

    def test_an_empty_text_is_a_text(self, float32, pipeline):
        (found,) = float32("")
        assert [found] == near(pipeline([""]))
        assert float32(["", TEXTS[0]])[0] == near([found])[0]

    def test_mixed_rows_and_lengths_keep_their_order(self, float32):
        expected = one_by_one(float32, MIXED)
        assert len({row["score"] for row in expected}) == len(MIXED) - 1  # ("눈", "") is "눈"
        assert float32(MIXED) == near(expected)
        assert float32(MIXED[::-1]) == near(expected[::-1])

    def test_many_rows_keep_their_order(self, float32):
        rows = [f"{number} 번째 문장은 " + "아주 " * (number * 7 % 23) + "길다." for number in range(300)]
        picked = range(0, 300, 29)
        found = float32(rows)
        assert [found[index] for index in picked] == near(one_by_one(float32, [rows[index] for index in picked]))

    def test_other_iterables_give_an_iterator(self, float32):
        expected = float32(TEXTS)
        for rows in (iter(TEXTS), dict.fromkeys(TEXTS).keys(), (text for text in TEXTS)):
            found = float32(rows)
            assert iter(found) is found
            assert list(found) == near(expected)


class TestGenerators:
    @pytest.fixture
    def counted(self, monkeypatch):
        """A generator of 23 rows that is longer than the window, and the list of what was drawn from it."""
        monkeypatch.setattr("octavo.inference.predictor.ROWS_AT_ONCE", 5)
        drawn = []

        def rows():
            for number in range(23):
                drawn.append(number)
                yield TEXTS[number % len(TEXTS)]

        return rows(), drawn

    def test_nothing_is_drawn_before_it_is_asked_for(self, float32, counted):
        rows, drawn = counted
        float32(rows)
        assert drawn == []

    def test_one_window_is_held(self, float32, counted):
        rows, drawn = counted
        found, ahead = float32(rows), []
        for index, _ in enumerate(found):
            ahead.append(len(drawn) - index)
        assert len(drawn) == 23
        assert (max(ahead), ahead[0], ahead[4], ahead[5]) == (5, 5, 1, 5)

    def test_windows_do_not_change_the_answers(self, float32, counted):
        rows, _ = counted
        expected = one_by_one(float32, TEXTS)
        assert list(float32(rows)) == near([expected[number % len(TEXTS)] for number in range(23)])

    def test_it_need_not_end(self, float32, monkeypatch):
        monkeypatch.setattr("octavo.inference.predictor.ROWS_AT_ONCE", 4)
        found = list(itertools.islice(float32(itertools.cycle(TEXTS)), 10))
        assert len(found) == 10

    def test_an_error_of_the_generator_comes_through(self, float32):
        def rows():
            yield TEXTS[0]
            raise LookupError("the database is gone")

        with pytest.raises(LookupError, match="the database is gone"):
            list(float32(rows()))

    def test_a_wrong_row_is_named_by_its_position_in_all(self, float32, counted):
        rows, _ = counted
        with pytest.raises(DataError, match=r"got: int 7.*row 23|row 23.*got: int 7"):
            list(float32(itertools.chain(rows, [7])))


class TestWrongRows:
    @pytest.mark.parametrize("wrong", [3, None, b"bytes", ("a",), ("a", 1), {"txt": "a"}, {"text": "a", "label": 1}])
    def test_a_row_is_named(self, float32, wrong):
        with pytest.raises(DataError, match=r"row 2: a row is a text or a pair") as caught:
            float32(["a", ("a", "b"), wrong])
        assert len(str(caught.value).splitlines()) == 1

    @pytest.mark.parametrize("wrong", [3, None, 1.5, b"bytes"])
    def test_no_row_at_all(self, float32, wrong):
        with pytest.raises(DataError, match="a row is a text or a pair"):
            float32(wrong)

    @pytest.mark.parametrize("wrong", [("a",), ("a", "b", "c"), {"sentence": "a"}, {}])
    def test_one_wrong_row_alone(self, float32, wrong):
        with pytest.raises(DataError, match="a row is a text or a pair"):
            float32(wrong)

    def test_half_of_a_surrogate_pair(self, float32):
        with pytest.raises(DataError, match="row 1"):
            float32(["눈", "\ud83d"])


class TestLimits:
    def test_a_lower_limit_cuts(self, demo_float, float32):
        predictor = octavo.load(demo_float, max_length=8)
        rows = [TEXTS[3], TEXTS[0], PAIRS[0]]
        found = predictor(rows)
        assert (predictor.counts.rows, predictor.counts.truncated) == (3, 2)
        expected = float32(rows)
        assert found[0] == near([expected[0]])[0]
        assert found[1] != near([expected[1]])[0]

    def test_a_lower_limit_is_that_of_transformers(self, demo_float, pipeline):
        rows = [{"text": text, "text_pair": pair} for text, pair in PAIRS if pair]
        found = octavo.load(demo_float, max_length=12)(rows)
        expected = [pipeline(row, truncation=True, max_length=12) for row in rows]
        assert found == near(expected, 1e-4)

    def test_the_limit_of_the_model_is_its_highest(self, demo_float):
        assert octavo.load(demo_float, max_length=256).signature.max_length == 256
        with pytest.raises(InputError, match="max_length can only be lowered; got: 257; allowed: 1 to 256"):
            octavo.load(demo_float, max_length=257)
        with pytest.raises(InputError, match="max_length can only be lowered; got: 0"):
            octavo.load(demo_float, max_length=0)

    @pytest.mark.parametrize("limit", [1, 2, 3])
    def test_a_limit_that_leaves_no_room(self, demo_float, limit):
        with pytest.raises(InputError, match=f"leaves no room for text; got: {limit}; allowed: above 3"):
            octavo.load(demo_float, max_length=limit)

    def test_long_texts_are_cut_and_counted(self, fresh32):
        long = " ".join(TEXTS) * 20
        (cut,) = fresh32(long)
        assert (fresh32.counts.rows, fresh32.counts.truncated, fresh32.counts.tokens) == (1, 1, 256)
        assert fresh32(long + "그리고 더") == near([cut])
        fresh32([TEXTS[3], (long, TEXTS[3])])
        assert (fresh32.counts.rows, fresh32.counts.truncated) == (4, 3)


class TestUnknownTokens:
    def test_they_are_warned_of_once(self, fresh32):
        with pytest.warns(OctavoWarning, match=r"of the tokens are unknown to the tokenizer") as caught:
            fresh32([UNKNOWN] * 3)
        assert len(caught) == 1
        fresh32(UNKNOWN)  # a second warning would be an error here
        assert fresh32.counts.unknown == 4 * 80

    def test_the_share_is_told(self, fresh32):
        with pytest.warns(OctavoWarning, match="^98% of the tokens"):
            fresh32(UNKNOWN)  # 80 of 82

    def test_few_are_not_warned_of(self, fresh32):
        fresh32([*TEXTS, "𐍈"])
        assert 0 < fresh32.counts.unknown < 0.1 * fresh32.counts.tokens

    def test_one_short_text_is_not_warned_of(self, fresh32):
        fresh32("𐍈 𐍉")
        assert fresh32.counts.unknown == 2


class TestTransformers:
    def test_texts_and_pairs_answer_as_the_pipeline(self, float32, pipeline):
        rows = [{"text": text, "text_pair": pair} for text, pair in PAIRS]
        assert float32(TEXTS) == near(pipeline(TEXTS), 1e-4)
        assert float32(rows) == near(pipeline(rows), 1e-4)

    @pytest.mark.parametrize(
        "given",
        [TEXTS[0], {"text": TEXTS[0], "text_pair": TEXTS[1]}, {"text": TEXTS[0]}, TEXTS[:2], TEXTS[:1]],
        ids=["text", "pair", "mapping", "texts", "list of one"],
    )
    def test_the_shape_is_that_of_the_pipeline(self, float32, pipeline, given):
        found, expected = float32(given), pipeline(given)
        assert type(found) is type(expected)
        if isinstance(expected, dict):
            found, expected = [found], [expected]
        assert found == near(expected, 1e-4)

    def test_a_generator_gives_what_the_pipeline_gives(self, float32, pipeline):
        found, expected = float32(text for text in TEXTS), pipeline(text for text in TEXTS)
        assert not isinstance(found, list)
        assert not isinstance(expected, list)
        assert list(found) == near(list(expected), 1e-4)

    def test_a_checkpoint_answers_as_the_pipeline(self, pipeline):
        predictor = octavo.load(DEMO)
        assert predictor.session.name == "torch"
        assert predictor(TEXTS) == near(pipeline(TEXTS), 1e-4)

    def test_a_checkpoint_has_no_engine(self):
        with pytest.raises(InputError, match=r"a checkpoint runs in torch; got: onnxruntime; next: octavo quantize"):
            octavo.load(DEMO, engine="onnxruntime")


class TestLoading:
    def test_int8_agrees_with_float(self, demo_int8, float32):
        rows = [*TEXTS, *PAIRS]
        found, expected = octavo.load(demo_int8)(rows), float32(rows)
        assert [row["score"] for row in found] == pytest.approx([row["score"] for row in expected], abs=0.05)
        assert found != expected
        sure = [index for index, row in enumerate(expected) if row["score"] > 0.6]
        assert len(sure) >= 3
        assert [found[index]["label"] for index in sure] == [expected[index]["label"] for index in sure]

    def test_threads_at_once_get_the_answers_of_one(self, demo_int8, monkeypatch):
        monkeypatch.setattr("octavo.inference.predictor.ROWS_AT_ONCE", 3)
        predictor = octavo.load(demo_int8, threads=1)
        jobs = [MIXED[start:] + MIXED[:start] for start in range(len(MIXED))] * 4
        expected = [predictor(rows) for rows in jobs]
        rows_before, barrier = predictor.counts.rows, threading.Barrier(8)

        def work(number):
            barrier.wait()
            return [predictor(rows) for rows in jobs[number::8]]

        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(work, range(8)))
        assert found == [expected[number::8] for number in range(8)]
        assert predictor.counts.rows == 2 * rows_before

    def test_a_fresh_process_gives_the_very_same_answers_without_torch(self, demo_int8, demo_float):
        code = (
            "import json, sys, octavo\n"
            "rows = json.loads(sys.argv[2])\n"
            "print(json.dumps(octavo.load(sys.argv[1])(rows)))\n"
            "heavy = {'torch', 'transformers', 'onnx_ir', 'onnxscript', 'onnx', 'typer', 'rich'} & set(sys.modules)\n"
            "assert not heavy, heavy\n"
        )
        rows = [{"text": text} for text in TEXTS] + [{"text": text, "text_pair": pair} for text, pair in PAIRS]
        for folder in (demo_int8, demo_float):
            command = [sys.executable, "-c", code, str(folder), json.dumps(rows)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, "")
            assert done.stdout == json.dumps(octavo.load(folder)(rows)) + "\n"

    def test_a_folder_may_be_moved(self, demo_int8, tmp_path):
        folder = shutil.copytree(demo_int8, tmp_path / "옮긴 모델")
        assert octavo.load(folder)(TEXTS) == octavo.load(demo_int8)(TEXTS)

    @pytest.mark.parametrize("kind", ["nothing", "empty"])
    def test_what_is_no_artifact(self, tmp_path, kind):
        (tmp_path / "empty").mkdir()
        with pytest.raises(ArtifactError) as caught:
            octavo.load(tmp_path / kind)
        assert str(tmp_path / kind) in str(caught.value)

    def test_other_problem_types_of_the_same_model(self, demo_float, float32, tmp_path):
        logits = float32.logits([TEXTS[0]])[0]
        folder = shutil.copytree(demo_float, tmp_path / "copy")
        manifest = json.loads((folder / "octavo.json").read_text(encoding="utf-8"))
        for problem, score in (
            ("multi_label_classification", 1 / (1 + np.exp(-logits.max()))),
            ("regression", logits.max()),
            ("single_label_classification", np.exp(logits.max()) / np.exp(logits).sum()),
        ):
            manifest["signature"]["problem_type"] = problem
            (folder / "octavo.json").write_text(json.dumps(manifest), encoding="utf-8")
            (found,) = octavo.load(folder)(TEXTS[0])
            assert found["label"] == manifest["signature"]["labels"][logits.argmax()]
            assert found["score"] == pytest.approx(score, abs=1e-5)


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def read_jsonl(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class TestFiles:
    @pytest.fixture
    def folder(self, tmp_path):
        """An empty folder to write to, so that leftovers are seen."""
        (tmp_path / "out").mkdir()
        return tmp_path / "out"

    def test_rows_go_in_and_out_in_order(self, demo_float, float32, tmp_path, folder, monkeypatch):
        monkeypatch.setattr("octavo.inference.predictor.ROWS_AT_ONCE", 4)
        rows = [{"text": text} for text in TEXTS] + [{"text": text, "text_pair": pair} for text, pair in PAIRS]
        rows = [*rows, *rows[::-1]]
        source = write_jsonl(tmp_path / "입력.jsonl", rows)
        counts = octavo.predict(demo_float, source, folder / "출력.jsonl")
        assert read_jsonl(folder / "출력.jsonl") == near(one_by_one(float32, rows))
        assert (counts.rows, counts.truncated) == (len(rows), 0)
        assert [path.name for path in folder.iterdir()] == ["출력.jsonl"]

    def test_a_checkpoint_predicts_files_too(self, demo_float, tmp_path):
        source = write_jsonl(tmp_path / "in.jsonl", [{"text": text} for text in TEXTS])
        octavo.predict(DEMO, source, tmp_path / "torch.jsonl")
        octavo.predict(demo_float, source, tmp_path / "onnx.jsonl")
        assert read_jsonl(tmp_path / "torch.jsonl") == near(read_jsonl(tmp_path / "onnx.jsonl"))

    def test_hangul_is_not_escaped(self, demo_float, fresh32, tmp_path, monkeypatch):
        signature = fresh32.signature.model_copy(update={"labels": ("함의", "모순", "중립")})
        tokenizer_json = (demo_float / "tokenizer.json").read_text(encoding="utf-8")
        named = Predictor(fresh32.session, tokenizer_json, signature)
        monkeypatch.setattr("octavo.inference.jsonl.load", lambda *_, **__: named)
        source = write_jsonl(tmp_path / "in.jsonl", [{"text": TEXTS[0], "text_pair": TEXTS[1]}])
        octavo.predict(demo_float, source, tmp_path / "out.jsonl")
        written = (tmp_path / "out.jsonl").read_bytes().decode("utf-8")
        assert any(label in written for label in ("함의", "모순", "중립"))
        assert "\\u" not in written
        assert written.endswith("}\n")

    @pytest.mark.parametrize(
        "content",
        [
            '{"text": "눈"}\n{"text": "비"}\n',
            '\ufeff{"text": "눈"}\n{"text": "비"}\n',
            '{"text": "눈"}\r\n{"text": "비"}\r\n',
            '{"text": "눈"}\n{"text": "비"}',
            '\n\n{"text": "눈"}\n   \n{"text": "비"}\n\t\n\n',
            '\ufeff\n{"text": "눈"}\n{"text": "비"}\n',
            '{"text": "\\ub208"}\n{"text": "\\ube44"}\n',
            '{"label": 3, "text": "눈", "id": [1]}\n{"text": "비", "text_pair": null, "guid": "x"}\n',
        ],
        ids=["plain", "BOM", "CRLF", "no last newline", "blank lines", "BOM and blank", "escapes", "more keys"],
    )
    def test_lines_that_are_understood(self, demo_float, float32, tmp_path, content):
        (tmp_path / "in.jsonl").write_text(content, encoding="utf-8", newline="")
        counts = octavo.predict(demo_float, tmp_path / "in.jsonl", tmp_path / "out.jsonl")
        found = [{name: row[name] for name in ("label", "score")} for row in read_jsonl(tmp_path / "out.jsonl")]
        assert found == near(float32(["눈", "비"]))
        assert counts.rows == 2

    @pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
    def test_no_rows_give_an_empty_file(self, demo_float, tmp_path, content):
        (tmp_path / "in.jsonl").write_bytes(content)
        counts = octavo.predict(demo_float, tmp_path / "in.jsonl", tmp_path / "out.jsonl")
        assert counts.rows == 0
        assert (tmp_path / "out.jsonl").read_bytes() == b""

    @pytest.mark.parametrize(
        ("line", "told"),
        [
            (b"not JSON", "not a line of JSON"),
            (b'{"text": "a"', "not a line of JSON"),
            ('{"text": "눈"}'.encode("cp949"), "not a line of JSON"),
            (b'"a"', "a line needs a text"),
            (b"[]", "a line needs a text"),
            (b"{}", "a line needs a text"),
            (b'{"text": null}', "a line needs a text"),
            (b'{"text": ["a", "b"]}', "a line needs a text"),
            (b'{"satz": "a"}', "a line needs a text"),
            (b'{"text": "a", "text_pair": 3}', "a row is a text or a pair"),
            (b'{"text": "\\ud83d"}', ""),
            (b"[" * 100_000, ""),
        ],
    )
    def test_a_bad_line_is_named_and_nothing_is_left(self, demo_float, tmp_path, folder, line, told):
        source = tmp_path / "in.jsonl"
        source.write_bytes(b'{"text": "a"}\n\n' + b'{"text": "b"}\n' * 3 + line + b'\n{"text": "c"}\n')
        with pytest.raises(DataError, match=f"(?s)(?=.*{told}).*{source}, line 6") as caught:
            octavo.predict(demo_float, source, folder / "out.jsonl")
        assert len(str(caught.value).splitlines()) == 1
        assert len(str(caught.value)) < 500
        assert list(folder.iterdir()) == []

    def test_a_bad_line_behind_the_first_window_leaves_nothing(self, demo_float, tmp_path, folder, monkeypatch):
        monkeypatch.setattr("octavo.inference.predictor.ROWS_AT_ONCE", 2)
        (tmp_path / "in.jsonl").write_text('{"text": "a"}\n' * 5 + "bad\n", encoding="utf-8")
        with pytest.raises(DataError, match=r"not a line of JSON in .*, line 6"):
            octavo.predict(demo_float, tmp_path / "in.jsonl", folder / "out.jsonl")
        assert list(folder.iterdir()) == []

    def test_an_output_that_is_there_stays_after_a_failure(self, demo_float, tmp_path, folder):
        (folder / "out.jsonl").write_text("yesterday's", encoding="utf-8")
        (tmp_path / "in.jsonl").write_text('{"text": "a"}\nbad\n', encoding="utf-8")
        with pytest.raises(DataError, match="line 2"):
            octavo.predict(demo_float, tmp_path / "in.jsonl", folder / "out.jsonl")
        assert [path.name for path in folder.iterdir()] == ["out.jsonl"]
        assert (folder / "out.jsonl").read_text(encoding="utf-8") == "yesterday's"

    def test_an_output_that_is_there_is_replaced_after_a_success(self, demo_float, tmp_path, folder):
        (folder / "out.jsonl").write_text("yesterday's\n" * 1000, encoding="utf-8")
        source = write_jsonl(tmp_path / "in.jsonl", [{"text": "a"}])
        octavo.predict(demo_float, source, folder / "out.jsonl")
        assert len(read_jsonl(folder / "out.jsonl")) == 1
        assert [path.name for path in folder.iterdir()] == ["out.jsonl"]

    def test_an_interruption_leaves_nothing(self, demo_float, tmp_path, folder, monkeypatch):
        def interrupted(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr("octavo.inference.predictor.Predictor.run", interrupted)
        source = write_jsonl(tmp_path / "in.jsonl", [{"text": "a"}])
        with pytest.raises(KeyboardInterrupt):
            octavo.predict(demo_float, source, folder / "out.jsonl")
        assert list(folder.iterdir()) == []

    def test_a_file_may_be_replaced_by_its_own_predictions(self, demo_float, tmp_path):
        path = write_jsonl(tmp_path / "data.jsonl", [{"text": text} for text in TEXTS])
        octavo.predict(demo_float, path, path)
        assert len(read_jsonl(path)) == len(TEXTS)

    def test_a_pipe_as_output_stays_a_pipe(self, demo_float, tmp_path):
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # so that opening it for writing does not wait
        try:
            octavo.predict(demo_float, write_jsonl(tmp_path / "in.jsonl", [{"text": "a"}]), pipe)
            assert pipe.is_fifo()
            assert json.loads(os.read(reader, 10_000))["label"]
        finally:
            os.close(reader)

    def test_an_output_in_no_folder(self, demo_float, tmp_path):
        source = write_jsonl(tmp_path / "in.jsonl", [{"text": "a"}])
        with pytest.raises(InputError, match=f"no such folder; got: {tmp_path / 'no'}"):
            octavo.predict(demo_float, source, tmp_path / "no" / "out.jsonl")

    @pytest.mark.parametrize("name", ["no.jsonl", "out"])
    def test_a_source_that_is_no_file(self, demo_float, tmp_path, folder, name):
        with pytest.raises(DataError, match=f"got: {tmp_path / name}"):
            octavo.predict(demo_float, tmp_path / name, folder / "out.jsonl")
        assert list(folder.iterdir()) == []

    def test_standard_input_and_output(self, demo_float, float32, monkeypatch, capsys):
        text = '\ufeff{"text": "눈"}\n{"text": "눈", "text_pair": "비"}\n'
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode("utf-8")), encoding="ascii"))
        counts = octavo.predict(demo_float, "-")
        found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert found == near([*float32("눈"), float32(("눈", "비"))])
        assert counts.rows == 2

    def test_a_bad_line_of_standard_input(self, demo_float, monkeypatch):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"text": "a"}\nbad\n'), encoding="utf-8"))
        with pytest.raises(DataError, match="not a line of JSON in standard input, line 2"):
            octavo.predict(demo_float)

    def test_a_limit_and_threads_are_handed_on(self, demo_float, tmp_path, monkeypatch):
        seen = []
        real = octavo.inference.opening.load

        def spied(*arguments, **options):
            seen.append(real(*arguments, **options))
            return seen[0]

        monkeypatch.setattr("octavo.inference.jsonl.load", spied)
        source = write_jsonl(tmp_path / "in.jsonl", [{"text": text} for text in TEXTS])
        counts = octavo.predict(demo_float, source, tmp_path / "out.jsonl", threads=1, max_length=8)
        assert (seen[0].session.threads, seen[0].signature.max_length) == (1, 8)
        whole = real(demo_float)
        encoded = whole.task.encode(whole.tokenizer, [(text, None) for text in TEXTS])
        assert counts.truncated == sum(len(row.ids) > 8 for row in encoded) > 0
