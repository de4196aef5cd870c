"""What every task can be asked, with the usual answers: a task says itself only what it does otherwise."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from octavo.data.examples import DataFile, Example, text_columns
from octavo.data.rows import Rows, read_rows, without
from octavo.encoding import tokenizing
from octavo.encoding.batching import TOKEN_BUDGET, Encoded, Outputs
from octavo.encoding.tokenizing import NO_OPTIONS, Asked, Options, Row
from octavo.errors import DataError
from octavo.metrics.movement import Margins
from octavo.metrics.scores import SCORES, largest_change
from octavo.schema.comparison import Answer, StoredVectors
from octavo.schema.signature import Generation, Signature

Results = TypeVar("Results")  # what `read` makes of a session's outputs: a sequence, one for each of the user's rows
Prepared = tuple[Sequence[Example], list[Row], list[Encoded]]
Judged = tuple[NDArray[Any], NDArray[Any]]  # what is right, what the answers say
JudgedByClass = dict[str, tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]  # right, by the baseline, by the answers


class Task(ABC, Generic[Results]):
    """A task, as one model does it: `signature` says how that model is asked and how it answers.

    What is the same for all models of a task stands in the class. `keys`: what a row of JSON may have; `options`: what
    a call may set, with its defaults; `scored`: its examples have a number, or a text, and not a label; `labelled`: its
    outputs have names; `writes`: its answers are texts, written token by token, and `continues`: these go on from what
    was read; `is_encoder_decoder`: an encoder reads for a decoder; `pools`: a text has one vector, `late`: each of its
    tokens has one, `weighs`: weights of words; `fills`: its answers stand at masks; `tags`: each token has one of its
    own; `extracts`: they are parts of what was read; `chooses`: one of the texts that a row brings, each of which is a
    row of the model's; `lists`: it gives a list for each text; `of_tokens`: its answers are tokens, so that models with
    two vocabularies have none in common. `auto_class` is the class of transformers that makes its models,
    `output_names` what their graphs return, `formats` what they are written as, `calibrates` whether ranges can be
    learnt on them, `unread_weights` the names of what a checkpoint may have left out, `token_budget` the tokens of a
    batch, `usual_length` how many are read at once where nobody says otherwise, `one_text` what is said where a pair is
    given and one text is read, `group_by` the text that several examples may share: these stay on one side where some
    are held out. `onnx_output`, for ONNX files of other tools: what is said where the output is another, what it has to
    be, and how many dimensions it may have; None where such files are not read.
    """

    name: ClassVar[str]
    scores: ClassVar[tuple[str, ...]]  # the one to decide by first
    auto_class: ClassVar[str]
    keys: ClassVar[tuple[str, ...]] = ("text", "text_pair")
    options: ClassVar[Options] = NO_OPTIONS
    output_names: ClassVar[tuple[str, ...]] = ("logits",)
    onnx_output: ClassVar[tuple[str, str, tuple[int, ...]] | None] = None
    scored: ClassVar[bool] = False
    labelled: ClassVar[bool] = False
    writes: ClassVar[bool] = False
    continues: ClassVar[bool] = False
    is_encoder_decoder: ClassVar[bool] = False
    pools: ClassVar[bool] = False
    late: ClassVar[bool] = False
    weighs: ClassVar[bool] = False
    fills: ClassVar[bool] = False
    tags: ClassVar[bool] = False
    extracts: ClassVar[bool] = False
    chooses: ClassVar[bool] = False
    lists: ClassVar[bool] = False
    of_tokens: ClassVar[bool] = False
    formats: ClassVar[tuple[str, ...]] = ("onnx", "torch")
    calibrates: ClassVar[bool] = True
    unread_weights: ClassVar[tuple[str, ...]] = ()
    token_budget: ClassVar[int] = TOKEN_BUDGET
    usual_length: ClassVar[int | None] = None
    one_text: ClassVar[str | None] = None
    group_by: ClassVar[Literal["text", "text_pair"]] = "text"

    def __init__(self, signature: Signature) -> None:
        self.signature = signature

    def bound_to(self, signature: Signature) -> Self:
        """The same task as another model does it."""
        task = copy(self)
        task.signature = signature
        return task

    @property
    def generation(self) -> Generation:
        """How the model writes; only of tasks that do."""
        assert self.signature.generation is not None, "a signature of a task that writes says how"
        return self.signature.generation

    @property
    def takes_labels(self) -> bool:
        """Whether the right label of an example can be learnt: one of several, for a text or among choices."""
        return False

    def adapt_model(self, model: Any) -> None:
        """Make a torch model answer what the task reads, in place."""

    # What goes in

    @abstractmethod
    def read_examples(self, file: DataFile, labels: Sequence[str] = ()) -> tuple[Example, ...]:
        """The examples of a file, with their labels where the model's are given."""

    def ranking(self) -> "Task[Any] | None":
        """What models like this one do with queries and passages; None where that is nothing that is scored."""
        return None

    def pieces(self, pairs: Sequence[tuple[str, str]], passages: Sequence[str]) -> list[tuple[Example, Row]]:
        """Of queries with passages all rows that the model reads, each with what it is remembered by.

        `pairs`: each query with each of its passages. Other tasks have none.
        """
        return []

    def from_texts(self, texts: Sequence[str]) -> list[Row]:
        """Rows made of any texts, to run a model on: each text alone."""
        return [(text, None) for text in texts]

    def read_rows(self, file: DataFile) -> Rows:
        """The rows of a file that is to be predicted, each with its place; `split_row` says what they hold.

        Raises:
            DataError: the file cannot be read.
        """
        return read_rows(Path(file.path), file.encoding, file.columns or {})

    def split_row(
        self, row: Mapping[str, Any], columns: Mapping[str, str], place: str
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the model reads of a row, under `keys`, and the row's other fields; `columns` are those of `DataFile`.

        Raises:
            DataError: a column that was named is not there.
        """
        named = text_columns(list(row), columns, place)
        read = {key: column for key, column in named.items() if key in self.keys}
        return {key: row[name] for key, name in read.items()}, without(row, read.values())

    def rows(self, examples: Sequence[Example]) -> list[Row]:
        """What the model reads of each example, a text or a pair; one example may be several rows."""
        return [(example.text, None if self.one_text else example.text_pair) for example in examples]

    def parse_row(self, row: Any) -> Row:
        """What a user gave for one row, as texts.

        Raises:
            DataError: it is neither a text nor a pair, or a pair where one text is read.
        """
        text, pair = tokenizing.parse_row(row)
        if self.one_text and pair:
            raise DataError(f"{self.one_text}, and this is a pair", got=f"{row!r:.80}")
        return text, pair

    def behind(self, prompt: str | None) -> Callable[[Row], Row]:
        """What puts a row behind the prompt of that name, or the default one.

        Raises:
            InputError: the model has no such prompt.
        """
        before = self.signature.prompt(prompt)
        return lambda row: (before + row[0], row[1])

    def make_tokenizer(self, tokenizer_json: str) -> Tokenizer:
        """A tokenizer that cuts at the signature's limit."""
        return tokenizing.make_tokenizer(tokenizer_json, self.signature)

    def with_passages(self, examples: Sequence[Example], most: int) -> Sequence[Example]:
        """The examples, to learn from or to be timed: queries with about `most` of their passages in all, unjudged."""
        return examples

    def encode(self, tokenizer: Tokenizer, rows: Sequence[Row], options: Options = NO_OPTIONS) -> list[Encoded]:
        """Rows of texts as token ids; one row may become several, which follow each other and name it."""
        return tokenizing.encode(tokenizer, rows, self.signature)

    def prepare(self, tokenizer: Tokenizer, examples: Sequence[Example]) -> Prepared:
        """Examples as they are compared: these, their rows, and the rows as token ids."""
        rows = self.rows(examples)
        return examples, rows, self.encode(tokenizer, rows)

    # What comes out

    def read(self, outputs: Outputs, asked: Asked) -> Results:
        """What the session's outputs say of each row that was asked: the outputs themselves, where each has one."""
        return cast("Results", outputs)

    @abstractmethod
    def decode(self, outputs: Results, options: Options = NO_OPTIONS) -> Sequence[Any]:
        """The model's answers as predictions."""

    def gather(self, predictions: list[Any], *, single: bool = False) -> Any:
        """Predictions as one answer; `single`: to a text that was given alone, whose list is then the answer."""
        return predictions[0] if single and self.lists else predictions

    def to_json(self, prediction: Any) -> dict[str, Any]:
        """A prediction as JSON takes it."""
        return cast("dict[str, Any]", prediction)

    # How good and how near it is

    def require_comparable(self, baseline: "Task[Any]") -> None:
        """See that models like this one can be scored, and beside the baseline's.

        Raises:
            InputError: they cannot.
        """

    def quality(self, outputs: Results, examples: Sequence[Example]) -> dict[str, float]:
        """Scores of the answers, the one to decide by first; none where the examples tell nothing."""
        judged = self.judged(outputs, examples)
        return {} if judged is None else {name: SCORES[name](*judged) for name in self.scores}

    @abstractmethod
    def judged(self, outputs: Results, examples: Sequence[Example]) -> Judged | None:
        """What the scores of `quality` compare, [examples, ...] each: what is right, and what the answers say."""

    def margins(self, reference: Results, outputs: Results, examples: Sequence[Example]) -> Margins | None:
        """How near what `judged` compares was to another prediction, and how far it moved; None: it tells nothing."""
        return None

    def judged_by_class(self, reference: Results, outputs: Results, examples: Sequence[Example]) -> JudgedByClass:
        """The same by the class of what is right: what is right, what the baseline says, what the answers say."""
        before, after = self.judged(reference, examples), self.judged(outputs, examples)
        if before is None or after is None:
            return {}
        masks = self.classes(before[0], examples)
        return {name: (before[0][mask], before[1][mask], after[1][mask]) for name, mask in masks.items()}

    def classes(self, gold: NDArray[Any], examples: Sequence[Example]) -> dict[str, NDArray[np.bool_]]:
        """The judged answers [judged] that belong to each class; none: texts and whole vocabularies are no classes."""
        return {}

    @abstractmethod
    def fidelity(self, reference: Results, outputs: Results, rows: Sequence[Row]) -> dict[str, float]:
        """How near answers are to those of the baseline, labels unseen."""

    def orders(self, reference: Results, outputs: Results) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Of answers that are neither chosen nor vectors the two numbers of each row, [rows] each; None of others."""
        return None

    def stored_vectors(
        self, reference: Results, outputs: Results, examples: Sequence[Example]
    ) -> tuple[StoredVectors, ...]:
        """What is lost where vectors are stored otherwise; nothing of other answers."""
        return ()

    @abstractmethod
    def gold(self, outputs: Results, examples: Sequence[Example]) -> list[str | float | None]:
        """What is right of each example, to be shown; None where nothing is known."""

    @abstractmethod
    def answers(self, outputs: Results, examples: Sequence[Example]) -> list[Answer]:
        """What the model says of each example, to be shown."""

    def by_text(self, outputs: Results, examples: Sequence[Example]) -> Results:
        """The answers as parts of the texts, so that those of models with other tokens can be held against them."""
        return outputs

    def distances(self, first: Results, second: Results) -> NDArray[np.float64]:
        """How far each row's answer lies from that of another run, 0 where it is the same.

        The largest difference of a probability, where answers are logits.
        """
        pairs = zip(cast("Any", first), cast("Any", second), strict=True)
        return np.array([largest_change(before.logits, after.logits) for before, after in pairs])

    def movement(self, reference: Results, outputs: Results, examples: Sequence[Example]) -> NDArray[np.float64]:
        """How far the two answers to each example lie apart, [examples], 0 where they are the same."""
        return self.distances(reference, outputs)

    def batch_effect(self, alone: Outputs, among: Outputs) -> float:
        """The largest change of an answer in the session's outputs of the same rows, run by themselves and in batches.

        [rows, k], or [answers, k] of each row: then that of a probability.
        """
        if isinstance(alone, np.ndarray):
            return float(self.distances(cast("Results", alone), cast("Results", among)).max())
        return max(largest_change(*pair) for pair in zip(alone, among, strict=True))

    def doubt_labels(self, outputs: Results, examples: Sequence[Example]) -> str | None:
        """A warning where the labels of file and model hardly mean the same; None where they do, or nobody can tell."""
        return None
