"""How near an embedder's searches were to others, and how far they moved: of all passages that scores depend on."""

from types import SimpleNamespace

import numpy as np
import pytest

from octavo.data.examples import Example
from octavo.tasks.ranking import Found, Retrieval, search


@pytest.fixture
def task():
    return Retrieval(SimpleNamespace(pooling=SimpleNamespace(similarity="dot")))


def found(passages):
    """What one query of [1] finds among passages of one number each."""
    vectors = np.array([1.0, *passages], np.float32)[:, None]
    return Found(vectors, search(vectors, 1, "dot"))


def test_a_passage_that_was_not_among_the_first_hundred_counts(task):
    """The 130th comes first in the second model, and the judged one is the 120th in both."""
    before = 1 - np.arange(150) / 200
    after = before.copy()
    after[130] = 2.0
    query = Example("물음", choices=("글",) * 150, relevance=((120, 1.0),))
    margins = task.margins(found(before), found(after), [query])
    assert margins.moved == pytest.approx([2.0 - before[130]])
    assert margins.lead == pytest.approx([before[120] - before[130]])
    still = task.margins(found(before), found(before), [query])
    assert still.moved == pytest.approx([0.0])
    assert still.lead == pytest.approx([before[99] - before[120]])


def test_fewer_passages_are_from_all_over_and_judged_no_more(task):
    passages = tuple(f"글 {number}" for number in range(1000))
    queries = [Example(f"물음 {number}", choices=passages, relevance=((3, 1.0),)) for number in range(5)]
    fewer = task.with_passages(queries, 100)
    assert [one.text for one in fewer] == [one.text for one in queries]
    assert fewer[0].choices == passages[::10]
    assert {one.choices for one in fewer} == {fewer[0].choices}
    assert {one.relevance for one in fewer} == {()}
