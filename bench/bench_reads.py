"""Reads of a large store with a small cache, and reads beside a writer.

    python -m bench.bench_reads [--records N] [--rounds N] [--compression CODEC] [--dir DIR]

- `get, cache of a tenth`: random gets, one by one, in a settled store whose cache holds a tenth of
  the data; RocksDB beside it with the same cache, in interleaved rounds. Processor time, which a
  busy machine stretches less; what misses the cache is read from the system's.
- `get while writing`: the same, while another thread writes batches at full rate.
- `two readers`: two threads look keys up in bulk, where the interpreter's lock is free, alone and
  beside a thread that writes at full rate. A rate is keys per second of the readers' own processor
  time, so that it says what the writer costs them inside the engine and not how the system divides
  its cores; the wall clock's rate stands beside it.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import oor
from bench.workloads import VALUE_BYTES, key_of

BULK = 1000
GETS = 5000
SECONDS = 1.0


def value_of(number: int) -> bytes:
    """138 bytes, another for each number, that do not compress to nothing."""
    return (b"%046d" % (number * 2_654_435_761)) * 3


def fill(write: Callable[[Any], object], records: int) -> None:
    """Every even number, in batches."""
    for first in range(0, records, BULK):
        last = min(first + BULK, records)
        write([(key_of(2 * number), value_of(number)) for number in range(first, last)])


def open_oor(path: str, records: int, cache_bytes: int, compression: str) -> oor.DB:
    """A settled store, opened anew."""
    with oor.open(path, durability="os", compression=compression) as db:
        fill(db.write, records)
        db.compact()
    return oor.open(path, durability="os", cache_bytes=cache_bytes, compression=compression)


def open_rocksdb(path: str, records: int, cache_bytes: int) -> Any:
    """The same of RocksDB; None where it is not installed."""
    try:
        import rocksdict
    except ImportError:
        return None
    options = rocksdict.Options(raw_mode=True)
    blocks = rocksdict.BlockBasedOptions()
    blocks.set_block_cache(rocksdict.Cache(cache_bytes))
    blocks.set_bloom_filter(10, False)
    blocks.set_cache_index_and_filter_blocks(True)
    options.set_block_based_table_factory(blocks)
    db = rocksdict.Rdict(path, options)

    def write(pairs: Any) -> None:
        batch = rocksdict.WriteBatch(raw_mode=True)
        for key, value in pairs:
            batch.put(key, value)
        db.write(batch)

    fill(write, records)
    db.flush()
    db.compact_range(None, None)
    return db


def time_of(get: Callable[[bytes], object], records: int, chance: random.Random) -> float:
    """Microseconds of processor time a get of a random key takes."""
    keys = [key_of(2 * chance.randrange(records)) for _ in range(GETS)]
    began = time.thread_time()
    for key in keys:
        get(key)
    return (time.thread_time() - began) / GETS * 1e6


@contextmanager
def writing(db: Any, records: int) -> Any:
    """A thread that writes batches of 100 over what is there, at full rate."""
    stop = threading.Event()

    def write() -> None:
        chance = random.Random(1)
        while not stop.is_set():
            first = chance.randrange(records)
            db.write({key_of(2 * ((first + i * 977) % records)): b"w" * VALUE_BYTES
                      for i in range(100)})  # fmt: skip

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def rates_of_two(db: oor.DB, records: int, seconds: float) -> tuple[float, float]:
    """Keys per second of the readers' processor time, and per second of the clock."""
    done: list[tuple[int, float]] = []
    began = time.perf_counter()

    def read(seed: int) -> None:
        chance = random.Random(seed)
        sets = [[key_of(2 * chance.randrange(records)) for _ in range(BULK)] for _ in range(20)]
        count, since, spent = 0, time.perf_counter(), time.thread_time()
        while time.perf_counter() - since < seconds:
            db.get_many(sets[count // BULK % len(sets)])
            count += BULK
        done.append((count, time.thread_time() - spent))

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keys = sum(count for count, _ in done)
    return keys / sum(spent for _, spent in done), keys / (time.perf_counter() - began)


def main() -> None:
    """Measure and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=3_000_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--compression", default="zstd", help="of oor; RocksDB has Snappy")
    parser.add_argument("--dir", help="where the stores are made")
    asked = parser.parse_args()
    cache_bytes = asked.records * (VALUE_BYTES + 9) // 10
    chance = random.Random(7)
    gets: dict[str, list[float]] = {"oor": [], "RocksDB": [], "oor, writing": []}
    rates: dict[str, list[float]] = {"alone": [], "beside": [], "clock": [], "clock beside": []}
    with (
        tempfile.TemporaryDirectory(prefix=".bench-", dir=asked.dir) as folder,
        open_oor(f"{folder}/oor", asked.records, cache_bytes, asked.compression) as db,
    ):
        other = open_rocksdb(f"{folder}/rocksdb", asked.records, cache_bytes)
        for _ in range(asked.rounds + 1):
            gets["oor"].append(time_of(db.get, asked.records, chance))
            if other is not None:
                gets["RocksDB"].append(time_of(other.get, asked.records, chance))
        for _ in range(max(3, asked.rounds // 3)):
            alone, clock = rates_of_two(db, asked.records, SECONDS)
            with writing(db, asked.records):
                gets["oor, writing"].append(time_of(db.get, asked.records, chance))
                beside, clock_beside = rates_of_two(db, asked.records, SECONDS)
            for name, rate in zip(rates, (alone, beside, clock, clock_beside), strict=True):
                rates[name].append(rate)
        if other is not None:
            other.close()
    print(f"{asked.records:,} records, a cache of {cache_bytes >> 20} MiB; medians")
    for name, times in gets.items():
        if times:
            print(f"get, {name:14} {statistics.median(times[1:] or times):6.2f} us")
    if gets["RocksDB"]:
        each = [b / a for a, b in zip(gets["oor"][1:], gets["RocksDB"][1:], strict=True)]
        print(f"get: {statistics.median(each):.2f} times RocksDB")
    kept, kept_by_clock = (
        statistics.median([b / a for a, b in zip(rates[x], rates[y], strict=True)])
        for x, y in (("alone", "beside"), ("clock", "clock beside"))
    )
    print(
        f"two readers: {statistics.median(rates['alone']):,.0f} keys/s of their own time; beside "
        f"a writer they keep {kept:.0%} of it, {kept_by_clock:.0%} by the clock"
    )


if __name__ == "__main__":
    main()
