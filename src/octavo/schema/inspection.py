"""What was found inside a model, and on a machine."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from octavo.schema.layers import Kind
from octavo.schema.manifest import ExportRecord, PassRecord


@dataclass(frozen=True)
class DiagnosisRecord:
    """What was found: memory in bytes; `packages` name -> version, None where it is not installed.

    `choices` what Octavo will do here -> why; `expected` what int8 gives here; `problems` known-bad combinations.
    """

    cpu: str
    kind: str
    instructions: dict[str, bool]
    usable_cores: int
    machine_cores: int
    memory: int | None
    memory_limit: int | None
    python: str
    packages: dict[str, str | None]
    choices: dict[str, str]
    expected: str
    problems: tuple[str, ...]

    def __repr__(self) -> str:
        summary = f"{self.usable_cores} of {self.machine_cores} cores, {len(self.problems)} problems"
        return f"<{type(self).__name__.removesuffix('Record')} of {self.cpu} ({self.kind}): {summary}>"

    def to_dict(self) -> dict[str, Any]:
        """The diagnosis as JSON takes it."""
        return asdict(self)


@dataclass(frozen=True)
class Weight:
    """A constant that the graph multiplies by or looks up in.

    `dtype` as stored; `parameters` how many numbers it stands for; `symmetric` is None for float; `saturates`: it is
    multiplied, and has signed 8-bit numbers beyond 64, so that on x86 without VNNI its products can saturate (see
    `octavo.hardware`); `uses`: how many nodes read it.
    """

    path: str
    kind: Kind
    part: str
    dtype: str
    shape: tuple[int, ...]
    parameters: int
    bytes: int
    symmetric: bool | None = None
    saturates: bool = False
    uses: int = 1

    @property
    def is_float(self) -> bool:
        """Whether it is stored in floating point."""
        return "float" in self.dtype


@dataclass(frozen=True)
class Port:
    """An input or output of a graph; a dimension is a number, a name, or "?"."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class InspectionRecord:
    """What was found.

    `kind` is checkpoint, artifact or onnx; `task` the Hub's name, or the best guess from the graph, for the reason
    `task_reason`; `loads_as` the task that `octavo.load` runs it as, None where it does not; `bytes` of the file or the
    stored weights, `bytes_by_dtype` and `bytes_by_part` of what it stores; `saved_by_int8` the bytes that the float
    weights would lose as int8 rows and channels. `method` is float, dynamic, static or weight-only; the fields of a
    graph are empty for a checkpoint.
    """

    path: str
    kind: Literal["checkpoint", "artifact", "onnx"]
    task: str
    task_reason: str
    loads_as: str | None
    bytes: int
    bytes_by_dtype: dict[str, int]
    bytes_by_part: dict[str, dict[str, int]]
    weights: tuple[Weight, ...]
    saved_by_int8: int
    method: str
    symmetric_weights: bool | None = None
    symmetric_activations: bool | None = None
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()
    opset: dict[str, int] = field(default_factory=dict)
    producer: str = ""
    checker: str = ""
    operators: dict[str, int] = field(default_factory=dict)
    passes: tuple[PassRecord, ...] | None = None
    export: ExportRecord | None = None

    def __repr__(self) -> str:
        kind = type(self).__name__.removesuffix("Record")
        return f"<{kind} of {self.path}: {self.kind}, {self.task}, {self.method}, {self.bytes / 2**20:.1f} MiB>"

    def to_dict(self) -> dict[str, Any]:
        """The inspection as JSON takes it."""
        return asdict(self) | {
            "passes": None if self.passes is None else [dict(record) for record in self.passes],
            "export": self.export and dict(self.export),
        }
