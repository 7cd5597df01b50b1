"""The stores of `bench.longlife`, each with the options that give it the same memory, and each
written to the fastest way it has for a batch that a host has in hand as pairs.
"""

from __future__ import annotations

import re
import time
from array import array
from collections.abc import Callable
from itertools import starmap
from typing import Any

import oor

MIB = 1 << 20
MEMTABLE_BYTES = 16 * MIB
CACHE_BYTES = 64 * MIB
TABLE_BYTES = 8 * MIB
BASE_BYTES = 64 * MIB
MAX_LOG_BYTES = 64 * MIB
SEGMENT_BYTES = 8 * MIB
OPTIONS: dict[str, Any] = {
    "durability": "os",
    "memtable_bytes": MEMTABLE_BYTES,
    "cache_bytes": CACHE_BYTES,
    "table_bytes": TABLE_BYTES,
    "max_immutables": 3,
    "level_base_bytes": BASE_BYTES,
    "compression": ("zstd",),
    "max_log_bytes": MAX_LOG_BYTES,
    "segment_bytes": SEGMENT_BYTES,
    "checkpoint_interval": 60.0,
}
IDLE_LOOKS = 4
"""How often in a row a store must be seen idle, 50 ms apart: a flush makes a compaction due."""

Pair = tuple[bytes, bytes]


def write_columns(db: oor.DB, pairs: list[Pair]) -> None:
    """Pairs joined to columns, and those written."""
    # Not zip(*pairs): that makes an iterator of each pair, and so the collector run.
    keys, values = [key for key, _ in pairs], [value for _, value in pairs]
    db.write_columns(
        b"".join(keys), array("I", map(len, keys)), b"".join(values), array("I", map(len, values))
    )


def wait_idle(is_idle: Callable[[], bool]) -> None:
    """Return when nothing has been flushed or compacted for a while."""
    seen = 0
    while seen < IDLE_LOOKS:
        seen = seen + 1 if is_idle() else 0
        time.sleep(0.05)


class Oor:
    """oor, leveled, written to in columns."""

    name = "oor"

    def __init__(self, path: str) -> None:
        self.path = path
        self._waited = {"flush": 0.0, "compaction": 0.0, "log": 0.0}
        self._db = oor.open(path, **OPTIONS, on_stall=self._note_wait)
        self.get: Callable[[bytes], bytes | None] = self._db.get

    def write(self, pairs: list[Pair]) -> None:
        """One batch."""
        write_columns(self._db, pairs)

    def is_idle(self) -> bool:
        """Whether no flush or compaction runs."""
        stats = self._db.stats()
        return stats.immutables == 0 and not stats.compactions_running

    def written(self) -> int:
        """Bytes that flushes and compactions have written to tables."""
        seen = self._db.stats().amplification
        return seen.flush_bytes + seen.compaction_bytes_written

    def settle(self) -> None:
        """Everything into its place."""
        self._db.compact()

    def note(self) -> str:
        """What else there is to say."""
        stats = self._db.stats()
        return (
            " ".join(f"{reason} {seconds:.2f} s," for reason, seconds in self._waited.items())
            + f" {stats.flushes} flushes, {stats.compactions} jobs, "
            f"log {stats.log.disk_bytes_max / MIB:.0f} MiB"
        )

    def _note_wait(self, reason: str, seconds: float) -> None:
        self._waited[reason] += seconds

    def close(self) -> None:
        """Let go of the files."""
        self._db.close()


class OorPairs(Oor):
    """The same, written to in pairs: `DB.write` of a list."""

    name = "oor, pairs"

    def write(self, pairs: list[Pair]) -> None:
        """One batch."""
        self._db.write(pairs)


RUNNING = (
    "num-immutable-mem-table", "mem-table-flush-pending", "num-running-flushes",
    "compaction-pending", "num-running-compactions",
)  # fmt: skip


class RocksDB:
    """RocksDB through rocksdict, leveled, zstd in all levels."""

    name = "RocksDB"

    def __init__(self, path: str) -> None:
        import rocksdict as rocks

        self.path = path
        options = rocks.Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_write_buffer_size(MEMTABLE_BYTES)
        options.set_max_write_buffer_number(4)
        options.set_target_file_size_base(TABLE_BYTES)
        options.set_max_bytes_for_level_base(BASE_BYTES)
        options.set_level_compaction_dynamic_level_bytes(True)
        options.set_max_background_jobs(2)
        options.set_compression_type(rocks.DBCompressionType.zstd())
        options.enable_statistics()
        table = rocks.BlockBasedOptions()
        table.set_block_cache(rocks.Cache(CACHE_BYTES))
        table.set_bloom_filter(10, False)
        options.set_block_based_table_factory(table)
        self._rocks, self._options = rocks, options
        self._db = rocks.Rdict(path, options=options)
        self.get: Callable[[bytes], bytes | None] = self._db.get

    def write(self, pairs: list[Pair]) -> None:
        """One batch."""
        batch = self._rocks.WriteBatch(raw_mode=True)
        for _ in starmap(batch.put, pairs):
            pass
        self._db.write(batch)

    def is_idle(self) -> bool:
        """See `Oor.is_idle`."""
        ask = self._db.property_int_value
        return not any(ask(f"rocksdb.{what}") for what in RUNNING)

    def written(self) -> int:
        """See `Oor.written`."""
        text = self._options.get_statistics()
        found = (
            re.search(rf"rocksdb\.{what}\.write\.bytes COUNT : (\d+)", text)
            for what in ("flush", "compact")
        )
        return sum(int(match[1]) for match in found if match)

    def settle(self) -> None:
        """Everything into its place."""
        self._db.flush()
        self._db.compact_range(None, None)

    def note(self) -> str:
        """What else there is to say."""
        match = re.search(r"rocksdb\.stall\.micros COUNT : (\d+)", self._options.get_statistics())
        return f"{int(match[1]) / 1e6 if match else 0.0:.2f} s of stalls"

    def close(self) -> None:
        """Let go of the files."""
        self._db.close()
