"""A student with fewer layers, as transformers loads it: what it has and learnt, and that a killed run ends alike."""

import json
import shutil
import sys
from functools import cache

import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file

import octavo
from octavo.checkpoint.lineage import read_lineage
from octavo.checkpoint.source import read_source
from octavo.cli import main
from octavo.errors import CheckpointError, DataError, InputError, OctavoWarning
from octavo.files import lock
from octavo.schema.ranges import RANGES
from octavo.shrinking.texts import read_texts
from octavo.shrinking.training import answer_in_float32, find_last
from octavo.shrinking.work_folder import LOCK
from octavo.tasks import find_task

pytestmark = pytest.mark.slow

COURSE = {"epochs": 4, "batch_size": 8, "learning_rate": 1.6e-3}  # few texts


class Interrupted(BaseException):
    """What no code here may catch, as a signal."""


class Killer:
    """Progress that ends the process's run after so many steps of the training."""

    def __init__(self, steps):
        self.left = steps

    def start(self, task, total=None):
        if task.startswith("training"):
            self.rows = total

    def advance(self, amount=1):
        self.left -= 1
        if self.left == 0:
            raise Interrupted


@pytest.fixture(scope="session")
def lines(sentences):
    """Eighty pairs and more of the sentences that every tokenizer here knows, each once."""
    return [f"{one} {other}" for one in sentences for other in sentences if one != other]


@pytest.fixture(scope="session")
def texts(lines, tmp_path_factory):
    file = tmp_path_factory.mktemp("distilling") / "texts.txt"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def distilled(checkpoint, texts, tmp_path_factory):
    """A function of a family: the folder before, and what distilling it to one layer gave."""

    @cache
    def make(family):
        output = tmp_path_factory.mktemp("distilled") / family
        return checkpoint(family), octavo.distill(checkpoint(family), output, data=texts, layers=1, **COURSE)

    return make


