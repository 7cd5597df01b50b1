"""The manners of a MutableMapping, on top of put, delete and write."""

from __future__ import annotations

import abc
from collections.abc import Iterator, MutableMapping
from itertools import islice
from typing import Any

from oor.batch import BytesLike, Pairs
from oor.reads import Reads

_CLEAR_BATCH = 10_000
_NO_DEFAULT: Any = object()


class MutableManners(Reads):
    """Writes as of a dict. What takes two steps, a read and a write, is not atomic beside other
    writers.
    """

    @abc.abstractmethod
    def put(self, key: BytesLike, value: BytesLike, *, durability: str | None = None) -> int:
        """Set `key` to `value` and return the LSN of the mutation."""

    @abc.abstractmethod
    def delete(self, key: BytesLike, *, durability: str | None = None) -> int:
        """Remove `key`, which need not be there, and return the LSN."""

    @abc.abstractmethod
    def write(self, batch: Pairs, *, durability: str | None = None) -> int:
        """Commit a batch, all of it or none."""

    def __setitem__(self, key: BytesLike, value: BytesLike) -> None:
        self.put(key, value)

    def __delitem__(self, key: BytesLike) -> None:
        if key not in self:
            raise KeyError(key)
        self.delete(key)

    def pop(self, key: BytesLike, default: Any = _NO_DEFAULT) -> Any:
        """Remove `key` and return its value, or `default`; KeyError without one. Two steps."""
        value = self.get(key)
        if value is None:
            if default is _NO_DEFAULT:
                raise KeyError(key)
            return default
        self.delete(key)
        return value

    def popitem(self) -> tuple[bytes, bytes]:
        """Remove the first pair in key order and return it; KeyError if there is none. Two
        steps.
        """
        pair = self.first()
        if pair is None:
            raise KeyError("the store is empty")
        self.delete(pair[0])
        return pair

    def setdefault(self, key: BytesLike, default: BytesLike) -> bytes:
        """The value of `key`, which is set to `default` first if it is not there. Two steps."""
        value = self.get(key)
        if value is None:
            self.put(key, default)
            value = bytes(default)
        return value  # type: ignore[no-any-return]

    def update(self, pairs: Pairs) -> None:
        """Commit a mapping or (key, value) pairs as one batch: all of it or none. None deletes."""
        self.write(pairs)

    def clear(self) -> None:
        """Delete every key that is there when the call begins, some thousand at a time.

        Not atomic: other readers see part of it, and so does the next open if it is cut short.
        """
        keys: Iterator[bytes] = iter(self.keys())
        while batch := dict.fromkeys(islice(keys, _CLEAR_BATCH)):
            self.write(batch)


MutableMapping.register(MutableManners)  # type: ignore[type-abstract]
