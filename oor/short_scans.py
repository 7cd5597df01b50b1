"""Short scans: the first pair of a range, or the first few of many ranges, in one crossing."""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from itertools import chain, takewhile
from threading import current_thread
from time import monotonic
from typing import Any, TypeAlias

from oor.errors import ClosedError, OorError
from oor.iterator import AT_ONCE, REVERSE, Scan, View, Walk
from oor.memtable import MemtableView
from oor.native import Buffer, check, ffi, lib
from oor.pins import Moment, Pinned, Pins
from oor.version import Version

Pairs: TypeAlias = list[tuple[bytes, bytes]]

GROUP_MAX: int = lib.OOR_GROUP_MAX
LIMIT_MAX = (1 << 32) - 1
_SINGLE_STEPS = 3


def first_pair(
    moment: Moment, lower: bytes | None, upper: bytes | None, reverse: bool
) -> tuple[bytes, bytes] | None:
    """The first live pair of a range, or the last; None: there is none.

    Cost: one crossing, and a bisection in each memtable that holds anything.
    """
    version, views = moment.version, moment.views
    if not views:
        return version.first(lower, upper, reverse)
    for _ in range(_SINGLE_STEPS):
        newest: tuple[bytes, bytes | None] | None = None
        for view in views:
            for pair in view.window(lower, upper, 1, reverse):
                if newest is None or (pair[0] > newest[0] if reverse else pair[0] < newest[0]):
                    newest = pair
        found = version.first(lower, upper, reverse)
        if newest is None:
            return found
        key, value = newest
        if found is not None and (found[0] > key if reverse else found[0] < key):
            return found
        if value is not None:
            return key, value
        if reverse:
            upper = key
        else:
            lower = key + b"\0"
    # Among many deletions a walk is cheaper than single steps.
    return next(Scan(Walk(moment, None, lower, upper, reverse, 1)), None)


def few_pairs(
    moment: Moment, lower: bytes | None, upper: bytes | None, reverse: bool, limit: int
) -> Pairs | None:
    """The first `limit` live pairs of a range, in walking order; None: a walk is the better way.

    What memtables hold of it is laid over what tables hold. Cost: that of a scan of tables alone,
    5 us a memtable, and 1 us a pair of one.
    """
    asked = limit
    while asked <= AT_ONCE:
        pairs: Pairs = moment.version.scan(lower, upper, REVERSE if reverse else 0, asked, 0)
        low, high = lower, upper
        if len(pairs) == asked:
            # What memtables hold behind them is not wanted.
            low, high = (pairs[-1][0], upper) if reverse else (lower, pairs[-1][0] + b"\0")
        newer, end = _newest(moment.views, low, high, limit, reverse)
        gone = list(newer.values()).count(None)
        if len(pairs) < asked or asked >= limit + gone:
            return _laid_over(pairs, newer, limit, reverse, end)
        # Twice, so that deletions behind deletions take few looks.
        asked = limit + 2 * gone
    return None


def _newest(
    views: Sequence[MemtableView],
    lower: bytes | None,
    upper: bytes | None,
    limit: int,
    reverse: bool,
) -> tuple[dict[bytes, bytes | None], bytes | None]:
    """What memtables hold of a range, at most `limit` entries of each, and the key behind which
    there may be more, or None.
    """
    newer: dict[bytes, bytes | None] = {}
    end: bytes | None = None
    for view in reversed(views):
        window = view.window(lower, upper, limit, reverse)
        newer.update(window)
        if len(window) == limit:
            last = window[-1][0]
            end = last if end is None else max(end, last) if reverse else min(end, last)
    return newer, end


def _laid_over(
    pairs: Pairs,
    newer: dict[bytes, bytes | None],
    limit: int,
    reverse: bool,
    end: bytes | None,
) -> Pairs | None:
    """The first `limit` pairs of both; None if some of them may lie behind `end`."""
    if newer:
        few = not reverse and len(newer) * 8 < len(pairs)
        pairs = _with_few(pairs, newer) if few else _with_many(pairs, newer, reverse)
        del pairs[limit:]
    if end is not None:
        if len(pairs) < limit:
            return None
        last = pairs[-1][0]
        if last < end if reverse else last > end:
            return None
    return pairs


def _with_few(pairs: Pairs, newer: dict[bytes, bytes | None]) -> Pairs:
    """Pairs in key order, changed by newer ones in their place."""
    for key, value in newer.items():
        at = bisect_left(pairs, (key,))
        known = at < len(pairs) and pairs[at][0] == key
        if value is not None:
            pairs[at : at + known] = [(key, value)]
        elif known:
            del pairs[at]
    return pairs


def _with_many(pairs: Pairs, newer: dict[bytes, bytes | None], reverse: bool) -> Pairs:
    """The same, all sorted anew."""
    merged: dict[bytes, bytes | None] = dict(pairs)
    merged.update(newer)
    return [
        (key, value)
        for key in sorted(merged, reverse=reverse)
        if (value := merged[key]) is not None
    ]


