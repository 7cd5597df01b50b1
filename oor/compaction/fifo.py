"""FIFO: nothing is merged; whole tables go, the oldest first, by size or by age. For streams.

When all tables together are larger than `fifo_max_bytes`, or a table is older than `fifo_max_age`
seconds, it is dropped with all that it holds. The newest table always stays.

What a read answers then: exactly what the mutations in the tables that are left and in the
memtables add up to. A key that was last written in a dropped table is not there; nothing older
comes back in its place, because what is older was dropped before. A snapshot or a scan that began
earlier keeps its tables. What was dropped is gone from the log too: no recovery brings it back.

Age is data, not a look at the clock: a flush notes the time in the manifest, never earlier than the
flush before, and a table's age is how much earlier than the newest table it was written. So a clock
that jumps back changes nothing; one that jumps forward makes everything before the jump that much
older with the first flush behind it, and FIFO by age is the one strategy that then drops it. A
store that nobody writes to keeps what it has. A table of an older build without a note is as old
as the next newer one that has one.

  read   a lookup looks into every table that its filter does not rule out
  write  a byte is written once, by a flush
  space  every version of a key that is not older than the limit
"""

from __future__ import annotations

from collections.abc import Sequence

from oor.compaction.job import Job
from oor.compaction.strategy import Plan, Strategy, free
from oor.table import Table
from oor.version import Version


class Fifo(Strategy):
    """Drops tables that are too many or too old."""

    name = "fifo"

    def pick(self, version: Version, running: Sequence[Job] = ()) -> Job | None:
        """The tables that are due, or None."""
        due = self.due(version)
        if not due:
            return None
        job = Job(tuple(reversed(due)), 0, drops=True, reason="limit of age or size")
        return job if free(job, running) else None

    def due(self, version: Version) -> list[Table]:
        """Those that the limits ask to drop, oldest first."""
        tables = oldest_first(version)
        left = sum(table.meta.size for table in tables)
        written = times_written(tables)
        limit, age_limit = self.options.fifo_max_bytes, self.options.fifo_max_age
        due = []
        for table, when in zip(tables[:-1], written, strict=False):
            too_large = 0 < limit < left
            too_old = age_limit > 0 and written[-1] - when > age_limit
            if not too_large and not too_old:
                break
            due.append(table)
            left -= table.meta.size
        return due

    def pressure(self, version: Version) -> float:
        """Never: there is no work that could be behind."""
        return 0.0

    def by_hand(self, start: bytes | None, stop: bytes | None, lsn: int) -> Plan:
        """Only what is due goes, whatever range was asked for."""
        return FifoPlan(self)


class FifoPlan(Plan):
    """Drops what is due."""

    def __init__(self, strategy: Fifo) -> None:
        self._strategy = strategy

    def next(self, version: Version, running: Sequence[Job] = ()) -> Job | None:
        """The tables that are due, or None."""
        return self._strategy.pick(version, running)


def oldest_first(version: Version) -> list[Table]:
    """All tables in an order in which they may be dropped: each only when nothing under it is left.

    Tables of a deeper level do not overlap, so any order will do among them.
    """
    tables: list[Table] = []
    for level in reversed(version.levels[1:]):
        tables += sorted(level, key=lambda table: table.meta.last_lsn)
    return tables + list(reversed(version.levels[0] if version.levels else ()))


def times_written(tables: Sequence[Table]) -> list[int]:
    """When each of these, oldest first, was written at the latest, in seconds."""
    times: list[int] = []
    known = 0
    for table in reversed(tables):
        own = table.meta.written
        known = min(own, known) if own and known else own or known
        times.append(known)
    return times[::-1]
