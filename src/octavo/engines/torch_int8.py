"""Int8 layers of a torch model, and the kernels that multiply them: everything that knows torch's int8 is here.

torch has two families of packed int8 kernels on CPUs: those behind `torch.ao.quantization` (deprecated, and the fast
ones without `torch.compile`), and oneDNN's. Both take a weight that was packed once. They are looked for when a layer
first runs, and nothing of them is ever saved: a file holds codes and scales.
"""

import copy
import threading
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor

from octavo.errors import OctavoWarning
from octavo.hardware import this_cpu

Activation = Literal["token", "tensor", "tensor-7bit"]
LARGEST_CODE = 127
ROWS_AT_ONCE = 1024
CHANNELS_AT_ONCE = 512
ZERO_POINT = 128  # of a token's codes: unsigned ones, as the kernels want them, of numbers of both signs
Product = Callable[[Tensor], Tensor]
_PACKING = threading.Lock()  # torch's choice of an engine is the process's


class Int8Linear(torch.nn.Module):
    """y = x W^T + b with int8 weights: a symmetric scale for each output channel.

    `codes` int8 [out, in], `scale` float32 [out], `bias` float32 [out] or None. `activation` says what shares one
    scale of the input: a token, or all that the layer reads at once (`tensor`, or with half of the codes, as
    `torch.ao.quantization` does it, `tensor-7bit`); None leaves the input as it is (weight-only).
    """

    def __init__(self, codes: Tensor, scale: Tensor, bias: Tensor | None, activation: Activation | None) -> None:
        super().__init__()
        self.out_features, self.in_features = codes.shape
        self.activation = activation
        self.exact = False
        self.register_buffer("codes", codes)
        self.register_buffer("scale", scale)
        self.register_buffer("bias", bias)
        self._product: Product | None = None

    @property
    def weight(self) -> Tensor:
        """The weight that the codes stand for, [out, in], made anew: for code that multiplies by it itself."""
        return self.codes.to(self.scale.dtype) * self.scale[:, None]

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out], in the type of x; the product is one of float32 numbers and codes."""
        rows = x.reshape(-1, self.in_features).float()
        return self.pack()(rows).to(x.dtype).reshape(*x.shape[:-1], self.out_features)

    def pack(self) -> Product:
        """The product with the packed weight, packed by the first call."""
        if self._product is None:
            with _PACKING:
                self._product = self._packed()
        return self._product

    def extra_repr(self) -> str:
        """What torch prints of it."""
        return f"in_features={self.in_features}, out_features={self.out_features}, activation={self.activation}"

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Moved or cast: what was packed is packed anew."""
        self._product = None
        return super()._apply(fn, recurse)

    def __getstate__(self) -> dict[str, Any]:
        """All but what was packed, which no file and no copy can hold."""
        return {**self.__dict__, "_product": None}

    def _packed(self) -> Product:
        scale, bias = self.scale.float(), None if self.bias is None else self.bias.float()
        if self.activation is None:
            return weight_only_product(self.codes, scale, bias)
        if self.activation == "token":
            return token_product(self.codes, scale, bias, exact=self.exact)
        reduced = self.activation == "tensor-7bit"
        return tensor_product(self.codes, scale, bias, reduced=reduced, exact=self.exact)


