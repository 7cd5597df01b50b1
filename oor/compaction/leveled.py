"""Leveled compaction: each level but the first is one sorted run, ten times the one above.

Level 0 takes flushed tables as they come, so they overlap; `l0_trigger` of them are merged into
level 1. A deeper level that outgrows its target gives one table at a time, round robin over the key
range, to the level below it.

With ratio r and n levels below level 0: a point read looks into level 0's tables and at most n
others, most of which its filter rules out; a byte is written about 1 + n * (r + 1) / 2 times;
tables take at most about 1 + 1 / r times the space of the live data, and level 0 on top.
"""

from __future__ import annotations

from collections.abc import Iterable

from oor.compaction.job import CompactionOptions, Job
from oor.table import Table
from oor.version import LEVELS, Version


class Leveled:
    """Picks the next compaction of a version.

    Threads: one caller at a time. It remembers where in the key range each level's last pick ended.
    """

    __slots__ = ("_resume",)

    def __init__(self) -> None:
        self._resume: dict[int, bytes] = {}

    def pick(self, version: Version, options: CompactionOptions) -> Job | None:
        """The compaction of the level that most exceeds its target, or None if none does."""
        scores = [(self._score(version, level, options), -level) for level in range(LEVELS - 1)]
        score, negative = max(scores)
        if score < 1.0:
            return None
        level = -negative
        if level == 0:
            return _into(version, version.levels[0], 0)
        return _into(version, (self._next_table(version, level),), level)

    @staticmethod
    def _score(version: Version, level: int, options: CompactionOptions) -> float:
        if level == 0:
            return len(version.levels[0]) / options.l0_trigger if version.levels else 0.0
        return version.level_bytes(level) / options.target(level)

    def _next_table(self, version: Version, level: int) -> Table:
        """The first table behind the level's last pick, or its first."""
        tables = version.levels[level]
        resume = self._resume.get(level)
        chosen = tables[0]
        if resume is not None:
            chosen = next((table for table in tables if table.meta.smallest > resume), tables[0])
        self._resume[level] = chosen.meta.largest
        return chosen


def everything(version: Version) -> Job | None:
    """The compaction of all tables into the deepest level, or None if there is nothing to do.

    A store whose tables all lie in one deep level without tombstones is left as it is.
    """
    tables = tuple(version.tables())
    if not tables:
        return None
    target = max(1, len(version.levels) - 1)
    settled = all(not level for level in version.levels[:target])
    if settled and not any(table.meta.tombstones for table in tables):
        return None
    return Job(inputs=tables, target=target, below=())


def _into(version: Version, tables: tuple[Table, ...], level: int) -> Job:
    """Tables of one level, with what they overlap in the next, as a job."""
    smallest, largest = _range(tables)
    target = level + 1
    others = version.overlapping(target, smallest, largest)
    smallest, largest = _range((*tables, *others))
    below = tuple(
        table
        for deeper in range(target + 1, len(version.levels))
        for table in version.overlapping(deeper, smallest, largest)
    )
    # A table with tombstones that comes to the bottom is rewritten, so that they go.
    moves = not others and len(tables) == 1 and (bool(below) or not tables[0].meta.tombstones)
    return Job(inputs=(*tables, *others), target=target, below=below, moves=moves)


def _range(tables: Iterable[Table]) -> tuple[bytes, bytes]:
    metas = [table.meta for table in tables]
    return min(meta.smallest for meta in metas), max(meta.largest for meta in metas)
