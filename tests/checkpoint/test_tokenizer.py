"""The tokenizer of a checkpoint: always the ids that transformers gives, or a clear error."""

import json
import shutil
import unicodedata
from pathlib import Path

import pytest
import transformers
from tokenizers import Tokenizer

import octavo
from octavo.checkpoint.tokenizer import read_tokenizer
from octavo.encoding.sample_texts import FIXED, in_sentences, sample_texts

FAMILIES = ("bert", "distilbert", "roberta", "xlm-roberta", "electra", "albert", "camembert", "klue-roberta")
KOREAN = (
    "그 남자는 어제 서울에서 친구를 만났다.",
    "영화가 정말 재미있고 The Fox 도 좋았다!",
    "공원에서 Music 을   듣는\t사람들… ☕ café 한국어",
    "ㅋㅋㅋ 12,345원",
    "",
)


@pytest.fixture
def folder(checkpoint, tmp_path):
    """A checkpoint that may be changed."""
    return Path(shutil.copytree(checkpoint("bert"), tmp_path / "bert"))


def change(file, **settings):
    """Change keys of a JSON file; None takes a key out."""
    table = json.loads(file.read_text(encoding="utf-8")) | settings
    table = {key: value for key, value in table.items() if value is not None}
    file.write_text(json.dumps(table, ensure_ascii=False), encoding="utf-8")


def vocabulary_only(folder, **settings):
    """Leave vocab.txt in the place of tokenizer.json, and a tokenizer_config.json with these settings."""
    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab()
    (folder / "vocab.txt").write_text("\n".join(sorted(ids, key=ids.get)) + "\n", encoding="utf-8")
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "pad_token": "[PAD]", "model_max_length": 64} | settings),
        encoding="utf-8",
    )
    return folder


def refused(folder, match):
    """The message of the one-line error that reading the tokenizer gives."""
    with pytest.raises(octavo.CheckpointError, match=match) as caught:
        read_tokenizer(folder)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_ids_of_every_family_are_those_of_auto_tokenizer(checkpoint, family, sentences):
    folder = checkpoint(family)
    parts = read_tokenizer(folder)
    ours, reference = Tokenizer.from_str(parts.json), transformers.AutoTokenizer.from_pretrained(folder)
    for text in (*KOREAN, *sentences, *FIXED):
        assert ours.encode(text).ids == reference(text)["input_ids"]
        assert ours.encode("공원", text or " ").ids == reference("공원", text or " ")["input_ids"]
    assert parts.pad_token_id == reference.pad_token_id
    assert parts.unk_token_id == (None if family == "roberta" else reference.unk_token_id)  # bytes are never unknown
    assert parts.max_length == 64


def test_texts_of_the_vocabulary_have_no_unknown_token(checkpoint, sentences):
    for family in FAMILIES:
        parts = read_tokenizer(checkpoint(family))
        encodings = Tokenizer.from_str(parts.json).encode_batch(list(sentences))
        assert [encoding.tokens for encoding in encodings if parts.unk_token_id in encoding.ids] == [], family


def test_stored_padding_and_truncation_are_switched_off(folder):
    stored = Tokenizer.from_file(str(folder / "tokenizer.json"))
    stored.enable_padding(length=40, pad_id=0)
    stored.enable_truncation(8)
    stored.save(str(folder / "tokenizer.json"))
    long = "공원 " * 30
    assert len(stored.encode(long).ids) == 40  # cut at 8, padded to 40: neither is asked for
    parts = read_tokenizer(folder)
    assert len(Tokenizer.from_str(parts.json).encode(long).ids) > 32
    assert len(Tokenizer.from_str(parts.json).encode("공원").ids) < 8
    read = json.loads(parts.json)
    assert (read["padding"], read["truncation"]) == (None, None)


@pytest.mark.parametrize(
    "settings",
    [
        {"do_lower_case": False},
        {"do_lower_case": False, "strip_accents": False},
        {"do_lower_case": True, "strip_accents": False},
    ],
)
def test_a_vocabulary_alone_is_converted(folder, settings, sentences):
    before = Tokenizer.from_file(str(folder / "tokenizer.json"))
    vocabulary_only(folder, **settings)
    parts = read_tokenizer(folder)
    ours, reference = Tokenizer.from_str(parts.json), transformers.AutoTokenizer.from_pretrained(folder)
    for text in (*KOREAN, *sentences):
        assert ours.encode(text).ids == reference(text)["input_ids"]
    assert ours.encode(sentences[1]).ids == before.encode(sentences[1]).ids  # Korean: one case only
    lower, upper = (ours.encode(text).ids for text in ("the fox", "THE FOX"))
    assert (lower == upper) is settings["do_lower_case"]
    assert parts.bytes == sum((folder / name).stat().st_size for name in ("vocab.txt", "tokenizer_config.json"))
    assert (parts.pad_token_id, parts.unk_token_id, parts.max_length) == (0, 1, 64)


