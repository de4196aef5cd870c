"""The weight files of a checkpoint: which there are, what they hold, in which dtype. Nothing is loaded."""

import json
import re
import warnings
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from octavo.data.json_text import read_json
from octavo.errors import CheckpointError, MissingExtraError

_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I8": "int8", "U8": "uint8",
    "I64": "int64", "I32": "int32", "F8_E4M3": "float8_e4m3", "F8_E5M2": "float8_e5m2",
}  # fmt: skip
_NAMES = ("model.safetensors", "pytorch_model.bin")
_QUANTIZED_KEY = "_packed_params"
HELD = 2**30  # bytes of weights up to which they stay in memory in more than one form


@dataclass(frozen=True)
class Weights:
    """The weight files, the dtype that most of their numbers are stored in, and what they hold by name.

    `packed`: they are the state of a model that PyTorch quantized, with `_packed_params` for the weight of a Linear.
    """

    files: tuple[Path, ...]
    dtype: str
    packed: bool = False
    tensors: dict[str, "StoredTensor"] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """What the tensors take as they are stored."""
        return sum(tensor.bytes for tensor in self.tensors.values())


class StoredTensor(NamedTuple):
    """A tensor as a header declares it; of safetensors its file, and the byte in it where its numbers begin."""

    dtype: str
    shape: tuple[int, ...]
    file: Path | None = None
    place: int = 0

    @property
    def parameters(self) -> int:
        """How many numbers."""
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        """What they take; the first number in the name of a type is its bits."""
        bits = re.search(r"\d+", self.dtype)
        return self.parameters * int(bits[0]) // 8 if bits else self.parameters

    def mapped(self) -> NDArray[np.float32]:
        """The numbers of a float32 tensor, mapped: what is not looked at takes no memory."""
        assert self.file is not None
        assert self.dtype == "float32"
        if not self.parameters:
            return np.zeros(self.shape, np.float32)
        return np.memmap(self.file, "<f4", "r", self.place, self.shape)


def read_weights(folder: Path, *, packed: bool = False) -> Weights:
    """Find the weight files of a checkpoint and look at their headers; see `read_tensors` for the errors."""
    sizes: Counter[str] = Counter()
    tensors = read_tensors(folder, packed=packed)
    for tensor in tensors.values():
        sizes[tensor.dtype] += tensor.parameters
    quantized = any(_QUANTIZED_KEY in name for name in tensors)
    dtype = "qint8" if quantized else sizes.most_common(1)[0][0]
    return Weights(_find_files(folder), dtype, packed=quantized, tensors=tensors)


def read_tensors(folder: Path, *, packed: bool = False) -> dict[str, StoredTensor]:
    """The tensors of a checkpoint by name, from its headers; `packed`: those of a model that PyTorch quantized too.

    Raises:
        CheckpointError: there are none, a file is missing or damaged, or PyTorch quantized the model.
    """
    tensors: dict[str, StoredTensor] = {}
    for file in _find_files(folder):
        header = _safetensors_header(file) if file.suffix == ".safetensors" else _bin_header(file)
        quantized = [name for name in header if _QUANTIZED_KEY in name]
        pickled = file.suffix == ".bin"
        if quantized and not (packed and pickled):
            _explain_quantized(file, quantized[0], rescue=pickled)
        tensors |= header
    if not tensors:
        raise CheckpointError("the weight files are empty", where=folder)
    return tensors


def has_weights(folder: Path) -> bool:
    """Whether a folder holds the weights of a checkpoint, in one file or in parts."""
    return any((folder / f"{name}{end}").exists() for name in _NAMES for end in ("", ".index.json"))


def _find_files(folder: Path) -> tuple[Path, ...]:
    for name in _NAMES:
        if (folder / name).exists():
            return (folder / name,)
        index = folder / f"{name}.index.json"
        if index.exists():
            try:
                table = read_json(index)["weight_map"]
                parts = sorted({str(part) for part in table.values()})
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise CheckpointError("the index of the weights is damaged", where=index, got=error) from None
            absent = [part for part in parts if not (folder / part).exists()]
            if absent:
                raise CheckpointError("a part of the weights is missing", where=index, got=", ".join(absent))
            return tuple(folder / part for part in parts)
    names = ("tf_model.h5", "flax_model.msgpack", "adapter_model.safetensors")
    got = ", ".join(name for name in names if (folder / name).exists()) or None
    then = "merge the adapter into its model first" if got == "adapter_model.safetensors" else None
    raise CheckpointError("no weights", where=folder, got=got, allowed=" or ".join(_NAMES), then=then)


