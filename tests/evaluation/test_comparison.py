import csv
import hashlib
import json
import shutil
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from scipy.special import softmax
from scipy.stats import entropy
from sklearn.metrics import f1_score

import octavo
from octavo.artifact.folder import open_artifact
from octavo.data.examples import read_examples, sample
from octavo.errors import ArtifactError, CheckpointError, DataError, InputError, OctavoError, OctavoWarning
from octavo.evaluation import worker
from octavo.evaluation.benchmark import Timing
from octavo.evaluation.comparison import DataFile, compare, find_entries
from octavo.hardware import this_cpu
from octavo.metrics.estimates import identical
from octavo.schema.comparison import read_comparison

DEMO = Path(__file__).parents[2] / "examples" / "korean-nli"
PAIRS = DEMO / "pairs.tsv"
LABELS = ("entailment", "contradiction", "neutral")
LIMIT = 60


def all_rows():
    """The rows of pairs.tsv, as the standard library reads them."""
    with PAIRS.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))


@pytest.fixture(scope="module")
def steps():
    """What the comparison said while it worked."""
    return []


@pytest.fixture(scope="module")
def comparison(demo_float, demo_int8, steps):
    class Listener:
        def start(self, task, total=None):
            steps.append([task, total, 0])

        def advance(self, amount=1):
            steps[-1][2] += amount

    data = DataFile(PAIRS, limit=LIMIT)
    with pytest.MonkeyPatch.context() as patch:
        as_it_is = {
            "ROUNDS_SECONDS": 60.0,
            "subprocess": subprocess,
        }  # for once: new processes, and time for all rounds
        for name, value in as_it_is.items():
            patch.setattr(f"octavo.evaluation.benchmark.{name}", value)
        return compare(DEMO, [demo_float, demo_int8], data=data, threads=1, progress=Listener())


@pytest.fixture(scope="module")
def logits():
    """Row of pairs.tsv -> the logits that transformers gives it alone, and the label of the file."""
    transformers.logging.disable_progress_bar()
    tokenizer = transformers.AutoTokenizer.from_pretrained(DEMO)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(DEMO).eval()
    wanted = {(row.text, row.text_pair) for row in sample(read_examples(PAIRS, labels=LABELS), LIMIT)}
    found = []
    for row in all_rows():
        if (row["sentence1"], row["sentence2"]) in wanted:
            inputs = tokenizer(row["sentence1"], row["sentence2"], truncation=True, max_length=256, return_tensors="pt")
            with torch.inference_mode():
                found.append((model(**inputs).logits[0].numpy(), LABELS.index(row["gold_label"])))
    assert len(found) == LIMIT
    return found


@pytest.fixture
def benchmark(monkeypatch):
    """Puts a benchmark without processes in the place of the real one, and keeps what it was given.

    `outputs` is a function of the number of rows and of the contender's index; by default all answers are label 0.
    """

    class Contest:
        def outputs(self, rows, index):
            return np.tile(np.array([2, 1, 0], np.float32), (rows, 1))

        def run(self, contenders, batches, *, threads, seed, progress):
            self.contenders, self.batches, self.threads = contenders, batches[0], threads
            assert all(own is batches[0] for own in batches)  # identical where the tokens are the same
            rows = sum(len(batch.rows) for batch in batches[0])
            single = np.linspace(0.001, 0.003, 101)
            found = [self.outputs(rows, index) for index in range(len(contenders))]
            return [
                Timing(one, one[:1], one[:1], np.full((1, 3), 2.0 / (index + 1)), single, 0.5, 0.6, 2**30)
                for index, one in enumerate(found)
            ]

    made = Contest()
    monkeypatch.setattr("octavo.evaluation.comparison.run_benchmark", made.run)
    return made


@pytest.fixture
def changed(demo_float, tmp_path):
    """A function that copies the float artifact and changes its signature."""

    def make(name="changed", **signature):
        folder = Path(shutil.copytree(demo_float, tmp_path / name))
        fields = json.loads((folder / "octavo.json").read_text(encoding="utf-8"))
        fields["signature"].update(signature)
        (folder / "octavo.json").write_text(json.dumps(fields), encoding="utf-8")
        return folder

    return make


