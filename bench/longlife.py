"""The long life of a store: element sets in random order, then updates under load, beside RocksDB.

    python -m bench.longlife [--quick] [--sets N] [--seconds S] [--kills N] [--load-only]
                             [--oor OPTION=VALUE ...]

All get the same pairs in the same batches of 1000, each in the fastest way that it has for pairs
that a host has in hand: oor as columns (`DB.write_columns`, the joining counted; `DB.write` of the
same lists stands beside it), RocksDB as a WriteBatch. Each may take 16 MiB of memory for a memtable
(oor counts 64 bytes a record for its place in a table, RocksDB the arena of its skip list), four of
them in all, a block cache of 64 MiB, 10 filter bits a key, and a first level of 64 MiB; all log
without a sync, use two background threads, and pack every level with zstd.

The load is of one store after the other, in rounds, so that what one has left to compact is not on
the clock of the next; a second rate counts until it has nothing left to flush and compact.

Updates come at 80 % of what the slowest took, in turns of a second, so that all meet the same
machine. After them each gets a burst at 80 % of its own rate, from which the longest waits are.
Write amplification is bytes written to tables for each byte of keys and values given; space is what
the files of tables take for each live byte. Three figures in a row are those after the load, in the
middle of the updates and behind them; the mean and the most of space are of all their seconds, what
compactions under way have written included. With --kills a store is grown to all the sets, a child
that updates them is killed at random moments, and what the log takes and how long the next open
needs is measured, instead of all that. With --load-only nothing but the rounds of loads is. --oor
opens oor with another option, a tuple with commas: --oor compression=zstd,zstd --oor l0_share=0.3.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import oor
from bench.longlife_stores import (
    MAX_LOG_BYTES,
    MIB,
    OPTIONS,
    SEGMENT_BYTES,
    Oor,
    OorPairs,
    Pair,
    RocksDB,
    wait_idle,
)  # fmt: skip

BATCH = 1000
EPOCHS = 200
LOAD = 0.8
ROUNDS = 3


def sets(count: int, seed: int) -> list[Pair]:
    """Keys of object and epoch, values of two lines with the digits that differ drawn anew."""
    rng = random.Random(seed)
    objects = max(1, count // EPOCHS)
    digits = rng.randrange
    pairs = []
    for number in range(count):
        norad, epoch = 5 + number % objects * 4, number // objects
        day = 1 + epoch * 0.9 + digits(10**8) / 1e9
        line1 = b"1 %05dU 98067A   26%012.8f  .%08d  00000-0  %05d-3 0 %4d%d" % (
            norad, day, digits(30000), digits(99999), 999, digits(10),
        )  # fmt: skip
        line2 = b"2 %05d %8.4f %8.4f %07d %8.4f %8.4f %2d.%08d%5d%d" % (
            norad, 51 + norad % 47 + digits(900) / 1e4, digits(3600000) / 1e4, digits(20000),
            digits(3600000) / 1e4, digits(3600000) / 1e4, 11 + norad % 5, digits(10**8), epoch * 14,
            digits(10),
        )  # fmt: skip
        pairs.append((b"%05d.%04d" % (norad, epoch), line1 + b"\n" + line2))
    rng.shuffle(pairs)
    # They are the host's: a collector that walks millions of them would do so on the clock of
    # whichever store is called at that moment.
    gc.freeze()
    return pairs


def table_bytes(path: str) -> int:
    """Size of the files of tables."""
    size = 0
    for entry in os.scandir(path):
        # One that a compaction has replaced may go between the two steps.
        with suppress(FileNotFoundError):
            size += entry.stat().st_size if entry.name.endswith(".sst") else 0
    return size


def share(values: list[float], part: float) -> float:
    """A percentile."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


