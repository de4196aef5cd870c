"""Checkpoints for the tasks that have no trained head here: a seeded random one on a real encoder, or on a tiny one."""

import shutil
from functools import cache
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared"
HEADS = {
    "token-classification": "BertForTokenClassification",
    "question-answering": "BertForQuestionAnswering",
    "multiple-choice": "BertForMultipleChoice",
    "fill-mask": "BertForMaskedLM",
}
TAGS = ("O", "B-PS", "I-PS", "B-LC", "I-LC", "B-OG", "I-OG", "B-DT", "I-DT", "B-TI", "I-TI", "B-QT", "I-QT")


@pytest.fixture(scope="session")
def shared():
    if not SHARED.exists():
        pytest.skip("needs ../shared")
    return SHARED


@pytest.fixture(scope="session")
def headed(shared, tmp_path_factory):
    """A function of a task: a checkpoint with a layer of ko-encoder and a random head whose answers differ."""

    @cache
    def make(task):
        import torch
        import transformers

        transformers.logging.disable_progress_bar()
        folder = tmp_path_factory.mktemp("headed") / task
        source = shared / "models" / "ko-encoder"
        settings = {"id2label": dict(enumerate(TAGS))} if task == "token-classification" else {}
        level = transformers.logging.get_verbosity()
        transformers.logging.set_verbosity_error()
        model = getattr(transformers, HEADS[task]).from_pretrained(source, num_hidden_layers=1, **settings)
        transformers.logging.set_verbosity(level)
        generator = torch.Generator().manual_seed(9)
        for name, parameter in model.named_parameters():
            if name.startswith(("classifier", "qa_outputs")):
                parameter.data = torch.randn(parameter.shape, generator=generator) * (0.5 if parameter.ndim > 1 else 0)
            elif "pooler" in name:
                parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1
        model.save_pretrained(folder)
        for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
            shutil.copy(source / name, folder)
        return folder

    return make


@pytest.fixture(scope="session")
def exported():
    """A function of a checkpoint: its float graphs, exported once."""
    import octavo

    return cache(octavo.export)


@pytest.fixture(scope="session")
def made(exported, tmp_path_factory):
    """A function of a checkpoint and a method: the artifact, made once."""
    import octavo

    @cache
    def make(checkpoint, method):
        return octavo.quantize(exported(checkpoint), tmp_path_factory.mktemp("made") / method, recipe=method).folder

    return make


@pytest.fixture(scope="session")
def write_tiny(tiny_parts):
    """A function of a family, an architecture, a folder and labels: a tiny random checkpoint in that folder."""

    def write(family, architecture, folder, labels=("O", "B-X", "I-X")):
        import torch
        import transformers

        transformers.logging.disable_progress_bar()
        tokenizer = tiny_parts.make_tokenizer(family)
        config = tiny_parts.make_config(family, tokenizer)
        config.id2label = dict(enumerate(labels))
        config.label2id = {name: index for index, name in enumerate(labels)}
        model = getattr(transformers, architecture)(config)
        generator = torch.Generator().manual_seed(20)
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            scale = 0.5 if "word_embeddings" in name or name.startswith(("classifier", "qa_outputs")) else 0.2
            norm = "norm" in name.lower() and name.endswith("weight")
            parameter.data = 1 + 0.1 * noise if norm else scale * noise
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return write


@pytest.fixture(scope="session")
def tiny(write_tiny, tmp_path_factory):
    """A function of a task: a tiny random BERT for it."""

    @cache
    def make(task):
        labels = ("START", "END") if task == "question-answering" else ("O", "B-X", "I-X")
        return write_tiny("bert", HEADS[task], tmp_path_factory.mktemp("tiny") / task, labels)

    return make
