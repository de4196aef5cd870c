"""Models with tokenizers of their own in one table, each held against transformers, asked one text at a time."""

import csv
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy
from seqeval.metrics.sequence_labeling import get_entities

import octavo
from octavo.errors import InputError
from octavo.evaluation.benchmark import Contender
from octavo.evaluation.comparison import compare
from octavo.evaluation.entries import Entry
from octavo.evaluation.readings import read_entries
from octavo.reporting.comparison_tables import comparison_notes, headlines, quality_cells
from octavo.reporting.languages import korean
from octavo.schema.comparison import read_comparison
from octavo.schema.signature import GenerationConfig, Signature
from octavo.tasks import find_task

pytestmark = pytest.mark.slow

LABELS = ("entailment", "contradiction", "neutral")


def made_of(sentences, count):
    """Texts of different lengths, of which the longest are cut."""
    words = " ".join(sentences).split()
    return [" ".join(words[(3 * n + k) % len(words)] for k in range(2 + n % 29)) for n in range(count)]


def write(path, rows):
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None).writerows(rows)
    return path


@cache
def torch_model(folder, architecture):
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return getattr(transformers, architecture).from_pretrained(folder).eval(), tokenizer


def answers(folder, architecture, *asked, **how):
    """What transformers' tokenizer makes of one text, and the model's answer [tokens, ...] to it alone."""
    import torch

    model, tokenizer = torch_model(folder, architecture)
    encoded = tokenizer(*asked, return_tensors="pt", truncation=True, max_length=64, **how)
    with torch.inference_mode():
        return encoded, model(**encoded)


@pytest.fixture(scope="module")
def rows(sentences):
    return [(text, LABELS[n % 3]) for n, text in enumerate(made_of(sentences, 60))]


@pytest.fixture(scope="module")
def found(checkpoint, artifact, rows, tmp_path_factory):
    data = write(tmp_path_factory.mktemp("data") / "texts.tsv", [("text", "label"), *rows])
    models = [checkpoint("bert"), checkpoint("roberta"), artifact("bert", "float").folder]
    return compare(models[0], models[1:], data=data, threads=1)


@pytest.fixture(scope="module")
def embedders(tiny_parts, tmp_path_factory):
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("embedders")
    for family, width in (("bert", 48), ("roberta", 32)):
        tokenizer = tiny_parts.make_tokenizer(family)
        config = tiny_parts.make_config(family, tokenizer)
        config.hidden_size = width
        torch.manual_seed(5)
        model = transformers.AutoModel.from_config(config)
        for parameter in model.parameters():
            parameter.data = parameter.data + 0.05 * torch.randn(parameter.shape)
        model.save_pretrained(folder / family)
        tokenizer.save_pretrained(folder / family)
    return [octavo.Checkpoint(folder / name, task="feature-extraction") for name in ("bert", "roberta")]


class TestClassifiers:
    def test_each_row_is_asked_as_transformers_asks_it(self, found, checkpoint, rows):
        gold = np.array([LABELS.index(label) for _, label in rows])
        logits, tokens = {}, {}
        for family in ("bert", "roberta"):
            told = [answers(checkpoint(family), "AutoModelForSequenceClassification", text) for text, _ in rows]
            logits[family] = np.stack([answer.logits[0].numpy() for _, answer in told]).astype(np.float64)
            tokens[family] = sum(encoded["input_ids"].shape[1] for encoded, _ in told)
        bert, roberta, same = found.rows
        before, after = logits["bert"].argmax(1), logits["roberta"].argmax(1)
        assert len(set(after.tolist())) > 1
        assert bert.quality["accuracy"] == pytest.approx(np.mean(before == gold), abs=1e-12)
        assert roberta.quality["accuracy"] == pytest.approx(np.mean(after == gold), abs=1e-12)
        expected = np.mean(after == gold) - np.mean(before == gold)
        assert roberta.differences["accuracy"].value == pytest.approx(expected, abs=1e-12)
        assert roberta.fidelity["agreement"] == pytest.approx(np.mean(before == after), abs=1e-12)
        p, q = (softmax(logits[family], axis=1) for family in ("bert", "roberta"))
        assert roberta.fidelity["kl"] == pytest.approx(float(np.mean(entropy(p, q, axis=1))), rel=1e-3)
        assert (bert.tokens, roberta.tokens, same.tokens) == (tokens["bert"], tokens["roberta"], tokens["bert"])
        assert tokens["bert"] != tokens["roberta"]
        assert roberta.truncated > 0
        assert same.fidelity["agreement"] == 1.0
        lost = int(np.sum((before == gold) & (after != gold))), int(np.sum((before != gold) & (after == gold)))
        assert (roberta.mcnemar.worse, roberta.mcnemar.better) == lost

    def test_a_budget_counts_against_the_first_row(self, found):
        before, after = (row.quality["accuracy"] for row in found.rows[:2])
        check = found.under(octavo.Budget(max_drop=5)).rows[1].judgement.checks[0]
        assert check.value == pytest.approx(100 * (before - after))

    def test_it_is_told(self, found, tmp_path):
        assert found.own_tokenizers
        notes = comparison_notes(found)
        assert "the same rows in each batch" in notes[1]
        assert notes[2].startswith("each model reads with its own tokenizer: bert (float): ")
        assert f"roberta (float): {found.rows[1].tokens:,} tokens, {found.rows[1].truncated:,} rows cut" in notes[2]
        told = "\n".join(comparison_notes(found, korean))
        assert "배치마다 같은 데이터" in told
        assert "모델마다 자체 토크나이저 사용" in told
        for name in ("out.html", "out.md", "out.json"):
            octavo.report(found, tmp_path / name)
        assert "each model reads with its own tokenizer" in (tmp_path / "out.md").read_text(encoding="utf-8")
        assert vars(read_comparison(tmp_path / "out.json")) == vars(found)


