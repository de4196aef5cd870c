"""Folders for other programs: opened by these programs themselves, whose answers are ours.

What is not installed is skipped. `OCTAVO_NODE_MODULES` names a folder `node_modules` with @huggingface/transformers,
`OCTAVO_ST_PYTHON` a python with sentence-transformers[onnx], which needs an older transformers than Octavo.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tokenizers import Tokenizer

import octavo
from octavo.artifact.programs import NAMES

TEXTS = [
    "아이들이 공원에서 놀고 있다.",
    "영화가 정말 재미있고 배우들의 연기도 좋았다! " * 20,
    "12 people won 345 prizes",
]
TOLERANCE = 1e-4


@pytest.fixture(scope="session")
def embedder(make_checkpoint, tmp_path_factory):
    """A tiny int8 embedder of opset 21: mean and Normalize, 40 tokens at most, fewer than its tokenizer says."""
    source = make_checkpoint("bert", tmp_path_factory.mktemp("embedder") / "작은-embedder", layers=1)
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (path, kind) in enumerate(kinds.items())
    ]
    (source / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    (source / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 48, "pooling_mode_mean_tokens": True}
    (source / "1_Pooling/config.json").write_text(json.dumps(pooling), encoding="utf-8")
    (source / "sentence_bert_config.json").write_text('{"max_seq_length": 40, "do_lower_case": false}')
    recipe = octavo.Recipe(method="dynamic", opset=21)
    given = octavo.Checkpoint(source, "feature-extraction")
    return octavo.quantize(given, source.with_name("int8"), recipe=recipe, target="any")


@pytest.fixture(scope="session")
def vectors(embedder):
    return octavo.load(embedder.folder, threads=1)(TEXTS)


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def run(command, **settings):
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, **settings)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


# What is written


@pytest.mark.parametrize("program", NAMES)
def test_the_model_is_the_same_file_and_the_readme_says_how_to_open_it(embedder, tmp_path, program):
    folder = octavo.layout(embedder, tmp_path / "out", program=program)
    (model,) = folder.rglob("*.onnx")
    assert model.read_bytes() == embedder.model_file.read_bytes()
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert "```" in readme
    assert not [word for word in ("None", "{folder", "{task", "{{") if word in readme]
    with pytest.raises(octavo.ArtifactError, match=r"is there|not an artifact"):
        octavo.layout(embedder, folder, program=program)


def test_the_limit_is_the_artifact_s_wherever_a_program_looks_for_it(embedder, tmp_path):
    assert embedder.manifest.signature.max_length == 40
    for program in ("tei", "transformers.js", "sentence-transformers", "fastembed"):
        folder = octavo.layout(embedder, tmp_path / program, program=program)
        assert read(folder / "tokenizer_config.json")["model_max_length"] == 40
    assert read(tmp_path / "tei/sentence_bert_config.json")["max_seq_length"] == 40


def test_what_a_program_does_not_read_is_refused_with_what_to_make(made_before, embedder, tmp_path):
    with pytest.raises(octavo.InputError, match=r"unknown program; got: tie; allowed: tei, .*did you mean 'tei'"):
        octavo.layout(embedder, tmp_path / "x", program="tie")
    with pytest.raises(octavo.InputError, match=r"opset 23; allowed: up to 21; next: octavo quantize .*--opset 21"):
        octavo.layout(made_before, tmp_path / "x", program="tei")
    with pytest.raises(octavo.InputError, match=r"no such task.*got: text-classification; allowed: feature-extraction"):
        octavo.layout(made_before, tmp_path / "x", program="fastembed")
    pooling = embedder.manifest.signature.pooling
    for change, says in (({"modes": ("max",)}, "does not pool so"), ({"modes": ("cls", "mean")}, "cls and mean")):
        signature = embedder.manifest.signature.model_copy(update={"pooling": pooling.model_copy(update=change)})
        other = octavo.Artifact(embedder.folder, embedder.manifest.model_copy(update={"signature": signature}))
        with pytest.raises(octavo.InputError, match=says):
            octavo.layout(other, tmp_path / "x", program="fastembed")
    assert not list(tmp_path.iterdir())


def test_a_damaged_artifact_is_not_handed_on_and_8_bit_weights_are_told(embedder, tmp_path):
    unsafe = octavo.Artifact(embedder.folder, embedder.manifest.model_copy(update={"exact_u8s8": True}))
    with pytest.warns(octavo.OctavoWarning, match="on a CPU without VNNI its answers are wrong"):
        folder = octavo.layout(unsafe, tmp_path / "unsafe", program="tei")
    assert "without VNNI" in (folder / "README.md").read_text(encoding="utf-8")
    copy = shutil.copytree(embedder.folder, tmp_path / "copy")
    data = bytearray((copy / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "model.onnx").write_bytes(data)
    with pytest.raises(octavo.ArtifactError, match="a file of the artifact was changed"):
        octavo.layout(copy, tmp_path / "x", program="tei")
    assert not (tmp_path / "x").exists()


# Opened by the programs


def test_tei_reads_all_that_its_source_looks_for(embedder, vectors, tmp_path):
    """There is no package of it: its steps (`router/src/lib.rs`, `backends/ort`) in Python."""
    folder = octavo.layout(embedder, tmp_path / "tei", program="tei")
    config, pooling = read(folder / "config.json"), read(folder / "1_Pooling/config.json")
    assert {"architectures", "model_type", "max_position_embeddings", "pad_token_id"} <= config.keys()
    assert {"hidden_size", "num_hidden_layers"} <= config.keys()
    assert [name for name, chosen in pooling.items() if chosen is True] == ["pooling_mode_mean_tokens"]
    assert {f"pooling_mode_{mode}" for mode in ("cls_token", "max_tokens", "mean_sqrt_len_tokens")} <= pooling.keys()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(read(folder / "sentence_bert_config.json")["max_seq_length"])
    tokenizer.enable_padding(pad_id=config["pad_token_id"])
    encoded = tokenizer.encode_batch(TEXTS)
    inputs = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
    asked = {name: np.array([getattr(one, field) for one in encoded]) for name, field in inputs.items()}
    session = onnxruntime.InferenceSession(folder / "onnx/model.onnx")
    hidden, mask = session.run(["last_hidden_state"], asked)[0], asked["attention_mask"][:, :, None]
    found = (hidden * mask).sum(axis=1) / mask.sum(axis=1)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    assert np.abs(found - vectors).max() < TOLERANCE


def test_distilbert_s_sizes_have_the_names_that_tei_reads(artifact, tmp_path):
    made = artifact("distilbert", "float")
    manifest = made.manifest.model_copy(update={"export": made.manifest.export.model_copy(update={"opset": 21})})
    config = read(octavo.layout(octavo.Artifact(made.folder, manifest), tmp_path / "x", program="tei") / "config.json")
    assert (config["hidden_size"], config["num_hidden_layers"]) == (config["dim"], config["n_layers"])


SCRIPT = """
import {{ pipeline, env }} from '@huggingface/transformers';
env.localModelPath = '..'; env.allowRemoteModels = false;
const ask = await pipeline('{task}', '{folder}', {{ dtype: 'q8', device: 'cpu' }});
const found = await ask({texts}, {options});
console.log(JSON.stringify(found.tolist ? found.tolist() : found));
"""


@pytest.fixture
def transformers_js():
    """A function that asks a pipeline of transformers.js."""
    modules = os.environ.get("OCTAVO_NODE_MODULES", "")
    if not Path(modules, "@huggingface/transformers").is_dir() or shutil.which("node") is None:
        pytest.skip("node, or @huggingface/transformers in OCTAVO_NODE_MODULES, is not there")

    def ask(folder, task, options):
        place = folder.parent / "node"
        place.mkdir()
        (place / "node_modules").symlink_to(Path(modules).resolve())
        asked = {"texts": json.dumps(TEXTS, ensure_ascii=False), "options": json.dumps(options)}
        (place / "ask.mjs").write_text(SCRIPT.format(task=task, folder=folder.name, **asked), encoding="utf-8")
        return run(["node", "ask.mjs"], cwd=place)

    return ask


def as_transformers_js_cuts(predictor):
    """The model's answers to the texts, each cut at the limit with the special token at its end."""
    tokenizer = Tokenizer.from_str(predictor.tokenizer.to_str())
    tokenizer.no_truncation()
    answers = []
    for encoded in tokenizer.encode_batch(TEXTS):
        ids = np.array([encoded.ids[: predictor.signature.max_length]])
        answers += [predictor.session.run({"input_ids": ids, "attention_mask": ids * 0 + 1, "token_type_ids": ids * 0})]
    return np.concatenate(answers)