def logits(folder, texts):
    """By transformers alone."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    config = transformers.AutoConfig.from_pretrained(folder)
    model = getattr(transformers, config.architectures[0]).from_pretrained(folder).eval()
    with torch.no_grad():
        return model(**tokenizer(texts, padding=True, truncation=True, return_tensors="pt")).logits, model


@pytest.mark.parametrize("family", ["bert", "distilbert", "xlm-roberta"])
def test_a_student_is_a_checkpoint_of_fewer_layers_that_is_nearer_than_untrained(family, distilled, lines):
    before, result = distilled(family)
    record = result.record
    old, teacher = logits(before, lines)
    new, student = logits(result.folder, lines)
    assert (teacher.config.num_hidden_layers, student.config.num_hidden_layers) == (2, 1)
    assert student.config.id2label == teacher.config.id2label
    assert (record.layers_before, len(record.layers), record.chosen) == (2, 1, "all tried")
    tokenizers = [transformers.AutoTokenizer.from_pretrained(one).get_vocab() for one in (before, result.folder)]
    assert tokenizers[0] == tokenizers[1]

    kept = teacher.base_model.get_submodule("transformer.layer" if family == "distilbert" else "encoder.layer")
    parent = teacher.base_model.get_submodule("transformer" if family == "distilbert" else "encoder")
    parent.layer = torch.nn.ModuleList([kept[record.layers[0]]])
    tokenizer = transformers.AutoTokenizer.from_pretrained(before)
    with torch.no_grad():
        untrained = teacher(**tokenizer(lines, padding=True, truncation=True, return_tensors="pt")).logits

    def divergence(answers):
        return torch.nn.functional.kl_div(answers.log_softmax(1), old.softmax(1), reduction="batchmean")

    assert divergence(new) < 0.7 * divergence(untrained)
    assert min(point.distance for point in record.curve) < record.curve[0].distance
    assert record.trained + record.held_out == len(lines)


def test_what_was_done_is_in_the_lineage_and_the_work_folder_is_gone(distilled, texts):
    _, result = distilled("bert")
    lineage = read_lineage(result.folder)
    assert lineage.steps == (result.record,)
    assert result.record.data[0].rows == len(texts.read_text(encoding="utf-8").splitlines())
    assert result.record.fidelity.keys() >= {"agreement", "kl", "distance"}
    assert result.record.agreement.low <= result.record.fidelity["agreement"] <= result.record.agreement.high
    assert set(lineage.files) == {one.name for one in result.folder.iterdir()} - {"lineage.json"}
    assert not result.folder.with_name("bert.training").exists()
    octavo.trim(result.folder, result.folder.with_name("both"), data=texts, keep=80)
    assert [step.kind for step in read_lineage(result.folder.with_name("both")).steps] == ["distill", "trim"]


def test_killed_at_five_points_and_resumed_it_ends_in_the_same_bits(distilled, texts, tmp_path):
    before, result = distilled("bert")
    whole = load_file(result.folder / "model.safetensors")
    asked = {"data": texts, "layers": 1} | COURSE
    output, steps = tmp_path / "bert", result.record.curve[-1].step
    for number in np.random.default_rng(20).integers(1, 9, size=5).tolist():
        with pytest.raises(Interrupted):
            octavo.distill(before, output, **asked, progress=Killer(number))
        assert not output.exists()
    last = find_last(tmp_path / "bert.training")
    assert 1 <= int(last.name.removeprefix("checkpoint-")) < steps
    again = octavo.distill(before, output, **asked, progress=(rest := Killer(0)))
    assert 0 < rest.rows < 4 * result.record.trained  # it did not begin anew
    found = load_file(output / "model.safetensors")
    assert found.keys() == whole.keys()
    assert all(np.array_equal(found[name], whole[name]) for name in whole)
    assert again.record == result.record
    assert not (tmp_path / "bert.training").exists()


def test_killed_with_weights_of_four_bits_it_ends_in_the_same_bits(checkpoint, texts, tmp_path):
    asked = COURSE | {"data": texts, "layers": 1, "epochs": 2, "int4": True}
    whole = octavo.distill(checkpoint("bert"), tmp_path / "whole", **asked)
    with pytest.raises(Interrupted):
        octavo.distill(checkpoint("bert"), tmp_path / "again", **asked, progress=Killer(5))
    again = octavo.distill(checkpoint("bert"), tmp_path / "again", **asked, progress=(rest := Killer(0)))
    assert 0 < rest.rows < 2 * whole.record.trained
    for name in ("model.safetensors", RANGES):
        assert (again.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    assert again.record == whole.record


def test_killed_after_training_had_ended_early_it_is_not_trained_on(checkpoint, texts, tmp_path, monkeypatch, capsys):
    """The rate is far too high, so that a look brings nothing; a run that went on would look once more."""
    monkeypatch.setattr("octavo.shrinking.training.PATIENCE", 1)
    asked = COURSE | {"data": texts, "layers": 1, "learning_rate": 3.0}

    class Stopped(Killer):
        def start(self, task, total=None):
            if task == "writing the checkpoint":
                raise Interrupted

    with pytest.warns(OctavoWarning):
        whole = octavo.distill(checkpoint("bert"), tmp_path / "whole", **asked)
    with pytest.warns(OctavoWarning), pytest.raises(Interrupted):
        octavo.distill(checkpoint("bert"), tmp_path / "out", **asked, progress=Stopped(0))
    with pytest.warns(OctavoWarning):
        again = octavo.distill(checkpoint("bert"), tmp_path / "out", **asked)
    assert len(whole.record.curve) < 10  # it did end early
    monkeypatch.setattr("octavo.shrinking.distilling.distill", lambda *_, **__: whole)
    monkeypatch.setattr(sys, "argv", ["octavo", "distill", "bert", "--data", str(texts), "-o", "out", "--layers", "1"])
    with pytest.raises(SystemExit):
        main.run()
    told = capsys.readouterr().out
    assert "written to out" in told
    assert "after step 0 of" not in told  # untrained is nearer, and not what is kept
    assert again.record == whole.record
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "out"))
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_a_run_that_goes_on_has_the_layers_that_it_began_with(checkpoint, texts, tmp_path, monkeypatch):
    asked = COURSE | {"data": texts, "layers": 1}
    with pytest.raises(Interrupted):
        octavo.distill(checkpoint("bert"), tmp_path / "out", **asked, progress=Killer(9))
    stored = json.loads((tmp_path / "out.training" / "layers.json").read_text(encoding="utf-8"))
    monkeypatch.setattr("octavo.shrinking.distilling.choose_layers", None)  # a near tie could end otherwise now
    record = octavo.distill(checkpoint("bert"), tmp_path / "out", **asked).record
    assert (list(record.layers), record.chosen, record.untrained) == tuple(stored.values())


@pytest.mark.parametrize("task_has_its_own", [False, True])
def test_after_training_a_model_answers_by_itself_and_not_in_bfloat16(task_has_its_own):
    """`forward` as accelerate leaves it on a GPU; a task may have put one of its own there before."""
    student, own = torch.nn.Linear(2, 2), None
    if task_has_its_own:
        own = student.forward = lambda x: 2 * x
    expected = student(torch.ones(1, 2))
    student._original_forward = student.forward
    student.forward = lambda x: student._original_forward(x).bfloat16()
    assert student(torch.ones(1, 2)).dtype == torch.bfloat16
    answer_in_float32(student, own)
    assert torch.equal(student(torch.ones(1, 2)), expected)
    answer_in_float32(student, own)  # nothing is around it
    assert torch.equal(student(torch.ones(1, 2)), expected)


def test_a_checkpoint_that_was_not_written_to_its_end_is_passed_over(tmp_path):
    for step, text in ((4, '{"global_step": 4}'), (8, '{"global_step": 8}'), (12, '{"global_st'), (16, None)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if text:
            (folder / "trainer_state.json").write_text(text, encoding="utf-8")
    assert find_last(tmp_path).name == "checkpoint-8"
    assert find_last(tmp_path / "checkpoint-4") is None


def test_a_run_goes_on_with_its_own_settings_alone(checkpoint, texts, tmp_path):
    asked = {"data": texts, "layers": 1, "epochs": 1, "batch_size": 16}
    with pytest.raises(Interrupted):
        octavo.distill(checkpoint("bert"), tmp_path / "out", **asked, progress=Killer(2))
    with pytest.raises(InputError, match=r"other settings .*got: temperature 3; allowed: temperature 2\.0; next: give"):
        octavo.distill(checkpoint("bert"), tmp_path / "out", **asked, temperature=3)
    with pytest.raises(InputError, match="got: teacher "):
        octavo.distill(checkpoint("roberta"), tmp_path / "out", **asked)
    same = tmp_path / "same weights"
    shutil.copytree(checkpoint("bert"), same)
    config = json.loads((same / "config.json").read_text(encoding="utf-8"))
    (same / "config.json").write_text(json.dumps(config | {"layer_norm_eps": 0.1}), encoding="utf-8")
    with pytest.raises(InputError, match="got: teacher "):
        octavo.distill(same, tmp_path / "out", **asked)
    with (tmp_path / "out.training" / LOCK).open("ab") as stream:
        assert lock(stream)
        with pytest.raises(InputError, match="another run is training there"):
            octavo.distill(checkpoint("bert"), tmp_path / "out", **asked)


def test_what_cannot_be_asked_is_told_before_anything_is_written(checkpoint, tiny_parts, texts, tmp_path_factory):
    place, tmp_path = tmp_path_factory.mktemp("asked"), tmp_path_factory.mktemp("empty")
    tokenizer = tiny_parts.make_tokenizer("bert")
    size = {"n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": len(tokenizer)}
    transformers.GPT2LMHeadModel(transformers.GPT2Config(**size)).save_pretrained(place / "writer")
    tokenizer.save_pretrained(place / "writer")

    def told(folder, error=InputError, **asked):
        with pytest.raises(error) as caught:
            octavo.distill(folder, tmp_path / "out", **({"data": texts, "layers": 1} | asked))
        assert list(tmp_path.iterdir()) == []
        return str(caught.value)

    bert = checkpoint("bert")
    assert "the layers of AlbertForSequenceClassification are not found" in told(checkpoint("albert"), CheckpointError)
    assert "models that write are not distilled" in told(place / "writer", CheckpointError)
    assert told(bert, layers=2) == "--layers says how many stay; got: 2; allowed: 1 to 1, of 2"
    assert "allowed: numbers from 0 to 1, rising" in told(bert, layers=(1, 0))
    assert told(bert, epochs=0) == "--epochs is out of range; got: 0; allowed: 1 or more"
    few = place / "few.txt"
    few.write_text("눈이 온다.\n비가 온다.\n", encoding="utf-8")
    assert "too few texts" in told(bert, DataError, data=few)


def qa_file(lines, path):
    questions = [
        {"context": line, "qas": [{"id": str(i), "question": lines[i - 1], "answers": []}]}
        for i, line in enumerate(lines)
    ]
    path.write_text(json.dumps({"data": [{"paragraphs": questions}]}), encoding="utf-8")
    return path


def choices_file(lines, path):
    rows = [
        {"text": line, "choices": [lines[i - 1], lines[i - 2], lines[i - 3]][: 2 + i % 2]}
        for i, line in enumerate(lines)
    ]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


@pytest.fixture
def make_encoder(tiny_parts):
    """A function of a class of BERT's and a folder: a checkpoint with random weights, large enough to answer by."""

    def make(architecture, folder):
        tokenizer = tiny_parts.make_tokenizer("bert")
        config = tiny_parts.make_config("bert", tokenizer)
        if "QuestionAnswering" in architecture:
            config.num_labels = 2
        torch.manual_seed(20)
        model = getattr(transformers, architecture)(config)
        for parameter in model.parameters():
            if parameter.ndim == 2:
                torch.nn.init.normal_(parameter, std=0.3)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make