def test_entities_are_held_against_each_other_by_words(write_tiny, sentences, tmp_path):
    labels = ("O", "B-X", "I-X", "B-Y", "I-Y")
    models = [
        write_tiny(family, f"{name}ForTokenClassification", tmp_path / family, labels)
        for family, name in (("bert", "Bert"), ("xlm-roberta", "XLMRoberta"))
    ]
    texts = [text.split() for text in made_of(sentences, 40)]
    lines = [[(word, labels[(n + k) % 2]) for k, word in enumerate(words)] for n, words in enumerate(texts)]
    data = tmp_path / "words.tsv"
    data.write_text("\n".join("".join(f"{word}\t{tag}\n" for word, tag in line) for line in lines), encoding="utf-8")
    first, second = compare(models[0], [models[1]], data=data, threads=1).rows
    tags, logits = [], []
    for model in models:  # of each word that of its first token, as word_ids of transformers' tokenizers have them
        tags.append([]), logits.append([])
        for words in texts:
            encoded, answer = answers(model, "AutoModelForTokenClassification", words, is_split_into_words=True)
            owners, scores = encoded.word_ids(), answer.logits[0].numpy()
            places = [owners.index(word) if word in owners else None for word in range(len(words))]
            logits[-1].append([None if place is None else scores[place] for place in places])
            tags[-1].append(["O" if row is None else labels[row.argmax()] for row in logits[-1][-1]])
    spans = [[set(get_entities(row)) for row in model] for model in tags]
    assert sum(map(len, spans[1])) > 40
    gold = [set(get_entities([tag for _, tag in line])) for line in lines]
    for row, own in zip((first, second), spans, strict=True):
        right = sum(len(a & b) for a, b in zip(gold, own, strict=True))
        assert row.quality["entity_f1"] == pytest.approx(2 * right / sum(map(len, gold + own)))
    both = list(zip(*spans, strict=True))
    assert second.fidelity["agreement"] == pytest.approx(np.mean([a == b for a, b in both]))
    shared = sum(len(a & b) for a, b in both)
    assert second.fidelity["span_agreement"] == pytest.approx(2 * shared / sum(map(len, spans[0] + spans[1])))
    pairs = [
        (a, b)
        for rows in zip(*logits, strict=True)
        for a, b in zip(*rows, strict=True)
        if a is not None and b is not None
    ]
    p, q = (softmax(np.array(part, np.float64), axis=1) for part in zip(*pairs, strict=True))
    assert second.fidelity["tag_agreement"] == pytest.approx(np.mean(p.argmax(1) == q.argmax(1)))
    assert second.fidelity["kl"] == pytest.approx(float(np.mean(entropy(p, q, axis=1))), rel=1e-3)
    assert first.fidelity["agreement"] == first.fidelity["span_agreement"] == 1.0


