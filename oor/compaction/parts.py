"""Level 0 on its way into the level under it, a stretch of keys at a time.

To merge all at once would hold inputs and outputs together: twice the level, for as long as it
takes. Of a stretch, the outputs replace the level's own tables at once, and those of level 0 stay
above them until the last stretch is done. Meanwhile what they hold of the stretches that are done
stands in both places, the same entries: a lookup finds the ones in level 0, which are as new or
newer, and whoever merges them once more, after a crash or by hand, drops those under them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from oor.compaction.job import Job, Part, first_deeper, merge, span
from oor.table import Table
from oor.version import Version

PART_TABLES = 4
"""Tables of the level that one part merges; the last one up to half as many more."""


class Parts:
    """What is left to do of one merge. It is kept in memory only: after a reopening it starts anew,
    which costs writes and no more.
    """

    def __init__(self, level0: Sequence[Table], target: int) -> None:
        self._numbers = [table.meta.number for table in level0]
        self._target = target
        self._resume: bytes | None = None
        self._taken = 0
        self._bytes = 0

    def next(self, version: Version, reason: str) -> Job | None:
        """The next part; None if somebody else has changed what it is about, and at the end."""
        level0 = version.levels[0][-len(self._numbers) :]
        if [table.meta.number for table in level0] != self._numbers:
            return None
        left = [
            table
            for table in version.overlapping(self._target, *span(level0))
            if self._resume is None or table.meta.largest >= self._resume
        ]
        if first_deeper(version) < self._target or self._is_between(left):
            return None
        if self._resume is None:
            self._bytes = sum(table.meta.size for table in left)
        count = PART_TABLES if len(left) > PART_TABLES * 3 // 2 else len(left)
        chosen, stop = left[:count], left[count].meta.smallest if count < len(left) else None
        share = sum(table.meta.size for table in chosen) / max(1, self._bytes)
        part = Part(len(level0), self._resume, stop, min(1.0, share), self._taken)
        job = merge(version, (*level0, *chosen), 0, self._target, reason)
        return replace(job, part=None if self._resume is None and stop is None else part)

    def _is_between(self, left: list[Table]) -> bool:
        """Whether a table reaches over the place to go on at."""
        return self._resume is not None and any(t.meta.smallest < self._resume for t in left)

    def installed(self, job: Job, partial_entries: int) -> None:
        """Go on behind a part of this."""
        if job.part is None or job.part.stop is None:
            return
        if [table.meta.number for table in job.partial] == self._numbers:
            self._resume = job.part.stop
            self._taken += partial_entries
