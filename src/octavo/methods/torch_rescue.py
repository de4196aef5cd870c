"""The state of a model that PyTorch's `quantize_dynamic` made, saved by `torch.save(model.state_dict(), ...)`.

Its float weights are gone. Its int8 weights are all there, as `_packed_params`, and give the same model again; from
this folder `from_pretrained` makes a model with random numbers in every Linear.
"""

from typing import Any

import torch

from octavo.checkpoint.model import class_name, find_unread
from octavo.checkpoint.source import Source
from octavo.checkpoint.weights import load_state
from octavo.engines.torch_int8 import Int8Linear
from octavo.engines.torch_saved import empty_model, fill
from octavo.errors import CheckpointError, raise_together
from octavo.methods.layer_results import ModuleLayer, float_result, layer_result
from octavo.methods.torch_modules import Modules, find_modules
from octavo.schema.layers import LayerResult

_LINEAR = "._packed_params._packed_params"  # -> (weight, bias)
_EMBEDDING = "._packed_params._packed_weight"
_OF_ACTIVATIONS = (".scale", ".zero_point")  # of quantized modules: those of dynamic ones are not used
_ACTIVATION = "tensor-7bit"  # as torch.ao.nn.quantized.dynamic.Linear calls its kernel: reduce_range=True


def rescue_modules(source: Source) -> Modules:
    """Build the quantized model from what is stored.

    Raises:
        CheckpointError: weights are missing, or of a kind that torch's dynamic int8 does not make.
    """
    stored: dict[str, Any] = {}
    for file in source.weights.files:
        stored |= load_state(file)
    tensors: dict[str, torch.Tensor] = {}
    activations: dict[str, str] = {}
    floats: set[str] = set()
    for name, value in stored.items():
        if name.endswith(_LINEAR):
            path = name.removesuffix(_LINEAR)
            weight, bias = value
            codes, scale = _codes(weight, path, source)
            tensors |= {f"{path}._weight_qdata": codes, f"{path}._weight_scale": scale[:, None]}
            tensors |= {} if bias is None else {f"{path}.bias": bias.detach()}
            activations[path] = _ACTIVATION
        elif name.endswith(_EMBEDDING):  # unsigned rows with zero points between the codes: kept as real numbers
            path = name.removesuffix(_EMBEDDING)
            tensors[f"{path}.weight"] = _rows(value)
            floats.add(path)
        elif isinstance(value, torch.Tensor) and "_packed_params" not in name:
            tensors[name] = value
    model = empty_model(source.folder, class_name(source))
    layers = find_modules(model)
    known = _known(model, tensors, activations)
    others = [name for name in tensors if name not in known and not name.endswith(_OF_ACTIVATIONS)]
    raise_together(find_unread(model, others, source))
    try:
        fill(model, known, {"activations": activations, "shared": {}, "without": []}).eval()
    except (KeyError, RuntimeError, AttributeError, ValueError) as error:
        raise CheckpointError(
            "not all weights of the quantized model are there",
            where=source.folder,
            got=error,
            then="give the float checkpoint that was quantized",
        ) from None
    return Modules(model, tuple(_result(model, layer, floats) for layer in layers), exact_u8s8=False)


def _codes(weight: torch.Tensor, path: str, source: Source) -> tuple[torch.Tensor, torch.Tensor]:
    """The codes [out, in] of a packed weight, and a scale for each output channel: all the same where it had one."""
    if not getattr(weight, "is_quantized", False) or weight.dtype != torch.qint8:
        got = str(getattr(weight, "dtype", type(weight).__name__))
        raise CheckpointError(
            "packed parameters that are not int8", where=f"{source.weights.files[0]}: {path}", got=got, allowed="qint8"
        )
    if weight.qscheme() in {torch.per_channel_affine, torch.per_channel_symmetric}:
        scale, zero = weight.q_per_channel_scales(), weight.q_per_channel_zero_points()
    else:
        scale, zero = torch.full((len(weight),), weight.q_scale()), torch.tensor(weight.q_zero_point())
    if bool((zero != 0).any()):
        raise CheckpointError("a weight with a zero point", where=path, got=zero.tolist(), allowed="0")
    return weight.int_repr(), scale.float()


def _rows(weight: torch.Tensor) -> torch.Tensor:
    """The numbers that rows of unsigned codes mean to torch's kernel: scale q + b with b = -(zero point x scale)."""
    scale, zero = weight.q_per_channel_scales().float(), weight.q_per_channel_zero_points().float()
    start = -(zero * scale)
    codes = weight.int_repr().double()  # a product of float64, rounded once, is the fused one of float32
    return (codes * scale.double()[:, None] + start.double()[:, None]).float()


def _known(
    model: torch.nn.Module, tensors: dict[str, torch.Tensor], activations: dict[str, str]
) -> dict[str, torch.Tensor]:
    """The tensors that the model has a place for: not the output scales of quantized modules, nor old position ids."""
    places = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    places |= {name for name, _ in model.named_buffers()}
    places |= {f"{path}.{name}" for path in activations for name in ("_weight_qdata", "_weight_scale", "bias")}
    return {name: tensor for name, tensor in tensors.items() if name in places}


def _result(model: torch.nn.Module, layer: ModuleLayer, floats: set[str]) -> LayerResult:
    if not isinstance(model.get_submodule(layer.path), Int8Linear):
        why = "its rows had zero points between the codes" if layer.path in floats else "PyTorch had left it float"
        return float_result(layer, why)
    size, reason = layer.parameters + 4 * layer.matrix().shape[1], "rescued from PyTorch's packed parameters"
    return layer_result(layer, "int8", reason, size, weight_bits=8, activation=_ACTIVATION)
