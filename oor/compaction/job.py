"""What a compaction is asked to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from oor.table import Table, TableOptions
from oor.version import LEVELS, Version

MIB = 1 << 20
LAST_LEVEL = LEVELS - 1


@dataclass(frozen=True, slots=True)
class CompactionOptions:
    """When to compact and what to write. Sizes are bytes; `oor.Options` says more of each."""

    l0_trigger: int = 4
    l0_slowdown: int = 28
    l0_share: float = 1.0
    level_base_bytes: int = 256 * MIB
    level_ratio: int = 10
    tombstone_share: float = 0.5
    tiered_runs: int = 8
    tiered_ratio: float = 1.5
    tiered_space: float = 1.0
    fifo_max_bytes: int = 0
    fifo_max_age: float = 0.0
    table_bytes: int = 32 * MIB
    """Size at which an output table is closed and another begun."""
    tables: tuple[TableOptions, ...] = (TableOptions(),)
    """How the tables of each level are laid out, from 0 on; the last stands for all deeper ones."""

    def table(self, level: int) -> TableOptions:
        """How tables of a level are laid out."""
        return self.tables[min(level, len(self.tables) - 1)]

    @property
    def overlap_max(self) -> int:
        """Bytes of the next level that one output may lie over."""
        return self.level_ratio * self.table_bytes


@dataclass(frozen=True, slots=True)
class Part:
    """The keys that one job of several merges, `start` <= key < `stop` (None: no bound), where some
    inputs reach beyond them: those stay until the last part has been merged.
    """

    count: int
    """The first so many inputs reach beyond; the others lie inside."""
    start: bytes | None
    stop: bytes | None
    share: float
    """How much of those inputs lies inside, about."""
    taken: int
    """Their entries that the parts before this one took."""

    @property
    def is_last(self) -> bool:
        """Whether no part follows; all of the inputs are merged then."""
        return self.stop is None


@dataclass(frozen=True, slots=True)
class Job:
    """Tables to merge into `target`, a level below all of theirs or the deepest of theirs."""

    inputs: tuple[Table, ...]
    """Newest first: of two with the same key, the first has the newer entry."""
    target: int
    below: tuple[Table, ...] = ()
    """Older tables that overlap the inputs: they keep tombstones alive. Those of the level under
    the target come first, `next_count` of them, in key order."""
    next_count: int = 0
    source: int = 0
    """The level of the newest input."""
    moves: bool = False
    """The inputs only change their level; nothing is read or written."""
    drops: bool = False
    """The inputs go, with all that they hold."""
    reason: str = ""
    """For whoever watches."""
    part: Part | None = None
    """None: all of the inputs."""

    @property
    def partial(self) -> tuple[Table, ...]:
        """The inputs that are read in part."""
        return self.inputs[: self.part.count] if self.part else ()

    @property
    def whole(self) -> tuple[Table, ...]:
        """The inputs that are read whole."""
        return self.inputs[len(self.partial) :]

    @property
    def replaced(self) -> tuple[Table, ...]:
        """The inputs whose place the outputs take."""
        return self.inputs if self.part is None or self.part.is_last else self.whole

    @property
    def size(self) -> int:
        """Bytes of the inputs' files, about what lies in the part of those that it reads in
        part.
        """
        return self._of_inputs([table.meta.size for table in self.inputs])

    @property
    def entries(self) -> int:
        """Entries of the inputs, counted as `size`."""
        return self._of_inputs([table.meta.entries for table in self.inputs])

    def _of_inputs(self, figures: list[int]) -> int:
        if self.part is None:
            return sum(figures)
        partial, whole = figures[: self.part.count], figures[self.part.count :]
        return max(1, sum(whole) + int(self.part.share * sum(partial)))

    @property
    def unpacked(self) -> float:
        """How many bytes of keys and values a byte of the inputs' files stands for, 1 at the
        least.
        """
        content = sum(table.meta.key_bytes + table.meta.value_bytes for table in self.inputs)
        return max(1.0, content / sum(table.meta.size for table in self.inputs))

    @property
    def rewrites(self) -> bool:
        """Whether anything is read and written."""
        return not self.moves and not self.drops

    def numbers(self) -> frozenset[int]:
        """The numbers of the inputs."""
        return frozenset(table.meta.number for table in self.inputs)

    def span(self) -> tuple[bytes, bytes]:
        """The smallest and the largest key of the inputs."""
        return span(self.inputs)

    def conflicts(self, other: Job) -> bool:
        """Whether the two must not run at the same time.

        They may where they share no input, and either their levels or their key ranges are apart:
        then neither puts entries over or under entries that the other is about to move.
        """
        if self.numbers() & other.numbers():
            return True
        if self.source > other.target or other.source > self.target:
            return False
        smallest, largest = self.span()
        low, high = other.span()
        return smallest <= high and low <= largest

    def __str__(self) -> str:
        verb = "moves" if self.moves else "drops" if self.drops else "merges"
        return (
            f"{self.reason or 'compaction'}: {verb} {len(self.inputs)} tables, {self.size} bytes, "
            f"level {self.source} to {self.target}"
        )


def span(tables: Iterable[Table]) -> tuple[bytes, bytes]:
    """The smallest and the largest key of some tables, at least one."""
    metas = [table.meta for table in tables]
    return min(meta.smallest for meta in metas), max(meta.largest for meta in metas)


def merge(
    version: Version, inputs: tuple[Table, ...], source: int, target: int, reason: str
) -> Job:
    """The job that merges these tables, with all that is older and overlaps them noted.

    REQUIRES: the inputs are newest first; what lies between them in age and meets their range is
    among them.
    """
    taken = {table.meta.number for table in inputs}
    smallest, largest = span(inputs)
    older: list[Table] = []
    if target == 0:
        places = [n for n, table in enumerate(version.levels[0]) if table.meta.number in taken]
        rest = version.levels[0][max(places) + 1 :]
        older += [t for t in rest if t.meta.smallest <= largest and t.meta.largest >= smallest]
    next_level = version.overlapping(target + 1, smallest, largest)
    for level in range(target + 2, len(version.levels)):
        older += version.overlapping(level, smallest, largest)
    return Job(
        inputs=inputs, target=target, below=(*next_level, *older), next_count=len(next_level),
        source=source, reason=reason,
    )  # fmt: skip


def first_deeper(version: Version) -> int:
    """The first level from 1 on that has tables; LEVELS if none has."""
    return next((level for level in range(1, len(version.levels)) if version.levels[level]), LEVELS)
