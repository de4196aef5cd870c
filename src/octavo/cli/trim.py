"""`octavo trim`: a checkpoint with the rows of its vocabulary that your texts need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from octavo.cli.echo import say, size_note, words
from octavo.cli.next_step import calibrate_options, quantize_next
from octavo.cli.options import (
    Columns,
    Encoding,
    IgnoreWeights,
    LineageJson,
    NewCheckpoint,
    ReplaceCheckpoint,
    TaskName,
    Texts,
    TokenizerFolder,
    mapping,
)
from octavo.schema.documents import json_text

if TYPE_CHECKING:
    from octavo.schema.lineage import Changes
    from octavo.shrinking.trimming import Trimmed
    from octavo.shrinking.vocabulary import Characters

Keep = Annotated[int | None, typer.Option(help="So many of the most frequent tokens stay, with what they need.")]
Coverage = Annotated[
    float | None, typer.Option(help="The most frequent tokens that make up this share stay. Default: 0.9999.")
]
Kept = Annotated[
    str, typer.Option(help="all: nothing becomes unknown that was not. kept: only characters of tokens that stay.")
]


def trim(
    checkpoint: Annotated[str, typer.Argument(help="A Hugging Face folder, or a hub id.")],
    data: Texts,
    output: NewCheckpoint,
    keep: Keep = None,
    coverage: Coverage = None,
    characters: Kept = "all",
    task: TaskName = None,
    tokenizer: TokenizerFolder = None,
    ignore_weights: IgnoreWeights = None,
    encoding: Encoding = "utf-8",
    columns: Columns = None,
    force: ReplaceCheckpoint = False,
    as_json: LineageJson = False,
) -> None:
    """Leave out rows of the vocabulary that your texts do not need.

    Texts whose tokens all stay have the same answers, which is proved on yours.
    """
    from octavo.checkpoint.source import Checkpoint
    from octavo.cli.display import TerminalProgress
    from octavo.data.examples import DataFile
    from octavo.shrinking.trimming import trim as run_trim

    model = Checkpoint(checkpoint, task, tokenizer, ignore_weights=tuple(ignore_weights or ()))
    files = [DataFile(path, encoding, mapping(columns)) for path in data]
    with TerminalProgress() as progress:
        trimmed = run_trim(
            model,
            output,
            data=files,
            keep=keep,
            coverage=coverage,
            characters=cast("Characters", characters),  # trim says what is allowed
            force=force,
            progress=progress,
        )
    if as_json:
        record = trimmed.record.model_dump(mode="json", exclude_none=True)
        say(*json_text(record, indent=1).split("\n"))
        return
    _show(trimmed)
    say(words("written to {path}").format(path=output))
    examples = [] if trimmed.record.logits.columns else calibrate_options(data[0], columns, encoding)
    quantize_next(output, "int8", task, ignore_weights, examples)


def _show(trimmed: Trimmed) -> None:
    record = trimmed.record
    text = words("{n:,} of {all:,} rows stay: {chosen:,} were chosen by how often they come")
    say(text.format(n=record.rows, all=record.rows_before, chosen=record.chosen))
    say(size_note(record.bytes, record.bytes_before))
    say(f"{words('texts that were counted')}: {_changes(record.counted)}")
    if record.held_out:
        say(f"{words('texts that were held out')}: {_changes(record.held_out)}")
    same = record.logits
    exact = words("the same logits to the last bit")
    if same.difference != 0:
        exact = words("logits that differ by {difference:.1g}").format(difference=same.difference)
    exact = words("of the tokens that stay {exact}").format(exact=exact) if same.columns else exact
    text = words("texts whose tokens all stay: the same tokens in all, and {exact} in the {n} that were run")
    say(text.format(exact=exact, n=same.texts))
    for word, before, after in trimmed.otherwise:
        say(words("split otherwise: {word!r} was {before}, is {after}").format(word=word, before=before, after=after))


def _changes(changes: Changes) -> str:
    texts, tokens = changes.changed_texts, changes.changed_tokens
    told = words(
        "{share:.2%} of {n:,} change ({low:.2%} to {high:.2%}), and of their tokens {tokens:.3%} ({least:.3%} to "
        "{most:.3%}); {longer:+.2%} tokens"
    ).format(
        share=texts.value,
        n=changes.texts,
        low=texts.low,
        high=texts.high,
        tokens=tokens.value,
        least=tokens.low,
        most=tokens.high,
        longer=changes.tokens_after / changes.tokens - 1,
    )
    more = changes.unknown_after - changes.unknown
    return told + (words("; {n:,} more UNK tokens").format(n=more) if more else "")
