"""One run of a workload under the recorder, on a disk in memory.

A workload is a function of a `Run`. It opens the store through it, and what it then calls on the
store is noted in the history: what was given, what was promised, and when.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import oor
from oor import flush, recovery
from oor.batch import Pairs
from oor.crashlab.history import History, Mutations, Promise, State
from oor.crashlab.memory import ROOT, STORE, MemoryDisk
from oor.crashlab.recording import Event, Recording, Snapshot
from oor.errors import OorError

DATABASE_ID = bytes(range(16))
TIME_OF_DAY = 1_000_000_000

TINY: dict[str, Any] = {
    "segment_bytes": 32 << 10,
    "tail_bytes": 16 << 10,
    "memtable_bytes": 8 << 10,
    "table_bytes": 4 << 10,
    "block_bytes": 256,
    "level_base_bytes": 16 << 10,
    "l0_trigger": 2,
    "max_immutables": 1000,
    "l0_slowdown": 1000,
    "l0_stop": 1000,
    "background": False,
    "log_threads": False,
}
"""Limits so small that rotations, flushes and compactions of several levels happen soon, and no
thread: the same calls give the same operations on the disk."""


def kill(db: oor.DB) -> None:
    """Let go of everything as a process that dies does: nothing is flushed or sealed."""
    if db._state.begin_close():
        db._background.stop()
        db._let_go()


class NeutralityError(AssertionError):
    """A read changed though no write did: invariant I8."""


class Watched:
    """A store whose calls are noted in a history. Calls that are not about durability pass on."""

    def __init__(self, run: Run, db: oor.DB) -> None:
        self._run = run
        self.db = db

    def put(self, key: bytes, value: bytes, *, durability: str | None = None) -> int:
        """As DB.put."""
        return self._write({key: value}, durability)

    def delete(self, key: bytes, *, durability: str | None = None) -> int:
        """As DB.delete."""
        return self._write({key: None}, durability)

    def write(self, batch: Pairs, *, durability: str | None = None) -> int:
        """As DB.write."""
        pairs: dict[Any, Any] = dict(batch)  # type: ignore[arg-type]
        return self._write(pairs, durability)

    def _write(self, batch: Mutations, durability: str | None) -> int:
        usual = self.db.options.durability.value
        mode = usual if durability is None else durability
        # A put that names no mode goes a shorter way than one that does.
        return self._run.history.write(self.db, batch, mode, own=mode == usual)

    def sync(self) -> int:
        """As DB.sync: everything is promised durable."""
        return int(self._durable(self.db.sync))

    def flush(self) -> int:
        """As DB.flush: everything is in durable tables."""
        return int(self._durable(self.db.flush))

    def checkpoint(self) -> Any:
        """As DB.checkpoint."""
        return self._durable(self.db.checkpoint)

    def compact(self) -> int:
        """As DB.compact; what was read before is read after."""
        before = self.content()
        done = int(self._durable(self.db.compact))
        if self.content() != before:
            raise NeutralityError("a compaction changed what is read")
        self._run.check_snapshots()
        return done

    def rotate(self) -> int:
        """Go on to the next segment of the log, with the one before durable."""
        return int(self._durable(self.db._state.log.rotate))

    def _durable(self, call: Callable[[], Any]) -> Any:
        newest = self._run.history.newest()
        result = call()
        self._run.history.durable(newest)
        return result

    def look(self) -> State:
        """All pairs, noted as seen: they must be what a prefix of the history adds up to."""
        since = self._run.history.newest()
        state = self.content()
        self._run.history.looked(since, state)
        return state

    def snapshot(self) -> Any:
        """As DB.snapshot; it is held until the store goes, and must never change."""
        snapshot = self.db.snapshot()
        self._run.snapshots.append((snapshot, self.content()))
        return snapshot

    def content(self) -> State:
        """All pairs."""
        return dict(self.db.scan())

    def close(self) -> None:
        """As DB.close."""
        self._run.check_snapshots()
        self._run.snapshots.clear()
        self._durable(self.db.close)

    def kill(self) -> None:
        """The process dies; what the kernel has stays, and what was pending stays pending."""
        self._run.snapshots.clear()
        kill(self.db)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.db, name)


@dataclass
class Run:
    """What a workload is given."""

    history: History
    options: dict[str, Any]
    seed: int = 0
    snapshots: list[tuple[Any, State]] = field(default_factory=list)
    stores: list[Watched] = field(default_factory=list)
    path: str = STORE

    def open(self, **options: Any) -> Watched:
        """Open the store; with TINY limits, unless the options say otherwise."""
        watched = Watched(self, oor.open(self.path, **self.options | options))
        self.stores.append(watched)
        # What an open serves is durable: after a kill too, where it copies it forward.
        self.history.durable(self.history.newest())
        return watched

    def check_snapshots(self) -> None:
        """Raise NeutralityError if a snapshot reads otherwise than when it was taken."""
        for snapshot, content in self.snapshots:
            if dict(snapshot.scan()) != content:
                raise NeutralityError("a snapshot changed")


Workload = Callable[[Run], object]


@dataclass
class Recorded:
    """A workload that has run: its operations, and what it was promised."""

    name: str
    recording: Recording
    history: History
    options: dict[str, Any]
    promises: list[Promise]
    lengths: dict[int, list[int]]
    failed: OorError | None = None
    """What the workload raised, if it was to meet a fault."""
    promised_before: int = 0
    """Of the recording of a recovery: what had been promised before it served anything."""
    wrong_looks: list[str] = field(default_factory=list)
    """What readers saw that they must not have seen."""

    @property
    def events(self) -> list[Event]:
        """Everything that went through the door."""
        return self.recording.events


@contextlib.contextmanager
def fixed_identity() -> Iterator[None]:
    """New stores get one and the same id, and tables one time: equal calls then leave equal
    bytes."""
    before = recovery.new_database_id, flush.time_of_day
    recovery.new_database_id = lambda: DATABASE_ID
    flush.time_of_day = lambda: TIME_OF_DAY
    try:
        yield
    finally:
        recovery.new_database_id, flush.time_of_day = before


def _kill_all(run: Run) -> None:
    while run.stores:
        kill(run.stores.pop().db)


def record(
    disk: MemoryDisk,
    workload: Workload,
    *,
    name: str = "",
    options: dict[str, Any] | None = None,
    seed: int = 0,
    fault: Callable[[Recording], None] | None = None,
) -> Recorded:
    """Run a workload on an empty disk.

    `fault` may set one on the recording; an OorError then ends the workload, else it is raised.
    """
    disk.clear()
    recording = Recording(ROOT, start=Snapshot([""]))
    history = History(recording)
    run = Run(history, TINY | (options or {}), seed)
    failed: OorError | None = None
    with fixed_identity(), recording:
        try:
            if fault is not None:
                fault(recording)
            workload(run)
        except OorError as error:
            if fault is None:
                raise
            failed = error
        finally:
            recording.heal()
            _kill_all(run)
    if fault is not None:
        gc.collect()  # what raised may hold descriptors in a cycle; they go now, not later
    history.settle()
    lengths = history.lengths()
    wrong = history.wrong_looks(lengths)
    promises = history.promises(recording.events)
    return Recorded(
        name, recording, history, run.options, promises, lengths, failed, wrong_looks=wrong
    )
