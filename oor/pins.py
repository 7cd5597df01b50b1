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
from oor.memtable import Memtable, MemtableView
from oor.version import Version

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep


@dataclass(frozen=True, slots=True)
class Pin:
    """One snapshot or scan that keeps a view of the store alive. Sizes are bytes."""

    owner: str
    """"snapshot" or "scan"."""
    thread: str
    """The name of the thread that made it."""
    site: str | None
    """file:line of the caller that made it; None unless the store was opened with
    pin_sites=True.
    """
    age: float
    """Seconds since it was made."""
    lsn: int
    """It shows the mutations up to this LSN."""
    table_bytes: int
    """Files of the tables that it reads."""
    memtable_bytes: int
    """Memtables that it reads, and values that were overwritten since and are kept for it."""
    kept_bytes: int
    """Of both, what the store itself no longer uses: it would be free without pins."""


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

    def __init__(self, owner: str, moment: Moment, sites: bool) -> None:
        self.owner = owner
        self.moment = moment
        self.since = time.monotonic()
        self.thread = threading.current_thread()
        self.site = _caller() if sites else None


class Pins:
    """The pins of one open store. Threads: any; adding is one step for the interpreter."""

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
    )


def _caller() -> str | None:
    """file:line of the nearest frame that is not of this package."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back  # type: ignore[assignment]
    return None if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"
