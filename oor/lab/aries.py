"""What do analysis, redo and undo do after a crash? `oor lab aries` shows each step of a real one.

A child process writes records and dies by its own SIGKILL at a chosen point. Then the three phases
of its recovery are run and told: the plan before anything is changed, the report afterwards, and
every record compared.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Final

import oor
from oor import names
from oor.analysis import RecoveryPlan, analyze
from oor.demo.records import records
from oor.demo.victim import die_in_child
from oor.names import FileKind
from oor.recovery import RecoveryReport

POINTS: Final = {
    "logged": "in the middle of writing, with some records durable and some only logged",
    "flush": "in a flush, when its table is durable and no manifest names it yet",
    "merged": "in a compaction, when its output is durable and no manifest names it yet",
    "installed": "in a compaction, when the manifest names its output and the inputs are there",
}
_WHY: Final = {
    FileKind.TABLE: "no manifest names it",
    FileKind.SEGMENT: "the log does not reach it, or all of it is in tables",
    FileKind.SPARE: "a segment for later use",
    FileKind.MANIFEST: "CURRENT names another one",
    FileKind.TEMPORARY: "a replacement that was not finished",
}


@dataclass(frozen=True, slots=True)
class Aries:
    """A crash and its recovery."""

    point: str
    written: int
    durable_lsn: int
    """The last promise that the child made before it died."""
    plan: RecoveryPlan
    report: RecoveryReport
    found: int
    """Records that are there afterwards, byte for byte."""
    again: RecoveryReport
    """Of a second open: what is left to do when recovery has been done."""

    def figures(self) -> dict[str, Any]:
        """The counts by name."""
        plan, report = self.plan, self.report
        return {
            "point": self.point,
            "written": self.written,
            "found": self.found,
            "durable_lsn": self.durable_lsn,
            "flushed_lsn": plan.state.flushed_lsn,
            "redo_lsn": plan.redo_lsn,
            "log_end_lsn": plan.log_end_lsn,
            "frames": report.frames,
            "replayed": report.records,
            "orphans": len(plan.orphans),
            "orphan_tables": sum(names.parse(name)[0] is FileKind.TABLE for name in plan.orphans),
            "recovered_lsn": report.recovered_lsn,
            "next_lsn": report.next_lsn,
            "epoch_before": plan.state.epoch,
            "epoch_after": report.epoch,
            "again_replayed": self.again.records,
            "again_orphans": sum(
                names.parse(name)[0] is FileKind.TABLE for name in self.again.orphans
            ),
        }


def run(directory: str, *, point: str = "flush", count: int = 5000) -> Aries:
    """Let a child die at `point` with `count` records written, and recover what it left.

    The store is made in `directory`, which is there. Raises OorError if the child does not die as
    it should. Cost: the start of a process, and two recoveries.
    """
    path = os.path.join(directory, f"aries-{point}.oor")
    durable = die_in_child(path, point, count)
    plan = analyze(path)
    with oor.open(path, background=False) as db:
        report = db.recovery
        expected = records(0, count)
        found = sum(expected.get(key) == value for key, value in db.scan())
    with oor.open(path, background=False) as db:
        again = db.recovery
    return Aries(point, count, durable, plan, report, found, again)


# ---- showing -------------------------------------------------------------------------------------


def report(found: Aries) -> str:
    """Crash, analysis, redo, undo and the check, in lines of text."""
    plan, done = found.plan, found.report
    parts = [
        f"crash     a child wrote {found.written:,} records and died by SIGKILL\n"
        f"          {POINTS[found.point]}.\n"
        f"          The last thing that it said was durable is LSN {found.durable_lsn:,}.",
        "\n".join(["analysis  only reads, and ends in a plan", *_analysis(plan)]),
        f"redo      {done.records:,} mutations of {done.frames:,} frames, in the order of their\n"
        f"          LSNs, into an empty memtable; {done.tail_frames:,} frames were only in the\n"
        f"          shared tail. They are durable again, in a segment of epoch {done.epoch},\n"
        "          before anything is served.",
        "\n".join(["undo      no uncommitted data is ever on disk: files are undone, not records",
                   *_undo(plan)]),
        f"check     {found.found:,} of {found.written:,} records are there, byte for byte;\n"
        f"          the next LSN is {done.next_lsn:,}, and no process was ever given it.\n"
        f"again     a second open replays {found.again.records:,} mutations.",
    ]  # fmt: skip
    return "\n\n".join(parts)


def _analysis(plan: RecoveryPlan) -> list[str]:
    state = plan.state
    lines = [
        f"          {names.manifest_name(plan.manifest.number)}: {len(state.tables)} tables, "
        f"everything up to LSN {state.flushed_lsn:,} is in them"
    ]
    lines += [
        f"          {names.segment_name(info.number)}: {info.frames:,} frames, LSN "
        f"{info.first_lsn:,} to {info.last_lsn:,}, and then {info.ended_text}"
        for info in plan.segments
    ]
    lines.append(f"          redo starts at LSN {plan.redo_lsn:,}; the log ends at "
                 f"{plan.log_end_lsn:,}")  # fmt: skip
    return lines


def _undo(plan: RecoveryPlan) -> list[str]:
    if not plan.orphans:
        return ["          nothing that does not belong here"]
    return [
        f"          {name}: {_WHY.get(names.parse(name)[0], 'nothing names it')}"
        for name in plan.orphans
    ]
