"""TODO-DOC checkpoint.model."""

from __future__ import annotations

from typing import Any

from octavo.checkpoint.config import AUTO_CLASSES
from octavo.checkpoint.libraries import require_torch, silent_transformers
from octavo.checkpoint.source import Source
from octavo.errors import CheckpointError, OctavoError, raise_together


def load_model(source: Source) -> Any:
    """The checkpoint as a torch model in float32 and evaluation mode.

    Raises:
        CheckpointError: an architecture that transformers does not have, weights that are missing from the checkpoint
            or do not fit, values that are not finite.
        MissingExtraError: torch or transformers is not installed.
    """
    torch, transformers = require_torch()
    loader = getattr(transformers, AUTO_CLASSES[source.signature.task])
    with silent_transformers(transformers):
        try:
            model, info = loader.from_pretrained(
                source.folder,
                config=transformers.AutoConfig.from_pretrained(
                    source.folder, local_files_only=True, trust_remote_code=False
                ),
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # told below, with the names
                local_files_only=True,
                trust_remote_code=False,
            )
        except Exception as error:  # whatever transformers raises for a config or weights that it cannot use
            reason = " ".join(str(error).split())[:300]
            then = (
                "it needs code from the checkpoint, which Octavo does not run" if "auto_map" in source.config else None
            )
            raise CheckpointError(
                "transformers cannot load this checkpoint", where=source.folder, got=reason, then=then
            ) from None
    problems: list[OctavoError] = []
    missing = set(info["missing_keys"])
    if source.signature.task == "feature-extraction" and getattr(model, "pooler", None) is not None:
        # What BERT's pooler makes of [CLS] is no part of the answer, and many checkpoints were saved without it.
        missing = {name for name in missing if not name.startswith("pooler.")}
        model.pooler = None
    if missing:
        problems.append(
            CheckpointError(
                f"{len(missing)} weights of {type(model).__name__} are missing from the checkpoint",
                where=source.folder,
                got=", ".join(sorted(missing)[:4]) + (", ..." if len(missing) > 4 else ""),
                then="give the fine-tuned checkpoint: Octavo never makes up a head",
            )
        )
    mismatched = [
        f"{name} is {tuple(found)} and should be {tuple(wanted)}" for name, found, wanted in info["mismatched_keys"]
    ]
    if mismatched:
        problems.append(
            CheckpointError(
                "weights do not fit the config",
                where=source.folder,
                got="; ".join(mismatched[:4]),
                then="give the config that belongs to these weights",
            )
        )
    bad = [name for name, tensor in model.state_dict().items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        problems.append(
            CheckpointError("weights that are NaN or infinite", where=source.folder, got=", ".join(bad[:4]))
        )
    raise_together(problems)
    if source.signature.labels and model.config.num_labels != len(source.signature.labels):
        raise CheckpointError(
            "labels do not fit the model", got=source.signature.labels, allowed=model.config.num_labels
        )
    if hasattr(model.config, "use_cache"):
        model.config.use_cache = False  # decoders would return their cache as further outputs
    if source.signature.task == "multiple-choice":
        _take_single_choices(model)
    return model.float().eval()


def _take_single_choices(model: Any) -> None:
    """Let the model take [rows, length] and answer [rows, 1], each row being one choice: rows may have any number."""
    forward = model.forward

    def one_choice(input_ids: Any, attention_mask: Any = None, token_type_ids: Any = None, **more: Any) -> Any:
        given = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        return forward(**{name: array[:, None] for name, array in given.items() if array is not None}, **more)

    model.forward = one_choice
