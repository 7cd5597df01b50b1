"""Work that is one step ahead of whoever asks for it."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Generator[T, None, None]) -> Generator[T, None, None]:
    """The items, each made on a second thread while the caller is at the one before.

    What making one raises is raised here in its place. To be closed, or walked to its end: then
    nothing of it runs any more, and `items` is closed too.
    """
    with ThreadPoolExecutor(1, "oor-ahead") as pool:
        try:
            coming = pool.submit(next, items, None)
            while (item := coming.result()) is not None:
                coming = pool.submit(next, items, None)
                yield item
        finally:
            pool.submit(items.close).result()
