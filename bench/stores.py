"""The stores that are compared: the same few operations on each, in the way that is fastest for it.

Settings, the same for all where they have a counterpart:
- Memory: 64 MiB of block or page cache; RocksDB, LevelDB and oor take 64 MiB into a memtable before
  they flush. LMDB maps its file and is not limited.
- Log: on everywhere. LMDB has none: a commit writes the pages that changed.
- Durable: a write returns when it is on stable storage: oor `sync`, RocksDB and LevelDB sync=True,
  LMDB sync=True, SQLite synchronous=FULL.
- Logged: a write returns when it is logged and no sync is waited for: oor `interval` (which syncs
  every 50 ms behind the writer's back; the others leave it to the kernel), RocksDB and LevelDB
  sync=False, LMDB sync=False, SQLite synchronous=NORMAL. The death of the process loses nothing in
  any of them.
- Compression: as each comes: zstd in oor, Snappy in RocksDB and LevelDB, none in the others.
- Filters: 10 bits a key in oor, RocksDB and LevelDB.
- Keys and values are bytes: rocksdict in raw mode; a clustered BLOB table in SQLite, WAL mode.
- LMDB reads in one transaction that is renewed before a round and not for every get, which is half
  as dear again; the other stores answer each get with the newest state.
"""

from __future__ import annotations

import importlib.util
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, ClassVar

import oor
from oor.native import Columns

MIB = 1 << 20
CACHE_BYTES = 64 * MIB
MEMTABLE_BYTES = 64 * MIB
FILTER_BITS = 10
MAP_BYTES = 2048 * MIB

Pair = tuple[bytes, bytes]


class Store:
    """One open store. `put` and `get` are the store's own functions where they have this shape."""

    name: ClassVar[str]
    module: ClassVar[str]
    replays: ClassVar[bool] = True
    """Whether opening it after a crash replays a log."""
    merges: ClassVar[bool] = True
    """Whether it has tables that a compaction merges."""
    data_suffixes: ClassVar[tuple[str, ...]]
    """How the names of the files that hold settled records end."""

    put: Callable[[bytes, bytes], object]
    get: Callable[[bytes], bytes | None]

    def __init__(self, path: str, durable: bool) -> None:
        raise NotImplementedError

    def write(self, pairs: Sequence[Pair]) -> None:
        """Commit the pairs, all or none."""
        raise NotImplementedError

    def write_columns(self, columns: Columns) -> None:
        """Commit pairs that lie in contiguous memory; only where the store can."""
        raise NotImplementedError

    def get_many(self, keys: Sequence[bytes]) -> Sequence[Any]:
        """The values of the keys that are there, in the store's own shape."""
        get = self.get
        return [get(key) for key in keys]

    def scan(self, reverse: bool = False) -> Iterable[Pair]:
        """All pairs in key order."""
        raise NotImplementedError

    def scan_in_bulk(self) -> int:
        """All pairs in the fastest form that the store has; returns how many there were."""
        return sum(1 for _ in self.scan())

    def range(self, start: bytes, count: int) -> list[Pair]:
        """The first `count` pairs from `start` on."""
        raise NotImplementedError

    def renew(self) -> None:
        """Let reads see the newest state, where they would not by themselves."""

    def keep_log(self) -> None:
        """Leave what is written in the log, so that a crash leaves all of it to replay."""

    def flush(self) -> None:
        """Bring what is in memory into a table of its own; only where there are tables."""
        raise NotImplementedError

    def settle(self) -> None:
        """Bring everything into its final place: flush, compact."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the files."""
        raise NotImplementedError