class ShortScan(Scan):
    """A scan all of whose pairs were read when it was made: `Handle.scan` does.

    They are in hand whatever becomes of the store; the view that it keeps is for a seek. It is its
    own pin. Invariant: `_walk` is there from the first seek on, and then keeps the view.
    """

    __slots__ = (
        "__weakref__", "_chunk", "_error", "_lsn", "_made", "_pins", "_range", "_version", "_views",
    )  # fmt: skip

    def __init__(
        self,
        version: Version,
        views: Sequence[MemtableView],
        lsn: int,
        pins: Pins,
        bounds: tuple[bytes | None, bytes | None, bool, int],
        chunk: list[Any],
    ) -> None:
        self._version: Version | None = version
        self._views = views
        self._lsn = lsn
        self._pins = pins
        self._range = bounds
        self._chunk = chunk
        self._pairs = iter(chunk)
        self._made = monotonic(), current_thread()
        pins.add(self)

    @property
    def pinned(self) -> Pinned | None:
        """What it keeps; None once it let go."""
        moment = self._moment()
        return None if moment is None else Pinned("scan", moment, False, self._made)

    def _moment(self) -> Moment | None:
        # In this order: whoever lets go, of another thread, begins with the version.
        views, version = self._views, self._version
        return None if version is None else Moment(version, views, self._lsn)

    def seek(self, key: bytes) -> None:
        """See `Scan.seek`."""
        if not hasattr(self, "_walk"):
            moment = self._moment()
            if moment is None:
                raise getattr(self, "_error", None) or ClosedError("the scan is closed")
            low, high, reverse, limit = self._range
            self._walk = Walk(moment, self._pins, low, high, reverse, limit)
            self._let_go()
        super().seek(key)

    def close(self) -> None:
        """See `Scan.close`."""
        self._let_go()
        self._chunk.clear()
        if hasattr(self, "_walk"):
            self._walk.close()

    def end(self, error: OorError) -> None:
        """Let go of the view, because the store closes."""
        self._let_go()
        self._error = error

    def _let_go(self) -> None:
        self._version = None
        self._views = ()

    def _check(self) -> None:
        if self._version is not None:
            self._version._check()
        if hasattr(self, "_walk"):
            assert self._version is None, "one of the two keeps the view"
            self._walk._check()


def scan_one(
    version: Version, low: bytes, high: bytes, limit: int, group: int, reverse: bool
) -> Pairs:
    """What `scan_many` gives for one range, of tables alone."""
    return version.scan(low, high, REVERSE if reverse else 0, limit, group)


def scan_many(
    moment: Moment,
    ranges: Sequence[tuple[bytes, bytes]],
    limit: int,
    group: int,
    reverse: bool,
) -> list[Pairs]:
    """The first live pairs of each range, or the last; see `Reads.scan_many`."""
    found = _scan_tables(moment.version, ranges, limit, group, reverse)
    if moment.views and ranges:
        newer = _Keys(moment.views, min(low for low, _ in ranges), max(high for _, high in ranges))
        for place, (low, high) in enumerate(ranges):
            if newer.any_between(low, high):
                walk = Walk(moment, None, low, high, reverse, limit)
                found[place] = _first_group(Scan(walk), group)
    return found


def _scan_tables(
    version: Version, ranges: Sequence[tuple[bytes, bytes]], limit: int, group: int, reverse: bool
) -> list[Pairs]:
    bounds = list(chain.from_iterable(ranges))
    joined, sizes = b"".join(bounds), array("I", list(map(len, bounds)))
    buffer = Buffer()
    check(
        lib.oor_version_scan_many(
            version.raw, len(ranges), joined, len(joined), ffi.from_buffer("uint32_t[]", sizes),
            reverse, limit, group, buffer.raw,
        )
    )  # fmt: skip
    found: list[Pairs] = buffer.load()
    return found


def _first_group(pairs: Scan, group: int) -> Pairs:
    first = next(pairs, None)
    if first is None:
        return []
    if not group:
        return [first, *pairs]
    head = first[0][:group]
    if len(head) < group:
        return [first]
    return [first, *takewhile(lambda pair: pair[0].startswith(head), pairs)]


class _Keys:
    """The keys that memtables say anything of, in order."""

    def __init__(self, views: Sequence[View], lower: bytes, upper: bytes) -> None:
        found: set[bytes] = set()
        for view in views:
            found.update(key for key, _ in view.window(lower, upper, sys.maxsize, False))
        self._sorted = sorted(found)

    def any_between(self, lower: bytes, upper: bytes) -> bool:
        """Whether there is one with lower <= key < upper."""
        at = bisect_left(self._sorted, lower)
        return at < len(self._sorted) and self._sorted[at] < upper
