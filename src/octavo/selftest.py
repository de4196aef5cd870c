"""What an artifact answered where it was made, so that another host can see whether it answers the same.

Int8 can go wrong without any error: products that saturate, a kernel with a defect, a file that was changed. What
moves the answers by more than int8 itself had moved them is refused. Another CPU's last bits are not: they turn over
single codes at most, and that is within what int8 costs.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from octavo.batching import make_batches
from octavo.engines import Session
from octavo.errors import ArtifactError
from octavo.sentences import SENTENCES
from octavo.signature import Signature, lower_limit
from octavo.tasks import find_task

MAX_LENGTH = 32
MOST_NUMBERS = 4096  # of a row
TIMES_THE_DISTANCE = 2.0  # of the artifact's own distance from float
OF_THE_RANGE = 1e-3
OF_THE_RANGE_IN_BF16 = 0.05  # its numbers have 8 bits
Inputs = dict[str, NDArray[np.int64]]


class SelfTest(BaseModel):
    """Inputs, name -> [rows][length], and what the model answered to them where it was made, [rows][outputs].

    `distance`: the largest difference of these answers from the float model's; `range` of the float model's answers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: dict[str, list[list[int]]]
    outputs: list[list[float]]
    distance: float
    range: float

    def allowed(self, precision: Literal["float32", "bf16"] = "float32") -> float:
        """How far answers may lie from the recorded ones, on an engine that computes in this precision."""
        share = OF_THE_RANGE_IN_BF16 if precision == "bf16" else OF_THE_RANGE
        return max(TIMES_THE_DISTANCE * self.distance, share * self.range)

    def check(self, session: Session, where: object) -> float:
        """Run it: the largest deviation from the recorded answers.

        Raises:
            ArtifactError: that is more than what another CPU or engine explains.
        """
        inputs = {name: np.array(rows, np.int64) for name, rows in self.inputs.items()}
        expected = np.array(self.outputs, np.float32)
        found = _flat(session.run(inputs), inputs)
        deviation = float(np.max(np.abs(found - expected))) if found.shape == expected.shape else float("inf")
        allowed = self.allowed("bf16" if "bf16" in session.name else "float32")
        if not deviation <= allowed:
            raise ArtifactError(
                "the artifact does not answer here as it did where it was made: a file was changed, or this CPU or "
                f"engine ({session.name}) computes its int8 wrongly",
                where=where,
                got=f"a deviation of {deviation:.2g} (int8 itself: {self.distance:.2g})",
                allowed=f"{allowed:.2g}",
                then="octavo inspect --verify tells whether a file was changed; or make it again here",
            )
        return deviation


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
