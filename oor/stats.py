"""What a store holds and has done, as numbers."""

from __future__ import annotations

from dataclasses import dataclass

from oor.background import Background
from oor.codec import in_force
from oor.commit import Commit
from oor.log import LogState
from oor.native import ffi, lib
from oor.state import State
from oor.table import CacheStats


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
    compactions: int
    compaction_bytes: int
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
        cache=state.cache.stats(),
        flushes=background.flushes,
        compactions=background.compactions,
        compaction_bytes=background.compaction_bytes,
        checkpoints=background.checkpoints,
        stalls=commit.pressure.stalls,
        stall_seconds=commit.pressure.stall_seconds + log.stall_us / 1e6,
        crc32c=ffi.string(lib.oor_crc32c_name()).decode("ascii"),
        sync_method="O_DIRECT|O_DSYNC" if log.direct else "pwrite+fdatasync",
        compression=in_force(state.options),
    )
