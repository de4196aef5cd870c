"""The torch model of a checkpoint, complete and finite, or an error that says what is missing."""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from octavo.checkpoint.adapter import merge_adapter
from octavo.checkpoint.config import explain_failure, load_config, read_config
from octavo.checkpoint.libraries import require_torch, silent_transformers
from octavo.checkpoint.settings import unread_settings
from octavo.checkpoint.source import Source
from octavo.checkpoint.unread import unread_weights
from octavo.errors import CheckpointError, OctavoWarning, raise_together
from octavo.tasks import find_task, task_class

ENCODERS = ("Encoder", "EncoderModel", "TextModel", "BaseModel", "TextEncoding")  # ends of classes without a head
_NOWHERE = "no adapter"  # a folder that is not there: `merge_adapter` merges, where transformers only lays it over


def load_model(source: Source) -> Any:
    """The checkpoint as a torch model in float32 and evaluation mode.

    Raises:
        CheckpointError: an architecture that transformers does not have, weights that are missing from the checkpoint
            or do not fit, or that no module takes, values that are not finite, settings that the class does not read.
        MissingExtraError: torch or transformers is not installed.
    """
    model, info = _from_pretrained(source)
    find_task(source.signature).adapt_model(model)
    if source.signature.token_vectors is not None:
        from octavo.checkpoint.projection import add_token_vectors

        add_token_vectors(model, source.signature.token_vectors, source.folder, source.weights.files)
    unexpected = [name for name in info["unexpected_keys"] if name not in dict(model.named_parameters())]
    raise_together([*_find_faults(model, info, source), *find_unread(model, unexpected, source)])
    model = merge_adapter(model, source.folder)
    labels = source.signature.labels
    if labels and model.config.num_labels != len(labels):
        raise CheckpointError("labels do not fit the model", got=labels, allowed=model.config.num_labels)
    if hasattr(model.config, "use_cache"):
        model.config.use_cache = False  # decoders would return their cache as further outputs
    return model.float().eval()


def find_unread(model: Any, unexpected: Iterable[str], source: Source) -> list[CheckpointError]:
    """What the folder says and the model does not do; `unexpected` are weights that it has no place for.

    What is doubtful is a warning.
    """
    settings, doubts = unread_settings(model, read_config(source.folder), source.folder)
    for doubt in doubts:
        warnings.warn(f"{source.folder}: {doubt}", OctavoWarning, stacklevel=4)
    return [*unread_weights(unexpected, model.base_model_prefix, source, type(model).__name__), *settings]


def find_class(config: Any, task: str) -> Any:
    """The class of transformers that makes the model of a config: the task's, or an encoder that the config names.

    For vectors `AutoModel` would take the whole of a model that has a decoder, where sentence-transformers, and the
    config's `architectures`, mean its encoder.
    """
    _, transformers = require_torch()
    kind = task_class(task)
    if kind.pools or kind.late:
        for name in config.architectures or ():
            if name.endswith(ENCODERS) and hasattr(transformers, name):
                return getattr(transformers, name)
        encoders = transformers.AutoModelForTextEncoding
        known = encoders._model_mapping  # noqa: SLF001 - there is no public way to ask
        if type(config) in known and known[type(config)].__name__.endswith(ENCODERS):
            return encoders
    return getattr(transformers, kind.auto_class)


def class_name(source: Source) -> str:
    """The name of the class, of transformers, that makes the model of a checkpoint; see `find_class`."""
    _, transformers = require_torch()
    with silent_transformers(transformers):
        return str(find_class(load_config(source.folder), source.signature.task).__name__)


def _from_pretrained(source: Source) -> tuple[Any, Mapping[str, Any]]:
    """The model that transformers loads, and its report of missing, mismatched and unexpected weights."""
    torch, transformers = require_torch()
    with silent_transformers(transformers):
        try:
            config = load_config(source.folder)
            model, info = find_class(config, source.signature.task).from_pretrained(
                source.folder,
                config=config,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # reported with their names by `_find_faults`
                adapter_kwargs={"subfolder": _NOWHERE},
                trust_remote_code=False,
                local_files_only=True,
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
