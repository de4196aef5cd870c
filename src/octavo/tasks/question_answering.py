"""question-answering: a question and its context in, the part of the context that answers it out.

Contexts longer than the limit are read in windows that overlap. As transformers' pipeline, until version 5, gave them,
answers come with a score and their characters; of several windows the logits are compared, as SQuAD's scripts do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from typing_extensions import override

from octavo.data.examples import DataFile, Example
from octavo.data.rows import Rows, without
from octavo.data.squad import EXTENSIONS, read_questions, read_squad
from octavo.encoding import tokenizing as encoding
from octavo.encoding.batching import Encoded, Outputs
from octavo.encoding.tokenizing import NO_OPTIONS, Asked, Options, Row, settings
from octavo.errors import DataError, InputError
from octavo.metrics.answers import exact_match, f1, is_korean
from octavo.metrics.scores import kl_rows, softmax
from octavo.schema.comparison import Answer
from octavo.schema.signature import Signature
from octavo.tasks.task import Judged, Task

SHARED = 128  # tokens that windows have in common (`doc_stride`), or a quarter of the limit where that is less
LONGEST = 30  # tokens of an answer, if nobody says otherwise


@dataclass(frozen=True)
class Span:
    """A possible answer: characters (start, end) of the context, and its probability; 0, 0 is no answer."""

    score: float
    start: int
    end: int


@dataclass(frozen=True)
class AnswerWindows:
    """What a model says of a question: of each window the context's tokens as characters, and their logits.

    `spans` [tokens, 2] and `logits` [tokens, (start, end)] are those of all windows, `windows` the tokens of each, and
    `nothing` [windows, 2] the logits of the first token, which stands for no answer.
    """

    context: str
    windows: tuple[int, ...]
    spans: NDArray[np.int64]
    logits: NDArray[np.float32]
    nothing: NDArray[np.float32]

    @cached_property
    def shares(self) -> NDArray[np.float32]:
        """The probabilities of where the answer starts and ends [windows + tokens, 2], no answer first."""
        return np.asarray(softmax(np.concatenate([self.nothing, self.logits]).T).T, np.float32)

    @cached_property
    def best(self) -> Span:
        """The likeliest answer."""
        return likeliest(self, 1, LONGEST)[0]

    @property
    def none(self) -> Span:
        """No answer, as likely as it is in the window that says so least."""
        return Span(float(self.shares[: len(self.windows)].prod(axis=1).min()), 0, 0)

    @property
    def said(self) -> str:
        """The likeliest answer's characters; none where no answer is likelier."""
        return "" if self.none.score > self.best.score else self.text(self.best)

    def text(self, span: Span) -> str:
        """The characters of an answer."""
        return self.context[span.start : span.end]


def _same_tokens(first: AnswerWindows, second: AnswerWindows) -> bool:
    """Whether two models read the same tokens, in the same windows."""
    return first.windows == second.windows and np.array_equal(first.spans, second.spans)


def _told(answer: AnswerWindows) -> tuple[str, str]:
    """What is said, and the likeliest answer where none is; without blanks, which a token may have before its word."""
    return answer.said.strip(), answer.text(answer.best).strip()


def likeliest(answer: AnswerWindows, count: int, longest: int) -> list[Span]:
    """The `count` likeliest answers of at most `longest` tokens, the same characters once; at least one."""
    spans: dict[tuple[int, int], float] = {}
    begin = 0
    shares = answer.shares[len(answer.windows) :]
    for size in answer.windows:
        places, inside = answer.spans[begin : begin + size], shares[begin : begin + size].astype(np.float64)
        begin += size
        if not size:
            continue
        reach = min(longest, size)
        scores = np.full((reach, size), -1.0)  # [tokens more, first token]
        for more in range(reach):
            scores[more, : size - more] = inside[: size - more, 0] * inside[more:, 1]
        most = min(scores.size, 4 * count)
        for place in np.argpartition(-scores, most - 1, axis=None)[:most].tolist():
            more, first = divmod(place, size)
            if scores[more, first] >= 0:
                where = int(places[first, 0]), int(places[first + more, 1])
                spans[where] = max(spans.get(where, 0.0), float(scores[more, first]))
    ordered = sorted(spans.items(), key=lambda item: (-item[1], item[0]))[:count]
    return [Span(score, *where) for where, score in ordered] or [Span(0.0, 0, 0)]


def _room(tokenizer: Tokenizer, signature: Signature) -> int:
    return int(signature.max_length - tokenizer.num_special_tokens_to_add(is_pair=True))


def _korean(questions: Sequence[str]) -> bool:
    """Whether a file's questions are in Korean, by most of them: its language decides how all are scored."""
    return 2 * sum(map(is_korean, questions)) > len(questions)