def _safetensors_header(file: Path) -> dict[str, StoredTensor]:
    """The tensors by name; safetensors checks the header against the size of the file, and does not tell places.

    The file: the length of a header in 8 bytes, the header in JSON, the numbers (github.com/huggingface/safetensors).
    """
    from safetensors import safe_open

    try:
        with safe_open(file, "np"), file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(length))
    except Exception as error:  # safetensors has an exception of its own
        raise CheckpointError("the weights are damaged", where=file, got=error, then="fetch them again") from None
    return {
        name: StoredTensor(
            _DTYPES.get(part["dtype"], part["dtype"].lower()),
            tuple(part["shape"]),
            file,
            8 + length + part["data_offsets"][0],
        )
        for name, part in sorted(header.items())
        if name != "__metadata__"
    }


def _bin_header(file: Path) -> dict[str, StoredTensor]:
    """The tensors by name, read by torch with `weights_only`: nothing else is unpickled."""
    try:
        tensors = load_state(file)
    except (MissingExtraError, CheckpointError):
        raise
    except Exception as error:  # torch raises pickle, zip and runtime errors for files that it does not take
        if _mentions_packed(file):
            _explain_quantized(file, "a pickled model, which runs code when it is loaded", rescue=False)
        reason = str(error).strip().partition("\n")[0]
        raise CheckpointError("the weights cannot be read safely", where=file, got=reason) from None
    if not isinstance(tensors, dict):
        raise CheckpointError("the weights are not a table of tensors", where=file, got=type(tensors).__name__)
    for name, value in tensors.items():  # a view may be of any shape, whatever is behind it
        if getattr(value, "nbytes", 0) > file.stat().st_size:
            got = f"{name}: {tuple(value.shape)}"
            raise CheckpointError("a tensor is larger than the file that it is in", where=file, got=f"{got:.200}")
    return {
        str(name): StoredTensor(str(value.dtype).removeprefix("torch."), tuple(value.shape))
        if hasattr(value, "numel")
        else StoredTensor("other", (0,))
        for name, value in tensors.items()
    }


def load_state(file: Path) -> Any:
    """What a `.bin` file holds, by torch with `weights_only`: no code of it is run.

    Raises:
        MissingExtraError: torch is not installed.
        CheckpointError: its zip is compressed.
    """
    try:
        import torch
    except ImportError:
        what = "pytorch_model.bin is read by torch, which is not installed"
        raise MissingExtraError(what, then="pip install 'octavo[convert]'") from None
    _require_stored(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tensors of quantized types, which old files hold and torch means to drop
        return torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))


def _require_stored(file: Path) -> None:
    """See that nothing in a zip grows when it is read: torch stores records as they are, and maps them from the file.

    Raises:
        CheckpointError: a record is compressed, or they are more bytes than the file.
    """
    if not zipfile.is_zipfile(file):
        return
    with zipfile.ZipFile(file) as archive:
        records = archive.infolist()
    grown = [record.filename for record in records if record.compress_type != zipfile.ZIP_STORED]
    if grown or sum(record.file_size for record in records) > file.stat().st_size:
        got = f"{', '.join(grown[:3]) or 'records'}: {sum(record.file_size for record in records):,} bytes"
        then = "save it again with torch.save"
        raise CheckpointError(
            "the weights are a compressed zip, which torch does not write", where=file, got=got, then=then
        )


def _mentions_packed(file: Path) -> bool:
    """Whether the pickle inside speaks of packed parameters: looked for as bytes, never unpickled."""
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("data.pkl")]
        return any(_QUANTIZED_KEY.encode() in archive.read(name) for name in pickles)


def _explain_quantized(file: Path, got: str, *, rescue: bool) -> None:
    command = f"octavo quantize {file.parent} -o OUT --format torch"
    again = f"{command} rebuilds it from its packed parameters"
    elsewhere = "load it where it was made and save its state_dict() as pytorch_model.bin: from that " + again
    raise CheckpointError(
        "these are the weights of a model that PyTorch's quantize_dynamic made: a quantized Linear saves packed "
        "parameters and no `weight`, so from_pretrained would build the float model and leave every Linear random",
        where=file,
        got=got,
        then=f"{again if rescue else elsewhere}; or give the float checkpoint that was quantized",
    )
