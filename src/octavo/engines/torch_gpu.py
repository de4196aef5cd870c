"""What a torch session does otherwise on a GPU: one pinned copy of the inputs, few shapes; and what was slow there.

It was written where no GPU is. `bench/gpu.py` measures it.
"""

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from octavo.errors import OctavoWarning

LENGTHS = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512)  # tokens; above, multiples of the last
SHAPES = 256  # that a model may be compiled for; rows and lengths have some ten steps each
SLOW = {  # times the time of float32 at 32 x 128 of BERT-base's shape, on an H100, without torch.compile
    "torchao": 8.5,
    "fp8": 3.6,
}
Inputs = dict[str, NDArray[np.int64]]


def to_device(inputs: Inputs, device: str) -> dict[str, Tensor]:
    """Inputs [rows, length] on a device, by one copy; from pinned memory a GPU takes it while the CPU goes on."""
    if device == "cpu" or len({array.shape for array in inputs.values()}) > 1:  # a decoder's are of another length
        return {name: torch.from_numpy(array).to(device) for name, array in inputs.items()}
    together = torch.from_numpy(np.stack(list(inputs.values()))).pin_memory().to(device, non_blocking=True)
    return dict(zip(inputs, together.unbind(), strict=True))


def bucket(rows: int, length: int, longest: int) -> tuple[int, int]:
    """The shape that stands for a shape: rows to a power of two, the length to one of few; `longest` is the model's.

    A compiled model has a graph of its own for each, with at most twice the rows and half as many tokens again.
    """
    step = LENGTHS[-1]
    wide = next((known for known in LENGTHS if known >= length), -(-length // step) * step)
    return 1 << (rows - 1).bit_length(), max(length, min(wide, longest))


def pad_to(inputs: Inputs, shape: tuple[int, int], padding: int) -> Inputs:
    """The inputs in a larger shape: padding behind each row, and its last row again as often as rows are lacking."""
    rows, length = inputs["input_ids"].shape
    more = ((0, shape[0] - rows), (0, shape[1] - length))
    padded = {}
    for name, array in inputs.items():
        wide = np.pad(array, ((0, 0), more[1]), constant_values=padding if name == "input_ids" else 0)
        padded[name] = np.pad(wide, (more[0], (0, 0)), mode="edge")
    return padded


def warn_of_slow(mode: str) -> None:
    """Warn that a mode was measured slower than float32 where it is not compiled."""
    warnings.warn(
        f"torch:{mode} took {SLOW[mode]} times the time of float32 on an H100 (BERT-base, 32 x 128): its kernels are "
        f"made for torch.compile. torch:bf16 was the fast one, or add compile: torch:{mode},compile",
        OctavoWarning,
        stacklevel=4,
    )