def put(folder, name, content):
    """Put another file into an artifact, and its hash into the manifest."""
    (folder / name).write_bytes(content)
    fields = json.loads((folder / "octavo.json").read_text(encoding="utf-8"))
    fields["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "octavo.json").write_text(json.dumps(fields), encoding="utf-8")


def write_tsv(path, rows):
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows), encoding="utf-8")
    return path


class TestOfTheDemo:
    def test_the_document(self, comparison, demo_float, demo_int8):
        found = json.loads(json.dumps(comparison.to_dict(), allow_nan=False))
        assert (found["task"], found["n"], len(found["rows"])) == ("text-classification", LIMIT, 3)
        for row in found["rows"]:
            fields = {"name", "method", "engine", "bytes", "seconds", "speedup", "quality", "fidelity"}
            assert fields <= set(row)
            assert list(row["quality"]) == ["accuracy", "macro_f1"]
            assert row["fidelity"].keys() == {"agreement", "kl", "margin"}
            assert row["seconds"] > 0
            assert row["load_seconds"] > 0
            assert 0 < row["latency_ms"]["p50"] <= row["latency_ms"]["p95"]
            assert 0 <= row["batch_effect"] < 0.2
        assert [(row["name"], row["method"], row["engine"]) for row in found["rows"]] == [
            ("korean-nli", "float", "torch"),
            ("float", "float", "onnxruntime"),
            ("int8", "dynamic", "onnxruntime"),
        ]
        sizes = [row["bytes"] for row in found["rows"]]
        assert sizes[1:] == [open_artifact(folder).bytes for folder in (demo_float, demo_int8)]
        used = ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json")
        assert sizes[0] == sum((DEMO / name).stat().st_size for name in used)

    def test_what_is_relative_is_so_to_the_baseline(self, comparison):
        first = comparison.rows[0]
        assert (first.speedup.value, first.smaller, first.differences["accuracy"]) == (1, 1, identical())
        assert first.fidelity == {"agreement": 1, "kl": 0, "margin": 1}
        assert first.closeness == {"agreement": identical(1.0)}
        for row in comparison.rows:
            assert row.speedup.value == pytest.approx(first.seconds / row.seconds)
            assert row.speedup.low <= row.speedup.value <= row.speedup.high
            assert np.median(row.turns, axis=1).sum() == pytest.approx(row.seconds)
            assert row.peak_bytes > 20 * 2**20
            assert row.smaller == pytest.approx(first.bytes / row.bytes)
            for name, found in row.differences.items():
                assert found.value == pytest.approx(row.quality[name] - first.quality[name], abs=1e-12)
            assert row.rows_per_second == pytest.approx(LIMIT / row.seconds)

    def test_the_float_artifact_is_the_checkpoint(self, comparison):
        checkpoint, float32, _ = comparison.rows
        assert float32.fidelity["agreement"] == 1.0
        assert 0 <= float32.fidelity["kl"] < 1e-6
        assert float32.quality == checkpoint.quality

    def test_int8_is_close(self, comparison):
        int8 = comparison.rows[2]
        assert int8.fidelity["agreement"] >= 0.9
        assert 1e-7 < int8.fidelity["kl"] < 1e-2
        assert int8.smaller > 3.5

    def test_accuracy_is_that_of_transformers(self, comparison, logits):
        gold = np.array([label for _, label in logits])
        predicted = np.array([row.argmax() for row, _ in logits])
        assert comparison.rows[0].quality["accuracy"] == pytest.approx(np.mean(gold == predicted), abs=1e-12)
        assert comparison.rows[0].quality["macro_f1"] == pytest.approx(
            f1_score(gold, predicted, average="macro"), abs=1e-12
        )

    def test_int8_is_scored_by_its_own_predictions(self, comparison, demo_int8, logits):
        examples = sample(read_examples(PAIRS, labels=LABELS), LIMIT)
        predictor = octavo.load(demo_int8)
        outputs = predictor.logits([(row.text, row.text_pair) for row in examples])
        reference = np.array([row for row, _ in logits])
        gold = np.array([row.label for row in examples])
        assert gold.tolist() == [label for _, label in logits]
        int8 = comparison.rows[2]
        assert int8.quality["accuracy"] == pytest.approx(np.mean(outputs.argmax(1) == gold), abs=1e-12)
        macro_f1 = f1_score(gold, outputs.argmax(1), average="macro")
        assert int8.quality["macro_f1"] == pytest.approx(macro_f1, abs=1e-12)
        assert int8.fidelity["agreement"] == pytest.approx(np.mean(outputs.argmax(1) == reference.argmax(1)), abs=1e-12)
        p, q = (softmax(values.astype(np.float64), axis=1) for values in (reference, outputs))
        assert int8.fidelity["kl"] == pytest.approx(float(np.mean(entropy(p, q, axis=1))), rel=1e-3)

    def test_what_holds_for_all(self, comparison):
        tokenizer = transformers.AutoTokenizer.from_pretrained(DEMO)
        examples = sample(read_examples(PAIRS, labels=LABELS), LIMIT)
        tokens = sum(len(tokenizer(row.text, row.text_pair)["input_ids"]) for row in examples)
        assert (comparison.tokens, comparison.truncated, comparison.threads) == (tokens, 0, 1)
        assert (comparison.cpu, comparison.cpu_kind) == (this_cpu().name, this_cpu().kind)
        assert {row.rounds for row in comparison.rows} == {5}
        assert [(row.tokens, row.truncated) for row in comparison.rows] == [(tokens, 0)] * 3
        assert not comparison.own_tokenizers
        assert all(row.text_rows_per_second > 0 for row in comparison.rows)

    def test_progress_is_told(self, comparison, steps):
        assert [task for task, *_ in steps] == [
            "reading models and data",
            "loading",
            "predicting",
            "timing",
            "timing single rows",
            "timing from texts to answers",
        ]
        for _, total, done in steps[1:]:
            assert done == total


