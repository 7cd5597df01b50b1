"""Publishing: what waited for the device becomes visible once it is durable, in LSN order.

A mutation that waits stands in the log's queue from its append on, and here under the same token.
Whoever finds durable frames at the queue's head applies them for all, under the commit lock, and
then lets go of those who wait for them (csrc/wal_commit.c).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, TypeAlias

from oor.bulk import Laid, Packed
from oor.memtable import Memtable
from oor.native import check, ffi, lib
from oor.pressure import PatientLock
from oor.state import State

Pairs: TypeAlias = dict[bytes, bytes | None]
Mutations: TypeAlias = Pairs | Laid | Packed

_peek = lib.oor_wal_peek_durable
_publish = lib.oor_wal_publish


def new_found() -> tuple[Any, Any]:
    """An oor_wal_durables, and the same memory as numbers: how many frames, three for each."""
    found = ffi.new("oor_wal_durables *")
    return found, ffi.cast("uint64_t *", found)


class Publisher:
    """Applies mutations that waited, when and in the order in which the log made them durable.

    Threads: any number. Invariants: (1) Every token of the log's queue stands in `_waiting` until
    its mutation is applied. (2) A mutation is applied only when every one with a lower LSN is.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._wal = state.log.raw
        self._lock = state.lock
        self._patient_lock = PatientLock(state)
        self._waiting: dict[int, tuple[Pairs | Callable[[], Mutations], int]] = {}
        self._tokens = itertools.count(1)
        self._found: list[tuple[Any, Any]] = []
        self._memtable_bytes = state.options.memtable_bytes

    def publish(self, wait: bool = True) -> None:
        """Apply what has become durable, in LSN order, and let go of those who wait for it.

        With `wait` False WouldStallError where that waits for the commit lock.
        """
        found, words = new_found()
        # What becomes durable after the last look is published by those who wait for it.
        more = True
        while more:
            _peek(self._wal, found)
            more = bool(words[0]) and self._publish(found, words, wait)

    def _publish(self, found: Any, words: Any, wait: bool = True) -> bool:
        """Apply the first frames of the queue that are durable; whether there may be more."""
        waiting = self._waiting
        last = count = 0
        try:
            with self._lock if wait else self._patient_lock:
                memtable = self._state.view.active
                if words[1] != memtable.last_lsn + 1:
                    # Who need not wait logs a mutation and then puts it into the queue, both under
                    # the lock. It came between the look and now, and goes first; or somebody else
                    # has applied these.
                    _peek(self._wal, found)
                count = words[0]
                numbers = ffi.unpack(words, 1 + 3 * count)
                for at in range(1, 3 * count, 3):
                    token, last_lsn = numbers[at + 2], numbers[at + 1]
                    entry = waiting.get(token)
                    # Somebody else may have applied it; or an exception ended a round anywhere.
                    if entry is not None and last_lsn > memtable.last_lsn:
                        pairs, size = entry
                        memtable.apply(
                            pairs if isinstance(pairs, dict) else pairs(),
                            numbers[at],
                            last_lsn,
                            size,
                        )
                        if memtable.size >= self._memtable_bytes:
                            self._state.rotate_memtable()
                            memtable = self._state.view.active
                    waiting.pop(token, None)
                    last = last_lsn
        finally:
            # Those who are served go on, whatever became of the rest.
            position = _publish(self._wal, last)
        if position >= self._state.rotate_at or self._state.log_full:
            with self._lock if wait else self._patient_lock:
                self._rotate_if_full(self._state.view.active)
        return bool(count == lib.OOR_WAL_DURABLE_COUNT)

    # ---- under the commit lock ------------------------------------------------------------------

    def _queue_behind(
        self, load: Callable[[], Mutations], first: int, last: int, size: int
    ) -> None:
        """A mutation that need not wait was logged behind some that do: it is applied after
        them.
        """
        token = next(self._tokens)
        self._waiting[token] = (load, size)
        check(lib.oor_wal_enqueue(self._wal, first, last, token))

    def _rotate_if_full(self, memtable: Memtable) -> None:
        """Exchange the active memtable if it, or the log that it keeps, is as large as it may
        be.
        """
        state = self._state
        if (
            memtable.size >= self._memtable_bytes
            or lib.oor_wal_position(self._wal) >= state.rotate_at
            # What others wait for goes to a table as soon as it is here.
            or state.log_full
        ):
            state.rotate_memtable()
