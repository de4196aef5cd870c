"""Real models that write: their texts are those of transformers' `generate`; streams, stops, the command line."""

import json
import math
from pathlib import Path

import pytest

import octavo
from octavo.checkpoint.source import Checkpoint
from octavo.errors import DataError, InputError, RecipeError
from octavo.evaluation.perplexity import perplexity
from octavo.inference import generator
from octavo.schema.recipe import Recipe

SHARED = Path(__file__).resolve().parents[3] / "shared"
STORIES, SPELLING = SHARED / "models" / "stories260k" / "hf", SHARED / "models" / "misaki_g2p"
SAMPLE = SHARED / "data" / "tinystories_sample" / "tinystories_sample.txt"
PROMPTS = ["Once upon a time", "Tim", "The big dog was", "Lily and her mom went to the park. They", "One day,"]
FLOAT = Recipe(method="float")
NEW = 40

pytestmark = pytest.mark.skipif(not STORIES.exists() or not SPELLING.exists(), reason="the shared models are not here")


@pytest.fixture(scope="module")
def stories(tmp_path_factory):
    """The float artifact of a small model that tells stories."""
    return octavo.quantize(STORIES, tmp_path_factory.mktemp("stories") / "float", recipe=FLOAT).folder


@pytest.fixture(scope="module")
def write(stories):
    return octavo.load(stories)


def by_generate(model, tokenizer, texts, new):
    """The ids that transformers writes for each text, before the token that ends it; texts of one length at once."""
    import torch

    end, written = model.generation_config.eos_token_id, {}
    encoded = [tokenizer(text, return_token_type_ids=False)["input_ids"] for text in texts]
    for length in {len(ids) for ids in encoded}:
        places = [place for place, ids in enumerate(encoded) if len(ids) == length]
        ids = torch.tensor([encoded[place] for place in places])
        settings = {"attention_mask": torch.ones_like(ids), "max_new_tokens": new, "do_sample": False}
        for place, row in zip(places, model.generate(ids, **settings, pad_token_id=end).tolist(), strict=True):
            begin = 1 if model.config.is_encoder_decoder else length
            written[place] = row[: row.index(end, begin)] if end in row[begin:] else row
    return [written[place] for place in range(len(texts))]


@pytest.mark.parametrize(("prompts", "new"), [(PROMPTS, NEW), ("200 lines", 8)])
def test_stories_are_those_of_generate(write, prompts, new):
    import torch
    import transformers

    if isinstance(prompts, str):
        lines = [line.split() for line in SAMPLE.read_text(encoding="utf-8").split("\n")[:2000]]
        prompts = [" ".join(words[: 4 + row % 9]) for row, words in enumerate(lines) if len(words) > 12][:200]
        assert len(prompts) == 200
    tokenizer = transformers.AutoTokenizer.from_pretrained(STORIES)
    model = transformers.AutoModelForCausalLM.from_pretrained(STORIES, dtype=torch.float32)
    found = write(prompts, max_new_tokens=new)
    for (one,), ids in zip(found, by_generate(model, tokenizer, prompts, new), strict=True):
        assert one["generated_text"] == tokenizer.decode(ids, skip_special_tokens=True)


def test_a_batch_writes_what_its_rows_write_alone(write):
    for settings in ({}, {"temperature": 0.8, "seed": 5}):
        alone = [write([prompt], max_new_tokens=NEW, **settings)[0][0] for prompt in PROMPTS]
        together = [row[0] for row in write(PROMPTS, max_new_tokens=NEW, **settings)]
        if settings:  # a sample depends on the row's number too
            assert alone[0] == together[0]
            assert together == [row[0] for row in write(PROMPTS, max_new_tokens=NEW, **settings)]
        else:
            assert alone == together


def test_samples_of_a_stream_are_all_their_own(write, monkeypatch):
    monkeypatch.setattr(generator, "ROWS_AT_ONCE", 4)
    settings = {"temperature": 1.5, "seed": 3, "max_new_tokens": 12}
    found = [row["generated_text"] for row in write(iter(PROMPTS[:1] * 10), **settings)]
    assert len(set(found)) == 10
    assert found == [row[0]["generated_text"] for row in write(PROMPTS[:1] * 10, **settings)]


@pytest.mark.parametrize("settings", [{}, {"temperature": 1.0, "seed": 1}, {"stop": ["park", "\n"]}])
def test_pieces_together_are_the_new_text(write, settings):
    whole = write(PROMPTS[0], max_new_tokens=NEW, return_full_text=False, **settings)[0]["generated_text"]
    pieces = list(write.pieces(PROMPTS[0], max_new_tokens=NEW, **settings))
    assert "".join(pieces) == whole
    assert len(pieces) > 3


def test_a_text_ends_before_a_stop_string(write):
    whole = write(PROMPTS[0], max_new_tokens=NEW, return_full_text=False)[0]["generated_text"]
    stop = whole[30:38]
    found = write(PROMPTS[0], max_new_tokens=NEW, return_full_text=False, stop=stop)[0]["generated_text"]
    assert found == whole[: whole.index(stop)]


def test_shapes_are_those_of_the_pipeline(write):
    few = {"max_new_tokens": 2}
    one = write("Tim", **few)
    assert one == write(["Tim"], **few)[0]
    assert write({"text": "Tim"}, **few) == one
    assert list(write(iter(["Tim"]), **few)) == one
    assert one[0]["generated_text"].startswith("Tim")