class Oor(Store):
    """oor itself; default options."""

    name = "oor"
    module = "oor"
    data_suffixes = (".sst",)

    def __init__(self, path: str, durable: bool) -> None:
        self._db = oor.open(
            path,
            durability="sync" if durable else "interval",
            cache_bytes=CACHE_BYTES,
            memtable_bytes=MEMTABLE_BYTES,
            filter_bits=FILTER_BITS,
        )
        self.put = self._db.put
        self.get = self._db.get
        self.write = self._db.write  # type: ignore[method-assign, assignment]
        self.get_many = self._db.get_many  # type: ignore[method-assign]
        self.flush = self._db.flush  # type: ignore[method-assign]
        self.close = self._db.close  # type: ignore[method-assign]

    def write_columns(self, columns: Columns) -> None:
        self._db.write_columns(columns.keys, columns.key_sizes, columns.values, columns.value_sizes)

    def scan(self, reverse: bool = False) -> Iterable[Pair]:
        return self._db.scan(reverse=reverse)

    def scan_in_bulk(self) -> int:
        return sum(map(len, self._db.scan_columns()))

    def range(self, start: bytes, count: int) -> list[Pair]:
        return list(self._db.scan(start, limit=count))

    def settle(self) -> None:
        self._db.compact()
        self._db.checkpoint()


class RocksDB(Store):
    """RocksDB through rocksdict."""

    name = "RocksDB"
    module = "rocksdict"
    data_suffixes = (".sst",)

    def __init__(self, path: str, durable: bool) -> None:
        import rocksdict

        options = rocksdict.Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_write_buffer_size(MEMTABLE_BYTES)
        blocks = rocksdict.BlockBasedOptions()
        blocks.set_block_cache(rocksdict.Cache(CACHE_BYTES))
        blocks.set_bloom_filter(FILTER_BITS, False)
        options.set_block_based_table_factory(blocks)
        self._db = rocksdict.Rdict(path, options)
        writes = rocksdict.WriteOptions()
        writes.sync = durable
        self._db.set_write_options(writes)
        self._new_batch = rocksdict.WriteBatch
        self.put = self._db.put
        self.get = self._db.get
        self.get_many = self._db.get  # type: ignore[method-assign]
        self.close = self._db.close  # type: ignore[method-assign]

    def write(self, pairs: Sequence[Pair]) -> None:
        batch = self._new_batch(raw_mode=True)
        put = batch.put
        for key, value in pairs:
            put(key, value)
        self._db.write(batch)

    def scan(self, reverse: bool = False) -> Iterable[Pair]:
        return self._db.items(backwards=reverse)

    def range(self, start: bytes, count: int) -> list[Pair]:
        return list(islice(self._db.items(from_key=start), count))

    def flush(self) -> None:
        self._db.flush()

    def settle(self) -> None:
        self._db.flush()
        self._db.compact_range(None, None)


class LevelDB(Store):
    """LevelDB through plyvel."""

    name = "LevelDB"
    module = "plyvel"
    data_suffixes = (".ldb", ".sst")

    def __init__(self, path: str, durable: bool) -> None:
        import plyvel

        self._db = plyvel.DB(
            path,
            create_if_missing=True,
            write_buffer_size=MEMTABLE_BYTES,
            lru_cache_size=CACHE_BYTES,
            bloom_filter_bits=FILTER_BITS,
        )
        self._durable = durable
        self.put = self._put_durable if durable else self._db.put
        self.get = self._db.get
        self.close = self._db.close  # type: ignore[method-assign]

    def _put_durable(self, key: bytes, value: bytes) -> None:
        self._db.put(key, value, sync=True)

    def write(self, pairs: Sequence[Pair]) -> None:
        with self._db.write_batch(sync=self._durable) as batch:
            put = batch.put
            for key, value in pairs:
                put(key, value)

    def scan(self, reverse: bool = False) -> Iterable[Pair]:
        return self._db.iterator(reverse=reverse)  # type: ignore[no-any-return]

    def range(self, start: bytes, count: int) -> list[Pair]:
        return list(islice(self._db.iterator(start=start), count))

    def flush(self) -> None:
        # Compacting any range flushes the memtable first; this one holds nothing to merge.
        self._db.compact_range(start=b"\xff", stop=b"\xff")

    def settle(self) -> None:
        # Without bounds plyvel flushes and merges nothing.
        self._db.compact_range(start=b"\0", stop=b"\xff" * 16)