def test_transformers_js_embeds(transformers_js, embedder, vectors, tmp_path):
    folder = octavo.layout(embedder, tmp_path / "embedder", program="transformers.js")
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert "pooling: 'mean', normalize: true" in readme
    assert "more than 40 tokens" in readme
    found = np.array(transformers_js(folder, "feature-extraction", {"pooling": "mean", "normalize": True}))
    assert np.abs(found - vectors)[[0, 2]].max() < TOLERANCE
    cut = as_transformers_js_cuts(octavo.load(embedder.folder, threads=1))
    assert np.abs(found - cut).max() < TOLERANCE
    assert np.abs(vectors - cut)[1].max() > TOLERANCE  # which is what the README tells


def test_transformers_js_classifies(transformers_js, made_before, tmp_path):
    folder = octavo.layout(made_before, tmp_path / "classifier", program="transformers.js")
    found, predictor = transformers_js(folder, "text-classification", {}), octavo.load(made_before, threads=1)
    expected = predictor.task.decode(as_transformers_js_cuts(predictor))
    assert [one["label"] for one in found] == [one["label"] for one in expected]
    assert max(abs(one["score"] - other["score"]) for one, other in zip(found, expected, strict=True)) < TOLERANCE
    assert [expected[row]["label"] for row in (0, 2)] == [predictor(TEXTS)[row]["label"] for row in (0, 2)]


