"""A trimmed checkpoint, held against the one before: by transformers' own tokenizers and models of both folders."""

import copy
import hashlib
import json
import shlex
import shutil
import sys
from functools import cache

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

import octavo
from octavo.checkpoint.lineage import read_lineage
from octavo.cli import main
from octavo.errors import ArtifactError, CheckpointError, InputError, OctavoError
from octavo.shrinking.tables import write_weights

HEADS = {
    "bert": "BertForMaskedLM",
    "distilbert": "DistilBertForMaskedLM",
    "roberta": "RobertaForMaskedLM",
    "xlm-roberta": "XLMRobertaForMaskedLM",
    "camembert": "CamembertForMaskedLM",
    "electra": "ElectraForMaskedLM",
    "albert": "AlbertForMaskedLM",
}
KEEP = {"roberta": 80}  # of other families, whose vocabularies have whole words: 16


@pytest.fixture(scope="session")
def texts(sentences, tmp_path_factory):
    """A file of lines: of the first six sentences many, of the others a few."""
    common, rare = sentences[:6], sentences[6:]
    lines = (
        [f"{common[i % 6]} {common[(i + j) % 6]}" for i in range(6) for j in range(6)] * 2 + list(common) + list(rare)
    )
    file = tmp_path_factory.mktemp("texts") / "texts.txt"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def trimmed(checkpoint, make_checkpoint, texts, tmp_path_factory):
    """A function of a family and perhaps a class: the folder before, and what trimming it gave."""

    @cache
    def make(family, head=None):
        place = tmp_path_factory.mktemp("trimmed")
        before = make_checkpoint(family, place / "before", head) if head else checkpoint(family)
        return before, octavo.trim(before, place / "after", data=texts, keep=KEEP.get(family, 16))

    return make


def both(before, after):
    """The tokenizers and models of two folders, by transformers."""
    loaded = []
    for folder in (before, after):
        config = transformers.AutoConfig.from_pretrained(folder)
        model = getattr(transformers, config.architectures[0]).from_pretrained(folder)
        model = copy.deepcopy(model).eval()  # where torch lays it, not the file
        loaded.append((transformers.AutoTokenizer.from_pretrained(folder), model))
    return loaded


def logits(model, ids, **more):
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), **more)[0]


def hold(before, result, lines, *, over_tokens=False):
    """Each line is split and answered as before, or has a token that is gone; what the record counts is that."""
    (old, model), (new, small) = both(before, result.folder)
    left = new.get_vocab()
    order = [old.convert_tokens_to_ids(token) for token in sorted(left, key=left.get)]
    assert len(order) == result.record.rows == small.config.vocab_size < result.record.rows_before
    assert small.get_input_embeddings().weight.shape[0] == result.record.rows
    changed = 0
    for line in lines:
        tokens, others = old.tokenize(line), new.tokenize(line)
        if not left.keys() >= set(tokens):
            changed += 1
            assert tokens != others
            assert old.unk_token is None or others.count(new.unk_token) <= tokens.count(old.unk_token)
            continue
        assert tokens == others
        ids, other_ids = (one(line, truncation=True)["input_ids"] for one in (old, new))
        assert old.convert_ids_to_tokens(ids) == new.convert_ids_to_tokens(other_ids)
        more = [{}, {}]
        if model.config.is_encoder_decoder:
            more = [{"decoder_input_ids": torch.tensor([one[::-1]])} for one in (ids, other_ids)]
        first, second = logits(model, ids, **more[0]), logits(small, other_ids, **more[1])
        if over_tokens:
            assert torch.allclose(first[..., order], second, rtol=0, atol=1e-5 * float(first.abs().max()))
        else:
            assert torch.equal(first, second)
    record = result.record
    assert 0 < changed < len(lines)
    counted = [record.counted, *([record.held_out] if record.held_out else [])]
    assert sum(round(one.changed_texts.value * one.texts) for one in counted) == changed
    assert sum(one.texts for one in counted) == len(lines)
    return old, new


