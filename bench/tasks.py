"""python -m bench.tasks: durable puts by 1,000 asyncio tasks, beside what other stores do with 16
threads.

The rounds of all stores are interleaved; the figures are medians, in microseconds a put.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import oor.aio
from bench.stores import Store, installed

TASKS, PUTS_A_TASK = 1000, 20
THREADS, PUTS_A_THREAD = 16, 50
VALUE = b"v" * 138


def main() -> int:
    """Measure and print a line a store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", help="where the stores are made: the disk that is measured")
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=asked.dir) as directory:
        rounds = asyncio.run(_measure(directory, asked.rounds))
    ours = statistics.median(rounds["oor, 1,000 tasks"])
    for who, times in sorted(rounds.items(), key=lambda item: statistics.median(item[1])):
        found = statistics.median(times)
        print(f"{who:24} {found:8.1f} us  {1e6 / found:10,.0f} puts/s  {found / ours:6.1f} x")
    return 0


async def _measure(directory: str, rounds: int) -> dict[str, list[float]]:
    stores = {
        f"{kind.name}, {THREADS} threads": kind(os.path.join(directory, kind.name), True)
        for kind in installed()
    }
    found: dict[str, list[float]] = {"oor, 1,000 tasks": [], **{who: [] for who in stores}}
    pool = ThreadPoolExecutor(THREADS)
    async with oor.aio.open(os.path.join(directory, "tasks")) as db:
        for number in range(rounds):
            found["oor, 1,000 tasks"].append(await _by_tasks(db, number))
            for who, store in stores.items():
                found[who].append(_by_threads(store, pool, number))
    for store in stores.values():
        store.close()
    pool.shutdown()
    return found


async def _by_tasks(db: oor.aio.AsyncDB, number: int) -> float:
    async def task(name: int) -> None:
        for n in range(PUTS_A_TASK):
            await db.put(b"%03d%04d%02d" % (number, name, n), VALUE)

    began = time.perf_counter()
    await asyncio.gather(*(task(name) for name in range(TASKS)))
    return (time.perf_counter() - began) / (TASKS * PUTS_A_TASK) * 1e6


def _by_threads(store: Store, pool: ThreadPoolExecutor, number: int) -> float:
    def work(name: int) -> None:
        for n in range(PUTS_A_THREAD):
            store.put(b"%03d%04d%02d" % (number, name, n), VALUE)

    began = time.perf_counter()
    list(pool.map(work, range(THREADS)))
    return (time.perf_counter() - began) / (THREADS * PUTS_A_THREAD) * 1e6


if __name__ == "__main__":
    sys.exit(main())
