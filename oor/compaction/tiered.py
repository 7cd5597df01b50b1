"""Tiered (universal) compaction: runs of about one size are merged into one, for bursts of writes.

A run is a table of level 0, or all of a deeper level. From `tiered_runs` runs on, these are tried:
all runs, if those newer than the oldest hold `tiered_space` times its size; the newest neighbours
of which none is larger than `tiered_ratio` times those newer than it together; or as many of the
newest as there are too many. What comes out takes the place of what went in.

With R = tiered_runs, S = tiered_space and d times as much data as a flush has:
  read   a lookup looks into at most one table of each of about R runs, most of which its filter
         rules out
  write  a byte is written once by a flush, and about log d / log R times by merges
  space  tables take at most about 1 + S times the live data, and as much again while all runs are
         merged
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from oor.compaction.job import LAST_LEVEL, Job, first_deeper, merge, span
from oor.compaction.strategy import Busy, Plan, Strategy, free, is_within
from oor.table import Table
from oor.version import Version


@dataclass(frozen=True, slots=True)
class Run:
    """Tables that do not overlap and are of one age."""

    level: int
    tables: tuple[Table, ...]

    @property
    def size(self) -> int:
        """Bytes of the files."""
        return sum(table.meta.size for table in self.tables)

    @property
    def tombstone_share(self) -> float:
        """Tombstones of all entries."""
        return sum(t.meta.tombstones for t in self.tables) / sum(
            t.meta.entries for t in self.tables
        )


def runs_of(version: Version) -> list[Run]:
    """The runs of a version, newest first."""
    newest = [Run(0, (table,)) for table in version.levels[0]] if version.levels else []
    return newest + [
        Run(level, tables) for level, tables in enumerate(version.levels[1:], 1) if tables
    ]


class Tiered(Strategy):
    """Few rewrites, at the price of space and of more tables for a lookup. One job at a time."""

    name = "tiered"

    def pick(self, version: Version, running: Sequence[Job] = ()) -> Job | None:
        """The merge that the number of runs, or a run of tombstones, asks for."""
        runs = runs_of(version)
        if running or not runs:
            return None
        chosen = self._chosen(runs)
        if chosen is not None:
            return self._job(version, runs, *chosen)
        for place, run in enumerate(runs):
            if run.tombstone_share > self.options.tombstone_share:
                return self._job(version, runs, place, len(runs), "a run of tombstones")
        return None

    def _chosen(self, runs: list[Run]) -> tuple[int, int, str] | None:
        options, sizes = self.options, [run.size for run in runs]
        if len(runs) < options.tiered_runs:
            return None
        if sum(sizes[:-1]) >= options.tiered_space * sizes[-1]:
            return 0, len(runs), "newer runs are as large as the oldest"
        for start in range(len(runs) - 1):
            end, together = start + 1, sizes[start]
            while end < len(runs) and sizes[end] <= options.tiered_ratio * together:
                together += sizes[end]
                end += 1
            if end - start >= 2:
                return start, end, "runs of one size"
        return 0, len(runs) - options.tiered_runs + 2, "too many runs"

    @staticmethod
    def _job(version: Version, runs: list[Run], start: int, end: int, reason: str) -> Job:
        inputs = tuple(table for run in runs[start:end] for table in run.tables)
        target = runs[end - 1].level
        if target == 0 and end == version.table_count(0):
            # The oldest of level 0 go below it, where they may be several tables.
            target = min(first_deeper(version), LAST_LEVEL + 1) - 1
        return merge(version, inputs, runs[start].level, target, reason)

    def pressure(self, version: Version) -> float:
        """By level 0, from the number of runs that asks for a merge to where writers are slowed."""
        options = self.options
        first = min(options.tiered_runs, options.l0_slowdown - 1)
        return max(0.0, (version.table_count(0) - first) / (options.l0_slowdown - first))

    def by_hand(self, start: bytes | None, stop: bytes | None, lsn: int) -> Plan:
        """All that the range meets becomes one run, in one job."""
        return TieredPlan(start, stop, lsn)


class TieredPlan(Plan):
    """Merges what a key range meets, and what that overlaps below, into the oldest run."""

    def __init__(self, start: bytes | None, stop: bytes | None, lsn: int) -> None:
        self._range = (start, stop)
        self._lsn = lsn
        self._done = False

    def next(self, version: Version, running: Sequence[Job] = ()) -> Job | None:
        """The one job, or None; see `Plan`."""
        if self._done:
            return None
        job = self._whole(version)
        if job is not None and not free(job, running):
            raise Busy
        self._done = True
        return job

    def _whole(self, version: Version) -> Job | None:
        target = len(version.levels) - 1 if len(version.levels) > 1 else LAST_LEVEL
        inputs: list[Table] = []
        source = target
        for level, tables in enumerate(version.levels):
            met = [table for table in tables if self._meets(level, table, inputs)]
            if met:
                source = min(source, level)
                inputs += tables[tables.index(met[0]) :] if level == 0 else met
        settled = source == target and not any(table.meta.tombstones for table in inputs)
        return None if settled else merge(version, tuple(inputs), source, target, "asked for")

    def _meets(self, level: int, table: Table, newer: list[Table]) -> bool:
        meta = table.meta
        if level == 0:
            return meta.first_lsn <= self._lsn and is_within(
                meta.smallest, meta.largest, *self._range
            )
        if is_within(meta.smallest, meta.largest, *self._range):
            return True
        if not newer:
            return False
        smallest, largest = span(newer)
        return meta.smallest <= largest and meta.largest >= smallest