@pytest.mark.parametrize(
    "family", ["bert", "distilbert", "roberta", "xlm-roberta", "camembert", "electra", "albert", "klue-roberta"]
)
def test_classifiers_answer_to_the_bit_what_they_answered(family, trimmed, texts):
    before, result = trimmed(family)
    hold(before, result, texts.read_text(encoding="utf-8").splitlines())
    assert result.record.logits.difference == 0


@pytest.mark.parametrize("family", HEADS)
def test_heads_over_the_vocabulary_keep_the_rows_that_stay(family, trimmed, texts):
    before, result = trimmed(family, HEADS[family])
    hold(before, result, texts.read_text(encoding="utf-8").splitlines(), over_tokens=True)


SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
WRITERS = {
    "gpt2": ("GPT2LMHeadModel", {"n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 128}),
    "t5": ("T5ForConditionalGeneration", {"d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 1, "num_heads": 2}),
    "bart": (
        "BartForConditionalGeneration",
        {"d_model": 32, "max_position_embeddings": 128}
        | {f"{side}_layers": 1 for side in ("encoder", "decoder")}
        | {f"{side}_attention_heads": 2 for side in ("encoder", "decoder")}
        | {f"{side}_ffn_dim": 48 for side in ("encoder", "decoder")},
    ),
}


def write_writer(family, folder, tiny_parts, sentences):
    """A model that writes, whose special tokens are the last ones, so that their ids move; and what it never writes.

    That is a token of the last sentence alone.
    """
    vocabulary, merges = tiny_parts.byte_pairs()
    pieces = [*(piece for piece in vocabulary if piece not in {*SPECIAL, "<mask>"}), *SPECIAL]
    ids = {piece: index for index, piece in enumerate(pieces)}
    inner = Tokenizer(models.BPE(vocab=ids, merges=merges))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    names = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token"), SPECIAL, strict=True))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, model_max_length=128, **names)
    architecture, size = WRITERS[family]
    named = {f"{name}_token_id": ids[f"<{token}>"] for name, token in (("bos", "s"), ("eos", "/s"), ("pad", "pad"))}
    start = {} if family == "gpt2" else {"decoder_start_token_id": ids["<pad>"]}
    config = transformers.AutoConfig.for_model(family, vocab_size=len(ids), **size, **named, **start)
    torch.manual_seed(1)
    model = getattr(transformers, architecture)(config)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data = 0.3 * torch.randn(parameter.shape)
    common = set(tokenizer.tokenize(" ".join(sentences[:6])))
    never = next(token for token in tokenizer.tokenize(sentences[9]) if len(token) > 2 and token not in common)
    model.generation_config.suppress_tokens = [ids[never]]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder, never


@pytest.mark.parametrize("family", WRITERS)
def test_ids_of_models_that_write_move_everywhere(family, tiny_parts, sentences, texts, tmp_path):
    before, never = write_writer(family, tmp_path / "before", tiny_parts, sentences)
    result = octavo.trim(before, tmp_path / "after", data=texts, keep=80)
    old, new = hold(before, result, texts.read_text(encoding="utf-8").splitlines(), over_tokens=True)
    assert never in new.get_vocab()  # a setting names it
    for file in ("config.json", "generation_config.json"):
        first, second = (json.loads((folder / file).read_text()) for folder in (before, result.folder))
        for name in ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"):
            if first.get(name) is not None:
                assert first[name] != second[name]
                assert old.convert_ids_to_tokens(first[name]) == new.convert_ids_to_tokens(second[name])
    generation = json.loads((result.folder / "generation_config.json").read_text())
    assert new.convert_ids_to_tokens(generation["suppress_tokens"]) == [never]


def test_every_copy_of_a_table_in_a_pickle_is_trimmed(make_checkpoint, texts, tmp_path):
    before = make_checkpoint("bert", tmp_path / "before", "BertForMaskedLM")
    model = transformers.BertForMaskedLM.from_pretrained(before)
    (before / "model.safetensors").unlink()
    torch.save(model.state_dict(), before / "pytorch_model.bin")
    result = octavo.trim(before, tmp_path / "after", data=texts, keep=16)
    stored = load_file(result.folder / "model.safetensors")
    long = {name for name, tensor in stored.items() if result.record.rows in tensor.shape}
    assert {name.partition("bert.")[2] or name for name in long} >= {
        "embeddings.word_embeddings.weight", "cls.predictions.bias", "cls.predictions.decoder.weight",
        "cls.predictions.decoder.bias",
    }  # fmt: skip
    hold(before, result, texts.read_text(encoding="utf-8").splitlines(), over_tokens=True)


def test_an_embedder_keeps_its_pooling_and_its_vectors(make_checkpoint, texts, tmp_path):
    before = make_checkpoint("bert", tmp_path / "before", "BertModel")
    modules = [{"type": "sentence_transformers.models.Transformer", "path": ""}]
    modules.append({"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"})
    (before / "modules.json").write_text(json.dumps(modules))
    (before / "1_Pooling").mkdir()
    (before / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    (before / "config_sentence_transformers.json").write_text('{"prompts": {"query": "nobody plays: "}}')
    result = octavo.trim(before, tmp_path / "after", data=texts, keep=16)
    hold(before, result, texts.read_text(encoding="utf-8").splitlines())
    assert {"nobody", "plays"} <= transformers.AutoTokenizer.from_pretrained(result.folder).get_vocab().keys()
    line = "아이들이 공원에서 놀고 있다."
    first, second = (octavo.load(folder) for folder in (before, result.folder))
    assert second.signature.pooling == first.signature.pooling
    assert np.array_equal(first(line), second(line))


class TestLineage:
    """What is written of where a checkpoint came from."""

    def test_it_goes_into_the_artifact_and_its_card(self, trimmed, tmp_path):
        before, result = trimmed("bert")
        artifact = octavo.quantize(result.folder, tmp_path / "int8")
        assert artifact.manifest.lineage == (result.record,)
        assert result.record.source.sha256 == hashlib.sha256((before / "model.safetensors").read_bytes()).hexdigest()
        card = (artifact.folder / "README.md").read_text(encoding="utf-8")
        assert f"with {result.record.rows} of {result.record.rows_before} rows of its table" in card

    def test_a_second_step_stands_behind_the_first(self, trimmed, texts, tmp_path):
        _, result = trimmed("bert")
        again = octavo.trim(result.folder, tmp_path / "again", data=texts, keep=14)
        lineage = read_lineage(again.folder)
        assert lineage.steps == (result.record, again.record)
        assert again.record.rows_before == result.record.rows
        names = {path.relative_to(again.folder).as_posix() for path in again.folder.rglob("*") if path.is_file()}
        assert lineage.files.keys() == names - {"lineage.json"}
        assert len({path.stat().st_mode for path in again.folder.iterdir()}) == 1  # safetensors makes others

    def test_data_is_told_by_name_and_hash(self, trimmed, texts):
        data = trimmed("bert")[1].record.data
        assert [(one.name, one.sha256) for one in data] == [
            ("texts.txt", hashlib.sha256(texts.read_bytes()).hexdigest())
        ]

    def test_a_damaged_one_is_an_error_before_the_work(self, trimmed, tmp_path):
        copy = shutil.copytree(trimmed("bert")[1].folder, tmp_path / "copy")
        (copy / "lineage.json").write_text('{"octavo_lineage": 2}')
        with pytest.raises(CheckpointError, match=r"lineage\.json is not valid"):
            octavo.quantize(copy, tmp_path / "out")


class TestOutput:
    """What may be replaced."""

    def test_a_trimmed_checkpoint_is_replaced_by_force_alone(self, trimmed, texts, tmp_path):
        before, result = trimmed("bert")
        place = shutil.copytree(result.folder, tmp_path / "out")
        with pytest.raises(ArtifactError, match="the output exists"):
            octavo.trim(before, place, data=texts, keep=15)
        again = octavo.trim(before, place, data=texts, keep=15, force=True)
        assert read_lineage(place).steps == (again.record,)

    def test_what_a_user_put_there_is_not(self, trimmed, texts, tmp_path):
        before, result = trimmed("bert")
        place = shutil.copytree(result.folder, tmp_path / "out")
        (place / "notes.md").write_text("mine")
        with pytest.raises(ArtifactError, match=r"files that are not the artifact's; got: .*notes\.md"):
            octavo.trim(before, place, data=texts, keep=8, force=True)
        with pytest.raises(ArtifactError, match="something that is not an artifact is in the way"):
            octavo.trim(before, before, data=texts, keep=8, force=True)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"keep": 3, "coverage": 0.9}, "--keep and --coverage exclude each other"),
        ({"keep": 0}, "got: 0; allowed: 1 at least"),
        ({"coverage": 1.5}, "got: 1.5; allowed: above 0, 1 at most"),
        ({"characters": "keep"}, "did you mean 'kept'"),
    ],
)
def test_what_cannot_be_meant_is_refused(asked, message, checkpoint, texts, tmp_path):
    with pytest.raises(InputError, match=message):
        octavo.trim(checkpoint("bert"), tmp_path / "out", data=texts, **asked)
    assert list(tmp_path.iterdir()) == []


def test_where_every_row_is_needed_nothing_is_written(trimmed, texts, tmp_path):
    with pytest.raises(InputError, match="every row of the vocabulary stays"):
        octavo.trim(trimmed("bert")[1].folder, tmp_path / "out", data=texts, keep=10_000)


def test_without_a_text_that_stays_nothing_is_proved(checkpoint, tmp_path):
    lines = [f"nobody plays music number {number} in the park" for number in range(20)]
    file = tmp_path / "lines.txt"
    file.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(InputError, match="no text keeps all its tokens"):
        octavo.trim(checkpoint("bert"), tmp_path / "out", data=file, keep=1)


def test_a_tensor_that_nobody_knows_is_named(make_checkpoint, texts, tmp_path):
    before = make_checkpoint("bert", tmp_path / "before")
    stored = load_file(before / "model.safetensors")
    rows = stored["bert.embeddings.word_embeddings.weight"].shape[0]
    save_file(stored | {"token_weights": torch.ones(rows)}, before / "model.safetensors", {"format": "pt"})
    what = rf"not known to belong to it in .*before; got: token_weights \({rows},\)"
    with pytest.raises(CheckpointError, match=what):
        octavo.trim(octavo.Checkpoint(before, ignore_weights=("token_weights",)), tmp_path / "out", data=texts, keep=8)


def test_a_model_that_answers_otherwise_is_not_written(checkpoint, texts, tmp_path, monkeypatch):
    def shifted(source, tables, order, file):
        write_weights(source, tables, [*order[1:], order[0]], file)

    monkeypatch.setattr("octavo.shrinking.trimming.write_weights", shifted)
    with pytest.raises(OctavoError, match="the trimmed model answers otherwise"):
        octavo.trim(checkpoint("bert"), tmp_path / "out", data=texts, keep=16)
    assert list(tmp_path.iterdir()) == []


def test_the_command_tells_what_changes_and_what_is_next(checkpoint, texts, tmp_path, monkeypatch, capsys):
    output, table = tmp_path / "out", tmp_path / "내 글.tsv"
    table.write_text("\n".join(["문장", *texts.read_text(encoding="utf-8").splitlines()]), encoding="cp949")
    read = ["--columns", "text=문장", "--encoding", "cp949"]
    arguments = ["trim", checkpoint("bert"), "--data", table, "-o", output, "--keep", "16", *read]
    monkeypatch.setattr(sys, "argv", ["octavo", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main.run()
    assert end.value.code == 0
    told, steps = capsys.readouterr()
    rows = json.loads((output / "config.json").read_text())["vocab_size"]
    assert f"{rows} of " in told.splitlines()[0]
    assert "the same logits to the last bit in the" in told
    assert "split otherwise: '" in told
    words = shlex.split(steps.splitlines()[-1])
    assert words[:6] == ["next:", "octavo", "quantize", f"{output}", "-o", f"{output}-int8"]
    assert words[6:] == ["--calibrate", f"{table}", *read]
    monkeypatch.setattr(sys, "argv", ["octavo", *map(str, arguments), "--force", "--json"])
    with pytest.raises(SystemExit):
        main.run()
    assert json.loads(capsys.readouterr().out) == json.loads((output / "lineage.json").read_text())["steps"][0]
