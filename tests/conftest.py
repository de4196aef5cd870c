"""Tiny checkpoints of every family, made on the spot with random weights, and the artifacts that are made of them."""

import gc
import json
import logging
import os
import subprocess
import sys
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, settings
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

import octavo
from octavo.hardware import find_target

# A machine busy with other work makes no test fail.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# Python walks all that torch and transformers hold again and again, by default after each 700 new objects.
gc.set_threshold(50_000, 20, 20)

os.environ["LC_ALL"] = "C.UTF-8"  # the terminal speaks the language of the locale; tests choose it

LABELS = ("entailment", "contradiction", "neutral")
MAX_LENGTH = 64
SENTENCES = (
    "한국어 문장은 조사와 어미가 붙어서 길어진다.",
    "그 남자는 어제 서울에서 친구를 만났다.",
    "영화가 정말 재미있고 배우들의 연기도 좋았다!",
    "아이들이 공원에서 놀고 있다.",
    "아무도 공원에 없다.",
    "오늘 날씨는 춥지만 하늘은 맑다.",
    "The quick brown fox jumps over the lazy dog.",
    "a man is playing the guitar, and a woman sings.",
    "nobody plays music in the park?",
    "12 people won 345 prizes in 2024",
)
WORDS = tuple(dict.fromkeys(" ".join(SENTENCES).lower().split()))
LETTERS = tuple(sorted(set("".join(SENTENCES)) - {" "}))
HEADED = {
    "bert": "BertForSequenceClassification",
    "distilbert": "DistilBertForSequenceClassification",
    "roberta": "RobertaForSequenceClassification",
    "xlm-roberta": "XLMRobertaForSequenceClassification",
    "electra": "ElectraForSequenceClassification",
    "albert": "AlbertForSequenceClassification",
    "camembert": "CamembertForSequenceClassification",
    "klue-roberta": "RobertaForSequenceClassification",  # with BERT's tokenizer, as the KLUE project trained it
}
SLOW = {
    "make_checkpoint",
    "demo_float",
    "demo_int8",
    "exported",
    "headed",
    "write_tiny",
    "stories",
    "fresh",
}  # fixtures
SLOW |= {"cli", "contract", "corpus", "methods", "test_examples.py", "test_every_task.py"}  # folders and files
OFFSET = {"roberta", "xlm-roberta", "camembert", "klue-roberta"}  # position ids start behind the padding id


def word_pieces(*special):
    pieces = (*special, *WORDS, *LETTERS, *(f"##{letter}" for letter in LETTERS))
    return {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}


def unigrams(*special):
    words = [(f"▁{word}", -5.0 - len(word) / 10) for word in WORDS]
    return [*((piece, 0.0) for piece in special), ("▁", -4.0), *words, *((letter, -8.0) for letter in LETTERS)]


