"""A torch model with int8 layers as a folder: `model.safetensors` and `config.json`, as transformers reads it.

A weight W of int8 is stored as torchao's `Int8Tensor` is: its codes as `_W_qdata` [out, in], its scales as `_W_scale`
[out, 1], and what they mean in the file's own metadata. So `AutoModelFor...from_pretrained` opens the folder where
torchao is installed; Octavo itself needs no torchao. No float copy of a quantized weight is stored.
"""

import json
import re
from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch.nn import Module, Parameter

from octavo.checkpoint.config import load_config
from octavo.checkpoint.libraries import require_torch, silent_transformers
from octavo.checkpoint.model import ENCODERS
from octavo.engines.torch_int8 import Activation, Int8Embedding, Int8Linear, pack_layers
from octavo.errors import ArtifactError, InputError, MissingExtraError
from octavo.tasks import TASKS, task_class

WEIGHTS = "model.safetensors"
OPTIONAL = ("pooler",)  # modules that a model may have been saved without
OWN = "octavo"  # the key of what torchao's metadata does not have
_PER_ROW = {"_type": "PerRow", "_data": {"dim": -1}}
_SYMMETRIC = {"_type": "MappingType", "_data": "SYMMETRIC"}
_DYNAMIC = {
    "_type": "QuantizeTensorToInt8Kwargs",
    "_data": {"granularity": _PER_ROW, "mapping_type": _SYMMETRIC, "reduce_range": False},
}


def save_model(model: Module, folder: Path, auto_class: str) -> None:
    """Write `model.safetensors`; `auto_class` of transformers is what makes the model of its config.

    A weight that several modules share is stored once, under the first one's name.
    """
    from safetensors.torch import save_file

    tensors: dict[str, torch.Tensor] = {}
    records: dict[str, dict[str, Any]] = {}
    activations: dict[str, Activation | None] = {}
    stored: dict[int, str] = {}
    shared: dict[str, str] = {}
    for path, module in model.named_modules():
        if not isinstance(module, Int8Linear | Int8Embedding):
            continue
        activations[path] = module.activation if isinstance(module, Int8Linear) else None
        first = stored.setdefault(module.codes.data_ptr(), path)
        if first != path:
            shared[path] = first
            continue
        tensors[f"{path}._weight_qdata"] = module.codes
        tensors[f"{path}._weight_scale"] = module.scale[:, None]
        records[f"{path}.weight"] = {
            "_type": "Int8Tensor",
            "_data": {
                "act_quant_kwargs": _DYNAMIC if activations[path] else None,
                "reduce_range": False,
                "block_size": [1, module.codes.shape[1]],
                "dtype": {"_type": "torch.dtype", "_data": "float32"},
            },
            "_tensor_data_names": ["qdata", "scale"],
        }
    inside = {f"{path}.{name}" for path in activations for name in ("codes", "scale")}
    for name, tensor in model.state_dict().items():
        if name in inside:
            continue
        first = stored.setdefault(tensor.data_ptr(), name)
        if first != name:
            shared[name] = first
            continue
        tensors[name] = tensor
        records[name] = {"_type": "Tensor"}
    without = [name for name in OPTIONAL if getattr(model, name, ...) is None]
    own = {"class": auto_class, "activations": activations, "shared": shared, "without": without}
    metadata = {name: json.dumps(record) for name, record in records.items()}
    metadata |= {"tensor_names": json.dumps(list(records)), "format": "pt", OWN: json.dumps(own)}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / WEIGHTS, metadata)
    _sort_header(folder / WEIGHTS)
    (folder / WEIGHTS).chmod(folder.stat().st_mode & 0o666)  # safetensors writes files that only their owner can read


def _sort_header(file: Path) -> None:
    """Write the header's metadata in the order of its names: safetensors writes it in another order each time.

    8 bytes of length, then JSON, padded with spaces (huggingface.co/docs/safetensors).
    """
    with file.open("r+b") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(length)
        assert len(text) == length
        stream.seek(8)
        stream.write(text)


def quantization_config(model: Module) -> dict[str, Any]:
    """What `config.json` says to transformers of the int8 layers: torchao's settings by the names of parameters."""
    layers = {path: layer for path, layer in model.named_modules() if isinstance(layer, Int8Linear | Int8Embedding)}
    multiplied = [path for path, layer in layers.items() if getattr(layer, "activation", None)]
    read = [path for path in layers if path not in set(multiplied)]
    granularity = _PER_ROW | {"_version": 1}
    dynamic = {"granularity": granularity, "act_mapping_type": _SYMMETRIC, "weight_only_decode": False}
    settings = {
        _pattern(multiplied): {
            "_type": "Int8DynamicActivationInt8WeightConfig",
            "_version": 2,
            "_data": dynamic | {"set_inductor_config": True, "reduce_range": False},
        },
        _pattern(read): {
            "_type": "Int8WeightOnlyConfig",
            "_version": 2,
            "_data": {"group_size": None, "granularity": granularity, "set_inductor_config": True},
        },
    }
    by_name = {"fqn_to_config": {pattern: setting for pattern, setting in settings.items() if pattern}}
    return {
        "quant_method": "torchao",
        "quant_type": {"default": {"_type": "FqnToConfig", "_version": 1, "_data": by_name}},
        "include_input_output_embeddings": True,
        "modules_to_not_convert": None,
    }


def _pattern(paths: list[str]) -> str:
    """A regular expression of exactly these modules' weights."""
    return f"re:^({'|'.join(re.escape(path) for path in paths)})\\.weight$" if paths else ""


