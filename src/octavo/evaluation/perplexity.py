"""The perplexity of one model on texts, in windows that may overlap."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from octavo.checkpoint.source import Checkpoint
from octavo.data.examples import DataFile
from octavo.encoding.batching import make_batches
from octavo.errors import InputError
from octavo.evaluation.writers import ScoringSession
from octavo.inference.generator import Generator
from octavo.inference.opening import load
from octavo.metrics.scores import perplexity as of_losses
from octavo.schema.signature import lower_limit
from octavo.tasks.text_generation import WINDOW, TextGeneration, windows

INPUTS = ("input_ids", "attention_mask", "token_type_ids")  # the last says which tokens are scored


def perplexity(
    model: str | Path | Checkpoint | Generator,
    data: str | Path | DataFile | Sequence[str],
    *,
    window: int | None = None,
    stride: int | None = None,
) -> float:
    """exp of the mean -log p of every token of the texts, read as one, given those before it in its window.

    Args:
        model: an artifact or a checkpoint for text-generation, or one that is loaded.
        data: a file of texts, or texts.
        window: tokens of a window; by default `WINDOW`, or as many as the model takes.
        stride: tokens from one window to the next; a smaller one gives each token more before it, and takes longer.

    Raises:
        InputError: the model is for another task, or the stride leaves tokens out.
        DataError: the file cannot be read.
    """  # noqa: D403 - the function's name
    generator = model if isinstance(model, Generator) else load(model)
    if not generator.task.continues:
        raise InputError("a perplexity is of a model for text-generation", got=generator.signature.task)
    assert isinstance(generator, Generator)
    file = DataFile(data) if isinstance(data, (str, Path)) else data
    texts = [example.text for example in file.read()] if isinstance(file, DataFile) else list(file)
    signature = lower_limit(generator.signature, window or min(WINDOW, generator.signature.max_length))
    task = TextGeneration(signature)
    tokenizer = task.make_tokenizer(generator.tokenizers.read.to_str())
    encoded = windows(tokenizer, texts, signature, stride)
    session = ScoringSession(generator.session, signature.max_length)
    signature = signature.model_copy(update={"input_names": INPUTS})
    batches = make_batches(encoded, signature, task.token_budget)
    judged = [task.judged(session.run(batch.inputs), ()) for batch in batches]
    counts, losses = (np.concatenate(parts) for parts in zip(*judged, strict=True))
    return of_losses(counts, losses)
