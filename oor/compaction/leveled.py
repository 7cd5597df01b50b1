"""Leveled compaction: each level but level 0 is one sorted run, `level_ratio` times the one above.

Level 0 takes flushed tables as they come, so they overlap. The last level is as large as the data;
the levels above it get targets from its size, each `level_ratio` times smaller, and end with the
base level, the first whose target is no more than half of `level_ratio` times `level_base_bytes`.
(Up to there it costs fewer writes to merge level 0 into a larger level than to have one more.)
Level 0 merges into the base level once it holds `l0_share` of what that holds, a stretch of keys at
a time (`Parts`), and until then its tables are merged with each other, the newest of about one size
first; a deeper level that outgrows its target gives one table at a time, round robin over the key
range, to the level under it. What lies above the base level, because the store was smaller or had
another strategy, drains downwards.

With ratio r, share s, and n levels from the base level on:
  read   a lookup looks into level 0's tables and one table of each of the n levels, most of which
         its filter rules out
  write  a byte is written once by a flush, once or twice within level 0, about 1 + 1 / s times into
         the base level, about r times into each level under it
  space  tables take at most about 1 + 1 / (r - 1) times the live data, and level 0 on top: at most
         s of the base level, if that is not less than `l0_trigger` flushes
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from oor.compaction.job import LAST_LEVEL, CompactionOptions, Job, first_deeper, merge, span
from oor.compaction.parts import Parts
from oor.compaction.strategy import Busy, Plan, Strategy, free, is_within
from oor.table import Table
from oor.version import Version

L0_JOB_TABLES = 64
"""Tables that one job takes out of level 0 at the most, the oldest: a store that had another
strategy may have thousands."""
TOGETHER = 2
"""How many times `l0_trigger` tables of level 0 are merged with each other at the least: the more
at once, the fewer times a byte is written before it leaves level 0."""
GATHERED = 4
"""Tables of a level that a compaction by hand gives to the next one at once."""


class Targets:
    """The sizes that the levels of a version are kept below, from the base level on."""

    def __init__(self, version: Version, options: CompactionOptions) -> None:
        sizes = [version.level_bytes(level) for level in range(1, len(version.levels))]
        target = float(max(sizes, default=0))
        self.base = LAST_LEVEL
        self.bytes = {LAST_LEVEL: target}
        while target > options.level_base_bytes * options.level_ratio / 2 and self.base > 1:
            self.base -= 1
            target /= options.level_ratio
            self.bytes[self.base] = target

    def score(self, version: Version, level: int) -> float:
        """How many times its target a level holds; what lies above the base level is too much."""
        size = version.level_bytes(level)
        if size == 0 or level == LAST_LEVEL:
            return 0.0
        if level < self.base:
            return 2.0
        return size / self.bytes[level]


class Leveled(Strategy):
    """The default. It remembers where in the key range each level's last pick ended, in memory
    only: after a reopening the round starts anew, which costs nothing but evenness.
    """

    name = "leveled"

    def __init__(self, options: CompactionOptions) -> None:
        super().__init__(options)
        self._resume: dict[int, bytes] = {}
        self._parts: Parts | None = None
        self._together = min(TOGETHER * options.l0_trigger, max(2, options.l0_slowdown - 1))

    def pick(self, version: Version, running: Sequence[Job] = ()) -> Job | None:
        """The compaction of the level that most exceeds its target; then tables of tombstones."""
        targets = Targets(version, self.options)
        scores = {level: targets.score(version, level) for level in range(1, LAST_LEVEL)}
        level0 = version.table_count(0) / self.options.l0_trigger
        if level0 >= 1.0:
            scores[0] = level0
        for level in sorted(scores, key=lambda level: (-scores[level], level)):
            if level > 0 and scores[level] <= 1.0:
                continue
            job = (
                self._pick_level(version, level, running)
                if level
                else self._pick_l0(version, targets, running)
            )
            if job is not None:
                return job
        return self._pick_tombstones(version, running)

    def _pick_l0(self, version: Version, targets: Targets, running: Sequence[Job]) -> Job | None:
        level0 = version.levels[0]
        if self._parts is not None:
            job = self._parts.next(version, "level 0 has enough tables")
            if job is not None:
                return job if free(job, running) else None
            self._parts = None
        base = min(targets.base, first_deeper(version))
        within = _newest_of_a_size(level0)
        enough = self.options.l0_share * version.level_bytes(base)
        # Too little is not worth rewriting the base level: it is merged with each other.
        little = sum(table.meta.size for table in level0) < enough
        many = len(level0) >= self.options.l0_slowdown
        if little and not many and len(within) < self._together:
            return None
        if little and len(within) >= 2:
            job = merge(version, within, 0, 0, "small tables of level 0")
        else:
            oldest, reason = level0[-L0_JOB_TABLES:], "level 0 has enough tables"
            job = down(version, oldest, 0, base, self.options, reason)
            if job.rewrites:
                parts = Parts(oldest, base)
                job = parts.next(version, reason) or job
                self._parts = parts if job.part else None
        return job if free(job, running) else None

    def installed(self, job: Job, partial_entries: int) -> None:
        """Level 0 goes on with its next part."""
        if self._parts is not None:
            self._parts.installed(job, partial_entries)

    def _pick_level(self, version: Version, level: int, running: Sequence[Job]) -> Job | None:
        """The first table behind the level's last pick whose job can begin, round robin."""
        tables = version.levels[level]
        resume = self._resume.get(level)
        start = 0
        if resume is not None:
            start = next((n for n, t in enumerate(tables) if t.meta.smallest > resume), 0)
        for table in (*tables[start:], *tables[:start]):
            reason = f"level {level} is over its target"
            job = down(version, (table,), level, level + 1, self.options, reason)
            if free(job, running):
                self._resume[level] = table.meta.largest
                return job
        return None

    def _pick_tombstones(self, version: Version, running: Sequence[Job]) -> Job | None:
        share = self.options.tombstone_share
        for level in range(1, len(version.levels)):
            for table in version.levels[level]:
                if table.meta.tombstones > share * table.meta.entries:
                    reason = f"tombstones of table {table.meta.number}"
                    if level == len(version.levels) - 1:
                        job = merge(version, (table,), level, level, reason)
                    else:
                        job = down(version, (table,), level, level + 1, self.options, reason)
                    if free(job, running):
                        return job
        return None

    def pressure(self, version: Version) -> float:
        """By level 0, from where its tables are merged with each other to where writers are slowed,
        or by a level's excess.
        """
        targets, options = Targets(version, self.options), self.options
        room = max(1, options.l0_slowdown - self._together)
        level0 = (version.table_count(0) - self._together) / room
        excess = max(targets.score(version, level) for level in range(1, LAST_LEVEL)) - 1.0
        return max(0.0, level0, min(0.9, excess / 4))

    def by_hand(self, start: bytes | None, stop: bytes | None, lsn: int) -> Plan:
        """Level by level, so that no job is larger than some tables and what they overlap."""
        return LeveledPlan(start, stop, lsn, self.options)


