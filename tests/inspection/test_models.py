"""What `inspect` says of checkpoints, artifacts and the files of other tools."""

import json
import warnings

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnxruntime.quantization import CalibrationDataReader, quantize_dynamic, quantize_static

import octavo
from octavo.exporting.exporter import export_graph
from octavo.inspection.anatomy import find_weights
from octavo.inspection.listing import list_graph
from octavo.inspection.models import guess_task, main_output, read_model
from octavo.schema.inspection import Port
from octavo.tasks import TASKS as LOADED

TINY = {"vocab_size": 99, "num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 24}
TASKS = {  # architecture of transformers -> the outputs of its graph, the task
    "BertModel": (("last_hidden_state", "pooler_output"), "feature-extraction"),
    "BertForSequenceClassification": (("logits",), "text-classification"),
    "BertForTokenClassification": (("logits",), "token-classification"),
    "BertForQuestionAnswering": (("start_logits", "end_logits"), "question-answering"),
    "BertForMultipleChoice": (("logits",), "multiple-choice"),
    "BertForMaskedLM": (("logits",), "fill-mask"),
    "GPT2LMHeadModel": (("logits",), "text-generation"),
    "BartForConditionalGeneration": (("logits", "encoder_last_hidden_state"), "text2text-generation"),
}


def tiny(architecture, layers=1):
    """A model, the inputs that it is exported with, and its config. Of BART the decoder has the layers."""
    import torch
    import transformers

    torch.manual_seed(3)
    if architecture.startswith("Bert"):
        labels = 2 if architecture.endswith("QuestionAnswering") else 3
        config = transformers.BertConfig(**TINY, num_labels=labels, max_position_embeddings=32)
        config.num_hidden_layers = layers
    elif architecture.startswith("GPT2"):
        config = transformers.GPT2Config(vocab_size=99, n_embd=16, n_layer=layers, n_head=2, n_positions=32)
    else:
        config = transformers.BartConfig(
            vocab_size=99, d_model=16, encoder_layers=0, decoder_layers=layers, encoder_attention_heads=2,
            decoder_attention_heads=2, encoder_ffn_dim=24, decoder_ffn_dim=24, max_position_embeddings=32,
        )  # fmt: skip
    config.use_cache = False
    config.architectures = [architecture]
    model = getattr(transformers, architecture)(config).eval()
    shape = (2, 3, 7) if "Choice" in architecture else (2, 7)
    ids = torch.randint(5, 99, shape)
    mask = torch.ones_like(ids)
    mask[-1, ..., 5:] = 0
    inputs = {"input_ids": ids, "attention_mask": mask}
    if architecture.startswith("Bart"):
        inputs["decoder_input_ids"] = torch.randint(5, 99, (2, 6))
    return model, inputs, config


def export_by_torch(model, inputs, outputs, path):
    """As users do it: torch.onnx.export with names."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            kwargs=inputs,
            f=path,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes={name: dict.fromkeys(range(t.ndim), torch.export.Dim.AUTO) for name, t in inputs.items()},
            dynamo=True,
            verbose=False,
        )


@pytest.mark.slow
@pytest.mark.parametrize("exporter", ["octavo", "torch"])
@pytest.mark.parametrize("architecture", TASKS)
def test_the_task_of_every_export_is_named(architecture, exporter, tmp_path, tiny_parts):
    import onnx_ir as ir
    import transformers

    outputs, task = TASKS[architecture]
    written = exporter == "octavo" and architecture.startswith("Bert")
    # A layer takes torch seconds, and what tells heads apart lies above it: not all that torch exports have one.
    layers = written or architecture in {"BertModel", "BertForTokenClassification"}
    model, inputs, config = tiny(architecture, layers=int(layers))
    path = tmp_path / "model.onnx"
    if exporter == "torch":
        export_by_torch(model, inputs, outputs, path)
    elif written:
        words = [*tiny_parts.word_pieces("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]").items()][: TINY["vocab_size"]]
        model.save_pretrained(tmp_path / "checkpoint")
        transformers.BertTokenizer(vocab=dict(words), model_max_length=32).save_pretrained(tmp_path / "checkpoint")
        floats = octavo.export(tmp_path / "checkpoint")
        assert floats.record.graph == "written"
        outputs = floats.source.signature.output_names
        ir.save(floats.graphs["model"], path)
    else:
        ir.save(export_graph(model, inputs, outputs, 23), path)
    (tmp_path / "config.json").write_text(config.to_json_string(), encoding="utf-8")
    found = octavo.inspect(path)
    assert found.task == task, found.task_reason
    assert found.loads_as == (task if task in LOADED else None)
    assert [port.name for port in found.outputs][: len(outputs)] == list(outputs)
    assert {weight.part for weight in found.weights} >= {"embedding"}
    (tmp_path / "config.json").unlink()
    alone = octavo.inspect(path).task
    unlike = {"BertForMaskedLM": "language model", "GPT2LMHeadModel": "language model"}
    if exporter == "octavo":  # its rows are single choices
        unlike["BertForMultipleChoice"] = "text-classification"
    assert alone == unlike.get(architecture, task)


def test_caches_mean_generation():
    ids, past = Port("input_ids", "int64", ("b", "s")), Port("past_key_values.0.key", "float32", ("b", 2, "p", 8))
    logits = Port("logits", "float32", ("b", "s", 99))
    assert guess_task((ids, past), (logits,), {}, 99)[0] == "text-generation"
    states = Port("encoder_hidden_states", "float32", ("b", "s", 16))
    assert guess_task((ids, past, states), (logits,), {}, 99)[0] == "text2text-generation"
    assert guess_task((ids,), (Port("x", "float32", ()),), {}, 99)[0] == "unknown"


def test_a_checkpoint_is_told_from_its_headers(checkpoint):
    found = octavo.inspect(checkpoint("bert"))
    assert (found.kind, found.task, found.method) == ("checkpoint", "text-classification", "float")
    assert (
        found.bytes
        == sum(found.bytes_by_dtype.values())
        == sum(s for k in found.bytes_by_part.values() for s in k.values())
    )
    assert 0.7 * found.bytes < found.saved_by_int8 < 0.75 * found.bytes


def test_an_artifact_is_told_with_its_passes(artifact):
    made = artifact("bert", "dynamic")
    found = octavo.inspect(made.folder)
    assert (found.kind, found.method, found.symmetric_weights, found.symmetric_activations) == (
        "artifact",
        "dynamic",
        True,
        False,
    )
    assert found.passes == made.manifest.passes
    stored = {layer.path: (layer.part, layer.dtype) for layer in made.manifest.layers}
    assert {weight.path: (weight.part, weight.dtype) for weight in found.weights} == stored
    assert found.saved_by_int8 == sum(
        layer.bytes * 3 // 4 for layer in made.manifest.layers if layer.dtype == "float32"
    )
    assert json.loads(json.dumps(found.to_dict()))["task"] == "text-classification"


@pytest.fixture(scope="module")
def stock(artifact, tmp_path_factory):
    """The stock tool's dynamic and static int8 of the float graph."""
    import numpy as np

    float_model = artifact("bert", "float").model_file
    folder = tmp_path_factory.mktemp("stock")

    class Batches(CalibrationDataReader):
        def __init__(self):
            ids = np.arange(5, 21).reshape(2, 8)
            self.left = [{"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}]

        def get_next(self):
            return self.left.pop() if self.left else None

    operators = ["MatMul", "Gemm", "Gather"]
    quantize_dynamic(float_model, folder / "dynamic.onnx", op_types_to_quantize=operators, per_channel=True)
    quantize_static(float_model, folder / "static.onnx", Batches(), op_types_to_quantize=["MatMul", "Gemm"])
    return folder


def test_other_tools_int8_is_understood(stock):
    dynamic, static = (octavo.inspect(stock / name) for name in ("dynamic.onnx", "static.onnx"))
    assert (dynamic.method, dynamic.saved_by_int8, dynamic.symmetric_weights) == ("dynamic", 0, False)
    assert {weight.dtype for weight in dynamic.weights if weight.kind == "linear"} == {"int8"}
    assert any(weight.saturates for weight in dynamic.weights)
    assert static.method == "static"
    embedding = sum(weight.bytes for weight in static.weights if weight.kind == "embedding")
    assert static.saved_by_int8 == embedding * 3 // 4
    assert {weight.dtype for weight in static.weights if weight.kind == "linear"} == {"int8"}
    assert dynamic.producer.startswith("onnx.quantize")


def test_weights_for_a_cpu_that_saturates_do_not(artifact):
    for target, expected in (("avx2", False), ("avx512_vnni", True)):
        weights = octavo.inspect(artifact("bert", "dynamic", target).folder).weights
        assert any(weight.saturates for weight in weights) is expected


def test_the_listing_names_what_it_reads(artifact):
    lines = list(list_graph(read_model(artifact("bert", "dynamic").folder)))
    assert lines[0] == "input  %input_ids: int64[batch,length]"
    assert lines[-1] == "output %logits: float32[batch,3]"
    assert "# bert.encoder.layer.0.attention.self.query" in lines
    product = next(line for line in lines if "query.weight_int8" in line)
    assert "MatMulInteger(" in product
    assert "int8[48,48]" in product
    assert max(map(len, lines)) < 200


def test_folders_that_hold_nothing_are_errors(tmp_path):
    with pytest.raises(octavo.InputError, match="neither a checkpoint, nor an artifact, nor an ONNX model"):
        octavo.inspect(tmp_path)
    with pytest.raises(octavo.InputError, match="no such"):
        octavo.inspect(tmp_path / "absent")


def test_a_model_whose_data_stands_beside_it_counts_both(tmp_path, artifact):
    model = onnx.load(artifact("bert", "float").model_file)
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    found = octavo.inspect(tmp_path)
    files = [tmp_path / "model.onnx", tmp_path / "weights.bin"]
    assert found.bytes == sum(file.stat().st_size for file in files)
    assert found.task == "text-classification"


def written_by_hand(codes, scale, zero=None):
    """A product with 8-bit weights that standard operators scale: `(Cast(codes) - zero) * scale`."""
    node = onnx.helper.make_node
    stored = {"codes": codes, "scale": scale, **({"zero": zero} if zero is not None else {})}
    nodes = [node("Cast", ["codes"], ["cast"], to=onnx.TensorProto.FLOAT)]
    if zero is not None:
        nodes += [node("Cast", ["zero"], ["middle"], to=onnx.TensorProto.FLOAT)]
        nodes += [node("Sub", ["cast", "middle"], ["moved"])]
    nodes += [node("Mul", ["scale", "cast" if zero is None else "moved"], ["weight"])]
    nodes += [node("MatMul", ["x", "weight"], ["y"])]
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", size]) for name, size in
            (("x", 6), ("y", 4)))  # fmt: skip
    constants = [onnx.numpy_helper.from_array(array, name) for name, array in stored.items()]
    graph = onnx.helper.make_graph(nodes, "g", [x], [y], constants)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize(
    ("dtype", "zero", "symmetric"),
    [("int8", None, True), ("uint8", 128, True), ("uint8", 100, False), ("int8", 3, False)],
)
def test_integers_that_standard_operators_scale_are_integers(tmp_path, dtype, zero, symmetric):
    codes = np.arange(24).reshape(6, 4).astype(dtype)
    zero = None if zero is None else np.array(zero, dtype)
    onnx.save(written_by_hand(codes, np.full((1, 4), 0.1, np.float32), zero), tmp_path / "model.onnx")
    found = octavo.inspect(tmp_path)
    assert (found.method, found.symmetric_weights, found.saved_by_int8) == ("weight-only", symmetric, 0)
    assert [(weight.dtype, weight.shape, weight.bytes) for weight in found.weights] == [(dtype, (6, 4), 24)]


def test_a_float_weight_that_is_scaled_is_no_integer(tmp_path):
    onnx.save(written_by_hand(np.ones((6, 4), np.float32), np.float32(0.1)), tmp_path / "model.onnx")
    assert octavo.inspect(tmp_path).method == "float"


def test_whole_numbers_and_numbers_for_each_token_are_no_answer():
    ids = Port("input_ids", "int64", ("batch", "sequence"))
    mask = Port("output", "int64", ("batch", "sequence"))
    lengths = Port("mask", "float32", ("batch", "sequence"))
    vectors = Port("463", "float32", ("b", "s", 384))
    assert main_output((ids,), (mask, lengths, vectors)) == vectors
    task, reason = guess_task((ids,), (mask, lengths), {}, 99)
    assert task == "unknown"
    assert (
        reason
        == "no output can be scores or vectors: output is int64 [batch, sequence], mask is float32 [batch, sequence]"
    )
    assert guess_task((ids,), (mask, vectors), {"hidden_size": 384}, 999)[0] == "feature-extraction"
    assert guess_task((ids,), (mask, vectors), {}, 999, 384)[0] == "feature-extraction"  # as wide as the table
    fixed = Port("input_ids", "int64", (1, 128)), Port("last_hidden_state", "float32", (1, 128, 128))
    assert main_output(fixed[:1], fixed[1:]) == fixed[1]  # a model as wide as its fixed length
    scores = Port("probabilities", "float32", ("batch", 3))
    assert guess_task((ids,), (mask, scores), {}, 99)[0] == "text-classification"
    spans = tuple(Port(name, "float32", ("batch", "sequence")) for name in ("start_logits", "end_logits"))
    assert (guess_task((ids,), spans, {}, 99)[0], main_output((ids,), spans)) == ("question-answering", spans[0])


@pytest.mark.parametrize(("operator", "saturates"), [("MatMulInteger", False), ("ConvInteger", True)])
def test_what_can_saturate_are_neighbours_of_one_sign_along_the_inputs(operator, saturates):
    """127 above -127 in each column leave room; of a convolution nobody says which numbers are neighbours."""
    for codes, neighbours in (([[127, 127], [-127, -127]], False), ([[127, -127], [127, -127]], True)):
        array = np.array(codes, np.int8)
        array = array if operator == "MatMulInteger" else np.tile(array[..., None, None], (3, 3))
        weight = ir.val("up.weight", ir.DataType.INT8, array.shape, const_value=ir.tensor(array, name="up.weight"))
        x = ir.val("x", ir.DataType.UINT8, [1, 2] if operator == "MatMulInteger" else [1, 2, 3, 3])
        node = ir.node(operator, [x, weight], name=f"up/{operator}")
        graph = ir.Graph([x], [node.outputs[0]], nodes=[node], initializers=[weight], opset_imports={"": 20})
        (found,) = find_weights(ir.Model(graph, ir_version=10))
        assert found.saturates is (neighbours or saturates)
