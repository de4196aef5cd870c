"""Fake quantization in torch: float modules that compute what int8 layers will compute, and learn with it.

The arithmetic is `octavo.arithmetic.affine`'s, number by number: uint8 activations with one scale and zero point for a
tensor, from the ends of a range that holds zero; int8 weights with one scale for each output channel, or row of a
table, from the largest magnitude there is. Rounding has no slope, so gradients pass straight through it (Bengio et al.
2013, arXiv:1308.3432), but for numbers outside of their range.

The ends of a range are learnt as LSQ learns a step (Esser et al. 2020, "Learned Step Size Quantization",
arXiv:1902.08153) and LSQ+ an offset with it (Bhalgat et al. 2020, arXiv:2004.09576). With x' the rounded x,

    s = (high - low) / 255
    d x' / d high = (x' - x) / (high - low) inside the range, 1 above it, 0 below it
    d x' / d low  = (x - x') / (high - low) inside the range, 0 above it, 1 below it

all scaled by 1 / sqrt(255 N) for N numbers (LSQ, section 2.2), so that they do not outweigh those of the weights. An
end is learnt as the logarithm of what it is over what calibration found, so that it keeps its sign, a step of an
optimizer is relative, and weight decay leads back to calibration.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

CODES = 255.0  # steps of a range
PACE = 50.0  # a step of an optimizer moves ends and factors relative to themselves, by this times its learning rate
_TINY = torch.finfo(torch.float32).tiny


def affine_parameters(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and zero point, as `arithmetic.affine.affine_range` has them."""
    scale = (high - low) / CODES
    dead = scale < _TINY
    scale = torch.where(dead, 1.0, scale)
    return scale, torch.where(dead, 0.0, torch.clamp(torch.round(-low / scale), 0, CODES))


class _RoundActivation(torch.autograd.Function):
    """`x` as uint8 codes between two learnt ends, and back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: Tensor, high: Tensor) -> Tensor:
        scale, zero = affine_parameters(low, high)
        codes = torch.round(x / scale) + zero
        rounded = (torch.clamp(codes, 0, CODES) - zero) * scale
        ctx.save_for_backward(codes < 0, codes > CODES, (rounded - x) / (scale * CODES))
        return rounded

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        below, above, error = ctx.saved_tensors
        inside = ~(below | above)
        share, pace = gradient * error * inside, (CODES * gradient.numel()) ** -0.5
        low = (gradient * below - share).sum() * pace
        high = (gradient * above + share).sum() * pace
        return gradient * inside, low, high


class _RoundWeight(torch.autograd.Function):
    """A weight as symmetric codes, one scale for each row, and back; see `arithmetic.affine.quantize_symmetric`."""

    @staticmethod
    def forward(_: Any, weight: Tensor, levels: int) -> Tensor:
        scale = weight.abs().amax(dim=-1, keepdim=True) / levels
        scale = torch.where(scale < _TINY, 1.0, scale)
        return torch.clamp(torch.round(weight / scale), -levels, levels) * scale

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return gradient, None


def round_weight(weight: Tensor, levels: int) -> Tensor:
    """The numbers [..., in] that the codes of a weight stand for; the gradient passes."""
    rounded: Tensor = _RoundWeight.apply(weight, levels)
    return rounded


class LearntInput(torch.nn.Module):
    """What some Linears read: a factor for each channel that it is divided by first, and the range of its codes.

    Both are learnt. The weights' rows are multiplied by the factor, so in float it changes nothing; it decides how the
    rounding errors are shared among channels and weights (`arithmetic.smoothquant`, which it starts from).
    """

    start: Tensor
    first: Tensor

    def __init__(self, low: float, high: float, factor: Tensor | None = None) -> None:
        """`low` at most 0, `high` at least 0; `factor` [in]."""
        super().__init__()
        self.register_buffer("start", torch.tensor([low, high]))
        self.register_buffer("first", torch.empty(0) if factor is None else factor)
        self.moved = torch.nn.Parameter(torch.zeros(2))  # logarithms, over `PACE`
        self.shared = torch.nn.Parameter(torch.zeros_like(self.first))

    def ends(self) -> Tensor:
        """The range, [2]."""
        return self.start * torch.exp(PACE * self.moved)

    def factor(self) -> Tensor:
        """What each channel is divided by, [in]; nothing, [0], where none is."""
        return self.first * torch.exp(PACE * self.shared)

    def smoothed(self, x: Tensor) -> Tensor:
        """`x` [..., in] as it is rounded."""
        return x * (1 / self.factor()) if len(self.first) else x

    def forward(self, x: Tensor) -> Tensor:
        """`x` [..., in] as its codes stand for it."""
        low, high = self.ends()
        rounded: Tensor = _RoundActivation.apply(self.smoothed(x), low, high)
        return rounded


class FakeLinear(torch.nn.Linear):
    """A Linear that multiplies what codes of its input and of its weight stand for; `int8` is set on its object."""

    int8: tuple[LearntInput, int]  # a tuple, so that what several Linears share is a module of none of them

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """As a Linear."""
        learnt, levels = self.int8
        weight = self.weight * learnt.factor() if len(learnt.first) else self.weight
        return functional.linear(learnt(input), round_weight(weight, levels), self.bias)


class FakeEmbedding(torch.nn.Embedding):
    """An Embedding whose rows are those that int8 codes stand for."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """As an Embedding."""
        return round_weight(super().forward(input), 127)