class Life:
    """One store's figures."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.given = 0
        self.records = 0
        self.reads: list[tuple[float, float]] = []
        self.waits: list[float] = []
        self.burst: list[float] = []
        self.rate = 0.0
        self.amplification: list[float] = []
        self.table_bytes: list[int] = []
        self.table_bytes_sampled: list[int] = []
        """At the end of each turn, whosever it was."""

    def give(self, pairs: list[Pair]) -> float:
        """Write some, batch by batch, as fast as it goes; returns how many seconds that took."""
        began = time.perf_counter()
        for start in range(0, len(pairs), BATCH):
            self.store.write(pairs[start : start + BATCH])
        seconds = time.perf_counter() - began
        self._note(pairs)
        return seconds

    def give_at(
        self, updates: Iterator[list[Pair]], rate: float, seconds: float, waits: list[float]
    ) -> None:
        """Write batches at so many records a second, and note how long each call took."""
        due = time.perf_counter()
        end = due + seconds
        while due < end:
            batch = next(updates)
            now = time.perf_counter()
            if now < due:
                time.sleep(due - now)
            began = time.perf_counter()
            self.store.write(batch)
            waits.append(time.perf_counter() - began)
            self._note(batch)
            due += BATCH / rate

    def read(self, keys: list[bytes]) -> None:
        """Look keys up, and note p50 and p99 in us."""
        get, times = self.store.get, []
        for key in keys:
            began = time.perf_counter_ns()
            value = get(key)
            times.append((time.perf_counter_ns() - began) / 1e3)
            assert value is not None
        self.reads.append((share(times, 0.5), share(times, 0.99)))

    def _note(self, pairs: list[Pair]) -> None:
        self.given += sum(len(key) + len(value) for key, value in pairs)
        self.records += len(pairs)


class Loads:
    """Records a second of the loads of each kind of store, and until each was idle."""

    def __init__(self) -> None:
        self.given: dict[str, list[float]] = {}
        self.done: dict[str, list[float]] = {}
        self.written: dict[str, float] = {}

    def load(self, store: Any, pairs: list[Pair]) -> Life:
        """Load a fresh store, alone on the machine."""
        life = Life(store)
        began = time.perf_counter()
        seconds = life.give(pairs)
        wait_idle(store.is_idle)
        self.given.setdefault(store.name, []).append(len(pairs) / seconds)
        self.done.setdefault(store.name, []).append(len(pairs) / (time.perf_counter() - began))
        self.written[store.name] = store.written() / life.given
        return life

    def rounds(self, kinds: Sequence[Any], folder: str, pairs: list[Pair], count: int) -> None:
        """Load each kind so many times in turns, and drop the stores."""
        for _ in range(count):
            for kind in kinds:
                path = os.path.join(folder, "fresh")
                store = kind(path)
                self.load(store, pairs)
                store.close()
                shutil.rmtree(path)

    def report(self) -> None:
        """Print the medians."""
        for name, given in self.given.items():
            done = statistics.median(self.done[name])
            print(f"load, {name}: {statistics.median(given):,.0f} records/s, of {len(given)} rounds"
                  f" {min(given):,.0f} to {max(given):,.0f}; {done:,.0f} until idle,"
                  f" {self.written[name]:.2f} bytes written a byte", flush=True)  # fmt: skip


def live(lives: list[Life], pairs: list[Pair], seconds: float, reads: int) -> None:
    """Updates at 80 % of what the slowest took, reads in between, a burst."""
    rng = random.Random(1)
    keys = [pair[0] for pair in pairs]

    def look() -> None:
        sample = rng.choices(keys, k=reads)
        for each in lives:
            each.read(sample[: reads // 10])
            each.reads.pop()
            each.read(sample)
            each.amplification.append(each.store.written() / each.given)
            each.table_bytes.append(table_bytes(each.store.path))

    rate = LOAD * min(each.rate for each in lives)
    streams = [random.Random(2) for _ in lives]

    def updates(stream: random.Random) -> Iterator[list[Pair]]:
        while True:
            at = stream.randrange(len(pairs) - BATCH)
            yield list(zip(keys[at : at + BATCH], [v[::-1] for _, v in pairs[at : at + BATCH]],
                           strict=True))  # fmt: skip

    feeds = [updates(stream) for stream in streams]
    look()
    turns = max(2, int(seconds / len(lives)))
    for turn in range(turns):
        for each, feed in zip(lives, feeds, strict=True):
            each.give_at(feed, rate, 1.0, each.waits)
            for seen in lives:
                seen.table_bytes_sampled.append(table_bytes(seen.store.path))
        if turn == turns // 2:
            look()
    look()
    for _ in range(max(2, turns // 10)):
        for each, feed in zip(lives, feeds, strict=True):
            each.give_at(feed, LOAD * each.rate, 1.0, each.burst)


def _waits(seconds: list[float]) -> str:
    return f"{share(seconds, 0.5) * 1e3:.2f} / {share(seconds, 0.999) * 1e3:.2f}"


def _mean_and_most(life: Life) -> list[float]:
    sizes = life.table_bytes_sampled
    return [statistics.mean(sizes), max(sizes)]


def _shares(sizes: Sequence[float], live_bytes: int) -> str:
    return " / ".join(f"{size / live_bytes:.3f}" for size in sizes)


def report(lives: list[Life], live_bytes: int) -> None:
    """Print the figures, a line for each; three of a kind are of start, middle and end of the
    updates.
    """
    rows: list[tuple[str, Callable[[Life], str]]] = [
        ("write amplification", lambda e: " / ".join(f"{a:.2f}" for a in e.amplification)),
        ("space, tables / live", lambda e: _shares(e.table_bytes, live_bytes)),
        ("space, mean / most", lambda e: _shares(_mean_and_most(e), live_bytes)),
        ("read p50, us", lambda e: " / ".join(f"{p:.1f}" for p, _ in e.reads)),
        ("read p99, us", lambda e: " / ".join(f"{p:.1f}" for _, p in e.reads)),
        ("updates p50/p99.9, ms", lambda e: _waits(e.waits)),
        ("burst p50/p99.9, ms", lambda e: _waits(e.burst)),
        ("longest write, ms", lambda e: f"{max(e.waits + e.burst) * 1e3:.1f}"),
        ("waits", lambda e: e.store.note()),
    ]
    print(f"{'':26}" + "".join(f"{each.store.name:>72}" for each in lives))
    for name, figure in rows:
        print(f"{name:26}" + "".join(f"{figure(each):>72}" for each in lives), flush=True)
    for each in lives:
        each.store.settle()
    settled = "".join(f"{table_bytes(e.store.path) / live_bytes:>72.3f}" for e in lives)
    print(f"{'space after a compaction':26}{settled}")


CHILD = """
import sys, random, oor
from bench.longlife import BATCH, sets
from bench.longlife_stores import OPTIONS, write_columns
count, seed = int(sys.argv[2]), int(sys.argv[3])
pairs = random.Random(seed).sample(sets(count, 0), min(count, 100_000))
with oor.open(sys.argv[1], **OPTIONS) as db:
    print("ready", flush=True)
    while True:
        at = random.randrange(len(pairs) - BATCH)
        write_columns(db, pairs[at : at + BATCH])
