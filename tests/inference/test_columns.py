"""Columns of a table, answered where Spark and Dask send the function: the same answers as anywhere else."""

import inspect
import json
import os
import pickle
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

import octavo
from octavo.inference import columns as module

PAIRS = (
    ("아이들이 공원에서 놀고 있다.", "아무도 공원에 없다."),
    ("오늘 날씨는 춥다.", "하늘은 맑다."),
    ("비가 온다.", "맑다."),
)
TEXTS = [text for text, _ in PAIRS]


@pytest.fixture(autouse=True)
def nothing_open(monkeypatch):
    monkeypatch.setattr(module, "OPENED", {})
    monkeypatch.setenv("RAYON_NUM_THREADS", os.environ.get("RAYON_NUM_THREADS", "1"))


@pytest.fixture(scope="module")
def answers(made_before):
    return octavo.load(made_before, threads=1)(TEXTS)


@pytest.fixture
def predict_fn(made_before):
    return octavo.make_predict_fn(made_before, threads=1)


@pytest.fixture
def table():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    return pandas.DataFrame({"text": TEXTS, "label": ["참", "거짓", "참"]}, index=[7, 3, 5])


def records(found):
    return [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]


class TestArrays:
    def test_texts(self, predict_fn, answers):
        found = predict_fn(np.array(TEXTS, object))
        assert records(found) == answers
        assert (found["label"].dtype, found["score"].dtype) == (object, np.float64)
        assert records(predict_fn(np.array(TEXTS))) == answers  # <U

    def test_pairs(self, made_before):
        predict_fn = octavo.make_predict_fn(made_before, columns=("premise", "hypothesis"), threads=1)
        found = predict_fn(*(np.array(column, object) for column in zip(*PAIRS, strict=True)))
        assert records(found) == octavo.load(made_before, threads=1)(list(PAIRS))

    def test_no_rows_have_the_names_and_types_of_some(self, predict_fn):
        some, none = predict_fn(np.array(TEXTS, object)), predict_fn(np.array([], object))
        assert {name: (array.dtype, array.shape[1:]) for name, array in none.items()} == {
            name: (array.dtype, array.shape[1:]) for name, array in some.items()
        }
        assert all(len(array) == 0 for array in none.values())

    def test_options_and_what_is_neither_number_nor_text(self, made_before):
        found = octavo.make_predict_fn(made_before, threads=1, options={"top_k": 2})(np.array(TEXTS, object))
        expected = octavo.load(made_before, threads=1)(TEXTS, top_k=2)
        assert [json.loads(text) for text in found["scores"]] == expected
        assert list(found["label"]) == [row[0]["label"] for row in expected]

    def test_faults_name_the_row_or_the_column(self, predict_fn, made_before, tmp_path):
        with pytest.raises(octavo.DataError, match="row 1: "):
            predict_fn(np.array(["하나", None], object))
        with pytest.raises(octavo.DataError, match="another number of columns; got: 2; allowed: text"):
            predict_fn(np.array(TEXTS), np.array(TEXTS))
        with pytest.raises(octavo.DataError, match="columns of one length"):
            octavo.make_predict_fn(made_before, columns=("a", "b"))(np.array(TEXTS), np.array(TEXTS[:1]))
        with pytest.raises(octavo.DataError, match="got: 3 columns; allowed: 1 or 2"):
            octavo.make_predict_fn(made_before, columns=("a", "b", "c"))
        with pytest.raises(octavo.ArtifactError, match="no such folder"):
            octavo.make_predict_fn(tmp_path / "없다")


@pytest.mark.slow
def test_embeddings_are_one_array(tmp_path_factory, checkpoint):
    folder = tmp_path_factory.mktemp("embedder") / "float"
    octavo.quantize(octavo.Checkpoint(checkpoint("bert"), "feature-extraction"), folder, recipe="float")
    predict_fn, expected = octavo.make_predict_fn(folder, threads=1), octavo.load(folder, threads=1)(TEXTS)
    found = predict_fn(np.array(TEXTS, object))
    assert found.dtype == np.float32
    assert np.array_equal(found, expected)
    assert predict_fn(np.array([], object)).shape == (0, expected.shape[1])


