"""The memtable: the newest mutations, in memory, behind the log.

A dict from key to value (None: deleted) whose order is made only when someone asks for it: an
insert into a sorted container costs ten times one into a dict, and most keys are flushed without
ever being scanned. Large batches in columns stay columns beside the dict (oor.bulk).
"""

from __future__ import annotations

import threading
import time
import weakref
from itertools import chain, islice, repeat
from typing import TYPE_CHECKING, Any, Final

from sortedcontainers import SortedList

from oor.bulk import ABSENT, MANY, MOVED, Absent, Bulk, Laid, Packed

if TYPE_CHECKING:
    from oor.log import Chunk, SegmentScan

__all__ = ["ABSENT", "COLUMN_BYTES", "ENTRY_BYTES", "Absent", "Memtable", "MemtableView"]

ENTRY_BYTES: Final = 160
"""What an entry costs besides its key and value: two objects and a place in the dict."""
COLUMN_BYTES: Final = 64
"""And one that came in columns (csrc/bulk.c): an entry of 24 bytes in an array that is a third
empty at times, and two to four slots of 8 bytes."""


class _Saved:
    """What a view needs of values that were overwritten after it was taken.

    The views of one memtable form a chain, oldest first. A writer notes a superseded value in the
    newest link only; an older view finds it by walking up the chain. A link lives as long as some
    view can reach it, so writers stop when the last view is gone. A note costs the writer one call;
    who reads puts the notes in order. They are as many as mutations, and the size of a memtable
    bounds those.
    """

    __slots__ = ("__weakref__", "_noted", "_values", "log", "newer")

    def __init__(self) -> None:
        self.log: list[Any] = []
        """key, value before it was overwritten, key, value ...: grows by whole pairs only."""
        self.newer: _Saved | None = None
        self._values: dict[bytes, bytes | Absent | None] = {}
        self._noted = 0

    def values(self) -> dict[bytes, bytes | Absent | None]:
        """What keys held when this became the newest link, if they were overwritten before it was
        not.
        """
        log, values = self.log, self._values
        if self._noted < len(log):
            with _noting:
                at, end = self._noted, len(log) // 2 * 2
                # The oldest note of a key counts: later ones are of values that came after the
                # view.
                for key, value in zip(log[at:end:2], log[at + 1 : end : 2], strict=True):
                    values.setdefault(key, value)
                self._noted = end
        return values


_noting = threading.Lock()
_views = threading.RLock()
"""Held while a memtable's newest link changes.

Reentrant: a view may go, and say so, at any point.
"""


