"""Octavo's worker of a comparison, with engines of this benchmark only: torch in bf16 and int8, int8 as floats.

Octavo itself opens artifacts, checkpoints and ONNX files; here a model may be any file that its engine reads, too: the
config.json of a checkpoint, or OpenVINO's XML.
"""

from __future__ import annotations

from pathlib import Path

from octavo import engines
from octavo.engines import Session, find_engine
from octavo.engines.pooled import pooled
from octavo.evaluation import worker
from octavo.schema.signature import Signature

engines.ENGINES |= {
    "torch-bf16": "torch_engines:open_bf16",
    "torch-int8": "torch_engines:open_int8",
    "torch-ao": "torch_engines:open_torchao",
    "torch-ao-compiled": "torch_engines:open_torchao_compiled",
    "openvino-emulated": "emulated_engine:EmulatedSession",
}
open_by_octavo = worker.open_contender


def open_contender(spec: dict, signature: Signature) -> Session:
    path = Path(spec["path"])
    if path.suffix not in {".json", ".xml"}:
        return open_by_octavo(spec, signature)
    return pooled(find_engine(spec["engine"])(path, spec["threads"]), signature, Path(spec["home"]))


worker.open_contender = open_contender
if __name__ == "__main__":
    worker.main()