class LMDB(Store):
    """LMDB through py-lmdb. It has no log, so nothing is replayed."""

    name = "LMDB"
    module = "lmdb"
    replays = False
    merges = False
    data_suffixes = ("data.mdb",)

    def __init__(self, path: str, durable: bool) -> None:
        import lmdb

        self._env = lmdb.open(path, map_size=MAP_BYTES, sync=durable)
        self._reader = self._env.begin()
        self.get = self._reader.get

    def put(self, key: bytes, value: bytes) -> None:  # type: ignore[override]
        with self._env.begin(write=True) as transaction:
            transaction.put(key, value)

    def write(self, pairs: Sequence[Pair]) -> None:
        with self._env.begin(write=True) as transaction:
            transaction.cursor().putmulti(pairs)

    def scan(self, reverse: bool = False) -> Iterable[Pair]:
        cursor = self._reader.cursor()
        return cursor.iterprev() if reverse else cursor.iternext()  # type: ignore[no-any-return]

    def range(self, start: bytes, count: int) -> list[Pair]:
        cursor = self._reader.cursor()
        cursor.set_range(start)
        return list(islice(cursor.iternext(), count))

    def renew(self) -> None:
        self._reader.abort()
        self._reader = self._env.begin()
        self.get = self._reader.get

    def settle(self) -> None:
        self._env.sync(True)
        self.renew()

    def close(self) -> None:
        self._reader.abort()
        self._env.close()


class SQLite(Store):
    """SQLite through the standard library."""

    name = "SQLite"
    module = "sqlite3"
    merges = False
    data_suffixes = ("store.db",)

    def __init__(self, path: str, durable: bool) -> None:
        os.makedirs(path, exist_ok=True)
        self._db = sqlite3.connect(
            os.path.join(path, "store.db"), isolation_level=None, check_same_thread=False
        )
        self._run = self._db.execute
        self._run("PRAGMA journal_mode=WAL")
        self._run(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        self._run(f"PRAGMA cache_size=-{CACHE_BYTES // 1024}")
        self._run(
            "CREATE TABLE IF NOT EXISTS pairs (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID"
        )

    def keep_log(self) -> None:
        self._run("PRAGMA wal_autocheckpoint=0")

    def put(self, key: bytes, value: bytes) -> None:  # type: ignore[override]
        self._run("INSERT OR REPLACE INTO pairs VALUES (?, ?)", (key, value))

    def get(self, key: bytes) -> bytes | None:
        row = self._run("SELECT value FROM pairs WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def write(self, pairs: Sequence[Pair]) -> None:
        self._run("BEGIN")
        self._db.executemany("INSERT OR REPLACE INTO pairs VALUES (?, ?)", pairs)
        self._run("COMMIT")

    def get_many(self, keys: Sequence[bytes]) -> Sequence[Any]:
        marks = ",".join("?" * len(keys))
        return self._run(f"SELECT key, value FROM pairs WHERE key IN ({marks})", keys).fetchall()

    def scan(self, reverse: bool = False) -> Iterable[Pair]:
        order = " DESC" if reverse else ""
        rows: Iterator[Pair] = self._run(f"SELECT key, value FROM pairs ORDER BY key{order}")
        return rows

    def range(self, start: bytes, count: int) -> list[Pair]:
        return self._run(
            "SELECT key, value FROM pairs WHERE key >= ? ORDER BY key LIMIT ?", (start, count)
        ).fetchall()

    def settle(self) -> None:
        self._run("VACUUM")
        self._run("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        self._db.close()


ALL: tuple[type[Store], ...] = (Oor, RocksDB, LevelDB, LMDB, SQLite)


def installed() -> tuple[type[Store], ...]:
    """The stores whose modules are here."""
    return tuple(store for store in ALL if importlib.util.find_spec(store.module))
