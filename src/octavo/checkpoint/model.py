"""The torch model of a checkpoint, complete and finite, or an error that says what is missing."""

from collections.abc import Iterator, Mapping
from typing import Any

from octavo.checkpoint.config import explain_failure
from octavo.checkpoint.libraries import require_torch, silent_transformers
from octavo.checkpoint.source import Source
from octavo.errors import CheckpointError, raise_together
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
    labels = source.signature.labels
    if labels and model.config.num_labels != len(labels):
        raise CheckpointError("labels do not fit the model", got=labels, allowed=model.config.num_labels)
    if hasattr(model.config, "use_cache"):
        model.config.use_cache = False  # decoders would return their cache as further outputs
    return model.float().eval()


def _from_pretrained(source: Source) -> tuple[Any, Mapping[str, Any]]:
    """The model that transformers loads, and its report of missing and mismatched weights."""
    torch, transformers = require_torch()
    local = {"local_files_only": True}
    with silent_transformers(transformers):
        try:
            model, info = getattr(transformers, task_class(source.signature.task).auto_class).from_pretrained(
                source.folder,
                config=transformers.AutoConfig.from_pretrained(source.folder, trust_remote_code=False, **local),
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # reported with their names by `_find_faults`
                trust_remote_code=False,
                **local,
            )
        except Exception as error:  # whatever transformers raises for a config or weights that it cannot use
            what, (got, then) = "transformers cannot load this checkpoint", explain_failure(error, source.config)
            raise CheckpointError(what, where=source.folder, got=got, then=then) from None
    return model, info


def _find_faults(model: Any, info: Mapping[str, Any], source: Source) -> Iterator[CheckpointError]:
    """Weights that are missing, do not fit, or are not finite."""
    import torch

    where = source.folder
    unread = task_class(source.signature.task).unread_weights
    missing = sorted(name for name in info["missing_keys"] if not name.startswith(unread))
    if missing:
        yield CheckpointError(
            f"{len(missing)} weights of {type(model).__name__} are missing from the checkpoint",
            where=where,
            got=", ".join(missing[:4]) + (", ..." if len(missing) > 4 else ""),
            then="give the fine-tuned checkpoint: Octavo never makes up a head",
        )
    shapes = [f"{name} is {tuple(stored)} and should be {tuple(own)}" for name, stored, own in info["mismatched_keys"]]
    if shapes:
        then = "give the config that belongs to these weights"
        yield CheckpointError("weights do not fit the config", where=where, got="; ".join(shapes[:4]), then=then)
    not_finite = [name for name, tensor in model.state_dict().items() if not bool(torch.isfinite(tensor).all())]
    if not_finite:
        yield CheckpointError("weights that are NaN or infinite", where=where, got=", ".join(not_finite[:4]))
