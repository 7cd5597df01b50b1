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
from oor.iterator import REVERSE, Scan, View, Walk
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


class ShortScan(Scan):
    """A scan of tables alone, all of whose pairs were read when it was made: `Handle.scan` does.

    They are in hand whatever becomes of the store; the view that it keeps is for a seek. It is its
    own pin. Invariant: `_walk` is there from the first seek on, and then keeps the view.
    """

    __slots__ = ("__weakref__", "_chunk", "_error", "_lsn", "_made", "_pins", "_range", "_version")

    def __init__(
        self,
        version: Version,
        lsn: int,
        pins: Pins,
        bounds: tuple[bytes | None, bytes | None, bool, int],
        chunk: list[Any],
    ) -> None:
        self._version: Version | None = version
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
        version = self._version
        if version is None:
            return None
        return Pinned("scan", Moment(version, (), self._lsn), False, self._made)

    def seek(self, key: bytes) -> None:
        """See `Scan.seek`."""
        if not hasattr(self, "_walk"):
            version = self._version
            if version is None:
                raise getattr(self, "_error", None) or ClosedError("the scan is closed")
            low, high, reverse, limit = self._range
            moment = Moment(version, (), self._lsn)
            self._walk = Walk(moment, self._pins, low, high, reverse, limit)
            self._version = None
        super().seek(key)

    def close(self) -> None:
        """See `Scan.close`."""
        self._version = None
        self._chunk.clear()
        if hasattr(self, "_walk"):
            self._walk.close()

    def end(self, error: OorError) -> None:
        """Let go of the view, because the store closes."""
        self._version = None
        self._error = error

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
