"""Predictors go to other processes as the path and the settings that they were loaded with, or say why they do not."""

import pickle
import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

import octavo
from octavo.errors import ArtifactError, InputError
from octavo.inference.predictor import Predictor

TEXTS = ["설악산에는 눈이 아직 녹지 않았다.", "도로가 통제되었다."]
DEMO = Path(__file__).parents[2] / "examples" / "korean-nli"


def test_it_is_the_same_elsewhere(demo_float, tmp_path, monkeypatch):
    copy = shutil.copytree(demo_float, tmp_path / "here")
    monkeypatch.chdir(tmp_path)
    predictor = octavo.load("here", threads=1, max_length=16, verify=False)
    stored = pickle.dumps(predictor)
    assert len(stored) < 2000  # no weights
    monkeypatch.chdir("/")
    again = pickle.loads(stored)
    assert again(TEXTS) == predictor(TEXTS)
    assert (again.session.threads, again.signature, again.verified) == (1, predictor.signature, False)
    assert pickle.loads(pickle.dumps(again))(TEXTS) == predictor(TEXTS)
    (copy / "octavo.json").write_text((copy / "octavo.json").read_text(encoding="utf-8") + "\n", encoding="utf-8")
    with pytest.raises(ArtifactError, match="not the artifact that was pickled"):
        pickle.loads(stored)
    shutil.rmtree(copy)
    with pytest.raises(ArtifactError, match="no such folder"):
        pickle.loads(stored)


def test_a_pool_of_processes(demo_float):
    predictor = octavo.load(demo_float, threads=1)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(predictor, TEXTS).result() == predictor(TEXTS)


def test_a_checkpoint(monkeypatch):
    predictor = octavo.load(octavo.Checkpoint(DEMO, labels=("함의", "모순", "중립")), threads=1)
    found = pickle.loads(pickle.dumps(predictor))
    assert found(TEXTS) == predictor(TEXTS)
    assert found.signature.labels == ("함의", "모순", "중립")


def test_one_that_nobody_opened_says_so(demo_float):
    opened = octavo.load(demo_float)
    made = Predictor(opened.session, (demo_float / "tokenizer.json").read_text(encoding="utf-8"), opened.signature)
    with pytest.raises(InputError, match=r"this predictor cannot be pickled.*next: call octavo.load in each process"):
        pickle.dumps(made)
