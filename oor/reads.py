"""What can be read, the same of a store, of a snapshot and of a read-only handle."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeAlias

from oor.batch import BytesLike, as_bytes
from oor.columns import ColumnScan
from oor.errors import LimitError
from oor.iterator import Scan, Walk
from oor.memtable import ABSENT, Absent
from oor.short_scans import GROUP_MAX, LIMIT_MAX, first_pair, scan_many
from oor.version import Version, too_large

if TYPE_CHECKING:
    from oor.pins import Moment, Pins

Lookup: TypeAlias = Callable[[list[bytes]], Iterable[bytes | Absent | None]]
"""What one memtable holds for each of some keys."""


def prefix_bounds(prefix: bytes) -> tuple[bytes, bytes | None]:
    """The range of keys that begin with `prefix`: from it, to below the second; None: to the
    end.
    """
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


class Reads(abc.ABC):
    """Reads of one kind of view. Behaves as a `collections.abc.Mapping` in key order, with these
    differences:

    `keys`, `values` and `items` take the bounds of a scan and give an iterator; `len` walks over
    all keys; two stores are equal only if they are the same object.
    """

    _pins: Pins | None = None

    @abc.abstractmethod
    def _now(self) -> Moment:
        """The view to read from; ClosedError if there is none any more."""

    @abc.abstractmethod
    def get(self, key: BytesLike, default: Any = None) -> Any:
        """The value of `key`, or `default` if it is not there."""

    @abc.abstractmethod
    def get_many(self, keys: Sequence[BytesLike]) -> list[bytes | None]:
        """The values in the order asked; None for a key that is not there."""

    @abc.abstractmethod
    def get_into(self, key: BytesLike, buffer: Any) -> int | None:
        """Copy the value of `key` to the start of a writable buffer and return its size; None: not
        there.

        No `bytes` is made of a value in a table: one copy, from the block cache to the buffer.
        Raises LimitError, which says the size, if the buffer is too small; it is then unchanged. As
        `get` otherwise.
        """

    # ---- ranges ----------------------------------------------------------------------------------

    def scan(
        self,
        start: BytesLike | None = None,
        stop: BytesLike | None = None,
        *,
        prefix: BytesLike | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Scan:
        """The pairs with start <= key < stop (or with a prefix) in key order, or from last to
        first.

        One consistent view, whatever is written meanwhile. The iterator can `seek` and `close`.
        Raises CorruptionError, StorageError, ClosedError. Cost: some us, and about 0.1 us a pair.
        """
        lower, upper = range_bounds(start, stop, prefix)
        return Scan(Walk(self._now(), self._pins, lower, upper, reverse, limit))

    def keys(
        self,
        start: BytesLike | None = None,
        stop: BytesLike | None = None,
        *,
        prefix: BytesLike | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Scan:
        """As `scan`, but keys only."""
        lower, upper = range_bounds(start, stop, prefix)
        return Scan(Walk(self._now(), self._pins, lower, upper, reverse, limit, keys_only=True))

    items = scan

    def values(
        self,
        start: BytesLike | None = None,
        stop: BytesLike | None = None,
        *,
        prefix: BytesLike | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[bytes]:
        """As `scan`, but values only."""
        pairs = self.scan(start, stop, prefix=prefix, reverse=reverse, limit=limit)
        return map(itemgetter(1), iter(pairs))

    def scan_columns(
        self,
        start: BytesLike | None = None,
        stop: BytesLike | None = None,
        *,
        prefix: BytesLike | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> ColumnScan:
        """As `scan`, in chunks of contiguous buffers that NumPy and Arrow wrap without a copy.

        Yields `ColumnChunk`s of some thousand pairs. Cost: about 0.02 us a pair of 150 bytes.
        """
        lower, upper = range_bounds(start, stop, prefix)
        return ColumnScan(Walk(self._now(), self._pins, lower, upper, reverse, limit))

    def first(
        self,
        start: BytesLike | None = None,
        stop: BytesLike | None = None,
        *,
        prefix: BytesLike | None = None,
        reverse: bool = False,
    ) -> tuple[bytes, bytes] | None:
        """The first pair that `scan` would give, or None. Cheaper than a scan: a few us."""
        lower, upper = range_bounds(start, stop, prefix)
        if lower is not None and upper is not None and lower >= upper:
            return None
        return self._first(lower, upper, reverse)

    def _first(
        self, lower: bytes | None, upper: bytes | None, reverse: bool
    ) -> tuple[bytes, bytes] | None:
        """`first`, of bounds that hold something."""
        return first_pair(self._now(), lower, upper, reverse)

    def scan_many(
        self,
        ranges: Sequence[tuple[BytesLike, BytesLike]],
        *,
        limit: int = 1,
        group: int = 0,
        reverse: bool = False,
    ) -> list[list[tuple[bytes, bytes]]]:
        """The first `limit` pairs with start <= key < stop, or the last with `reverse`, for each of
        `ranges`: (start, stop).

        With `group` an answer ends, too, before the first pair that does not share the first
        `group` bytes of its key with the first pair. Limits are 0 to 2**32 - 1 pairs and 255 bytes,
        else LimitError. One consistent view. Cost: one crossing for all tables, about 2 us a range;
        a range that a memtable has keys of is a scan of its own, and they are all put in order
        once.
        """
        if not (0 <= limit <= LIMIT_MAX and 0 <= group <= GROUP_MAX):
            raise LimitError(f"the first {limit} pairs, groups of {group} bytes")
        wanted = [(as_bytes(start), as_bytes(stop)) for start, stop in ranges]
        return scan_many(self._now(), wanted, limit, group, reverse)

    # ---- as a mapping ----------------------------------------------------------------------------

    def __contains__(self, key: BytesLike) -> bool:
        return self.get(key) is not None

    def __getitem__(self, key: BytesLike) -> bytes:
        value = self.get(key)
        if value is None:
            raise KeyError(key)
        return value  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.keys())

    def __reversed__(self) -> Iterator[bytes]:
        return iter(self.keys(reverse=True))

    def __len__(self) -> int:
        """The number of keys, counted one by one: a scan of the whole store."""
        return Walk(self._now(), self._pins, None, None, False, None, keys_only=True).count()

    def __bool__(self) -> bool:
        """Whether there is any key; cheap."""
        return self.first() is not None


Mapping.register(Reads)  # type: ignore[type-abstract]


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


def look_up_into(
    key: bytes,
    buffer: Any,
    getters: Sequence[Callable[[bytes], bytes | Absent | None]],
    version: Version,
) -> int | None:
    """The newest value of a key, copied to `buffer`. See `Reads.get_into`."""
    for get in getters:
        value = get(key)
        if isinstance(value, Absent):
            continue
        if value is None:
            return None
        with memoryview(buffer) as view:
            room = view.cast("B")
            if len(value) > len(room):
                raise too_large(len(value), len(room))
            room[: len(value)] = value
        return len(value)
    return version.get_into(key, buffer)
