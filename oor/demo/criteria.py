"""The seven criteria of a write-ahead log, each measured on a store made for it.

Each function takes a directory and returns an `Outcome`: whether the criterion is met, and the
figures that say so. Nothing is assumed from one to the next.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import oor
from oor import names, native
from oor.analysis import analyze
from oor.demo.records import record, records
from oor.demo.victim import DURABLE_AT_LEAST, TABLES, die_in_child
from oor.log import SegmentScan
from oor.manifest import read_manifest
from oor.names import FileKind
from oor.trace import Op, Trace

RECOVERY_LIMIT_MS = 500.0
"""For 100,000 records."""


@dataclass(slots=True)
class Outcome:
    """One criterion: its title, whether all that it asks for was seen, and what was measured."""

    title: str
    passed: bool = True
    figures: dict[str, Any] = field(default_factory=dict)

    def require(self, name: str, measured: object, expected: object) -> None:
        """Note a figure that has to be exactly this."""
        self.figures[name] = measured
        self.passed = self.passed and measured == expected

    def lines(self) -> list[str]:
        """The figures for people."""
        return [f"{name}: {_text(value)}" for name, value in self.figures.items()]


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


# ---- (a) -----------------------------------------------------------------------------------------


class _MarkedDict(dict[bytes, bytes | None]):
    """The memtable's dict, which notes each change between the operations of the disk."""

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self._trace = trace

    def __setitem__(self, key: bytes, value: bytes | None) -> None:
        self._trace.mark(f"memtable {key.decode()}")
        super().__setitem__(key, value)

    def update(self, pairs: Any = (), /, **_: Any) -> None:
        for key, value in dict(pairs).items():
            self[key] = value


def log_before_memtable(directory: str) -> Outcome:
    """1,000 puts in each of two modes, watched at the door to the disk."""
    outcome = Outcome(
        "1,000 puts: 1,000 checksummed records in the log, each there before the memtable had it"
    )
    for mode, op in (("sync", Op.WRITE), ("interval", Op.STORE)):
        path = os.path.join(directory, f"{mode}.oor")
        with Trace() as trace, oor.open(path, durability=mode, background=False) as db:
            db._state.view.active.data = _MarkedDict(trace)
            for index in range(1000):
                db.put(*record(index))
            trace.mark("done")
            plan = analyze(path)
            outcome.require(
                f"{mode}: records in the log that verify",
                sum(s.records for s in plan.segments),
                1000,
            )
        logged_at: dict[bytes, int] = {}
        before = changed = 0
        for event in trace.events:
            if event.op is op:
                _note_keys(logged_at, event.payload, event.end)
            elif event.op is Op.MARK and event.text == "done":
                break
            elif event.op is Op.MARK:
                changed += 1
                key = event.text.removeprefix("memtable ").encode()
                before += logged_at.get(key, event.begin) < event.begin
        outcome.require(f"{mode}: changes of the memtable", changed, 1000)
        outcome.require(f"{mode}: of those, after the record was in the log", before, 1000)
    return outcome


def _note_keys(logged_at: dict[bytes, int], payload: bytes, when: int) -> None:
    """Which records a write holds: the ops in it begin with 1, the key's size and the value's."""
    head = (
        bytes([1])
        + len(record(0)[0]).to_bytes(2, "little")
        + len(record(0)[1]).to_bytes(4, "little")
    )
    at = payload.find(head)
    while at >= 0:
        key, value = record_at(payload, at + len(head))
        if record(int(key))[1] == value:
            logged_at.setdefault(key, when)
        at = payload.find(head, at + 1)


def record_at(payload: bytes, at: int) -> tuple[bytes, bytes]:
    """Key and value that stand at an offset."""
    key_size, value_size = len(record(0)[0]), len(record(0)[1])
    return payload[at : at + key_size], payload[at + key_size : at + key_size + value_size]


# ---- (b) and (c) ---------------------------------------------------------------------------------