def read_metadata(file: Path) -> dict[str, Any]:
    """What `save_model` wrote beside the tensors.

    Raises:
        ArtifactError: it is not such a file.
    """
    from safetensors import safe_open

    try:
        with safe_open(file, framework="pt") as opened:
            return dict(json.loads((opened.metadata() or {})[OWN]))
    except Exception as error:  # safetensors has an exception of its own
        raise ArtifactError("these are not weights that Octavo wrote", where=file, got=error) from None


def load_saved(file: Path) -> Module:
    """The model of an artifact's `model.safetensors`, in evaluation mode; exactly the one that was saved.

    Raises:
        ArtifactError: the file is damaged, or does not belong to the config beside it.
    """
    from safetensors.torch import load_file

    metadata = read_metadata(file)
    try:
        model = fill(empty_model(file.parent, metadata["class"]), load_file(file), metadata).eval()
    except (KeyError, RuntimeError, AttributeError, TypeError, ValueError, OSError) as error:
        got = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise ArtifactError("the weights do not belong to the config", where=file, got=got) from None
    model.save_pretrained = partial(_save_again, model, auto_class=metadata["class"])
    return pack_layers(model)


def _save_again(model: Any, folder: str | Path, *, auto_class: str, **settings: Any) -> None:
    """Write `model.safetensors` and `config.json` as they were: the method of transformers knows no int8 layers.

    Raises:
        InputError: settings of that method, or a model that was cast.
    """
    cast = {str(value.dtype) for value in model.state_dict().values() if value.is_floating_point()} - {"torch.float32"}
    if cast or settings:
        got = ", ".join([*sorted(cast), *settings])
        raise InputError("an int8 model is saved as it was loaded", got=got, allowed="save_pretrained(folder)")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_model(model, folder, auto_class)
    config = model.config.to_diff_dict() | {"quantization_config": quantization_config(model), "dtype": "float32"}
    (folder / "config.json").write_text(json.dumps(config, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def empty_model(folder: Path, auto_class: str) -> Module:
    """The float model of a folder's config, its weights not set; no code of the folder runs.

    Raises:
        ValueError: a class that no task has, or a config that transformers does not know.
        OSError: there is no config, or none that can be read.
    """
    _, transformers = require_torch()
    if auto_class not in {task_class(name).auto_class for name in TASKS} and not auto_class.endswith(ENCODERS):
        raise ValueError(f"no class {auto_class!r}")
    with silent_transformers(transformers):
        from transformers.initialization import no_init_weights

        config = load_config(folder)
        vars(config).pop("quantization_config", None)
        config.dtype = torch.float32
        if hasattr(config, "use_cache"):
            config.use_cache = False
        loader = getattr(transformers, auto_class)
        with no_init_weights():
            build = loader.from_config if auto_class.startswith("Auto") else loader._from_config  # noqa: SLF001
            model: Module = build(config)  # without trust_remote_code
    return model


def fill(model: Module, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]) -> Module:
    """Put stored tensors into a model of the right class, in place.

    Raises:
        ValueError: there is no tensor for a parameter, or none of its shape.
    """
    shared = dict(metadata["shared"])
    for name in metadata["without"]:
        setattr(model, name, None)
    for path, activation in metadata["activations"].items():
        first = shared.pop(path, path)
        codes, scale = tensors[f"{first}._weight_qdata"], tensors[f"{first}._weight_scale"][:, 0]
        old = model.get_submodule(path)
        expected = tuple(old.weight.shape[::-1] if type(old).__name__ == "Conv1D" else old.weight.shape)  # [in, out]
        if tuple(codes.shape) != expected or len(scale) != expected[0]:
            raise ValueError(f"{path} is {tuple(codes.shape)} and should be {expected}")
        if isinstance(old, torch.nn.Embedding):
            model.set_submodule(path, Int8Embedding(codes, scale))
        else:
            bias = tensors[shared.pop(f"{path}.bias", f"{path}.bias")] if old.bias is not None else None
            model.set_submodule(path, Int8Linear(codes, scale, bias, activation))
    rest = {name: tensor for name, tensor in tensors.items() if not re.search(r"\._weight_(qdata|scale)$", name)}
    rest |= {name: tensors[first] for name, first in shared.items()}
    if missing := {name for name, _ in model.named_parameters(remove_duplicate=False)} - rest.keys():
        raise ValueError(f"no tensor for {', '.join(sorted(missing)[:3])}")
    for name, tensor in rest.items():
        path, _, last = name.rpartition(".")
        module = model.get_submodule(path)
        if isinstance(module, Int8Linear):
            continue  # its bias is there already
        old = getattr(module, last)
        if old.shape != tensor.shape:
            raise ValueError(f"{name} is {tuple(tensor.shape)} and should be {tuple(old.shape)}")
        if isinstance(old, Parameter):
            setattr(module, last, Parameter(tensor, requires_grad=False))
        else:
            module.register_buffer(last, tensor)
    return model


def load_by_transformers(file: Path) -> Module:
    """The same weights as torchao's tensors, for devices that have kernels for these.

    Raises:
        MissingExtraError: torchao is not installed.
    """
    if find_spec("torchao") is None:
        message = "on a GPU torchao runs int8, which is not installed"
        raise MissingExtraError(message, then="pip install 'octavo[torchao]'")
    _, transformers = require_torch()
    loader = getattr(transformers, read_metadata(file)["class"])
    with silent_transformers(transformers):
        model: Module = loader.from_pretrained(file.parent, local_files_only=True, trust_remote_code=False)
    return model.eval()
