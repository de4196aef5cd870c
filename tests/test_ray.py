"""Artifacts in Ray Data: the answers of `octavo.predict`, each row once, or a message that names the node."""

import contextlib
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

import octavo
import octavo.ray
from octavo.hardware import Cpu

pytestmark = pytest.mark.filterwarnings("ignore:.*unknown to the tokenizer")  # tests share predictors
TEXTS = [
    "아이들이 공원에서 놀고 있다.",
    "오늘 날씨는 춥지만 하늘은 맑다.",
    "a man is playing the guitar",
    "아무도 공원에 없다.",
]


@pytest.fixture(scope="module")
def answers(made_before):
    return octavo.load(made_before, threads=1)(TEXTS)


@pytest.fixture(autouse=True)
def quiet(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("RAYON_NUM_THREADS", "1")


def records(batch):
    return [
        {"label": label, "score": score} for label, score in zip(batch["label"], batch["score"].tolist(), strict=True)
    ]


# In this process, as an actor calls it


def test_a_batch_keeps_its_columns(made_before, answers):
    predictor = octavo.ray.Predictor(str(made_before))
    batch = {"text": np.array(TEXTS, object), "id": np.arange(4), "label": np.array(["참"] * 4)}
    found = predictor(batch)
    assert list(found) == ["text", "id", "input_label", "label", "score"]
    assert records(found) == answers
    assert found["id"].tolist() == [0, 1, 2, 3]
    with pytest.raises(octavo.DataError, match="no such column; got: text; allowed: id"):
        predictor({"id": np.arange(4)})
    with pytest.raises(octavo.InputError, match="unknown on_error"):
        octavo.ray.Predictor(str(made_before), on_error="ignore")


def test_an_error_of_a_row_is_kept_and_the_others_have_their_answers(made_before, answers):
    batch = {"text": np.array([TEXTS[0], None, *TEXTS[2:]], object)}
    with pytest.raises(octavo.DataError, match="row 1: a row is a text or a pair"):
        octavo.ray.Predictor(str(made_before))(batch)
    predictor = octavo.ray.Predictor(str(made_before), on_error="column")
    found = predictor(batch)
    assert [one is None for one in found["error"]] == [True, False, True, True]
    assert found["error"][1].startswith("a row is a text or a pair")
    assert [records(found)[row] for row in (0, 2, 3)] == [answers[row] for row in (0, 2, 3)]
    assert found["label"][1] is None
    assert np.isnan(found["score"][1])
    whole = predictor({"text": np.array(TEXTS, object)})
    assert whole["error"].tolist() == [None] * 4
    assert {name: array.dtype for name, array in whole.items()} == {name: array.dtype for name, array in found.items()}


def test_a_cpu_on_which_it_would_be_wrong_is_refused_with_the_node(made_before, monkeypatch, tmp_path):
    folder = Path(shutil.copytree(made_before, tmp_path / "copy"))
    manifest = folder / "octavo.json"
    text = manifest.read_text(encoding="utf-8")
    assert '"exact_u8s8": false' in text
    manifest.write_text(text.replace('"exact_u8s8": false', '"exact_u8s8": true'), encoding="utf-8")
    old = Cpu("an old one", "x86_64", frozenset({"avx2"}), 1)
    monkeypatch.setattr("octavo.artifact.compatibility.this_cpu", lambda: old)
    with pytest.raises(
        octavo.HardwareError, match=f"on the node {platform.node()}: made for any: its products.*saturate"
    ):
        octavo.ray.Predictor(str(folder))


def test_a_self_test_that_fails_here_is_a_refusal_with_the_node(made_before, tmp_path):
    folder = Path(shutil.copytree(made_before, tmp_path / "copy"))
    manifest = json.loads((folder / "octavo.json").read_text(encoding="utf-8"))
    manifest["self_test"]["outputs"][0][0] += 9
    (folder / "octavo.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(octavo.ArtifactError, match=f"on the node {platform.node()}: .*does not answer here as it did"):
        octavo.ray.Predictor(str(folder))


def test_what_was_sent_is_written_once_and_checked(made_before, answers, tmp_path):
    packed = {path.name: path.read_bytes() for path in made_before.iterdir() if path.name != "README.md"}
    for _ in range(2):
        found = octavo.ray.Predictor(packed)({"text": np.array(TEXTS, object)})
        assert records(found) == answers
    (place,) = [path for path in tmp_path.iterdir() if path.name.startswith("octavo-")]
    assert {path.name for path in place.iterdir()} == packed.keys()
    (place / "octavo.json").write_text("{}")
    with pytest.raises(octavo.ArtifactError, match=r"on the node .*: this is not the artifact that was sent"):
        octavo.ray.Predictor(packed)


# By Ray


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of Ray on its own libraries
def test_map_batches_while_an_actor_dies(made_before, answers, monkeypatch, tmp_path):
    ray = pytest.importorskip("ray", reason="ray is not installed")
    pytest.importorskip("pyarrow", reason="ray[data] is not installed")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # by default it writes a token into the user's home
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    class Mortal(octavo.ray.Predictor):
        """The first that sees row 20 dies with it, as if it were killed."""

        def __call__(self, batch):
            if 20 in batch["id"]:
                with contextlib.suppress(FileExistsError), (tmp_path / "dead").open("x"):
                    os.kill(os.getpid(), signal.SIGKILL)
            found = super().__call__(batch)
            return found | {"threads": np.full(len(batch["id"]), self.predict_fn.predictor().session.threads)}

    environment = {"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}}
    with ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=environment):
        rows = [{"id": number, "text": TEXTS[number % 4] if number != 13 else None} for number in range(41)]
        found = (
            ray.data.from_items(rows, override_num_blocks=3)
            .map_batches(
                Mortal,
                fn_constructor_kwargs={"artifact": octavo.ray.put(made_before), "on_error": "column"},
                compute=ray.data.ActorPoolStrategy(size=2),
                num_cpus=1,
                batch_size=7,
                udf_modifying_row_count=False,
            )
            .take_all()
        )
    assert (tmp_path / "dead").exists()
    assert sorted(row["id"] for row in found) == list(range(41))
    assert {row["threads"] for row in found} == {1}
    for row in found:
        if row["id"] == 13:
            assert "a row is a text or a pair" in row["error"]
        else:
            assert {name: row[name] for name in ("label", "score")} == answers[row["id"] % 4]
            assert row["error"] is None
