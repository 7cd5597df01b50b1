"""What the registry asks of the engine: public calls of `oor.DB`, and nothing of what is below."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

Pair = tuple[bytes, bytes | None]
"""A record to write; None deletes."""
Pairs = list[Pair]


ABSENT_SIZE = 0xFFFFFFFF
"""As the size of a value: this record is to be deleted."""


class Columns(NamedTuple):
    """Records one behind the other, as `Store.write_columns` takes them: buffers and sizes."""

    keys: Any
    key_sizes: array[int]
    values: Any
    value_sizes: array[int]


def joined(pairs: Sequence[Pair]) -> Columns:
    """Records one by one as columns."""
    return Columns(
        b"".join([key for key, _ in pairs]),
        array("I", [len(key) for key, _ in pairs]),
        bytearray().join([value for _, value in pairs if value is not None]),
        array("I", [ABSENT_SIZE if value is None else len(value) for _, value in pairs]),
    )


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

    def scan_many(
        self,
        ranges: Sequence[tuple[bytes, bytes]],
        *,
        limit: int = 1,
        group: int = 0,
        reverse: bool = False,
    ) -> list[list[tuple[bytes, bytes]]]: ...


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
        keys: Any,
        key_sizes: array[int],
        values: Any,
        value_sizes: array[int],
        *,
        stamp: bool = False,
        durability: str | None = None,
    ) -> int: ...
