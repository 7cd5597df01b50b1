"""Reads of a large store with a small cache, and reads beside a writer.

    python -m bench.bench_reads [--records N] [--rounds N] [--dir DIR]

- `get, cache of a tenth`: random gets, one by one, in settled stores whose cache holds a tenth of
  the data: oor and RocksDB, each with each codec, with the same cache, in interleaved rounds.
  Processor time, which a busy machine stretches less; what misses the cache is read from the
  system's. The bytes of tables a record stand beside it: a codec buys one with the other.
- `get while writing`: the same, while another thread writes batches at full rate.
- `two readers`: two threads look keys up in bulk, where the interpreter's lock is free, alone and
  beside a thread that writes at full rate. A rate is keys per second of the readers' own processor
  time, so that it says what the writer costs them inside the engine and not how the system divides
  its cores: three busy threads on two cores leave two readers two thirds of the clock, whatever the
  engine does. The wall clock's rate stands beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import oor
from bench.workloads import VALUE_BYTES, element_values, key_of

BULK = 1000
GETS = 5000
SECONDS = 1.0
VALUES = 200_000


def fill(write: Callable[[Any], object], records: int) -> None:
    """Every even number, in batches. A block holds what a catalogue in key order would: the values
    come again only after some thousand blocks, where no codec sees it.
    """
    values = element_values(min(records, VALUES))
    for first in range(0, records, BULK):
        last = min(first + BULK, records)
        write([(key_of(2 * n), values[n % len(values)]) for n in range(first, last)])


def open_oor(path: str, records: int, cache_bytes: int, codec: str) -> oor.DB:
    """A settled store, opened anew."""
    with oor.open(path, durability="os", compression=codec) as db:
        fill(db.write, records)
        db.compact()
    return oor.open(path, durability="os", cache_bytes=cache_bytes, compression=codec)


def open_rocksdb(path: str, records: int, cache_bytes: int, codec: str) -> Any:
    """The same of RocksDB."""
    import rocksdict

    options = rocksdict.Options(raw_mode=True)
    options.set_compression_type(getattr(rocksdict.DBCompressionType, codec)())
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


def open_all(folder: str, records: int, cache_bytes: int) -> dict[str, Any]:
    """Every store under its name; RocksDB's only where it is installed."""
    stores: dict[str, Any] = {
        f"oor {codec}": open_oor(f"{folder}/oor {codec}", records, cache_bytes, codec)
        for codec in ("zstd", "lz4")
    }
    if importlib.util.find_spec("rocksdict"):
        for codec in ("zstd", "snappy"):
            name = f"RocksDB {codec}"
            stores[name] = open_rocksdb(f"{folder}/{name}", records, cache_bytes, codec)
    return stores


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
    parser.add_argument("--dir", help="where the stores are made")
    asked = parser.parse_args()
    cache_bytes = asked.records * (VALUE_BYTES + 9) // 10
    chance = random.Random(7)
    rates: dict[str, list[float]] = {"alone": [], "beside": [], "clock": [], "clock beside": []}
    writing_gets: list[float] = []
    with (
        tempfile.TemporaryDirectory(prefix=".bench-", dir=asked.dir) as folder,
        contextlib.ExitStack() as stack,
    ):
        stores = open_all(folder, asked.records, cache_bytes)
        for store in stores.values():
            stack.callback(store.close)
        size = {
            name: sum(file.stat().st_size for file in Path(folder, name).glob("*.sst"))
            for name in stores
        }
        gets: dict[str, list[float]] = {name: [] for name in stores}
        for _ in range(asked.rounds + 1):
            for name in chance.sample(list(stores), len(stores)):
                gets[name].append(time_of(stores[name].get, asked.records, chance))
        db = stores["oor zstd"]
        for _ in range(max(3, asked.rounds // 3)):
            alone, clock = rates_of_two(db, asked.records, SECONDS)
            with writing(db, asked.records):
                writing_gets.append(time_of(db.get, asked.records, chance))
                beside, clock_beside = rates_of_two(db, asked.records, SECONDS)
            for name, rate in zip(rates, (alone, beside, clock, clock_beside), strict=True):
                rates[name].append(rate)
    print(f"{asked.records:,} records, a cache of {cache_bytes >> 20} MiB; medians")
    for name, times in gets.items():
        print(f"get, {name:15} {statistics.median(times[1:]):6.2f} us", end="")
        for other in (other for other in stores if not other.startswith(name.split()[0])):
            each = [b / a for a, b in zip(times[1:], gets[other][1:], strict=True)]
            print(f"  {statistics.median(each):5.2f} times {other}", end="")
        print(f"  {size[name] / asked.records:6.1f} bytes a record")
    print(f"get, oor zstd while writing {statistics.median(writing_gets):6.2f} us")
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
