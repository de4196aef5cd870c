"""Artifacts on the Hub: pushed and fetched by `huggingface_hub` itself, from a stub of its API on this machine."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

import octavo
from octavo.checkpoint.hub import is_hub_id
from octavo.metrics.estimates import Estimate
from octavo.reporting.card import hub_card
from octavo.schema.comparison import ComparedRow, ComparisonRecord, DataRecord, Latency, Origin

sys.path.insert(0, str(Path(__file__).parent))
import hub_stub

sys.path.pop(0)
TEXTS = ["아이들이 공원에서 놀고 있다.", "오늘 날씨는 춥다."]
PUSH = """
import sys, octavo
artifact = octavo.open_artifact(sys.argv[1])
print(artifact.push_to_hub("gildong/ko-nli-int8", private=True))
"""
LOAD = f"""
import json, pickle, sys, octavo
told = []
for name, revision in json.loads(sys.argv[1]):
    try:
        predict = octavo.load(name, revision=revision)
        again = pickle.loads(pickle.dumps(predict))
        told.append([predict({TEXTS!r}), again({TEXTS!r}), predict.verified, pickle.dumps(predict).decode("latin-1")])
    except octavo.OctavoError as error:
        told.append([type(error).__name__, str(error)])
print(json.dumps(told))
"""
NAME = "gildong/ko-nli-int8"


@pytest.fixture
def hub(tmp_path):
    with hub_stub.serve() as stub:
        yield stub


@pytest.fixture
def by_client(hub, fresh, tmp_path):
    """A function that runs code in a process whose client talks to the stub, with a cache of its own."""
    told = {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_of_nobody", "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}

    def run(code, *arguments, cache="cache", **more):
        return fresh(code, *arguments, HF_HOME=str(tmp_path / cache), **told | more).splitlines()[-1]

    return run


@pytest.fixture
def load_by_client(by_client):
    """A function of names and revisions: what loading each gives, or why not."""
    return lambda asked, **more: json.loads(by_client(LOAD, json.dumps(asked), **more))


@pytest.mark.slow
def test_pushed_and_loaded_by_its_id(hub, by_client, load_by_client, made_before, tmp_path):
    folder = Path(shutil.copytree(made_before, tmp_path / "int8"))
    (folder / "비밀.txt").write_text("nothing that octavo.json lists", encoding="utf-8")
    revision = by_client(PUSH, folder)
    assert hub.visibility == {NAME: "private"}
    ((pushed, files),) = hub.commits[NAME]
    assert pushed == revision
    listed = octavo.open_artifact(folder).manifest.files
    assert files.keys() == {*listed, "octavo.json", "README.md"}
    assert all(files[name] == (folder / name).read_bytes() for name in (*listed, "octavo.json"))
    assert ("POST", "/api/repos/create", "Bearer hf_of_nobody") in hub.asked

    expected = octavo.load(made_before)(TEXTS)
    pinned, newest = load_by_client([(NAME, revision), (NAME, None)])
    assert pinned[:3] == newest[:3] == [expected, expected, True]
    assert revision in pinned[3]  # what is pickled opens the same commit elsewhere
    assert revision in newest[3]

    bad = hub.commit(NAME, {"config.json": files["config.json"].replace(b"\n", b" ", 1)})
    newest, pinned = load_by_client([(NAME, None), (NAME, revision)])
    assert bad != revision
    assert newest[0] == "ArtifactError"
    assert "a file of the artifact was changed" in newest[1]
    assert pinned[0] == expected
    ((offline, *_),) = load_by_client([(NAME, revision)], HF_HUB_OFFLINE="1")
    assert offline == expected


@pytest.mark.slow
def test_what_the_hub_does_not_have_is_told_in_a_line(hub, load_by_client, made_before):
    hub.commits["gildong/ko"] = []
    hub.commit("gildong/ko", {"config.json": b"{}"})
    says = {
        ("gildong/ko", None): "not an artifact of Octavo in gildong/ko; got: no octavo.json; next: octavo quantize",
        ("gildong/ko", "0" * 40): f"the hub does not give it; got: gildong/ko at {'0' * 40}: ",
        ("nobody/nothing", None): "the hub does not give it; got: nobody/nothing: ",
        (str(made_before), "main"): "a revision is of a hub id",
    }
    for (kind, why), told in zip(load_by_client(list(says)), says.values(), strict=True):
        assert kind in {"ArtifactError", "InputError"}
        assert told in why
        assert "\n" not in why


@pytest.mark.parametrize(
    ("path", "expected"),
    [("user/repo", True), ("user/한글", True), ("./model", False), ("../a/b", False), ("/a/b", False), ("bert", False)],
)
def test_what_could_be_an_id(path, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_hub_id(path) is expected
    if expected:
        Path(path).parent.mkdir()
        assert not is_hub_id(path)  # a folder here comes first, also for a name in it that is written wrongly


# The card


def row(sha256, **quality):
    estimate = Estimate(1.0, 1.0, 1.0, 1.0, 1.0, "none")
    return ComparedRow(
        "int8", "dynamic", "onnxruntime", 1, 1.0, 1.0, estimate, 1.0, 1, 0.0, 0.0, 0.0, 1, Latency(1, 1), quality,
        {}, {}, {}, None, (), (), origin=Origin(sha256),
    )  # fmt: skip


def comparison(*rows):
    data = DataRecord("klue-nli.tsv", "ab12", None, 0)
    return ComparisonRecord("text-classification", 300, 300, 0, 9000, 1.0, 2, "EPYC", "avx2", rows, data)


def test_the_card_has_what_the_hub_reads(made_before):
    artifact = octavo.open_artifact(made_before)
    card = (made_before / "README.md").read_text(encoding="utf-8").replace("---\n", "---\nlicense: cc-by-sa-4.0\n", 1)
    own = artifact.manifest.files["model.onnx"].sha256
    made = comparison(row("another", accuracy=0.1), row(own, accuracy=0.8125, macro_f1=0.8))
    found = ModelCard(hub_card(card, artifact.manifest, "klue/roberta-base", made))
    data = found.data
    assert (data.library_name, data.pipeline_tag, data.base_model) == (
        "octavo",
        "text-classification",
        "klue/roberta-base",
    )
    assert (data.license, data.base_model_relation, data.tags) == (
        "cc-by-sa-4.0",
        "quantized",
        ["onnx", "dynamic", "cpu"],
    )
    scores = {one.metric_type: one.metric_value for one in data.eval_results}
    assert scores == {"accuracy": 0.8125, "macro_f1": 0.8}
    assert {one.dataset_name for one in data.eval_results} == {"klue-nli.tsv"}
    assert "model-index:" in str(found)
    assert found.text.strip() == ModelCard(card).text.strip()


def test_a_base_model_is_that_of_a_hub_id_and_no_folder_is_taken_for_one(made_before):
    artifact = octavo.open_artifact(made_before)
    card = (made_before / "README.md").read_text(encoding="utf-8")
    assert "/" not in artifact.manifest.source.name
    assert ModelCard(hub_card(card, artifact.manifest)).data.base_model is None
    source = artifact.manifest.source.model_copy(update={"name": "klue/bert-base"})
    manifest = artifact.manifest.model_copy(update={"source": source})
    assert ModelCard(hub_card(card, manifest)).data.base_model == "klue/bert-base"


def test_scores_of_another_model_are_not_put_on_the_card(made_before):
    artifact = octavo.open_artifact(made_before)
    with pytest.raises(octavo.InputError, match="no row of this artifact; got: int8"):
        hub_card("", artifact.manifest, None, comparison(row("another", accuracy=0.9)))
    with pytest.raises(octavo.InputError, match="no scores"):
        hub_card("", artifact.manifest, None, comparison(row(artifact.manifest.files["model.onnx"].sha256)))


def test_an_altered_artifact_is_not_pushed(made_before, tmp_path):
    folder = Path(shutil.copytree(made_before, tmp_path / "copy"))
    config = folder / "config.json"
    config.write_bytes(config.read_bytes().replace(b"\n", b" ", 1))
    with pytest.raises(octavo.ArtifactError, match="a file of the artifact was changed"):
        octavo.push(folder, "gildong/x")
