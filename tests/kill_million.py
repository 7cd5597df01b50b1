"""kill -9 loses none of a million acknowledged puts: the deep form, `make kill-million`.

    python tests/kill_million.py [--times N] [--puts N] [--dir DIR]

A child puts records one by one in `interval` mode, and behind each put that has returned it counts
up a word of memory that it shares with this process. Once the word says a million the parent waits
for a random moment, while the child goes on, and kills it by SIGKILL. Then it opens the store: each
record that the word counted is there with its value, and at most the one put that was under way
beside them. Ends with 1 if any was lost.
"""

from __future__ import annotations

import argparse
import mmap
import os
import random
import signal
import struct
import sys
import tempfile
import time

import oor

WORD = struct.Struct("<Q")
LONGEST_PAUSE = 0.3


def key_of(number: int) -> bytes:
    """9 bytes and more, different for each number."""
    return b"%09d" % number


def value_of(number: int) -> bytes:
    """138 bytes that belong to the number."""
    return b"%046d" % number * 3


def put_for_ever(path: str, shared: mmap.mmap) -> None:
    """Put record after record, and count each that was acknowledged."""
    put, count = oor.open(path, durability="interval").put, WORD.pack_into
    number = 0
    while True:
        put(key_of(number), value_of(number))
        number += 1
        count(shared, 0, number)


def lost_in_one_kill(path: str, puts: int, pause: float) -> tuple[int, int, str]:
    """How many records were acknowledged, how many of them are lost, and what recovery did."""
    shared = mmap.mmap(-1, mmap.PAGESIZE)
    child = os.fork()
    if child == 0:
        try:
            put_for_ever(path, shared)
        finally:
            os._exit(1)
    try:
        while WORD.unpack_from(shared)[0] < puts:
            assert os.waitpid(child, os.WNOHANG) == (0, 0), "the child ended by itself"
            time.sleep(0.01)
        time.sleep(pause)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    (acknowledged,) = WORD.unpack_from(shared)
    with oor.open(path, durability="interval") as db:
        found = count = 0
        for key, value in db.scan():
            assert value == value_of(int(key)), f"record {key!r} has another's value"
            count += 1
            found += int(key) < acknowledged
        report = db.recovery
    assert count - found in (0, 1), "more records than puts that had begun"
    how = f"{report.records:,} replayed in {report.seconds * 1e3:.0f} ms"
    return acknowledged, acknowledged - found, how


def main() -> int:
    """Kill again and again; print a line a kill."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--puts", type=int, default=1_000_000)
    parser.add_argument("--dir", help="where the stores are made")
    asked = parser.parse_args()
    seed = time.time_ns()
    print(f"seed {seed}")
    chance = random.Random(seed)
    whole = 0
    for number in range(1, asked.times + 1):
        with tempfile.TemporaryDirectory(prefix=".kill-", dir=asked.dir) as directory:
            pause = chance.random() * LONGEST_PAUSE
            path = os.path.join(directory, "store")
            acknowledged, lost, how = lost_in_one_kill(path, asked.puts, pause)
        whole += not lost
        print(f"kill {number}: {acknowledged:,} acknowledged, {lost:,} lost; {how}", flush=True)
    print(f"nothing lost in {whole} of {asked.times}")
    return whole != asked.times


if __name__ == "__main__":
    sys.exit(main())
