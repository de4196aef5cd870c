"""Weights of a checkpoint that no module of its model takes: each changes what its owner's model answers, or is known
to change nothing.
"""  # noqa: D205 - one sentence

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from octavo.checkpoint.config import architectures, head_task
from octavo.checkpoint.source import Source
from octavo.checkpoint.weights import StoredTensor
from octavo.errors import CheckpointError
from octavo.tasks import task_class

# What a config determines, as older versions of transformers stored it: positions, masks, rotary tables, versions.
_BUFFER = re.compile(
    r"(^|\.)(position_ids|token_type_ids|masked_bias|(original_)?inv_freq|(cos|sin)_cached|causal_mask"
    r"|num_batches_tracked|embed_positions\.weights|(encoder|decoder)\.version)$"
)
_MASK = re.compile(r"attn(\.attention)?\.bias$|attention\.bias$")  # [1, 1, length, length]: no bias has such a shape
_POOLER = re.compile(r"(^|\.)pooler\.")
# Heads of pre-training: which sentence follows, which token was replaced; and which word stands there.
_SENTENCE_HEAD = re.compile(r"^(cls\.seq_relationship|sop_classifier|discriminator_predictions|mask_predictions)\.")
_WORD_HEAD = re.compile(
    r"^(cls\.predictions|lm_head|lm_predictions|generator_lm_head|generator_predictions|vocab_transform"
    r"|vocab_layer_norm|vocab_projector|predictions|pred_layer|lm_loss|head\.(dense|norm)|decoder(?=\.(weight|bias)$))\."
    r"|^final_logits_bias$"
)
_LISTED = 4


def unread_weights(names: Iterable[str], prefix: str, source: Source, model: str) -> list[CheckpointError]:
    """What is wrong with weights that a model has no place for, and with the patterns of those to leave out.

    `names` are as transformers reports them, `prefix` is that of the model's body, `model` the name of its class.
    """
    stored, where = source.weights.tensors, source.folder
    unread = {_stored_name(name, prefix, stored) for name in names}
    ignored, problems = set(source.ignored), list[CheckpointError]()
    left = sorted(name for name in unread - ignored if not _harmless(name, prefix, source, model))
    if left:
        problems.append(
            CheckpointError(
                f"{len(left)} weights of the checkpoint have no place in {model}",
                where=where,
                got=_short(left),
                then="give a checkpoint that is all of this class; or leave them out, if that changes no answer: "
                f"--ignore-weights '{left[0]}' (or a pattern such as 'crf.*', once for each)",
            )
        )
    if taken := sorted(ignored - unread):
        what = f"--ignore-weights names weights that {model} takes"
        problems.append(CheckpointError(what, where=where, got=_short(taken), allowed=_short(sorted(unread)) or "none"))
    for pattern in source.asked.ignore_weights:
        if not any(fnmatchcase(name, pattern) for name in stored):
            allowed = _short(sorted(unread)) or "none: every weight is taken"
            what = "--ignore-weights matches no weight of the checkpoint"
            problems.append(CheckpointError(what, where=where, got=pattern, allowed=allowed))
    return problems


def _stored_name(name: str, prefix: str, stored: dict[str, StoredTensor]) -> str:
    """The name in the file: transformers adds or takes off the prefix of the body."""
    candidates = (name, f"{prefix}.{name}", name.removeprefix(f"{prefix}."))
    return next((candidate for candidate in candidates if candidate in stored), name)


def _harmless(name: str, prefix: str, source: Source, model: str) -> bool:
    """Whether a weight that the model has no place for is known to change nothing of what its task answers."""
    stored, task = source.weights.tensors, task_class(source.signature.task)
    shape = stored[name].shape if name in stored else ()
    if _BUFFER.search(name) or (_MASK.search(name) and len(shape) == 4):
        return True
    if _POOLER.search(name) or _SENTENCE_HEAD.search(name):
        return True
    if _WORD_HEAD.search(name) and not (task.fills or task.weighs or task.writes):
        return True
    vectors = task.pools or task.late
    if vectors and model.endswith("EncoderModel") and name.startswith("decoder."):  # of mT5 transformers lists them
        return True
    # Vectors of a model with a head: it stands beside the body, whose names begin with the prefix.
    heads = {head_task(architecture) for architecture in architectures(source.config)} - {None, "feature-extraction"}
    bodied = any(key.startswith(f"{prefix}.") for key in stored)
    return vectors and bool(heads) and bodied and not name.startswith(f"{prefix}.")


def _short(names: list[str]) -> str:
    return ", ".join(names[:_LISTED]) + (f", ... ({len(names)} in all)" if len(names) > _LISTED else "")
