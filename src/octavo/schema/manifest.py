"""`octavo.json`: everything about an artifact, as pydantic checks it."""

from collections.abc import Sequence
from math import isfinite
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from octavo.hardware import TargetName
from octavo.schema import Record
from octavo.schema.layers import LayerResult, Overflow
from octavo.schema.lineage import FileName, FileRecord, SourceRecord, Step
from octavo.schema.recipe import Recipe
from octavo.schema.signature import Signature

MANIFEST = "octavo.json"
SCHEMA: Literal[1] = 1
CARD = "README.md"
VECTOR_RANGES = "vector_ranges.safetensors"  # of embedders that were calibrated; "256": [2, 256], and so on
TIMES_THE_DISTANCE = 2.0  # of the artifact's own distance from float
OF_THE_RANGE = 1e-3
OF_THE_RANGE_IN_BF16 = 0.05  # its numbers have 8 bits


class HostRecord(Record):
    """Where it was made."""

    cpu: str
    kind: str
    packages: dict[str, str]


class PassRecord(Record):
    """A rewrite of the float graph (`octavo.graph.passes.order`).

    How often it applied, the nodes before and after it, and the largest difference of the float graph's outputs, over
    the largest output; None where it did not apply.
    """

    name: str
    applied: int
    nodes_before: int
    nodes_after: int
    difference: float | None = None


class ExportRecord(Record):
    """The float graph: its opset, why not a newer one, and its largest difference from its reference at each shape.

    `graph`: exported by transformers, or written by Octavo from config and weights. `reference`: the model in torch, or
    the one that is written out in numpy.
    """

    opset: int
    note: str | None = None
    differences: dict[str, float]
    graph: Literal["exported", "written"] = "exported"
    reference: Literal["torch", "numpy"] = "torch"


class CalibrationRecord(Record):
    """The examples that ranges were learnt from: how many, a hash of all of them, and one of each."""

    rows: int
    tokens: int
    sha256: str
    examples: tuple[str, ...]


class SelfTest(Record):
    """Inputs, name -> [rows][length], and what the model answered to them where it was made, [rows][outputs].

    `distance`: the largest difference of these answers from the float model's; `range` of the float model's answers;
    `threads` that computed them, None where an earlier version did not note it.
    """

    inputs: dict[str, list[list[int]]]
    outputs: list[list[float]]
    distance: float = Field(ge=0, allow_inf_nan=False, strict=True)
    range: float = Field(ge=0, allow_inf_nan=False, strict=True)
    threads: int | None = None

    @model_validator(mode="after")
    def _are_arrays(self) -> Self:
        arrays: tuple[Sequence[Sequence[float]], ...] = (*self.inputs.values(), self.outputs)
        if not self.inputs or len({len(rows) for rows in arrays}) != 1 or not self.outputs:
            raise ValueError("its inputs and outputs have not as many rows each")
        if any(len({len(row) for row in rows}) != 1 for rows in arrays):
            raise ValueError("its inputs and outputs are not arrays: some rows are longer")
        if not all(0 <= number < 2**31 for rows in self.inputs.values() for row in rows for number in row):
            raise ValueError("its inputs are no ids")
        if not all(map(isfinite, (number for row in self.outputs for number in row))):
            raise ValueError("its outputs are not finite")
        return self

    def allowed(self, precision: Literal["float32", "bf16"] = "float32") -> float:
        """How far answers may lie from the recorded ones, on an engine that computes in this precision."""
        share = OF_THE_RANGE_IN_BF16 if precision == "bf16" else OF_THE_RANGE
        return max(TIMES_THE_DISTANCE * self.distance, share * self.range)


class Manifest(Record):
    """`octavo.json`; `components` are the model's files by what they are: `model`, or `encoder` and `decoder`.

    `lineage` are the steps that made the checkpoint, where Octavo made it.
    """

    octavo: Literal[1]
    version: str
    recipe: Recipe
    target: TargetName
    exact_u8s8: bool
    signature: Signature
    source: SourceRecord
    lineage: tuple[Step, ...] | None = None
    export: ExportRecord | None = None
    passes: tuple[PassRecord, ...] = ()
    layers: tuple[LayerResult, ...]
    calibration: CalibrationRecord | None = None
    overflow: Overflow | None = None
    host: HostRecord
    self_test: SelfTest
    components: dict[str, FileName] = Field(default={"model": "model.onnx"})
    files: dict[FileName, FileRecord]

    def __repr__(self) -> str:
        made = f"{self.recipe.method} of {self.source.name}, {len(self.layers)} layers, for {self.target}"
        return f"<Manifest of octavo {self.version}: {made}>"

    @property
    def parameters(self) -> int:
        """The numbers in the weights of its Linears."""
        return sum(layer.parameters for layer in self.layers if layer.kind == "linear")

    @field_validator("components")
    @classmethod
    def _are_known(cls, components: dict[str, str]) -> dict[str, str]:
        if set(components) not in ({"model"}, {"encoder", "decoder"}):
            raise ValueError(f"components are model, or encoder and decoder; got: {', '.join(components) or 'none'}")
        return components
