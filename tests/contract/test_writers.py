"""Models that write, tiny and random, of every family: what they write is what transformers' `generate` writes."""

from functools import cache

import numpy as np
import onnx_ir as ir
import pytest

import octavo
from octavo.errors import OctavoError
from octavo.exporting.opsets import OPSETS
from octavo.schema.recipe import Recipe
from tiny_writers import CONTINUING, write_tiny

FAMILIES = ("gpt2", "llama", "t5", "bart", "marian")
NAMES = {"gpt2": "GPT-2", "llama": "Llama", "t5": "T5", "bart": "BART", "marian": "Marian"}
METHODS = {
    "float": Recipe(method="float"),
    "dynamic": Recipe(method="dynamic"),
    "weight-only, 8 bits": Recipe(method="weight-only"),
    "weight-only, 4 bits": Recipe(method="weight-only", bits=4),
    "static": Recipe(method="static"),
    "static, mixed": Recipe(method="static", mixed=True),
    "dynamic, format torch": Recipe(method="dynamic", format="torch"),
}
NEW = 12


@pytest.fixture(scope="module")
def made(tiny_parts, tmp_path_factory):
    """A function of a family: the folder of its checkpoint and its torch model."""
    import transformers

    transformers.logging.disable_progress_bar()

    @cache
    def make(family):
        folder = tmp_path_factory.mktemp("writers") / family
        model, tokenizer = write_tiny(family, folder, *tiny_parts.byte_pairs())
        loaded = type(model).from_pretrained(folder)  # Marian's positions are computed, and not stored
        return folder, loaded.eval(), tokenizer

    return make


@pytest.fixture(scope="module")
def quantized(made, tmp_path_factory):
    """A function of a family and a recipe: the artifact, made once; a family is exported once."""
    exported = cache(lambda family: octavo.export(made(family)[0]))
    place = tmp_path_factory.mktemp

    return cache(
        lambda family, recipe, calibration=None: octavo.quantize(
            exported(family),
            place("artifacts") / family,
            recipe=recipe,
            calibration=calibration,
        )
    )


@pytest.fixture(scope="module")
def writer(quantized):
    """A function of a family and a recipe: the artifact, loaded."""
    return cache(lambda family, recipe: octavo.load(quantized(family, recipe).folder))


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_a_plain_install_opens_a_model_that_writes(family, writer, quantized, sentences, plain):
    folder = quantized(family, METHODS["float"]).folder
    code = f"import octavo\nprint(octavo.load(sys.argv[1])(sys.argv[2], max_new_tokens={NEW}))"
    answer = writer(family, METHODS["float"])(sentences[0], max_new_tokens=NEW)
    assert plain(code, folder, sentences[0]).strip() == str(answer)


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_exported_at_the_newest_opset_with_a_cache_of_fixed_width(quantized, made, family):
    artifact, config = quantized(family, METHODS["float"]), made(family)[1].config
    record = artifact.manifest.export
    assert (record.opset, record.note) == (OPSETS[0], None)
    inputs = [value for file in artifact.folder.glob("*.onnx") for value in ir.load(file).graph.inputs]
    kept = [value.shape for value in inputs if value.name.startswith("past_key_values.")]
    assert {shape[1] for shape in kept} == {getattr(config, "num_key_value_heads", config.num_attention_heads)}
    for rows, _, length, width in kept:
        assert [isinstance(size, int) for size in (rows, length, width)] == [False, False, True]


def by_transformers(made, family, text, **settings):
    """The ids that `generate` writes, without the prompt."""
    _, model, tokenizer = made(family)
    inputs = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
    found = model.generate(**inputs, max_new_tokens=NEW, do_sample=False, **settings)[0].tolist()
    return found[inputs["input_ids"].shape[1] if family in CONTINUING else 1 :]


