"""What an exported graph looks like, and what happens where it is not what torch computes."""

import gc
import logging
from collections import Counter
from types import SimpleNamespace

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from torch.fx import config as tracing

import octavo
from octavo.checkpoint.model import load_model
from octavo.checkpoint.source import read_source
from octavo.engines.cache import name_in_torch
from octavo.engines.onnxruntime import OnnxRuntimeSession
from octavo.engines.torch import TorchSession
from octavo.exporting import proof as exporting
from octavo.exporting import reference, unread_nodes
from octavo.exporting.cached import LEAF
from octavo.exporting.exporter import export_graph
from octavo.exporting.opsets import OPSETS, OpsetError
from octavo.exporting.unread_nodes import drop_unread
from octavo.schema.recipe import Recipe
from octavo.schema.signature import Signature

FAMILIES = ("bert", "roberta", "albert")  # plain; with computed positions; with one layer at several places


@pytest.fixture(scope="module")
def source(checkpoint):
    return read_source(checkpoint("bert"))


@pytest.fixture
def model(source):
    return load_model(source)


@pytest.fixture(scope="module", params=[(family, road) for family in FAMILIES for road in ("exported", "written")])
def exported(request, artifact, checkpoint, tmp_path_factory):
    """A float artifact whose graph transformers exports, or Octavo writes."""
    family, road = request.param
    made = artifact(family, "float")
    if road == "exported":
        graphs = octavo.export(checkpoint(family), recipe=Recipe(method="float"), exporter=True)
        made = octavo.quantize(graphs, tmp_path_factory.mktemp("exported") / family, recipe="float")
    assert made.manifest.export.graph == road
    return made


def opset_of(made):
    return {entry.domain: entry.version for entry in onnx.load(made.model_file).opset_import}


def test_the_graph_is_valid_onnx_of_the_newest_opset(exported):
    onnx.checker.check_model(str(exported.model_file), full_check=True)
    assert opset_of(exported) == {"": 23}
    assert exported.manifest.export.opset == OPSETS[0] == 23
    assert exported.manifest.export.note is None


def test_the_graph_has_only_standard_operators_and_no_functions(exported):
    proto = onnx.load(exported.model_file)
    assert {node.domain for node in proto.graph.node} == {""}
    assert len(proto.functions) == 0
    assert Counter(node.op_type for node in proto.graph.node)["Attention"] == 2


def test_the_graph_carries_no_metadata(exported):
    proto = onnx.load(exported.model_file)
    things = [proto, proto.graph, *proto.graph.node, *proto.graph.input, *proto.graph.output]
    things += [*proto.graph.value_info, *proto.graph.initializer]
    assert [thing.doc_string for thing in things if thing.doc_string] == []
    assert [thing for thing in things if len(thing.metadata_props)] == []
    assert (proto.producer_name, proto.producer_version, proto.graph.name) == ("octavo", "", "octavo")


def test_nodes_are_named_once_and_led_by_the_path_of_their_module(exported, checkpoint):
    proto = onnx.load(exported.model_file)
    names = [node.name for node in proto.graph.node]
    assert len(names) == len(set(names))
    family = exported.manifest.source.name
    modules = {path for path, _ in load_model(read_source(checkpoint(family))).named_modules()}
    for node in proto.graph.node:
        path, _, operator = node.name.rpartition("/")
        assert path in modules, node.name
        assert operator.partition("_")[0] == node.op_type
        if node.output[0] != "logits":
            assert node.output[0] == node.name
    led = [name for name in names if not name.startswith("/")]
    assert len(led) > 0.8 * len(names)


def test_weights_carry_the_path_of_their_module(exported):
    proto = ir.load(exported.model_file)
    names = set(proto.graph.initializers)
    stored = {f"{layer.path}.weight" for layer in exported.manifest.layers}
    assert stored <= names


def test_inputs_and_outputs_have_names_and_dynamic_dimensions(exported):
    signature = exported.manifest.signature
    session = onnxruntime.InferenceSession(exported.model_file)
    assert tuple(value.name for value in session.get_inputs()) == signature.input_names
    assert {tuple(value.shape) for value in session.get_inputs()} == {("batch", "length")}
    assert {value.type for value in session.get_inputs()} == {"tensor(int64)"}
    assert [(value.name, value.shape, value.type) for value in session.get_outputs()] == [
        ("logits", ["batch", len(signature.labels)], "tensor(float)")
    ]


