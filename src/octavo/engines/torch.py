"""Runs models in torch: checkpoints in float32 or bf16, artifacts of the format `torch` in int8; on a GPU if asked."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from octavo.checkpoint.config import EXACT_LENGTHS, OFFSET_POSITIONS
from octavo.engines import SPAN, first_line, stack_answers
from octavo.engines.torch_gpu import SHAPES, bucket, pad_to, to_device, warn_of_slow
from octavo.engines.torch_int8 import as_float
from octavo.engines.torch_saved import load_by_transformers, load_saved
from octavo.errors import HardwareError, InputError, MissingExtraError, OctavoError
from octavo.hardware import choose_threads

Precision = Literal["f32", "bf16", "fp8"]
FP8_SINCE = (8, 9)  # compute capability of the first NVIDIA GPUs that multiply fp8 (Ada)


class TorchSession:
    """A torch model. torch's threads are the process's: the last session that was opened sets them.

    `static`: it is compiled for each shape, so that inputs are brought to one of few (`torch_gpu.bucket`).
    """

    streams = 1

    def __init__(
        self,
        model: Any,
        threads: int | None = None,
        *,
        precision: Precision = "f32",
        compiled: bool = False,
        device: str = "cpu",
    ) -> None:
        """Take a model in evaluation mode; `precision` is what its float parts compute in, `compiled` torch.compile.

        Raises:
            HardwareError: there is no such device, or it has no fp8.
        """
        require_device(device)
        self.threads = choose_threads(threads)
        torch.set_num_threads(self.threads)
        modes = [device] * (device != "cpu") + [precision] * (precision != "f32") + ["compile"] * compiled
        self.name = f"torch:{','.join(modes)}" if modes else "torch"
        self.device = device
        if device != "cpu" and not compiled:
            self.streams = 2  # the GPU computes one batch while the CPU launches the next
        self.model = model.to(device=device) if device != "cpu" else model
        if precision == "fp8":
            _make_fp8(self.model, device)
            if not compiled:
                warn_of_slow("fp8")
        elif precision == "bf16":
            self.model = self.model.to(dtype=torch.bfloat16)
        self.static = compiled and device != "cpu"  # a CPU's compiler waits longer for each shape than it gains
        if self.static:  # past eight shapes torch goes on without its compiler, and does not say so
            from torch._dynamo import config as compiler

            compiler.recompile_limit = max(compiler.recompile_limit, SHAPES)
        self._call = torch.compile(self.model, dynamic=not self.static) if compiled else self.model

    def run(self, inputs: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """Run one batch: name -> int64 [batch, length]. Returns the answer; see `engines.answer_names`."""
        try:
            with torch.inference_mode():
                outputs = ask(self.model, to_device(self._in_bucket(inputs), self.device), self._call)
        except (RuntimeError, IndexError, ValueError) as error:
            raise OctavoError("torch could not run the model", got=first_line(error)) from None
        answers = SPAN if all(name in outputs for name in SPAN) else (0,)
        arrays = [outputs[answer] for answer in answers]
        if self.static:
            rows, length = inputs["input_ids"].shape
            arrays = [answer[:rows] for answer in arrays]
            if arrays[0].ndim == 3 or len(answers) > 1:  # an answer of each token
                arrays = [answer[:, :length] for answer in arrays]
        return stack_answers([answer.float().cpu().numpy() for answer in arrays])

    def _in_bucket(self, inputs: dict[str, NDArray[np.int64]]) -> dict[str, NDArray[np.int64]]:
        """The inputs in one of few shapes, where the model is compiled for each."""
        if not self.static:
            return inputs
        config = self.model.config
        longest = getattr(config, "max_position_embeddings", None) or 1 << 30
        padding = getattr(config, "pad_token_id", None)
        if padding is None or getattr(config, "is_encoder_decoder", False):
            return inputs
        rows, length = inputs["input_ids"].shape
        if config.model_type in EXACT_LENGTHS:
            longest = length
        elif config.model_type in OFFSET_POSITIONS:  # the first ones are no tokens'
            longest -= padding + 1
        shape = bucket(rows, length, longest)
        return pad_to(inputs, shape, padding)


def ask(model: Any, inputs: dict[str, Any], call: Any = None) -> Any:
    """The outputs of a model, by `call` where it was compiled.

    A model for multiple choice, [rows, choices, length], is given one choice a row, unless it was made to take that
    already (`source.load_model`).
    """
    if type(model).__name__.endswith("ForMultipleChoice") and "forward" not in vars(model):
        inputs = {name: tensor[:, None] for name, tensor in inputs.items()}
    return (model if call is None else call)(**inputs)  # a compiled module has no truth value


def require_device(device: str) -> None:
    """See that a device is here.

    Raises:
        HardwareError: it is not; the message says what is possible.
    """
    if device == "cpu":
        return
    kind = device.partition(":")[0]
    if kind != "cuda":
        raise InputError("unknown device", got=device, allowed="cpu, cuda")
    if not torch.cuda.is_available():
        built = "is a build for CPUs" if torch.version.cuda is None else "finds no GPU"
        raise HardwareError(
            "there is no CUDA device here",
            got=f"torch {torch.__version__}, which {built}",
            allowed="cpu",
            then="leave the device out: int8 runs on this CPU, in torch (--format torch) or, faster, as ONNX",
        )


def _make_fp8(model: Any, device: str) -> None:
    """Weights and activations of every Linear as fp8, one scale per row, by torchao; in place."""
    here = torch.cuda.get_device_capability() if device != "cpu" else (0, 0)
    if here < FP8_SINCE:
        got = f"compute capability {here[0]}.{here[1]}" if device != "cpu" else "the CPU"
        raise HardwareError("fp8 is not available here", got=got, allowed="NVIDIA GPUs from 8.9 (Ada, Hopper)")
    if find_spec("torchao") is None:
        raise MissingExtraError("torchao makes fp8, and is not installed", then="pip install 'octavo[torchao]'")
    from torchao.quantization import Float8DynamicActivationFloat8WeightConfig, PerRow, quantize_

    model.to(dtype=torch.bfloat16)
    quantize_(model, Float8DynamicActivationFloat8WeightConfig(granularity=PerRow()))


def open_session(
    model: Path,
    threads: int | None = None,
    *,
    precision: Precision = "f32",
    compiled: bool = False,
    device: str = "cpu",
    torchao: bool = False,
) -> TorchSession:
    """A session over an artifact's `model.safetensors`.

    On a GPU its int8 weights are turned into the numbers that they stand for, once, when it is loaded; with `torchao`
    they stay int8 and are multiplied by torchao's kernels.

    Raises:
        InputError: a precision is asked for that int8 layers do not have.
        HardwareError: there is no such device.
    """
    if precision == "fp8":
        raise InputError("the weights are int8", where=model, got="fp8", then="give the float checkpoint")
    require_device(device)
    if device == "cpu" and (precision == "bf16" or torchao):
        what, got = "int8 layers compute in float32 on a CPU", "torchao" if torchao else "bf16"
        raise InputError(what, where=model, got=got, allowed="torch, torch:compile")
    if torchao and precision == "bf16":
        what = "torchao's products of these weights give float32"
        raise InputError(what, where=model, got="torchao,bf16", allowed="torch:bf16, torch:torchao")
    if torchao and not compiled:
        warn_of_slow("torchao")
    if device == "cpu":
        loaded = load_saved(Path(model))
    else:
        loaded = load_by_transformers(Path(model)) if torchao else as_float(load_saved(Path(model)))
    return TorchSession(loaded, threads, precision=precision, compiled=compiled, device=device)
