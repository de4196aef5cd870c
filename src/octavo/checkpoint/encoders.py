"""The encoders that Octavo knows without transformers: the settings of their configs, and what each value means.

Of every setting it is known whether it changes what a model computes; a config that says more, or otherwise, is left
to transformers. The defaults are those of the classes in transformers 5, to which the tests hold them.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from octavo.checkpoint.adapter import adapter_files
from octavo.checkpoint.config import ARCHITECTURES, CONVENIENCE, architectures
from octavo.checkpoint.settings import HARMLESS, SETFIT
from octavo.checkpoint.token_vectors import STANFORD

ACTIVATIONS = {"gelu": "gelu", "gelu_python": "gelu", "gelu_new": "tanh gelu", "gelu_pytorch_tanh": "tanh gelu",
               "relu": "relu"}  # fmt: skip
_BERT = {
    "vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
    "intermediate_size": 3072, "hidden_act": "gelu", "max_position_embeddings": 512, "type_vocab_size": 2,
    "layer_norm_eps": 1e-12, "pad_token_id": 0, "is_decoder": False, "add_cross_attention": False,
    "tie_word_embeddings": True,
}  # fmt: skip
_ROBERTA = _BERT | {"pad_token_id": 1}
_ENCODES = {"is_decoder": False, "add_cross_attention": False}
_MPNET = {name: value for name, value in _ROBERTA.items() if name not in {*_ENCODES, "type_vocab_size"}}
_ALBERT = {name: value for name, value in _BERT.items() if name not in _ENCODES}
DEFAULTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "bert": _BERT,
        "roberta": _ROBERTA | {"vocab_size": 50265},
        "xlm-roberta": _ROBERTA,
        "camembert": _ROBERTA,
        "electra": _BERT
        | {"embedding_size": 128, "hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024}
        | {"summary_type": "first", "summary_use_proj": True, "summary_activation": "gelu"},
        "mpnet": _MPNET | {"vocab_size": 30527, "relative_attention_num_buckets": 32},
        "albert": _ALBERT
        | {"vocab_size": 30000, "embedding_size": 128, "hidden_size": 4096, "num_attention_heads": 64}
        | {"intermediate_size": 16384, "hidden_act": "gelu_new", "num_hidden_groups": 1, "inner_group_num": 1},
        "distilbert": {
            "vocab_size": 30522, "dim": 768, "n_layers": 6, "n_heads": 12, "hidden_dim": 3072, "activation": "gelu",
            "max_position_embeddings": 512, "pad_token_id": 0, "tie_word_embeddings": True,
        },
    }
)  # fmt: skip
CLASSES = {  # how the names of their classes begin
    "bert": "Bert", "roberta": "Roberta", "xlm-roberta": "XLMRoberta", "camembert": "Camembert", "electra": "Electra",
    "mpnet": "MPNet", "albert": "Albert", "distilbert": "DistilBert",
}  # fmt: skip
HEADS = {task: ending for ending, task in reversed(ARCHITECTURES.items())}  # how the names of the tasks' classes end
# Settings that other classes read, with the values by which an encoder is what it is anyway.
_AS_EVER: dict[str, tuple[Any, ...]] = {
    "position_embedding_type": ("absolute",),
    "is_encoder_decoder": (False,),
    "summary_proj_to_labels": (False,),
    "pruned_heads": ({}, None),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
    "relative_attention_num_buckets": (32,),  # the code of the class counts 32, whatever the config says
    "summary_type": ("first",),
    "summary_use_proj": (True,),
    "auto_map": (None, {}),
}


def filled(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config of one of these encoders with the defaults of its class."""
    settings = {**DEFAULTS[str(config["model_type"])], **config}
    if config.get("id2label") is None:
        count = config.get("num_labels") or 2
        settings["id2label"] = {str(index): f"LABEL_{index}" for index in range(count)}
    return settings


def beyond(config: Mapping[str, Any], folder: Path) -> str | None:
    """What a checkpoint says that is not known here, for an error or a record; None where all of it is."""
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in DEFAULTS:
        return f"model_type {kind!r:.40}"
    own, defaults = CLASSES[kind], DEFAULTS[kind]
    for name in architectures(config):
        known = name.startswith(own) and name.removeprefix(own) in {*ARCHITECTURES, "ForPreTraining"}
        if not known and name != STANFORD:
            return f"the class {name}"
    for name, value in config.items():
        if name in _AS_EVER:
            known = value in _AS_EVER[name]
        elif name in defaults:
            known = _has_type(name, value)
        else:
            known = name in CONVENIENCE or HARMLESS.fullmatch(name) is not None
        if not known:
            return f"{name} {value!r:.60} in config.json"
    files = [path.name for path in (*adapter_files(folder), folder / SETFIT) if path.exists()]
    return files[0] if files else None


def _has_type(name: str, value: Any) -> bool:
    if name in {"hidden_act", "activation", "summary_activation"}:
        return isinstance(value, str) and value in ACTIVATIONS
    if name == "layer_norm_eps":
        return isinstance(value, float)
    if name == "tie_word_embeddings":
        return isinstance(value, bool)
    return type(value) is int and value >= (0 if name == "pad_token_id" else 1)
