"""Layers by name: what part of a transformer a module path is, and what became of each layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["linear", "embedding"]
_HEADS = {"classifier", "pooler", "pre_classifier", "score", "qa_outputs", "lm_head", "cls", "summary", "logits_proj"}
_ATTENTION = {
    "attention", "attn", "self_attn", "self_attention", "encoder_attn", "crossattention", "SelfAttention",
    "EncDecAttention",
}  # fmt: skip
ROLES = ("q", "k", "v", "out", "up", "down")
_ROLES = {  # the last name of a module path -> what it is in its block
    "query": ("q",), "q_proj": ("q",), "q_lin": ("q",), "q": ("q",), "query_proj": ("q",),
    "key": ("k",), "k_proj": ("k",), "k_lin": ("k",), "k": ("k",), "key_proj": ("k",),
    "value": ("v",), "v_proj": ("v",), "v_lin": ("v",), "v": ("v",), "value_proj": ("v",),
    "c_attn": ("q", "k", "v"), "Wqkv": ("q", "k", "v"), "out_lin": ("out",), "o_proj": ("out",), "out_proj": ("out",),
    "lin1": ("up",), "fc1": ("up",), "up_proj": ("up",), "gate_proj": ("up",), "c_fc": ("up",), "ffn": ("up",),
    "Wi": ("up",), "wi": ("up",), "wi_0": ("up",), "wi_1": ("up",), "lin2": ("down",), "fc2": ("down",),
    "dense_h_to_4h": ("up",), "fc_in": ("up",), "layer_1": ("up",), "dense_4h_to_h": ("down",), "fc_out": ("down",),
    "layer_2": ("down",),
    "down_proj": ("down",), "ffn_output": ("down",), "wo": ("down",),
}  # fmt: skip


def part_of(path: str, kind: Kind) -> str:
    """The part of a transformer that a module path names."""
    if kind == "embedding":
        return "embedding"
    names = set(path.split("."))
    if names & _HEADS:
        return "head"
    return "attention" if names & _ATTENTION else "feed-forward"


def place_of(path: str) -> tuple[int, tuple[str, ...]] | None:
    """The block that a module path is in, and what it is there: some of `ROLES`; None outside of the blocks.

    Several where layers were merged (`joint_path`), or are one in the checkpoint (GPT-2's `c_attn`).
    """
    stem, _, last = path.rpartition(".")
    names = stem.split(".")
    number = next((int(name) for name in names if name.isdigit()), None)
    if number is None:
        return None
    last = last.partition("{")[2].rstrip("}") or last if "{" in last else last
    roles = tuple(role for name in last.split(",") for role in _ROLES.get(name, ()))
    if last in {"dense", "c_proj", "Wo", "o"}:
        inner = part_of(path, "linear") == "attention"
        other = () if "bottleneck" in names else ("down",)  # MobileBERT narrows and widens around its blocks
        roles = ("out",) if inner else ("up",) if "intermediate" in names else other
    return (number, roles) if roles else None


def joint_path(paths: Sequence[str]) -> str:
    """The path of layers of one module that were merged: `attention.{query,key,value}`."""
    module = paths[0].rpartition(".")[0]
    return f"{module}.{{{','.join(path.rpartition('.')[2] for path in paths)}}}"


@dataclass(frozen=True)
class LayerResult:
    """What became of one layer.

    `dtype` of the stored weight; `reason` why it is so; `bytes` of the weight with its scales; `error_db` of the
    weight, signal over noise in decibels (None for a float layer); `activation`: what shares one scale at the input of
    an int8 Linear, "tensor", "token" or "block" (of a token); `output_db`: the same ratio of its output
    (`methods.layer_errors`; None where that is exact, or nothing was measured).
    """

    path: str
    kind: str
    part: str
    dtype: str
    reason: str
    parameters: int
    bytes: int
    weight_bits: int | None = None
    activation: str | None = None
    smoothing: float | None = None
    error_db: float | None = None
    output_db: float | None = None


@dataclass(frozen=True)
class Overflow:
    """Sums of two neighbouring u8 x s8 products that leave 16 bits, counted on the model's own activations and weights.

    Of `pairs` sums, `with_8_bits` overflow if the weights use all of 8 bits, and `with_7_bits` with those of the
    artifact, which do not: an earlier version used 7, which gave the name.
    """

    pairs: int
    with_8_bits: int
    with_7_bits: int