class Memtable:
    """Mutations in LSN order, the newest of each key.

    Threads: `apply` and `view` under the commit lock; reads by anyone at any time.
    Invariants: `data` only grows and keeps the order of first insertion; the newest mutation of
    each key with an LSN from `first_lsn` to `last_lsn` is in here.
    """

    __slots__ = (
        "__weakref__", "_in_columns", "_newest", "_order", "_order_lock", "_ordered",
        "_ordered_single", "data", "first_lsn", "last_lsn", "noted", "since", "size",
    )  # fmt: skip

    def __init__(self, first_lsn: int) -> None:
        self.data: dict[bytes, bytes | None] | Bulk = {}
        self.size = 0
        """What it takes in memory: keys, values, and ENTRY_BYTES or COLUMN_BYTES for each pair."""
        self._in_columns = 0
        """Mutations that stayed columns."""
        self.first_lsn = first_lsn
        """Every mutation in here has this LSN or a higher one."""
        self.last_lsn = first_lsn - 1
        self.since = time.monotonic()
        """When it was made."""
        self.noted: list[bytes | Absent | None] | None = None
        """Takes a key and what it holds before it is overwritten; None: there is no view."""
        self._newest: weakref.ref[_Saved] | None = None
        self._order: SortedList[bytes] = SortedList()
        self._ordered = 0
        """So many keys, in the order of their first insertion, stand in `_order`; of a Bulk, of its
        columns."""
        self._ordered_single = 0
        """And of its dict."""
        self._order_lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.data)

    def __bool__(self) -> bool:
        return bool(self.data)

    def apply(
        self,
        pairs: dict[bytes, bytes | None] | Laid | Packed,
        first_lsn: int,
        last_lsn: int,
        size: int,
    ) -> None:
        """Take in the mutations `first_lsn` to `last_lsn`, `size` bytes with ENTRY_BYTES for each.

        Cost: 50 to 150 ns a pair; more while a view is alive.
        """
        assert first_lsn > self.last_lsn, "mutations are applied in LSN order"
        if not isinstance(pairs, dict):
            if self._take_columns(pairs):
                self._in_columns += pairs.count
                self.last_lsn = last_lsn
                self.size += size - (ENTRY_BYTES - COLUMN_BYTES) * pairs.count
                return
            pairs = pairs.load()
        if (noted := self.noted) is not None:
            noted.extend(
                chain.from_iterable(
                    zip(pairs, map(self.data.get, pairs, repeat(ABSENT)), strict=True)
                )
            )
        self.data.update(pairs)
        self.last_lsn = last_lsn
        self.size += size

    def put(self, key: bytes, value: bytes, lsn: int, size: int) -> None:
        """Take in one mutation, the next: `apply` of a pair, in half the time."""
        data = self.data
        if (noted := self.noted) is not None:
            noted.extend((key, data.get(key, ABSENT)))
        data[key] = value
        self.last_lsn = lsn
        self.size += size

    def replay(self, scan: SegmentScan, in_columns: bool) -> Chunk | None:
        """Take in the next chunk of a segment of the log and return it, or None at the end.

        In columns no object is made of a mutation, at 100 ns instead of 800. Raises
        CorruptionError. REQUIRES: nobody writes, or reads yet.
        """
        if not in_columns:
            chunk = scan.next()
            if chunk is not None and chunk.records:
                size = chunk.size + ENTRY_BYTES * chunk.records
                self.apply(chunk.pairs, chunk.first_lsn, chunk.last_lsn, size)
            return chunk
        if not isinstance(self.data, Bulk):
            self.data = Bulk.over(self.data)
        chunk = scan.load(self.data)
        if chunk is not None and chunk.records:
            assert chunk.first_lsn > self.last_lsn, "mutations are applied in LSN order"
            self.last_lsn = chunk.last_lsn
            self.size += chunk.size + COLUMN_BYTES * chunk.records
            self._in_columns += chunk.records
        return chunk

    def _take_columns(self, laid: Laid | Packed) -> bool:
        """Keep a batch as columns; False where a dict has to take it.

        A view notes what is overwritten, pair by pair; and a dict that is large has its reasons.
        """
        if self.noted is not None:
            return False
        data = self.data
        if isinstance(data, Bulk):
            return data.add(laid)
        if laid.count < MANY or len(data) > MOVED:
            return False
        bulk = Bulk.over(data)
        bulk.add(laid)
        # One step for readers: what the dict had is in the columns, in the same order.
        self.data = bulk
        return True

    def payload(self) -> int:
        """Bytes of keys and values of all mutations that it took, overwritten ones too."""
        mutations = self.last_lsn - self.first_lsn + 1
        entries = ENTRY_BYTES * mutations - (ENTRY_BYTES - COLUMN_BYTES) * self._in_columns
        return max(0, self.size - entries)

    def view(self) -> MemtableView:
        """The memtable as it is now, whatever is applied later. O(1). REQUIRES: the commit lock."""
        with _views:
            newest = self._newest() if self._newest is not None else None
            if newest is not None and not newest.log:
                return MemtableView(self, newest)
            link = _Saved()
            if newest is not None:
                newest.newer = link
            self._newest = weakref.ref(link, self._without_views)
            self.noted = link.log
        return MemtableView(self, link)

    def _without_views(self, gone: weakref.ref[_Saved]) -> None:
        """The newest link is gone, and so is every older one, which would hold it."""
        with _views:
            if self._newest is gone:
                self._newest = self.noted = None

    def keys_between(
        self, lower: bytes | None, upper: bytes | None, count: int, reverse: bool
    ) -> list[bytes]:
        """The first `count` keys with lower <= key < upper, in walking order.

        The first call sorts what was added since the last one.
        """
        with self._order_lock:
            self._put_in_order()
            keys = self._order.irange(lower, upper, inclusive=(True, False), reverse=reverse)
            return list(islice(keys, count))

    def _put_in_order(self) -> None:
        # Keys keep the order of insertion and are never lost, so what is new stands behind the
        # rest.
        data = self.data
        if isinstance(data, Bulk):
            added = data.column_keys(self._ordered)
            self._order.update(added)
            self._ordered += len(added)
            new = _behind(data.single, self._ordered_single)
            self._order.update(data.first_seen(new))
            self._ordered_single += len(new)
        elif self._ordered < len(data):
            added = _behind(data, self._ordered)
            self._order.update(added)
            self._ordered += len(added)

    def _check(self) -> None:
        with self._order_lock:
            self._put_in_order()
            assert len(self._order) == len(set(self._order)) >= 0
            assert set(self._order) <= set(self.data)
        assert bool(self.data) == (self.first_lsn <= self.last_lsn)


