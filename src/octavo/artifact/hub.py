"""An artifact on the Hub: its files, and its card, are one commit; the client library is huggingface_hub.

What the folder holds besides, and `octavo.json` does not list, stays here.
"""

from pathlib import Path

from octavo.errors import ArtifactError, InputError
from octavo.reporting.card import hub_card
from octavo.schema.comparison import ComparisonRecord, read_comparison
from octavo.schema.manifest import CARD, MANIFEST, Manifest


def push_files(
    folder: Path,
    manifest: Manifest,
    repo: str,
    *,
    private: bool,
    base_model: str | None,
    comparison: str | Path | ComparisonRecord | None,
) -> str:
    """Push the files of an artifact, and return the revision that has them; see `Artifact.push_to_hub`."""
    from huggingface_hub import CommitOperationAdd, HfApi

    record = read_comparison(comparison) if isinstance(comparison, str | Path) else comparison
    card = folder / CARD
    text = hub_card(card.read_text(encoding="utf-8") if card.exists() else "", manifest, base_model, record)
    named: list[tuple[str, Path | bytes]] = [(name, folder / name) for name in manifest.files if name != CARD]
    named += [(MANIFEST, folder / MANIFEST), (CARD, text.encode())]
    added = [
        CommitOperationAdd(name, content if isinstance(content, bytes) else str(content)) for name, content in named
    ]
    api = HfApi(library_name="octavo", library_version=manifest.version)
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        message = f"{manifest.recipe.method} of {manifest.source.name}, by octavo {manifest.version}"
        return str(api.create_commit(repo, added, commit_message=message).oid)
    except Exception as error:  # of the library, of HTTP, of the network: each has its own
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        then = "hf auth login, where it is not your name that is wrong"
        known = isinstance(error, ValueError)  # HFValidationError: no name of a repository
        raise (InputError if known else ArtifactError)(
            "the Hub does not take it", got=f"{repo}: {reason}", then=then
        ) from None
