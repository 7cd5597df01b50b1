"""Mutants: stores with one durability bug planted, which the crash laboratory must tell from oor.

python tests/mutants.py      prints mutant, what it does, times executed, killed by, level, workload

No release carries a switch for them. A mutant is either a patch of the Python half, or a change of
the recording, which then shows the operations of a store that leaves a sync out or makes it too
early. It counts as killed when an invariant it names fails, the mutated code was executed, and the
same run without it breaks nothing. Mutants of the C half: tests/c_mutants.py.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from oor import analysis, publish, trace
from oor.crashlab.explorer import Explorer, Plan
from oor.crashlab.invariants import Violation
from oor.crashlab.levels import Level
from oor.crashlab.memory import MemoryDisk
from oor.crashlab.recording import Recording
from oor.crashlab.run import NeutralityError, Recorded, record
from oor.crashlab.scripts import SCRIPTS
from oor.crashlab.workloads import workload_of
from oor.db import DB
from oor.errors import OorError
from oor.log import Log
from oor.manifest import Manifest
from oor.memtable import Memtable, MemtableView
from oor.native import unlink
from oor.publish import Publisher
from oor.state import State
from oor.trace import Event, Op

Count = Callable[[int], None]
"""Told how often the mutated code ran."""
Alter = Callable[[list[Event], Count], list[Event]]
Patch = Callable[[Count], "contextlib.AbstractContextManager[None]"]
Fault = Callable[[Recording], None]
Trial = Callable[[Explorer, Recorded], None]
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Mutant:
    """One planted bug, and what must notice it."""

    name: str
    what: str
    killers: tuple[str, ...]
    workload: str
    alter: Alter | None = None
    patch: Patch | None = None
    fault: Fault | None = None
    """What the workload meets, with the bug and without."""
    trial: Trial | None = None
    """What is done with the workload instead of cutting it off everywhere."""


@dataclass(frozen=True)
class Verdict:
    """What a run said of a mutant."""

    executed: int
    killed_by: str
    level: str
    states: int
    invariants: tuple[str, ...]


# ---- changes of a recording ----------------------------------------------------------------------


def is_of(event: Event, *parts: str) -> bool:
    return any(part in os.path.basename(event.path) for part in parts)


def without_syncs(*parts: str) -> Alter:
    """No sync of these files, and none by the descriptor they are written through."""

    def alter(events: list[Event], count: Count) -> list[Event]:
        kept = []
        for event in events:
            if event.op is Op.SYNC and is_of(event, *parts):
                count(1)
                continue
            if event.op is Op.OPEN and is_of(event, *parts) and event.flags & os.O_DSYNC:
                count(1)
                event.flags &= ~os.O_DSYNC
            kept.append(event)
        return kept

    return alter


def without_dir_syncs_after(*parts: str) -> Alter:
    """No sync of the directory when the last change of names in it was about these files."""
    last = [""]

    def alter(events: list[Event], count: Count) -> list[Event]:
        kept = []
        for event in events:
            if event.op in (Op.RENAME, Op.LINK):
                last[0] = os.path.basename(event.other)
            elif event.op is Op.OPEN and event.flags & os.O_CREAT:
                last[0] = os.path.basename(event.path)
            if event.op is Op.SYNC_DIR and any(part in last[0] for part in parts):
                count(1)
                continue
            kept.append(event)
        return kept

    return alter


def acks_before_the_write(events: list[Event], count: Count) -> list[Event]:
    """What is acknowledged is acknowledged before its last write to the log."""
    kept: list[Event] = []
    for event in events:
        kept.append(event)
        if event.op is Op.MARK and event.text.startswith(("ack", "synced", "durable")):
            at = len(kept) - 1
            while at and not (kept[at].op is Op.MARK and kept[at].text.startswith("submit")):
                at -= 1
                if kept[at].op is Op.WRITE and is_of(kept[at], ".wal"):
                    kept.insert(at, kept.pop())
                    count(1)
                    break
    return kept


def syncs_before_the_last_write(events: list[Event], count: Count) -> list[Event]:
    """A sync of the log begins before the write that it is for has ended."""
    for before, event in itertools.pairwise(events):
        if event.op is Op.SYNC and before.op is Op.WRITE and before.object == event.object:
            event.begin = before.end
            count(1)
    return events


def headers_ahead_of_the_log(events: list[Event], count: Count) -> list[Event]:
    """Only a segment's header is synced, not the end of the segment before it."""
    kept = []
    for event in events:
        if event.op is Op.OPEN and is_of(event, ".wal"):
            event.flags &= ~os.O_DSYNC
        kept.append(event)
        if event.op is Op.WRITE and is_of(event, ".wal") and event.offset == 0:
            count(1)
            begin = event.end + 0.5
            kept.append(replace(event, op=Op.SYNC, begin=begin, end=begin, payload=b"", effect=1))  # type: ignore[arg-type]
    return kept


