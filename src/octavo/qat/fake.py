"""Fake quantization in torch: float modules that compute what int8 layers will compute, and learn with it.

The arithmetic is `octavo.arithmetic.affine`'s, number by number: uint8 activations with one scale and zero point for a
tensor, from the ends of a range that holds zero; weights of 8 or 4 bits with one scale for each output channel, int8
rows of a table. Rounding has no slope, so gradients pass straight through it (Bengio et al. 2013, arXiv:1308.3432), but
for numbers outside of their range.

The ends of a range are learnt as LSQ learns a step (Esser et al. 2020, "Learned Step Size Quantization",
arXiv:1902.08153) and LSQ+ an offset with it (Bhalgat et al. 2020, arXiv:2004.09576). With x' the rounded x,

    s = (high - low) / 255
    d x' / d high = (x' - x) / (high - low) inside the range, 1 above it, 0 below it
    d x' / d low  = (x - x') / (high - low) inside the range, 0 above it, 1 below it

all scaled by 1 / sqrt(255 N) for N numbers (LSQ, section 2.2), so that they do not outweigh those of the weights. An
end is learnt as the logarithm of what it is over what calibration found, so that it keeps its sign, a step of an
optimizer is relative, and weight decay leads back to calibration. So are the steps of weights of 4 bits, by LSQ's

    d w' / d s = w' / s - w / s where |w / s| <= 7, and 7 or -7 elsewhere

scaled by 1 / sqrt(7 N) for the N inputs of an output channel.
"""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from octavo.arithmetic.affine import INT8_LEVELS, LEVELS
from octavo.arithmetic.saturation import MOST

CODES = 255.0  # steps of a range
PACE = 5.0  # a step of an optimizer moves an end relative to itself, by this times the learning rate
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
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        below, above, error = ctx.saved_tensors
        inside = ~(below | above)
        share, pace = gradient * error * inside, (CODES * gradient.numel()) ** -0.5
        low = (gradient * below - share).sum() * pace
        high = (gradient * above + share).sum() * pace
        return gradient * inside, low, high


class _RoundStraight(torch.autograd.Function):
    """A weight [out, in] as symmetric codes, a step for each row, and back; see `saturation.quantize_by_steps`."""

    @staticmethod
    def forward(_: Any, weight: Tensor, steps: Tensor, saturates: bool) -> Tensor:
        codes = torch.clamp(torch.round(weight / steps), -INT8_LEVELS, INT8_LEVELS)
        if saturates:
            first, second = codes[..., 0 : weight.shape[-1] // 2 * 2 : 2], codes[..., 1::2]
            low, high = torch.clamp(-first, min=0) - MOST, MOST - torch.clamp(first, min=0)
            codes[..., 1::2] = torch.minimum(torch.maximum(second, low), high)
        return codes * steps

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient, None, None


class _RoundLearnt(torch.autograd.Function):
    """A weight [out, in] as symmetric codes up to `levels`, a learnt step for each row, and back."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, steps: Tensor, levels: int) -> Tensor:
        scaled = weight / steps
        codes = torch.clamp(torch.round(scaled), -levels, levels)
        inside = scaled.abs() <= levels
        ctx.save_for_backward(inside, torch.where(inside, codes - scaled, codes))
        ctx.pace = (levels * weight.shape[-1]) ** -0.5
        return codes * steps

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        inside, slope = ctx.saved_tensors
        return gradient * inside, (gradient * slope).sum(dim=-1, keepdim=True) * ctx.pace, None


def round_rows(rows: Tensor) -> Tensor:
    """The numbers that the int8 codes of rows [..., width] stand for, a scale for each, from its largest magnitude."""
    steps = rows.detach().abs().amax(dim=-1, keepdim=True) / INT8_LEVELS
    rounded: Tensor = _RoundStraight.apply(rows, torch.where(steps < _TINY, 1.0, steps), False)
    return rounded


class WeightSteps(torch.nn.Module):
    """The steps of a Linear's weight, [out, 1], of codes of 8 or 4 bits.

    Those of 8 bits stay where they start: a weight that moves changes its codes. Those of 4 bits are learnt.
    `saturates`: codes of a pair are kept within what every CPU adds up (`arithmetic.saturation`), as 4 bits always are.
    """

    start: Tensor

    def __init__(self, steps: Tensor, *, saturates: bool, bits: Literal[4, 8] = 8) -> None:
        super().__init__()
        self.register_buffer("start", steps)
        self.saturates = saturates
        self.bits: Literal[4, 8] = bits
        self.moved = torch.nn.Parameter(torch.zeros_like(steps)) if bits == 4 else None  # logarithms, over `PACE`

    @property
    def steps(self) -> Tensor:
        """As they are by now."""
        return self.start if self.moved is None else self.start * torch.exp(PACE * self.moved)

    def forward(self, weight: Tensor) -> Tensor:
        """`weight` [out, in] as its codes stand for it."""
        rounded: Tensor
        if self.moved is None:
            rounded = _RoundStraight.apply(weight, self.start, self.saturates)
        else:
            rounded = _RoundLearnt.apply(weight, self.steps, LEVELS[self.bits])
        return rounded


class LearntInput(torch.nn.Module):
    """What some Linears read: a factor for each channel that it is divided by first, and the range of its codes.

    The weights' rows are multiplied by the factor, so that in float it changes nothing (`arithmetic.smoothquant`).
    """

    start: Tensor
    factor: Tensor
    inverse: Tensor

    def __init__(self, low: float, high: float, factor: Tensor | None = None) -> None:
        """`low` at most 0, `high` at least 0; `factor` [in]."""
        super().__init__()
        self.moved = torch.nn.Parameter(torch.zeros(2))  # logarithms, over `PACE`
        self.register_buffer("start", torch.tensor([low, high]))
        self.register_buffer("factor", torch.empty(0) if factor is None else factor)
        self.register_buffer("inverse", 1 / self.factor)

    def ends(self) -> Tensor:
        """The range, [2]."""
        return self.start * torch.exp(PACE * self.moved)

    def smoothed(self, x: Tensor) -> Tensor:
        """`x` [..., in] as it is rounded."""
        return x * self.inverse if len(self.factor) else x

    def forward(self, x: Tensor) -> Tensor:
        """`x` [..., in] as its codes stand for it."""
        low, high = self.ends()
        rounded: Tensor = _RoundActivation.apply(self.smoothed(x), low, high)
        return rounded


class FakeLinear(torch.nn.Linear):
    """A Linear that multiplies what codes of its input and of its weight stand for; `int8` is set on its object."""

    int8: tuple[LearntInput, WeightSteps]  # a tuple, so that what several Linears share is a module of none of them

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """As a Linear."""
        learnt, steps = self.int8
        weight = self.weight * learnt.factor if len(learnt.factor) else self.weight
        return functional.linear(learnt(input), steps(weight), self.bias)


class FakeEmbedding(torch.nn.Embedding):
    """An Embedding whose rows are those that int8 codes stand for."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """As an Embedding."""
        return round_rows(super().forward(input))
