import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from octavo.data.examples import Example
from octavo.evaluation.breakdown import MOST_CHANGED, most_changed, score_groups
from octavo.metrics.differences import accuracy_difference
from octavo.metrics.movement import classifier_margins
from octavo.schema.signature import Pooling, Signature
from octavo.tasks import find_task

LABELS = ("함의", "모순", "중립")


def signature(**changes):
    fields = {
        "task": "text-classification",
        "labels": LABELS,
        "input_names": ("input_ids", "attention_mask"),
        "output_names": ("logits",),
        "max_length": 16,
        "pad_token_id": 0,
    }
    return Signature(**(fields | changes))


@pytest.fixture
def case():
    """Examples, one of ten without a label, two models' logits, and lengths."""
    generator = np.random.default_rng(0)
    labels = [None if index % 10 == 9 else index % 3 for index in range(200)]
    examples = [Example(f"{index} 번째 문장", None, label) for index, label in enumerate(labels)]
    first = generator.normal(size=(200, 3)).astype(np.float32)
    second = first + generator.normal(0, 0.2, first.shape).astype(np.float32)
    return examples, first, second, generator.integers(4, 40, 200)


def test_groups_are_scored_as_their_rows_alone(case):
    examples, first, second, lengths = case
    groups = score_groups(find_task(signature()), first, second, examples, lengths)
    known = np.array([example.label is not None for example in examples])
    gold = np.array([example.label for example in examples if example.label is not None])
    before, after = first.argmax(1)[known], second.argmax(1)[known]
    classes = {group.name: group for group in groups if group.kind == "class"}
    assert tuple(classes) == LABELS
    for label, group in enumerate(classes.values()):
        inside = gold == label
        assert group.n == inside.sum()
        assert group.baseline == accuracy_score(gold[inside], before[inside])
        assert group.value == accuracy_score(gold[inside], after[inside])
        margins = classifier_margins(first[known][inside], second[known][inside])
        assert group.difference == accuracy_difference(gold[inside], before[inside], after[inside], margins=margins)
    buckets = [group for group in groups if group.kind == "length"]
    assert sum(group.n for group in buckets) == len(gold), "every labelled row is in one bucket"
    ends = [tuple(map(int, group.name.split(" to "))) for group in buckets]
    assert [low for low, _ in ends[1:]] == [high + 1 for _, high in ends[:-1]]
    low, high = ends[1]
    inside = (lengths[known] >= low) & (lengths[known] <= high)
    assert buckets[1].value == accuracy_score(gold[inside], after[inside])


def test_groups_of_rows_that_hardly_moved_are_sure_of_it(case):
    examples, first, _, lengths = case
    for group in score_groups(find_task(signature()), first, first + np.float32(1e-6), examples, lengths):
        assert 0 < group.difference.high - group.difference.low < 1e-3


def test_all_lengths_may_be_the_same(case):
    examples, first, second, _ = case
    groups = score_groups(find_task(signature()), first, second, examples, np.full(200, 7))
    assert [(group.name, group.n) for group in groups if group.kind == "length"] == [("7 to 7", 180)]


def test_without_labels_there_are_no_groups_and_still_changes(case):
    _, first, second, lengths = case
    texts = [Example(str(index)) for index in range(200)]
    assert score_groups(find_task(signature()), first, second, texts, lengths) == ()
    assert all(one.gold is None for one in most_changed(find_task(signature()), first, second, texts))


def test_changed_predictions_come_first_then_what_moved_most(case):
    examples, first, second, _ = case
    found = most_changed(find_task(signature()), first, second, examples)
    flips = int(np.sum(first.argmax(1) != second.argmax(1)))
    assert len(found) == MOST_CHANGED
    assert [one.before.label != one.after.label for one in found] == [index < flips for index in range(len(found))]
    for part in (found[:flips], found[flips:]):
        assert [one.moved for one in part] == sorted((one.moved for one in part), reverse=True)
    one = found[0]
    assert one.text == f"{one.row} 번째 문장"
    assert one.before.label == LABELS[first[one.row].argmax()]
    assert one.gold == (None if examples[one.row].label is None else LABELS[examples[one.row].label])
    assert most_changed(find_task(signature()), first, first, examples) == ()


def test_pairs_of_an_embedder_are_ordered_by_how_far_their_cosine_moved():
    generator = np.random.default_rng(1)
    examples = [Example("하나", "둘", None, float(index % 6)) for index in range(40)]
    first = generator.normal(size=(80, 8)).astype(np.float32)
    second = first + generator.normal(0, 0.1, first.shape).astype(np.float32)
    about = signature(task="feature-extraction", labels=(), pooling=Pooling(modes=("mean",), dimension=8))
    found = most_changed(find_task(about), first, second, examples)
    moved = [abs(one.before.score - one.after.score) for one in found]
    assert moved == sorted(moved, reverse=True)
    assert [one.moved for one in found] == pytest.approx(moved)
    assert found[0].gold == examples[found[0].row].score
    groups = score_groups(find_task(about), first, second, examples, np.arange(40))
    assert [group.n for group in groups] == [10, 10, 10, 10]
    assert {group.kind for group in groups} == {"length"}