def test_the_graph_answers_at_shapes_that_it_was_not_exported_at(source, artifact, model):
    session = onnxruntime.InferenceSession(artifact("bert", "float").model_file)
    torch_session = TorchSession(model)
    for rows, length in ((1, 1), (1, source.signature.max_length), (5, 17), (9, 2)):
        inputs = exporting.probe(source.signature, rows, length, model.config.to_dict())
        assert inputs["attention_mask"].shape == (rows, length)
        np.testing.assert_allclose(session.run(None, inputs)[0], torch_session.run(inputs), rtol=0, atol=1e-5)


def test_an_older_opset_can_be_asked_for_and_the_exporter_is_quiet(make_checkpoint, tmp_path, sentences, capfd):
    disabled = logging.root.manager.disable
    source = make_checkpoint("bert", tmp_path / "bert", layers=1)
    made = octavo.quantize(source, tmp_path / "old", recipe=Recipe(method="float", opset=20))
    assert capfd.readouterr() == ("", "")
    assert logging.root.manager.disable == disabled
    assert opset_of(made) == {"": 20}
    assert made.manifest.export.opset == 20
    onnx.checker.check_model(str(made.model_file), full_check=True)
    assert "Attention" not in {node.op_type for node in onnx.load(made.model_file).graph.node}  # it came with 23
    rows = [*sentences, (sentences[0], sentences[1]), ""]
    found, expected = octavo.load(made.folder)(rows), octavo.load(source)(rows)
    assert [answer["label"] for answer in found] == [answer["label"] for answer in expected]
    scores = [answer["score"] for answer in found]
    np.testing.assert_allclose(scores, [answer["score"] for answer in expected], rtol=0, atol=1e-5)


@pytest.fixture
def graph(artifact):
    return ir.load(artifact("bert", "float").model_file)


def test_what_torch_keeps_while_it_traces_changes_nothing(checkpoint, monkeypatch):
    """Where tests export, less is kept than where a user does; see `export_cache.trace_quickly`."""
    from export_cache import REAL, OnnxExporter, dynamo

    asked = {"recipe": Recipe(method="float"), "exporter": True}
    theirs = octavo.export(checkpoint("bert"), **asked).graphs["model"]
    assert dynamo.fake_tensor_cache_enabled is False
    monkeypatch.setattr(OnnxExporter, "export", REAL)
    seen, drop = [], unread_nodes.drop_unread
    monkeypatch.setattr(unread_nodes, "drop_unread", lambda graph: seen.append(len(graph.nodes)) or drop(graph))
    with dynamo.patch(fake_tensor_cache_enabled=True):  # not by pytest, whose undoing deletes it
        ours = octavo.export(checkpoint("bert"), **asked).graphs["model"]
    assert dynamo.fake_tensor_cache_enabled is False
    assert ir.to_proto(ours).SerializeToString() == ir.to_proto(theirs).SerializeToString()
    assert len(seen) == 1, "what stands between the halves of transformers' exporter is run"


def exported_as(monkeypatch, graph):
    """Let the exporter give this graph: what is tested is what happens after it."""
    monkeypatch.setattr("octavo.exporting.exporter.export_graph", lambda *_: graph)


class Silence:
    def __init__(self):
        self.said = []

    def start(self, task, total=None):
        self.said.append(task)

    def advance(self, amount=1):
        pass


@pytest.mark.parametrize(
    ("wrong_at", "shape"),
    [((1, 1), "1 x 1"), ((1, 12), "1 x 12"), ((3, 9), "3 x 9, padded"), ((1, 64), "1 x 64")],
)
def test_a_difference_from_torch_is_an_error_that_names_the_shape(monkeypatch, model, source, graph, wrong_at, shape):
    honest = OnnxRuntimeSession.run

    def run(self, inputs):
        return honest(self, inputs) + np.float32(0.01 * (inputs["input_ids"].shape == wrong_at))

    exported_as(monkeypatch, graph)
    monkeypatch.setattr(OnnxRuntimeSession, "run", run)
    with pytest.raises(octavo.ExportError) as caught:
        exporting.export_checked(model, lambda: model, source.signature, Recipe(opset=23), Silence())
    assert f"differs from torch at {shape}; got: 0.01" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_an_output_that_is_not_finite_differs_from_torch(monkeypatch, model, source, graph, wrong):
    honest = OnnxRuntimeSession.run
    monkeypatch.setattr(OnnxRuntimeSession, "run", lambda self, inputs: honest(self, inputs) * np.float32(wrong))
    exported_as(monkeypatch, graph)
    with pytest.raises(octavo.ExportError, match="differs from torch at 1 x 1"):
        exporting.export_checked(model, lambda: model, source.signature, Recipe(opset=23), Silence())