@pytest.mark.parametrize(
    ("task", "architecture"),
    [
        ("token-classification", "BertForTokenClassification"),
        ("question-answering", "BertForQuestionAnswering"),
        ("multiple-choice", "BertForMultipleChoice"),
        ("fill-mask", "BertForMaskedLM"),
        ("feature-extraction", "BertModel"),
    ],
)
def test_every_task_of_an_encoder_is_learnt(task, architecture, make_encoder, lines, texts, tmp_path):
    folder = make_encoder(architecture, tmp_path / "before")
    data = {"question-answering": qa_file, "multiple-choice": choices_file}.get(task, lambda *_: texts)
    file = data(lines, tmp_path / ("data.json" if task == "question-answering" else "data.jsonl"))
    asked = octavo.Checkpoint(folder, task)
    result = octavo.distill(asked, tmp_path / "after", data=file, layers=(0,), **COURSE)
    assert result.record.chosen == "asked"
    assert result.record.untrained is None
    assert min(point.distance for point in result.record.curve[1:]) < 0.9 * result.record.curve[0].distance


def test_all_layers_may_stay_where_they_become_narrower(checkpoint, texts, tmp_path):
    asked = {"data": texts} | COURSE
    with pytest.raises(InputError, match="--ffn says how many units stay in each layer; got: 96; allowed: 1 to 95"):
        octavo.distill(checkpoint("distilbert"), tmp_path / "out", **asked, layers=2, ffn=96)
    record = octavo.distill(checkpoint("distilbert"), tmp_path / "out", **asked, layers=2, ffn=40).record
    config = transformers.AutoConfig.from_pretrained(tmp_path / "out")
    assert (config.hidden_dim, config.n_layers) == (40, 2)
    assert (record.layers, record.ffn, record.ffn_before) == ((0, 1), 40, 96)


