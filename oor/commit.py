"""Commit: the one way of a mutation from the caller to the log, to the device, to the memtable.

The order is the promise. A mutation is logged before the memtable has it, and in `sync` mode durable
before anyone can read it. Memtable order is LSN order in every mode: a mutation that is not waiting for a
sync still waits behind earlier ones that are.
"""

from __future__ import annotations

import time
from array import array
from collections import deque
from typing import Any, Final

from oor.batch import check_sizes
from oor.errors import FailedError
from oor.memtable import ENTRY_BYTES
from oor.native import TOMBSTONE, Buffer, Columns, check, ffi, lib
from oor.options import Durability
from oor.state import State

_put = lib.oor_wal_put
_SYNC: Final = Durability.SYNC
_SLOWDOWN_SECONDS = 0.001

Mutations = dict[bytes, bytes | None]


class Commit:
    """Gives LSNs and applies mutations in their order.

    Threads: any number. One at a time appends and applies, under the commit lock; none holds it across a
    sync, so those who arrive meanwhile share the next one.
    Invariants: (1) `_last_lsn` is the last LSN that is in the memtable or in `_pending`. (2) `_pending` is
    in LSN order and holds only mutations that are logged, not yet known durable, and not visible.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._wal = state.log.raw
        self._lock = state.lock
        self._pending: deque[tuple[Mutations, int, int, int]] = deque()
        self._last_lsn = state.log.next_lsn() - 1
        self._memtable_bytes = state.options.memtable_bytes
        self._buffer = Buffer()
        self.stall_seconds = 0.0
        self.stalls = 0

    @property
    def last_lsn(self) -> int:
        """The LSN of the newest mutation that was logged."""
        return self._last_lsn

    def put(self, key: bytes, value: bytes, mode: Durability) -> int:
        """Commit one mutation and return its LSN. The shortest way through this room, for the most calls."""
        size = len(value)
        with self._lock:
            if self._state.hindered:
                self._admit()
            try:
                lsn: int = _put(self._wal, key, len(key), value, size)
                if lsn > 0 and mode is not _SYNC and not self._pending:
                    memtable = self._state.view.active
                    if memtable.newest is not None:
                        memtable.save((key,))
                    memtable.data[key] = value
                    memtable.size += ENTRY_BYTES + len(key) + size
                    memtable.last_lsn = self._last_lsn = lsn
                    if memtable.size >= self._memtable_bytes:
                        self._state.rotate_memtable()
                    return lsn
                mode = self._accept_one(lsn, key, value, mode)
            except BaseException:
                self._settle({key: value}, mode)
                raise
        if mode is _SYNC:
            self._make_durable(lsn)
        return lsn

    def delete(self, key: bytes, mode: Durability) -> int:
        """Commit one deletion and return its LSN."""
        with self._lock:
            if self._state.hindered:
                self._admit()
            try:
                lsn: int = _put(self._wal, key, len(key), b"", TOMBSTONE)
                mode = self._accept_one(lsn, key, None, mode)
            except BaseException:
                self._settle({key: None}, mode)
                raise
        if mode is _SYNC:
            self._make_durable(lsn)
        return lsn

    def write(self, columns: Columns, pairs: Mutations, mode: Durability) -> int:
        """Commit a batch, atomic, and return the LSN of its last mutation. `pairs` is what it adds up to."""
        size = len(pairs) * ENTRY_BYTES + len(columns.keys) + len(columns.values)
        with self._lock:
            if self._state.hindered:
                self._admit()
            try:
                first = lib.oor_wal_append(self._wal, *columns.arguments(), 0)
                if first < 0:
                    self._refuse(first)
                last: int = first + columns.count - 1
                mode = self._accept(pairs, first, last, size, mode)
            except BaseException:
                self._settle(pairs, mode)
                raise
        if mode is _SYNC:
            self._make_durable(last)
        return last

    def write_columns(
        self, keys: Any, key_sizes: array[int], values: Any, value_sizes: array[int], stamp: bool, mode: Durability
    ) -> int:
        """Commit pairs that lie in contiguous memory; returns the LSN of the last. See `DB.write_columns`."""
        columns = (
            len(key_sizes),
            ffi.from_buffer("uint8_t[]", keys),
            len(keys),
            ffi.from_buffer("uint32_t[]", key_sizes),
            ffi.from_buffer("uint8_t[]", values, require_writable=stamp),
            len(values),
            ffi.from_buffer("uint32_t[]", value_sizes),
        )
        size = len(key_sizes) * ENTRY_BYTES + len(keys) + len(values)
        pairs: Mutations | None = None
        with self._lock:
            if self._state.hindered:
                self._admit()
            try:
                first = lib.oor_wal_append(self._wal, *columns, stamp)
                if first < 0:
                    self._refuse(first)
                last: int = first + len(key_sizes) - 1
                pairs = self._load(columns)
                mode = self._accept(pairs, first, last, size, mode)
            except BaseException:
                self._settle(pairs if pairs is not None else self._load(columns), mode)
                raise
        if mode is _SYNC:
            self._make_durable(last)
        return last

    def _load(self, columns: tuple[Any, ...]) -> Mutations:
        check(lib.oor_columns_to_dict(*columns, self._buffer.raw))
        pairs: Mutations = self._buffer.load()
        return pairs

    # ---- under the commit lock ------------------------------------------------------------------

    def _accept(self, pairs: Mutations, first: int, last: int, size: int, mode: Durability) -> Durability:
        """Take in what was just logged: apply it, or let it wait for its sync. Returns the mode in force."""
        if mode is _SYNC or self._pending:
            if not self._pending or self._pending[-1][2] < last:
                self._pending.append((pairs, first, last, size))
            mode = _SYNC
        else:
            self._apply(pairs, first, last, size)
        self._last_lsn = last
        return mode

    def _apply(self, pairs: Mutations, first: int, last: int, size: int) -> None:
        state = self._state
        memtable = state.view.active
        memtable.apply(pairs, first, last, size)
        if memtable.size >= self._memtable_bytes:
            state.rotate_memtable()

    def _settle(self, pairs: Mutations, mode: Durability) -> None:
        """After an exception (a signal handler's, say) in the section that logs and applies.

        What is in the log must be in the memtable, or waiting to be: applying twice does no harm.
        """
        logged = self._state.log.next_lsn() - 1
        if logged > self._last_lsn:
            active = self._state.view.active
            if active.last_lsn <= self._last_lsn:
                self._accept(pairs, self._last_lsn + 1, logged, 0, mode)
            self._last_lsn = logged

    def _accept_one(self, lsn: int, key: bytes, value: bytes | None, mode: Durability) -> Durability:
        if lsn < 0:
            check_sizes(len(key), len(value or b""))
            self._refuse(lsn)
        return self._accept({key: value}, lsn, lsn, ENTRY_BYTES + len(key) + len(value or b""), mode)

    def _refuse(self, code: int) -> None:
        """Raise what the log's answer stands for; after a final one the store is read-only."""
        try:
            check(code)
        except FailedError as error:
            self._state.failure = self._state.failure or error
            self._state.update_hindered()
            raise

    def _admit(self) -> None:
        """Let a writer in, later if flush or compaction are behind. Raises if it never may."""
        state = self._state
        state.check_writable()
        since = time.monotonic()
        if state.must_wait():
            while state.must_wait():
                # Waiting for a flush that has no room would be waiting for ever.
                if state.disk_full is not None:
                    raise state.disk_full
                state.changed.wait()
                state.check_writable()
        else:
            state.changed.wait(_SLOWDOWN_SECONDS)
            state.check_writable()
        self.stalls += 1
        self.stall_seconds += time.monotonic() - since

    # ---- without the lock ------------------------------------------------------------------------

    def sync(self) -> None:
        """Make everything that was committed before the call durable and visible."""
        self._state.check_readable()
        self._make_durable(self._last_lsn)

    def _make_durable(self, lsn: int) -> None:
        """Return when everything up to `lsn` is durable and visible; one sync serves all who wait."""
        try:
            code = lib.oor_wal_sync(self._wal, lsn, -1)
        finally:
            # The first of those whom a sync woke has applied for all of them.
            if self._state.view.active.last_lsn < lsn:
                self.publish()
        if code < 0:
            try:
                check(code)
            except FailedError as error:
                self._state.fail(error)
                raise

    def publish(self) -> None:
        """Apply what has become durable, in LSN order."""
        with self._lock:
            pending = self._pending
            if not pending:
                return
            durable = lib.oor_wal_durable(self._wal)
            while pending and pending[0][2] <= durable:
                # An exception may have come between these two the last time.
                if pending[0][2] > self._state.view.active.last_lsn:
                    self._apply(*pending[0])
                pending.popleft()