def test_the_tolerance_decides(monkeypatch, model, source, graph):
    exported_as(monkeypatch, graph)
    record = exporting.export_checked(model, lambda: model, source.signature, Recipe(opset=23), Silence()).record
    assert list(record.differences) == ["1 x 1", "1 x 12", "3 x 9, padded", "1 x 64"]
    assert 0 < max(record.differences.values()) < 1e-5
    monkeypatch.setattr(reference, "TOLERANCE", 0.0)
    with pytest.raises(octavo.ExportError, match="differs from torch"):
        exporting.export_checked(model, lambda: model, source.signature, Recipe(opset=23), Silence())


def test_a_graph_that_freezes_a_dimension_is_an_error(monkeypatch, model, source, graph):
    for value in graph.graph.inputs:
        value.shape = ir.Shape([1, "length"])
    exported_as(monkeypatch, graph)
    with pytest.raises(octavo.ExportError, match="a run at 3 x 9, padded failed"):
        exporting.export_checked(model, lambda: model, source.signature, Recipe(opset=23), Silence())


def test_opsets_are_tried_from_the_newest_and_the_reason_is_kept(monkeypatch, model, source, graph):
    tried = []

    def export(model, sample, outputs, opset):
        tried.append(opset)
        if opset > 21:
            raise OpsetError("this architecture cannot be exported", got=f"no {opset}")
        return graph

    monkeypatch.setattr("octavo.exporting.exporter.export_graph", export)
    say = Silence()
    record = exporting.export_checked(model, lambda: model, source.signature, Recipe(), say).record
    assert tried == [23, 22, 21]
    assert record.opset == 21
    assert record.note == "opset 23 did not work: this architecture cannot be exported; got: no 23"
    assert say.said == [*(f"exporting: opset {opset}" for opset in tried), "optimizing the graph"]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (octavo.ExportError("the exported graph has no cache"), [23]),
        (OpsetError("ONNX Runtime cannot load the exported graph", got="Attention"), [23, 22]),
    ],
    ids=["not of the opset", "the same at an older one"],
)
def test_no_older_opset_is_tried_where_the_opset_is_not_the_reason(monkeypatch, model, source, error, expected):
    tried = []

    def export(model, sample, outputs, opset):
        tried.append(opset)
        raise error

    monkeypatch.setattr("octavo.exporting.exporter.export_graph", export)
    with pytest.raises(octavo.ExportError) as caught:
        exporting.export_checked(model, lambda: model, source.signature, Recipe(), Silence())
    assert caught.value is error
    assert tried == expected


@pytest.mark.parametrize(
    ("error", "kind"), [(torch.onnx.OnnxExporterError("no Gelu"), OpsetError), (ValueError("x"), octavo.ExportError)]
)
def test_what_cannot_be_written_in_an_opset_is_told_from_what_cannot_be_traced(monkeypatch, model, error, kind):
    before = tracing.do_not_emit_stack_traces
    meanwhile = []

    def fail(*_):
        meanwhile.append((gc.isenabled(), tracing.do_not_emit_stack_traces))
        raise error

    monkeypatch.setattr("transformers.exporters.exporter_onnx.OnnxExporter.export", fail)
    with pytest.raises(octavo.ExportError, match="this architecture cannot be exported") as caught:
        export_graph(model, {}, ("logits",), 23)
    assert type(caught.value) is kind
    assert meanwhile == [(False, True)]
    assert (gc.isenabled(), tracing.do_not_emit_stack_traces) == (True, before)


def test_a_graph_that_does_not_load_or_differs_is_an_error_of_the_opset(monkeypatch, model, source, graph):
    exported_as(monkeypatch, graph)
    monkeypatch.setattr(reference, "TOLERANCE", 1e-9)
    with pytest.raises(OpsetError, match="differs from torch"):
        exporting.export_checked(model, lambda: model, source.signature, Recipe(opset=23), Silence())
    graph.graph[0].domain = "com.nobody"
    with pytest.raises(OpsetError, match="cannot load"):
        exporting.open_checked(graph)


