"""Work that is done ahead of who asks for it: the next window of rows is read while the model runs on this one."""

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
_END: Any = object()


def ahead(items: Iterator[T]) -> Generator[T]:
    """The same items in the same order, each made in a thread while the one before it is worked on; two are held.

    An error comes where its item would have come. Whoever ends early waits for the item that is being made, so that no
    thread is left behind.
    """
    with ThreadPoolExecutor(1, "octavo-ahead") as pool:
        following = pool.submit(next, items, _END)
        while (item := following.result()) is not _END:
            following = pool.submit(next, items, _END)
            yield item
