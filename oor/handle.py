"""The reads of an open store, whether it is written to or only read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any, Protocol

from oor.batch import BytesLike, all_bytes, as_bytes
from oor.bulk import Bulk
from oor.errors import ClosedError
from oor.iterator import AT_ONCE, REVERSE, Scan
from oor.memtable import ABSENT, Absent
from oor.pins import Moment, Pin, Pins
from oor.reads import Lookup, Reads, look_up_into, look_up_many, range_bounds
from oor.short_scans import GROUP_MAX, LIMIT_MAX, ShortScan, few_pairs, scan_one
from oor.snapshot import Snapshot, View


class HandleState(Protocol):
    """What a handle reads from. After a close `view` is a `ClosedView`."""

    lock: Any
    view: View
    closed: bool
    flushed_lsn: int

    def check_readable(self) -> None:
        """Raise ClosedError if the handle is closed."""


class Handle(Reads):
    """A store that was opened. Every method may be called from any thread.

    After `close`, and in a forked child, every read raises ClosedError; so does the next step of a
    scan that was under way, unless it has its pairs in hand.
    """

    path: str
    _state: Any
    _pins: Pins

    def get(self, key: BytesLike, default: Any = None) -> Any:
        """The value of `key`, or `default` if it is not there.

        Raises CorruptionError if a block that may hold it is damaged, StorageError, ClosedError.
        Cost: a dict lookup for each memtable, then one crossing for all tables.
        """
        if type(key) is not bytes:
            key = as_bytes(key)
        view = self._state.view
        if data := view.active.data:
            value = data.get(key, ABSENT)
            if value is not ABSENT:
                return default if value is None else value
        if view.immutables:
            for memtable in view.immutables:
                value = memtable.data.get(key, ABSENT)
                if value is not ABSENT:
                    return default if value is None else value
        # `Version.get` in line: a call costs as much as half of the lookup itself.
        value = view.version.lookup(key)
        return default if value is None else value

    def get_many(self, keys: Sequence[BytesLike]) -> list[bytes | None]:
        """The values in the order asked, None for a key that is not there. One crossing for all."""
        view: View = self._state.view
        lookups = [_lookup(memtable.data) for memtable in view.memtables() if memtable.data]
        if not lookups:
            return view.version.get_many(keys)
        return look_up_many(all_bytes(keys), lookups, view.version)

    def scan(
        self,
        start: BytesLike | None = None,
        stop: BytesLike | None = None,
        *,
        prefix: BytesLike | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Scan:
        """See `Reads.scan`. Up to 512 pairs are read before it returns."""
        pins = self._pins
        if limit is not None and 0 < limit <= AT_ONCE and not pins.sites:
            view: View = self._state.view
            active = view.active
            if prefix is not None:
                start, stop = range_bounds(start, stop, prefix)
                prefix = None
            if start is not None and type(start) is not bytes:
                start = as_bytes(start)
            if stop is not None and type(stop) is not bytes:
                stop = as_bytes(stop)
            bounds = start, stop, reverse, limit
            if not active.data and not view.immutables:
                version = view.version
                chunk = version.scan(start, stop, REVERSE if reverse else 0, limit, 0)
                return ShortScan(version, (), active.first_lsn - 1, pins, bounds, chunk)
            moment = self._now()
            pairs = few_pairs(moment, *bounds)
            if pairs is not None:
                return ShortScan(moment.version, moment.views, moment.lsn, pins, bounds, pairs)
        return super().scan(start, stop, prefix=prefix, reverse=reverse, limit=limit)

    items = scan

    def _first(
        self, lower: bytes | None, upper: bytes | None, reverse: bool
    ) -> tuple[bytes, bytes] | None:
        view: View = self._state.view
        if view.active.data or view.immutables:
            return super()._first(lower, upper, reverse)
        # Of tables alone it needs no lock and no view of memtables.
        return view.version.first(lower, upper, reverse)

    def scan_many(
        self,
        ranges: Sequence[tuple[BytesLike, BytesLike]],
        *,
        limit: int = 1,
        group: int = 0,
        reverse: bool = False,
    ) -> list[list[tuple[bytes, bytes]]]:
        """See `Reads.scan_many`. One range of tables alone costs about 3 us."""
        view = self._state.view
        if len(ranges) == 1 and not view.active.data and not view.immutables:
            low, high = ranges[0]
            fits = 0 <= limit <= LIMIT_MAX and 0 <= group <= GROUP_MAX
            if fits and type(low) is bytes and type(high) is bytes:
                return [scan_one(view.version, low, high, limit, group, reverse)]
        return super().scan_many(ranges, limit=limit, group=group, reverse=reverse)

    def get_into(self, key: BytesLike, buffer: Any) -> int | None:
        """Copy the value of `key` to the start of a writable buffer and return its size; None: not
        there.

        No `bytes` is made of a value in a table: one copy, from the block cache to the buffer.
        Raises LimitError, which says the size, if the buffer is too small; it is then unchanged. As
        `get` otherwise.
        """
        view = self._state.view
        getters = [_getter(memtable.data) for memtable in view.memtables() if memtable.data]
        return look_up_into(as_bytes(key), buffer, getters, view.version)

    def snapshot(self) -> Snapshot:
        """A consistent view that never changes, to read from until it is closed. O(1)."""
        return Snapshot(self._now(), self._pins)

    def pins(self) -> list[Pin]:
        """The snapshots and scans that keep a view of the store alive, oldest first.

        Cost: some us a pin. With the option pin_sites each says which line made it.
        """
        view = self._state.view
        return self._pins.read(view.version, view.memtables())

    def _check(self) -> None:
        """AssertionError or CorruptionError if anything that reads go through is not as it must
        be.
        """
        self._state.view._check()
        self._pins._check()

    def _now(self) -> Moment:
        state = self._state
        with state.lock:
            if state.closed:
                raise ClosedError("the store is closed", path=self.path)
            view = state.view
            active = view.active
            lsn = max(active.last_lsn, state.flushed_lsn)
            if not view.immutables:
                return Moment(view.version, (active.view(),) if active.data else (), lsn)
            lsn = max(lsn, view.immutables[0].last_lsn)
            # What is empty now has nothing to show later either.
            views = tuple([memtable.view() for memtable in view.memtables() if memtable.data])
            return Moment(view.version, views, lsn)


class ClosedView:
    """Stands where the view was, so that a read of a closed store says so and costs an open one
    nothing.
    """

    def __init__(self, path: str, why: str = "the store is closed") -> None:
        self._error = (why, path)

    def __getattr__(self, name: str) -> Any:
        why, path = self._error
        raise ClosedError(why, path=path)

    def error(self) -> ClosedError:
        """What every use of it raises."""
        why, path = self._error
        return ClosedError(why, path=path)


def _lookup(data: dict[bytes, bytes | None] | Bulk) -> Lookup:
    if isinstance(data, Bulk):
        return data.get_many
    get = data.get
    return lambda keys: map(get, keys, repeat(ABSENT))


def _getter(data: dict[bytes, bytes | None] | Bulk) -> Callable[[bytes], bytes | Absent | None]:
    get = data.get
    return lambda key: get(key, ABSENT)