def clean_close(directory: str) -> Outcome:
    """Write, close, open."""
    outcome = Outcome("5,000 records survive a clean close, and the next start replays nothing")
    path = os.path.join(directory, "store.oor")
    with oor.open(path, durability="interval") as db:
        for index in range(5000):
            db.put(*record(index))
    with oor.open(path) as db:
        outcome.require("records written", 5000, 5000)
        outcome.require("records there, byte for byte", _count_whole(db, 5000), 5000)
        outcome.require("closed in order", db.recovery.clean, True)
        outcome.require("records replayed", db.recovery.records, 0)
    return outcome


def crash(directory: str) -> Outcome:
    """Write, die, open."""
    outcome = Outcome(
        "5,000 records and a crash: everything up to the last durable batch is there, and more"
    )
    path = os.path.join(directory, "store.oor")
    durable = die_in_child(path, "logged", 5000)
    with oor.open(path) as db:
        report = db.recovery
        found = _count_whole(db, 5000)
        outcome.figures["durable when the process died, LSN"] = durable
        outcome.figures["report: expected, LSN"] = report.expected_lsn
        outcome.require("report: recovered, LSN", report.recovered_lsn, 5000)
        outcome.require("records there, byte for byte", found, 5000)
        outcome.require("everything durable is there", found >= durable >= DURABLE_AT_LEAST, True)
        outcome.require(
            "expected is not above recovered", report.expected_lsn <= report.recovered_lsn, True
        )
    return outcome


# ---- (d) -----------------------------------------------------------------------------------------


def crash_in_flush_and_compaction(directory: str) -> Outcome:
    """Die between a table and the manifest that names it."""
    outcome = Outcome(
        "a crash in mid-flush and in mid-compaction: orphans removed, log replayed, nothing lost"
    )
    _crash_at(
        outcome,
        directory,
        "flush",
        "flush, before the manifest edit",
        orphans=1,
        tables=0,
        replayed=5000,
    )
    _crash_at(
        outcome,
        directory,
        "merged",
        "compaction, before the manifest edit",
        orphans=1,
        tables=TABLES,
        replayed=0,
    )
    _crash_at(
        outcome,
        directory,
        "installed",
        "compaction, after the manifest edit",
        orphans=TABLES,
        tables=1,
        replayed=0,
    )
    return outcome


def _crash_at(
    outcome: Outcome,
    directory: str,
    point: str,
    title: str,
    *,
    orphans: int,
    tables: int,
    replayed: int,
) -> None:
    path = os.path.join(directory, f"{point}.oor")
    die_in_child(path, point, 5000)
    left = _tables_on_disk(path)
    named = {names.table_name(number) for number in read_manifest(path).state.tables}
    outcome.require(f"{title}: tables that the manifest names", len(named), tables)
    outcome.require(f"{title}: orphaned tables", len(left - named), orphans)
    with oor.open(path, background=False) as db:
        outcome.require(
            f"{title}: tables left after recovery", _tables_on_disk(path) == named, True
        )
        outcome.require(f"{title}: records replayed", db.recovery.records, replayed)
        outcome.require(f"{title}: records there, byte for byte", _count_whole(db, 5000), 5000)


# ---- (e) -----------------------------------------------------------------------------------------


def checkpoint_truncates(directory: str) -> Outcome:
    """Look at every frame that a checkpoint has left."""
    outcome = Outcome(
        "flush and checkpoint cut the log: what remains holds only LSNs above the flushed one"
    )
    path = os.path.join(directory, "store.oor")
    with oor.open(path, durability="interval", segment_bytes=1 << 18, background=False) as db:
        for at in range(0, 5000, 100):
            db.write(records(at, at + 100))
        before = db.stats().log
        outcome.figures["segments before"] = before.segment_count
        outcome.figures["bytes of log before"] = before.live_bytes
        db.flush()
        db.checkpoint()
        db.write(records(5000, 5100))
        after = db.stats().log
        flushed = db.stats().flushed_lsn
        plan = analyze(path)
        remaining = []
        for info in plan.segments:
            scan = SegmentScan(
                path, info.number, plan.state.database_id, plan.state.epoch, plan.tail, 0
            )
            while (chunk := scan.next()) is not None:
                remaining += [chunk.first_lsn, chunk.last_lsn]
            scan.close()
        outcome.require("segments after", after.segment_count, 1)
        outcome.figures["bytes of log after"] = after.live_bytes
        outcome.require("flushed LSN", flushed, 5000)
        outcome.require("lowest LSN left in the log", min(remaining), 5001)
        outcome.require("highest LSN left in the log", max(remaining), 5100)
    return outcome