@cache
def byte_pairs():
    """A vocabulary and merges of bytes, learnt from the sentences."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


def make_tokenizer(family):
    """The tokenizer of a family, as transformers builds it; its limit is that of the models here."""
    import transformers

    limit = {"model_max_length": MAX_LENGTH}
    if family == "roberta":
        vocabulary, merges = byte_pairs()
        return transformers.RobertaTokenizer(vocab=vocabulary, merges=merges, **limit)
    if family == "xlm-roberta":
        vocabulary = [*unigrams("<s>", "<pad>", "</s>", "<unk>"), ("<mask>", 0.0)]
        return transformers.XLMRobertaTokenizer(vocab=vocabulary, **limit)
    if family == "camembert":
        vocabulary = unigrams("<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED", "<s>", "</s>")
        return transformers.CamembertTokenizer(vocab=[*vocabulary, ("<mask>", 0.0)], **limit)
    if family == "albert":
        vocabulary = unigrams("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")
        return transformers.AlbertTokenizer(vocab=vocabulary, keep_accents=True, **limit)
    names = {"distilbert": "DistilBertTokenizer", "electra": "ElectraTokenizer"}
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    if family == "klue-roberta":
        special = ("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]")
    make = getattr(transformers, names.get(family, "BertTokenizer"))
    return make(vocab=word_pieces(*special), do_lower_case=True, strip_accents=False, **limit)


def make_config(family, tokenizer, layers=2):
    import transformers

    settings = {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "max_position_embeddings": MAX_LENGTH + 2 if family in OFFSET else MAX_LENGTH,
        "id2label": dict(enumerate(LABELS)),
        "label2id": {name: index for index, name in enumerate(LABELS)},
    }
    if family == "distilbert":
        settings |= {"dim": 48, "hidden_dim": 96, "n_layers": layers, "n_heads": 4}
    else:
        settings |= {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": layers, "num_attention_heads": 4}
    if family in OFFSET:
        ends = {"bos_token_id": tokenizer.cls_token_id, "eos_token_id": tokenizer.sep_token_id}
        settings |= {"type_vocab_size": 1} | ends
    if family in {"electra", "albert"}:
        settings["embedding_size"] = 32
    return getattr(transformers, HEADED[family].replace("ForSequenceClassification", "Config"))(**settings)


def randomize(model, tokenizer):
    """Weights large enough that different texts get different answers: the small ones of a fresh model hardly do.

    The head's bias is set so that no label wins everywhere.
    """
    import torch

    generator = torch.Generator().manual_seed(20)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        scale = 0.5 if "word_embeddings" in name or parameter.shape[0] == len(LABELS) else 0.2
        norm = "norm" in name.lower() and name.endswith("weight")
        parameter.data = 1 + 0.1 * noise if norm else scale * noise
    heads = [part for part in model.modules() if getattr(part, "out_features", None) == len(LABELS)]
    if heads:
        inputs = tokenizer(list(SENTENCES), padding=True, return_tensors="pt")
        with torch.no_grad():
            heads[-1].bias -= model.eval()(inputs["input_ids"], inputs["attention_mask"]).logits.mean(0)
    return model


def pytest_configure():
    """A worker of several, and what it starts, keeps to one core: threads that spin take the time of others."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})


def pytest_collection_modifyitems(items):
    """Slow is what makes models, or starts processes: `make test-fast` leaves it out.

    Files that have such tests come first, so that at the end no worker is left alone with a long one.
    """
    for item in items:
        if SLOW & {*getattr(item, "fixturenames", ()), item.path.parent.name, item.path.name}:
            item.add_marker(pytest.mark.slow)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish():
    """What imports hold stays: a full collection, as each training by accelerate ends with, took a second for it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def kept_exports(pytestconfig):
    """One export of a model for all tests, workers and runs; see `export_cache`."""
    from export_cache import OnnxExporter, cached_in, trace_quickly

    # pytest gives a handler to each logger that does not propagate, and torch makes records of each step that it traces
    # for a logger that has one.
    logging.getLogger("torch.__trace").propagate = True
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OnnxExporter, "export", cached_in(pytestconfig.cache.mkdir("exports")))
        with trace_quickly(patch):
            yield


@pytest.fixture(scope="session", autouse=True)
def quick_benchmarks():
    """Comparisons whose seconds nobody looks at do not take a minute for them, and find the machine quiet.

    Their processes are forked from one that has imported torch.
    """
    import forked_worker
    from octavo.evaluation import benchmark, profiling, text_rates
    from octavo.schema.comparison import MachineLoad

    popen = {"Popen": forked_worker.popen, "PIPE": subprocess.PIPE, "DEVNULL": subprocess.DEVNULL}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark, "ROUNDS_SECONDS", 0.2)
        patch.setattr(benchmark, "SINGLE_ROWS", 10)
        patch.setattr(benchmark, "INVARIANCE_ROWS", 2)
        patch.setattr(benchmark, "PAUSE", 0.0)
        for name, value in {"ROUNDS": 1, "SECONDS": 0.1, "PAUSE": 0.0}.items():
            patch.setattr(text_rates, name, value)
        patch.setattr(benchmark, "subprocess", SimpleNamespace(**popen))
        patch.setattr(profiling, "int8_peak", cache(profiling.int8_peak))
        patch.setattr(benchmark, "machine_load", lambda *_, **__: MachineLoad(busy=False))
        yield


@pytest.fixture(scope="session", autouse=True)
def unsynced_files():
    """What tests write need not outlive a power cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session")
def sentences():
    """Ten short texts, Korean and English, that every tokenizer here knows without an unknown token."""
    return SENTENCES


@pytest.fixture(scope="session")
def tiny_parts():
    """What checkpoints are made of here, for tests that make others."""
    return SimpleNamespace(
        byte_pairs=byte_pairs,
        word_pieces=word_pieces,
        make_tokenizer=make_tokenizer,
        make_config=make_config,
        randomize=randomize,
    )


