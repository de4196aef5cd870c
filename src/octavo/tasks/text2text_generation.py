"""text2text-generation: a text in, another text out: a translation, a summary, a pronunciation.

The outputs of a model that writes are its texts as code points, [rows, length] padded with 0: the same whatever the
tokenizer.
"""

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from typing_extensions import override

from octavo.data.examples import DataFile, Example, target_columns
from octavo.encoding.batching import Encoded, FloatArray
from octavo.encoding.tokenizing import NO_OPTIONS, Options, Row
from octavo.schema.comparison import Answer
from octavo.tasks.task import Judged, Task


def points(texts: Sequence[str], width: int) -> FloatArray:
    """Texts as code points, [texts, width], cut or padded with 0; float32 holds each exactly."""
    array = np.zeros((len(texts), width), np.float32)
    for row, text in enumerate(texts):
        array[row, : min(width, len(text))] = [ord(letter) for letter in text[:width]]
    return array


def _texts(outputs: FloatArray) -> list[str]:
    return ["".join(chr(int(point)) for point in row if point) for row in outputs]


def overlap(texts: Sequence[str], targets: Sequence[str]) -> dict[str, float]:
    """Corpus chrF (Popovic 2015) and BLEU (Papineni et al. 2002) with sacrebleu's defaults; nothing without it."""
    if find_spec("sacrebleu") is None or not texts:
        return {}
    import sacrebleu

    scores = {"chrf": sacrebleu.corpus_chrf, "bleu": sacrebleu.corpus_bleu}
    return {name: float(score(list(texts), [list(targets)]).score) for name, score in scores.items()}


class Text2TextGeneration(Task[FloatArray]):
    """A text for a text."""

    name = "text2text-generation"
    auto_class = "AutoModelForSeq2SeqLM"
    scores = ("exact_match",)
    writes = True
    is_encoder_decoder = True
    formats = ("onnx",)
    calibrates = False
    one_text = "one text is answered"
    scored = True  # examples have a text, and no label
    keys = ("text",)

    @override
    def read_examples(self, file: DataFile, labels: Sequence[str] = ()) -> tuple[Example, ...]:
        """Texts, and what is to be made of them where the file tells: columns such as `text` and `target`."""
        return replace(file, columns=file.columns or target_columns(Path(file.path), file.encoding)).read()

    @override
    def encode(self, tokenizer: Tokenizer, rows: Sequence[Row], options: Options = NO_OPTIONS) -> list[Encoded]:
        """Token ids of each text, and as an answer to be scored the text itself."""
        start, most = self.generation.decoder_start_token_id or 0, self.signature.max_length - 1
        encoded = super().encode(tokenizer, rows, options)
        return [replace(row, target_ids=[start, *list(row.ids)[:most]]) for row in encoded]

    @override
    def decode(self, outputs: FloatArray, options: Options = NO_OPTIONS) -> list[dict[str, Any]]:
        """The text of each row."""
        return [{"generated_text": text} for text in _texts(outputs)]

    @override
    def quality(self, outputs: FloatArray, examples: Sequence[Example]) -> dict[str, float]:
        """The share of texts that are exactly what they should be; chrF and BLEU where sacrebleu is installed."""
        scores, pairs = super().quality(outputs, examples), zip(_texts(outputs), examples, strict=True)
        known = [(text, example.text_pair) for text, example in pairs if example.text_pair]
        return scores and scores | overlap([text for text, _ in known], [target for _, target in known])

    @override
    def judged(self, outputs: FloatArray, examples: Sequence[Example]) -> Judged | None:
        """Whether each example has a target, 1 or 0, and whether the text is it, [examples, 1]; None without any."""
        pairs = [(text, example.text_pair) for text, example in zip(_texts(outputs), examples, strict=True)]
        known = np.array([target is not None for _, target in pairs], np.float64)
        return (known, np.array([[text == target] for text, target in pairs], np.float64)) if known.any() else None

    @override
    def gold(self, outputs: FloatArray, examples: Sequence[Example]) -> list[str | float | None]:
        """What each text is to become."""
        return [example.text_pair for example in examples]

    @override
    def fidelity(self, reference: FloatArray, outputs: FloatArray, rows: Sequence[Row]) -> dict[str, float]:
        """The share of texts that are the baseline's."""
        return {"agreement": float(np.mean(self.distances(reference, outputs) == 0))}

    @override
    def answers(self, outputs: FloatArray, examples: Sequence[Example]) -> list[Answer]:
        """The text of each row."""
        return [Answer(text, None) for text in _texts(outputs)]

    @override
    def distances(self, first: FloatArray, second: FloatArray) -> NDArray[np.float64]:
        """1 where the text is another."""
        return np.array([a != b for a, b in zip(_texts(first), _texts(second), strict=True)], np.float64)
