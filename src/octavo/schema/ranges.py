"""`quantization_ranges.json` beside the weights of a checkpoint that was trained for int8: what training has learnt."""

from typing import Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from octavo.schema import Record

RANGES = "quantization_ranges.json"


class InputRange(Record):
    """What some Linears read, as uint8 codes: they span `low` to `high`, of all channels.

    `layers` are their module paths, each with the steps of its weight, one for each output channel; `bits` are those of
    the weights' codes. `smoothing`: what each channel was divided by before, and the weights' rows multiplied; empty
    where nothing was.
    """

    layers: dict[str, tuple[PositiveFloat, ...]] = Field(min_length=1)
    low: float = Field(le=0)
    high: float = Field(ge=0)
    smoothing: tuple[PositiveFloat, ...] = ()
    bits: Literal[4, 8] = 8


class Probe(Record):
    """Inputs, name -> [rows][length], and what the fake-quantized model answered to them, [rows][numbers]."""

    inputs: dict[str, list[list[int]]]
    outputs: list[list[float]]


class Ranges(Record):
    """`quantization_ranges.json`.

    `saturates`: weights are for CPUs whose products can saturate, too (`arithmetic.saturation.quantize_by_steps`).
    `embeddings` are the module paths of tables with int8 rows, the largest magnitude of each on 127. What is not named
    stays float. `weights` and `vocabulary` are hashes of what they were learnt with.
    """

    octavo_ranges: Literal[1] = 1
    version: str
    saturates: bool
    inputs: tuple[InputRange, ...]
    embeddings: tuple[str, ...]
    weights: str
    vocabulary: str
    probe: Probe

    @model_validator(mode="after")
    def _name_a_layer_once(self) -> Self:
        paths = [path for input_range in self.inputs for path in input_range.layers] + [*self.embeddings]
        if not paths or len(paths) != len(set(paths)):
            raise ValueError("no layers, or one twice")
        return self