@pytest.mark.parametrize(("arguments", "name"), [("past_key_values=None", "past_key_values"), ("cache=None", "cache")])
def test_a_cache_has_the_name_of_its_version_of_transformers(arguments, name):
    model = SimpleNamespace(forward=eval(f"lambda input_ids, {arguments}: None"))
    assert name_in_torch(model) == name
    for leaf in (f"input.{name}.layers.3.keys", f"output.{name}.layers.3.keys", f"{name}.layers.3.keys"):
        assert LEAF.fullmatch(leaf).groups() == (None, "3", "key")
    assert LEAF.fullmatch(f"{name}.cross_attention_cache.layers.12.values").groups() == ("cross", "12", "value")


def test_an_architecture_that_cannot_be_exported_is_one_line(monkeypatch, checkpoint):
    def fail(*_):
        raise RuntimeError("cannot trace this\nand much more\nof a long story")

    monkeypatch.setattr("transformers.exporters.exporter_onnx.OnnxExporter.export", fail)
    with pytest.raises(octavo.ExportError) as caught:
        octavo.export(checkpoint("bert"), exporter=True)
    expected = "this architecture cannot be exported; got: BertForSequenceClassification: cannot trace this"
    assert str(caught.value) == expected


def test_other_outputs_than_those_asked_for_are_an_error(monkeypatch, model, graph):
    exported = SimpleNamespace(program=graph)
    monkeypatch.setattr("transformers.exporters.exporter_onnx.OnnxExporter.export", lambda *_: exported)
    with pytest.raises(octavo.ExportError, match=r"other outputs; got: logits; allowed: last_hidden_state$"):
        export_graph(model, {}, ("last_hidden_state",), 23)


def test_probe_pads_every_row_but_the_first_and_never_attends_to_padding():
    signature = Signature(
        task="text-classification",
        input_names=("input_ids", "attention_mask", "token_type_ids"),
        output_names=("logits",),
        max_length=16,
        pad_token_id=3,
    )
    inputs = exporting.probe(signature, 4, 9, {"vocab_size": 20})
    assert inputs["attention_mask"].sum(1).tolist() == [9, 7, 5, 3]
    assert np.array_equal(inputs["input_ids"] == 3, inputs["attention_mask"] == 0)
    assert inputs["token_type_ids"].max() == 1
    again = exporting.probe(signature, 4, 9, {"vocab_size": 20})
    assert all(np.array_equal(inputs[name], again[name]) for name in inputs)
    alone = signature.model_copy(update={"input_names": ("input_ids",)})
    assert list(exporting.probe(alone, 1, 1, {"vocab_size": 20})) == ["input_ids"]


def test_outputs_that_the_task_does_not_need_are_left_out_and_named(monkeypatch, model, graph):
    states = next(node.outputs[0] for node in graph.graph if node.op_type == "LayerNormalization")
    states.name = "encoder_last_hidden_state"
    graph.graph.outputs.insert(0, states)
    exported = SimpleNamespace(program=graph)
    monkeypatch.setattr("transformers.exporters.exporter_onnx.OnnxExporter.export", lambda *_: exported)
    with pytest.warns(octavo.OctavoWarning, match=r"left out of the graph: encoder_last_hidden_state$"):
        made = export_graph(model, {}, ("logits",), 23)
    assert [value.name for value in made.graph.outputs] == ["logits"]


def test_what_no_output_reads_is_dropped_and_the_answer_stays():
    class Halves(torch.nn.Module):
        def forward(self, x):
            read = torch.nn.functional.dropout(x.to(torch.float32), 0.1, training=False) * 2
            last = torch.nn.functional.dropout(read, 0.1, training=False)
            unread = torch.nn.functional.scaled_dot_product_attention(x, x, read)  # may draw random numbers: it is kept
            return last, read, unread.to(torch.float64).shape[0]

    x = torch.rand(2, 3, 5, 4, dtype=torch.float32)
    program = torch.export.export(Halves(), (x,))
    kinds = lambda: [str(node.target) for node in program.graph.nodes if node.op == "call_function"]  # noqa: E731
    assert "aten.scaled_dot_product_attention.default" in kinds()
    drop_unread(program.graph_module.graph)
    program.graph_module.recompile()
    assert kinds() == ["aten.to.dtype", "aten.mul.Tensor", "aten.dropout.default"]  # which is an output
    program.validate()
    for found in program.module()(x)[:2]:
        np.testing.assert_array_equal(found, 2 * x)