def _behind(data: dict[bytes, bytes | None], count: int) -> list[bytes]:
    """The keys of a dict behind its first `count`."""
    while True:
        try:
            return list(islice(data, count, None))
        except RuntimeError:
            continue  # a writer added a key meanwhile


class MemtableView:
    """One memtable as it was when the view was taken. Safe for any thread."""

    __slots__ = ("_link", "memtable")

    def __init__(self, memtable: Memtable, link: _Saved) -> None:
        self.memtable = memtable
        self._link = link

    def get(self, key: bytes) -> bytes | Absent | None:
        """The value, None if deleted, ABSENT if this memtable says nothing of the key."""
        # The live value first: a writer saves before it overwrites, so a value that was overwritten
        # between these two steps is found in the chain.
        live = self.memtable.data.get(key, ABSENT)
        link: _Saved | None = self._link
        while link is not None:
            if link.log and key in (values := link.values()):
                return values[key]
            link = link.newer
        return live

    def saved_bytes(self) -> int:
        """Values that were overwritten since and that this view, or one taken later, still
        shows.
        """
        size = 0
        link: _Saved | None = self._link
        while link is not None:
            size += sum(
                len(value) for value in list(link.values().values()) if isinstance(value, bytes)
            )
            link = link.newer
        return size

    def window(
        self, lower: bytes | None, upper: bytes | None, count: int, reverse: bool
    ) -> list[tuple[bytes, bytes | None]]:
        """The first `count` entries with lower <= key < upper, in walking order; fewer only at the
        end.
        """
        if not self.memtable.data:
            return []
        found: list[tuple[bytes, bytes | None]] = []
        while len(found) < count:
            keys = self.memtable.keys_between(lower, upper, count, reverse)
            found += [pair for pair in self._entries(keys) if pair[1] is not ABSENT]
            if len(keys) < count:
                break
            if reverse:
                upper = keys[-1]
            else:
                lower = keys[-1] + b"\0"
        return found

    def _check(self) -> None:
        link: _Saved | None = self._link
        while link is not None:
            assert len(link.log) % 2 == 0 and link._noted <= len(link.log) // 2 * 2
            link = link.newer

    def _entries(self, keys: list[bytes]) -> list[tuple[bytes, Any]]:
        """What `get` says of each key, for many at once."""
        live = list(map(self.memtable.data.get, keys))
        link: _Saved | None = self._link
        while link is not None:
            if link.log:
                return [(key, self.get(key)) for key in keys]
            link = link.newer
        return list(zip(keys, live, strict=True))