def test_answers_are_held_against_each_other_as_texts(write_tiny, sentences, tmp_path):
    models = [
        write_tiny(family, f"{name}ForQuestionAnswering", tmp_path / family, ("START", "END"))
        for family, name in (("bert", "Bert"), ("roberta", "Roberta"))
    ]
    contexts = [". ".join(made_of(sentences, 30 + n)[n : n + 1 + n % 7]) for n in range(24)]
    asked = [(sentences[n % len(sentences)], context) for n, context in enumerate(contexts)]
    qas = [
        {
            "context": context,
            "qas": [{"id": str(n), "question": question, "answers": [{"text": context.split()[0], "answer_start": 0}]}],
        }
        for n, (question, context) in enumerate(asked)
    ]
    data = tmp_path / "squad.json"
    data.write_text(json.dumps({"version": "1.1", "data": [{"title": "가", "paragraphs": qas}]}), encoding="utf-8")
    found = compare(models[0], [models[1]], data=data, threads=1)
    told = []
    for model in models:
        predictor = octavo.load(model, threads=1)
        alone = [predictor({"question": question, "context": context}) for question, context in asked]
        both = [
            predictor({"question": question, "context": context}, handle_impossible_answer=True)
            for question, context in asked
        ]
        told.append([tuple(answer["answer"].strip() for answer in pair) for pair in zip(both, alone, strict=True)])
    assert found.rows[0].tokens != found.rows[1].tokens
    (alone,) = compare(models[1], data=data, threads=1).rows
    assert (found.rows[1].quality, found.rows[1].tokens) == (alone.quality, alone.tokens)
    said = np.mean([a == b for a, b in zip(*told, strict=True)])
    assert found.rows[1].fidelity["agreement"] == pytest.approx(said)
    assert "kl" in found.rows[0].fidelity
    assert "kl" not in found.rows[1].fidelity
    header, _, cells = quality_cells(found)
    assert cells[header.index("KL x 1e5")] == "-"
    assert len(found.rows[1].changed) == min(20, sum(a != b for a, b in zip(*told, strict=True)))
    for changed in found.rows[1].changed:
        assert (changed.before.label, changed.after.label) == tuple(own[changed.row][0] or "-" for own in told)


class TestEmbeddersOfTwoWidths:
    @staticmethod
    def vectors(model, texts):
        """The mean of the tokens' vectors."""
        told = (answers(Path(model.path), "AutoModel", text) for text in texts)
        return np.stack([answer.last_hidden_state[0].numpy().mean(0) for _, answer in told]).astype(np.float64)

    def test_pairs_are_scored(self, embedders, sentences, tmp_path):
        texts = made_of(sentences, 40)
        pairs = [(texts[n], texts[39 - n], n % 6) for n in range(20)]
        data = write(tmp_path / "pairs.tsv", [("sentence1", "sentence2", "score"), *pairs])
        found = compare(embedders[0], [embedders[1]], data=data, threads=1)
        for row, model in zip(found.rows, embedders, strict=True):
            a, b = (self.vectors(model, [pair[side] for pair in pairs]) for side in (0, 1))
            cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
            expected = np.corrcoef(cosines, [score for *_, score in pairs])[0, 1]
            assert row.quality["pearson"] == pytest.approx(expected, abs=1e-4)
        assert found.rows[1].fidelity.keys() == {"recall_at_10"}
        assert found.rows[1].closeness == {}
        assert found.under(octavo.Budget(max_drop=50)).rows[1].judgement.checks[0].value is not None

    def test_texts_alone_have_no_cosine(self, embedders, sentences, tmp_path):
        data = tmp_path / "texts.txt"
        data.write_text("\n".join(made_of(sentences, 30)[2:]), encoding="utf-8")
        found = compare(embedders[0], [embedders[1]], data=data, threads=1)
        assert (found.rows[1].closeness, found.rows[1].changed) == ({}, ())
        assert "another width" in headlines(found)[0]
        assert "벡터 차원이 달라서" in headlines(found, korean)[0]
        judged = found.under(octavo.Budget(min_cosine=0.9))
        assert judged.verdict == "FAIL"
        for name in ("out.html", "out.md", "out.json"):
            octavo.report(judged, tmp_path / name)
        octavo.report(tmp_path / "out.json", tmp_path / "again.html")


@pytest.mark.parametrize("task", ["fill-mask", "text-generation"])
def test_answers_that_are_tokens_are_not_compared_across_vocabularies(tiny_parts, sentences, task, tmp_path):
    more = {"mask_token_id": 4} if task == "fill-mask" else {"generation": {"sampling": GenerationConfig()}}
    entries = []
    for name in ("bert", "xlm-roberta"):
        tokenizer = tiny_parts.make_tokenizer(name)
        names = ("input_ids", "attention_mask")
        signature = Signature(
            task=task, input_names=names, output_names=("logits",), max_length=64, pad_token_id=1, **more
        )
        contender = Contender(tmp_path, "torch", signature, tmp_path)
        entries.append(Entry(name, "float", 1, signature, tokenizer.backend_tokenizer.to_str(), contender))
    examples = [octavo.Example(text) for text in sentences]
    with pytest.raises(
        InputError, match=f"tokenizers of xlm-roberta and bert differ, .*{task} answer are tokens.*row 0"
    ):
        read_entries(entries, examples, find_task(entries[0].signature))
    first, second = read_entries([entries[0], entries[0]], examples, find_task(entries[0].signature))
    assert first is second
