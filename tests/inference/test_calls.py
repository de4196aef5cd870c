"""What a call may be given, as pipelines of transformers have it: second texts, batch sizes, top_k, arrays, columns."""

import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import transformers

import octavo
from octavo.encoding.batching import plan_batches
from octavo.errors import DataError, InputError
from octavo.inference.inputs import as_rows
from octavo.tasks import TASKS, task_class

DEMO = Path(__file__).parents[2] / "examples" / "korean-nli"
TEXTS = ["설악산에는 눈이 아직 녹지 않았다.", "도로가 통제되었다.", "눈"]
SECOND = ["눈이 다 녹았다.", "길이 막혔다.", "비"]


class Column:
    """What pandas' Series has that matters here: `ndim` and `tolist`, and iteration over its values."""

    ndim = 1

    def __init__(self, values):
        self.values = values

    def tolist(self):
        return list(self.values)

    def __iter__(self):
        return iter(self.values)


class Table:
    """What pandas' DataFrame has: iteration over the names of its columns, which are texts."""

    ndim, columns = 2, ["text", "label"]

    def __iter__(self):
        return iter(self.columns)


@pytest.fixture(scope="module")
def float32(demo_float):
    return octavo.load(demo_float)


@pytest.fixture(scope="module")
def pipeline():
    transformers.logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return transformers.pipeline("text-classification", str(DEMO), device="cpu")


def near(expected):
    if isinstance(expected, list):
        return [near(one) for one in expected]
    return {"label": expected["label"], "score": pytest.approx(expected["score"], abs=1e-5)}


class TestTopK:
    @pytest.mark.parametrize("inputs", [TEXTS[0], TEXTS, {"text": TEXTS[0], "text_pair": SECOND[0]}])
    @pytest.mark.parametrize("count", [None, 1, 2, 10])
    def test_it_is_what_the_pipeline_gives(self, float32, pipeline, inputs, count):
        assert float32(inputs, top_k=count) == near(pipeline(inputs, top_k=count))

    def test_without_it_there_is_one(self, float32):
        assert [row[0] for row in float32(TEXTS, top_k=None)] == float32(TEXTS)

    @pytest.mark.parametrize("count", [0, -1, True, 1.5, "3"])
    def test_a_number_that_is_none(self, float32, count):
        with pytest.raises(InputError, match="top_k is how many labels are told; got: "):
            float32(TEXTS, top_k=count)

    def test_lines_of_json_keep_the_best_and_have_all(self, demo_float, float32, tmp_path):
        import json

        (tmp_path / "in.jsonl").write_text('{"text": "눈"}\n', encoding="utf-8")
        octavo.predict(demo_float, tmp_path / "in.jsonl", tmp_path / "out.jsonl", options={"top_k": None})
        line = json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8"))
        scores = line.pop("scores")
        assert [line] == near(float32("눈"))
        assert [scores] == near(float32(["눈"], top_k=None))

    @pytest.mark.parametrize("task", [name for name in TASKS if not task_class(name).writes])
    def test_every_other_task_gives_it_or_says_what_it_has(self, task):
        """top_k=None is all of labels, or of words that weigh something: a vocabulary, or spans, are not told whole."""
        from octavo.encoding.tokenizing import settings

        options = task_class(task).options
        if task in {"text-classification", "sparse-encoding"}:
            assert settings({"top_k": None}, options)["top_k"] is None
            return
        told = "top_k is of another kind" if "top_k" in options else "unknown option; got: top_k"
        with pytest.raises(InputError, match=told):
            settings({"top_k": None}, options)


class TestTextPair:
    def test_a_text(self, float32, pipeline):
        found = float32(TEXTS[0], text_pair=SECOND[0])
        assert found == near(pipeline(TEXTS[0], text_pair=SECOND[0]))
        assert found == [float32((TEXTS[0], SECOND[0]))]

    @pytest.mark.parametrize("kind", [list, np.array, Column])
    def test_texts(self, float32, kind):
        expected = float32(list(zip(TEXTS, SECOND, strict=True)))
        assert float32(TEXTS, text_pair=kind(SECOND)) == expected
        assert list(float32(iter(TEXTS), text_pair=kind(SECOND))) == expected
        assert list(float32.stream(TEXTS, text_pair=kind(SECOND))) == expected

    @pytest.mark.parametrize(
        ("inputs", "pairs", "told"),
        [
            (TEXTS, SECOND[:2], "got: 2; allowed: 3"),
            (TEXTS, "눈", "got: '눈'; allowed: as many as texts"),
            (TEXTS, 3, "got: 3; allowed: as many as texts"),
            (iter(TEXTS), SECOND[:2], "got: 2; allowed: 3 or more"),
            (iter(TEXTS[:2]), SECOND, "more second texts than there are rows"),
            ([("a", "b")], ["c"], "row 0: text_pair goes with texts; got: tuple"),
            (("a", "b"), "c", "this row has its own"),
            ({"text": "a"}, "c", "this row has its own"),
        ],
    )
    def test_not_one_for_each(self, float32, inputs, pairs, told):
        with pytest.raises(DataError, match=told):
            list(float32(inputs, text_pair=pairs))

    def test_a_task_of_one_text_refuses_it(self):
        for name in ("feature-extraction", "token-classification", "multiple-choice"):
            task = task_class(name)(SimpleNamespace())
            with pytest.raises(DataError, match=r"this is a pair|a text with choices"):
                task.parse_row(("a", "b"))