"""


def kills(path: str, count: int, pairs: list[Pair]) -> None:
    """Grow a store to all the sets, then kill a child that updates them at full speed `count`
    times; print what the log took and what the opens needed.
    """
    store = Oor(path)
    Life(store).give(pairs)
    store.close()
    rng, opens, logs, replayed = random.Random(4), [], [], []
    for number in range(count):
        told = [sys.executable, "-c", CHILD, path, str(len(pairs)), str(number)]
        child = subprocess.Popen(told, stdout=subprocess.PIPE)
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        time.sleep(0.2 + 2.8 * rng.random())
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        names = [entry for entry in os.scandir(path) if entry.name.endswith(".wal")]
        logs.append(sum(entry.stat().st_size for entry in names))
        began = time.perf_counter()
        with oor.open(path, **OPTIONS) as db:
            opens.append(time.perf_counter() - began)
            replayed.append(db.recovery.records)
            # A child does not live to end a large compaction; without this its writers would wait.
            db.compact()
    print(
        f"{count} kills: open median {statistics.median(opens):.3f} s, longest {max(opens):.3f} s,"
        f" {statistics.median(replayed):,.0f} records replayed in the median, {max(replayed):,} at"
        f" the most; log {max(logs) / MIB:.0f} MiB at the most,"
        f" bound {(MAX_LOG_BYTES + 2 * SEGMENT_BYTES) / MIB:.0f}"
    )


def option_of(text: str) -> tuple[str, Any]:
    """An option of oor from NAME=VALUE."""
    name, value = text.split("=", 1)
    if "," in value:
        return name, tuple(value.split(","))
    return name, value if value[0].isalpha() else float(value) if "." in value else int(value)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="below 40 s")
    parser.add_argument("--sets", type=int, default=3_000_000)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="loads of each, for a median")
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--load-only", action="store_true")
    parser.add_argument("--oor", type=option_of, action="append", default=[])
    parser.add_argument("--directory")
    given = parser.parse_args()
    if given.quick:
        given.sets, given.seconds, given.rounds = 200_000, 12.0, 1
    folder = tempfile.mkdtemp(prefix="oor-longlife-", dir=given.directory)
    try:
        pairs = sets(given.sets, 0)
        if given.kills:
            kills(os.path.join(folder, "killed"), given.kills, pairs)
            return
        OPTIONS.update(given.oor)
        loads = Loads()
        if given.load_only:
            loads.rounds((Oor, OorPairs, RocksDB), folder, pairs, given.rounds)
            loads.report()
            return
        loads.rounds((Oor, OorPairs, RocksDB), folder, pairs, given.rounds - 1)
        loads.rounds((OorPairs,), folder, pairs, 1)
        lives = [
            loads.load(kind(os.path.join(folder, kind.name)), pairs) for kind in (Oor, RocksDB)
        ]
        loads.report()
        for each in lives:
            each.rate = statistics.median(loads.given[each.store.name])
        live(lives, pairs, given.seconds, 20_000 if not given.quick else 5_000)
        report(lives, sum(len(key) + len(value) for key, value in pairs))
        for each in lives:
            each.store.close()
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
