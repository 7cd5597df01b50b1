"""What a store holds and has done, as numbers."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from operator import itemgetter

from oor.background import Background
from oor.codec import in_force
from oor.commit import Commit
from oor.compaction import Progress
from oor.compactor import Compactor
from oor.log import LogState
from oor.native import ffi, lib
from oor.state import State
from oor.table import CacheStats
from oor.version import Version


@dataclass(frozen=True, slots=True)
class LevelStats:
    """One level of tables; bytes of their files."""

    tables: int
    bytes: int
    entries: int
    tombstones: int


@dataclass(frozen=True, slots=True)
class LossWindow:
    """The most that was ever logged and not yet durable: what a power loss could have taken."""

    seconds: float
    bytes: int
    records: int


@dataclass(frozen=True, slots=True)
class Amplification:
    """What the strategy of compaction costs, as measured since the store was opened.

    Write: bytes written to tables for each byte of keys and values that was given and flushed.
    Space: bytes of tables for each byte that is live, by estimate: tables that no deeper one
    overlaps count as live, all others as not (so new keys count as dead until they are merged).
    Read: tables in which a lookup read a block, on average over lookups that came as far as tables;
    `read_max` is what the worst one would meet.
    """

    write: float
    """0 before the first flush."""
    space: float
    """1 for a store without tables."""
    read: float
    """0 before the first lookup."""
    read_max: int
    """Runs: tables of level 0, and deeper levels that have tables."""
    user_bytes: int
    """Keys and values that were given, as far as they are flushed."""
    flush_bytes: int
    """Size of the tables that flushes wrote."""
    compaction_bytes_read: int
    compaction_bytes_written: int
    table_bytes: int
    live_bytes: int


@dataclass(frozen=True, slots=True)
class Stats:
    """A picture of an open store. Sizes are bytes, times seconds."""

    last_lsn: int
    durable_lsn: int
    flushed_lsn: int
    memtable_entries: int
    memtable_bytes: int
    immutables: int
    levels: tuple[LevelStats, ...]
    log: LogState
    loss_window: LossWindow
    cache: CacheStats
    flushes: int
    compaction: str
    """The strategy."""
    compactions: int
    """Jobs that are done."""
    compactions_running: tuple[Progress, ...]
    compaction_paused: bool
    tables_dropped: int
    """By "fifo", with all that they held."""
    amplification: Amplification
    checkpoints: int
    stalls: int
    stall_seconds: float
    crc32c: str
    """The checksum implementation in force."""
    sync_method: str
    """How the log reaches the device here."""
    compression: str
    """What new tables are packed with, and why not with what the options ask for."""


def read_stats(state: State, commit: Commit, background: Background) -> Stats:
    """Gather them; cheap, but not one instant: each room is asked in turn."""
    with state.lock:
        commit.allow()
        view = state.view
    log = state.log.state()
    cache = state.cache.stats()
    compactor = background.compactor
    return Stats(
        last_lsn=commit.last_lsn,
        durable_lsn=log.durable_lsn,
        flushed_lsn=state.flushed_lsn,
        memtable_entries=len(view.active.data),
        memtable_bytes=view.active.size,
        immutables=len(view.immutables),
        levels=tuple(
            LevelStats(
                len(level),
                sum(table.meta.size for table in level),
                sum(table.meta.entries for table in level),
                sum(table.meta.tombstones for table in level),
            )
            for level in view.version.levels
        ),
        log=log,
        loss_window=LossWindow(log.window_us_max / 1e6, log.window_bytes_max, log.window_lsns_max),
        cache=cache,
        flushes=state.flushes,
        compaction=compactor.strategy.name,
        compactions=compactor.jobs,
        compactions_running=compactor.progress(),
        compaction_paused=compactor.pace.paused,
        tables_dropped=compactor.tables_dropped,
        amplification=read_amplification(state, compactor, cache),
        checkpoints=background.checkpoints,
        stalls=commit.pressure.stalls,
        stall_seconds=commit.pressure.stall_seconds + log.stall_us / 1e6,
        crc32c=ffi.string(lib.oor_crc32c_name()).decode("ascii"),
        sync_method="O_DIRECT|O_DSYNC" if log.direct else "pwrite+fdatasync",
        compression=in_force(state.options),
    )


def read_amplification(state: State, compactor: Compactor, cache: CacheStats) -> Amplification:
    """Measure it; cost: a look at every table's range."""
    version = state.view.version
    live = live_bytes(version)
    tables = sum(table.meta.size for table in version.tables())
    written = state.flush_bytes + compactor.bytes_written
    return Amplification(
        write=written / state.flushed_payload if state.flushed_payload else 0.0,
        space=tables / live if live else 1.0,
        read=cache.tables_touched / cache.lookups if cache.lookups else 0.0,
        read_max=version.table_count(0) + sum(map(bool, version.levels[1:])),
        user_bytes=state.flushed_payload,
        flush_bytes=state.flush_bytes,
        compaction_bytes_read=compactor.bytes_read,
        compaction_bytes_written=compactor.bytes_written,
        table_bytes=tables,
        live_bytes=live,
    )


def live_bytes(version: Version) -> int:
    """Bytes of the tables that overlap no deeper or older one: what would be left if everything
    newer only overwrote what is there. O(tables log tables).
    """
    covered: list[tuple[bytes, bytes]] = []
    live = 0
    older_first = [[table] for table in reversed(version.levels[0])] if version.levels else []
    for run in [*reversed(version.levels[1:]), *older_first]:
        apart = [
            (table.meta.smallest, table.meta.largest, table.meta.size)
            for table in run
            if not _meets(covered, table.meta.smallest, table.meta.largest)
        ]
        live += sum(size for _, _, size in apart)
        covered = sorted([*covered, *((smallest, largest) for smallest, largest, _ in apart)])
    return live


def _meets(ranges: list[tuple[bytes, bytes]], smallest: bytes, largest: bytes) -> bool:
    """Whether [smallest, largest] meets one of some disjoint ranges in order."""
    at = bisect_right(ranges, largest, key=itemgetter(0))
    return at > 0 and ranges[at - 1][1] >= smallest
