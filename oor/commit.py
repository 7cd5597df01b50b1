"""Commit: the one way of a mutation from the caller to the log, to the device, to the memtable.

The order is the promise. A mutation is logged before the memtable has it, and in `sync` mode
durable before anyone can read it. Memtable order is LSN order in every mode: a mutation that waits
for no sync still waits behind earlier ones that do.

`sync` crosses to C once: the call logs and waits. Whoever made a shared sync comes back first and
applies what it made durable for all, in the order of the log's queue; then the others come back, to
what is visible already (csrc/wal_commit.c).
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from typing import Any, Final

from oor.batch import BytesLike, as_bytes, check_sizes
from oor.bulk import MANY, Bulk, Laid, Packed
from oor.errors import FailedError, bare
from oor.memtable import ABSENT, ENTRY_BYTES
from oor.native import TOMBSTONE, Batch, Buffer, Columns, Ops, check, ffi, lib, puts_of
from oor.options import Durability, durability_of
from oor.pressure import Pressure, Stalls
from oor.publish import Mutations, Pairs, Publisher, new_found
from oor.state import State

_put = lib.oor_wal_put
_commit = lib.oor_wal_commit
_commit_columns = lib.oor_wal_commit_columns
_SYNC: Final = Durability.SYNC
_NO_WAIT: Final[int] = lib.OOR_APPEND_NO_WAIT
_STAMP: Final[int] = lib.OOR_APPEND_STAMP
_STALL: Final[int] = lib.OOR_E_STALL

ALLOWANCES: Final = 64
"""So many times while it fills, a memtable's size is brought up to date with the easy puts."""


