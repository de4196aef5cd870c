"""late-interaction: a text in, a vector for each of its tokens out (ColBERT); MaxSim compares a query with a document.

Projection and length 1 are in the graph. A query is filled up with mask tokens, a document leaves out punctuation,
where the model does so (Khattab and Zaharia 2020).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from typing_extensions import override

from octavo.data.examples import DataFile, Example
from octavo.encoding import tokenizing
from octavo.encoding.batching import Encoded, FloatArray, Outputs
from octavo.encoding.tokenizing import NO_OPTIONS, Asked, Options, Row
from octavo.errors import InputError
from octavo.metrics.maxsim import maxsim, nearest_by_tokens, token_cosine
from octavo.metrics.ranking import DEPTH
from octavo.metrics.scores import kendall_tau
from octavo.schema.comparison import Answer, StoredVectors
from octavo.schema.signature import Signature, TextKind, TokenVectors
from octavo.tasks.feature_extraction import FeatureExtraction, without_pooler
from octavo.tasks.ranking import Found, Ranked, Retrieval
from octavo.tasks.task import Judged, Task

NEIGHBOURS = 10
MOST_TEXTS = 200  # whose neighbours are looked for: all pairs of them are compared, token by token

Texts = list[FloatArray]  # of each text [tokens, dimension]


def vectors_of(signature: Signature) -> TokenVectors:
    """How the model of a signature makes vectors of tokens."""
    assert signature.token_vectors is not None
    return signature.token_vectors


def encode(tokenizer: Tokenizer, rows: Sequence[Row], signature: Signature) -> list[Encoded]:
    """Token ids of texts; the second part of a row says which is a `query`, and all others are documents.

    The marker stands behind the first token, as PyLate and Stanford's ColBERT put it there.
    """
    how, encoded = vectors_of(signature), []
    special = tokenizer.num_special_tokens_to_add(is_pair=False)
    encodings = tokenizer.encode_batch([text for text, _ in rows], add_special_tokens=False)
    for encoding, (_, second) in zip(encodings, rows, strict=True):
        kind: TextKind = "query" if second == "query" else how.default_prompt
        marker = [how.markers[kind]] if kind in how.markers else []
        limit = min(how.lengths[kind], signature.max_length)
        cut = bool(encoding.overflowing)
        if len(encoding.ids) > (room := limit - special - len(marker)):
            encoding.truncate(room, direction=signature.truncation_side)
            cut = True
        whole = tokenizer.post_process(encoding, None, add_special_tokens=True)
        ids = [*whole.ids[:1], *marker, *whole.ids[1:]]
        types = [*whole.type_ids[:1], *[0 for _ in marker], *whole.type_ids[1:]]
        unknown = tokenizing.count_unknown(ids, signature)
        if kind == "query" and how.expansion_token_id is not None:
            more = max(0, min(how.expansion, limit) - len(ids))
            ids, types = ids + [how.expansion_token_id] * more, types + [0] * more
        encoded.append(Encoded(ids, types, truncated=cut, unknown=unknown))
    return encoded


def own_vectors(outputs: Outputs, asked: Asked, signature: Signature) -> Texts:
    """The vectors of each text: of a document without those of tokens that are skipped."""
    skipped, vectors = vectors_of(signature).skipped, []
    for output, row, (_, kind) in zip(outputs, asked.encoded, asked.rows, strict=True):
        keeps = kind == "query" or not skipped
        vectors.append(output if keeps else output[~np.isin(row.ids, skipped)])
    return vectors


def require_room(signature: Signature, tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer, where the limits leave room for text.

    Raises:
        InputError: they do not.
    """
    how = vectors_of(signature)
    special = tokenizer.num_special_tokens_to_add(is_pair=False) + bool(how.markers)
    if (shortest := min(signature.max_length, *how.lengths.values())) <= special:
        raise InputError("the limit leaves no room for text", got=shortest, allowed=f"above {special}")
    return tokenizer


