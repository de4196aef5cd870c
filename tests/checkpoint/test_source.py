"""Checkpoints as they come: every problem is a line that says what to do, and weights are never made up."""

import json
import shutil
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub.utils import filter_repo_objects
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

import octavo
from octavo.checkpoint.model import load_model
from octavo.checkpoint.source import Checkpoint, read_source
from octavo.errors import CheckpointError, InputError, OctavoWarning
from octavo.pipeline.quantization import quantize
from octavo.schema.signature import SYNONYMS, TASK_NAMES
from octavo.tasks import TASKS

LABELS = ("entailment", "contradiction", "neutral")
NAMES = ("함의", "모순", "중립")
NO_TORCH = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1].split(","):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
import octavo
def told(action):
    try:
        action()
    except octavo.OctavoError as error:
        print(type(error).__name__, error.exit_code, error)
told(lambda: octavo.quantize(sys.argv[2], sys.argv[3]))
told(lambda: octavo.load(sys.argv[2]))
"""


@pytest.fixture
def copy(checkpoint, tmp_path):
    """A function of a family: a checkpoint that may be changed."""
    return lambda family: Path(shutil.copytree(checkpoint(family), tmp_path / family))


@pytest.fixture
def folder(copy):
    return copy("bert")


def change(file, **settings):
    """Change keys of a JSON file; None takes a key out."""
    table = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    table = {key: value for key, value in (table | settings).items() if value is not None}
    file.write_text(json.dumps(table, ensure_ascii=False), encoding="utf-8")


def change_weights(folder, change_tensors):
    tensors = load_file(folder / "model.safetensors")
    save_file(change_tensors(tensors), folder / "model.safetensors", metadata={"format": "pt"})
    return tensors


def refused(given, match, error=CheckpointError, action=read_source):
    """The message of the one-line error that reading (or something else) gives."""
    with pytest.raises(error, match=match) as caught:
        action(given)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    return str(caught.value)


def load(given):
    return load_model(read_source(given))


# What is there


def test_a_checkpoint_is_read(folder):
    source = read_source(folder)
    signature = source.signature
    assert source.folder == folder
    assert signature.task == "text-classification"
    assert signature.labels == LABELS
    assert signature.input_names == ("input_ids", "attention_mask", "token_type_ids")
    assert signature.output_names == ("logits",)
    assert (signature.max_length, signature.pad_token_id, signature.unk_token_id) == (64, 0, 1)
    assert source.bytes == sum(file.stat().st_size for file in folder.iterdir())
    assert read_source(Checkpoint(folder)) == source
    assert read_source(str(folder)).signature == signature


@pytest.mark.parametrize("place", ["/nowhere/at/all", "./no such folder", "no/such/folder", "~/models/x"])
def test_no_such_folder(place, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("it asked the hub"))
    refused(place, "^no such folder; got: ")


def test_a_name_that_could_be_on_the_hub_and_is_not(monkeypatch):
    def fail(*_, **__):
        raise OSError("404 Client Error\nRepository Not Found")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    message = refused("someone/some-model", "no such folder, and the hub does not give it")
    assert message.endswith("got: someone/some-model: 404 Client Error")


def test_a_name_on_the_hub_without_a_network(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("it used the network"))
    refused("octavo-tests/not-there", "no such folder, and the hub does not give it; got: octavo-tests/not-there: ")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A function: a folder whose files are on the hub as someone/some-model; returns the names that were fetched."""

    def put(folder):
        fetched, cache = [], tmp_path / "cache"

        def fetch(name, allow_patterns=None, ignore_patterns=None):
            assert name == "someone/some-model"
            files = [str(file.relative_to(folder)) for file in sorted(folder.rglob("*")) if file.is_file()]
            for file in filter_repo_objects(files, allow_patterns=allow_patterns, ignore_patterns=ignore_patterns):
                fetched.append(file)
                (cache / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(folder / file, cache / file)
            return str(cache)

        monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
        return fetched

    monkeypatch.chdir(tmp_path)
    return put


def test_a_name_on_the_hub_is_fetched_without_its_code_and_other_weights(folder, hub):
    for name in ("modeling.py", "pytorch_model.bin", "model.onnx", "tf_model.h5", "state.pkl", "training_args.bin"):
        (folder / name).write_bytes(b"x")
    fetched = hub(folder)
    assert load("someone/some-model").config.num_labels == 3
    assert sorted(fetched) == ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert read_source("someone/some-model").name == "someone/some-model"


def test_a_name_on_the_hub_that_has_only_a_bin(folder, hub):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    (folder / "training_args.bin").write_bytes(b"x")
    fetched = hub(folder)
    assert load("someone/some-model").config.num_labels == 3
    assert sorted(fetched) == ["config.json", "pytorch_model.bin", "tokenizer.json", "tokenizer_config.json"]


@pytest.mark.parametrize("there", [True, False])
def test_an_onnx_file(tmp_path, there):
    file = tmp_path / "model.onnx"
    if there:
        file.write_bytes(b"x")
    refused(file, "this is an ONNX file; got: .*; next: give the Hugging Face checkpoint")


def test_another_file(folder):
    refused(folder / "config.json", f"a model is a folder; got: .*; next: name its folder: {folder}")


def test_an_artifact(folder, tmp_path):
    (folder / "octavo.json").write_text("{}", encoding="utf-8")
    refused(folder, "this is an artifact that Octavo wrote.*next: give the checkpoint that it was made from")
    refused(folder, "this is an artifact", action=lambda given: quantize(given, tmp_path / "out"))


def test_no_config(folder):
    (folder / "config.json").unlink()
    assert "got" not in refused(folder, "no config.json in .*; next: give the folder that save_pretrained wrote")
    (folder / "onnx").mkdir()
    (folder / "onnx/model.onnx").write_bytes(b"x")
    refused(folder, "no config.json in .*; got: only ONNX files: model.onnx")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "is not JSON"),
        (b'{"model_type": ', "is not JSON"),
        (b"\xff\xfe{}", "is not JSON"),
        (b"[1, 2]", "is not a table in .*; got: list"),
        (b"null", "is not a table in .*; got: NoneType"),
    ],
)
def test_a_damaged_config(folder, content, match):
    (folder / "config.json").write_bytes(content)
    refused(folder, f"config.json {match}")