def test_fastembed(embedder, vectors, tmp_path):
    fastembed = pytest.importorskip("fastembed", reason="fastembed is not installed")
    folder = octavo.layout(embedder, tmp_path / "작은-fastembed", program="fastembed")
    code = (folder / "README.md").read_text(encoding="utf-8").partition("```python\n")[2].partition("```")[0]
    space = {}
    exec(code.replace("this folder", str(folder)), space)  # what the README says
    assert fastembed.__version__
    assert np.abs(np.array(list(space["embed"](TEXTS))) - vectors).max() < TOLERANCE


@pytest.mark.parametrize("kind", ["SentenceTransformer", "CrossEncoder"])
def test_sentence_transformers(embedder, vectors, made_before, tmp_path, kind):
    python = os.environ.get("OCTAVO_ST_PYTHON")
    if not python:
        pytest.skip("OCTAVO_ST_PYTHON names no python with sentence-transformers[onnx]")
    embeds = kind == "SentenceTransformer"
    folder = octavo.layout(embedder if embeds else made_before, tmp_path / "st", program="sentence-transformers")
    code = (folder / "README.md").read_text(encoding="utf-8").partition("```python\n")[2].partition("```")[0]
    asked = TEXTS if embeds else [[TEXTS[0], TEXTS[2]], [TEXTS[2], TEXTS[0]]]
    ask = "encode(asked)" if embeds else "predict(asked)"
    code = f"import json\nasked = {asked!r}\n{code.replace('this folder', str(folder))}\n"
    code += f"print(json.dumps(model.{ask}.tolist()))"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    found = np.array(run([python, "-c", code], env=environment | {"HF_HUB_OFFLINE": "1"}))
    expected = vectors if embeds else octavo.load(made_before, threads=1).logits([tuple(pair) for pair in asked])
    assert np.abs(found - expected).max() < TOLERANCE


def test_triton_s_own_schema_takes_the_config(embedder, tmp_path):
    schema = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason="tritonclient[grpc] is not installed")
    from google.protobuf import text_format

    folder = octavo.layout(embedder, tmp_path / "ko_embed", program="triton")
    config = text_format.Parse((folder / "config.pbtxt").read_text(encoding="utf-8"), schema.ModelConfig())
    assert (config.name, config.backend, config.max_batch_size) == ("ko_embed", "onnxruntime", 64)
    session = onnxruntime.InferenceSession(folder / "1/model.onnx")
    for told, ports in ((config.input, session.get_inputs()), (config.output, session.get_outputs())):
        assert [one.name for one in told] == [port.name for port in ports]
        dims = [[size if isinstance(size, int) else -1 for size in port.shape[1:]] for port in ports]
        assert [list(one.dims) for one in told] == dims
        kinds = {"tensor(int64)": schema.TYPE_INT64, "tensor(float)": schema.TYPE_FP32}
        assert [one.data_type for one in told] == [kinds[port.type] for port in ports]
    with pytest.raises(octavo.InputError, match="Triton names a model by its folder; got: 한국어"):
        octavo.layout(embedder, tmp_path / "한국어", program="triton")
