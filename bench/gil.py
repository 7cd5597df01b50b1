"""python -m bench.gil: what readers feel while another thread writes 64 MiB durable batches.

One thread reads keys one by one and times each read; another writes batches of 64 MiB, each durable
when its call returns. What a reader waits for is the interpreter's lock: every crossing to C lets
go of it, and what is left in Python is cut into pieces. Printed for records of several sizes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from array import array

import oor

BATCH_BYTES = 64 << 20
VALUE_SIZES = (138, 1024, 65536)


def main() -> int:
    """Measure and print a line for each size of values, with and without the writer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", help="where the store is made: the disk that is measured")
    parser.add_argument("--batches", type=int, default=5)
    asked = parser.parse_args()
    print(
        "value, bytes  writer      reads    p50, us  p99, us  p99.9, us  max, ms  "
        "> 2 ms, % of the time"
    )
    for size in VALUE_SIZES:
        with tempfile.TemporaryDirectory(prefix=".bench-", dir=asked.dir) as directory:
            options = {"memtable_bytes": 256 << 20}
            with oor.open(f"{directory}/store", durability="interval", **options) as db:
                db.write({b"%09d" % n: b"v" * 138 for n in range(100_000)})
                for batches in (0, asked.batches):
                    _print(size, batches, _measure(db, size, batches))
    return 0


def _measure(db: oor.DB, size: int, batches: int) -> array[float]:
    """The seconds that each read took while the writer wrote (for half a second if it writes
    nothing)."""
    done = threading.Event()

    def write() -> None:
        count = BATCH_BYTES // (size + 9)
        pairs = {b"w%08d" % n: bytes(size) for n in range(count)}
        for _ in range(batches):
            db.write(pairs, durability="sync")
        if not batches:
            time.sleep(0.5)
        done.set()

    times = array("d")
    keys = [b"%09d" % (n * 7919 % 100_000) for n in range(1000)]
    writer = threading.Thread(target=write)
    clock = time.perf_counter
    writer.start()
    while not done.is_set():
        for key in keys:
            began = clock()
            db.get(key)
            times.append(clock() - began)
    writer.join()
    return times


def _print(size: int, batches: int, times: array[float]) -> None:
    ordered = sorted(times)

    def at(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]

    blocked = sum(seconds for seconds in ordered if seconds > 0.002) / sum(ordered)
    print(
        f"{size:12,}  {batches:>6}  {len(ordered):>9,}  "
        f"{at(0.5) * 1e6:9.1f}  {at(0.99) * 1e6:7.1f}  "
        f"{at(0.999) * 1e6:9.1f}  {ordered[-1] * 1e3:7.1f}  {blocked * 100:6.1f}"
    )


if __name__ == "__main__":
    sys.exit(main())
