"""Consistent views: what a reader sees, and keeps seeing, whatever is written meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from oor.batch import BytesLike, all_bytes, as_bytes
from oor.errors import ClosedError
from oor.iterator import scan
from oor.memtable import ABSENT, Absent, Memtable, MemtableView
from oor.version import Version

Lookup: TypeAlias = Callable[[list[bytes]], Iterable[bytes | None | Absent]]
"""What one memtable holds for each of some keys."""


@dataclass(frozen=True, slots=True)
class View:
    """What the engine reads from now: exchanged whole, never changed.

    `active` takes mutations; `immutables` wait for their flush, newest first; `version` is on disk.
    """

    active: Memtable
    immutables: tuple[Memtable, ...]
    version: Version

    def memtables(self) -> tuple[Memtable, ...]:
        """All of them, newest first."""
        return (self.active, *self.immutables)


def prefix_bounds(prefix: bytes) -> tuple[bytes, bytes | None]:
    """The range of keys that begin with `prefix`: from it, to below the second; None: to the end."""
    upper = prefix.rstrip(b"\xff")
    if not upper:
        return prefix, None
    return prefix, upper[:-1] + bytes([upper[-1] + 1])


def range_bounds(
    start: BytesLike | None, stop: BytesLike | None, prefix: BytesLike | None
) -> tuple[bytes | None, bytes | None]:
    """The bounds of a scan as bytes. TypeError if `prefix` comes with another bound."""
    if prefix is not None:
        if start is not None or stop is not None:
            raise TypeError("a scan takes a prefix, or start and stop, not both")
        return prefix_bounds(as_bytes(prefix))
    return (
        None if start is None else as_bytes(start),
        None if stop is None else as_bytes(stop),
    )


class Snapshot:
    """The store as it was when the snapshot was taken. A context manager; `close` lets go of what it pins.

    Taking one is O(1): it pins the live tables and the memtables, and values that are overwritten
    meanwhile are kept aside for it. Safe for any thread. ClosedError after `close`.
    """

    def __init__(
        self,
        version: Version,
        views: Sequence[MemtableView],
        lsn: int,
        on_close: Callable[[Snapshot], None] | None = None,
    ) -> None:
        self._pinned: tuple[Version, tuple[MemtableView, ...]] | None = (version, tuple(views))
        self._on_close = on_close
        self.lsn = lsn
        """The LSN of the newest mutation that the snapshot shows."""
        self.taken_at = time.time()

    def _pins(self) -> tuple[Version, tuple[MemtableView, ...]]:
        pinned = self._pinned
        if pinned is None:
            raise ClosedError("the snapshot is closed")
        return pinned

    def get(self, key: BytesLike, default: Any = None) -> Any:
        """The value of `key`, or `default` if it is not there."""
        version, views = self._pins()
        key = as_bytes(key)
        for view in views:
            value = view.get(key)
            if not isinstance(value, Absent):
                return default if value is None else value
        found = version.get(key)
        return default if found is None else found

    def get_many(self, keys: Sequence[BytesLike]) -> list[bytes | None]:
        """The values in the order asked; None for a key that is not there."""
        version, views = self._pins()
        return look_up_many(all_bytes(keys), [partial(map, view.get) for view in views], version)

    def scan(
        self,
        start: BytesLike | None = None,
        stop: BytesLike | None = None,
        *,
        prefix: BytesLike | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[tuple[bytes, bytes]]:
        """The pairs with start <= key < stop, in key order, or from the last to the first."""
        version, views = self._pins()
        lower, upper = range_bounds(start, stop, prefix)
        return scan(version, views, lower, upper, reverse=reverse, limit=limit, keys_only=False)

    def keys(
        self,
        start: BytesLike | None = None,
        stop: BytesLike | None = None,
        *,
        prefix: BytesLike | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[bytes]:
        """As `scan`, but keys only."""
        version, views = self._pins()
        lower, upper = range_bounds(start, stop, prefix)
        return scan(version, views, lower, upper, reverse=reverse, limit=limit, keys_only=True)

    def __contains__(self, key: BytesLike) -> bool:
        return self.get(key) is not None

    def __getitem__(self, key: BytesLike) -> bytes:
        value = self.get(key)
        if value is None:
            raise KeyError(key)
        return value  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[bytes]:
        return self.keys()

    def close(self) -> None:
        """Let go. More than once is fine."""
        self._pinned = None
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close(self)

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def look_up_many(
    keys: list[bytes], lookups: Sequence[Lookup], version: Version
) -> list[bytes | None]:
    """The newest value of each key: memtables first, then all that is left in one crossing."""
    if not lookups:
        return version.get_many(keys)
    found: list[Any] = list(lookups[0](keys))
    missing = [index for index, value in enumerate(found) if value is ABSENT]
    for lookup in lookups[1:]:
        for index, value in zip(missing, lookup([keys[i] for i in missing]), strict=True):
            found[index] = value
        missing = [index for index in missing if found[index] is ABSENT]
    if len(missing) == len(keys):
        return version.get_many(keys)
    if missing:
        rest = version.get_many([keys[index] for index in missing])
        for index, value in zip(missing, rest, strict=True):
            found[index] = value
    return found
