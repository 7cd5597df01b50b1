"""What a compaction is asked to do, and how it is stopped."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from oor.native import lib
from oor.table import Table, TableOptions

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class CompactionOptions:
    """When to compact and what to write. Sizes are bytes."""

    l0_trigger: int = 4
    """Tables in level 0 that start a compaction."""
    level_base_bytes: int = 256 * MIB
    """Target size of level 1."""
    level_ratio: int = 10
    """How many times the target of a level the next one's is."""
    table_bytes: int = 32 * MIB
    """Size at which an output table is closed and another begun."""
    tables: tuple[TableOptions, ...] = (TableOptions(),)
    """How the tables of each level are laid out, from 0 on; the last stands for all deeper ones."""

    def table(self, level: int) -> TableOptions:
        """How tables of a level are laid out."""
        return self.tables[min(level, len(self.tables) - 1)]

    def target(self, level: int) -> int:
        """The size that a level from 1 on is kept below."""
        assert level >= 1
        size: int = self.level_base_bytes * self.level_ratio ** (level - 1)
        return size


@dataclass(frozen=True, slots=True)
class Job:
    """Tables to merge into `target`, a level below all of theirs or the deepest of theirs."""

    inputs: tuple[Table, ...]
    """Newest first: of two with the same key, the first has the newer entry."""
    target: int
    below: tuple[Table, ...]
    """Tables of levels deeper than `target` that overlap the inputs: they keep tombstones alive."""
    moves: bool = False
    """The inputs only change their level; nothing is read or written."""

    @property
    def bytes(self) -> int:
        """Size of the inputs' files."""
        return sum(table.meta.size for table in self.inputs)


class Cancel:
    """Stops a running compaction from another thread; once set it stays set."""

    __slots__ = ("_lock", "_running", "_set")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: Any = None
        self._set = False

    def set(self) -> None:
        """Make the compaction that has this, now or later, end with CancelledError soon."""
        with self._lock:
            self._set = True
            if self._running is not None:
                lib.oor_compaction_cancel(self._running)

    def is_set(self) -> bool:
        """Whether `set` was called."""
        return self._set

    def attach(self, raw: Any) -> None:
        """Tie to the C object that does the work; None unties."""
        with self._lock:
            self._running = raw
            if raw is not None and self._set:
                lib.oor_compaction_cancel(raw)