def test_several_problems_have_a_line_each(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(CheckpointError) as caught:
        read_source(empty)
    lines = str(caught.value).splitlines()
    assert [line.partition(" in ")[0] for line in lines] == ["no config.json", "no weights", "no tokenizer"]
    assert caught.value.exit_code == 2


def test_several_problems_of_other_kinds_have_a_line_each(folder):
    (folder / "model.safetensors").write_bytes(b"")
    (folder / "tokenizer.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError) as caught:
        read_source(Checkpoint(folder, labels=("a", "b")))
    first, second, third = str(caught.value).splitlines()
    assert first.startswith("the weights are damaged")
    assert second.startswith("tokenizer.json cannot be read")
    assert third.startswith("--labels does not fit the model")


def test_an_unknown_task_is_told_together_with_the_rest(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError) as caught:
        read_source(Checkpoint(folder, task="text-clasification"))
    assert sorted(line.partition(";")[0].partition(" in ")[0] for line in str(caught.value).splitlines()) == [
        "no weights",
        "unknown task",
    ]


@pytest.mark.parametrize("name", ["sentence_bert_config.json", "config.json"])
def test_a_damaged_side_file_is_a_line(folder, name):
    (folder / name).write_text("{", encoding="utf-8")
    refused(folder, name)


# Task


@pytest.mark.parametrize(("given", "task"), [*SYNONYMS.items(), *((task, task) for task in TASK_NAMES)])
def test_a_task_has_the_hubs_name_and_old_ones(folder, given, task):
    change(folder / "config.json", architectures=None)
    assert read_source(Checkpoint(folder, task=given)).signature.task == task


def test_an_unknown_task(folder):
    message = refused(Checkpoint(folder, task="text-clasification"), "unknown task", InputError)
    assert "got: text-clasification" in message
    assert "(did you mean 'text-classification'?)" in message


@pytest.mark.parametrize(
    ("architecture", "task"),
    [
        ("BertForSequenceClassification", "text-classification"),
        ("ElectraForTokenClassification", "token-classification"),
        ("BertForQuestionAnswering", "question-answering"),
        ("RobertaForMultipleChoice", "multiple-choice"),
        ("BertForMaskedLM", "fill-mask"),
        ("GPT2LMHeadModel", "text-generation"),
        ("LlamaForCausalLM", "text-generation"),
        ("BartForConditionalGeneration", "text2text-generation"),
        ("BertModel", "feature-extraction"),
    ],
)
def test_the_architecture_tells_the_task(folder, tmp_path, architecture, task):
    change(folder / "config.json", architectures=[architecture])
    assert read_source(folder).signature.task == task
    if task not in TASKS:
        message = refused(
            folder, "this task is not supported yet", InputError, lambda given: quantize(given, tmp_path / "out")
        )
        assert message.endswith(f"got: {task}; allowed: {', '.join(TASKS)}")
        refused(folder, "this task is not supported yet", InputError, octavo.load)


@pytest.mark.parametrize(
    ("architectures", "told"), [(None, "none"), ([], "none"), (["ViTForNothing"], "ViTForNothing")]
)
def test_an_architecture_that_does_not_tell_the_task(folder, architectures, told):
    change(folder / "config.json", architectures=architectures)
    refused(folder, f"does not tell the task in .*; got: architectures: {told}; next: name it with --task")
    assert read_source(Checkpoint(folder, task="text-classification")).signature.task == "text-classification"


# Labels


def test_labels_replace_those_of_the_config(folder):
    change(folder / "config.json", id2label={str(index): f"LABEL_{index}" for index in range(3)})
    assert read_source(folder).signature.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    source = read_source(Checkpoint(folder, labels=NAMES))
    assert source.signature.labels == NAMES
    assert source.config["id2label"] == dict(zip("012", NAMES, strict=True))
    assert source.config["label2id"] == {name: index for index, name in enumerate(NAMES)}


def test_labels_stand_in_the_order_of_their_numbers(folder):
    change(folder / "config.json", id2label={str(index): f"name {index}" for index in (10, 2, 1, 0, 9, *range(3, 9))})
    assert read_source(folder).signature.labels == tuple(f"name {index}" for index in range(11))


@pytest.mark.parametrize(("count", "labels"), [(None, ("LABEL_0", "LABEL_1")), (1, ("LABEL_0",))])
def test_labels_that_the_config_does_not_name(folder, count, labels):
    change(folder / "config.json", id2label=None, label2id=None, num_labels=count)
    assert read_source(folder).signature.labels == labels


@pytest.mark.parametrize("given", [("a",), ("a", "b"), ("a", "b", "c", "d")])
def test_labels_of_another_number(folder, given):
    names = ", ".join(given)
    refused(Checkpoint(folder, labels=given), f"--labels does not fit the model in .*; got: {names}; allowed: 3 names")


def test_labels_with_a_name_twice(folder):
    refused(Checkpoint(folder, labels=("a", "b", "a")), "--labels has a name twice; got: a, b, a")


def test_labels_without_numbers(folder):
    change(folder / "config.json", id2label={"first": "a", "second": "b"})
    refused(folder, "id2label")


# Length


@pytest.mark.parametrize(
    ("family", "tokenizer", "positions", "sentence_bert", "expected"),
    [
        ("bert", 64, 64, None, 64),
        ("bert", 48, 64, None, 48),  # the smaller of the two
        ("bert", 512, 64, None, 64),
        ("bert", None, 64, None, 64),
        ("bert", 10**30, 64, None, 64),
        ("bert", 48, None, None, 48),
        ("bert", 512, 64, 32, 32),  # what sentence-transformers says comes first
        ("bert", 16, 64, 32, 32),
        ("bert", 16, 64, 512, 64),  # within what the model has positions for
        ("bert", 16, None, 256, 256),
        ("bert", 48, 64, 0, 48),
        ("distilbert", None, 64, None, 64),
        ("electra", None, 64, None, 64),
        ("roberta", None, 66, None, 64),  # position ids start behind the padding id, 1
        ("roberta", 512, 66, None, 64),
        ("roberta", 60, 66, None, 60),
        ("roberta", None, 66, 128, 64),
        ("xlm-roberta", None, 66, None, 64),
        ("camembert", None, 66, None, 64),
        ("klue-roberta", None, 66, None, 64),
    ],
)
def test_the_longest_input(copy, family, tokenizer, positions, sentence_bert, expected):
    folder = copy(family)
    change(folder / "tokenizer_config.json", model_max_length=tokenizer)
    change(folder / "config.json", max_position_embeddings=positions)
    if sentence_bert is not None:
        change(folder / "sentence_bert_config.json", max_seq_length=sentence_bert)
    assert read_source(folder).signature.max_length == expected


@pytest.mark.parametrize(
    "model_type",
    ["roberta-prelayernorm", "xlm-roberta-xl", "xmod", "mpnet", "data2vec-text", "ibert", "longformer"],
)
def test_other_models_whose_positions_start_behind_the_padding_id(copy, model_type):
    folder = copy("roberta")
    change(folder / "tokenizer_config.json", model_max_length=None)
    change(folder / "config.json", model_type=model_type)
    assert read_source(folder).signature.max_length == 64


def test_no_limit_at_all(folder):
    change(folder / "tokenizer_config.json", model_max_length=None)
    change(folder / "config.json", max_position_embeddings=0)
    with pytest.raises(octavo.CheckpointError, match="neither tokenizer nor model tells how long an input may be"):
        read_source(folder)


def test_positions_start_behind_the_padding_id_of_the_model(copy):
    """The table of positions is counted from the config's padding id, whatever the tokenizer pads with."""
    folder = copy("roberta")
    change(folder / "tokenizer_config.json", pad_token="<s>", model_max_length=None)
    with pytest.warns(OctavoWarning, match=r"config\.json pads with the id 1, the tokenizer with 0"):
        source = read_source(folder)
    assert (source.signature.pad_token_id, source.signature.max_length) == (1, 64)


def test_rows_filled_up_with_the_models_padding_answer_as_alone(copy):
    """RoBERTa counts positions of what is not its padding: another padding id would move those of a padded row."""
    folder = copy("roberta")
    change(folder / "tokenizer_config.json", pad_token="<s>")
    texts = ["아무도 공원에 없다.", "12 people won 345 prizes in 2024"]
    with pytest.warns(OctavoWarning, match="pads with the id 1"):
        predictor = octavo.load(folder)
    alone = np.concatenate([predictor.logits([text]) for text in texts])
    assert predictor.logits(texts) == pytest.approx(alone, abs=1e-5)


# Facts that two files must agree on


@pytest.mark.parametrize(
    ("names", "got"),
    [
        ({"0": "a", "1": "b", "3": "c"}, "0: 'a', 1: 'b', 3: 'c'; allowed: ids 0 to 2"),
        ({"1": "a", "2": "b", "3": "c"}, "1: 'a', 2: 'b', 3: 'c'"),
        ({"0": "긍정", "1": "부정", "2": "긍정"}, "2: '긍정'"),
        ({"0": "a", "1": " ", "2": "c"}, "1: ' '"),
        ({"0": "a", "1": None, "2": "c"}, "1: None"),
    ],
    ids=["a gap", "not from 0", "twice", "empty", "null"],
)
def test_labels_that_do_not_name_each_output(folder, names, got):
    change(folder / "config.json", id2label=names)
    refused(folder, f"id2label has to name each output, and no two alike in .*got: .*{got}.*next: .* --labels")
    assert read_source(Checkpoint(folder, labels=NAMES)).signature.labels == NAMES


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 1e999])
@pytest.mark.parametrize("place", ["layer_norm_eps", "task_specific_params"])
def test_a_number_of_the_config_that_is_not_finite(folder, number, place):
    change(folder / "config.json", **{place: number if place == "layer_norm_eps" else {"x": [1.0, number]}})
    told = place if place == "layer_norm_eps" else "task_specific_params.x.1"
    refused(folder, f"a setting is NaN or infinite in .*; got: {told}: (nan|inf)")