def copies_not_synced(events: list[Event], count: Count) -> list[Event]:
    """What a recovery copies forward is not synced; what is written through O_DSYNC still is."""
    kept = []
    for event in events:
        if event.op is Op.SYNC and is_of(event, ".wal"):
            count(1)
        else:
            kept.append(event)
    return kept


# ---- patches -------------------------------------------------------------------------------------


@contextlib.contextmanager
def swapped(owner: Any, name: str, function: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, function(before))
    try:
        yield
    finally:
        setattr(owner, name, before)


def floor_too_high(count: Count) -> contextlib.AbstractContextManager[None]:
    def mutated(append: Any) -> Any:
        def body(self: Manifest, edit: Any) -> None:
            if edit.flushed_lsn is not None and not edit.closed and edit.add:
                count(1)
                edit = replace(edit, flushed_lsn=edit.flushed_lsn + 1)
            append(self, edit)

        return body

    return swapped(Manifest, "append", mutated)


@contextlib.contextmanager
def freed_before_the_edit(count: Count) -> Iterator[None]:
    logs: list[Log] = []

    def remembering(start: Any) -> Any:
        def body(self: Log) -> None:
            logs.append(self)
            start(self)

        return body

    def early(append: Any) -> Any:
        def body(self: Manifest, edit: Any) -> None:
            if edit.flushed_lsn is not None and not edit.closed:
                count(1)
                logs[-1].release(edit.flushed_lsn)
            append(self, edit)

        return body

    with swapped(Log, "start", remembering), swapped(Manifest, "append", early):
        yield


def split_batches(count: Count) -> contextlib.AbstractContextManager[None]:
    def mutated(write: Any) -> Any:
        def body(self: DB, batch: Any, *, durability: str | None = None) -> int:
            lsn = 0
            for key, value in dict(batch).items():
                count(1)
                lsn = write(self, {key: value}, durability=durability)
            return lsn

        return body

    return swapped(DB, "write", mutated)


def lsns_given_again(count: Count) -> contextlib.AbstractContextManager[None]:
    def mutated(_: Any) -> Any:
        def body(state: Any, live: Any, infos: Any, end: int) -> int:
            count(1)
            return max(1, end)

        return body

    return swapped(analysis, "_next_lsn", mutated)


@contextlib.contextmanager
def tables_gone_with_a_failed_edit(count: Count) -> Iterator[None]:
    def mutated(install: Any) -> Any:
        def body(self: State, edit: Any, *rest: Any, **named: Any) -> None:
            try:
                install(self, edit, *rest, **named)
            except OorError:
                for _, meta in edit.add:
                    count(1)
                    unlink(self.table_path(meta.number))
                raise

        return body

    with swapped(State, "install", mutated):
        yield


def manifest_sync_fails(recording: Recording) -> None:
    """The first sync of the manifest behind the one that made it."""
    recording.fail(Op.SYNC, nth=3, path_part="MANIFEST", errno=errno.EIO)


