"""What transformers' exporter makes, or why it fails, kept on disk: once a model, for all tests, workers and runs.

A key holds all that decides it: the model's class, modules, config and weights, what a task put in the place of its
`forward`, the sample, the shapes, the opset, the versions of what exports, and the source of what Octavo does between
its two halves. What Octavo does to a graph then, and its proof, are done anew each time. A test that puts a function of
its own in the exporter's place is not served from here.
"""

import contextlib
import hashlib
import inspect
import os
from functools import cache
from importlib.metadata import version
from types import SimpleNamespace

import onnx_ir as ir
import torch
from torch._dynamo import config as dynamo
from torch.export import decomp_utils, exported_program
from torch.onnx._internal.exporter._registration import ONNXRegistry
from torch.utils import _pytree as pytree
from transformers.exporters.exporter_onnx import OnnxExporter

from octavo.exporting import unread_nodes
from octavo.schema import Record

PACKAGES = ("torch", "transformers", "onnx-ir", "onnxscript", "numpy")
REAL = OnnxExporter.export
_torchlib = cache(ONNXRegistry.from_torchlib)
_composites = cache(exported_program._collect_all_valid_cia_ops)


def registry_of(**opset):
    """What torch builds anew for each export: how its operators are written in an opset. An export may add its own."""
    known, copy = _torchlib(**opset), ONNXRegistry()
    copy._opset_version = known.opset_version
    copy.functions = {name: [*ways] for name, ways in known.functions.items()}
    return copy


def trace_quickly(patch):
    """Let torch keep what it finds out anew in each export, and in a context not keep what it hardly meets again."""
    for module in (decomp_utils, exported_program):
        patch.setattr(module, "_collect_all_valid_cia_ops", lambda: set(_composites()))
    patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(registry_of))
    # Of one or two layers little is traced again, and keeping it takes a fifth of the time; of eight it pays.
    return dynamo.patch(fake_tensor_cache_enabled=False)


def key_of(model, sample, config):
    """Of one export, in hexadecimal digits."""
    digest = hashlib.sha256(" ".join(version(name) for name in PACKAGES).encode())
    digest.update(inspect.getsource(unread_nodes).encode())
    attention = getattr(model.config, "_attn_implementation", None)
    settings = {name: value for name, value in model.config.to_dict().items() if name != "_name_or_path"}
    told = (type(model).__name__, str(model), settings, attention, model.training, vars(config))
    digest.update(repr(told).encode())
    if own := vars(model).get("forward"):
        read = [cell.cell_contents for cell in own.__closure__ or () if isinstance(cell.cell_contents, Record)]
        digest.update(f"{inspect.getsource(own)} {read!r}".encode())
    leaves, shape = pytree.tree_flatten(sample)
    digest.update(str(shape).encode())
    for name, tensor in (*model.state_dict().items(), *model.named_buffers(), *enumerate(leaves)):
        digest.update(str(name).encode())
        if isinstance(tensor, torch.Tensor):
            digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().contiguous().flatten().view(torch.uint8).numpy())
        else:
            digest.update(repr(tensor).encode())
    return digest.hexdigest()


def cached_in(folder):
    """A function that takes the place of `OnnxExporter.export`, and looks into a folder first."""

    def export(self, model, sample, config):
        key = key_of(model, sample, config)
        if (folder / f"{key}.txt").exists():
            kind, _, reason = (folder / f"{key}.txt").read_text(encoding="utf-8").partition("\n")
            raise (torch.onnx.OnnxExporterError if kind == "OnnxExporterError" else RuntimeError)(reason)
        if not (folder / f"{key}.onnx").exists():
            try:
                program = REAL(self, model, sample, config).program
            except Exception as error:
                kind = "OnnxExporterError" if isinstance(error, torch.onnx.OnnxExporterError) else "RuntimeError"
                reason = f"{kind}\n{error}"
                keep(f"{key}.txt", lambda file: file.write_text(reason, encoding="utf-8"))
                raise
            keep(f"{key}.onnx", lambda file: ir.save(program, file, format="protobuf"))
            return SimpleNamespace(program=program)
        return SimpleNamespace(program=ir.load(folder / f"{key}.onnx", format="protobuf"))

    def keep(name, write):
        aside = folder / f"{name}.{os.getpid()}"
        write(aside)
        with contextlib.suppress(OSError):  # another worker was faster
            aside.rename(folder / name)

    return export
