"""Settings of `config.json` that the model's code does not read, and code that the checkpoint asks for and has not.

transformers keeps every setting that it finds, whether anything reads it. So the source of the model's own modules is
looked through for the names. Of the settings that are known to change what a model computes an unread one is an error;
any other one is a warning, because nobody can tell what it means.
"""

import ast
import inspect
import re
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from octavo.checkpoint.config import CONVENIENCE, architectures
from octavo.checkpoint.libraries import require_torch
from octavo.checkpoint.token_vectors import STANFORD
from octavo.errors import CheckpointError

_ROPE = ("rope_parameters", "rope_theta", "rotary_dim", "rotary_pct", "rotary_emb_base", "rotary_value")
_CAUSAL = ("create_causal_mask", "create_sliding_window_causal_mask")
_WINDOW = ("create_sliding_window_causal_mask", "create_bidirectional_sliding_window_mask", "layer_types")
# Setting -> values that mean "as every class does it", and what else in the code of a class reads it.
SEMANTIC: dict[str, tuple[tuple[Any, ...], tuple[str, ...]]] = {
    "position_embedding_type": (("absolute",), ()),
    "position_embeddings_type": (("absolute",), ()),
    "relative_attention": ((), ()),
    "pruned_heads": ((), ()),
    "alibi": ((), ()),
    "use_alibi": ((), ()),
    **dict.fromkeys(("rope_theta", "rope_scaling", "rope_parameters", "partial_rotary_factor"), ((), _ROPE)),
    **dict.fromkeys(("rotary_dim", "rotary_pct", "rotary_emb_base", "rotary_value"), ((), _ROPE)),
    **dict.fromkeys(("sliding_window", "local_attention", "attention_window"), ((), _WINDOW)),
    "attention_type": (("original_full", "full"), ()),
    "is_decoder": ((), _CAUSAL),
    "is_causal": ((), _CAUSAL),
    "use_bidirectional_attention": ((), ()),
    **dict.fromkeys(("attn_logit_softcapping", "final_logit_softcapping", "attention_multiplier"), ((), ())),
    **dict.fromkeys(("logit_scale", "logits_scaling", "embedding_multiplier", "residual_multiplier"), ((1, 1.0), ())),
    **dict.fromkeys(("scale_embedding", "scale_attn_by_inverse_layer_idx"), ((), ())),
    **dict.fromkeys(("hidden_act", "activation_function", "activation"), (("gelu",), ())),
    "classifier_pooling": (("cls",), ()),
    **dict.fromkeys(("use_crf", "crf"), ((), ())),
}
_BY_VALUE = {"position_embedding_type", "attention_type", "classifier_pooling"}  # each value has code that names it
# Settings of training, of tokenizers, of files, of versions; and what a class has always done in one way.
HARMLESS = re.compile(
    r"_.*|.*(dropout|dropout_prob|pdrop|_drop|_token_id|_token_index|_index|_ids?|_version|dtype|_len|_loss|_coef)$"
    r"|init.*|.*initializer.*|pooler_.*|summary_.*|auto_map|custom_pipelines|architectures|model_type|num_labels"
    r"|id2label|label2id|problem_type|tie_.*|tf_.*|use_bfloat16|use_cache|output_past|xla_device|prefix|n_ctx|n_special"
    r"|gradient_checkpointing|finetuning_task|task_specific_params|tokenizer_class|directionality|gap_size|languages?"
    r"|net_structure_type|num_memory_blocks|down_scale_factor|inner_group_num|sinusoidal_pos_embds|layers_to_keep"
    r"|static_position_embeddings|normalize_before|normalize_embedding|add_final_layer_norm|add_bias_logits|vocab_size"
    r"|extra_pos_embeddings|force_bos_token_to_be_generated|layernorm_variant|variant|do_blenderbot_90_layernorm"
    r"|save_step|train.*|.*(train|training|steps|epochs|warmup|seed|lr|learning_rate|weight_decay|batch_size)"
    r"|sentence_transformers|sbert_.*|repad.*|reference_compile|deterministic_flash_attn|use_flash_attn|fused_.*"
    r"|max_(seq_)?length|max_seq_len|.*_chars|.*vocab.*|quantization_config|attn_implementation|name|version"
    r"|n_positions|predict_special_tokens|license|library_name"
)
SETFIT = "model_head.pkl"
_NOTHING: tuple[Any, ...] = (None, False, {}, [], "")