class LateInteraction(Task[Texts]):
    """A vector for each token."""

    name = "late-interaction"
    auto_class = "AutoModel"
    scores = ("spearman", "pearson")
    output_names = ("token_embeddings",)
    formats = ("onnx",)
    late = True
    of_tokens = True
    lists = True
    scored = True
    unread_weights = FeatureExtraction.unread_weights
    one_text = "token vectors are of one text"
    keys = ("text",)

    @override
    def adapt_model(self, model: Any) -> None:
        """As for sentence embeddings; the projection is put on where the weights are read (`checkpoint.projection`)."""
        without_pooler(model)

    @override
    def read_examples(self, file: DataFile, labels: Sequence[str] = ()) -> tuple[Example, ...]:
        """Texts, or pairs with a score; see `data.read_examples`."""
        return file.read(labels, scored=True)

    @override
    def ranking(self) -> Task[Any]:
        """The passages that a query finds by MaxSim."""
        return LateRetrieval(self.signature)

    @override
    def behind(self, prompt: str | None) -> Callable[[Row], Row]:
        """A `query` or a `document`, by default a document; the row says which."""
        before, kind = self.signature.prompt(prompt), prompt or vectors_of(self.signature).default_prompt
        return lambda row: (before + row[0], kind)

    @override
    def from_texts(self, texts: Sequence[str]) -> list[Row]:
        """Documents and queries in turn."""
        kinds = [self.behind(kind) for kind in ("document", "query")]
        return [kinds[number % 2]((text, None)) for number, text in enumerate(texts)]

    @override
    def rows(self, examples: Sequence[Example]) -> list[Row]:
        """Each text is a row of its own: first texts of all examples, then second ones.

        Of a pair the first is a query and the second a document; a text that stands alone is a document.
        """
        seconds = [example.text_pair for example in examples if example.text_pair is not None]
        first = self.behind("query" if len(seconds) == len(examples) else None)
        texts = [first((example.text, None)) for example in examples]
        return texts + [self.behind("document")((text, None)) for text in seconds]

    @override
    def make_tokenizer(self, tokenizer_json: str) -> Tokenizer:
        """A tokenizer that cuts at the signature's limit."""
        return require_room(self.signature, super().make_tokenizer(tokenizer_json))

    @override
    def encode(self, tokenizer: Tokenizer, rows: Sequence[Row], options: Options = NO_OPTIONS) -> list[Encoded]:
        """See `encode`."""
        return encode(tokenizer, rows, self.signature)

    @override
    def read(self, outputs: Outputs, asked: Asked) -> Texts:
        """See `own_vectors`."""
        return own_vectors(outputs, asked, self.signature)

    @override
    def decode(self, outputs: Texts, options: Options = NO_OPTIONS) -> Texts:
        """The vectors of each text, [tokens, dimension]."""
        return outputs

    @override
    def to_json(self, prediction: FloatArray) -> dict[str, Any]:
        """`{"token_embeddings": [[...], ...]}`, with the nine digits that a float32 has."""
        return {"token_embeddings": [[float(f"{value:.9g}") for value in token] for token in prediction.tolist()]}

    def _similarity(self, outputs: Texts, pairs: int) -> NDArray[np.float64]:
        """MaxSim of each pair: outputs are those of all first texts, then of all second ones."""
        both = zip(outputs[:pairs], outputs[pairs:], strict=True)
        return np.array([maxsim([first], [second])[0, 0] for first, second in both], np.float64)

    @override
    def judged(self, outputs: Texts, examples: Sequence[Example]) -> Judged | None:
        """The scores of the pairs, and their MaxSim; None where one is no pair, has no score, or all are one."""
        if not all(example.text_pair is not None and example.score is not None for example in examples):
            return None
        gold = np.array([example.score for example in examples], np.float64)
        return (gold, self._similarity(outputs, len(examples))) if len(set(gold.tolist())) > 1 else None

    @override
    def fidelity(self, reference: Texts, outputs: Texts, rows: Sequence[Row]) -> dict[str, float]:
        """The cosine of token vectors to the baseline's, the mean of each text's; and the order by MaxSim.

        Each of `MOST_TEXTS` texts asks for the others: `tau`, Kendall's correlation of their scores, and how many of
        its nearest it keeps. No cosine of vectors of two widths.
        """
        scores = {}
        if (near := cosines(reference, outputs)) is not None:
            scores = {"cosine_mean": near.mean(), "cosine_p1": np.percentile(near, 1), "cosine_min": near.min()}
        distinct = list({row: index for index, row in reversed(list(enumerate(rows)))}.values())[::-1][:MOST_TEXTS]
        if len(distinct) > 2:
            scores |= _order_kept(*([texts[index] for index in distinct] for texts in (reference, outputs)))
        return {name: float(score) for name, score in scores.items()}

    @override
    def gold(self, outputs: Texts, examples: Sequence[Example]) -> list[str | float | None]:
        """The score of each example."""
        return [example.score for example in examples]

    @override
    def answers(self, outputs: Texts, examples: Sequence[Example]) -> list[Answer]:
        """The MaxSim of each pair; nothing of texts that stand alone."""
        if any(example.text_pair is None for example in examples):
            return [Answer(None, None) for _ in examples]
        return [Answer(None, value) for value in self._similarity(outputs, len(examples)).tolist()]

    @override
    def movement(self, reference: Texts, outputs: Texts, examples: Sequence[Example]) -> NDArray[np.float64]:
        """How far the MaxSim of each pair moved; where a text stands alone, 1 - the cosine of its tokens' vectors."""
        if any(example.text_pair is None for example in examples):
            return self.distances(reference, outputs)[: len(examples)]
        return np.abs(self._similarity(reference, len(examples)) - self._similarity(outputs, len(examples)))

    @override
    def distances(self, first: Texts, second: Texts) -> NDArray[np.float64]:
        """1 - cosine of each text; 0 of two widths, of which nothing is known."""
        near = cosines(first, second)
        return np.zeros(len(first)) if near is None else 1 - near

    @override
    def batch_effect(self, alone: Outputs, among: Outputs) -> float:
        """The largest 1 - cosine of a text."""
        return float(self.distances(list(alone), list(among)).max())


