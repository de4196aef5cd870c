"""Rewrites of a float graph that leave what it computes as it is. Each works in place and returns how often it applied.

`optimize` runs them in order. That a graph computes the same afterwards is checked by its callers, which have engines.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import onnx_ir as ir

from octavo.graph.passes.attention import (
    attend_without_transposes,
    drop_attention_biases,
    drop_unattended_rows,
    merge_qkv,
    sum_before_layer_norm,
)
from octavo.graph.passes.constants import drop_no_ops, fold_constants, share_equal_weights
from octavo.schema.manifest import PassRecord

PASSES: dict[str, Callable[[ir.Model], int]] = {
    "share_equal_weights": share_equal_weights,
    "fold_constants": fold_constants,
    "drop_no_ops": drop_no_ops,
    "drop_unattended_rows": drop_unattended_rows,
    "attend_without_transposes": attend_without_transposes,
    "drop_attention_biases": drop_attention_biases,
    "sum_before_layer_norm": sum_before_layer_norm,
}
MOVE_VALUES = ("drop_attention_biases",)  # passes after which a layer reads other numbers than in torch


def optimize(
    model: ir.Model,
    passes: Mapping[str, Callable[[ir.Model], int]] = PASSES,
    *,
    merge: bool = False,
    kept: Mapping[str, object] | None = None,
) -> Iterator[PassRecord]:
    """Run passes in order, in place; yields after each, so that the graph can be run between two.

    `merge` adds `merge_qkv`, which does not pay for every method; `kept` is for it.
    """
    chosen = dict(passes)
    if merge:
        chosen["merge_qkv"] = partial(merge_qkv, kept=kept or {})
    for name, apply in chosen.items():
        before = len(model.graph)
        applied = apply(model)
        yield PassRecord(name=name, applied=applied, nodes_before=before, nodes_after=len(model.graph))
