"""Models of other tools, in the layouts that they write, on the same road as ours."""

import shutil
from pathlib import Path

import pytest
from onnxruntime.quantization import quantize_dynamic

import octavo
from octavo.evaluation.entries import find_entries
from octavo.evaluation.profiling import part_of_time, profile
from octavo.hardware import this_cpu
from octavo.schema.comparison import PARTS

DEMO = Path(__file__).resolve().parents[2] / "examples" / "korean-nli"
PAIRS = DEMO / "pairs.tsv"


@pytest.fixture(scope="module")
def production(demo_float, tmp_path_factory):
    """A folder as Optimum and sentence-transformers leave it: tokenizer and config, models in `onnx/`."""
    folder = tmp_path_factory.mktemp("production")
    (folder / "onnx").mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(DEMO / name, folder)
    shutil.copy(demo_float / "model.onnx", folder / "onnx" / "model.onnx")
    operators = ["MatMul", "Gemm", "Gather"]
    quantize_dynamic(
        demo_float / "model.onnx",
        folder / "onnx" / "model_quantized.onnx",
        op_types_to_quantize=operators,
        per_channel=True,
    )
    return folder


@pytest.fixture
def warned():
    """Where 8-bit products saturate, a warning says so."""
    if this_cpu().saturates:
        return pytest.warns(octavo.OctavoWarning, match="can saturate on this CPU")
    import contextlib

    return contextlib.nullcontext()


def test_a_stock_model_and_ours_stand_in_one_table(production, demo_int8, warned):
    candidates = [production / "onnx" / "model_quantized.onnx", demo_int8]
    with warned:
        found = octavo.compare(DEMO, candidates, data=octavo.DataFile(PAIRS, limit=60, max_length=16))
    assert [(row.name, row.method, row.engine) for row in found.rows] == [
        ("korean-nli", "float", "torch"),
        ("model_quantized", "dynamic", "onnxruntime"),
        (demo_int8.name, "dynamic", "onnxruntime"),
    ]
    assert all(row.fidelity["agreement"] >= 0.9 for row in found.rows)
    assert all(0.24 < row.bytes / found.rows[0].bytes < 0.3 for row in found.rows[1:])


def test_a_file_answers_as_the_artifact_that_it_was_copied_from(production, demo_float):
    data = octavo.DataFile(PAIRS, limit=30, max_length=16)
    found = octavo.compare(demo_float, [production / "onnx" / "model.onnx"], data=data)
    assert (found.rows[1].fidelity["agreement"], found.rows[1].fidelity["kl"]) == (1.0, 0.0)
    assert found.rows[1].name == production.name


def test_several_files_and_no_way_to_choose(production):
    with pytest.raises(octavo.InputError, match=r"onnx/model.onnx, onnx/model_quantized.onnx; next: name one of them"):
        find_entries(production)


def test_a_tokenizer_can_be_elsewhere(demo_float, tmp_path):
    shutil.copy(demo_float / "model.onnx", tmp_path / "alone.onnx")
    with pytest.raises(octavo.CheckpointError, match=r"no tokenizer .*--tokenizer"):
        find_entries(tmp_path / "alone.onnx")
    labels = ("entailment", "contradiction", "neutral")
    asked = octavo.Checkpoint(tmp_path / "alone.onnx", tokenizer=DEMO, labels=labels)
    (entry,) = find_entries(asked)
    assert entry.signature.labels == labels
    assert entry.signature.input_names == ("input_ids", "attention_mask", "token_type_ids")
    (unnamed,) = find_entries(octavo.Checkpoint(tmp_path / "alone.onnx", tokenizer=DEMO))
    assert unnamed.signature.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    with pytest.raises(octavo.CheckpointError, match="labels"):
        find_entries(octavo.Checkpoint(tmp_path / "alone.onnx", tokenizer=DEMO, labels=("a", "b")))


def test_the_time_of_a_model_is_attributed(demo_float, demo_int8):
    for path, integers in ((demo_float, False), (demo_int8, True)):
        found = profile(path, data=octavo.DataFile(PAIRS, limit=40))
        assert found.rows == 40
        assert set(found.seconds) == set(PARTS)
        assert found.seconds["matrix products"] > found.seconds["embeddings"] > 0
        assert (found.operations is not None) is integers
        assert found.peak > 1e9
    assert found.seconds["quantizing"] > 0
    with pytest.raises(octavo.InputError, match="only ONNX models have a profile"):
        profile(DEMO, data=PAIRS)


def test_parts_of_time():
    assert part_of_time("a/MatMul_int8", "MatMulIntegerToFloat") == "matrix products"
    assert part_of_time("bert.embeddings.word_embeddings/Gather_int8", "Mul") == "embeddings"
    assert part_of_time("a.LayerNorm/LayerNormalization", "LayerNormalization") == "the rest"
