import re

import pytest
import yaml
from markdown_it import MarkdownIt
from tokenizers import Tokenizer

import octavo
from octavo.artifact.folder import open_artifact
from octavo.errors import OctavoWarning
from octavo.reporting.card import distilling_note, write_card
from octavo.schema.layers import LayerResult
from octavo.schema.lineage import Distilling, Share, SourceRecord
from octavo.schema.manifest import CARD, Manifest
from octavo.schema.recipe import Recipe
from octavo.schema.signature import Signature


@pytest.fixture
def manifest():
    return Manifest.model_construct(
        version="1.2.3",
        recipe=Recipe(method="dynamic"),
        target="avx2",
        exact_u8s8=False,
        signature=Signature(
            task="text-classification",
            input_names=("input_ids", "attention_mask"),
            output_names=("logits",),
            max_length=512,
            pad_token_id=1,
        ),
        source=SourceRecord(name="klue/roberta-base", dtype="float16", bytes=3 * 2**19, sha256="0"),
        layers=(
            layer("int8", "one scale per row"),
            layer("int8", "one scale per output channel"),
            layer("int8", "one scale per output channel"),
            layer("float32", "kept by the rule 'classifier'"),
        ),
    )


def layer(dtype, reason):
    return LayerResult("x", "linear", "head", dtype, reason, parameters=1, bytes=1)


def front_matter(card):
    """What stands between the first two `---`, as YAML."""
    lines = card.splitlines()
    assert lines[0] == "---"
    return yaml.safe_load("\n".join(lines[1 : lines.index("---", 1)]))


def test_what_it_tells(manifest, tmp_path):
    card = write_card(manifest, tmp_path)
    assert front_matter(card) == {"library_name": "octavo", "tags": ["onnx", "dynamic", "cpu"]}
    text = " ".join(card.split())
    for told in (
        "# klue/roberta-base, dynamic, for avx2",
        "Made by Octavo 1.2.3 from `klue/roberta-base` (float16, 1.5 MiB",
        "No integer product of it can saturate on any CPU.",
        "takes `input_ids`, `attention_mask` (int64, [batch, length], padded on the right with 1)",
        "returns `logits` (float32)",
        "truncation at 512 tokens",
    ):
        assert told in text
    assert [line for line in card.splitlines() if re.match(r"- \d", line)] == [
        "- 1 layer int8: one scale per row",
        "- 2 layers int8: one scale per output channel",
        "- 1 layer float32: kept by the rule 'classifier'",
    ]


def test_8_bit_weights_are_told(manifest, tmp_path):
    card = write_card(manifest.model_copy(update={"exact_u8s8": True, "target": "avx512_vnni"}), tmp_path)
    assert "it needs a CPU with VNNI (or ARM), and Octavo refuses to load it on others" in card
    assert "No integer product" not in card


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("---\nlicense: cc-by-sa-4.0\n---\n# Model\n", {"license": "cc-by-sa-4.0"}),
        ("---\nlanguage: ko\nlicense:  apache-2.0  \ntags:\n- x\n---\n", {"license": "apache-2.0"}),
        ("---\r\nlanguage: ko\r\nlicense: mit\r\n---\r\n", {"license": "mit"}),
        ("---\nlicense: 'mit'  # 우리 것\n---\n", {"license": "mit"}),
        (
            "---\nlicense: other\nlicense_name: kogpt\nlicense_link: LICENSE\n---\n",
            {"license": "other", "license_name": "kogpt", "license_link": "LICENSE"},
        ),
    ],
)
def test_the_licence_of_the_checkpoint_goes_along(manifest, tmp_path, text, licence):
    (tmp_path / "README.md").write_text(text, encoding="utf-8", newline="")
    expected = {"library_name": "octavo", "tags": ["onnx", "dynamic", "cpu"]} | licence
    assert front_matter(write_card(manifest, tmp_path)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# A model\n\nlicense: mit\n",
        "---\nlanguage: ko\n---\n# A model\nlicense: mit\n\n---\n",
        "---\nlanguage: ko\nlicense:\n---\n",
        "---\nlicense: mit\nnever closed\n",
        "---\nlicense: no\n---\n",
    ],
)
def test_no_licence_is_made_up(manifest, tmp_path, text):
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    assert set(front_matter(write_card(manifest, tmp_path))) == {"library_name", "tags"}


@pytest.mark.parametrize("text", ["---\nlicense: [mit\n---\n", "---\n- license\n---\n"])
def test_damaged_front_matter_is_warned_of(manifest, tmp_path, text):
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    with pytest.warns(OctavoWarning, match="no licence is taken from it"):
        card = write_card(manifest, tmp_path)
    assert set(front_matter(card)) == {"library_name", "tags"}


@pytest.mark.parametrize("text", ["---\nlicense: mit\ntags: 5\n---\n", "\ufeff---\nlicense: mit\n---\n"])
def test_other_fields_do_not_cost_the_licence(manifest, tmp_path, text):
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    assert front_matter(write_card(manifest, tmp_path))["license"] == "mit"


