"""What an artifact answered where it was made, so that another host can see whether it answers the same.

Int8 can go wrong without any error: products that saturate, a kernel with a defect, a file that was changed. What
moves the answers by more than int8 itself had moved them is refused. Another CPU's last bits are not: they turn over
single codes at most, and that is within what int8 costs.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from octavo.artifact.agreement import require_labels
from octavo.artifact.contents import Contents
from octavo.checkpoint.source import Source
from octavo.data.sentences import SENTENCES
from octavo.encoding.batching import Inputs, make_batches
from octavo.engines import Session
from octavo.engines.pooled import pooled
from octavo.errors import ArtifactError, ExportError
from octavo.schema.manifest import SelfTest
from octavo.schema.signature import Signature, lower_limit
from octavo.tasks import find_task

MAX_LENGTH = 32
MOST_NUMBERS = 4096  # of a row


def make_self_test(folder: Path, source: Source, contents: Contents) -> SelfTest:
    """Load the files that were written and run them, so that nothing is handed over that does not run.

    Raises:
        ExportError: it answers with values that are not finite.
    """
    inputs = self_test_inputs(source.tokenizer.json, source.signature)
    session = contents.answers(folder)
    outputs, threads = pooled(session, source.signature, folder).run(inputs), session.threads
    del session  # one model in memory at a time
    reference = pooled(contents.reference(), source.signature, folder).run(inputs)
    if not (np.isfinite(outputs).all() and np.isfinite(reference).all()):
        raise ExportError("the quantized model answers with values that are not finite")
    require_labels(outputs, source.signature)
    return record_self_test(inputs, outputs, reference, threads=threads)


def check_self_test(test: SelfTest, session: Session, where: object) -> float:
    """Run a self-test: the largest deviation from the recorded answers.

    Raises:
        ArtifactError: that is more than what another CPU or engine explains.
    """
    inputs = {name: np.array(rows, np.int64) for name, rows in test.inputs.items()}
    expected = np.array(test.outputs, np.float32)
    outputs = flat(session.run(inputs), inputs)
    deviation = float(np.max(np.abs(outputs - expected))) if outputs.shape == expected.shape else float("inf")
    allowed = test.allowed("bf16" if "bf16" in session.name else "float32")
    if not deviation <= allowed:
        raise ArtifactError(
            "the artifact does not answer here as it did where it was made: a file was changed, or this CPU or "
            f"engine ({session.name}) computes its int8 wrongly",
            where=where,
            got=f"a deviation of {deviation:.2g} (int8 itself: {test.distance:.2g})",
            allowed=f"{allowed:.2g}",
            then="octavo inspect --verify tells whether a file was changed; or make it again here",
        )
    return deviation


def flat(outputs: NDArray[np.float32], inputs: Inputs) -> NDArray[np.float32]:
    """Outputs as [rows, numbers], 0 where they belong to padding: what stands there is no answer; of many a part."""
    if outputs.shape[:2] == inputs["attention_mask"].shape and outputs.ndim == 3:
        outputs = outputs * inputs["attention_mask"][:, :, None].astype(np.float32)
    flat = outputs.reshape(len(outputs), -1)
    return flat[:, :: 1 + flat.shape[1] // MOST_NUMBERS]  # a vocabulary is too wide to be remembered whole


def self_test_inputs(tokenizer_json: str, signature: Signature) -> Inputs:
    """A padded batch of five short texts, one of them a pair where the model tells segments apart."""
    task = find_task(lower_limit(signature, min(MAX_LENGTH, signature.max_length)))
    rows = task.from_texts([SENTENCES[index] for index in (0, 4, 9, 12)])
    if rows[0][1] is None and "token_type_ids" in signature.input_names:
        rows.append((SENTENCES[5], SENTENCES[14]))
    else:
        rows += task.from_texts([SENTENCES[5]])
    encoded = task.encode(task.make_tokenizer(tokenizer_json), rows)
    if signature.exact_lengths:  # all cut at the shortest
        task = find_task(lower_limit(signature, min(len(row.ids) for row in encoded)))
        encoded = task.encode(task.make_tokenizer(tokenizer_json), rows)
    batch = max(make_batches(encoded, task.signature, task.token_budget), key=lambda made: len(made.rows))
    return batch.inputs


def record_self_test(
    inputs: Inputs, outputs: NDArray[np.float32], reference: NDArray[np.float32], *, threads: int
) -> SelfTest:
    """The record of `outputs` [rows, ...], which so many threads computed; `reference` are the float model's."""
    outputs, reference = flat(outputs, inputs), flat(reference, inputs)
    return SelfTest(
        inputs={name: array.tolist() for name, array in inputs.items()},
        outputs=[[float(f"{value:.7g}") for value in row] for row in outputs.tolist()],
        distance=float(np.max(np.abs(outputs - reference))),
        range=float(np.ptp(reference)),
        threads=threads,
    )