def test_a_token_behind_the_table_is_named(folder):
    """The table has a row for each token of the tokenizer; a larger one is usual, a smaller one a fault."""
    rows = read_source(folder).signature.vocab_size
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == rows
    tokenizer.add_tokens(["서울특별시"])
    tokenizer.save(str(folder / "tokenizer.json"))
    refused(
        folder,
        rf"tokens that the model has no vectors for; got: '서울특별시' {rows}; allowed: ids below {rows}",
        InputError,
    )


def test_a_padding_token_behind_the_table(folder):
    rows = read_source(folder).signature.vocab_size
    change(folder / "config.json", pad_token_id=rows)
    with pytest.raises(CheckpointError, match="padding"):
        load_model(read_source(folder))


# The tokenizer from elsewhere


def test_the_tokenizer_can_come_from_another_folder(copy, folder, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).rename(elsewhere / name)
    change(elsewhere / "tokenizer_config.json", model_max_length=40)
    refused(folder, "no tokenizer in .*; next: name a folder that has one with --tokenizer")
    source = read_source(Checkpoint(folder, tokenizer=elsewhere))
    assert source.signature.max_length == 40
    assert source.tokenizer.side_files["tokenizer_config.json"] == (elsewhere / "tokenizer_config.json").read_bytes()
    assert Tokenizer.from_str(source.tokenizer.json).token_to_id("공원에") is not None
    names = ("model.safetensors", "config.json")
    stored = [folder / name for name in names] + list(elsewhere.iterdir())
    assert source.bytes == sum(file.stat().st_size for file in stored)
    refused(Checkpoint(folder, tokenizer=tmp_path / "nowhere"), "no tokenizer in .*nowhere")