def views_begin_one_late(count: Count) -> contextlib.AbstractContextManager[None]:
    def mutated(view: Any) -> Any:
        def body(self: Memtable) -> MemtableView:
            taken: MemtableView = view(self)
            noted = self.noted

            class Late(list[Any]):
                def extend(late, pairs: Any) -> None:
                    count(1)
                    list(pairs)
                    self.noted = noted

            self.noted = Late()
            return taken

        return body

    return swapped(Memtable, "view", mutated)


@contextlib.contextmanager
def published_by_an_early_look(count: Count) -> Iterator[None]:
    here = threading.local()

    def marked(apply: Any) -> Any:
        def body(self: Publisher, *arguments: Any) -> bool:
            here.applies = True
            try:
                return bool(apply(self, *arguments))
            finally:
                here.applies = False

        return body

    def early(peek: Any) -> Any:
        def body(wal: Any, found: Any) -> None:
            if getattr(here, "applies", False):
                count(1)
            else:
                peek(wal, found)

        return body

    with swapped(Publisher, "_publish", marked), swapped(publish, "_peek", early):
        yield


def again_and_again(explorer: Explorer, recorded: Recorded) -> None:
    """How threads meet is another thing in each run: up to forty, until a reader sees it."""
    explorer.explore_recorded(recorded)
    workload, options = SCRIPTS[recorded.name]
    for seed in range(2, 41):
        if any(violation.invariant == "I15" for violation in explorer.tally.violations):
            break
        explorer.explore_recorded(
            record(explorer.disk, workload, name=recorded.name, options=options, seed=seed)
        )


MUTANTS = (
    Mutant("M1", "acknowledge before the sync", ("I2", "I13"), "W-E", acks_before_the_write),
    Mutant("M2", "no sync of a segment's name", ("I2", "I12"), "W-E", without_dir_syncs_after(".wal")),
    Mutant("M3", "no sync of a table's or manifest's name", ("I9", "I12"), "W-E",
           without_dir_syncs_after(".sst", "MANIFEST")),
    Mutant("M4", "no sync of a table", ("I9", "I12"), "W-E", without_syncs(".sst")),
    Mutant("M5", "no sync of the manifest", ("I2", "I12"), "W-E", without_syncs("MANIFEST")),
    Mutant("M6", "no sync of the log", ("I2", "I13"), "W-E", without_syncs(".wal")),
    Mutant("M7", "a segment begins before the one before is synced", ("I1", "I2", "I12"), "W-B",
           headers_ahead_of_the_log),
    Mutant("M8", "the log is freed before the edit", ("I2", "I14"), "W-E",
           patch=freed_before_the_edit),
    Mutant("M9", "the flushed LSN is one too high", ("I1", "I2", "I12"), "mixed",
           patch=floor_too_high),
    Mutant("M10", "an old manifest goes before CURRENT is durable", ("I12", "I2"), "W-E",
           without_dir_syncs_after("CURRENT")),
    Mutant("M11", "a batch in two frames", ("I4",), "mixed", patch=split_batches),
    Mutant("M16", "an LSN is given again after a recovery", ("I7", "I2"), "W-E",
           patch=lsns_given_again),
    Mutant("M18", "a sync before the last write", ("I13", "I2"), "W-E-buffered",
           syncs_before_the_last_write),
    Mutant("M22", "a table goes when its edit was not synced", ("I9",), "W-E-buffered",
           patch=tables_gone_with_a_failed_edit, fault=manifest_sync_fails),
    Mutant("M23b", "a snapshot shows one commit too many", ("I8",), "W-S",
           patch=views_begin_one_late),
    Mutant("M25", "durable frames are looked for before the commit lock", ("I15",), "W-T",
           patch=published_by_an_early_look, trial=again_and_again),
    Mutant("M24", "what a recovery copies is not synced", ("I6", "I2", "I1", "I12"),
           "big,big,reopen", copies_not_synced),
)  # fmt: skip
"""Those that need no change of the C half."""