@pytest.fixture(scope="session")
def make_checkpoint():
    """A function that writes a tiny random checkpoint of a family to a folder, and returns the folder.

    `architecture` is another class of transformers than the family's with three labels.
    """
    import transformers

    def make(family, folder, architecture=None, layers=2):
        transformers.logging.disable_progress_bar()
        tokenizer = make_tokenizer(family)
        model = getattr(transformers, architecture or HEADED[family])(make_config(family, tokenizer, layers))
        randomize(model, tokenizer).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return Path(folder)

    return make


@pytest.fixture(scope="session")
def checkpoint(make_checkpoint, tmp_path_factory):
    """A function of a family: the folder of its checkpoint, made once. Copy it before changing anything."""
    return cache(lambda family: make_checkpoint(family, tmp_path_factory.mktemp("checkpoints") / family))


@pytest.fixture(scope="session")
def traced(make_checkpoint, checkpoint, tmp_path_factory):
    """The same for what transformers exports, which takes seconds a layer: one layer, but where layers may mix.

    That is BERT, for all that have several, and ALBERT, which has one in several places.
    """
    made = tmp_path_factory.mktemp("traced")
    return cache(
        lambda family: (
            checkpoint(family) if family in {"bert", "albert"} else make_checkpoint(family, made / family, layers=1)
        )
    )


@pytest.fixture(scope="session")
def artifact(checkpoint, tmp_path_factory):
    """A function of a family, a method and perhaps a target: the artifact, made once."""

    @cache
    def make(family, method, target):
        output = tmp_path_factory.mktemp("artifacts") / f"{family}-{method}-{target}"
        return octavo.quantize(checkpoint(family), output, recipe=method, target=target)

    return lambda family, method, target="auto": make(family, method, find_target(target).name)


@pytest.fixture(scope="session")
def made_before():
    """The folder of a tiny int8 artifact that version 0.1.0 wrote, for any CPU. Copy it before changing anything."""
    return Path(__file__).parent / "artifact" / "made-by-0.1.0"


@pytest.fixture(scope="session")
def fresh():
    """A function that runs code in a process of its own, with arguments as `sys.argv[1:]`; gives what it printed."""

    def run(code, *arguments, cwd=None, **environment):
        command = [sys.executable, "-c", code, *map(str, arguments)]
        done = subprocess.run(
            command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def plain_packages():
    """The distributions that a plain install brings: the dependencies of pyproject.toml, and theirs, without extras."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found, left = set(), [Requirement(text) for text in project["dependencies"]]
    while left:
        need = left.pop()
        name = canonicalize_name(need.name)
        if name not in found and (need.marker is None or need.marker.evaluate({"extra": ""})):
            found.add(name)
            left += [Requirement(text) for text in metadata.requires(name) or []]
    return found


@pytest.fixture(scope="session")
def plain(fresh):
    """`fresh`, where nothing can be imported that a plain install does not bring."""
    known, brought = metadata.packages_distributions(), plain_packages()
    others = [name for name, dists in known.items() if brought.isdisjoint(map(canonicalize_name, dists))]
    blocked = sorted({*others} - {"octavo"})
    assert {"torch", "transformers", "onnxscript", "sentencepiece", "pytest"} <= set(blocked)
    assert brought.isdisjoint(blocked)
    block = f"import sys\nsys.modules.update(dict.fromkeys({blocked!r}))\n"
    return lambda code, *arguments: fresh(block + code, *arguments)


# --- The artifacts of examples/korean-nli, the checkpoint of the repository. Copy them before a change. ---

_DEMO = Path(__file__).resolve().parents[1] / "examples" / "korean-nli"


@pytest.fixture(scope="session")
def demo_float(tmp_path_factory):
    """The folder of the demo checkpoint's float artifact, made for this CPU."""
    return octavo.quantize(_DEMO, tmp_path_factory.mktemp("demo") / "float", recipe="float").folder


@pytest.fixture(scope="session")
def demo_int8(tmp_path_factory):
    """The folder of the demo checkpoint's dynamic int8 artifact, made for this CPU."""
    return octavo.quantize(_DEMO, tmp_path_factory.mktemp("demo") / "int8").folder


# --- End of the demo's artifacts. ---
