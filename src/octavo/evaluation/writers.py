"""Models that write as sessions of a comparison: they score the tokens of texts, or answer texts with texts."""

import numpy as np
from numpy.typing import NDArray

from octavo.encoding.batching import Encoded
from octavo.engines import Writer
from octavo.generation import FloatArray, IntArray
from octavo.generation.processors import log_softmax
from octavo.inference.generator import Generator
from octavo.inference.texts import Text, write_texts
from octavo.tasks.text2text_generation import points

LIKELIEST = 16  # tokens of which more is kept than their sum
UNSCORED = 1.0  # no logarithm of a probability


class ScoringSession:
    """Scores windows of texts: [batch, width, 1 + 2 x LIKELIEST], `width` that of the longest window there may be.

    Of each token log p of itself given those before it (`UNSCORED` where it is the first, padding, or context: where
    `token_type_ids` are 0), then the log p of the likeliest tokens in its place, likeliest first, then their ids.
    """

    def __init__(self, writer: Writer, width: int) -> None:
        self.name, self.threads, self.streams = writer.name, writer.threads, 1
        self._writer, self._width = writer, width

    def run(self, inputs: dict[str, NDArray[np.int64]]) -> FloatArray:
        """Score one batch; see the class."""
        return self.score(inputs, self.logits(inputs))

    def logits(self, inputs: dict[str, NDArray[np.int64]]) -> FloatArray:
        """The model's logits of one batch, [batch, length, vocabulary]; the part of `run` that is the model's."""
        return self._writer.logits({name: inputs[name] for name in ("input_ids", "attention_mask")})

    def score(self, inputs: dict[str, NDArray[np.int64]], logits: FloatArray) -> FloatArray:
        """The scores of one batch, from its logits."""
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        scored = inputs.get("token_type_ids", mask) * mask
        count = min(LIKELIEST, logits.shape[2])
        scores = np.zeros((len(ids), self._width, 1 + 2 * LIKELIEST), np.float32)
        scores[:, :, 0] = UNSCORED
        for row in range(len(ids)):  # row by row: the logits are large, and are not copied as a whole
            log_probabilities = log_softmax(logits[row, :-1])
            own = np.take_along_axis(log_probabilities, ids[row, 1:, None], axis=1)[:, 0]
            best = np.argpartition(-log_probabilities, count - 1, axis=1)[:, :count]
            values = np.take_along_axis(log_probabilities, best, axis=1)
            order = np.argsort(-values, axis=1, kind="stable")
            places = slice(1, ids.shape[1])
            scores[row, places, 0] = np.where(scored[row, 1:] != 0, own, UNSCORED)
            scores[row, places, 1 : 1 + count] = np.take_along_axis(values, order, axis=1)
            scores[row, places, 1 + LIKELIEST : 1 + LIKELIEST + count] = np.take_along_axis(best, order, axis=1)
            scores[row, places, 1 + count : 1 + LIKELIEST] = -np.inf
            scores[row, places, 1 + LIKELIEST + count :] = -1
        return scores


LETTERS = 16  # of a token, at the most, in an answer that is compared


class AnsweringSession:
    """A model that answers texts with texts, in a comparison: texts as code points (`tasks.text2text_generation`)."""

    def __init__(self, generator: Generator) -> None:
        """Take the model with its own settings; answers are cut at `LETTERS` a token."""
        self.name, self.threads, self.streams = generator.session.name, generator.session.threads, 1
        self._generator, self._width = generator, LETTERS * generator.generation.sampling.max_new_tokens

    def run(self, inputs: dict[str, IntArray]) -> FloatArray:
        """Answer one batch; `input_ids` and `attention_mask` [batch, length] -> [batch, letters]."""
        pairs = zip(inputs["input_ids"], inputs["attention_mask"], strict=True)
        rows = [Encoded(ids[mask != 0].tolist(), ()) for ids, mask in pairs]
        generator, tokenizers, generation = self._generator, self._generator.tokenizers, self._generator.generation
        answers = write_texts(generator.session, tokenizers, generator.signature, rows, generation)
        prompt = [generation.decoder_start_token_id or 0]
        return points([Text(tokenizers, prompt, generation).text(ids) for ids in answers], self._width)
