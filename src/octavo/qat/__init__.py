"""Quantization-aware training: a torch model learns with the rounding of the int8 artifact that it will become.

model = octavo.qat.prepare(model, batches)      # fake quantization in its layers, ranges from these examples
...                                             # train it as usual: `transformers.Trainer`, a loop of your own
octavo.qat.save(model, "folder", tokenizer)     # a float checkpoint with its ranges, for `octavo quantize`
"""

from octavo.qat.model import convert, freeze, prepare
from octavo.qat.saving import save, write_ranges
from octavo.qat.trainer import Callback

__all__ = ["Callback", "convert", "freeze", "prepare", "save", "write_ranges"]