class TestData:
    def test_without_labels_there_is_agreement_and_no_quality(self, benchmark, demo_float, tmp_path):
        rows = [(row["sentence1"], row["sentence2"]) for row in all_rows()[:30]]
        data = write_tsv(tmp_path / "texts.tsv", [("text", "text_pair"), *rows])
        benchmark.outputs = lambda rows, index: np.eye(3, dtype=np.float32)[np.where(np.arange(rows) < 3 * index, 1, 0)]
        found = compare(demo_float, [demo_float], data=data)
        assert [row.quality for row in found.rows] == [{}, {}]
        assert [row.differences for row in found.rows] == [{}, {}]
        assert [row.fidelity["agreement"] for row in found.rows] == [1.0, 27 / 30]
        assert json.loads(json.dumps(found.to_dict()))["rows"][1]["quality"] == {}

    def test_rows_without_a_label_are_left_out_with_a_warning(self, benchmark, demo_float, tmp_path):
        rows = [("text", "label"), ("눈이 왔다", "entailment"), ("비가 왔다", "-"), ("바람이 불었다", "neutral")]
        with pytest.warns(OctavoWarning, match=r"1 of 3 rows of .* are left out"):
            found = compare(demo_float, data=write_tsv(tmp_path / "data.tsv", rows))
        assert found.n == 2
        assert found.rows[0].quality["accuracy"] == 0.5

    def test_scores_by_hand(self, benchmark, demo_float, tmp_path):
        rows = [("text", "label"), *((f"{number} 번째 눈", LABELS[number % 3]) for number in range(6))]
        answers = [[0, 1, 2, 0, 1, 2], [0, 1, 2, 0, 0, 0], [1, 1, 1, 1, 1, 1]]
        benchmark.outputs = lambda rows, index: np.eye(3, dtype=np.float32)[answers[index]]
        found = compare(demo_float, [demo_float, demo_float], data=write_tsv(tmp_path / "data.tsv", rows))
        assert [row.quality["accuracy"] for row in found.rows] == pytest.approx([1, 4 / 6, 2 / 6])
        points = [row.differences["accuracy"].value for row in found.rows]
        assert points == pytest.approx([0, -2 / 6, -4 / 6])
        assert [row.fidelity["agreement"] for row in found.rows] == pytest.approx([1, 4 / 6, 2 / 6])
        # of the second row: 0 has tp 2, fp 2; 1 and 2 have tp 1, fn 1 each
        assert found.rows[1].quality["macro_f1"] == pytest.approx((4 / 6 + 2 / 3 + 2 / 3) / 3)
        assert [row.speedup.value for row in found.rows] == pytest.approx([1, 2, 3])
        assert [row.rows_per_second for row in found.rows] == pytest.approx([3, 6, 9])
        assert found.rows[0].latency_ms.p50 == pytest.approx(2)
        assert found.rows[0].latency_ms.p95 == pytest.approx(2.9)

    def test_a_limit_draws_the_same_rows_each_time(self, benchmark, demo_float):
        def drawn(**options):
            compare(demo_float, data=DataFile(PAIRS, **options))
            return [batch.inputs["input_ids"].tolist() for batch in benchmark.batches]

        first = drawn(limit=LIMIT)
        assert sum(len(batch) for batch in first) == LIMIT
        assert drawn(limit=LIMIT) == first
        assert drawn(limit=LIMIT, seed=1) != first
        assert sum(len(batch) for batch in drawn()) == len(all_rows())
        assert sum(len(batch) for batch in drawn(limit=10_000)) == len(all_rows())

    def test_max_length_cuts_and_is_told(self, benchmark, demo_float):
        found = compare(demo_float, data=DataFile(PAIRS, limit=20, max_length=16))
        assert max(batch.inputs["input_ids"].shape[1] for batch in benchmark.batches) == 16
        assert 0 < found.truncated <= 20
        with pytest.raises(InputError, match="max_length can only be lowered; got: 300"):
            compare(demo_float, data=DataFile(PAIRS, max_length=300))

    def test_columns_and_encoding_are_handed_on(self, benchmark, demo_float, tmp_path):
        data = tmp_path / "data.tsv"
        data.write_bytes("문장\t답\n눈이 왔다\tneutral\n".encode("cp949"))
        columns = {"text": "문장", "label": "답"}
        found = compare(demo_float, data=DataFile(data, encoding="cp949", columns=columns))
        assert (found.n, found.rows[0].quality["accuracy"]) == (1, 0.0)

    def test_an_unknown_label_is_a_data_error(self, demo_float, tmp_path):
        data = write_tsv(tmp_path / "data.tsv", [("text", "label"), ("눈", "positive")])
        with pytest.raises(DataError, match="the model has no label 'positive'"):
            compare(demo_float, data=data)

    def test_texts_of_another_language_are_warned_of(self, benchmark, demo_float, tmp_path):
        data = write_tsv(tmp_path / "data.tsv", [("text",), *[("𐍈 𐍉 𐌰 𐌱",)] * 30])
        with pytest.warns(OctavoWarning, match="of the tokens are unknown to the tokenizer"):
            compare(demo_float, data=data)

    def test_no_data_file(self, demo_float, tmp_path):
        with pytest.raises(DataError, match="no such data file"):
            compare(demo_float, data=tmp_path / "no.tsv")


