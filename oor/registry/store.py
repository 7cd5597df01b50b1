"""What the registry asks of the engine: public calls of `oor.DB`, and nothing of what is below."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

Pairs = list[tuple[bytes, bytes | None]]
"""Records to write; None deletes."""


class Reader(Protocol):
    """A database or a snapshot of it."""

    def get(self, key: bytes) -> bytes | None: ...

    def get_many(self, keys: Sequence[bytes]) -> Iterable[bytes | None]: ...

    def scan(
        self,
        start: bytes | None = None,
        stop: bytes | None = None,
        *,
        prefix: bytes | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[tuple[bytes, bytes]]: ...


class Snapshot(Reader, Protocol):
    """A read view that does not change until it is left."""

    def __enter__(self) -> Snapshot: ...

    def __exit__(self, *exc: object) -> None: ...


class Store(Reader, Protocol):
    """A database."""

    @property
    def path(self) -> str: ...

    def put(self, key: bytes, value: bytes, *, durability: str | None = None) -> int: ...

    def snapshot(self) -> Snapshot: ...

    def write_columns(
        self,
        keys: bytes,
        key_sizes: array[int],
        values: bytearray,
        value_sizes: array[int],
        *,
        stamp: bool = False,
        durability: str | None = None,
    ) -> int: ...