def test_a_vocabulary_whose_hangul_would_be_taken_apart_is_refused(folder):
    vocabulary_only(folder, do_lower_case=True)  # with strip_accents unset, lower-casing splits Hangul into jamo
    refused(folder, "its own words become unknown.*next: check do_lower_case and strip_accents in tokenizer_config")


def test_a_vocabulary_that_transformers_drops_is_refused(folder, monkeypatch):
    vocabulary_only(folder, do_lower_case=False)
    swallowed = transformers.BertTokenizer()  # what `vocab_file=` gives in transformers 5: everything is [UNK]
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda *_, **__: swallowed)
    refused(folder, "the vocabulary was not taken over")


def test_a_tokenizer_without_a_fast_form_is_refused(folder, monkeypatch):
    vocabulary_only(folder, do_lower_case=False)
    monkeypatch.setattr(transformers.BertTokenizer, "is_fast", property(lambda self: False))
    refused(folder, "the tokenizer has no fast form.*got: BertTokenizer; next: .*tokenizer.json by --tokenizer")


def test_a_conversion_that_changes_ids_is_told(folder, monkeypatch):
    vocabulary_only(folder, do_lower_case=False)
    honest = transformers.AutoTokenizer.from_pretrained(folder)

    class Different:
        is_fast, backend_tokenizer, added_tokens_decoder = True, honest.backend_tokenizer, honest.added_tokens_decoder

        def __call__(self, text, other=None):
            return {"input_ids": [*honest(text, other)["input_ids"], 7]}

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda *_, **__: Different())
    with pytest.raises(
        octavo.OctavoWarning, match=r"converted from the vocabulary, which Octavo uses, splits .* \(and"
    ):
        read_tokenizer(folder)


def test_a_vocabulary_with_other_ids_than_its_file_is_refused(folder, monkeypatch):
    vocabulary_only(folder, do_lower_case=False)
    other = transformers.AutoTokenizer.from_pretrained(folder)
    lines = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    lines[10], lines[11] = lines[11], lines[10]
    (folder / "vocab.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda *_, **__: other)
    told = refused(folder, "tokens have other ids than in vocab.txt or vocab.json")
    assert f"got: 2 tokens, such as {lines[10]!r}, {lines[11]!r}" in told


def test_a_vocab_txt_beside_a_tokenizer_json_with_other_ids_is_told(folder):
    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab()
    lines = sorted(ids, key=ids.get)
    (folder / "vocab.txt").write_text("\n".join(lines), encoding="utf-8")
    read_tokenizer(folder)
    (folder / "vocab.txt").write_text("\n".join([*lines[:9], "새것", *lines[10:]]), encoding="utf-8")
    with pytest.raises(
        octavo.OctavoWarning, match=r"other ids than .*vocab.txt.* for 1 tokens, such as '새것'; for the"
    ):
        read_tokenizer(folder)


def test_a_tokenizer_class_that_transformers_does_not_have(folder):
    vocabulary_only(folder, tokenizer_class="KoBertTokenizer", auto_map={"AutoTokenizer": ["code.KoBert", None]})
    (folder / "code.py").write_text("raise SystemExit('code of a checkpoint was run')\n", encoding="utf-8")
    refused(folder, "transformers cannot load the tokenizer in .*; got: .*[^:]$")


def test_a_tokenizer_json_that_splits_otherwise_is_told_before_the_export(folder, tmp_path):
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    content["post_processor"] = None
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(octavo.OctavoWarning, match=r"tokenizer\.json, which Octavo uses, splits '한국어 문장은"):
        octavo.quantize(folder, tmp_path / "out")  # warnings are errors here: it ends where it warns


def test_no_tokenizer(folder):
    (folder / "tokenizer.json").unlink()
    refused(folder, "no tokenizer in .*; next: name a folder that has one with --tokenizer")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"model": {"type": "Nonsense"}}', "\udcff"])