class Int8Embedding(torch.nn.Module):
    """Rows of int8 codes [rows, width], a symmetric scale for each row, float32 [rows]."""

    def __init__(self, codes: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = codes.shape
        self.register_buffer("codes", codes)
        self.register_buffer("scale", scale)

    weight = Int8Linear.weight  # [rows, width]

    def forward(self, ids: Tensor) -> Tensor:
        """[...] of row numbers -> [..., width]."""
        codes, scale = torch.nn.functional.embedding(ids, self.codes), self.scale[ids]
        return codes.to(scale.dtype) * scale.unsqueeze(-1)

    def extra_repr(self) -> str:
        """What torch prints of it."""
        return f"{self.num_embeddings}, {self.embedding_dim}"


def quantize_tokens(x: Tensor) -> tuple[Tensor, Tensor]:
    """Codes uint8 [rows, in] around the zero point 128, and the scale of each row, [rows, 1]: max|x| / 127."""
    scale = (x.abs().amax(dim=1, keepdim=True) / LARGEST_CODE).clamp_min_(torch.finfo(torch.float32).tiny)
    return (x / scale).add_(ZERO_POINT + 0.5).to(torch.uint8), scale  # cut off: rounded, halves up


def token_product(weight: Tensor, scale: Tensor, bias: Tensor | None, *, exact: bool = False) -> Product:
    """Rows [n, in] -> [n, out], each with a scale of its own: what a row gives does not depend on the others.

    oneDNN's product knows one scale for all rows. It gets 1, and each row's is multiplied behind it. A few rows at a
    time, so that what is between the steps stays in the cache: 1.5 times as fast at 4,096 rows as all at once.
    """
    multiply = _exact_multiply(weight, scale) if exact or not has_onednn() else _onednn_multiply(weight, scale)
    shift = torch.zeros_like(scale) if bias is None else bias

    def product(x: Tensor) -> Tensor:
        y = x.new_empty(len(x), len(scale))
        for start in range(0, len(x), ROWS_AT_ONCE):
            codes, own = quantize_tokens(x[start : start + ROWS_AT_ONCE])
            torch.addcmul(shift, multiply(codes, ZERO_POINT), own, out=y[start : start + ROWS_AT_ONCE])
        return y

    return product


def tensor_product(
    weight: Tensor, scale: Tensor, bias: Tensor | None, *, reduced: bool = False, exact: bool = False
) -> Product:
    """Rows [n, in] -> [n, out] with one scale and zero point for all, between their extremes, in one packed kernel.

    `reduced`: with codes of 7 bits, as `torch.ao.nn.quantized.dynamic.Linear` calls it.
    """
    engine = torch.backends.quantized.engine
    unreduced = reduced and engine == "qnnpack"  # which has codes of 8 bits only, and says so
    if exact or unreduced or not packed_engines():
        return _tensor_in_steps(_exact_multiply(weight, scale), bias, 127 if reduced else 255)
    with warnings.catch_warnings():
        # torch means to drop tensors of quantized types; its packed kernels take no other kind yet:
        # https://github.com/pytorch/pytorch/issues/184982
        warnings.simplefilter("ignore")
        codes = torch._make_per_channel_quantized_tensor(  # noqa: SLF001 - the way without quantizing again
            weight, scale.double(), torch.zeros(len(scale), dtype=torch.int64), 0
        )
        try:
            if not reduced:  # that one is to be torch.ao's own, to the last bit
                torch.backends.quantized.engine = packed_engines()[0]
            packed = torch.ops.quantized.linear_prepack(codes, bias)
        finally:
            torch.backends.quantized.engine = engine
    return lambda x: torch.ops.quantized.linear_dynamic(x, packed, reduced)


def weight_only_product(weight: Tensor, scale: Tensor, bias: Tensor | None) -> Product:
    """Rows [n, in] -> [n, out] in float, a few output channels at a time: their floats stay in the cache."""

    def product(x: Tensor) -> Tensor:
        y = x.new_empty(len(x), len(scale))
        for start in range(0, len(scale), CHANNELS_AT_ONCE):
            part = slice(start, start + CHANNELS_AT_ONCE)
            floats = weight[part].to(x.dtype) * scale[part, None]
            y[:, part] = torch.nn.functional.linear(x, floats, None if bias is None else bias[part])
        return y

    return product


def _onednn_multiply(weight: Tensor, scale: Tensor) -> Callable[[Tensor, int], Tensor]:
    """(codes - zero point) W^T times the channels' scales, by oneDNN."""
    packed = torch.ops.onednn.qlinear_prepack(weight, None)
    zeros = torch.zeros(len(scale), dtype=torch.int64)

    def multiply(codes: Tensor, zero_point: int) -> Tensor:
        return torch.ops.onednn.qlinear_pointwise(
            codes, 1.0, zero_point, packed, scale, zeros, None, 1.0, 0, torch.float32, "none", [], ""
        )

    return multiply


def _exact_multiply(weight: Tensor, scale: Tensor) -> Callable[[Tensor, int], Tensor]:
    """The same by products of float64, which are exact, on any CPU, and slow."""
    floats = weight.t().double()
    return lambda codes, zero_point: (((codes.double() - zero_point) @ floats) * scale).float()


def _tensor_in_steps(multiply: Callable[[Tensor, int], Tensor], bias: Tensor | None, codes: int) -> Product:
    """One scale for all rows, as `quantized::linear_dynamic` chooses it: (max - min) / codes, zero within."""

    def product(x: Tensor) -> Tensor:
        low, high = min(0.0, float(x.min())), max(0.0, float(x.max()))
        scale = (high - low) / codes or 1.0
        zero_point = round(-low / scale)
        quantized = torch.round(x / scale).add_(zero_point).clamp_(0, codes).to(torch.uint8)
        y = multiply(quantized, zero_point) * scale
        return y if bias is None else y + bias

    return product


@cache
def packed_engines() -> tuple[str, ...]:
    """Torch's engines of packed int8 kernels here, the fastest first; none, with a warning, where it was built without.

    oneDNN's is the faster one where the CPU has VNNI (768 x 3072: 37 ms against 61 of torch's own choice); elsewhere
    torch chooses.
    """
    vnni = this_cpu().features & {"avx512_vnni", "avx_vnni"}
    order = ("onednn", "x86", "fbgemm", "qnnpack") if vnni else ("x86", "fbgemm", "qnnpack", "onednn")
    engines = tuple(name for name in order if name in _engines())
    if not engines:
        _warn_of_slow_products()
    return engines


@cache
def has_onednn() -> bool:
    """Whether torch has oneDNN's int8 product; warns where it has not."""
    available = bool(torch.backends.mkldnn.is_available() and "onednn" in _engines())
    if not available:
        _warn_of_slow_products()
    return available


def _engines() -> tuple[str, ...]:
    return tuple(name for name in torch.backends.quantized.supported_engines if name != "none")


def _warn_of_slow_products() -> None:
    warnings.warn(
        f"this build of torch has no int8 kernels for this CPU ({', '.join(_engines()) or 'none'}), so products go "
        "through float64: the same answers, slowly; the format onnx is the fast one here (octavo quantize --format "
        "onnx)",
        OctavoWarning,
        stacklevel=2,
    )


def use_exact_products(model: torch.nn.Module) -> None:
    """Let int8 layers multiply by the slow kernels that cannot saturate, in place: to know what another CPU answers."""
    for module in model.modules():
        if isinstance(module, Int8Linear):
            module.exact, module._product = True, None  # noqa: SLF001 - its own module


def pack_layers(model: torch.nn.Module) -> torch.nn.Module:
    """Pack all weights now instead of in the first call, in place."""
    for module in model.modules():
        if isinstance(module, Int8Linear):
            module.pack()
    return model


def as_float(model: torch.nn.Module) -> torch.nn.Module:
    """A copy of a model whose int8 layers are float ones with the weights that the codes stand for."""
    copied = copy.deepcopy(model)
    for path, module in list(copied.named_modules()):
        if isinstance(module, Int8Linear):
            linear = torch.nn.Linear(module.in_features, module.out_features, bias=module.bias is not None)
            linear.weight = torch.nn.Parameter(module.weight, requires_grad=False)
            if module.bias is not None:
                linear.bias = torch.nn.Parameter(module.bias, requires_grad=False)
            copied.set_submodule(path, linear)
        elif isinstance(module, Int8Embedding):
            copied.set_submodule(path, torch.nn.Embedding(*module.codes.shape, _weight=module.weight))
    return copied
