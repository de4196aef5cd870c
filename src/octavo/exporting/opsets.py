"""Which ONNX operator sets an export tries, and which errors are reasons to try an older one."""

from octavo.errors import ExportError

OPSETS = (23, 22, 21, 20)  # in the order they are tried; 23 has `Attention`, 20 is the oldest with `Gelu`


class OpsetError(ExportError):
    """A graph of one opset cannot be made, loaded or run, or answers otherwise than torch: an older one may not.

    What torch cannot trace, and a graph with other inputs or outputs, is a plain `ExportError`: it is so at each opset.
    """