class LeveledPlan(Plan):
    """Brings a key range to the last level and rewrites tombstones that are there."""

    def __init__(
        self, start: bytes | None, stop: bytes | None, lsn: int, options: CompactionOptions
    ) -> None:
        self._range = (start, stop)
        self._lsn = lsn
        self._options = options
        self._level = 0
        self._behind: bytes | None = None
        """Tables of the level that end here or before are done."""

    def next(self, version: Version, running: Sequence[Job] = ()) -> Job | None:
        """The next job; see `Plan`."""
        while self._level < len(version.levels):
            job = self._of_level(version)
            if job is not None:
                if not free(job, running):
                    raise Busy
                if self._level > 0:
                    self._behind = max(t.meta.largest for t in version.levels[self._level]
                                       if t.meta.number in job.numbers())  # fmt: skip
                return job
            self._level, self._behind = self._level + 1, None
        return None

    def _of_level(self, version: Version) -> Job | None:
        level = self._level
        wanted = [
            table
            for table in version.levels[level]
            if is_within(table.meta.smallest, table.meta.largest, *self._range)
            and (level > 0 or table.meta.first_lsn <= self._lsn)
            and (self._behind is None or table.meta.largest > self._behind)
        ]
        if not wanted:
            return None
        if level == 0:
            place = version.levels[0].index(wanted[0])
            base = min(Targets(version, self._options).base, first_deeper(version))
            return down(version, version.levels[0][place:], 0, base, self._options, "asked for")
        deepest = len(version.levels) - 1
        if level < deepest:
            # One after the other in the level, so that nothing of it lies between them.
            first = version.levels[level].index(wanted[0])
            chosen = version.levels[level][first : first + min(GATHERED, len(wanted))]
            return down(version, chosen, level, level + 1, self._options, "asked for")
        marked = next((table for table in wanted if table.meta.tombstones), None)
        return None if marked is None else merge(version, (marked,), level, level, "asked for")


def down(
    version: Version,
    tables: tuple[Table, ...],
    level: int,
    target: int,
    options: CompactionOptions,
    reason: str,
) -> Job:
    """Tables of one level, with what they overlap in `target`, as a job.

    They only move where they overlap nothing there and are laid out as tables there are, unless
    they would bring tombstones to the bottom, where those can go.
    REQUIRES: the levels in between are empty where the tables are.
    """
    smallest, largest = span(tables)
    others = version.overlapping(target, smallest, largest)
    if level > 0 and others:
        # Neighbours that add nothing in the target ride along.
        low, high = span((*tables, *others))
        riders = tuple(
            table
            for table in version.levels[level]
            if table.meta.smallest >= low and table.meta.largest <= high
        )
        if len(riders) > len(tables) and version.overlapping(target, *span(riders)) == others:
            tables = riders
    job = merge(version, (*tables, *others), level, target, reason)
    marked = any(table.meta.tombstones for table in tables)
    alike = options.table(level) == options.table(target)
    if others or not alike or not _apart(tables) or (marked and not job.below):
        return job
    return Job(tables, target, source=level, moves=True, reason=reason)


def _apart(tables: tuple[Table, ...]) -> bool:
    """Whether no two of the tables overlap."""
    ordered = sorted((table.meta.smallest, table.meta.largest) for table in tables)
    return all(left[1] < right[0] for left, right in pairwise(ordered))


def _newest_of_a_size(level0: Sequence[Table]) -> tuple[Table, ...]:
    """The newest tables, as long as the next one is no larger than twice those before together."""
    taken, size = [level0[0]], level0[0].meta.size
    for table in level0[1:]:
        if table.meta.size > 2 * size:
            break
        taken.append(table)
        size += table.meta.size
    return tuple(taken)