class TestLabels:
    @pytest.fixture
    def data(self, tmp_path):
        rows = [(f"{number} 번째 눈이 왔다", LABELS[number * number % 3]) for number in range(200)]
        return write_tsv(tmp_path / "data.tsv", [("text", "label"), *rows])

    def test_a_wrong_order_is_warned_of(self, benchmark, demo_float, data):
        gold = np.array([number * number % 3 for number in range(200)])
        benchmark.outputs = lambda rows, index: np.eye(3, dtype=np.float32)[(gold + 1) % 3]
        with pytest.warns(OctavoWarning, match="the labels look permuted: accuracy is 0.0000 as given and 1.0000"):
            found = compare(demo_float, data=data)
        assert found.rows[0].quality["accuracy"] == 0

    def test_the_right_order_is_not_warned_of(self, benchmark, demo_float, data):
        gold = np.array([number * number % 3 for number in range(200)])
        benchmark.outputs = lambda rows, index: np.eye(3, dtype=np.float32)[gold]
        assert compare(demo_float, data=data).rows[0].quality["accuracy"] == 1

    def test_a_checkpoint_with_labels_in_another_order(self, benchmark, data):
        gold = np.array([number * number % 3 for number in range(200)])
        benchmark.outputs = lambda rows, index: np.eye(3, dtype=np.float32)[gold]
        given = octavo.Checkpoint(DEMO, labels=("neutral", "entailment", "contradiction"))
        with pytest.warns(OctavoWarning, match="--labels entailment,contradiction,neutral"):
            compare(given, data=data)

    def test_only_the_baseline_is_looked_at(self, benchmark, demo_float, data):
        gold = np.array([number * number % 3 for number in range(200)])
        benchmark.outputs = lambda rows, index: np.eye(3, dtype=np.float32)[(gold + index) % 3]
        assert [row.quality["accuracy"] for row in compare(demo_float, [demo_float], data=data).rows] == [1, 0]

    @pytest.mark.parametrize(
        "labels",
        [
            ["neutral", "contradiction", "entailment"],
            ["entailment", "neutral"],
            ["함의", "모순", "중립"],
            ["LABEL_0", "LABEL_1"],
            ["LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3"],
        ],
    )
    def test_a_candidate_with_other_labels_is_refused(self, demo_float, changed, labels):
        other = changed("other", labels=labels)
        with pytest.raises(InputError, match="the models do not have the same labels") as caught:
            compare(demo_float, [demo_float, other], data=PAIRS)
        assert f"other: {', '.join(labels)}" in str(caught.value)
        assert "entailment, contradiction, neutral" in str(caught.value)

    @pytest.mark.parametrize("nameless_first", [True, False])
    def test_names_win_over_label_0(self, benchmark, demo_float, changed, nameless_first):
        nameless = changed(labels=["LABEL_0", "LABEL_1", "LABEL_2"])
        order = (nameless, demo_float) if nameless_first else (demo_float, nameless)
        found = compare(order[0], [order[1]], data=DataFile(PAIRS, limit=LIMIT))
        gold = [row.label for row in sample(read_examples(PAIRS, labels=LABELS), LIMIT)]
        assert [row.quality["accuracy"] for row in found.rows] == [gold.count(0) / LIMIT] * 2