class TestProcesses:
    def test_it_is_a_path_and_settings_and_opens_once(self, predict_fn, answers, monkeypatch):
        opened = []
        monkeypatch.setattr(module, "open_again", lambda *known: opened.append(known) or octavo.load(*known[:1]))
        copies = [pickle.loads(pickle.dumps(predict_fn)) for _ in range(8)]
        assert len(pickle.dumps(predict_fn)) < 2000
        assert opened == []
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda copy: records(copy(np.array(TEXTS, object))), copies))
        assert found == [answers] * 8
        assert len(opened) == 1

    def test_another_artifact_at_its_place_is_not_taken_for_it(self, made_before, tmp_path):
        folder = shutil.copytree(made_before, tmp_path / "여기")
        predict_fn = octavo.make_predict_fn(folder, threads=1)
        manifest = folder / "octavo.json"
        manifest.write_text(manifest.read_text(encoding="utf-8") + "\n", encoding="utf-8")
        with pytest.raises(octavo.ArtifactError, match="not the artifact that was pickled"):
            predict_fn(np.array(TEXTS, object))

    def test_a_file_that_was_changed_is_not_served(self, made_before, tmp_path):
        folder = shutil.copytree(made_before, tmp_path / "copy")
        predict_fn = octavo.make_predict_fn(folder, threads=1)
        config = folder / "config.json"
        config.write_bytes(config.read_bytes().replace(b"\n", b" ", 1))
        with pytest.raises(octavo.ArtifactError, match="a file of the artifact was changed"):
            predict_fn(np.array(TEXTS, object))


class TestTables:
    def test_a_table_keeps_its_columns_and_index(self, predict_fn, answers, table):
        found = predict_fn(table)
        assert list(found.columns) == ["text", "input_label", "label", "score"]
        assert list(found.index) == [7, 3, 5]
        assert found[["label", "score"]].to_dict("records") == answers
        assert list(table.columns) == ["text", "label"]
        with pytest.raises(octavo.DataError, match="no such column; got: text; allowed: label"):
            predict_fn(table[["label"]])

    def test_a_column_alone(self, predict_fn, answers, table):
        found = predict_fn(table["text"])
        assert found.to_dict("records") == answers
        assert list(found.index) == [7, 3, 5]

    def test_dask(self, predict_fn, answers, table):
        frames = pytest.importorskip("dask.dataframe", reason="dask is not installed")
        parts = frames.from_pandas(table.reset_index(drop=True), npartitions=2)
        found = parts.map_partitions(predict_fn, meta=predict_fn(table[:0])).compute(scheduler="threads")
        assert found[["label", "score"]].to_dict("records") == answers


# Spark: by its documented protocol, and by itself


def test_the_protocol_of_predict_batch_udf(made_before, predict_fn, answers):
    """It calls its argument with nothing, once, and counts the parameters of what it gets."""
    pairs = octavo.make_predict_fn(made_before, columns=("a", "b"), threads=1)
    for make, parameters in ((predict_fn, 1), (partial(octavo.make_predict_fn, made_before), 1), (pairs, 2)):
        assert len(inspect.signature(make()).parameters) == parameters
    assert records(predict_fn()(np.array(TEXTS, object))) == answers


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of Spark on its own libraries
def test_spark(predict_fn, answers, monkeypatch):
    sql = pytest.importorskip("pyspark.sql", reason="pyspark is not installed")
    if shutil.which("java") is None:
        pytest.skip("java is not installed")
    from pyspark.ml.functions import predict_batch_udf

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    settings = {"spark.ui.enabled": "false", "spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}
    spark = sql.SparkSession.builder.master("local[2]").config(map=settings).getOrCreate()
    try:
        asked = spark.createDataFrame([(number, text) for number, text in enumerate(TEXTS * 4)], "id int, text string")
        kind = sql.types.StructType().add("label", "string").add("score", "double")
        udf = predict_batch_udf(predict_fn, return_type=kind, batch_size=5)
        found = asked.repartition(2).select("id", udf("text").alias("answer")).orderBy("id").collect()
    finally:
        spark.stop()
    assert [row.answer.asDict() for row in found] == answers * 4
