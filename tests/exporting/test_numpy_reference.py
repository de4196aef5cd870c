"""The model in numpy answers batches of unlike shapes together as it answers each alone."""

import numpy as np

from octavo.checkpoint.source import read_source
from octavo.exporting.numpy_reference import NumpyReference
from octavo.exporting.reference import probe
from octavo.exporting.written import write_graph
from octavo.schema.recipe import Recipe


def test_batches_together_are_answered_as_alone(checkpoint):
    source = read_source(checkpoint("bert"))
    _, tensors, config = write_graph(source, Recipe())
    model = NumpyReference(source.signature.task, config, tensors)
    batches = [probe(source.signature, rows, length, config) for rows, length in ((3, 9), (1, 1), (2, 7))]
    assert not all(batch["attention_mask"].all() for batch in batches)
    together, alone = model.run_all(batches), [model.run(batch) for batch in batches]
    assert [len(answers) for answers in together] == [3, 1, 2]
    assert len({float(answers[0, 0]) for answers in together}) == 3
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)