def test_the_tokenizer_given_comes_before_the_one_that_is_there(folder, copy):
    other = copy("klue-roberta")
    with pytest.warns(OctavoWarning, match=r"config\.json pads with the id 0, the tokenizer with 1"):
        source = read_source(Checkpoint(folder, tokenizer=other))
    assert source.tokenizer.pad_token_id == 1


# Weights


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_are_loaded_as_float32(folder, dtype):
    stored = change_weights(folder, lambda tensors: {name: tensor.to(dtype) for name, tensor in tensors.items()})
    change(folder / "config.json", dtype=str(dtype).removeprefix("torch."))
    model = load(folder)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert not model.training
    loaded = model.state_dict()
    for name, tensor in stored.items():
        assert torch.equal(loaded[name], tensor.to(dtype).float()), name


def test_a_half_precision_checkpoint_with_new_labels_to_an_artifact(folder, tmp_path):
    change_weights(folder, lambda tensors: {name: tensor.half() for name, tensor in tensors.items()})
    change(folder / "config.json", dtype="float16", id2label={str(index): f"LABEL_{index}" for index in range(3)})
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    made = quantize(Checkpoint(folder, labels=NAMES), tmp_path / "out", recipe="float")
    told = json.loads((made.folder / "octavo.json").read_text(encoding="utf-8"))
    assert told["source"]["dtype"] == "float16"
    assert told["source"]["bytes"] == sum(map(len, before.values()))
    assert told["source"]["name"] == "bert"
    assert told["signature"]["labels"] == list(NAMES)
    config = json.loads((made.folder / "config.json").read_text(encoding="utf-8"))
    assert config["id2label"] == dict(zip("012", NAMES, strict=True))
    assert config["label2id"] == {name: index for index, name in enumerate(NAMES)}
    answer = octavo.load(made.folder)("공원에서 놀고 있다")[0]
    assert answer["label"] in NAMES
    expected = octavo.load(folder)("공원에서 놀고 있다")[0]
    assert answer["score"] == pytest.approx(expected["score"], abs=1e-5)
    assert NAMES.index(answer["label"]) == int(expected["label"][-1])
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_a_head_that_is_not_there_is_never_made_up(make_checkpoint, tmp_path):
    folder = make_checkpoint("bert", tmp_path / "headless", architecture="BertModel")
    message = refused(Checkpoint(folder, task="text-classification"), "missing", action=load)
    assert message.startswith("2 weights of BertForSequenceClassification are missing from the checkpoint")
    assert "got: classifier.bias, classifier.weight" in message
    assert message.endswith("next: give the fine-tuned checkpoint: Octavo never makes up a head")
    output = tmp_path / "out"
    refused(Checkpoint(folder, task="text-classification"), "missing", action=lambda given: quantize(given, output))
    assert not output.exists()
    change(folder / "config.json", architectures=["BertForSequenceClassification"])
    refused(folder, "missing", action=octavo.load)