def test_a_damaged_tokenizer_json(folder, content):
    (folder / "tokenizer.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    refused(folder, "tokenizer.json cannot be read in .*tokenizer.json")


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe{}"])
def test_a_damaged_tokenizer_config(folder, content):
    (folder / "tokenizer_config.json").write_bytes(content)
    refused(folder, "tokenizer_config.json is not JSON in .*tokenizer_config.json")


@pytest.mark.parametrize(
    ("pad_token", "expected"),
    [("[MASK]", 4), ("[NONE]", None)],  # the last is not in the vocabulary
)
def test_the_padding_id_is_that_of_the_tokenizer(folder, pad_token, expected):
    change(folder / "tokenizer_config.json", pad_token=pad_token)
    assert read_tokenizer(folder).pad_token_id == expected


@pytest.mark.parametrize(("limit", "expected"), [(32, 32), (10**30, None), (int(1e30), None), (None, None), (512, 512)])
def test_the_limit_is_none_where_there_is_none(folder, limit, expected):
    change(folder / "tokenizer_config.json", model_max_length=limit)
    assert read_tokenizer(folder).max_length == expected


def test_side_files_and_size_are_those_on_disk(folder):
    (folder / "special_tokens_map.json").write_text('{"pad_token": "[PAD]"}', encoding="utf-8")
    parts = read_tokenizer(folder)
    assert parts.side_files == {
        name: (folder / name).read_bytes() for name in ("tokenizer_config.json", "special_tokens_map.json")
    }
    stored = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
    assert parts.bytes == sum((folder / name).stat().st_size for name in stored)


def test_without_a_tokenizer_config(folder):
    (folder / "tokenizer_config.json").unlink()
    with pytest.warns(octavo.OctavoWarning, match="otherwise than AutoTokenizer does"):  # which lower-cases by default
        parts = read_tokenizer(folder)
    assert (parts.side_files, parts.max_length, parts.pad_token_id) == ({}, None, 0)


# --- Tokens that files add ---


def ids_of(parts, text):
    return Tokenizer.from_str(parts.json).encode(text, add_special_tokens=False).ids


def add_by_list(folder, token):
    """By a name alone: transformers gives it the next id."""
    (folder / "special_tokens_map.json").write_text(json.dumps({"additional_special_tokens": [token]}))
    change(folder / "tokenizer_config.json", added_tokens_decoder=None, extra_special_tokens=[token])


def add_by_decoder(folder, token, index):
    stored = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8")).get("added_tokens_decoder", {})
    entry = {"content": token, "lstrip": False, "rstrip": False, "normalized": False, "single_word": False}
    decoder = stored | {str(index): entry | {"special": True}}
    change(folder / "tokenizer_config.json", added_tokens_decoder=decoder)


def add_by_file(folder, token, index):
    (folder / "added_tokens.json").write_text(json.dumps({token: index}))


@pytest.mark.parametrize("way", [add_by_list, add_by_decoder, add_by_file])
@pytest.mark.parametrize("stored", [True, False])
def test_a_token_that_any_file_adds_is_one_token(folder, way, stored):
    size = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size()
    if not stored:
        vocabulary_only(folder, do_lower_case=False)
    before = ids_of(read_tokenizer(folder), "공원 <url> 공원")
    way(folder, "<url>") if way is add_by_list else way(folder, "<url>", size)
    parts = read_tokenizer(folder)
    assert size not in before
    park = ids_of(parts, "공원")
    assert ids_of(parts, "공원 <url> 공원") == [*park, size, *park]
    for text in in_sentences(["<url>"]):
        assert ids_of(parts, text).count(size) == 1
    expected = transformers.AutoTokenizer.from_pretrained(folder)("공원 <url> 공원")["input_ids"]
    assert Tokenizer.from_str(parts.json).encode("공원 <url> 공원").ids == expected


def test_files_that_disagree_about_a_token(folder):
    size = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size()
    add_by_file(folder, "<url>", size)
    add_by_decoder(folder, "<url>", size + 1)
    refused(folder, rf"the token '<url>' has several ids in .*; got: {size} in added_tokens.json, {size + 1} in token")
    (folder / "added_tokens.json").write_text(json.dumps({"공원": 7}))
    refused(folder, "has several ids|cannot have its id")


def test_an_added_token_with_the_id_of_another(folder):
    add_by_file(folder, "<url>", 9)
    refused(folder, "an added token cannot have its id in .*; got: '<url>' for 9, which is")


@pytest.mark.parametrize("content", ['{"<url>": "x"}', "[1]", "{"])
def test_a_damaged_list_of_added_tokens(folder, content):
    (folder / "added_tokens.json").write_text(content)
    refused(
        folder, "the id of an added token is no number|added_tokens.json is not JSON|added_tokens.json is not a table"
    )


def test_texts_hold_every_kind_of_script_of_the_vocabulary(checkpoint):
    for family in ("bert", "roberta", "xlm-roberta"):
        texts = sample_texts(Tokenizer.from_file(str(checkpoint(family) / "tokenizer.json")))
        assert set(FIXED) < set(texts)
        made = " ".join(set(texts) - set(FIXED))
        assert {"HANGUL", "LATIN", "DIGIT"} <= {unicodedata.name(one, "").split(" ")[0] for one in made if one.strip()}
        assert any(text != unicodedata.normalize("NFC", text) for text in set(texts) - set(FIXED))
        assert len(set(texts)) == len(texts) < 120