# ---- (f) -----------------------------------------------------------------------------------------


def recovery_time(directory: str) -> Outcome:
    """Three crashes, three starts."""
    outcome = Outcome(
        f"recovery of 100,000 unflushed records takes less than {RECOVERY_LIMIT_MS:.0f} ms"
    )
    for count in (10_000, 50_000, 100_000):
        path = os.path.join(directory, f"{count}.oor")
        die_in_child(path, "logged", count)
        began = time.perf_counter()
        with oor.open(path, background=False) as db:
            outcome.figures[f"{count:,} records, ms from open() to the first read"] = (
                time.perf_counter() - began
            ) * 1000
            outcome.require(f"{count:,} records replayed", db.recovery.records, count)
            outcome.figures[f"{count:,} records there, byte for byte"] = found = _count_whole(
                db, count
            )
            outcome.passed = outcome.passed and found == count
    longest = outcome.figures["100,000 records, ms from open() to the first read"]
    outcome.passed = outcome.passed and longest < RECOVERY_LIMIT_MS
    return outcome


# ---- (g) -----------------------------------------------------------------------------------------


def manifest_is_exact(directory: str) -> Outcome:
    """Many small cycles; then compare manifest, directory and what is in memory."""
    outcome = Outcome("after 60 cycles of flush, compaction and checkpoint the manifest is exact")
    path = os.path.join(directory, "store.oor")
    with oor.open(path, durability="interval", background=False) as db:
        compactions = 0
        for cycle in range(60):
            db.write(records(cycle * 50, cycle * 50 + 100))
            db.flush()
            if cycle % 5 == 4:
                compactions += db.compact()
            if cycle % 3 == 2:
                db.checkpoint()
        state = read_manifest(path).state
        live = {names.table_name(number) for number in db._state.view.version.table_numbers()}
        named = {names.table_name(number) for number in state.tables}
        outcome.figures["flushes"] = 60
        outcome.figures["compactions"] = compactions
        outcome.figures["checkpoints"] = 20
        outcome.figures["live tables"] = len(live)
        outcome.require("the manifest names exactly the live tables", named == live, True)
        outcome.require(
            "and they are all the tables in the directory", named == _tables_on_disk(path), True
        )
        outcome.require("flushed LSN in the manifest", state.flushed_lsn, db.last_lsn)
        outcome.require("LSNs given", db.last_lsn, 6000)
    with oor.open(path, background=False) as db:
        outcome.require("records there, byte for byte", _count_whole(db, 3050), 3050)
    return outcome


# ---- common --------------------------------------------------------------------------------------


def _count_whole(db: oor.DB, count: int) -> int:
    """How many of the first `count` records are there, byte for byte; 0 if there are others."""
    expected = list(records(0, count).items())
    return (
        sum(a == b for a, b in zip(db.scan(), expected, strict=True)) if _size(db) == count else 0
    )


def _size(db: oor.DB) -> int:
    return sum(1 for _ in db)


def _tables_on_disk(path: str) -> set[str]:
    return {name for name in native.list_dir(path) if names.parse(name)[0] is FileKind.TABLE}


CRITERIA: dict[str, Callable[[str], Outcome]] = {
    "a": log_before_memtable,
    "b": clean_close,
    "c": crash,
    "d": crash_in_flush_and_compaction,
    "e": checkpoint_truncates,
    "f": recovery_time,
    "g": manifest_is_exact,
}


def measure(letter: str, directory: str) -> Outcome:
    """Measure one criterion below `directory`."""
    path = os.path.join(directory, f"criterion-{letter}")
    native.make_dir(path)
    return CRITERIA[letter](path)