def test_a_layer_that_is_not_there_is_never_made_up(folder):
    gone = "bert.encoder.layer.1.output.dense."
    change_weights(folder, lambda tensors: {name: each for name, each in tensors.items() if gone not in name})
    refused(folder, f"2 weights of .* are missing from the checkpoint.*got: {gone}bias, {gone}weight;", action=load)


def test_many_missing_weights_are_one_short_line(folder):
    change_weights(folder, lambda tensors: {"bert.pooler.dense.weight": tensors["bert.pooler.dense.weight"]})
    message = refused(folder, "weights of BertForSequenceClassification are missing", action=load)
    assert message.count("bert.") == 4
    assert ", ...;" in message


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite(folder, number):
    def spoil(tensors):
        tensors["bert.pooler.dense.weight"][3, 5] = number
        return tensors

    change_weights(folder, spoil)
    refused(folder, "weights that are NaN or infinite in .*; got: bert.pooler.dense.weight$", action=load)


def test_missing_and_spoilt_weights_are_told_together(folder):
    def spoil(tensors):
        del tensors["classifier.weight"]
        tensors["bert.pooler.dense.bias"][0] = float("nan")
        return tensors

    change_weights(folder, spoil)
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    first, second = str(caught.value).splitlines()
    assert "classifier.weight" in first
    assert second.endswith("got: bert.pooler.dense.bias")


