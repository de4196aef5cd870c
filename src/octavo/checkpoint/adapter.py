"""An adapter of PEFT in a checkpoint's folder: merged into the model, or refused by the name of its base model."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from octavo.checkpoint.weights import has_weights
from octavo.errors import CheckpointError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_OTHERS = ("adapter_model.bin", "pytorch_adapter.bin", "pytorch_model_head.bin")  # pickles, or of AdapterHub
_MERGE = (
    "merge it where it was trained: model = AutoModelFor...from_pretrained(BASE); "
    "PeftModel.from_pretrained(model, THIS).merge_and_unload().save_pretrained(MERGED); then give MERGED"
)


def adapter_files(folder: Path) -> tuple[Path, ...]:
    """The files of an adapter that belongs to the model of a folder, in the order in which they are hashed."""
    return tuple(folder / name for name in (CONFIG, WEIGHTS) if (folder / name).exists())


def require_mergeable(folder: Path) -> None:
    """See that the model of a folder has no adapter, or one that can be merged here.

    Raises:
        CheckpointError: its base model is elsewhere, it is of a kind that is not read, or peft is not installed.
    """
    files = [name for name in (CONFIG, WEIGHTS, *_OTHERS) if (folder / name).exists()]
    if not files:
        return
    what, base = "this folder has an adapter, which changes its model", "base model not named"
    if (folder / CONFIG).exists():
        try:
            settings = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            base = f"base model {settings.get('base_model_name_or_path') or 'not named'}"
        except (ValueError, AttributeError, RecursionError) as error:
            raise CheckpointError(f"{CONFIG} is not a table of settings", where=folder, got=error) from None
    got = f"{', '.join(files)}; {base}"
    if not (has_weights(folder) and (folder / "config.json").exists()):
        raise CheckpointError("this is an adapter without its base model", where=folder, got=got, then=_MERGE)
    if files[:2] != [CONFIG, WEIGHTS]:
        raise CheckpointError(what, where=folder, got=got, allowed=f"{CONFIG} with {WEIGHTS}", then=_MERGE)
    if find_spec("peft") is None:
        raise CheckpointError(what, where=folder, got=got, then=f"pip install peft, which merges it here; or {_MERGE}")


def merge_adapter(model: Any, folder: Path) -> Any:
    """The model with the adapter's change in its weights; the model itself where there is no adapter.

    Raises:
        CheckpointError: peft cannot read or merge it, or a tensor of it has no place in this model.
    """
    if not adapter_files(folder):
        return model
    from peft import PeftConfig, PeftModel, get_peft_model_state_dict
    from safetensors.torch import load_file

    own = {f"base_model.model.{name}" for name in model.state_dict()}  # peft copies a head that an adapter may replace
    try:
        stored, config = load_file(folder / WEIGHTS), PeftConfig.from_pretrained(str(folder))
        if not stored.keys() & own:
            config.task_type = None  # by it peft asks for a head, which an adapter need not store
        adapted = PeftModel.from_pretrained(model, str(folder), config=config, trust_remote_code=False)
        taken = get_peft_model_state_dict(adapted)
        names = stored.keys() | (taken.keys() - own)
        other = sorted(name for name in names if not _same(stored.get(name), taken.get(name)))
        merged = adapted.merge_and_unload(safe_merge=True)
    except Exception as error:  # whatever peft and torch raise
        got = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise CheckpointError("peft cannot merge the adapter", where=folder, got=got, then=_MERGE) from None
    if other:
        what = f"the adapter does not fit {type(model).__name__}: {len(other)} weights are left over or missing"
        then = "give the task that it was trained for"
        raise CheckpointError(what, where=folder, got=", ".join(other[:3]), then=then)
    return merged


def _same(stored: Any, taken: Any) -> bool:
    return stored is not None and taken is not None and bool((stored.float() == taken.float()).all())