def unread_settings(model: Any, stored: Mapping[str, Any], folder: Path) -> tuple[list[CheckpointError], list[str]]:
    """What is wrong with the settings of a config for a model that was made of it, and what is doubtful."""
    config, kind = model.config, type(model).__name__
    read = _names_read(frozenset(_modules(model)))
    known = {*dir(type(config)), *config.attribute_map, *CONVENIENCE, *_generation_names()}
    known |= getattr(type(config), "__dataclass_fields__", {}).keys()
    wrong, doubtful = dict[str, Any](), dict[str, Any]()
    for name, value in stored.items():
        has_code = name not in _BY_VALUE or not isinstance(value, str) or value in read
        if value in _NOTHING or _idle(name, value, stored, read):
            continue
        if has_code and not read.isdisjoint({name, config.attribute_map.get(name, name)}):
            continue
        if name in SEMANTIC:
            inert, readers = SEMANTIC[name]
            if value not in inert and not read.intersection(readers):
                wrong[name] = value
        elif name not in known and not HARMLESS.fullmatch(name):
            doubtful[name] = value
    problems = []
    if wrong:
        then = "take a version of transformers whose class reads it, or a checkpoint that was trained without it"
        what = f"settings of config.json that {kind} does not read, and that change what a model computes"
        problems.append(CheckpointError(what, where=folder, got=_listed(wrong), then=then))
    notes = [f"{kind} does not read these settings of config.json: {_listed(doubtful)}"] if doubtful else []
    return problems, notes + _foreign_code(model, stored, folder)


def _foreign_code(model: Any, stored: Mapping[str, Any], folder: Path) -> list[str]:
    """What is said of classes that transformers does not have, and of a head that is a pickle: neither is run."""
    _, transformers = require_torch()
    notes = []
    if names := [name for name in architectures(stored) if name != STANFORD and not hasattr(transformers, name)]:
        notes.append(
            f"config.json names the class {', '.join(names)}, which transformers does not have: its "
            f"{type(model).__name__} is taken, which fits the weights; see that it computes the same"
        )
    if (folder / SETFIT).exists():
        notes.append(f"{SETFIT}, the classifier of SetFit, is a pickle and is not read: this model gives vectors only")
    return notes


def _idle(name: str, value: Any, stored: Mapping[str, Any], read: frozenset[str]) -> bool:
    """Whether the other settings, or the class, leave a setting without effect."""
    if name == "sliding_window":
        positions = stored.get("max_position_embeddings")
        wide = isinstance(positions, int) and isinstance(value, int) and value >= positions
        return wide or stored.get("use_sliding_window") is False
    if name == "layer_norm_eps":  # ModernBERT's files say it twice
        return bool(value == stored.get("norm_eps"))
    return (
        name == "position_embedding_type" and value in ("rope", "rotary", "sans_pos") and bool(read.intersection(_ROPE))
    )


def _modules(model: Any) -> set[str]:
    """The modules of transformers that hold the code of a model's parts and of its config."""
    kinds = {*map(type, model.modules()), *type(model).__mro__, *type(model.config).__mro__}
    return {kind.__module__ for kind in kinds if kind.__module__.startswith("transformers.models.")}


@cache
def _names_read(modules: frozenset[str]) -> frozenset[str]:
    """Every name that the code of some modules looks at: attributes, variables, texts; a mere declaration is none."""
    names = set[str]()
    for module in modules:
        for node in ast.walk(ast.parse(inspect.getsource(sys.modules[module]))):
            if isinstance(node, ast.Attribute):
                names.add(node.attr)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                names.add(node.id)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                names.add(node.value)
    return frozenset(names)


@cache
def _generation_names() -> tuple[str, ...]:
    """What `generation_config.json` may say: older configs have it too."""
    _, transformers = require_torch()
    return tuple(vars(transformers.GenerationConfig()))


def _listed(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value!r:.60}" for name, value in sorted(settings.items()))