def test_a_card_that_is_not_utf_8_does_not_stop_the_work(manifest, tmp_path):
    (tmp_path / "README.md").write_bytes("---\nlicense: mit\n---\n한국어".encode("cp949"))
    assert front_matter(write_card(manifest, tmp_path))["license"] == "mit"


def test_braces_in_a_name_are_text(manifest, tmp_path):
    source = manifest.source.model_copy(update={"name": "{name}-{0}"})
    manifest = manifest.model_copy(update={"source": source})
    assert "# {name}-{0}, dynamic, for avx2\n" in write_card(manifest, tmp_path)


def test_a_name_or_a_reason_is_text_on_the_card(manifest, tmp_path):
    hostile = "<img src=x>\n# 제목 `x` | [누르기](http://x) \x1b[31m"
    source = manifest.source.model_copy(update={"name": hostile})
    layers = (layer("int8", f"kept by the rule {hostile!r}"),)
    card = write_card(manifest.model_copy(update={"source": source, "layers": layers}), tmp_path)
    assert "\x1b" not in card
    tokens = MarkdownIt().parse(card.partition("\n---\n")[2])
    heading, *others = [token.type for token in tokens if token.type in {"heading_open", "html_block"}]
    assert (heading, others) == ("heading_open", [])
    inner = {child.type for token in tokens for child in token.children or ()}
    assert not inner & {"html_inline", "image", "link_open"}
    codes = [child.content for token in tokens for child in token.children or () if child.type == "code_inline"]
    assert "<img src=x> # 제목 `x` | [누르기](http://x) \\x1b[31m" in codes


def test_the_card_of_the_demo_tells_what_its_manifest_tells(demo_int8):
    manifest = open_artifact(demo_int8).manifest
    card = (demo_int8 / CARD).read_text(encoding="utf-8")
    expected = {"library_name": "octavo", "license": "cc-by-sa-4.0", "tags": ["onnx", "dynamic", "cpu"]}
    assert front_matter(card) == expected
    assert f"# korean-nli, dynamic, for {manifest.target}\n" in card
    counts = [int(count) for count in re.findall(r"^- (\d+) layers? (?:int8|float32): ", card, re.MULTILINE)]
    assert sum(counts) == len(manifest.layers)
    assert ("No integer product" in card) != manifest.exact_u8s8


def test_what_the_card_shows_works_without_octavo(demo_float):
    import numpy as np
    import onnxruntime

    card = (demo_float / CARD).read_text(encoding="utf-8")
    names = re.search(r"takes (.*) \(int64", card)[1].replace("`", "").split(", ")
    limit = int(re.search(r"truncation at (\d+) tokens", card)[1])
    tokenizer = Tokenizer.from_file(str(demo_float / "tokenizer.json"))
    tokenizer.enable_truncation(limit)
    encoding = tokenizer.encode("설악산 정상 부근에는 눈이 남아 있다.", "도로가 통제되었다.")
    arrays = dict(
        zip(
            ("input_ids", "attention_mask", "token_type_ids"),
            (encoding.ids, encoding.attention_mask, encoding.type_ids),
            strict=True,
        )
    )
    session = onnxruntime.InferenceSession(demo_float / "model.onnx")
    (logits,) = session.run(["logits"], {name: np.array([arrays[name]], np.int64) for name in names})
    predict = octavo.load(demo_float)
    (expected,) = predict([("설악산 정상 부근에는 눈이 남아 있다.", "도로가 통제되었다.")])
    assert predict.signature.labels[int(logits.argmax())] == expected["label"]
    assert float(np.exp(logits).max() / np.exp(logits).sum()) == pytest.approx(expected["score"], abs=1e-5)


def test_a_card_says_what_was_distilled():
    step = Distilling.model_construct(
        source=SourceRecord(name="klue/roberta-base", dtype="float32", bytes=1, sha256="0"),
        layers_before=12,
        layers=(0, 4, 8),
        ffn_before=3072,
        ffn=1536,
        trained=54_000,
        use_labels=False,
        judged=3000,
        fidelity={"agreement": 0.9812, "kl": 0.01},
        agreement=Share(value=0.9812, low=0.9757, high=0.9855),
    )
    assert distilling_note(step) == (
        "The checkpoint is `klue/roberta-base` with 3 of 12 layers (0, 4, 8), 1,536 of 3,072 units in the feed-forward "
        "part of each, trained on 54,000 texts, labels unseen, to answer as that does: to 3,000 others 98.12% "
        "(97.57% to 98.55%) the same answer."
    )
    vectors = step.model_copy(
        update={"ffn": None, "use_labels": True, "fidelity": {"cosine_mean": 0.97}, "agreement": None}
    )
    assert distilling_note(vectors).endswith(
        "(0, 4, 8), trained on 54,000 texts, labels used, to answer as that does: to 3,000 others `cosine_mean` 0.9700."
    )
