"""How fast a store with a small memtable takes records while it flushes and compacts.

    python -m bench.lsm [--records N] [--memtable BYTES] [--rounds N]

Puts, batches of 1,000, and element sets through the registry, each into a store of its own, in
`interval` mode; medians over the rounds, records a second.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time

import oor
from oor.registry import ingest
from oor.registry.synthetic import SyntheticCatalogue

VALUE = b"x" * 138
BATCH = 1000
SET_BYTES = 168
"""Of a set of the synthetic catalogue, name line included."""


def puts(db: oor.DB, count: int) -> int:
    """One record a call."""
    for number in range(count):
        db.put(b"%09d" % number, VALUE)
    return count


def batches(db: oor.DB, count: int) -> int:
    """`BATCH` records a call."""
    for start in range(0, count, BATCH):
        db.write({b"%09d" % n: VALUE for n in range(start, min(start + BATCH, count))})
    return count


def sets(db: oor.DB, path: str) -> int:
    """A catalogue of element sets."""
    return ingest(db, [path]).read


def main() -> None:
    """Run the rounds and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--memtable", type=int, default=4 << 20)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    rates: dict[str, list[float]] = {"puts": [], "batches": [], "sets": []}
    with tempfile.TemporaryDirectory(dir=os.curdir, prefix=".bench-") as folder:
        catalogue = os.path.join(folder, "catalogue.tle")
        with open(catalogue, "wb") as file:
            file.write(b"".join(SyntheticCatalogue().chunks())[: chosen.records * SET_BYTES])
        for number in range(chosen.rounds):
            for name, times in rates.items():
                path = os.path.join(folder, f"{name}-{number}.oor")
                options = {"durability": "interval", "memtable_bytes": chosen.memtable}
                with oor.open(path, **options) as db:
                    began = time.perf_counter()
                    if name == "sets":
                        done = sets(db, catalogue)
                    else:
                        done = (puts if name == "puts" else batches)(db, chosen.records)
                    times.append(done / (time.perf_counter() - began))
    for name, times in rates.items():
        print(f"{name:8} {statistics.median(times):12,.0f} records/s")


if __name__ == "__main__":
    main()
