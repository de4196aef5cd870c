"""What a user hands to a predictor as rows: lists, arrays, columns of tables; their second texts; how many run at once.

Arrays of numpy and columns of pandas and polars are known by what they have: none of these is imported.
"""

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from octavo.encoding.tokenizing import parse_row
from octavo.errors import DataError, InputError
from octavo.tasks.task import Task

_END = object()


def as_rows(inputs: Any) -> Any:
    """A list in the place of an array of numpy or a column of pandas or polars; everything else as it is.

    Raises:
        DataError: it has other than one dimension, as a table has, whose rows would be the names of its columns.
    """
    if isinstance(inputs, (str, bytes, list, tuple, Mapping)):
        return inputs
    to_list = getattr(inputs, "tolist", None) or getattr(inputs, "to_list", None)
    dimensions = getattr(inputs, "ndim", 1 if to_list else None)
    if dimensions is None and hasattr(inputs, "columns"):
        dimensions = 2
    if dimensions is None:
        return inputs
    if dimensions != 1 or not to_list:
        got = f"a {type(inputs).__name__} of {dimensions} dimensions"
        raise DataError("rows are a list, or one column", got=got, allowed="one dimension, such as table['text']")
    return to_list()


def require_several(rows: Any) -> None:
    """See that what is to be streamed is several rows, and not one, whose parts would be taken for them.

    Raises:
        DataError: it is one.
    """
    if isinstance(rows, (str, bytes, Mapping)) or not isinstance(rows, Iterable):
        raise DataError("a stream is of several rows", got=f"{type(rows).__name__} {rows!r:.60}", allowed="an iterable")


def with_pairs(rows: Iterable[Any], pairs: Any) -> Iterable[Any]:
    """Texts with the second text of each: a list of pairs for a list, an iterator for an iterator.

    Raises:
        DataError: there is not one for each.
    """
    pairs = as_rows(pairs)
    if isinstance(pairs, str) or not isinstance(pairs, Iterable):
        raise DataError("text_pair has no second text for each row", got=f"{pairs!r:.60}", allowed="as many as texts")
    if isinstance(rows, list) and isinstance(pairs, list) and len(rows) != len(pairs):
        raise DataError("text_pair has no second text for each row", got=len(pairs), allowed=len(rows))
    joined = _pairs(iter(rows), iter(pairs))
    return list(joined) if isinstance(rows, list) else joined


def _pairs(rows: Iterator[Any], pairs: Iterator[Any]) -> Iterator[Any]:
    for position, row in enumerate(rows):
        if not isinstance(row, str):
            raise DataError(f"row {position}: text_pair goes with texts", got=f"{type(row).__name__} {row!r:.60}")
        pair = next(pairs, _END)
        if pair is _END:
            raise DataError(
                "text_pair has no second text for each row", got=position, allowed=f"{position + 1} or more"
            )
        yield row, pair
    if next(pairs, _END) is not _END:
        raise DataError("text_pair has more second texts than there are rows")


def require_texts(passages: Any) -> tuple[str, ...]:
    """Passages to be ranked.

    Raises:
        DataError: they are one text, or one of them is none.
    """
    require_several(passages)
    texts = tuple(passages)
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"passage {position} is no text", got=f"{text!r:.60}")
        parse_row(text)
    return texts


def require_ranking(task: Task[Any]) -> Task[Any]:
    """What the models of a task rank by (`Task.ranking`).

    Raises:
        InputError: nothing.
    """
    ranking = task.ranking()
    if ranking is None:
        got = f"{task.name} with {len(task.signature.labels)} outputs"
        raise InputError(
            "a ranking needs one score for a pair, or vectors", got=got, allowed="one output, or an embedder"
        )
    return ranking


def require_batch_size(size: int | None, what: str = "batch_size is how many rows run at once") -> int | None:
    """How many rows run at once at most; None: Octavo chooses.

    Raises:
        InputError: it is no number above 0.
    """
    if size is None:
        return None
    if isinstance(size, bool) or not hasattr(size, "__index__") or operator.index(size) < 1:
        raise InputError(what, got=repr(size), allowed="1 or more, or None")
    return operator.index(size)


def reduced(kind: str, reopen: Callable[[], Any] | None) -> tuple[Callable[[], Any], tuple[()]]:
    """A predictor as pickle takes it: the function that opens it again.

    Raises:
        InputError: `octavo.load` did not open it, so that nobody knows how.
    """
    if reopen is None:
        what = f"this {kind} cannot be pickled: octavo.load did not open it, so it cannot be opened again elsewhere"
        raise InputError(what, then="call octavo.load in each process")
    return reopen, ()
