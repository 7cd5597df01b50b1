"""python -m bench.latency: how long single puts take while flushes, compactions and rotations run.

One thread puts records of 9 and 138 bytes in `interval` mode into a store with a small memtable and
times each put. The log's segments and the store's tables are made and freed meanwhile; how often is
printed beside the latencies. `nothing` is the same loop without the put, in the same rounds: what
the machine itself takes away from a program that asks for nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from array import array
from collections.abc import Callable

import oor

VALUE = bytes(range(138))


def main() -> int:
    """Measure and print a line for puts and one for nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", help="where the store is made: the disk that is measured")
    parser.add_argument("--puts", type=int, default=400_000)
    parser.add_argument("--memtable", type=int, default=8 << 20, help="bytes")
    parser.add_argument("--rounds", type=int, default=8)
    asked = parser.parse_args()
    count = asked.puts // asked.rounds
    puts, nothing = array("d"), array("d")
    with (
        tempfile.TemporaryDirectory(prefix=".bench-", dir=asked.dir) as directory,
        oor.open(f"{directory}/store", durability="interval", memtable_bytes=asked.memtable) as db,
    ):
        for number in range(asked.rounds):
            numbers = range(count * number, count * (number + 1))
            keys = [b"%09d" % (n * 7919 % asked.puts) for n in numbers]
            puts.extend(_timed(lambda key: db.put(key, VALUE), keys))
            nothing.extend(_timed(lambda key: None, keys))
        stats = db.stats()
    print(
        f"{len(puts):,} puts, {stats.flushes} flushes, {stats.compactions} compactions, "
        f"{stats.log.rotations} rotations of the log; writers waited {stats.stalls} times, "
        f"{stats.log.segment_us / 1e3:.1f} ms of that for a segment"
    )
    print("           p50, us  p99, us  p99.9, us  p99.99, us   max, ms  over 1 ms")
    _print("put", puts)
    _print("nothing", nothing)
    return 0


def _timed(work: Callable[[bytes], object], keys: list[bytes]) -> array[float]:
    """The seconds that each call took."""
    times = array("d", bytes(8 * len(keys)))
    clock = time.perf_counter
    for at, key in enumerate(keys):
        began = clock()
        work(key)
        times[at] = clock() - began
    return times


def _print(who: str, times: array[float]) -> None:
    ordered = sorted(times)

    def at(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1e6

    over = sum(seconds > 0.001 for seconds in ordered)
    print(
        f"{who:9} {at(0.5):8.1f} {at(0.99):8.1f} {at(0.999):10.1f} {at(0.9999):11.1f} "
        f"{ordered[-1] * 1e3:9.1f} {over:10,}"
    )


if __name__ == "__main__":
    sys.exit(main())
