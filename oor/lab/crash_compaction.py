"""Old tables or new ones after a crash in a compaction? `oor lab crash-compaction` tries them all.

A store with four overlapping tables is compacted once while every operation of its storage is
recorded. Then the compaction is crashed behind each of its operations, in two ways: the process is
killed, so that everything done so far is there, or the power goes, so that nothing is there but
what a sync covers. Each time a real open recovers, the tables in force are looked up in its
manifest, and every read is compared.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import oor
from oor import native
from oor.errors import OorError
from oor.lab.durable import DurableDisk
from oor.manifest import read_manifest
from oor.trace import MUTATING, Event, Op, Trace

OPTIONS: Final[dict[str, Any]] = {
    "segment_bytes": 64 << 10,
    "tail_bytes": 16 << 10,
    "durability": "os",
    "background": False,
}
TABLES: Final = 4
KEYS: Final = 300
OLD, NEW, NEITHER = "old", "new", "neither"


@dataclass(frozen=True, slots=True)
class Crash:
    """What came back after a crash behind one operation."""

    operation: str
    """The last thing that was done."""
    tables: str
    """Which set is in force: `old`, `new`, or `neither` where it is no set of the two."""
    same: bool
    """Whether every key, and every scan, gives what it gave before."""


@dataclass(frozen=True, slots=True)
class CrashCompaction:
    """All crashes of one compaction, in the order of its operations."""

    killed: tuple[Crash, ...]
    power_lost: tuple[Crash, ...]
    entries: int

    def figures(self) -> dict[str, Any]:
        """The counts by name."""
        both = (*self.killed, *self.power_lost)
        found: dict[str, Any] = {
            "operations": len(self.killed),
            "crashes": len(both),
            "entries": self.entries,
            "wrong_reads": sum(not crash.same for crash in both),
            "neither": sum(crash.tables == NEITHER for crash in both),
        }
        for name, crashes in (("killed", self.killed), ("power_lost", self.power_lost)):
            sets = [crash.tables for crash in crashes]
            found |= {
                f"{name}_old": sets.count(OLD),
                f"{name}_new": sets.count(NEW),
                f"{name}_switches": sum(a != b for a, b in pairwise(sets)),
            }
        return found

    @property
    def holds(self) -> bool:
        """Whether each crash left one whole set, and every read as it was."""
        return all(
            crash.same and crash.tables != NEITHER for crash in (*self.killed, *self.power_lost)
        )


def run(directory: str) -> CrashCompaction:
    """Run one compaction below `directory`, which is there, and crash it behind each operation.

    Raises OorError if there was nothing to compact. Cost: two opens of a small store an operation,
    some hundred milliseconds in all.
    """
    path = os.path.join(os.path.realpath(directory), "store.oor")
    native.make_dir(path)
    with Trace() as trace:
        db = oor.open(path, **OPTIONS)
        expected = _write(db)
        old = frozenset(read_manifest(path).state.tables)
        trace.mark("begin")
        if not db.compact():
            raise OorError("there was nothing to compact", path=path)
        trace.mark("end")
        new = frozenset(read_manifest(path).state.tables)
        db.close()
    image = os.path.join(os.path.realpath(directory), "image.oor")
    native.make_dir(image)
    killed: list[Crash] = []
    power_lost: list[Crash] = []
    disk, inside = DurableDisk(path), False
    for event in trace.events:
        inside = inside or (event.op is Op.MARK and event.text == "begin")
        if event.op is Op.MARK and event.text == "end":
            break
        disk.feed(event)
        if inside and event.op in MUTATING:
            for crashes, everything in ((killed, True), (power_lost, False)):
                _clear(image)
                disk.write(image, everything=everything)
                crashes.append(_crash(event, image, old, new, expected))
    return CrashCompaction(tuple(killed), tuple(power_lost), len(expected))


def _write(db: oor.DB) -> dict[bytes, bytes]:
    """Overlapping tables with values over older ones and deletes; returns what is then there."""
    expected: dict[bytes, bytes] = {}
    for part in range(TABLES):
        batch: dict[bytes, bytes | None] = {
            b"%05d" % key: b"part %d of key %d" % (part, key)
            for key in range(part * KEYS // 4, part * KEYS // 4 + KEYS)
        }
        batch |= {b"%05d" % key: None for key in range(part, part * KEYS // 4, 7)}
        db.write(batch)
        db.flush()
        for name, value in batch.items():
            if value is None:
                expected.pop(name, None)
            else:
                expected[name] = value
    db.sync()
    return dict(sorted(expected.items()))


def _crash(
    event: Event, image: str, old: frozenset[int], new: frozenset[int], expected: dict[bytes, bytes]
) -> Crash:
    tables: frozenset[int] = frozenset()
    try:
        with oor.open(image, **OPTIONS) as db:
            # Records that were only in the log come back from there; a recovery may make no table
            # here.
            tables = frozenset(read_manifest(image).state.tables)
            same = dict(db.scan()) == expected and all(
                db.get(key) == value for key, value in expected.items()
            )
    except OorError:
        # A crash is no damage: an open that refuses what it left has lost every read.
        same = False
    found = OLD if tables == old else NEW if tables == new else NEITHER
    name = os.path.basename(event.path)
    return Crash(f"{event.op.name.lower().replace('_', ' ')} {name}".strip(), found, same)


def _clear(folder: str) -> None:
    for name in native.list_dir(folder):
        native.unlink(os.path.join(folder, name))


# ---- showing -------------------------------------------------------------------------------------


def report(found: CrashCompaction) -> str:
    """Each operation of the compaction, and which tables a crash behind it leaves in force."""
    width = max(len(crash.operation) for crash in found.killed)
    lines = [f"{'crashed behind':<{width + 4}}  killed   power lost"]
    for place, (killed, lost) in enumerate(zip(found.killed, found.power_lost, strict=True), 1):
        wrong = "" if killed.same and lost.same else "  A READ DIFFERS"
        lines.append(
            f"{place:3} {killed.operation:<{width}}  {killed.tables:<7}  {lost.tables}{wrong}"
        )
    figures = found.figures()
    lines.append(
        f"\n{figures['crashes']} crashes at {figures['operations']} operations: "
        f"{figures['killed_old'] + figures['power_lost_old']} times the old tables, "
        f"{figures['killed_new'] + figures['power_lost_new']} times the new ones, "
        f"{figures['neither']} times neither; {figures['wrong_reads']} with a read that differs "
        f"({figures['entries']} entries compared each time)"
    )
    return "\n".join(lines)


def draw(found: CrashCompaction, axes: Any) -> None:
    """Both rows of crashes as steps on one axis of matplotlib."""
    axis = axes[0]
    for crashes, label in ((found.killed, "process killed"), (found.power_lost, "power lost")):
        heights = [1 if crash.tables == NEW else 0 for crash in crashes]
        axis.step(range(1, len(heights) + 1), heights, where="mid", label=label)
    axis.set_yticks([0, 1], ["old tables", "new tables"])
    axis.set_xlabel("crashed behind operation")
    axis.legend()
