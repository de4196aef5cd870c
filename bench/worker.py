"""Octavo's worker of a comparison, with engines of this benchmark only: torch in bf16 and int8, int8 as floats."""

from __future__ import annotations

from octavo import engines
from octavo.evaluation.worker import main

engines.ENGINES |= {
    "torch-bf16": "torch_engines:open_bf16",
    "torch-int8": "torch_engines:open_int8",
    "torch-ao": "torch_engines:open_torchao",
    "torch-ao-compiled": "torch_engines:open_torchao_compiled",
    "openvino-emulated": "emulated_engine:EmulatedSession",
}
main()
