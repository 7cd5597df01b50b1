"""The registry beside the usual way: the same TLE text into oor, and through sgp4 into the others.

    python -m bench.registry [--objects N] [--issues N] [--rounds N] [--check-digits]
                             [--without-peers] [--cache MIB ...]

Ingest: oor in `interval` mode as `oor ingest` opens a store, everything that it does included
(checks of every column, digests, what is there already, indexes by newest set, name and designator,
the record of the delivery). The others: `sgp4` reads the two lines, and (number, epoch) -> lines is
written in batches of 1,000, logged and not synced; no index, no digest, no look whether a set is
there. Check digits, which the parser of `sgp4` passes over, are checked by its own function with
--check-digits. Rounds are interleaved; medians. Then questions to the store that oor made, warm,
after a compaction, with the default cache and with one that holds a block of every object.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import islice

from sgp4.api import Satrec
from sgp4.io import verify_checksum

import oor
from bench.stores import Store, installed
from oor.registry import TAIL_BYTES, Registry, ingest
from oor.registry.synthetic import SyntheticCatalogue

BATCH = 1000
_KEY = struct.Struct(">Id")


def pairs(path: str, check_digits: bool) -> Iterator[tuple[bytes, bytes]]:
    """What a user of sgp4 would store of a file of lines."""
    with open(path, encoding="ascii") as file:
        line1 = ""
        for line in file:
            if line.startswith("1 "):
                line1 = line
            elif line.startswith("2 ") and line1:
                if check_digits:
                    verify_checksum(line1.rstrip(), line.rstrip())
                found = Satrec.twoline2rv(line1, line)
                key = _KEY.pack(found.satnum, found.jdsatepoch + found.jdsatepochF)
                yield key, f"{line1}{line}".encode()


def into_peer(kind: type[Store], path: str, text: str, check_digits: bool = False) -> int:
    """Read the text by sgp4 and store it; returns the sets."""
    store = kind(path, durable=False)
    count = write_all(store, text, check_digits)
    store.close()
    return count


def write_all(store: Store, text: str, check_digits: bool = False) -> int:
    """Read the text by sgp4 and write it to an open store; returns the sets."""
    count = 0
    source = pairs(text, check_digits)
    while batch := list(islice(source, BATCH)):
        store.write(batch)
        count += len(batch)
    return count


def into_oor(path: str, text: str) -> int:
    """Ingest the text; returns the sets."""
    with oor.open(path, durability="interval", tail_bytes=TAIL_BYTES) as db:
        return ingest(db, [text]).read


def timed(call: Callable[[], int]) -> float:
    """Sets a second."""
    began = time.perf_counter()
    count = call()
    return count / (time.perf_counter() - began)


def one_call(call: Callable[[int], object], arguments: list[int]) -> float:
    """Microseconds a call, the best of five rounds over the arguments."""
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        for argument in arguments:
            call(argument)
        best = min(best, time.perf_counter() - began)
    return best / len(arguments) * 1e6


def questions(path: str, cache_bytes: int) -> None:
    """Print what the questions cost on a store that is settled and read once."""
    with oor.open(path, cache_bytes=cache_bytes) as db:
        db.compact()
        registry = Registry(db)
        numbers = random.Random(1).sample(registry.objects(), 1000)
        newest = [elset.epoch for elset in registry.latest_all()]
        middle = min(newest) - timedelta(days=1)
        print(f"latest        {one_call(registry.latest, numbers):8.1f} us")
        print(f"at            {one_call(lambda n: registry.at(n, middle), numbers):8.1f} us")
        for name, call in (
            ("latest_all", registry.latest_all),
            ("catalogue_at", lambda: registry.catalogue_at(middle)),
        ):
            times = []
            for _ in range(5):
                began = time.perf_counter()
                count = sum(1 for _ in call())
                times.append(time.perf_counter() - began)
            print(f"{name:13} {statistics.median(times) * 1e3:8.1f} ms, {count:,} objects")


def main() -> None:
    """Run the rounds and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=30_000)
    parser.add_argument("--issues", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-peers", action="store_true")
    parser.add_argument("--check-digits", action="store_true")
    parser.add_argument("--cache", type=int, nargs="+", default=[64, 256], metavar="MIB")
    chosen = parser.parse_args()
    peers = {} if chosen.without_peers else {k.name: k for k in installed() if k.name != "oor"}
    with tempfile.TemporaryDirectory(dir=os.curdir, prefix=".bench-") as folder:
        text = os.path.join(folder, "text.tle")
        with open(text, "wb") as file:
            file.writelines(SyntheticCatalogue(chosen.objects, chosen.issues).chunks())
        rates: dict[str, list[float]] = {name: [] for name in ("oor", *peers)}
        store = os.path.join(folder, "oor")
        for _ in range(chosen.rounds):
            shutil.rmtree(store, ignore_errors=True)
            rates["oor"].append(timed(lambda: into_oor(store, text)))
            for name, kind in peers.items():
                path = os.path.join(folder, name)
                rates[name].append(
                    timed(lambda k=kind, p=path: into_peer(k, p, text, chosen.check_digits))
                )
                (shutil.rmtree if os.path.isdir(path) else os.remove)(path)
        for name, found in rates.items():
            rate = statistics.median(found)
            ratio = statistics.median(rates["oor"]) / rate
            print(f"ingest {name:8} {rate:12,.0f} sets/s {ratio:8.1f} x")
        for mib in chosen.cache:
            print(f"questions with a cache of {mib} MiB:")
            questions(store, mib << 20)


if __name__ == "__main__":
    main()