class TestRefused:
    @pytest.mark.parametrize("rows", [[("text",), ("눈",)], [("text", "score"), ("눈", 3.2)]])
    def test_models_with_several_numbers_a_row(self, changed, tmp_path, rows):
        data = write_tsv(tmp_path / "data.tsv", rows)
        with pytest.raises(InputError, match="one number a row; got: regression with 3 outputs"):
            compare(changed(problem_type="regression"), data=data)

    @pytest.mark.parametrize(
        ("problem", "told"), [("multi_label_classification", "do not answer alike"), ("regression", "one number a row")]
    )
    def test_a_candidate_that_does_not_choose_one_label(self, demo_float, changed, problem, told):
        with pytest.raises(InputError, match=told):
            compare(demo_float, [changed(problem_type=problem)], data=DataFile(PAIRS, limit=5))

    def test_a_candidate_that_is_not_there(self, demo_float, tmp_path):
        with pytest.raises(CheckpointError, match="no such folder"):
            compare(demo_float, [tmp_path / "nothing"], data=PAIRS)

    def test_a_candidate_that_is_damaged(self, demo_float, changed):
        damaged = changed()
        (damaged / "model.onnx").unlink()
        with pytest.raises(ArtifactError, match="not complete"):
            compare(demo_float, [damaged], data=PAIRS)

    def test_a_candidate_that_cannot_be_loaded_is_named(self, demo_float, changed):
        damaged = changed("damaged")
        put(damaged, "model.onnx", b"\x3a\x00")  # an empty graph
        with pytest.raises(InputError, match=r"cannot load the model in .*damaged"):
            compare(demo_float, [damaged], data=DataFile(PAIRS, limit=2))

    def test_a_candidate_that_cannot_run_is_named(self, demo_float, changed):
        lacking = changed("lacking", input_names=["input_ids", "attention_mask"])
        with pytest.raises(OctavoError, match=r"could not run the model.*lacking") as caught:
            compare(demo_float, [lacking], data=DataFile(PAIRS, limit=2))
        assert caught.value.exit_code == 3
        assert len(str(caught.value).splitlines()) == 1

    def test_an_unknown_engine(self, demo_float):
        with pytest.raises(InputError, match="unknown engine; got: onnxrt"):
            compare(demo_float, data=PAIRS, engines=("auto", "onnxrt"))


