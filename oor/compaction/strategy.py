"""What every strategy answers, and which there are.

A strategy looks at a version and names the next job. It owns no table and changes nothing, so a
store may be opened with another one each time: any version is a legal start for any strategy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from oor.compaction.job import CompactionOptions, Job
from oor.version import Version


class Busy(Exception):
    """The next job has to wait for one that is running."""


class Strategy(ABC):
    """Picks compactions. Threads: one caller at a time."""

    name: ClassVar[str]
    """What `compaction=` calls it."""

    def __init__(self, options: CompactionOptions) -> None:
        self.options = options

    @abstractmethod
    def pick(self, version: Version, running: Sequence[Job] = ()) -> Job | None:
        """The compaction that is wanted most and conflicts with none that runs; None: none is."""

    def installed(self, job: Job, partial_entries: int) -> None:  # noqa: B027 most need not know
        """Take note that a job has been done; see `Running.partial_entries`."""

    @abstractmethod
    def by_hand(self, start: bytes | None, stop: bytes | None, lsn: int) -> Plan:
        """What settles the keys of [start, stop); tables newer than `lsn` need not be taken in."""

    @abstractmethod
    def pressure(self, version: Version) -> float:
        """How far compaction is behind: 0 not at all, 1 or more: writers are about to wait."""


class Plan(ABC):
    """A compaction that somebody asked for, as jobs one after the other."""

    @abstractmethod
    def next(self, version: Version, running: Sequence[Job] = ()) -> Job | None:
        """The next job, None when all is done. Busy: ask again when one that runs has ended."""


def free(job: Job, running: Sequence[Job]) -> bool:
    """Whether a job may begin beside those that run."""
    return not any(job.conflicts(other) for other in running)


def is_within(smallest: bytes, largest: bytes, start: bytes | None, stop: bytes | None) -> bool:
    """Whether the range of a table meets [start, stop); None: no bound."""
    return (start is None or largest >= start) and (stop is None or smallest < stop)