class QuestionAnswering(Task[Sequence[AnswerWindows]]):
    """The part of a context that answers a question."""

    name = "question-answering"
    auto_class = "AutoModelForQuestionAnswering"
    scores = ("exact_match", "answer_f1")
    output_names = ("start_logits", "end_logits")
    onnx_output = ("the output has no start and end", "start_logits and end_logits [batch, length]", (2,))
    keys = ("question", "context")
    group_by = "text_pair"
    extracts = True
    options: ClassVar[Options] = {
        "top_k": 1,
        "max_answer_len": LONGEST,
        "handle_impossible_answer": False,
        "doc_stride": None,
    }

    @override
    def read_examples(self, file: DataFile, labels: Sequence[str] = ()) -> tuple[Example, ...]:
        """Questions with their contexts; see `squad.read_squad`."""
        return read_squad(file)

    @override
    def read_rows(self, file: DataFile) -> Rows:
        """Questions with their contexts, and whatever else the file has of them; a table has columns of these names."""
        table = Path(file.path).suffix.lower() not in EXTENSIONS
        return super().read_rows(file) if table else list(read_questions(file))

    @override
    def split_row(
        self, row: Mapping[str, Any], columns: Mapping[str, str], place: str
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The question and the context; see `Task`."""
        names = {key: columns.get(key, key) for key in self.keys}
        return {key: row[name] for key, name in names.items() if name in row}, without(row, names.values())

    @override
    def from_texts(self, texts: Sequence[str]) -> list[Row]:
        """Each text asked of the next one."""
        return [(text, texts[(index + 1) % len(texts)]) for index, text in enumerate(texts)]

    @override
    def parse_row(self, row: Any) -> Row:
        """A question and a context: a mapping with these keys, or a tuple.

        Raises:
            DataError: it is not, or one of them is empty.
        """
        if isinstance(row, Mapping) and set(row) == {"question", "context"}:
            row = row["question"], row["context"]
        if not isinstance(row, tuple):
            allowed = '{"question": ..., "context": ...}, or a tuple of both'
            raise DataError("a row is a question with its context", got=encoding.describe_row(row), allowed=allowed)
        question, context = encoding.parse_row(row)
        if not question.strip() or context is None or not str(context).strip():
            raise DataError("a question and a context are needed, and one is empty", got=f"{row!r:.80}")
        return question, context

    @override
    def make_tokenizer(self, tokenizer_json: str) -> Tokenizer:
        """The tokenizer, which cuts nothing: contexts are cut into windows by `encode`.

        Raises:
            InputError: the limit leaves no room for a question and a context.
        """
        tokenizer = encoding.make_tokenizer(tokenizer_json, self.signature)
        tokenizer.no_truncation()
        if _room(tokenizer, self.signature) < 8:
            raise InputError("max_length leaves no room for a question and a context", got=self.signature.max_length)
        return tokenizer

    @override
    def encode(self, tokenizer: Tokenizer, rows: Sequence[Row], options: Options = NO_OPTIONS) -> list[Encoded]:
        """The windows of each row; a question has at most half of a window, and is cut behind it.

        Raises:
            InputError: windows are to share more than half of what they may have.
        """
        room, stride = _room(tokenizer, self.signature), options.get("doc_stride")
        stride = min(SHARED, self.signature.max_length // 4) if stride is None else stride
        if type(stride) is not int or not 0 <= stride < room // 2:
            raise InputError("doc_stride is out of range", got=stride, allowed=f"0 to {room // 2 - 1}")
        questions, contexts = (
            tokenizer.encode_batch([str(row[side]) for row in rows], add_special_tokens=False) for side in (0, 1)
        )
        windows = []
        for row, (question, context) in enumerate(zip(questions, contexts, strict=True)):
            cut = len(question.ids) > room // 2
            question.truncate(room // 2)
            context.truncate(room - len(question.ids), stride=stride)
            for part in (context, *context.overflowing):
                window = tokenizer.post_process(question, part)
                more = {"truncated": cut, "row": row} | encoding.characters_of(window)
                windows.append(encoding.as_encoded(window, self.signature, **more))
        return windows

    @override
    def read(self, outputs: Outputs, asked: Asked) -> list[AnswerWindows]:
        """The windows of each question together."""
        answers = []
        windows = zip(asked.encoded, outputs, strict=True)
        for row, group in groupby(windows, key=lambda window: window[0].row):
            assert row is not None
            sizes, spans, logits, nothing = [], [], [], []
            for window, output in group:
                places = [index for index, side in enumerate(window.sides) if side == 1]
                sizes.append(len(places))
                spans += [window.spans[index] for index in places]
                logits.append(output[places])
                nothing.append(output[0])
            tokens = np.array(spans, np.int64).reshape(-1, 2), np.concatenate(logits)
            answers.append(AnswerWindows(str(asked.rows[row][1]), tuple(sizes), *tokens, np.stack(nothing)))
        return answers

    @override
    def decode(self, outputs: Sequence[AnswerWindows], options: Options = NO_OPTIONS) -> list[Any]:
        """Of each question `{"score", "start", "end", "answer"}`, or a list of `top_k` of them, the likeliest first.

        With `handle_impossible_answer` an empty answer is among them.

        Raises:
            InputError: `top_k` or `max_answer_len` is below 1.
        """
        chosen = settings(options, self.options)
        count, longest = int(chosen["top_k"]), int(chosen["max_answer_len"])
        if count < 1 or longest < 1:
            raise InputError("top_k and max_answer_len are 1 or more", got=f"{count} and {longest}")
        predictions: list[Any] = []
        for row in outputs:
            spans = likeliest(row, count, longest)
            if chosen["handle_impossible_answer"]:
                spans = sorted([*spans, row.none], key=lambda span: -span.score)[:count]
            answers = [{**vars(span), "answer": row.text(span)} for span in spans]
            predictions.append(answers[0] if count == 1 else answers)
        return predictions

    @override
    def to_json(self, prediction: Any) -> dict[str, Any]:
        """An answer as it is, several under `answers`."""
        return prediction if isinstance(prediction, dict) else {"answers": prediction}

    @override
    def judged(self, outputs: Sequence[AnswerWindows], examples: Sequence[Example]) -> Judged | None:
        """Of each question whether its answers are known, 1 or 0, and exact match and F1 of what is said, 0 where not.

        None where no answers are known. No answer counts where it is likelier, in data with impossible questions.
        """
        known = np.array([example.answers is not None for example in examples], np.int64)
        impossible, korean = any(row.answers == () for row in examples), _korean([row.text for row in examples])
        scores = np.zeros((len(examples), 2))
        for row in np.flatnonzero(known).tolist():
            answer, gold = outputs[row], examples[row].answers or ()
            text = answer.said if impossible else answer.text(answer.best)
            scores[row] = exact_match(text, gold, korean=korean), f1(text, gold, korean=korean)
        return (known, scores) if known.any() else None

    @override
    def classes(self, gold: NDArray[Any], examples: Sequence[Example]) -> dict[str, NDArray[np.bool_]]:
        """Questions with an answer and impossible ones, where there are both."""
        impossible = np.array([example.answers == () for example in examples])
        return {"answerable": (gold > 0) & ~impossible, "impossible": impossible} if impossible.any() else {}

    @override
    def fidelity(
        self, reference: Sequence[AnswerWindows], outputs: Sequence[AnswerWindows], rows: Sequence[Row]
    ) -> dict[str, float]:
        """How near the outputs are to the baseline's, answers unseen.

        `agreement`, the share of questions with exactly the baseline's answer, and none likelier where none is there;
        `answer_overlap`, the mean F1 with it; `kl`, the mean divergence of where answers start and where they end, both
        together: not of models with other tokens, whose places are others.
        """
        pairs, korean = list(zip(reference, outputs, strict=True)), _korean([str(row[0]) for row in rows])
        same = [_told(a) == _told(b) for a, b in pairs]
        overlap = [f1(b.said, [a.said] if a.said else [], korean=korean) for a, b in pairs]
        scores = {"agreement": float(np.mean(same)), "answer_overlap": float(np.mean(overlap))}
        if not all(_same_tokens(a, b) for a, b in pairs):
            return scores
        logits = [[np.concatenate([answer.nothing, answer.logits]).T for answer in pair] for pair in pairs]
        return scores | {"kl": float(np.mean([kl_rows(*pair).sum() for pair in logits]))}

    @override
    def gold(self, outputs: Sequence[AnswerWindows], examples: Sequence[Example]) -> list[str | float | None]:
        """The answers of each question."""
        return [None if example.answers is None else " | ".join(example.answers) or "-" for example in examples]

    @override
    def answers(self, outputs: Sequence[AnswerWindows], examples: Sequence[Example]) -> list[Answer]:
        """The likeliest answer to each question, `-` for none."""
        return [Answer(row.said.strip() or "-", max(row.best.score, row.none.score)) for row in outputs]

    @override
    def distances(self, first: Sequence[AnswerWindows], second: Sequence[AnswerWindows]) -> NDArray[np.float64]:
        """The largest difference of the probability that an answer starts, or ends, at a token.

        Of other tokens: what the likeliest answer's differs by, or the larger of two, where they are two answers.
        """
        moved = []
        for a, b in zip(first, second, strict=True):
            if _same_tokens(a, b):
                moved.append(float(np.abs(a.shares - b.shares).max()))
            else:
                scores = [max(answer.best.score, answer.none.score) for answer in (a, b)]
                moved.append(abs(scores[0] - scores[1]) if _told(a) == _told(b) else max(scores))
        return np.array(moved, np.float64)

    @override
    def batch_effect(self, alone: Outputs, among: Outputs) -> float:
        """The largest difference of such a probability within a window."""
        return max(float(np.abs(softmax(a.T) - softmax(b.T)).max()) for a, b in zip(alone, among, strict=True))
