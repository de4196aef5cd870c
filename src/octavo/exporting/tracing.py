"""Which models torch can trace to one graph for all lengths, and what is changed for that in the copy that is traced.

The model that answers are held against is never changed.
"""

from collections.abc import Mapping
from typing import Any

from octavo.checkpoint.source import Source
from octavo.errors import ExportError
from octavo.tasks import task_class

# model_type -> why there is no graph of it; tried by bench/architectures.py.
UNTRACEABLE = {
    "funnel": "it counts positions outside of torch, so that a graph is for one length",
    "longformer": "which tokens see everything is looked up in the text, and its windows are cut by that",
}
UNTRACEABLE_READERS = {"mbart": "its decoder's first token is looked up in the text, and that of one row otherwise"}


def require_traceable(source: Source) -> None:
    """See that models of this type can be exported, before anything is loaded.

    Raises:
        ExportError: they cannot.
    """
    kind = str(source.config.get("model_type"))
    readers = {} if task_class(source.signature.task).writes else UNTRACEABLE_READERS
    if why := (UNTRACEABLE | readers).get(kind):
        then = "take a checkpoint of another architecture"
        raise ExportError(f"{kind} cannot be exported: {why}", where=source.folder, got=kind, then=then)


def end_token(config: Mapping[str, Any], task: str) -> int | None:
    """The token at which a classifier with a decoder reads the text, and which each text needs; None of others."""
    if not (config.get("is_encoder_decoder") and task_class(task).labelled):
        return None
    end = config.get("eos_token_id")
    return end if isinstance(end, int) else None


def make_traceable(model: Any, task: str) -> Any:
    """The model itself, to be exported: a classifier with a decoder (BART, T5) finds the last end token by its place.

    transformers takes the states at all end tokens and reshapes them by rows, which raises in torch, and is silently
    wrong in a graph, where one row of a batch has more of them than another.
    """
    head, end = getattr(model, "classification_head", None), end_token(model.config.to_dict(), task)
    if head is None or end is None:
        return model
    import torch
    from transformers.modeling_outputs import SequenceClassifierOutput

    base, shift = getattr(model, model.base_model_prefix), getattr(model, "_shift_right", None)

    def forward(input_ids: Any, attention_mask: Any = None) -> Any:
        shifted = {"decoder_input_ids": shift(input_ids)} if shift else {}
        states = base(input_ids, attention_mask=attention_mask, use_cache=False, **shifted)[0]
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        last = (input_ids.eq(end).to(places.dtype) * places).amax(dim=1)
        chosen = states.gather(1, last[:, None, None].expand(-1, 1, states.shape[2]))[:, 0]
        return SequenceClassifierOutput(logits=head(chosen))

    model.forward = forward
    return model
