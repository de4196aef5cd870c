"""Queries with passages: how well a reranker orders each query's own, and an embedder finds them among all.

A query is one example, and the unit of every statistic. A reranker's pairs of query and passage are rows of their own;
an embedder's texts are those of all queries and then those of the corpus.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from typing_extensions import override

from octavo.data.examples import DataFile, Example
from octavo.data.ranking import read_ranking
from octavo.encoding import tokenizing as encoding
from octavo.encoding.batching import Encoded, FloatArray, Outputs
from octavo.encoding.tokenizing import NO_OPTIONS, Asked, Options, Row
from octavo.metrics.differences import ratio_difference
from octavo.metrics.movement import Margins
from octavo.metrics.ranking import (
    CUT,
    DEPTH,
    closest_lead,
    nearest,
    query_scores,
    rank_biased_overlap,
    ranks_of,
    similarities,
    top_agreement,
)
from octavo.metrics.scores import cosine, kendall_tau, largest_change, ratio
from octavo.schema.comparison import Answer, StoredVectors
from octavo.schema.signature import Signature
from octavo.tasks.logits import scores
from octavo.tasks.stored_vectors import Storing, search_stored
from octavo.tasks.task import Judged, Prepared, Task

SHOWN = 200  # characters of a passage


@dataclass(frozen=True)
class Ranked:
    """The passages of a query, best first: `order`, their positions among its choices, and their `scores`, [k] each."""

    order: NDArray[np.int64]
    scores: NDArray[np.float64]


Aligned = tuple[NDArray[np.float64], NDArray[np.float64]]  # of the baseline's passages its scores, and the other's


def judge(rankings: Sequence[Ranked], examples: Sequence[Example]) -> Judged | None:
    """Whether each query has a relevant passage, 1 or 0, and its scores (`OF_A_QUERY`); None where none has."""
    known = np.array([bool(example.relevance) for example in examples], np.float64)
    quality = np.zeros((len(examples), 5))
    for row, (ranking, example) in enumerate(zip(rankings, examples, strict=True)):
        if example.relevance:
            positions, grades = (np.array(part) for part in zip(*example.relevance, strict=True))
            quality[row] = query_scores(ranks_of(ranking.order, positions), grades.astype(np.float64))
    return (known, quality) if known.any() else None


def leads(rankings: Sequence[Ranked], aligned: Iterable[Aligned], examples: Sequence[Example]) -> Margins:
    """Of each query how near two passages of different grades are, and how far the distance of any two moved.

    Its scores change where such two change places.
    """
    near = [
        closest_lead(ranking.order, ranking.scores, dict(row.relevance or ()))
        for ranking, row in zip(rankings, examples, strict=True)
    ]
    return Margins(np.array(near), np.array([float(np.ptp(after - before)) for before, after in aligned]))


def likeness(first: Sequence[Ranked], second: Sequence[Ranked], aligned: Iterable[Aligned]) -> dict[str, float]:
    """Means over the queries.

    `agreement` of the first passage; `top_10`, the share of the first ten that stay among the ten, of queries with
    more; `tau`, Kendall's correlation of the scores of the baseline's passages; `rbo`, rank-biased overlap.
    """
    pairs = [(a.order, b.order) for a, b in zip(first, second, strict=True)]
    longer = [top_agreement(a, b) for a, b in pairs if len(a) > CUT]
    return {
        "agreement": float(np.mean([a[0] == b[0] for a, b in pairs])),
        **({"top_10": float(np.mean(longer))} if longer else {}),
        "tau": float(np.mean([kendall_tau(before, after) for before, after in aligned])),
        "rbo": float(np.mean([rank_biased_overlap(a, b) for a, b in pairs])),
    }


def best_relevant(examples: Sequence[Example]) -> list[str | float | None]:
    """A passage of the highest grade of each query, where one was judged and is there."""
    best = [max(example.relevance or ((-1, 0.0),), key=lambda judged: judged[1])[0] for example in examples]
    return [
        example.choices[place][:SHOWN] if place >= 0 else None for example, place in zip(examples, best, strict=True)
    ]


def first_passages(rankings: Sequence[Ranked], examples: Sequence[Example]) -> list[Answer]:
    """The passage that each query has first, and its score."""
    pairs = zip(rankings, examples, strict=True)
    return [Answer(example.choices[ranking.order[0]][:SHOWN], float(ranking.scores[0])) for ranking, example in pairs]


def placed(order: NDArray[np.int64], values: NDArray[np.float64]) -> list[dict[str, Any]]:
    """A ranking as sentence-transformers' `CrossEncoder.rank` gives it."""
    return [{"corpus_id": place, "score": score} for place, score in zip(order.tolist(), values.tolist(), strict=True)]


