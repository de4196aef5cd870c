"""The proof that a graph of int8 layers computes what the fake-quantized model computes.

Rounding is no smooth function: where a number lies in the middle between two codes, the last bit of a float decides
which it gets, and the next layers carry that on. The same fake-quantized model asked in float32 and in float64 answers
with differences of a tenth to a third of all that int8 costs. So both are asked with the same tosses: where what a
layer reads in torch is within `TOSS_UP` of a step of the middle, it gets the code that it has in the graph. Then they
agree to a thousandth of the logits' range, or the graph is another function.

What the trained model itself answered when it was saved stands in the probe. That run tossed otherwise; its answers
may be as far from the graph's as the float model's are from int8 ones, in the mean.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from octavo.artifact.selftest import flat
from octavo.encoding.batching import Inputs
from octavo.engines import answer_names, stack_answers
from octavo.engines.onnxruntime import open_graph
from octavo.engines.torch import TorchSession
from octavo.errors import ExportError
from octavo.qat.fake import CODES, FakeLinear, LearntInput, affine_parameters
from octavo.qat.model import LearntRanges, convert, put_fakes
from octavo.schema.ranges import Ranges

TOSS_UP = 0.01  # of a step
ALLOWED = 1e-3  # of the range of the model's answers


def require_agreement(model: Any, graph: ir.Model, ranges: Ranges) -> float:
    """The largest difference of the graph's answers to the probe from torch's, over their range.

    `model` is the checkpoint's in float, which is asked too and stays as it is; `graph` one that runs here.

    Raises:
        ExportError: it is more than a thousandth, or the graph is farther from the trained one than int8 from float.
    """
    inputs = {name: np.array(rows, np.int64) for name, rows in ranges.probe.inputs.items()}
    floats = flat(TorchSession(model).run(inputs), inputs)
    answers, codes = _run_graph(graph, inputs)
    put_fakes(model, LearntRanges.of(ranges))
    try:
        with _following(model, codes):
            expected = flat(TorchSession(model).run(inputs), inputs)
    finally:
        convert(model)
    answered, trained = flat(answers, inputs), np.array(ranges.probe.outputs, np.float32)
    if answered.shape != expected.shape or trained.shape != expected.shape:
        raise ExportError("the int8 graph answers in another shape than the trained model", got=answered.shape)
    span = float(np.ptp(expected))
    difference = float(np.max(np.abs(answered - expected)))
    if not difference <= ALLOWED * span:
        raise ExportError(
            "the int8 graph does not compute what the model did in training",
            got=f"a difference of {difference / max(span, 1e-30):.2g} of the answers' range",
            allowed=ALLOWED,
            then="take the method static with --calibrate FILE",
        )
    moved, noise = (float(np.sqrt(np.mean(np.square(gap)))) for gap in (answered - trained, expected - floats))
    if not moved <= max(noise, ALLOWED * span):
        raise ExportError(
            "the int8 graph does not answer as the trained model did: other weights or settings",
            got=f"a mean distance of {moved:.2g}",
            allowed=f"{noise:.2g}, that of int8 from float",
        )
    return difference / max(span, 1e-30)


def _run_graph(graph: ir.Model, inputs: Inputs) -> tuple[NDArray[np.float32], dict[str, list[NDArray[np.uint8]]]]:
    """The graph's answers, and the codes that each Linear reads at each of its call sites, by module path."""
    sites = list(_sites(graph))
    names = answer_names([str(value.name) for value in graph.graph.outputs])
    watched = graph.clone(deep_copy=False)
    values = {str(value.name): value for node in watched.graph for value in node.outputs}
    codes = list(dict.fromkeys(name for _, name in sites))
    for name in codes:
        values[name].type = ir.TensorType(ir.DataType.UINT8)
        watched.graph.outputs.append(values[name])
    fetched = open_graph(watched).fetch(inputs, [*names, *codes])
    arrays = dict(zip(codes, fetched[len(names) :], strict=True))
    by_path = defaultdict(list)
    for path, name in sites:
        by_path[path].append(arrays[name].view(np.uint8))
    return stack_answers(fetched[: len(names)]), by_path


def _sites(graph: ir.Model) -> Iterator[tuple[str, str]]:
    """The module path of each int8 Linear and the name of the codes that it reads, in the order of the graph."""
    for node in graph.graph:
        makers = [value.producer() if value is not None else None for value in node.inputs[:2]]
        if node.op_type == "MatMul" and makers[0] is not None and makers[0].op_type == "DequantizeLinear":
            path = str(node.name).rpartition("/")[0]
            stem, brace, last = path.partition("{")
            codes = makers[0].inputs[0]
            assert codes is not None
            for name in last.rstrip("}").split(",") if brace else [""]:
                yield f"{stem}{name}", str(codes.name)


def _following(model: Any, codes: Mapping[str, Sequence[NDArray[np.uint8]]]) -> ExitStack:
    """Let every Linear take the graph's code where its own is a toss-up."""
    turn: dict[LearntInput, torch.Tensor] = {}  # the codes of the Linear that runs

    def before(left: list[NDArray[np.uint8]], module: Any, *_: Any) -> None:
        turn[module.int8[0]] = torch.from_numpy(left.pop(0)).float() if left else torch.empty(0)

    def after(learnt: Any, inputs: tuple[torch.Tensor], _: torch.Tensor) -> torch.Tensor:
        return _tossed(learnt, inputs[0], turn[learnt])

    stack = ExitStack()
    for path, module in model.named_modules():
        if isinstance(module, FakeLinear):
            left = list(codes.get(path, ()))
            stack.enter_context(module.register_forward_pre_hook(partial(before, left)))
        elif isinstance(module, LearntInput):
            stack.enter_context(module.register_forward_hook(after))
    return stack


def _tossed(learnt: LearntInput, x: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """`x` as codes stand for it: the graph's where `x` lies between that code and its own, in the middle."""
    scale, zero = affine_parameters(*learnt.ends())
    steps = learnt.smoothed(x) / scale + zero
    own = torch.clamp(torch.round(steps), 0, CODES)
    if codes.shape != own.shape:
        return (own - zero) * scale
    middle = (own + codes) / 2
    tossed = ((own - codes).abs() == 1) & ((steps - middle).abs() <= TOSS_UP)
    return (torch.where(tossed, codes, own) - zero) * scale
