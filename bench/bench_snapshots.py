"""What 1,000 live snapshots, and 100 new ones a second, cost a writer.

    python -m bench.bench_snapshots [seconds]

Each round puts records of 9 and 138 bytes at full rate in `os` mode; rounds are interleaved and the
medians are shown, so that a noisy neighbour meets all of them alike.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import threading
import time

import oor

LIVE = 1000
NEW_PER_SECOND = 100
KEYS = 100_000


def rate(db: oor.DB, seconds: float, seed: int) -> float:
    """Puts a second over random keys."""
    chance = random.Random(seed)
    keys = [b"%09d" % chance.randrange(KEYS) for _ in range(20_000)]
    value = bytes(138)
    put, done, began = db.put, 0, time.perf_counter()
    while (now := time.perf_counter()) - began < seconds:
        for key in keys[:2000]:
            put(key, value)
        keys = keys[2000:] + keys[:2000]
        done += 2000
    return done / (now - began)


class Taker:
    """Takes new snapshots at a rate, each in the place of the oldest, as long as the `with`
    lasts.
    """

    def __init__(self, db: oor.DB) -> None:
        self._db = db
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Taker:
        # They differ in what they show: between two of them something is written.
        self._held = []
        for i in range(LIVE):
            self._db.put(b"%09d" % i, b"v")
            self._held.append(self._db.snapshot())
        self._thread.start()
        return self

    def _run(self) -> None:
        at = 0
        while not self._stop.wait(1 / NEW_PER_SECOND):
            self._held[at].close()
            self._held[at] = self._db.snapshot()
            at = (at + 1) % LIVE

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for snapshot in self._held:
            snapshot.close()


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    alone, beside = [], []
    with (
        tempfile.TemporaryDirectory() as directory,
        oor.open(directory + "/s", durability="os") as db,
    ):
        rate(db, seconds, 0)
        for turn in range(5):
            alone.append(rate(db, seconds, turn))
            with Taker(db):
                beside.append(rate(db, seconds, turn))
    a, b = statistics.median(alone), statistics.median(beside)
    print(f"alone {a:,.0f} puts/s; beside {LIVE} live snapshots and {NEW_PER_SECOND} new ones")
    print(f"a second {b:,.0f} puts/s: the snapshots cost the writer {1 - b / a:.1%}")


if __name__ == "__main__":
    main()