def test_long_prompts_keep_their_end(write):
    prompt = "Once upon a time there was a dog. " * 60
    before = write.counts.truncated
    (one,) = write(prompt, max_new_tokens=5)
    assert write.counts.truncated == before + 1
    assert one["generated_text"].startswith(prompt)
    with pytest.raises(InputError, match="more new tokens than the model has places"):
        write("Tim", max_new_tokens=512)


def test_what_is_no_text_and_settings_that_do_not_fit_are_errors(write):
    with pytest.raises(DataError, match="row 1"):
        write(["Tim", 3])
    with pytest.raises(DataError, match="pair"):
        write([("a", "b")])
    with pytest.raises(InputError, match="unknown setting"):
        write("Tim", max_tokens=3)
    with pytest.raises(InputError, match="beams"):
        write("Tim", num_beams=2, do_sample=True)


def test_the_command_line_writes_json_lines(stories, tmp_path, fresh):
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"text": "Once upon a time"}\n{"text": "Tim"}\n', encoding="utf-8")
    code = "import sys\nfrom octavo.cli.main import run\nsys.argv = ['octavo', *sys.argv[1:]]\nrun()"
    checked = f"{code}\nassert not any(name in sys.modules for name in ('torch', 'transformers', 'onnx_ir'))"
    checked = checked.replace("run()\nassert", "try:\n    run()\nexcept SystemExit:\n    pass\nassert")
    fresh(checked, "predict", stories, source, "-o", output, "--max-new-tokens", 4, "--num-beams", 2)
    lines = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    expected = octavo.load(stories)(["Once upon a time", "Tim"], max_new_tokens=4, num_beams=2)
    assert lines == [row[0] for row in expected]


def by_torch(texts, window):
    """The perplexity by transformers' own loss, window by window."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(STORIES)
    model = transformers.AutoModelForCausalLM.from_pretrained(STORIES, dtype=torch.float32)
    ids = tokenizer("\n".join(texts), return_tensors="pt").input_ids[0]
    parts = [part[None] for part in ids.split(window) if len(part) > 1]
    with torch.no_grad():
        losses = [float(model(part, labels=part).loss) * (part.shape[1] - 1) for part in parts]
    return math.exp(sum(losses) / sum(part.shape[1] - 1 for part in parts))


def test_perplexity_is_that_of_transformers_and_hardly_changes_with_weights_of_eight_bits(stories, tmp_path):
    texts = SAMPLE.read_text(encoding="utf-8")[:16_000].split("\n")
    before = perplexity(stories, texts, window=256)
    assert before == pytest.approx(by_torch(texts, 256), rel=1e-4)
    int8 = octavo.quantize(STORIES, tmp_path / "int8", recipe=Recipe(method="weight-only")).folder
    assert perplexity(int8, texts, window=256) == pytest.approx(before, rel=0.01)
    int4 = octavo.quantize(STORIES, tmp_path / "int4", recipe=Recipe(method="weight-only", bits=4)).folder
    assert perplexity(int4, texts, window=256) == pytest.approx(before, rel=0.10)


def test_more_context_makes_the_perplexity_smaller(stories):
    texts = SAMPLE.read_text(encoding="utf-8")[:10_000].split("\n")
    assert perplexity(stories, texts, window=128, stride=32) < perplexity(stories, texts, window=128)


@pytest.mark.slow
@pytest.mark.parametrize(("side", "count"), [("us", 200), ("gb", 40)])
def test_pronunciations_are_those_of_generate(tmp_path, side, count):
    import torch
    import transformers
    from tokenizers import Tokenizer

    folder = SPELLING / f"hf_{side}"
    words = list(json.loads((SPELLING / f"{side}_gold.json").read_text(encoding="utf-8")))[5000 : 5000 + count]
    checkpoint = Checkpoint(folder, target_tokenizer=folder / "phoneme_tokenizer.json")
    pronounce = octavo.load(octavo.quantize(checkpoint, tmp_path / side, recipe=FLOAT).folder)
    found = pronounce(words, max_new_tokens=NEW)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    target = Tokenizer.from_file(str(folder / "phoneme_tokenizer.json"))
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32)
    for one, ids in zip(found, by_generate(model, tokenizer, words, NEW), strict=True):
        assert one["generated_text"] == target.decode(ids, skip_special_tokens=True)


def test_windows_that_score_nothing_are_errors(stories):
    texts = ["Once upon a time there was a dog."]
    with pytest.raises(InputError, match="no room for text; got: 1"):
        perplexity(stories, texts, window=1)
    with pytest.raises(InputError, match="a stride leaves tokens out; got: 0"):
        perplexity(stories, texts, window=8, stride=0)


def test_the_wrong_task_names_both(stories):
    for wrong in (
        lambda: octavo.load(stories, task="fill-mask"),
        lambda: octavo.load(Checkpoint(stories, task="fill-mask")),
        lambda: octavo.compare(Checkpoint(stories, task="fill-mask"), data=SAMPLE),
    ):
        with pytest.raises(InputError, match=r"for text-generation, and not for fill-mask.*next: load it as text-gen"):
            wrong()


def test_what_models_that_write_do_not_have_is_refused(stories, tmp_path):
    with pytest.raises(InputError, match=r"torch in float32 on a CPU; got: torch:bf16"):
        octavo.load(STORIES, engine="torch:bf16")
    with pytest.raises(RecipeError, match=r"made in the format onnx"):
        octavo.quantize(STORIES, tmp_path / "out", recipe=Recipe(format="torch"))
    with pytest.raises(InputError, match=r"a model for text-generation .* allowed: text-classification"):
        octavo.compare(STORIES, [stories / "model.onnx"], data=SAMPLE)