KEPT = "OOR_MUTANTS"
"""The setting that names a file in which the table is kept."""
MASKED = {
    "M12": "a recovery copies and syncs what it replays before it serves it (M24), and tables and "
    "manifest were synced before anything named them (M3 to M5)",
}
"""Mutants that live alone, and what hides them."""


def run(mutant: Mutant, *, planted: bool, states: int = 1500) -> Verdict:
    """Explore the mutant's workload, with the bug or without it."""
    executed = [0]

    def count(more: int) -> None:
        executed[0] += more

    with contextlib.ExitStack() as stack:
        disk = stack.enter_context(MemoryDisk())
        if planted and mutant.alter is not None:
            alter = mutant.alter
            stack.enter_context(
                swapped(trace, "parse_events", lambda parse: lambda data: alter(parse(data), count))
            )
        if planted and mutant.patch is not None:
            stack.enter_context(mutant.patch(count))
        explorer = Explorer(disk, Plan(seed=1, states=states, per_workload=states, nested=2))
        explore(explorer, mutant)
        tally = explorer.finish()
    found = [v for v in tally.violations if v.invariant in mutant.killers]
    # The smallest level that shows it: a rule about the trace needs no crash at all.
    first = min(found, key=lambda v: Level[v.level] if v.level else -1) if found else None
    return Verdict(
        executed[0], first.invariant if first else "", first.level if first else "", tally.states,
        tuple(sorted({v.invariant for v in tally.violations})),
    )  # fmt: skip


def explore(explorer: Explorer, mutant: Mutant) -> None:
    """The mutant's workload and its fault, and what its trial makes of them."""
    workload, options = SCRIPTS.get(mutant.workload, (None, {}))
    if workload is None:
        workload = workload_of(tuple(mutant.workload.split(",")))
    try:
        recorded = record(
            explorer.disk, workload, name=mutant.workload, options=options, seed=1,
            fault=mutant.fault,
        )  # fmt: skip
    except NeutralityError as error:
        explorer.note(Violation("I8", str(error), mutant.workload))
        return
    trial = mutant.trial or Explorer.explore_recorded
    trial(explorer, recorded)


def show(mutant: Mutant, verdict: Verdict) -> bool:
    """Print a line of the table; returns whether the mutant is as it should be."""
    hidden = mutant.name in MASKED
    level = verdict.level or ("trace" if verdict.killed_by else "")
    if KEPT in os.environ:
        keep(Path(os.environ[KEPT]), mutant, verdict, level)
    print(f"{mutant.name:<7}{mutant.what:<52}{verdict.executed:>9}  "
          f"{verdict.killed_by or 'ALIVE':<10}{level:<11}{mutant.workload} "
          f"({verdict.states} states; {' '.join(verdict.invariants)})", flush=True)  # fmt: skip
    if hidden and not verdict.killed_by:
        print(f"       hidden: {MASKED[mutant.name]}")
    return verdict.executed > 0 and (bool(verdict.killed_by) or hidden)


def keep(path: Path, mutant: Mutant, verdict: Verdict, level: str) -> None:
    """Add a line of the table to a file of figures."""
    kept = json.loads(path.read_text()) if path.exists() else {}
    kept[mutant.name] = {
        "what": mutant.what, "executed": verdict.executed, "killed_by": verdict.killed_by,
        "level": level, "workload": mutant.workload, "states": verdict.states,
        "also": [name for name in verdict.invariants if name != verdict.killed_by],
        "hidden": MASKED.get(mutant.name, "") if not verdict.killed_by else "",
    }  # fmt: skip
    path.write_text(json.dumps(kept, indent=1) + "\n")


def main() -> int:
    """Print the table; fails if a mutant lives."""
    print(f"{'mutant':<7}{'what':<52}{'executed':>9}  {'killed by':<10}{'level':<11}workload")
    as_expected = [show(mutant, run(mutant, planted=True)) for mutant in MUTANTS]
    return 0 if all(as_expected) else 1


if __name__ == "__main__":
    sys.exit(main())
