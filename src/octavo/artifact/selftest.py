"""What an artifact answered where it was made, so that another host can see whether it answers the same.

Int8 can go wrong without any error: products that saturate, a kernel with a defect, a file that was changed. What
moves the answers by more than int8 itself had moved them is refused. Another CPU's last bits are not: they turn over
single codes at most, and that is within what int8 costs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from octavo.checkpoint.source import Source
from octavo.data.sentences import SENTENCES
from octavo.encoding.batching import make_batches
from octavo.engines.pooled import pooled
from octavo.errors import ExportError
from octavo.pipeline.contents import Made
from octavo.schema.manifest import SelfTest
from octavo.schema.signature import Signature, lower_limit
from octavo.tasks import find_task


def make_self_test(folder: Path, source: Source, made: Made) -> SelfTest:
    """Load the files that were written and run them, so that nothing is handed over that does not run.

    Raises:
        ExportError: it answers with values that are not finite.
    """
    from octavo.engines.torch import TorchSession

    inputs = self_test_inputs(source.tokenizer.json, source.signature)
    sessions = [made.answers(folder)]
    if source.signature.generation is not None:
        from octavo.engines.torch_writer import TorchWriter

        sessions.append(TorchWriter(made.reference))
    elif made.reference is not None:
        sessions.append(TorchSession(made.reference))
    found = [pooled(session, source.signature, folder).run(inputs) for session in sessions]
    if not all(np.isfinite(one).all() for one in found):
        raise ExportError("the quantized model answers with values that are not finite")
    return record_self_test(inputs, found[0], found[-1])


MAX_LENGTH = 32
MOST_NUMBERS = 4096  # of a row
Inputs = dict[str, NDArray[np.int64]]


def _flat(outputs: NDArray[np.float32], inputs: Inputs) -> NDArray[np.float32]:
    """Outputs as [rows, numbers], 0 where they belong to padding: what stands there is no answer."""
    if outputs.shape[:2] == inputs["attention_mask"].shape and outputs.ndim == 3:
        outputs = outputs * inputs["attention_mask"][:, :, None].astype(np.float32)
    flat = outputs.reshape(len(outputs), -1)
    return flat[:, :: 1 + flat.shape[1] // MOST_NUMBERS]  # a vocabulary is too wide to be remembered whole


def self_test_inputs(tokenizer_json: str, signature: Signature) -> Inputs:
    """A padded batch of five short texts, one of them a pair where the model tells segments apart."""
    short, task = lower_limit(signature, min(MAX_LENGTH, signature.max_length)), find_task(signature.task)
    rows = task.from_texts([SENTENCES[index] for index in (0, 4, 9, 12)])
    if rows[0][1] is None and "token_type_ids" in signature.input_names:
        rows.append((SENTENCES[5], SENTENCES[14]))
    else:
        rows += task.from_texts([SENTENCES[5]])
    encoded = task.encode(task.make_tokenizer(tokenizer_json, short), rows, short)
    (batch,) = make_batches(encoded, short)
    return batch.inputs


def record_self_test(inputs: Inputs, outputs: NDArray[np.float32], reference: NDArray[np.float32]) -> SelfTest:
    """The record of `outputs` [rows, ...]; `reference` are the float model's."""
    outputs, reference = _flat(outputs, inputs), _flat(reference, inputs)
    return SelfTest(
        inputs={name: array.tolist() for name, array in inputs.items()},
        outputs=[[float(f"{value:.7g}") for value in row] for row in outputs.tolist()],
        distance=float(np.max(np.abs(outputs - reference))),
        range=float(np.ptp(reference)),
    )