class Commit(Publisher):
    """Gives LSNs and applies mutations in their order.

    Threads: any number. Appends of the modes that do not wait, and all applying, are under the
    commit lock; nobody holds it across a sync, so those who arrive meanwhile share the next one.
    Invariants: (1) What is logged is in a memtable, or in `_waiting` under a token that stands in
    the log's queue. (2) A mutation is applied only when every one with a lower LSN is.
    """

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self._mode = state.options.durability
        easily, durably = puts_of(
            self._wal, ABSENT, self._waiting, self._memtable_bytes, ENTRY_BYTES
        )
        self.put_shortly = durably if self._mode is _SYNC else easily
        """For `oor.put`."""
        self._buffer = Buffer()
        self.pressure = Pressure(state)
        """What holds writers back, and how often and how long it did."""

    @property
    def last_lsn(self) -> int:
        """The LSN of the newest mutation that was logged; 0 before the first."""
        return self._state.log.next_lsn() - 1

    # ---- one mutation ----------------------------------------------------------------------------

    def allow(self) -> None:
        """Add to the memtable's size what was put the easy way (oor.put), and allow as much again.

        REQUIRES: the commit lock.
        """
        memtable = self._state.view.active
        room = self._memtable_bytes - memtable.size
        allowed = min(self._memtable_bytes // ALLOWANCES, max(room, 0))
        memtable.size += lib.oor_wal_allow(self._wal, allowed, ENTRY_BYTES)

    def finish_put(self, rest: tuple[int, int], key: BytesLike, value: BytesLike) -> int:
        """What a durable put that went the short way has left to do; returns its LSN.

        See `native.puts_of`.
        """
        answer, token = rest
        if not token:
            with self._lock:
                self._rotate_if_full(self._state.view.active)
            return answer
        try:
            if answer < 0:
                arguments = key, len(key), value, len(value)
                answer = self._commit_late(answer, _commit, arguments, token, new_found()[0])
        finally:
            if token in self._waiting:
                self.publish()
        return answer

    def put(self, given_key: BytesLike, given_value: BytesLike, durability: str | None) -> int:
        """Commit one mutation and return its LSN."""
        key, value = as_bytes(given_key), as_bytes(given_value)
        mode = self._mode if durability is None else durability_of(durability)
        size = len(value)
        if self._state.hindered:
            self._state.check_writable()
        if mode is _SYNC or self._waiting:
            check_sizes(len(key), size)
            return self._commit_and_wait(
                _commit,
                (key, len(key), value, size),
                {key: value},
                ENTRY_BYTES + len(key) + size,
            )
        lsn: int = 0
        stalls: Stalls | None = None
        waits = False
        with self._lock:
            self.allow()
            if self._state.hindered:
                stalls = self.pressure.admit(ENTRY_BYTES + len(key) + size)
            try:
                lsn = _put(self._wal, key, len(key), value, size, _NO_WAIT)
                if lsn == _STALL:
                    lsn, stalls = self._wait_for_log(
                        stalls, lambda: _put(self._wal, key, len(key), value, size, 0)
                    )
                if lsn > 0 and not self._waiting:
                    memtable = self._state.view.active
                    memtable.put(key, value, lsn, ENTRY_BYTES + len(key) + size)
                    self._rotate_if_full(memtable)
                else:
                    if lsn < 0:
                        check_sizes(len(key), size)
                        self._refuse(lsn)
                    self._queue_behind(
                        lambda: {key: value}, lsn, lsn, ENTRY_BYTES + len(key) + size
                    )
                    waits = True
            except BaseException:
                self.settle(lambda: {key: value}, lsn, lsn)
                raise
        if stalls:
            self.pressure.tell(stalls)
        if waits:
            self.make_durable(lsn)
        return lsn

    def delete(self, key: bytes, mode: Durability) -> int:
        """Commit one deletion and return its LSN."""
        if mode is _SYNC or self._waiting:
            check_sizes(len(key), 0)
            return self._commit_and_wait(
                _commit, (key, len(key), b"", TOMBSTONE), {key: None}, ENTRY_BYTES + len(key)
            )
        columns = Columns([key], [None])
        return self._write(
            columns.arguments(), 0, lambda: {key: None}, ENTRY_BYTES + len(key), mode
        )

    # ---- batches ---------------------------------------------------------------------------------

    def write(self, batch: Batch, pairs: Pairs, mode: Durability) -> int:
        """Commit a batch, atomic, and return the LSN of its last mutation.

        `pairs` is what it adds up to.
        """
        size = len(pairs) * ENTRY_BYTES + batch.payload
        load = self._loader(batch, pairs)
        return self._write(batch.arguments(), batch.flags, load, size, mode)

    def log(
        self, batch: Batch, pairs: Pairs, mode: Durability, wait: bool = True
    ) -> tuple[int, Durability]:
        """The first half of `write`: the last LSN, and SYNC if the batch is visible only once it is
        durable.

        The caller then sees to it that the LSN becomes durable and calls `publish`. With `wait`
        False WouldStallError, and nothing logged, where it would have to wait.
        """
        size = len(pairs) * ENTRY_BYTES + batch.payload
        with self._lock if wait else self._patient_lock:
            stalls = self.pressure.admit(size, wait) if self._state.hindered else []
            if mode is not _SYNC and not self._waiting:
                last, waits, stalls = self._append(
                    batch.arguments(), batch.flags, self._loader(batch, pairs), size, stalls, wait
                )
            else:
                last, waits = self._append_waiting(batch, pairs, size, wait), True
        if stalls:
            self.pressure.tell(stalls)
        return last, _SYNC if waits else mode

    def write_columns(
        self,
        keys: bytes,
        key_sizes: array[int],
        values: bytes | bytearray,
        value_sizes: array[int],
        stamp: bool,
        mode: Durability,
    ) -> int:
        """Commit pairs that lie in contiguous memory; returns the LSN of the last.

        See `DB.write_columns`. Log and memtable each read the memory, and C trusts the sizes that
        it has checked. REQUIRES: nobody changes it meanwhile.
        """
        arguments = (
            len(key_sizes),
            ffi.from_buffer("uint8_t[]", keys),
            len(keys),
            ffi.from_buffer("uint32_t[]", key_sizes),
            ffi.from_buffer("uint8_t[]", values, require_writable=stamp),
            len(values),
            ffi.from_buffer("uint32_t[]", value_sizes),
        )

        def load() -> Mutations:
            # Read after the log has stamped the values; under the commit lock, as every use of the
            # buffer.
            return Laid(arguments, self._buffer)

        size = len(key_sizes) * ENTRY_BYTES + len(keys) + len(values)
        return self._write(arguments, _STAMP if stamp else 0, load, size, mode)

    def _write(
        self,
        arguments: tuple[Any, ...],
        flags: int,
        load: Callable[[], Mutations],
        size: int,
        mode: Durability,
    ) -> int:
        count: int = arguments[0]
        if mode is _SYNC or self._waiting:
            first = self._commit_and_wait(_commit_columns, (*arguments, flags), load, size)
            return first + count - 1
        with self._lock:
            stalls = self.pressure.admit(size) if self._state.hindered else []
            last, waits, stalls = self._append(arguments, flags, load, size, stalls)
        if stalls:
            self.pressure.tell(stalls)
        if waits:
            self.make_durable(last)
        return last

    # ---- waiting ---------------------------------------------------------------------------------

    def _commit_and_wait(
        self,
        commit: Callable[..., int],
        arguments: tuple[Any, ...],
        pairs: Pairs | Callable[[], Mutations],
        size: int,
    ) -> int:
        """Log, wait for the device, and see to it that the mutation is applied; returns its first
        LSN.
        """
        if self._state.hindered:
            with self._lock:
                stalls = self.pressure.admit(size)
            self.pressure.tell(stalls)
        token = next(self._tokens)
        self._waiting[token] = (pairs, size)
        try:
            found, words = self._found.pop()
        except IndexError:
            found, words = new_found()
        try:
            first = commit(self._wal, *arguments, token, found)
            if first < 0:
                first = self._commit_late(first, commit, arguments, token, found)
            if words[0]:
                self._publish(found, words)
            self._found.append((found, words))
        finally:
            if token in self._waiting:
                self.publish()
        return first

    def _commit_late(
        self,
        first: int,
        commit: Callable[..., int],
        arguments: tuple[Any, ...],
        token: int,
        found: Any,
    ) -> int:
        """What to do with a commit that was refused: wait until the log has been cut, or raise."""
        while first == _STALL:
            with self._lock:
                stalls = self._wait_unlogged(token)
            self.pressure.tell(stalls)
            first = commit(self._wal, *arguments, token, found)
        if first < 0:
            logged = lib.oor_last_error().first_lsn
            try:
                self._refuse(first)
            finally:
                # What is logged may become durable yet, and is then applied: the log is the truth.
                if not logged:
                    self._waiting.pop(token, None)
        return first

    def sync(self) -> None:
        """Make everything that was committed before the call durable and visible."""
        self._state.check_readable()
        self.make_durable(self.last_lsn)

    def make_durable(self, lsn: int) -> None:
        """Return when everything up to `lsn` is durable and visible; one sync serves all who
        wait.
        """
        try:
            code = lib.oor_wal_sync(self._wal, lsn, -1)
        finally:
            self.publish()
        if code < 0:
            self._refuse(code)

    def fail(self, error: FailedError) -> None:
        """Take note that the log has failed: the store is read-only."""
        self._state.fail(error)

    # ---- under the commit lock ------------------------------------------------------------------

    def _append(
        self,
        arguments: tuple[Any, ...],
        flags: int,
        load: Callable[[], Mutations],
        size: int,
        stalls: Stalls,
        wait: bool = True,
    ) -> tuple[int, bool, Stalls]:
        """Log a batch and apply it; the last LSN, whether it waits behind others instead, and what
        it met.
        """
        first: int = 0
        last: int = 0
        waits = False
        try:
            first = lib.oor_wal_append(self._wal, *arguments, flags | _NO_WAIT, 0)
            if first == _STALL and wait:
                first, stalls = self._wait_for_log(
                    stalls, lambda: lib.oor_wal_append(self._wal, *arguments, flags, 0)
                )
            last = first + arguments[0] - 1
            if first < 0:
                self._refuse(first)
            if self._waiting:
                self._queue_behind(load, first, last, size)
                waits = True
            else:
                self._apply(load(), first, last, size)
        except BaseException:
            self.settle(load, first, last)
            raise
        return last, waits, stalls

    def _loader(self, batch: Batch, pairs: Pairs) -> Callable[[], Mutations]:
        """What a memtable takes of a batch: a dict of it, or many pairs as columns while writers
        are ahead of the flush.

        Objects are what is read back soonest, and columns what is flushed in half the time.
        """
        if isinstance(batch, Ops) and batch.count >= MANY:
            view = self._state.view
            if view.immutables or isinstance(view.active.data, Bulk):
                packed = Packed(batch, pairs)
                return lambda: packed
        return lambda: pairs

    def _append_waiting(self, batch: Batch, pairs: Pairs, size: int, wait: bool) -> int:
        """Log a batch that is applied when it is durable; returns its last LSN."""
        token = next(self._tokens)
        self._waiting[token] = (self._loader(batch, pairs), size)
        flags = batch.flags if wait else batch.flags | _NO_WAIT
        arguments = batch.arguments()
        first: int = lib.oor_wal_append(self._wal, *arguments, flags, token)
        while first == _STALL and wait:
            self._wait_unlogged(token)
            first = lib.oor_wal_append(self._wal, *arguments, flags, token)
        if first < 0:
            self._waiting.pop(token, None)
            self._refuse(first)
        return first + batch.count - 1

    def _wait_unlogged(self, token: int) -> Stalls:
        """Wait until the log has been cut; what `token` stands for is not logged, and is forgotten
        if nothing comes of the wait.
        """
        try:
            return self.pressure.note("log", self.pressure.wait_for_log())
        except BaseException:
            self._waiting.pop(token, None)
            raise

    def _wait_for_log(self, stalls: Stalls | None, append: Callable[[], int]) -> tuple[int, Stalls]:
        """Append once more, now waiting for a sync or a segment, and note how long that took."""
        began = time.monotonic()
        while (answer := append()) == _STALL:
            self.pressure.wait_for_log()
        return answer, [*(stalls or ()), *self.pressure.note("log", time.monotonic() - began)]

    def _apply(self, pairs: Mutations, first: int, last: int, size: int) -> None:
        state = self._state
        memtable = state.view.active
        memtable.apply(pairs, first, last, size)
        self._rotate_if_full(memtable)

    def settle(self, load: Callable[[], Mutations], first: int, last: int) -> None:
        """After an exception (a signal handler's, say) in the section that logs and applies.

        What is in the log must be in the memtable, or wait for its turn; applying twice does no
        harm.
        `first` is the LSN if the log's answer got this far, else 0.
        """
        applied = self._state.view.active.last_lsn
        logged = self.last_lsn
        if first < 0 or logged <= applied:
            return
        if not self._waiting:
            self._apply(load(), applied + 1, logged, 0)
        elif first == 0 or applied < last:
            # It may stand behind others that wait, or not: only the log knows, and an open reads
            # it.
            error = FailedError(
                "a commit was interrupted; open the store again", path=self._state.directory
            )
            self._state.failure = self._state.failure or error
            self._state.hindered = True

    def _refuse(self, code: int) -> None:
        """Raise what the log's answer stands for; after a final one the store is read-only."""
        try:
            check(code)
        except FailedError as error:
            self._state.failure = self._state.failure or bare(error)
            self._state.hindered = True
            raise