def test_weights_of_another_shape_are_named(folder):
    change_weights(folder, lambda tensors: tensors | {"classifier.weight": torch.zeros(5, 48)})
    message = refused(folder, "classifier.weight", action=load)
    assert "5" in message
    assert "report" not in message  # transformers tells it in a table that is not shown here


def test_labels_of_another_number_than_the_head(folder):
    change(folder / "config.json", id2label={"0": "a", "1": "b"}, label2id={"a": 0, "b": 1})
    refused(folder, "classifier.weight", action=load)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_plain_bin_is_loaded(folder, zipped):
    expected = load(folder).state_dict()
    torch.save(
        load_file(folder / "model.safetensors"), folder / "pytorch_model.bin", _use_new_zipfile_serialization=zipped
    )
    (folder / "model.safetensors").unlink()
    loaded = load(folder).state_dict()
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


def test_sharded_weights_are_loaded(folder):
    model = load(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="50KB")
    assert len(list(folder.glob("*.safetensors"))) > 2
    loaded, expected = load(folder).state_dict(), model.state_dict()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


def test_code_of_a_checkpoint_is_never_run(folder):
    (folder / "modeling.py").write_text("raise SystemExit('code of a checkpoint was run')\n", encoding="utf-8")
    names = {"AutoConfig": "modeling.Config", "AutoModelForSequenceClassification": "modeling.Model"}
    change(folder / "config.json", model_type="their-own", auto_map=names)
    refused(
        folder,
        "transformers cannot read config.json.*next: it needs code from the checkpoint, which Octavo does not run",
        action=load,
    )


def test_a_model_type_that_transformers_does_not_have(folder):
    change(folder / "config.json", model_type="no-such-type")
    message = refused(folder, "transformers cannot read config.json in ", action=load)
    assert "next" not in message


@pytest.mark.parametrize("absent", ["torch", "transformers", "onnxscript", "torch,transformers,onnxscript,safetensors"])
def test_without_the_extra_the_message_says_how_to_install_it(folder, fresh, tmp_path, absent):
    change(folder / "config.json", model_type="deberta-v2")  # no graph that Octavo writes itself
    lines = fresh(NO_TORCH, absent, folder, tmp_path / "out").splitlines()
    assert len(lines) == 2  # one for `quantize`, one for `load`
    for line in lines:
        assert line.startswith("MissingExtraError 2 ")
        assert "pip install 'octavo[convert]'" in line
        assert any(f"no module {name}" in line for name in absent.split(","))
    assert "for model_type 'deberta-v2'" in lines[0]
    assert not (tmp_path / "out").exists()
