"""The torch model of a checkpoint, complete and finite, or an error that says what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from octavo.checkpoint.libraries import require_torch, silent_transformers
from octavo.checkpoint.source import Source
from octavo.errors import CheckpointError, raise_together
from octavo.schema.signature import Signature
from octavo.tasks import task_class


def load_model(source: Source) -> Any:
    """The checkpoint as a torch model in float32 and evaluation mode.

    Raises:
        CheckpointError: an architecture that transformers does not have, weights that are missing from the checkpoint
            or do not fit, values that are not finite.
        MissingExtraError: torch or transformers is not installed.
    """
    model, info = _from_pretrained(source)
    task_class(source.signature.task).adapt_model(model)
    raise_together(list(_find_faults(model, info, source)))
    _require_labels(model, source.signature)
    if hasattr(model.config, "use_cache"):
        model.config.use_cache = False  # decoders would return their cache as further outputs
    return model.float().eval()


def _from_pretrained(source: Source) -> tuple[Any, Mapping[str, Any]]:
    """What transformers loads, and what it says of the weights that it found, and did not find."""
    torch, transformers = require_torch()
    local = {"local_files_only": True}
    with silent_transformers(transformers):
        try:
            model, info = getattr(transformers, task_class(source.signature.task).auto_class).from_pretrained(
                source.folder,
                config=transformers.AutoConfig.from_pretrained(source.folder, trust_remote_code=False, **local),
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # told with the names by `_find_faults`
                trust_remote_code=False,
                **local,
            )
        except Exception as error:  # whatever transformers raises for a config or weights that it cannot use
            reason, then = " ".join(str(error).split())[:300], None
            if "auto_map" in source.config:
                then = "it needs code from the checkpoint, which Octavo does not run"
            raise CheckpointError(
                "transformers cannot load this checkpoint", where=source.folder, got=reason, then=then
            ) from None
    return model, info


def _find_faults(model: Any, info: Mapping[str, Any], source: Source) -> Iterator[CheckpointError]:
    """Weights that are missing, do not fit, or are no numbers."""
    import torch

    where: Path = source.folder
    unread = task_class(source.signature.task).unread_weights
    missing = sorted(name for name in info["missing_keys"] if not name.startswith(unread))
    if missing:
        yield CheckpointError(
            f"{len(missing)} weights of {type(model).__name__} are missing from the checkpoint",
            where=where,
            got=", ".join(missing[:4]) + (", ..." if len(missing) > 4 else ""),
            then="give the fine-tuned checkpoint: Octavo never makes up a head",
        )
    unlike = [
        f"{name} is {tuple(found)} and should be {tuple(wanted)}" for name, found, wanted in info["mismatched_keys"]
    ]
    if unlike:
        then = "give the config that belongs to these weights"
        yield CheckpointError("weights do not fit the config", where=where, got="; ".join(unlike[:4]), then=then)
    bad = [name for name, tensor in model.state_dict().items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        yield CheckpointError("weights that are NaN or infinite", where=where, got=", ".join(bad[:4]))


def _require_labels(model: Any, signature: Signature) -> None:
    if signature.labels and model.config.num_labels != len(signature.labels):
        raise CheckpointError("labels do not fit the model", got=signature.labels, allowed=model.config.num_labels)
