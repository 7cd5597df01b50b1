"""Scans: one ordered walk over the tables of a version and the memtables above them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Protocol

from oor.errors import ClosedError, OorError
from oor.native import Buffer, Columns, check, ffi, lib, loads, owned
from oor.pins import Moment, Pinned, Pins
from oor.version import Version

_CHUNKS = (32, 128, 512)
"""Pairs in the first chunks, and in all that follow: short scans start fast, long ones go fast."""

_WINDOWS = (16, 64, 256, 1024)
"""The same for the entries asked of a memtable at once."""

AT_ONCE = _CHUNKS[-1]
"""Pairs that a walk over tables alone reads in its first and only chunk, where it is limited."""

REVERSE: int = lib.OOR_MERGE_REVERSE
_KEYS_ONLY: int = lib.OOR_MERGE_KEYS_ONLY
HAS_START: int = lib.OOR_MERGE_HAS_START
HAS_STOP: int = lib.OOR_MERGE_HAS_STOP
TUPLES: int = lib.OOR_MERGE_TUPLES
_KEPT_MAX = 1 << 20
_buffers: list[Buffer] = []
"""Borrowed by one call at a time: pop and append are atomic."""

Pair = tuple[bytes, bytes | None]


class View(Protocol):
    """A memtable as a scan sees it; it does not change while the scan runs."""

    def window(
        self, lower: bytes | None, upper: bytes | None, count: int, reverse: bool
    ) -> list[tuple[bytes, bytes | None]]:
        """The first `count` entries with lower <= key < upper, as walked; None: a tombstone."""


def scan(
    version: Version,
    views: Sequence[View] = (),
    start: bytes | None = None,
    stop: bytes | None = None,
    *,
    reverse: bool = False,
    limit: int | None = None,
    keys_only: bool = False,
) -> Scan:
    """Walk start <= key < stop and yield (key, value), or only keys, in key order or its reverse.

    `views` are newest first and hide what tables hold. The walk keeps the version and the views
    alive. Cost: about 0.1 us a pair; long walks read past the block cache. CorruptionError,
    StorageError.
    """
    moment = Moment(version, views, 0)  # type: ignore[arg-type]
    return Scan(Walk(moment, None, start, stop, reverse, limit, keys_only))


class Scan:
    """An iterator over the pairs, or the keys, of a range, in key order or from last to first.

    It shows one consistent view and keeps it alive until it is closed or dropped. When the store is
    closed a live scan ends: its next step raises ClosedError, unless all its pairs are in hand (see
    `ShortScan`). One thread at a time.
    """

    __slots__ = ("_pairs", "_walk")

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self._pairs: Iterator[Any] = chain.from_iterable(walk)

    def __iter__(self) -> Iterator[Any]:
        # Shares all its state with this object, and steps at the speed of C.
        return self._pairs

    def __next__(self) -> Any:
        return next(self._pairs)

    def seek(self, key: bytes) -> None:
        """Go on at the first key at or after `key`; walking down, at the first at or before it.

        Forward or back, but never out of the bounds of the scan. A limit counts anew. Cost: that of
        a new scan; the view stays.
        """
        walk = self._walk
        walk.seek(key if type(key) is bytes else bytes(key))
        # A chain that met its end stays there.
        self._pairs = chain.from_iterable(walk)

    def _check(self) -> None:
        self._walk._check()

    def close(self) -> None:
        """Let go of the view; the scan is at its end. More than once is fine."""
        self._walk.close()

    def __enter__(self) -> Scan:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Walk:
    """The chunks of a scan, one crossing each: lists of keys, or pairs out of a flat list.

    Invariants: (1) `_merge` is None before the first chunk, behind the last and after `close`.
    (2) `_chunk` is the list handed out last: emptied, it ends under whoever walks it, so that a
    seek and a close take effect at once.
    """

    # What most walks never change, so that a short one does not set it.
    _merge: Any = None
    _windows: _Windows | None = None
    _step = 0
    _error: OorError | None = None
    pinned: Pinned | None = None

    def __init__(
        self,
        moment: Moment,
        pins: Pins | None,
        start: bytes | None,
        stop: bytes | None,
        reverse: bool,
        limit: int | None,
        keys_only: bool = False,
    ) -> None:
        self._moment: Moment | None = moment
        self._flags = (REVERSE if reverse else 0) | (_KEYS_ONLY if keys_only else 0)
        self._start = self._lower = start
        self._stop = self._upper = stop
        self._limit = self._left = limit
        self._chunk: list[Any] = []
        self._done = limit is not None and limit <= 0
        if pins is not None:
            self.pinned = Pinned("scan", moment, pins.sites)
            pins.add(self)

    def __iter__(self) -> Walk:
        return self

    def __next__(self) -> Iterable[Any]:
        if self._done and self._error is None:
            raise StopIteration
        if self._fits_one_call():
            assert self._moment is not None and self._left is not None
            version = self._moment.version
            self._chunk = version.scan(self._lower, self._upper, self._flags, self._left, 0)
            self._done = True
            return self._chunk
        try:
            buffer = _buffers.pop()
        except IndexError:
            buffer = Buffer()
        raw = buffer.raw
        try:
            while (merge := self.merge()) is not None:
                step = check(lib.oor_merge_next(merge, self._size(), raw))
                chunk: list[bytes] = loads(ffi.buffer(raw.data, raw.size))
                handed_on = self._hand_on(merge, step, chunk)
                if chunk:
                    return handed_on
        finally:
            if raw.capacity <= _KEPT_MAX:
                _buffers.append(buffer)
        raise StopIteration

    def count(self) -> int:
        """Walk to the end and say how many keys there were. REQUIRES: keys only."""
        return sum(len(self._chunk) for _ in self)

    def _hand_on(self, merge: Any, step: int, chunk: list[bytes]) -> Iterable[Any]:
        """What one crossing gave, as keys or as pairs."""
        self._chunk = chunk
        if self._flags & _KEYS_ONLY:
            self.advance(merge, step, len(chunk))
            return chunk
        self.advance(merge, step, len(chunk) // 2)
        # Two hands on one iterator make pairs, and zip makes them in one tuple as long as nobody
        # keeps it.
        flat = iter(chunk)
        return zip(flat, flat, strict=False)

    def _fits_one_call(self) -> bool:
        """Whether the whole walk is one short call over tables alone."""
        left = self._left
        return (
            left is not None
            and left <= AT_ONCE
            and self._merge is None
            and self._error is None
            and self._moment is not None
            and not self._moment.views
        )

    def merge(self) -> Any:
        """The C walk, at the next pair; None at the end. Raises what ended the walk from
        outside.
        """
        if self._error is not None:
            raise self._error
        if self._merge is None and not self._done:
            self._begin()
        return self._merge

    def _begin(self) -> None:
        moment = self._moment
        assert moment is not None
        low, high = self._lower, self._upper
        if low is not None and high is not None and low >= high:
            self._finish()
            return
        flags = self._flags
        flags |= HAS_START if low is not None else 0
        flags |= HAS_STOP if high is not None else 0
        flags |= 0 if moment.views else lib.OOR_MERGE_NO_WINDOW
        low, high = low or b"", high or b""
        self._merge = owned(
            lib.oor_merge_new(moment.version.raw, low, len(low), high, len(high), flags),
            lib.oor_merge_free,
        )
        self._step = 0
        if moment.views:
            reverse = bool(flags & REVERSE)
            self._windows = _Windows(moment.views, self._lower, self._upper, reverse)
            self.feed(self._merge)

    def _size(self) -> int:
        """Pairs to ask for; a walk that says how many it wants gets them at once."""
        left = self._left
        if left is not None:
            return min(left, _CHUNKS[-1])
        step = self._step
        self._step = step + 1
        return _CHUNKS[step] if step < len(_CHUNKS) else _CHUNKS[-1]

    def feed(self, merge: Any) -> None:
        """Give the C walk the next window of the memtables. REQUIRES: it has asked for one."""
        windows = self._windows
        if windows is None:  # ended by another thread while this one was in C
            raise self._error or ClosedError("the scan is closed")
        keys, values, last = windows.next()
        if keys:
            check(lib.oor_merge_window(merge, *Columns(keys, values).arguments(), last))
        else:
            check(lib.oor_merge_window(merge, 0, b"", 0, ffi.NULL, b"", 0, ffi.NULL, last))

    def advance(self, merge: Any, step: int, count: int) -> None:
        """Take note of `count` pairs that came out, and give the C walk what it asks for."""
        if self._left is not None:
            self._left -= count
        if step == lib.OOR_MERGE_END or self._left == 0:
            self._finish()
        elif step == lib.OOR_MERGE_NEEDS_WINDOW:
            self.feed(merge)

    @property
    def left(self) -> int | None:
        """Pairs that the limit leaves; None: no limit."""
        return self._left

    def _finish(self) -> None:
        self._merge = self._windows = None
        self._done = True

    def seek(self, key: bytes) -> None:
        """See `Scan.seek`."""
        if self._error is not None:
            raise self._error
        if self._moment is None:
            raise ClosedError("the scan is closed")
        self._chunk.clear()
        self._finish()
        if self._flags & REVERSE:
            upper = key + b"\0"
            self._upper = upper if self._stop is None else min(upper, self._stop)
        else:
            self._lower = key if self._start is None else max(key, self._start)
        self._left = self._limit
        self._done = self._limit is not None and self._limit <= 0

    def _check(self) -> None:
        if self._moment is not None:
            self._moment._check()
        assert self._moment is not None or self._done, "a closed walk is at its end"
        assert self._left is None or self._left >= 0
        if self._merge is not None:
            assert not self._done, "nothing to merge behind the end"
            check(lib.oor_merge_check(self._merge))

    def close(self) -> None:
        """Let go; the walk is at its end."""
        self._finish()
        self._chunk.clear()
        self._moment = self.pinned = None

    def end(self, error: OorError) -> None:
        """Let go, because the store closes."""
        if not self._done or self._chunk:
            self._error = error
        self.close()


class _Source:
    """One view: entries fetched and not yet handed on, and where the rest starts."""

    __slots__ = ("entries", "exhausted", "lower", "upper", "view")

    def __init__(self, view: View, lower: bytes | None, upper: bytes | None) -> None:
        self.view = view
        self.lower = lower
        self.upper = upper
        self.entries: list[Pair] = []
        self.exhausted = False

    def fill(self, count: int, reverse: bool) -> None:
        """Fetch more if there is nothing at hand."""
        if self.entries or self.exhausted:
            return
        self.entries = self.view.window(self.lower, self.upper, count, reverse)
        self.exhausted = len(self.entries) < count
        if self.entries and reverse:
            self.upper = self.entries[-1][0]
        elif self.entries:
            self.lower = self.entries[-1][0] + b"\0"

    def take(self, cut: bytes | None, reverse: bool) -> list[Pair]:
        """Hand on the entries up to and with `cut`; all of them if it is None."""
        entries = self.entries
        if cut is None:
            self.entries = []
            return entries
        low, high = 0, len(entries)
        while low < high:
            middle = (low + high) // 2
            key = entries[middle][0]
            if key >= cut if reverse else key <= cut:
                low = middle + 1
            else:
                high = middle
        self.entries = entries[low:]
        return entries[:low]


class _Windows:
    """The entries of all views as one run, window by window, the newest entry of each key."""

    __slots__ = ("_made", "_reverse", "_sources")

    def __init__(
        self, views: Sequence[View], lower: bytes | None, upper: bytes | None, reverse: bool
    ) -> None:
        self._sources = [_Source(view, lower, upper) for view in views]
        self._reverse = reverse
        self._made = 0

    def next(self) -> tuple[list[bytes], list[bytes | None], bool]:
        """Keys, values, and whether this is the last window."""
        count = _WINDOWS[min(self._made, len(_WINDOWS) - 1)]
        self._made += 1
        for source in self._sources:
            source.fill(count, self._reverse)
        # Past the nearest end of what was fetched, a view may hold entries that are not at hand.
        ends = [s.entries[-1][0] for s in self._sources if s.entries and not s.exhausted]
        cut = (max(ends) if self._reverse else min(ends)) if ends else None
        parts = [source.take(cut, self._reverse) for source in self._sources]
        if len(parts) == 1:
            merged = parts[0]
        else:
            newest: dict[bytes, bytes | None] = {}
            for part in reversed(parts):
                newest.update(part)
            merged = sorted(newest.items(), reverse=self._reverse)
        last = all(source.exhausted and not source.entries for source in self._sources)
        return [key for key, _ in merged], [value for _, value in merged], last
