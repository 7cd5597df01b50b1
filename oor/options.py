"""How a store behaves, fixed when it is opened."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from oor.errors import LimitError

STRATEGIES = ("leveled", "tiered", "fifo")
CODECS = ("none", "zstd", "lz4")
KIB = 1024
MIB = 1024 * KIB


class Durability(enum.StrEnum):
    """When a write is acknowledged. Any of them survives the death of the process.

    `sync`: on stable storage; writers that arrive meanwhile share the next sync.
    `interval`: logged; a power loss takes at most the last `sync_interval` and one sync.
    `os`: logged; a power loss takes what the kernel had not written.
    """

    SYNC = "sync"
    INTERVAL = "interval"
    OS = "os"


@dataclass(frozen=True, slots=True)
class Options:
    """The settings of an open store. Sizes are bytes, times are seconds."""

    durability: Durability = Durability.SYNC
    """The mode of a write that does not name one."""
    sync_interval: float = 0.05
    """`interval`: the longest that a logged write waits for the sync that makes it durable."""
    commit_delay: float = 0.0
    """How long the writer that leads a sync waits for others to share it. 0: only for those whom
    the last sync served, and no longer than two syncs take."""
    max_unsynced_bytes: int = 0
    """Log that may be logged and not durable at any time, whatever the mode: writers wait for a
    sync before there is more, and a batch that is larger is durable when its write returns. 0: no
    bound but time."""
    max_unsynced_records: int = 0
    """The same, counted in mutations."""
    memtable_bytes: int = 64 * MIB
    """Keys and values that a memtable takes before it is flushed to a table."""
    max_immutables: int = 4
    """Memtables that may wait for their flush before writers do."""
    segment_bytes: int = 16 * MIB
    """Size of a log segment. The first one after an open has 1 MiB, each next one twice as much up
    to this, so that it is made before the one before it is full."""
    tail_bytes: int = 2 * MIB
    """Size of each half of the shared tail of the log."""
    spare_segments: int = 4
    """Freed segments that are kept for reuse."""
    max_log_bytes: int = 256 * MIB
    """Log that is kept. A memtable is flushed, however small it is, before the log is longer, and
    the files of segments, those made ahead and kept for reuse among them, never take more than this
    and two segments: writers wait before they do. A larger batch is logged once all before it is
    flushed; opening a store adds one segment for a moment. Not enforced without `background`."""
    manifest_bytes: int = MIB
    """A manifest that is longer is written anew with the next edit: one line, all live tables."""
    checkpoint_interval: float = 60.0
    """The longest time between two checkpoints of a store that is written to."""
    wal_block_padding: bool = False
    """Never write a 4 KiB block of the log twice, for devices that tear inside 512 bytes."""
    direct_io: bool = True
    """Write the log past the page cache where the file system allows it."""
    cache_bytes: int = 64 * MIB
    """Memory for table blocks, filters and indexes."""
    block_bytes: int = 4 * KIB
    """Size of a table's data block before it is closed."""
    restart_interval: int = 8
    """Entries of a block from one whole key to the next."""
    filter_bits: int = 10
    """Bits of a table's filter for each key; 0 makes no filter."""
    prefix_filter_bytes: int = 0
    """Take in the first so many bytes of keys with the filter too, so that a scan of keys which all
    begin with the same so many bytes skips tables that have none; 0: not. For stores whose keys
    begin with a number that scans ask for."""
    table_bytes: int = 32 * MIB
    """Size at which a compaction begins another output table; or three times as much before blocks
    were packed."""
    compression: str | tuple[str, ...] = "zstd"
    """How blocks of tables are packed: "zstd", "lz4" or "none", in level 1 and below; tables of
    level 0, which live shortly, are not. A tuple names the codec of each level from 0 on, the last
    that of all deeper ones. Where a codec's library is not on the machine, tables are written as
    they are; `Stats.compression` says so."""
    compression_level: int = 1
    """How hard zstd tries, 1 to 19; at 1 it is told to be faster than its own level 1."""
    l0_trigger: int = 4
    """Tables in level 0 that start a compaction."""
    l0_slowdown: int = 28
    """Tables in level 0 from which writers are slowed down, the more the nearer `l0_stop` is."""
    l0_stop: int = 36
    """Tables in level 0 at which writers wait."""
    l0_share: float = 1.0
    """"leveled": level 0 goes into the first level under it once it holds this share of what that
    holds; before, its tables are merged with each other. More costs space and saves writes: such a
    merge writes about 1 + 1 / l0_share bytes for each byte of level 0."""
    level_base_bytes: int = 256 * MIB
    """"leveled": about the size of the first level under level 0. The last level is as large as the
    data, each above it `level_ratio` times smaller, and there are as many as it takes until one is
    below half of `level_ratio` times this. Best is about what `l0_trigger` flushes write."""
    level_ratio: int = 10
    """Growth from one level to the next."""
    compaction: str = "leveled"
    """The strategy, which may be another at each opening: "leveled" for reads and space, "tiered"
    for bursts of writes, "fifo" for streams that only keep the newest. docs/compaction.md compares
    them."""
    compaction_rate: int = 0
    """Bytes a second that a compaction merges at the most, unless writers are about to wait for
    it; 0: no limit. Below that it gives way to bursts of writes by itself."""
    tombstone_share: float = 0.5
    """A table with a larger share of tombstones is compacted though its level is not over its
    target; 1 never asks for that. Not for "fifo"."""
    tiered_runs: int = 8
    """"tiered": runs that start a merge."""
    tiered_ratio: float = 1.5
    """"tiered": an older run is merged with newer ones if it is no more than so many times as large
    as those together."""
    tiered_space: float = 1.0
    """"tiered": all runs are merged when those newer than the oldest are so many times as large."""
    fifo_max_bytes: int = 0
    """"fifo": the oldest tables go when all together are larger; 0: no limit."""
    fifo_max_age: float = 0.0
    """"fifo": tables go that were written so many seconds before the newest; 0: no limit."""
    on_stall: Callable[[str, float], object] | None = None
    """Told why and for how many seconds a writer had to wait: for a "flush", a "compaction", or the
    "log", whose next sync or segment was not there or had to wait for `max_log_bytes`. It is
    called by that writer's own thread, which holds no lock of the store and has not waited for its
    sync yet."""
    recovery: str = "strict"
    """`strict` refuses a damaged log; `salvage` keeps what verifies and reports what is missing."""
    pin_sites: bool = False
    """Note for each snapshot and scan which line made it, for `DB.pins`; some us each."""
    create: bool = True
    """Make the store if it is not there."""
    background: bool = True
    """Flush, compact and checkpoint by itself. Off, only the calls of that name do (for tests)."""
    log_threads: bool = True
    """Let threads of the log make segments ahead and sync by time. Off, whoever needs a segment
    makes it and nothing is synced by time, so that the same calls give the same operations on the
    disk (for the crash explorer)."""

    @classmethod
    def of(cls, **given: Any) -> Options:
        """Options from keyword arguments; LimitError for an unknown name or a value out of
        bounds.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(given) - known)
        if unknown:
            raise LimitError(
                f"unknown option {', '.join(unknown)}; known are {', '.join(sorted(known))}"
            )
        if "durability" in given:
            given["durability"] = durability_of(given["durability"])
        options = cls(**given)
        options._check()
        return options

    def _check(self) -> None:
        if self.compaction not in STRATEGIES:
            known = ", ".join(f'"{name}"' for name in STRATEGIES)
            raise LimitError(f"compaction is one of {known}, not {self.compaction!r}")
        if self.recovery not in ("strict", "salvage"):
            raise LimitError(f'recovery is "strict" or "salvage", not {self.recovery!r}')
        bounds: dict[str, tuple[float, float]] = {
            "sync_interval": (0.001, 3600.0),
            "commit_delay": (0.0, 1.0),
            "max_unsynced_bytes": (0, 1 << 40),
            "max_unsynced_records": (0, 1 << 40),
            "memtable_bytes": (1, 1 << 40),
            "max_immutables": (1, 1000),
            "segment_bytes": (32 * KIB, 1 << 30),
            "tail_bytes": (16 * KIB, 1 << 28),
            "spare_segments": (0, 1000),
            "max_log_bytes": (1, 1 << 50),
            "manifest_bytes": (0, 1 << 40),
            "checkpoint_interval": (0.01, 1e9),
            "cache_bytes": (0, 1 << 50),
            "block_bytes": (256, 64 * KIB),
            "restart_interval": (1, 1024),
            "filter_bits": (0, 64),
            "prefix_filter_bytes": (0, 255),
            "table_bytes": (1, 1 << 40),
            "compression_level": (1, 19),
            "l0_trigger": (1, 1000),
            "l0_share": (0.0, 10.0),
            "level_base_bytes": (1, 1 << 50),
            "level_ratio": (2, 1000),
            "compaction_rate": (0, 1 << 50),
            "tombstone_share": (0.0, 1.0),
            "tiered_runs": (2, 1000),
            "tiered_ratio": (1.0, 1000.0),
            "tiered_space": (0.1, 1000.0),
            "fifo_max_bytes": (0, 1 << 60),
            "fifo_max_age": (0.0, 1e12),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise LimitError(f"{name} is {value}, allowed are {low} to {high}")
        asked = self.compression
        named = (asked,) if isinstance(asked, str) else asked
        if not isinstance(named, tuple) or not named or not set(named) <= set(CODECS):
            raise LimitError(f"compression is {', '.join(CODECS)} or a tuple of them, not {asked}")
        if not self.l0_trigger <= self.l0_slowdown <= self.l0_stop:
            raise LimitError("l0_trigger, l0_slowdown and l0_stop must not fall")
        if self.on_stall is not None and not callable(self.on_stall):
            raise LimitError(f"on_stall is a callable or None, not {self.on_stall!r}")

    def codec_of(self, level: int) -> str:
        """The name of the codec that tables of a level ask for."""
        if isinstance(self.compression, str):
            return self.compression if level > 0 else "none"
        return self.compression[min(level, len(self.compression) - 1)]


def durability_of(value: str | Durability) -> Durability:
    """The mode of that name; LimitError names the three there are."""
    try:
        return Durability(value)
    except ValueError:
        raise LimitError(f'durability is "sync", "interval" or "os", not {value!r}') from None