def text_of(made, family, text, ids):
    tokenizer = made(family)[2]
    written = tokenizer.decode(ids, skip_special_tokens=True)
    return text + written if family in CONTINUING else written


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_text_is_that_of_generate(made, writer, sentences, family):
    found = writer(family, Recipe(method="float"))(list(sentences[:6]), max_new_tokens=NEW)
    for text, one in zip(sentences, found, strict=False):
        expected = text_of(made, family, text, by_transformers(made, family, text))
        assert (one[0] if family in CONTINUING else one)["generated_text"] == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_beams_are_those_of_generate(made, writer, sentences, family):
    for settings in ({}, {"length_penalty": 0.2, "early_stopping": True}):
        found = writer(family, Recipe(method="float"))(list(sentences[:4]), max_new_tokens=NEW, num_beams=3, **settings)
        for text, one in zip(sentences, found, strict=False):
            ids = by_transformers(made, family, text, num_beams=3, **settings)
            expected = text_of(made, family, text, ids)
            assert (one[0] if family in CONTINUING else one)["generated_text"] == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_writes_what_its_float_artifact_writes(made, writer, sentences, family):
    here = octavo.load(made(family)[0])
    settings = {"max_new_tokens": NEW, "repetition_penalty": 1.3}
    texts = list(sentences[:5])
    assert here(texts, **settings) == writer(family, Recipe(method="float"))(texts, **settings)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_cache_changes_nothing(writer, family):
    """Token by token, in one go, and in two parts: the same logits."""
    session = writer(family, Recipe(method="float")).session
    ids = np.random.default_rng(3).integers(4, 300, (2, 11))
    mask = np.ones_like(ids)
    if family in CONTINUING:
        mask[1, :3] = 0

        def begin(tokens):
            return session.begin(tokens, mask[:, : tokens.shape[1]])
    else:

        def begin(tokens):
            return session.begin(ids, mask, tokens)

    nothing = np.empty((2, 0), np.int64)
    whole = begin(ids).advance(nothing)
    steps = begin(ids[:, :4])
    logits = steps.advance(nothing)
    for place in range(4, 11):
        logits = steps.advance(ids[:, place : place + 1])
    assert np.abs(logits - whole).max() < 1e-4
    steps = begin(ids[:, :6])
    assert np.abs(steps.advance(ids[:, 6:]) - whole).max() < 1e-4


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(method="dynamic"),
        Recipe(method="weight-only"),
        Recipe(method="weight-only", bits=4),
    ],
    ids=["dynamic", "int8", "int4"],
)
def test_every_method_accounts_for_every_layer_and_writes(made, quantized, writer, sentences, family, recipe):
    found = writer(family, recipe)(list(sentences[:3]), max_new_tokens=NEW)
    texts = [(one[0] if family in CONTINUING else one)["generated_text"] for one in found]
    prompts = sentences[:3] if family in CONTINUING else [""] * 3
    for text, prompt in zip(texts, prompts, strict=True):
        assert text.startswith(prompt)
        assert text != prompt
    layers = quantized(family, recipe).manifest.layers
    kinds = {layer.dtype for layer in layers}
    assert kinds == ({"int4", "int8"} if recipe.bits == 4 else {"int8"})
    assert [layer.dtype for layer in layers if layer.part == "head"] == ["int8"]
    assert all(layer.reason and layer.error_db > 15 for layer in layers)
    import torch

    model = made(family)[1]
    linears = {
        name
        for name, part in model.named_modules()
        if isinstance(part, torch.nn.Linear) or type(part).__name__ == "Conv1D"
    }
    assert linears == {layer.path for layer in layers if layer.kind == "linear"}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_method_and_engine(family, made, quantized, sentences, tables, tmp_path):
    section, texts = tables("writers"), tmp_path / "texts.txt"
    texts.write_text("\n".join(sentences * 12), encoding="utf-8")
    expected, found = scores(octavo.load(made(family)[0]), family), {}
    for name, recipe in METHODS.items():
        for engine in section.engines if recipe.format == "onnx" else ("torch",):
            column = name if engine == "torch" else f"{name}, {engine}"
            try:
                artifact = quantized(family, recipe, texts if recipe.method == "static" else None)
                far = np.abs(scores(octavo.load(artifact.folder, engine=engine), family) - expected).mean()
            except OctavoError as error:
                found[column] = str(error)
                continue
            far /= np.abs(expected).mean()
            allowed = 1e-4 if recipe.method == "float" else 0.15 if recipe.bits == 8 else 0.4  # 7 bits without VNNI
            found[column] = (
                "yes" if far <= allowed else f"logits differ from the checkpoint's by {far:.2g} of their size"
            )
    section.hold(NAMES[family], {"Methods and engines, for models that write": found})


def scores(writer, family):
    """Logits of the tokens behind a prompt, [rows, tokens, vocabulary]."""
    ids = np.random.default_rng(5).integers(4, 300, (2, 9))
    mask = np.ones_like(ids)
    begun = writer.session.begin(ids, mask) if family in CONTINUING else writer.session.begin(ids, mask, ids[:, :4])
    return begun.advance(np.empty((2, 0), np.int64))