def apart(first: Sequence[Ranked], second: Sequence[Ranked]) -> NDArray[np.float64]:
    """1 - rank-biased overlap of each query's two rankings."""
    return np.array([1 - rank_biased_overlap(a.order, b.order) for a, b in zip(first, second, strict=True)])


class Reranking(Task[Sequence[Ranked]]):
    """The order of each query's passages, by the one logit of a pair."""

    name = "text-classification"
    auto_class = "AutoModelForSequenceClassification"
    scores = ("ndcg_at_10", "mrr_at_10", "map", "recall_at_10")
    labelled = True

    @override
    def read_examples(self, file: DataFile, labels: Sequence[str] = ()) -> tuple[Example, ...]:
        """Queries, each with its own passages; see `ranking.read_ranking`."""
        return read_ranking(file, shared=False)

    @override
    def rows(self, examples: Sequence[Example]) -> list[Row]:
        """Each query with its passages."""
        return [(example.text, example.choices) for example in examples]

    @override
    def pieces(self, pairs: Sequence[tuple[str, str]], passages: Sequence[str]) -> list[tuple[Example, Row]]:
        """The pairs, remembered by their queries."""
        return [(Example(query), (query, passage)) for query, passage in pairs]

    @override
    def with_passages(self, examples: Sequence[Example], most: int) -> list[Example]:
        """As many of each query's own; of each another one first, since their order may mean something."""
        each, fewer = max(1, most // len(examples)), []
        for number, example in enumerate(examples):
            start = number % len(example.choices)
            turned = example.choices[start:] + example.choices[:start]
            fewer.append(replace(example, choices=turned[:each], relevance=()))
        return fewer

    @override
    def encode(self, tokenizer: Tokenizer, rows: Sequence[Row], options: Options = NO_OPTIONS) -> list[Encoded]:
        """Each query paired with each of its passages."""
        owners = [(index, (text, passage)) for index, (text, passages) in enumerate(rows) for passage in passages or ()]
        encodings = encoding.encode_texts(tokenizer, [pair for _, pair in owners])
        pairs = zip(encodings, owners, strict=True)
        return [encoding.as_encoded(tokens, self.signature, row=index) for tokens, (index, _) in pairs]

    @override
    def read(self, outputs: Outputs, asked: Asked) -> list[Ranked]:
        """The passages of each query by their logits, best first; of equal ones the first."""
        rankings = []
        for _, group in groupby(zip(asked.encoded, outputs, strict=True), key=lambda pair: pair[0].row):
            logits = np.array([output[0] for _, output in group], np.float64)
            order = np.argsort(-logits, kind="stable")
            rankings.append(Ranked(order, logits[order]))
        return rankings

    @override
    def decode(self, outputs: Sequence[Ranked], options: Options = NO_OPTIONS) -> list[list[dict[str, Any]]]:
        """Each query's passages, best first: `corpus_id`, the position, and `score`, as the model's config has it."""
        scored = [scores(ranking.scores[:, None].astype(np.float32), self.signature)[:, 0] for ranking in outputs]
        return [placed(ranking.order, values) for ranking, values in zip(outputs, scored, strict=True)]

    def _aligned(self, reference: Sequence[Ranked], outputs: Sequence[Ranked]) -> list[Aligned]:
        pairs = zip(reference, outputs, strict=True)
        return [(a.scores, b.scores[np.argsort(b.order)][a.order]) for a, b in pairs]

    @override
    def judged(self, outputs: Sequence[Ranked], examples: Sequence[Example]) -> Judged | None:
        """See `judge`."""
        return judge(outputs, examples)

    @override
    def margins(
        self, reference: Sequence[Ranked], outputs: Sequence[Ranked], examples: Sequence[Example]
    ) -> Margins | None:
        """See `leads`."""
        return leads(reference, self._aligned(reference, outputs), examples)

    @override
    def fidelity(self, reference: Sequence[Ranked], outputs: Sequence[Ranked], rows: Sequence[Row]) -> dict[str, float]:
        """See `likeness`."""
        return likeness(reference, outputs, self._aligned(reference, outputs))

    @override
    def gold(self, outputs: Sequence[Ranked], examples: Sequence[Example]) -> list[str | float | None]:
        """See `best_relevant`."""
        return best_relevant(examples)

    @override
    def answers(self, outputs: Sequence[Ranked], examples: Sequence[Example]) -> list[Answer]:
        """See `first_passages`."""
        return first_passages(outputs, examples)

    @override
    def distances(self, first: Sequence[Ranked], second: Sequence[Ranked]) -> NDArray[np.float64]:
        """1 - rank-biased overlap of each query's two rankings."""
        return apart(first, second)

    @override
    def batch_effect(self, alone: Outputs, among: Outputs) -> float:
        """The largest difference of a pair's probability, against a logit of 0."""
        both = (np.stack([np.zeros(len(outputs)), np.concatenate(list(outputs))], axis=1) for outputs in (alone, among))
        first, second = (logits.astype(np.float32) for logits in both)
        return largest_change(first, second)


@dataclass(frozen=True)
class Found:
    """What an embedder says: the vectors of all queries and then of the corpus, and what each query finds there."""

    vectors: FloatArray
    rankings: list[Ranked]


def search(vectors: FloatArray, queries: int, similarity: str, depth: int = DEPTH) -> list[Ranked]:
    """The first `depth` passages of each query; `vectors` are of so many queries and then of the passages."""
    hits = nearest(vectors[:queries], vectors[queries:], depth, similarity)
    return [Ranked(order, scores) for order, scores in zip(*hits, strict=True)]


class Retrieval(Task[Found]):
    """The passages of a corpus that are nearest to each query, by an exact search: the first `DEPTH` of them."""

    name = "feature-extraction"
    auto_class = "AutoModel"
    scores = ("ndcg_at_10", "mrr_at_10", "map", "recall_at_10", "recall_at_100")
    pools = True

    def __init__(self, signature: Signature, storings: Sequence[Storing] = ()) -> None:
        """`storings`: how vectors might be stored, to be scored too."""
        super().__init__(signature)
        self.storings = storings

    @override
    def read_examples(self, file: DataFile, labels: Sequence[str] = ()) -> tuple[Example, ...]:
        """Queries, each with the whole corpus; see `ranking.read_ranking`."""
        return read_ranking(file, shared=True)

    @override
    def rows(self, examples: Sequence[Example]) -> list[Row]:
        """The texts of all queries, then those of the corpus, each behind the prompt of its kind."""
        query, document = (self.signature.prompt_before(kind) for kind in ("query", "document"))
        queries = [query + example.text for example in examples]
        return [(text, None) for text in [*queries, *(document + passage for passage in examples[0].choices)]]

    @override
    def pieces(self, pairs: Sequence[tuple[str, str]], passages: Sequence[str]) -> list[tuple[Example, Row]]:
        """Queries and passages, each once, behind the prompt of its kind."""
        query, document = (self.signature.prompt_before(kind) for kind in ("query", "document"))
        queries = [(query, text) for text in dict.fromkeys(text for text, _ in pairs)]
        both = [*queries, *((document, text) for text in dict.fromkeys(passages))]
        return [(Example(text), (prompt + text, None)) for prompt, text in both]

    @override
    def with_passages(self, examples: Sequence[Example], most: int) -> list[Example]:
        """A corpus of passages from all over theirs."""
        passages = examples[0].choices
        fewer = passages[:: -(-len(passages) // most)]
        return [replace(example, choices=fewer, relevance=()) for example in examples]

    @override
    def prepare(self, tokenizer: Tokenizer, examples: Sequence[Example]) -> Prepared:
        """As other tasks; the token ids of a query name it."""
        rows = self.rows(examples)
        encoded = self.encode(tokenizer, rows)
        named = [replace(row, row=index) for index, row in enumerate(encoded[: len(examples)])]
        return examples, rows, named + encoded[len(examples) :]

    @override
    def read(self, outputs: Outputs, asked: Asked) -> Found:
        """The vectors, and the search."""
        queries = sum(row.row is not None for row in asked.encoded)
        vectors = np.asarray(outputs)
        return Found(vectors, self.search(vectors, queries, DEPTH))

    # What depends on how a text is represented

    def search(self, vectors: Any, queries: int, depth: int) -> list[Ranked]:
        """See `search`."""
        return search(vectors, queries, self.similarity, depth)

    def scores_of(self, vectors: Any, row: int, places: NDArray[np.int64]) -> NDArray[np.float64]:
        """The similarity of a text to others, [places]."""
        return np.asarray(similarities(vectors[row : row + 1], vectors[places], self.similarity)[0], np.float64)

    def cosines(self, first: Any, second: Any) -> NDArray[np.float64] | None:
        """Of each text's vector to that of another run, [texts]; None of two widths."""
        return cosine(first, second) if first.shape == second.shape else None

    @property
    def similarity(self) -> str:
        """By which vectors are compared."""
        assert self.signature.pooling is not None
        return self.signature.pooling.similarity

    @override
    def decode(self, outputs: Found, options: Options = NO_OPTIONS) -> list[list[dict[str, Any]]]:
        """All passages for each query, best first: `corpus_id`, the position, and `score`, the similarity."""
        count = len(outputs.rankings)
        every = self.search(outputs.vectors, count, len(outputs.vectors) - count)
        return [placed(ranking.order, ranking.scores) for ranking in every]

    def _aligned(self, reference: Found, outputs: Found) -> list[Aligned]:
        count = len(reference.rankings)
        return [
            (ranking.scores, self.scores_of(outputs.vectors, row, count + ranking.order))
            for row, ranking in enumerate(reference.rankings)
        ]

    @override
    def stored_vectors(
        self, reference: Found, outputs: Found, examples: Sequence[Example]
    ) -> tuple[StoredVectors, ...]:
        """The scores of a search over vectors as they might be stored, beside the baseline's over whole ones."""
        assert self.signature.pooling is not None
        count, before, rows = len(reference.rankings), judge(reference.rankings, examples), []
        for storing in self.storings:
            hits = search_stored(outputs.vectors[:count], outputs.vectors[count:], storing, self.signature.pooling)
            rankings = [Ranked(order, values) for order, values in hits]
            after = judge(rankings, examples)
            names = self.scores if before and after else ()
            pairs = zip(reference.rankings, rankings, strict=True)
            kept = float(np.mean([top_agreement(a.order, b.order) for a, b in pairs]))
            quality = {name: ratio(name, *after) for name in names if after}
            moved = {name: ratio_difference(name, *before, after[1]) for name in names if before and after}
            fields = storing.dimensions, storing.precision, storing.rescored, storing.bytes
            rows.append(StoredVectors(*fields, quality=quality, differences=moved, top_10=kept))
        return tuple(rows)

    @override
    def judged(self, outputs: Found, examples: Sequence[Example]) -> Judged | None:
        """See `judge`; MAP is that of the first `DEPTH` passages."""
        return judge(outputs.rankings, examples)

    @override
    def margins(self, reference: Found, outputs: Found, examples: Sequence[Example]) -> Margins | None:
        """See `leads`; of all that scores depend on: what either search finds first, and what was judged."""
        rankings, aligned, count = [], [], len(reference.rankings)
        for row, (first, second, example) in enumerate(
            zip(reference.rankings, outputs.rankings, examples, strict=True)
        ):
            judged = [position for position, _ in example.relevance or () if position >= 0]
            places = np.unique(np.concatenate([first.order, second.order, np.array(judged, np.int64)]))
            before, after = (self.scores_of(run.vectors, row, count + places) for run in (reference, outputs))
            order = np.argsort(-before, kind="stable")
            rankings.append(Ranked(places[order], before[order]))
            aligned.append((before, after))
        return leads(rankings, aligned, examples)

    @override
    def fidelity(self, reference: Found, outputs: Found, rows: Sequence[Row]) -> dict[str, float]:
        """The cosine of each text's vector to the baseline's, where both are as wide; `likeness` of the rankings."""
        same = likeness(reference.rankings, outputs.rankings, self._aligned(reference, outputs))
        cosines = {}
        if (near := self.cosines(reference.vectors, outputs.vectors)) is not None:
            cosines = {"cosine_mean": near.mean(), "cosine_p1": np.percentile(near, 1), "cosine_min": near.min()}
        others = {name: value for name, value in same.items() if name != "agreement"}
        return {name: float(value) for name, value in (cosines | others).items()}

    @override
    def gold(self, outputs: Found, examples: Sequence[Example]) -> list[str | float | None]:
        """See `best_relevant`."""
        return best_relevant(examples)

    @override
    def answers(self, outputs: Found, examples: Sequence[Example]) -> list[Answer]:
        """See `first_passages`."""
        return first_passages(outputs.rankings, examples)

    @override
    def distances(self, first: Found, second: Found) -> NDArray[np.float64]:
        """1 - cosine of each text."""
        return 1 - cosine(first.vectors, second.vectors)

    @override
    def movement(self, reference: Found, outputs: Found, examples: Sequence[Example]) -> NDArray[np.float64]:
        """1 - rank-biased overlap of each query's two rankings."""
        return apart(reference.rankings, outputs.rankings)

    @override
    def batch_effect(self, alone: Outputs, among: Outputs) -> float:
        """The largest 1 - cosine of a text."""
        return float((1 - cosine(np.asarray(alone), np.asarray(among))).max())
