"""`octavo.trim`: a checkpoint with the rows of its vocabulary that the texts of a user need, proved to answer the same.

What was read, counted and chosen is settled, and the answers of the model before are known, before anything is written.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from octavo.artifact.writing import check_free, replace_folder
from octavo.checkpoint.adapter import adapter_files
from octavo.checkpoint.added_tokens import read_settings
from octavo.checkpoint.config import OFFSET_POSITIONS, fill_config, read_config
from octavo.checkpoint.generation_config import FILE as GENERATION
from octavo.checkpoint.generation_config import TARGET_TOKENIZER
from octavo.checkpoint.source import Checkpoint, Source, read_source
from octavo.data.examples import DataFile
from octavo.errors import CheckpointError, InputError, did_you_mean
from octavo.progress import Progress, Silent
from octavo.schema.documents import json_text
from octavo.schema.lineage import SameLogits, SourceRecord, Trimming
from octavo.shrinking.carried import carried_files, told_of, write_lineage
from octavo.shrinking.proof import logits_of, proof_inputs, renumbered_inputs, require_same
from octavo.shrinking.settings import named_ids, renumbered, require_renumbered, side_files, trimmed_config
from octavo.shrinking.tables import find_tables, write_weights
from octavo.shrinking.texts import (
    SplitTexts,
    TokenComparison,
    compare_tokens,
    count_tokens,
    otherwise,
    read_texts,
    token_ids,
)
from octavo.shrinking.vocabulary import Characters, close, fixed_tokens, require_known, trimmed_tokenizer
from octavo.tasks import find_task, task_class

COVERAGE = 0.9999


@dataclass(frozen=True)
class Trimmed:
    """A checkpoint that was written: its folder, what was done, and words that are split otherwise now.

    `otherwise`: each a word, the token that it was a part of or was, and the tokens now.
    """

    folder: Path
    record: Trimming
    otherwise: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class TrimmingPlan:
    """What is to stay, so many of the most frequent tokens or those of such a share of all, and where it goes.

    See `trim`.
    """

    keep: int | None
    coverage: float | None
    characters: Characters
    output: Path
    force: bool
    progress: Progress


@dataclass(frozen=True)
class UntrimmedCheckpoint:
    """A checkpoint that was read, its settings as they are stored, and what is known of its vocabulary."""

    source: Source
    stored: dict[str, Any]
    filled: dict[str, Any]
    generation: dict[str, Any]
    content: dict[str, Any]
    tables: dict[str, int]
    named: set[int]

    @property
    def rows(self) -> int:
        """Of the table before."""
        return int(self.filled["vocab_size"])


@dataclass(frozen=True)
class Choice:
    """The old ids that stay, in the order of their new ones, and the tokenizer with them; what texts say of it."""

    order: list[int]
    chosen: int
    covered: float
    tokenizer: str
    compared: TokenComparison
    otherwise: tuple[tuple[str, str, str], ...]

    @property
    def new_ids(self) -> dict[int, int]:
        """Old id -> new id."""
        return {old: new for new, old in enumerate(self.order)}


def trim(  # noqa: PLR0913 - each is one thing to say
    checkpoint: str | Path | Checkpoint,
    output: str | Path,
    *,
    data: str | Path | DataFile | Sequence[str | Path | DataFile],
    keep: int | None = None,
    coverage: float | None = None,
    characters: Characters = "all",
    force: bool = False,
    progress: Progress | None = None,
) -> Trimmed:
    """Leave out rows of a checkpoint's vocabulary that the user's texts do not need.

    A text whose tokens all stay has the same tokens and, in torch, the same logits to the last bit: both are proved on
    these texts before the folder is there. Special and added tokens stay, those of bytes, and what settings name.

    Args:
        checkpoint: a Hugging Face folder or a hub id; a `Checkpoint` says what its files do not tell.
        output: the folder to write: a checkpoint, for `quantize` and for transformers.
        data: files of examples, as the task reads them; labels are not read. Nine of ten texts are counted, the tenth
            is held out and tells how many texts change that were not counted.
        keep: so many of the most frequent tokens stay, with what they need.
        coverage: the most frequent tokens stay that make up this share of all tokens; 0.9999 where neither is given.
        characters: which characters that are a token stay: "all", so that nothing becomes unknown that was not, or
            those of the "kept" tokens.
        force: replace a checkpoint that this wrote.
        progress: hears of every step.

    Raises:
        OctavoError: see `octavo.errors` for the kinds.
    """
    plan = _plan(TrimmingPlan(keep, coverage, characters, Path(output).resolve(), force, progress or Silent()))
    files = [data] if isinstance(data, str | Path | DataFile) else list(data)
    plan.progress.start("reading the checkpoint")
    untrimmed = _prepare(read_source(checkpoint))
    plan.progress.start("reading the texts")
    data_files = [file if isinstance(file, DataFile) else DataFile(file) for file in files]
    texts = read_texts(data_files, find_task(untrimmed.source.signature))
    plan.progress.start("choosing tokens")
    return _write(plan, untrimmed, texts, choose(plan, untrimmed, texts))


def _plan(plan: TrimmingPlan) -> TrimmingPlan:
    """The plan, where its numbers are possible and the output is free; without a number, `COVERAGE`."""
    keep, coverage = plan.keep, plan.coverage
    if keep is not None and coverage is not None:
        raise InputError("--keep and --coverage exclude each other", got=f"{keep} and {coverage}")
    if keep is not None and keep < 1:
        raise InputError("--keep says how many tokens stay", got=keep, allowed="1 at least")
    if coverage is not None and not 0 < coverage <= 1:
        raise InputError("--coverage is a share of all tokens", got=coverage, allowed="above 0, 1 at most")
    if plan.characters not in {"all", "kept"}:
        raise InputError("--characters", got=plan.characters, allowed=did_you_mean(plan.characters, ("all", "kept")))
    check_free(plan.output, force=plan.force)
    return replace(plan, coverage=COVERAGE) if keep is None and coverage is None else plan


def _prepare(source: Source) -> UntrimmedCheckpoint:
    """See that the checkpoint can be trimmed, and find its tables and the ids that its settings name.

    Raises:
        CheckpointError: it cannot.
    """
    folder = source.folder
    stored, generation = read_config(folder), read_settings(folder, GENERATION)
    filled = fill_config(folder, stored)
    if adapter_files(folder):
        raise CheckpointError("an adapter is not trimmed", where=folder, then="merge it into its model first")
    if source.signature.sparse is not None:
        raise CheckpointError(
            "what a sparse encoder answers are the words of its vocabulary: not trimmed", where=folder
        )
    if source.signature.token_vectors is not None:
        raise CheckpointError("a model that answers with vectors of tokens is not trimmed", where=folder)
    if TARGET_TOKENIZER in source.beside:
        raise CheckpointError("what the model writes has a vocabulary of its own", where=folder, got=TARGET_TOKENIZER)
    require_renumbered(filled, folder / "config.json")
    require_renumbered(generation, folder / GENERATION)
    content, rows = json.loads(source.tokenizer.json), filled.get("vocab_size")
    require_known(content)
    if not isinstance(rows, int) or rows < 1:
        raise CheckpointError("config.json does not tell the rows of the vocabulary", where=folder, got="no vocab_size")
    tables = find_tables(source, filled, rows)
    return UntrimmedCheckpoint(
        source, stored, filled, generation, content, tables, _named(source, filled, generation, content)
    )


def _named(source: Source, config: dict[str, Any], generation: dict[str, Any], content: dict[str, Any]) -> set[int]:
    """The ids that stay whatever texts say: those that settings, the tokenizer and prompts name."""
    pad, parts = source.signature.pad_token_id, source.tokenizer
    named = named_ids(config) | named_ids(generation) | {pad}
    named |= {index for index in (parts.pad_token_id, parts.mask_token_id, parts.unk_token_id) if index is not None}
    if config.get("model_type") in OFFSET_POSITIONS:  # positions are counted from the id of padding, which stays so
        named |= set(range(pad))
    tables = map(json.loads, parts.side_files.values())
    words = {value for table in tables for name, value in table.items() if name.endswith("_token")}
    named |= fixed_tokens(content, {word for word in words if isinstance(word, str)})
    prompts = source.signature.pooling.prompts if source.signature.pooling else {}
    for encoding in Tokenizer.from_str(parts.json).encode_batch(list(prompts.values()), add_special_tokens=False):
        named |= set(encoding.ids)
    return {index for index in named if index < config["vocab_size"]}


def choose(plan: TrimmingPlan, untrimmed: UntrimmedCheckpoint, texts: SplitTexts) -> Choice:
    """Count the tokens of texts and choose those that stay; then split all texts by both tokenizers.

    Raises:
        OctavoError: nothing is left out, or no text keeps its tokens, or one that does is split otherwise.
    """
    before = Tokenizer.from_str(untrimmed.source.tokenizer.json)
    ids = list(token_ids(before, texts.examples))
    counts = count_tokens(ids, texts.held_out)
    chosen = _most_frequent(counts, plan)
    order = close(untrimmed.content, {*chosen, *untrimmed.named}, plan.characters)
    if len(order) >= untrimmed.rows:
        then = "give a smaller --keep or --coverage, or leave the checkpoint as it is"
        raise InputError("every row of the vocabulary stays", got=untrimmed.rows, then=then)
    new_ids = {old: new for new, old in enumerate(order)}
    text = trimmed_tokenizer(untrimmed.content, order)
    after = Tokenizer.from_str(text)
    compared = compare_tokens(
        ids, list(token_ids(after, texts.examples)), new_ids, untrimmed.source.tokenizer.unk_token_id
    )
    if compared.changed.all():
        raise InputError("no text keeps all its tokens, so nothing is proved", got=len(order), then="a larger --keep")
    covered = sum(number for token, number in counts.items() if token in new_ids) / max(1, counts.total())
    held_out = [example for example, out in zip(texts.examples, texts.held_out, strict=True) if out]
    changed = otherwise(before, after, [*held_out, *texts.examples], new_ids)
    return Choice(order, len(chosen), covered, text, compared, tuple(changed))


def _most_frequent(counts: Counter[int], plan: TrimmingPlan) -> list[int]:
    """Ids by how often they come, of equal ones the lower first."""
    ranked = sorted(counts, key=lambda token: (-counts[token], token))
    if plan.keep is not None:
        return ranked[: plan.keep]
    assert plan.coverage is not None
    reached = np.cumsum([counts[token] for token in ranked])
    return ranked[: 1 + int(np.searchsorted(reached, plan.coverage * counts.total() - 1e-9))]


def _write(plan: TrimmingPlan, untrimmed: UntrimmedCheckpoint, texts: SplitTexts, choice: Choice) -> Trimmed:
    """Ask the model, write the checkpoint aside, ask that anew, and move it into place where it answers the same."""
    source = untrimmed.source
    stays = [example for example, changed in zip(texts.examples, choice.compared.changed, strict=True) if not changed]
    inputs = proof_inputs(source, stays)
    task = task_class(source.signature.task)
    columns = task.fills or task.writes  # a logit for each token of the vocabulary
    plan.progress.start("asking the model")
    before = logits_of(source, inputs, choice.order if columns else None)
    plan.progress.start("writing the checkpoint")
    with replace_folder(plan.output, force=plan.force) as aside:
        _write_files(untrimmed, choice, aside)
        plan.progress.start("asking the trimmed model")
        with told_of(aside, plan.output):
            trimmed = read_source(replace(source.asked, path=aside, tokenizer=None))
            after = logits_of(trimmed, renumbered_inputs(inputs, choice.new_ids), None)
        same = require_same(before, after, inputs, columns=columns)
        record = _describe(plan, untrimmed, texts, choice, (trimmed.bytes, same))
        write_lineage(source, record, aside)
    return Trimmed(plan.output, record, choice.otherwise)


def _write_files(untrimmed: UntrimmedCheckpoint, choice: Choice, folder: Path) -> None:
    """Everything but `lineage.json`."""
    source, new_ids = untrimmed.source, choice.new_ids
    tables = {"config.json": trimmed_config(untrimmed.stored, untrimmed.filled, new_ids, len(choice.order))}
    if untrimmed.generation:
        tables[GENERATION] = renumbered(untrimmed.generation, lambda index: new_ids.get(index, index))
    stored = {name: json.loads(content) for name, content in source.tokenizer.side_files.items()}
    tables |= dict(side_files(stored, new_ids))
    for name, table in tables.items():
        (folder / name).write_text(json_text(table, indent=2) + "\n", encoding="utf-8")
    for name, content in carried_files(source.folder).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "tokenizer.json").write_text(choice.tokenizer, encoding="utf-8")
    write_weights(source, untrimmed.tables, choice.order, folder / "model.safetensors")


def _describe(
    plan: TrimmingPlan,
    untrimmed: UntrimmedCheckpoint,
    texts: SplitTexts,
    choice: Choice,
    result: tuple[int, SameLogits],
) -> Trimming:
    source = untrimmed.source
    counted = choice.compared.changes(~texts.held_out)
    assert counted is not None
    return Trimming(
        version=version("octavo"),
        source=SourceRecord(name=source.name, dtype=source.weights.dtype, bytes=source.bytes, sha256=source.sha256),
        keep=plan.keep,
        coverage=plan.coverage,
        characters=plan.characters,
        rows_before=untrimmed.rows,
        rows=len(choice.order),
        chosen=choice.chosen,
        covered=choice.covered,
        bytes_before=source.bytes,
        bytes=result[0],
        data=texts.files,
        counted=counted,
        held_out=choice.compared.changes(texts.held_out),
        logits=result[1],
    )