class LateRetrieval(Retrieval):
    """The passages of a corpus that are nearest to each query by MaxSim, by an exact search."""

    name = "late-interaction"
    late = True
    pools = False
    of_tokens = False  # rankings are of passages
    output_names = LateInteraction.output_names

    @override
    def rows(self, examples: Sequence[Example]) -> list[Row]:
        """The texts of all queries, then those of the corpus."""
        query, document = (LateInteraction(self.signature).behind(kind) for kind in ("query", "document"))
        queries = [query((example.text, None)) for example in examples]
        return queries + [document((passage, None)) for passage in examples[0].choices]

    @override
    def pieces(self, pairs: Sequence[tuple[str, str]], passages: Sequence[str]) -> list[tuple[Example, Row]]:
        """Queries and passages, each once."""
        query, document = (LateInteraction(self.signature).behind(kind) for kind in ("query", "document"))
        queries = [(query, text) for text in dict.fromkeys(text for text, _ in pairs)]
        both = [*queries, *((document, text) for text in dict.fromkeys(passages))]
        return [(Example(text), behind((text, None))) for behind, text in both]

    @override
    def make_tokenizer(self, tokenizer_json: str) -> Tokenizer:
        """A tokenizer that cuts at the signature's limit."""
        return require_room(self.signature, super().make_tokenizer(tokenizer_json))

    @override
    def encode(self, tokenizer: Tokenizer, rows: Sequence[Row], options: Options = NO_OPTIONS) -> list[Encoded]:
        """See `encode`."""
        return encode(tokenizer, rows, self.signature)

    @override
    def read(self, outputs: Outputs, asked: Asked) -> Found:
        """The vectors of each text, and the search."""
        queries = sum(row.row is not None for row in asked.encoded)
        vectors: Any = own_vectors(outputs, asked, self.signature)
        return Found(vectors, self.search(vectors, queries, DEPTH))

    @override
    def search(self, vectors: Texts, queries: int, depth: int) -> list[Ranked]:
        """The first `depth` passages of each query."""
        hits = nearest_by_tokens(vectors[:queries], vectors[queries:], depth)
        return [Ranked(order, scores) for order, scores in zip(*hits, strict=True)]

    @override
    def scores_of(self, vectors: Texts, row: int, places: NDArray[np.int64]) -> NDArray[np.float64]:
        """The MaxSim of a query to passages, [places]."""
        return np.asarray(maxsim([vectors[row]], [vectors[place] for place in places.tolist()])[0], np.float64)

    @override
    def stored_vectors(
        self, reference: Found, outputs: Found, examples: Sequence[Example]
    ) -> tuple[StoredVectors, ...]:
        """Nothing: vectors of tokens are kept whole."""
        return ()

    @override
    def cosines(self, first: Texts, second: Texts) -> NDArray[np.float64] | None:
        """See `cosines`."""
        return cosines(first, second)

    @override
    def distances(self, first: Any, second: Any) -> NDArray[np.float64]:
        """1 - cosine of each text; 0 of other tokens."""
        near = cosines(first.vectors, second.vectors)
        return np.zeros(len(first.vectors)) if near is None else 1 - near

    @override
    def batch_effect(self, alone: Outputs, among: Outputs) -> float:
        """The largest 1 - cosine of a text."""
        return LateInteraction(self.signature).batch_effect(alone, among)


def cosines(first: Texts, second: Texts) -> NDArray[np.float64] | None:
    """The mean cosine of each text's tokens to those of another run, [texts]; None of other tokens or widths."""
    pairs = list(zip(first, second, strict=True))
    if any(a.shape != b.shape for a, b in pairs):
        return None
    return np.array([token_cosine(a, b) for a, b in pairs])


def _order_kept(reference: Texts, outputs: Texts) -> dict[str, float]:
    """`tau`, and `recall_at_10` where a text has more than ten others; the means over texts, each asking for others."""
    taus, kept, count = [], [], len(reference)
    for row, (before, after) in enumerate(zip(maxsim(reference, reference), maxsim(outputs, outputs), strict=True)):
        first, second = (np.delete(scores, row).astype(np.float64) for scores in (before, after))
        taus.append(kendall_tau(first, second))
        best = (set(np.argsort(-scores, kind="stable")[:NEIGHBOURS].tolist()) for scores in (first, second))
        kept.append(len(set.intersection(*best)) / NEIGHBOURS)
    return {"tau": float(np.mean(taus)), **({"recall_at_10": float(np.mean(kept))} if count > NEIGHBOURS + 1 else {})}
