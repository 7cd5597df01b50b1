"""What is timed, under the names that the field uses.

A workload opens one session a store. Before each round the session hands out the work of that
round, ready to run: what is timed is that call and nothing else. The records are those of
bench.records; mixes of reads and writes are in bench.ycsb, element sets in bench.elsets.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench import elsets, ycsb
from bench.records import RECORDS, VALUE_BYTES, Data, Session, Work, element_values, key_of
from bench.stores import MIB, Pair, Store
from oor.native import Columns

__all__ = ["ALL", "RECORDS", "VALUE_BYTES", "Data", "Session", "element_values", "key_of", "named"]

RECOVER_RECORDS = 100_000
QUICK_RECORDS = 40_000
THREADS = 16
LARGE_PAIRS = 16
RANGE_COUNT = 100
COMPACT_RECORDS = 30_000
COMPACT_TABLES = 3
"""Fewer than any store begins to merge by itself."""
LOAD_BATCH = 1000

Make = Callable[[Store, "Data", int, int], Work]
"""(store, data, number of the round, operations in it) to its work."""


class StoreSession(Session):
    """A session whose rounds all use one open store."""

    def __init__(self, store: Store, make: Make, data: Data, ops: int) -> None:
        self._store = store
        self._make = make
        self._data = data
        self._ops = ops

    def prepare(self, number: int) -> Work:
        self._store.renew()
        return self._make(self._store, self._data, number, self._ops)

    def close(self) -> None:
        self._store.close()


class RecoverSession(Session):
    """Opening, again and again, copies of what the death of a writing process left.

    The writer commits batches of 100, logged; opening has to give the last record.
    """

    def __init__(self, kind: type[Store], directory: str, records: int) -> None:
        self._kind = kind
        self._image = os.path.join(directory, "image")
        self._copy = os.path.join(directory, "copy")
        self._last = key_of(2 * (records - 1))
        self._store: Store | None = None
        done = subprocess.run(
            [sys.executable, "-m", "bench.crash", kind.name, self._image, str(records)],
            cwd=Path(__file__).parent.parent,
        )
        assert done.returncode < 0, "the writer ends by a signal"

    def prepare(self, number: int) -> Work:
        self.close()
        shutil.rmtree(self._copy, ignore_errors=True)
        shutil.copytree(self._image, self._copy)
        sync_files(self._copy)
        return self._open

    def _open(self) -> None:
        self._store = self._kind(self._copy, False)
        assert self._store.get(self._last) is not None

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
        self._store = None


class CompactSession(Session):
    """Merging, again and again, tables of the same range: a third of the records in each."""

    def __init__(self, kind: type[Store], directory: str, data: Data) -> None:
        self._kind = kind
        self._path = os.path.join(directory, "store")
        self._pairs = data.shuffled[:COMPACT_RECORDS]
        self._store: Store | None = None

    def prepare(self, number: int) -> Work:
        self.close()
        shutil.rmtree(self._path, ignore_errors=True)
        store = self._store = self._kind(self._path, False)
        for part in range(COMPACT_TABLES):
            pairs = self._pairs[part::COMPACT_TABLES]
            for at in range(0, len(pairs), LOAD_BATCH):
                store.write(pairs[at : at + LOAD_BATCH])
            store.flush()
        return store.settle

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
        self._store = None


@dataclass(frozen=True)
class Workload:
    """One thing that is timed: microseconds an operation, unless `unit` says otherwise."""

    name: str
    what: str
    ops: int
    make: Make | None
    durable: bool = False
    settled: bool = False
    unit: str = "us"
    scale: float = 1e6
    probe_bytes: int = 0
    """The size of the raw durable writes that stand beside it; 0: none."""
    only_log: bool = False
    """Only for stores that replay a log."""
    only_tables: bool = False
    """Only for stores that merge tables."""
    own: Callable[[type[Store], str, Data], Session] | None = None
    """The session of a workload whose rounds do not share one open store."""

    def operations(self, data: Data) -> int:
        """Operations of one round, by which its time is divided."""
        return len(data.pairs) if self.ops == 0 else self.ops

    def takes(self, kind: type[Store]) -> bool:
        """Whether it says anything about that store."""
        return (kind.replays or not self.only_log) and (kind.merges or not self.only_tables)

    def open(
        self, kind: type[Store], directory: str, data: Data, images: str | None = None
    ) -> Session:
        """A session in an empty directory of its own.

        `images` is a directory in which a settled store of each kind is kept, to be copied.
        """
        if self.own is not None:
            return self.own(kind, directory, data)
        assert self.make is not None
        path = os.path.join(directory, "store")
        if self.settled and images is not None:
            store = copied(kind, path, data, images)
        else:
            store = loaded(kind, path, data) if self.settled else kind(path, self.durable)
        if self.settled:
            # Rounds are of a store that has been read from: each cache holds what it has room for.
            for _ in store.scan():
                pass
        return StoreSession(store, self.make, data, self.operations(data))


def loaded(kind: type[Store], path: str, data: Data) -> Store:
    """A store with all records in their final place, just opened."""
    store = kind(path, False)
    for at in range(0, len(data.pairs), LOAD_BATCH):
        store.write(data.pairs[at : at + LOAD_BATCH])
    store.settle()
    store.close()
    return kind(path, False)


def copied(kind: type[Store], path: str, data: Data, images: str) -> Store:
    """The same, copied from what is kept in `images`; the first of each kind is made there."""
    image = os.path.join(images, kind.name)
    if not os.path.exists(image):
        os.makedirs(images, exist_ok=True)
        loaded(kind, image, data).close()
    shutil.copytree(image, path)
    sync_files(path)
    return kind(path, False)


def sync_files(directory: str) -> None:
    """Have the files of a directory on the device, so that no round pays for a copy."""
    for path in [*Path(directory).iterdir(), Path(directory)]:
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)


def _part(items: Sequence[Pair], number: int, count: int) -> Sequence[Pair]:
    """The part of `items` whose turn round `number` is, from the start again after the end."""
    start = number * count % (len(items) - count + 1)
    return items[start : start + count]


def _each(store: Store, pairs: Sequence[Pair]) -> Work:
    def work() -> None:
        put = store.put
        for key, value in pairs:
            put(key, value)

    return work


def _fill_in_order(store: Store, data: Data, number: int, ops: int) -> Work:
    return _each(store, _part(data.pairs, number, ops))


def _fill_random(store: Store, data: Data, number: int, ops: int) -> Work:
    return _each(store, _part(data.shuffled, number, ops))


def _overwrite(store: Store, data: Data, number: int, ops: int) -> Work:
    # The first eighth of the records again and again, each time with another's value.
    few = data.shuffled[: len(data.pairs) // 8]
    values = [value for _, value in data.pairs]
    keys = random.Random(number).choices(few, k=ops)
    return _each(store, [(key, values[i + number]) for i, (key, _) in enumerate(keys)])


def _fill_threads(store: Store, data: Data, number: int, ops: int) -> Work:
    pairs = _part(data.shuffled, number, ops)
    parts = [_each(store, pairs[i::THREADS]) for i in range(THREADS)]
    pool = _pool()
    return lambda: list(pool.map(lambda part: part(), parts))


def _pool() -> ThreadPoolExecutor:
    global _threads
    if _threads is None:
        _threads = ThreadPoolExecutor(THREADS)
    return _threads


_threads: ThreadPoolExecutor | None = None


def _batches(size: int) -> Make:
    def make(store: Store, data: Data, number: int, ops: int) -> Work:
        pairs = _part(data.shuffled, number, ops)
        parts = [pairs[at : at + size] for at in range(0, ops, size)]

        def work() -> None:
            write = store.write
            for part in parts:
                write(part)

        return work

    return make


def _large_batches(store: Store, data: Data, number: int, ops: int) -> Work:
    value = b"".join(value for _, value in data.pairs[:500])[: MIB // LARGE_PAIRS]
    batches = [
        [(key_of((number * ops + i) * LARGE_PAIRS + j), value) for j in range(LARGE_PAIRS)]
        for i in range(ops)
    ]

    def work() -> None:
        for batch in batches:
            store.write(batch)

    return work


def _columns(store: Store, data: Data, number: int, ops: int) -> Work:
    if type(store).write_columns is Store.write_columns:
        return _batches(1000)(store, data, number, ops)
    pairs = _part(data.shuffled, number, ops)
    parts = [
        Columns([key for key, _ in part], [value for _, value in part])
        for part in (pairs[at : at + 1000] for at in range(0, ops, 1000))
    ]

    def work() -> None:
        for part in parts:
            store.write_columns(part)

    return work


def _read(store: Store, keys: Sequence[bytes]) -> Work:
    def work() -> None:
        get = store.get
        for key in keys:
            get(key)

    return work


def _read_random(store: Store, data: Data, number: int, ops: int) -> Work:
    return _read(store, data.some_keys(ops))


def _read_missing(store: Store, data: Data, number: int, ops: int) -> Work:
    return _read(store, data.absent_keys(ops))


def _read_hot(store: Store, data: Data, number: int, ops: int) -> Work:
    fresh = _part(data.shuffled, number, ops // 4)
    store.write(fresh)
    store.renew()
    return _read(store, random.Random(number).choices([key for key, _ in fresh], k=ops))


def _multiget(store: Store, data: Data, number: int, ops: int) -> Work:
    parts = [data.some_keys(1000) for _ in range(ops // 1000)]

    def work() -> None:
        for part in parts:
            store.get_many(part)

    return work


def _scan(reverse: bool) -> Make:
    def make(store: Store, data: Data, number: int, ops: int) -> Work:
        def work() -> None:
            for _key, _value in store.scan(reverse):
                pass

        return work

    return make


def _scan_in_bulk(store: Store, data: Data, number: int, ops: int) -> Work:
    def work() -> None:
        assert store.scan_in_bulk() == len(data.keys)

    return work


def _ranges(store: Store, data: Data, number: int, ops: int) -> Work:
    starts = data.some_keys(ops)

    def work() -> None:
        for start in starts:
            store.range(start, RANGE_COUNT)

    return work


def _seek(store: Store, data: Data, number: int, ops: int) -> Work:
    starts = data.some_keys(ops // 2) + data.absent_keys(ops - ops // 2)
    random.Random(number).shuffle(starts)

    def work() -> None:
        for start in starts:
            store.range(start, 1)

    return work


def _recover(kind: type[Store], directory: str, data: Data) -> Session:
    return RecoverSession(kind, directory, RECOVER_RECORDS)


ALL: tuple[Workload, ...] = (
    Workload("fillsync", "put, durable, 1 thread", 200, _fill_random, durable=True,
             probe_bytes=4096),
    Workload("fillsync16", "put, durable, 16 threads", 800, _fill_threads, durable=True,
             probe_bytes=4096),
    Workload("fillbatch100", "record in a durable batch of 100", 2000, _batches(100), durable=True,
             probe_bytes=16384),
    Workload("logbandwidth", "durable batch of 1 MiB, 16 records", 4, _large_batches, durable=True,
             probe_bytes=MIB),
    Workload("fillseq", "put, logged, keys in order", 13_000, _fill_in_order),
    Workload("fillrandom", "put, logged, keys in no order", 13_000, _fill_random),
    Workload("overwrite", "put, logged, over older values", 13_000, _overwrite),
    Workload("fillbatch1000", "record in a logged batch of 1,000", 20_000, _batches(1000)),
    Workload("fillcolumns", "the same from contiguous columns", 20_000, _columns),
    Workload("readrandom", "get, settled", 20_000, _read_random, settled=True),
    Workload("readmissing", "get, absent key", 20_000, _read_missing, settled=True),
    Workload("readhot", "get, just written", 20_000, _read_hot, settled=True),
    Workload("multiget1000", "key of a get_many of 1,000", 20_000, _multiget, settled=True),
    Workload("readseq", "record of a full scan", 0, _scan(False), settled=True),
    Workload("readreverse", "record of a full scan, backwards", 0, _scan(True), settled=True),
    Workload("readcolumns", "the same as columns", 0, _scan_in_bulk, settled=True),
    Workload("range100", "100 records from a random key on", 400, _ranges, settled=True),
    Workload("seekrandom", "the first record from a random key on", 2000, _seek, settled=True),
    Workload("recover", "open with 100,000 records to replay", 1, None, unit="ms", scale=1e3,
             only_log=True, own=_recover),
    Workload("compact", "record of three tables merged into one", COMPACT_RECORDS, None,
             only_tables=True, own=CompactSession),
    *(
        Workload(f"ycsb{mix.name}", mix.what, mix.ops, mix.make, settled=True)
        for mix in ycsb.MIXES
    ),
    Workload("elsetingest", "element set of a TLE file, checked, indexed and logged",
             elsets.SETS, None, own=elsets.IngestSession),
    Workload("latestall", "object whose newest set is read, all objects", elsets.OBJECTS, None,
             own=elsets.LatestSession),
)  # fmt: skip


def named(pattern: str) -> tuple[Workload, ...]:
    """The workloads whose names contain `pattern`."""
    return tuple(workload for workload in ALL if pattern in workload.name)
