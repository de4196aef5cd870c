"""TODO-DOC schema.manifest."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from octavo.artifact.selftest import _flat
from octavo.engines import Session
from octavo.errors import ArtifactError
from octavo.schema.layers import LayerOutcome, Overflow
from octavo.schema.recipe import Recipe
from octavo.schema.signature import Signature

MANIFEST = "octavo.json"
SCHEMA: Literal[1] = 1
CARD = "README.md"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileRecord(_Record):
    """A file of the artifact."""

    bytes: int
    sha256: str


class SourceRecord(_Record):
    """The checkpoint that the artifact was made from: its name, the dtype and size as stored, a hash of its weights."""

    name: str
    dtype: str
    bytes: int
    sha256: str


class HostRecord(_Record):
    """Where it was made."""

    cpu: str
    kind: str
    packages: dict[str, str]


class PassRecord(_Record):
    """A rewrite of the float graph (`octavo.graph.passes.order`).

    How often it applied, the nodes before and after it, and the largest difference of the float graph's outputs, over
    the largest output; None where it did not apply.
    """

    name: str
    applied: int
    nodes_before: int
    nodes_after: int
    difference: float | None = None


class ExportRecord(_Record):
    """The float graph: its opset, why not a newer one, and its largest difference from torch at each shape."""

    opset: int
    note: str | None = None
    differences: dict[str, float]


class CalibrationRecord(_Record):
    """The examples that ranges were learnt from: how many, a hash of all of them, and one of each."""

    rows: int
    tokens: int
    sha256: str
    examples: tuple[str, ...]


class Manifest(_Record):
    """`octavo.json`; `components` are the model's files by what they are: `model`, or `encoder` and `decoder`."""

    octavo: Literal[1]
    version: str
    recipe: Recipe
    target: Literal["any", "avx2", "avx_vnni", "avx512", "avx512_vnni", "arm64"]
    exact_u8s8: bool
    signature: Signature
    source: SourceRecord
    export: ExportRecord | None = None
    passes: tuple[PassRecord, ...] = ()
    layers: tuple[LayerOutcome, ...]
    calibration: CalibrationRecord | None = None
    overflow: Overflow | None = None
    host: HostRecord
    self_test: SelfTest
    components: dict[str, str] = {"model": "model.onnx"}
    files: dict[str, FileRecord]


TIMES_THE_DISTANCE = 2.0  # of the artifact's own distance from float
OF_THE_RANGE = 1e-3
OF_THE_RANGE_IN_BF16 = 0.05  # its numbers have 8 bits


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
