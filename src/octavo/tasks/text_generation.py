"""text-generation: a text in, the same text continued out; texts measure it by their perplexity.

An example is a text. For a perplexity the texts of a file are read as one, line after line, and cut into windows of
tokens; a token is scored given those before it in its window. The outputs are those of `evaluation.writers`: log p of
each token, [windows, tokens, ...], and what is likeliest in its place.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from typing_extensions import override

from octavo.data.examples import DataFile, Example
from octavo.encoding.batching import WIDE_BUDGET, Encoded, FloatArray, Outputs
from octavo.encoding.tokenizing import NO_OPTIONS, Asked, Options, Row, count_unknown
from octavo.errors import DataError, InputError
from octavo.schema.comparison import Answer
from octavo.schema.signature import Signature
from octavo.tasks.task import Judged, Prepared, Task

WINDOW = 1024  # tokens that are read at once, if nobody says otherwise
NOT_SCORED = 1.0  # in the place of a log p, which is never above 0


def _together(outputs: Outputs) -> FloatArray:
    together = np.full((len(outputs), max(map(len, outputs)), outputs[0].shape[-1]), NOT_SCORED, np.float32)
    for row, output in enumerate(outputs):
        together[row, : len(output)] = output
    return together


def windows(
    tokenizer: Tokenizer, texts: Sequence[str], signature: Signature, stride: int | None = None
) -> list[Encoded]:
    """Texts as one, in windows of at most `signature.max_length` tokens; `type_ids` are 1 where a token is scored.

    The next window begins `stride` tokens later, by default where the last one ended; what two have in common is scored
    in the first, and context in the second. What the tokenizer puts before a text stands before the first window only.

    Raises:
        InputError: a stride that leaves tokens out.
        DataError: the texts have fewer than two tokens.
    """
    size = signature.max_length
    stride = size if stride is None else stride
    if not 0 < stride <= size:
        raise InputError("a stride leaves tokens out", got=stride, allowed=f"1 to {size}, the window")
    tokenizer.no_truncation()
    ids = tokenizer.encode("\n".join(texts)).ids
    if len(ids) < 2:
        raise DataError("the texts are too short to be scored", got=f"{len(ids)} tokens", allowed="2 at least")
    encoded, done = [], 0
    for start in range(0, len(ids), stride):
        part = ids[start : start + size]
        scored = [int(start + place >= done) for place in range(len(part))]
        done = start + len(part)
        if any(scored[1:]):
            encoded.append(Encoded(part, scored, unknown=count_unknown(part, signature)))
        if done == len(ids):
            break
    return encoded


def _known(outputs: FloatArray) -> NDArray[np.bool_]:
    return np.asarray(outputs[:, :, 0] <= 0)


def _divergences(before: FloatArray, after: FloatArray, count: int) -> NDArray[np.float64]:
    divergences = np.empty(len(before))
    for start in range(0, len(before), 4096):  # [4096, count, count] pairs at a time
        p, q = before[start : start + 4096], after[start : start + 4096]
        alike = p[:, 1 + count :, None] == q[:, None, 1 + count :]
        both, where = alike.any(axis=2) & (p[:, 1 + count :] >= 0), alike.argmax(axis=2)
        log_p = p[:, 1 : 1 + count].astype(np.float64)
        log_q = np.take_along_axis(q[:, 1 : 1 + count].astype(np.float64), where, axis=1)
        log_p, log_q = np.where(both, log_p, -np.inf), np.where(both, log_q, -np.inf)
        mass_p, mass_q = np.exp(log_p), np.exp(log_q)
        rest_p, rest_q = (np.maximum(1 - mass.sum(axis=1), 1e-7) for mass in (mass_p, mass_q))
        within = np.where(both, mass_p * (np.where(both, log_p, 0) - np.where(both, log_q, 0)), 0).sum(axis=1)
        divergences[start : start + 4096] = within + rest_p * np.log(rest_p / rest_q)
    return np.maximum(divergences, 0)


class TextGeneration(Task[FloatArray]):
    """A text that goes on from another; and how likely texts are, in a comparison."""

    name = "text-generation"
    auto_class = "AutoModelForCausalLM"
    scores = ("perplexity",)
    writes = True
    continues = True
    of_tokens = True
    formats = ("onnx",)
    token_budget = WIDE_BUDGET
    usual_length = WINDOW
    scored = True  # a text is its own label
    keys = ("text",)

    @override
    def read_examples(self, file: DataFile, labels: Sequence[str] = ()) -> tuple[Example, ...]:
        """Texts: the first rows, and no sample of them, since lines go on from each other."""
        return replace(file, limit=None).read()[: file.limit]

    @override
    def rows(self, examples: Sequence[Example]) -> list[Row]:
        """Each text."""
        return self.from_texts([example.text for example in examples])

    @override
    def prepare(self, tokenizer: Tokenizer, examples: Sequence[Example]) -> Prepared:
        """Windows of the whole text, which are what is compared."""
        encoded = windows(tokenizer, [example.text for example in examples], self.signature)
        examples = [Example(tokenizer.decode(list(row.ids))) for row in encoded]
        return examples, self.rows(examples), encoded

    @override
    def read(self, outputs: Outputs, asked: Asked) -> FloatArray:
        """The windows' answers [tokens, k] as one array, [windows, tokens, k], filled up with `NOT_SCORED`."""
        return _together(outputs)

    @override
    def decode(self, outputs: FloatArray, options: Options = NO_OPTIONS) -> list[dict[str, Any]]:
        """The perplexity of each window."""
        return [{"perplexity": answer.score} for answer in self.answers(outputs, ())]

    @override
    def judged(self, outputs: FloatArray, examples: Sequence[Example]) -> Judged:
        """How many tokens of each window are scored, and the sum of their -log p."""
        known = _known(outputs)
        return known.sum(axis=1).astype(np.float64), -np.where(known, outputs[:, :, 0], 0).sum(axis=1, dtype=np.float64)

    @override
    def gold(self, outputs: FloatArray, examples: Sequence[Example]) -> list[str | float | None]:
        """Nothing: a text is its own label."""
        return [None for _ in examples]

    @override
    def batch_effect(self, alone: Outputs, among: Outputs) -> float:
        """The largest mean change of a token's log-probability in a window."""
        return float(self.distances(_together(alone), _together(among)).max())

    @override
    def fidelity(self, reference: FloatArray, outputs: FloatArray, rows: Sequence[Row]) -> dict[str, float]:
        """How often the likeliest next token is the baseline's, and the Kullback-Leibler divergence of the next token's
        distribution from it, in nats.

        The divergence is over the tokens that are among the likeliest of both, and all others as one: by the data
        processing inequality it is never above the whole one, and near it while the models are.
        """  # noqa: D205 - one sentence
        known = _known(reference)
        before, after = reference[known], outputs[known]
        count = (reference.shape[2] - 1) // 2
        same = before[:, 1 + count] == after[:, 1 + count]
        return {"agreement": float(np.mean(same)), "kl": float(np.mean(_divergences(before, after, count)))}

    @override
    def answers(self, outputs: FloatArray, examples: Sequence[Example]) -> list[Answer]:
        """The perplexity of each window."""
        counts, losses = self.judged(outputs, examples)
        return [Answer(None, value) for value in np.exp(losses / np.maximum(counts, 1)).tolist()]

    @override
    def distances(self, first: FloatArray, second: FloatArray) -> NDArray[np.float64]:
        """The mean change of a token's log-probability in each window."""
        known = _known(first)
        moved = np.where(known, np.abs(first[:, :, 0] - second[:, :, 0]), 0).sum(axis=1, dtype=np.float64)
        return np.asarray(moved / np.maximum(known.sum(axis=1), 1), np.float64)