class TestHandedOn:
    def test_threads(self, benchmark, demo_float, monkeypatch):
        monkeypatch.setattr("os.cpu_count", lambda: 8)
        assert compare(demo_float, data=DataFile(PAIRS, limit=2), threads=3).threads == 3
        assert benchmark.threads == 3
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        monkeypatch.setattr("octavo.hardware.usable_cores", lambda: 7)
        assert compare(demo_float, data=DataFile(PAIRS, limit=2)).threads == 7
        assert benchmark.threads == 7
        with pytest.raises(InputError, match=r"got: 9; allowed: 1 to 8"):
            compare(demo_float, data=DataFile(PAIRS, limit=2), threads=9)

    def test_the_worker_opens_its_model_with_these_threads(self, demo_float, monkeypatch):
        monkeypatch.setattr("os.cpu_count", lambda: 4)
        before = torch.get_num_threads()
        entries = [find_entries(demo_float)[0], find_entries(DEMO)[0]]
        try:
            for entry, threads in ((entries[0], 1), (entries[0], 2), (entries[1], 1), (entries[1], 2)):
                contender = entry.contender
                spec = {"path": str(contender.path), "engine": contender.engine, "home": str(contender.home)}
                spec |= {"tokenizer": None, "target_tokenizer": None, "threads": threads, "ignore_weights": ()}
                session = worker.open_contender(spec, contender.signature)
                assert (session.name, session.threads) == (contender.engine, threads)
                if contender.engine == "torch":
                    assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(before)

    def test_engines_make_rows_of_artifacts_only_and_one_row_each(self, benchmark, demo_float):
        found = compare(DEMO, [demo_float], data=DataFile(PAIRS, limit=2), engines=("auto", "onnxruntime"))
        assert [(row.name, row.engine) for row in found.rows] == [
            ("korean-nli", "torch"),
            ("float", "onnxruntime"),  # what auto is, too
        ]

    def test_all_models_read_the_same_batches(self, benchmark, demo_float, changed):
        lacking = changed(input_names=["input_ids", "attention_mask"])
        compare(lacking, [demo_float], data=DataFile(PAIRS, limit=30))
        assert [contender.signature.input_names for contender in benchmark.contenders] == [
            ("input_ids", "attention_mask"),
            ("input_ids", "attention_mask", "token_type_ids"),
        ]
        for batch in benchmark.batches:
            assert set(batch.inputs) == {"input_ids", "attention_mask", "token_type_ids"}

    def test_a_note_about_the_cpu_becomes_a_warning(self, benchmark, demo_int8, monkeypatch):
        monkeypatch.setattr("octavo.evaluation.entries.check_cpu", lambda manifest, engine: "slow here")
        with pytest.warns(OctavoWarning, match=r"int8: slow here"):
            compare(demo_int8, data=DataFile(PAIRS, limit=2))

    def test_nothing_is_warned_of_where_all_is_well(self, benchmark, demo_float):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            compare(demo_float, data=DataFile(PAIRS, limit=2))


class TestOfAnswersThatAreNoNumbers:
    @staticmethod
    def broken(rows, index):
        answers = np.tile(np.array([2, 1, 0], np.float32), (rows, 1))
        answers[3, 1] = np.nan if index else 1
        return answers

    def test_a_candidate_fails_and_has_no_figures(self, benchmark, demo_float, tmp_path):
        benchmark.outputs = self.broken
        data = write_tsv(tmp_path / "data.tsv", [("text", "label"), *(("가", "neutral") for _ in range(30))])
        found = compare(demo_float, [demo_float], data=data).under(octavo.Budget(max_drop=50))
        row = found.rows[1]
        assert (found.verdict, row.not_finite) == ("FAIL", 1)
        assert (row.quality, row.differences, row.fidelity, row.closeness, row.batch_effect) == ({}, {}, {}, {}, None)
        for name in ("out.html", "out.md", "out.json"):
            octavo.report(found, tmp_path / name)
        assert vars(read_comparison(tmp_path / "out.json")) == vars(found)

    def test_a_baseline_is_refused(self, benchmark, demo_float, tmp_path):
        benchmark.outputs = lambda rows, index: self.broken(rows, index + 1)
        data = write_tsv(tmp_path / "data.tsv", [("text", "label"), *(("가", "neutral") for _ in range(30))])
        with pytest.raises(
            OctavoError, match=r"the baseline's answers are not numbers in float; got: NaN .* in 1 rows"
        ):
            compare(demo_float, [demo_float], data=data)