class TestBatchSize:
    def test_it_bounds_the_rows_of_a_run_and_changes_no_answer(self, float32, monkeypatch):
        sizes = []
        run = type(float32.session).run
        monkeypatch.setattr(
            type(float32.session),
            "run",
            lambda self, inputs: sizes.append(len(inputs["input_ids"])) or run(self, inputs),
        )
        many = TEXTS * 3
        expected = float32(many)
        assert max(sizes) == 9
        sizes.clear()
        assert near(float32(many, batch_size=2)) == expected
        assert near(list(float32.stream(many, batch_size=2))) == expected
        assert max(sizes) == 2
        assert sum(sizes) == 18

    def test_plans(self):
        assert sorted(map(len, plan_batches([5] * 7, 4096, 3))) == [1, 3, 3]
        assert sorted(map(len, plan_batches([2048] * 7, 4096, 3))) == [1, 2, 2, 2]  # the budget holds too

    @pytest.mark.parametrize("size", [0, -1, 2.0, "8", True])
    def test_a_size_that_is_none(self, float32, size):
        with pytest.raises(InputError, match="batch_size is how many rows run at once; got: "):
            float32(TEXTS, batch_size=size)


class TestColumns:
    @pytest.mark.parametrize(
        "kind",
        [np.array, lambda rows: np.array(rows, object), Column, lambda rows: np.array(rows, np.dtypes.StringDType())],
    )
    def test_they_are_lists(self, float32, kind):
        expected = float32(TEXTS)
        assert float32(kind(TEXTS)) == expected
        assert list(float32.stream(kind(TEXTS))) == expected
        assert np.array_equal(float32.logits(kind(TEXTS)), float32.logits(TEXTS))

    def test_a_missing_text_is_named(self, float32):
        with pytest.raises(DataError, match=r"row 1: a row is a text or a pair; got: float nan"):
            float32(Column(["눈", float("nan")]))

    @pytest.mark.parametrize("inputs", [np.array([["a", "b"]]), Table(), np.array("a")])
    def test_a_table_is_not_its_columns_names(self, float32, inputs):
        with pytest.raises(DataError, match=r"rows are a list, or one column; got: a .* of [02] dimensions"):
            float32(inputs)

    def test_a_text_of_numpy_is_a_text(self, float32):
        assert float32(np.str_("눈")) == float32([np.str_("눈")]) == float32("눈")

    def test_pandas_is_not_imported(self):
        assert as_rows(Column(["눈"])) == ["눈"]
        assert "pandas" not in sys.modules

    def test_polars_has_to_list(self):
        column = SimpleNamespace(to_list=lambda: ["눈"])
        assert as_rows(column) == ["눈"]
        with pytest.raises(DataError, match="one column"):
            as_rows(SimpleNamespace(columns=["text"]))


class TestStream:
    @pytest.mark.parametrize("rows", ["눈", {"text": "눈"}, b"a", 3])
    def test_one_row_is_not_streamed_letter_by_letter(self, float32, rows):
        with pytest.raises(DataError, match="a stream is of several rows"):
            float32.stream(rows)

    def test_it_raises_before_it_is_read(self, float32):
        for wrong in ({"batch_size": 0}, {"no": 1}, {"prompt": "no"}):
            with pytest.raises(InputError):
                float32.stream(TEXTS, **wrong)

    def test_the_options_are_those_of_the_call(self, float32):
        options = {"text_pair": SECOND, "batch_size": 1, "top_k": None, "function_to_apply": "none"}
        assert list(float32.stream(TEXTS, **options)) == float32(TEXTS, **options)
