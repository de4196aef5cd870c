"""Octavo's worker of a comparison, with torch in bf16 and int8 as two more engines: of this benchmark only."""

from __future__ import annotations

from octavo import engines
from octavo.evaluation.worker import main

engines.ENGINES |= {"torch-bf16": "torch_engines:open_bf16", "torch-int8": "torch_engines:open_int8"}
main()
