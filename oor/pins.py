"""Pins: who keeps tables and memtables alive, and since when.

A snapshot and a scan pin a version and views of memtables; files that were compacted away and
memtables that were flushed live on until the last of them lets go. Each is entered here when it is
made, weakly and in O(1); what a pin holds is only worked out when somebody asks.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import weakref
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from oor.errors import OorError
from oor.log import Segment
from oor.memtable import Memtable, MemtableView
from oor.version import Version

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep


@dataclass(frozen=True, slots=True)
class Pin:
    """One reason why segments, tables and memtables are still there. Sizes are bytes.

    What has no pin but "version" or "redo" is simply in use: the tables that the manifest names,
    and the log from where a recovery would start.
    """

    owner: str
    """"snapshot", "scan" or "backup": a view that somebody has taken. "memtable": what is not in
    tables yet, and so the log that has it. "redo": where recovery would start. "version": the live
    tables."""
    thread: str | None
    """The name of the thread that made it; None unless it is a view."""
    site: str | None
    """file:line of the caller that made it; None unless the store was opened with
    pin_sites=True.
    """
    age: float
    """Seconds since it was made."""
    lsn: int
    """It shows, or is, the mutations up to this LSN."""
    table_bytes: int
    """Files of the tables that it reads."""
    memtable_bytes: int
    """Memtables that it reads, and values that were overwritten since and are kept for it."""
    kept_bytes: int
    """What would be free without it: of a view, what the store itself no longer uses; of a
    memtable, segments that hold nothing newer, and would go with those before them when it is
    flushed."""
    log_bytes: int = 0
    """Segments that it needs."""
    segments: tuple[int, ...] = ()
    """Their numbers."""
    tables: tuple[int, ...] = ()
    """The numbers of the tables that it needs."""


class Moment:
    """A consistent view: what is on disk, and what the memtables above it held, newest first."""

    __slots__ = ("lsn", "version", "views")

    def __init__(self, version: Version, views: Sequence[MemtableView], lsn: int) -> None:
        self.version = version
        self.views = views
        self.lsn = lsn

    def _check(self) -> None:
        self.version._check()
        for view in self.views:
            view._check()
        for newer, older in pairwise(self.views):
            assert newer.memtable.first_lsn > older.memtable.last_lsn, "views newest first"


class Pinning(Protocol):
    """What can be entered: a snapshot or a scan."""

    @property
    def pinned(self) -> Pinned | None:
        """What it holds; None once it let go."""

    def end(self, error: OorError) -> None:
        """Let go, because the store goes; every later use raises `error`."""


class Pinned:
    """What a pin notes of its making, beside the view."""

    __slots__ = ("moment", "owner", "since", "site", "thread")

    def __init__(
        self,
        owner: str,
        moment: Moment,
        sites: bool,
        made: tuple[float, threading.Thread] | None = None,
    ) -> None:
        self.owner = owner
        self.moment = moment
        self.since, self.thread = made or (time.monotonic(), threading.current_thread())
        self.site = _caller() if sites else None


class Work:
    """The pin of work under way, as long as its `with` lasts."""

    __slots__ = ("__weakref__", "_owner", "_pins", "pinned")

    def __init__(self, owner: str, pins: Pins) -> None:
        self._owner = owner
        self._pins = pins
        self.pinned: Pinned | None = None

    def hold(self, moment: Moment) -> None:
        """Say what the work needs from now on."""
        self.pinned = Pinned(self._owner, moment, self._pins.sites)

    def end(self, error: OorError) -> None:
        """Nothing: the work finds out by itself that the store is closed."""

    def __enter__(self) -> Work:
        self._pins.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.pinned = None


class Pins:
    """The views that keep parts of one open store.

    Threads: any; adding is one step for the interpreter.
    """

    __slots__ = ("_live", "sites")

    def __init__(self, sites: bool = False) -> None:
        self.sites = sites
        # A dead reference takes itself out; its hash is the owner's, and was taken when it was
        # added.
        self._live: set[weakref.ref[Pinning]] = set()

    def add(self, pinning: Pinning) -> None:
        """Enter a pin. It leaves by itself when it is dropped. O(1)."""
        self._live.add(weakref.ref(pinning, self._live.discard))

    def live(self) -> list[Pinning]:
        """Those that are still there."""
        found = [reference() for reference in list(self._live)]
        return [pinning for pinning in found if pinning is not None]

    def end(self, error: OorError) -> None:
        """Make every pin let go: the store closes. Their next use raises `error`."""
        for pinning in self.live():
            pinning.end(error)

    def _check(self) -> None:
        for pinned in (pinning.pinned for pinning in self.live()):
            if pinned is not None:
                pinned.moment._check()

    def read(self, version: Version, memtables: Collection[Memtable]) -> list[Pin]:
        """The pins, oldest first; `version` and `memtables` are what the store uses now."""
        now = time.monotonic()
        used = version.table_numbers()
        pins = [
            _measure(pinned, now, used, memtables)
            for pinned in (pinning.pinned for pinning in self.live())
            if pinned is not None
        ]
        return sorted(pins, key=lambda pin: -pin.age)


def _measure(
    pinned: Pinned, now: float, used: frozenset[int], memtables: Collection[Memtable]
) -> Pin:
    table_bytes = memtable_bytes = kept_bytes = 0
    for table in pinned.moment.version.tables():
        table_bytes += table.meta.size
        if table.meta.number not in used:
            kept_bytes += table.meta.size
    in_use = set(map(id, memtables))
    for view in pinned.moment.views:
        saved = view.saved_bytes()
        memtable_bytes += view.memtable.size + saved
        kept_bytes += saved if id(view.memtable) in in_use else view.memtable.size + saved
    return Pin(
        owner=pinned.owner,
        thread=pinned.thread.name,
        site=pinned.site,
        age=now - pinned.since,
        lsn=pinned.moment.lsn,
        table_bytes=table_bytes,
        memtable_bytes=memtable_bytes,
        kept_bytes=kept_bytes,
        tables=tuple(sorted(pinned.moment.version.table_numbers())),
    )


def pins_of_store(
    version: Version,
    memtables: Sequence[Memtable],
    segments: Sequence[Segment],
    redo: tuple[int, int],
    ages: tuple[float, float],
) -> list[Pin]:
    """Why the store itself needs its segments and tables, oldest first.

    `redo` is the first segment that recovery would read and the LSN behind which, `ages` for how
    long that and the version have been in force.
    """
    log_start, flushed_lsn = redo
    redo_age, version_age = ages
    needed = [segment for segment in segments if segment.number >= log_start]
    tables = list(version.tables())
    pins = [
        _own("version", version_age, flushed_lsn, (), table_bytes=sum(t.meta.size for t in tables),
             tables=tuple(sorted(t.meta.number for t in tables))),
        _own("redo", redo_age, flushed_lsn, needed),
    ]  # fmt: skip
    now = time.monotonic()
    for memtable in memtables:
        first, last = memtable.first_lsn, memtable.last_lsn
        if not memtable:
            continue
        # The current segment has no last LSN yet.
        holding = [s for s in segments if s.first_lsn <= last and (s.last_lsn or last) >= first]
        closed = [s.size for s in holding if 0 < s.last_lsn <= last]
        pins.append(_own("memtable", now - memtable.since, last, holding,
                         memtable_bytes=memtable.size, kept_bytes=sum(closed)))  # fmt: skip
    return sorted(pins, key=lambda pin: -pin.age)


def _own(
    owner: str,
    age: float,
    lsn: int,
    segments: Sequence[Segment],
    *,
    tables: tuple[int, ...] = (),
    table_bytes: int = 0,
    memtable_bytes: int = 0,
    kept_bytes: int = 0,
) -> Pin:
    return Pin(
        owner=owner, thread=None, site=None, age=age, lsn=lsn, table_bytes=table_bytes,
        memtable_bytes=memtable_bytes, kept_bytes=kept_bytes, tables=tables,
        segments=tuple(segment.number for segment in segments),
        log_bytes=sum(segment.size for segment in segments),
    )  # fmt: skip


def _caller() -> str | None:
    """file:line of the nearest frame that is not of this package."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back  # type: ignore[assignment]
    return None if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"