def test_labels_are_learnt_where_that_is_asked(checkpoint, lines, tmp_path):
    """All texts have one label here, which the teacher seldom gives."""
    file = tmp_path / "labelled.tsv"
    file.write_text("text\tlabel\n" + "".join(f"{line}\tneutral\n" for line in lines), encoding="utf-8")
    asked = {"data": file, "layers": 1} | COURSE
    shares = []
    for use in (False, True):
        result = octavo.distill(checkpoint("bert"), tmp_path / str(use), **asked, use_labels=use)
        shares.append(float((logits(result.folder, lines)[0].argmax(1) == 2).float().mean()))
    assert shares[1] > shares[0] + 0.2


def test_the_command_tells_what_it_did_and_what_comes_next(checkpoint, texts, tmp_path, monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["octavo", "distill", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main.run()
        return end.value.code or 0, *capsys.readouterr()

    asked = (checkpoint("bert"), "--data", texts, "--batch-size", 16)
    code, out, err = run(*asked, "-o", tmp_path / "a", "--layers", "1", "--epochs", 1)
    assert code == 0
    assert "of 2 stay: the least loss before training, of all sets" in out
    assert "training: about " in err
    assert f"next: octavo quantize {tmp_path / 'a'} -o" in err
    code, out, _ = run(*asked, "-o", tmp_path / "b", "--layers", "1,", "--epochs", 1, "--json")
    assert (code, json.loads(out)["layers"], json.loads(out)["chosen"]) == (0, [1], "asked")
    assert json.loads(out)["learning_rate"] == pytest.approx(1e-4 * 256 / 48)  # by the width of these tiny models
    code, _, err = run(*asked, "-o", tmp_path / "c", "--layers", "half")
    assert (code, err) == (
        2,
        "error: --layers is not understood; got: half; allowed: a number, 6, or numbers with commas, 0,2\n",
    )


def test_texts_of_another_column_are_other_texts(checkpoint, tmp_path):
    file = tmp_path / "두 열.tsv"
    file.write_text("text\t나중\n첫째 문장\t다른 문장\n둘째 문장\t또 다른 문장\n", encoding="utf-8")
    task = find_task(read_source(checkpoint("bert")).signature)
    found = [read_texts([octavo.DataFile(file, columns=one)], task) for one in (None, {"text": "나중"})]
    assert found[0].files == found[1].files
    assert found[0].sha256 != found[1].sha256
