"""Consistent views: what a reader sees, and keeps seeing, whatever is written meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

from oor.batch import BytesLike, all_bytes, as_bytes
from oor.errors import ClosedError, OorError
from oor.memtable import Absent, Memtable
from oor.pins import Moment, Pinned, Pins
from oor.reads import Reads, look_up_into, look_up_many
from oor.version import Version


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

    def _check(self) -> None:
        memtables = self.memtables()
        for memtable in memtables:
            memtable._check()
        for newer, older in pairwise(memtables):
            assert newer.first_lsn > older.last_lsn, "memtables newest first"
        self.version._check()
        for table in self.version.tables():
            table._check()


class Snapshot(Reads):
    """The store as it was when the snapshot was taken. A context manager; `close` lets go of what
    it pins.

    Taking one is O(1): it pins the live tables and the memtables, and values that are overwritten
    meanwhile are kept aside for it. Safe for any thread. ClosedError after `close`, its own or the
    store's.

        >>> import oor, tempfile
        >>> with oor.open(tempfile.mkdtemp() + "/catalog.oor") as db:
        ...     _ = db.put(b"25544", b"ISS")
        ...     with db.snapshot() as before:
        ...         _ = db.put(b"25544", b"ISS (ZARYA)")
        ...         before[b"25544"], db[b"25544"]
        (b'ISS', b'ISS (ZARYA)')
    """

    def __init__(self, moment: Moment, pins: Pins) -> None:
        self._pins = pins
        self._closed: OorError | None = None
        self.lsn = moment.lsn
        """The LSN of the newest mutation that the snapshot shows."""
        self.pinned: Pinned | None = Pinned("snapshot", moment, pins.sites)
        pins.add(self)

    def _now(self) -> Moment:
        pinned = self.pinned
        if pinned is None:
            raise self._closed or ClosedError("the snapshot is closed")
        return pinned.moment

    def get(self, key: BytesLike, default: Any = None) -> Any:
        """The value of `key`, or `default` if it is not there."""
        moment = self._now()
        key = as_bytes(key)
        for view in moment.views:
            value = view.get(key)
            if not isinstance(value, Absent):
                return default if value is None else value
        found = moment.version.get(key)
        return default if found is None else found

    def get_many(self, keys: Sequence[BytesLike]) -> list[bytes | None]:
        """The values in the order asked; None for a key that is not there."""
        moment = self._now()
        lookups = [partial(map, view.get) for view in moment.views]
        return look_up_many(all_bytes(keys), lookups, moment.version)

    def get_into(self, key: BytesLike, buffer: Any) -> int | None:
        """See `DB.get_into`."""
        moment = self._now()
        getters = [view.get for view in moment.views]
        return look_up_into(as_bytes(key), buffer, getters, moment.version)

    def _check(self) -> None:
        if self.pinned is not None:
            self.pinned.moment._check()
            assert self.lsn == self.pinned.moment.lsn

    def close(self) -> None:
        """Let go. Scans of the snapshot that are under way go on. More than once is fine."""
        self.pinned = None

    def end(self, error: OorError) -> None:
        """Let go, because the store closes."""
        self._closed = error
        self.close()

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
