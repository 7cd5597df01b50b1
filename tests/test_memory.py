"""Memory: however many records go through a store, the process stays within the budgets it was
given.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

MIB = 1 << 20
RECORDS = int(os.environ.get("OOR_MEMORY_RECORDS", "300000"))
"""3,000,000 is the size that is promised, by `make memory`; 300,000 are twice what all budgets together hold."""

PROGRAM = r"""
import json, random, sys
import oor

path, records = sys.argv[1], int(sys.argv[2])
MIB = 1 << 20
memtable, immutables, cache = 16 * MIB, 2, 32 * MIB

UNWATCHED = "it measures memory, and what is watched is kept"


def memory(field):
    for line in open("/proc/self/status"):
        if line.startswith(field):
            return int(line.split()[1]) * 1024


def keys_of(first, count):
    return [b"%09d" % (i * 7_919_993 % 1_000_000_007) for i in range(first, first + count)]


def work(db, records):
    chance = random.Random(1)
    for first in range(0, records, 500):
        db.write({key: key * 15 + b"abc" for key in keys_of(first, 500)})
        if first % 20_000 == 0:
            asked = keys_of(chance.randrange(first + 1), 300)
            assert all(db.get(key) is None or len(db.get(key)) == 138 for key in asked)
            db.get_many(asked)
    assert sum(map(len, db.scan_columns())) == records
    assert sum(1 for _ in db.keys()) == records


with oor.open(path + "0", durability="os", memtable_bytes=MIB // 4, cache_bytes=MIB // 4) as db:
    work(db, 5_000)  # all code is loaded, all threads have run
base = memory("VmRSS")
options = dict(memtable_bytes=memtable, max_immutables=immutables, cache_bytes=cache)
with oor.open(path, durability="os", **options) as db:
    work(db, records)
    used = db.stats().cache
print(json.dumps({
    "base": base, "peak": memory("VmHWM"), "budget": memtable * (1 + immutables) + cache,
    "cached": used.used + used.pinned,
}))
"""


HELD = r"""
import gc, json, sys
import oor

MIB = 1 << 20


def resident():
    gc.collect()
    oor.native.trim()
    for line in open("/proc/self/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024


def fill(path, records):
    with oor.open(path, durability="os", compression="none") as db:
        for first in range(0, records, 1000):
            db.write({b"%09d" % i: b"%0150d" % i for i in range(first, first + 1000)})
        db.compact()


fill(sys.argv[1], 200_000)
with oor.open(sys.argv[1] + "0") as db:
    pass
found = {"before": resident()}
with oor.open(sys.argv[1], durability="os", cache_bytes=64 * MIB, compression="none") as db:
    for first in range(0, 200_000, 1000):
        db.get_many([b"%09d" % i for i in range(first, first + 1000)])
    stats = db.stats().cache
    found["used"] = stats.used
    found["full"] = resident()
    db.write({b"%09d" % i: None for i in range(200_000)})
    db.compact()
    found["dropped"] = resident()
found["closed"] = resident()
print(json.dumps(found))
"""


def run(program, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs /proc")
def test_what_the_cache_held_goes_back_to_the_system(tmp_path):
    found = run(HELD, tmp_path / "s")
    assert found["used"] > 30 * MIB
    assert found["full"] - found["before"] > 0.9 * found["used"]
    # Of its tables nothing is left: a chunk or two, and what Python keeps.
    assert found["dropped"] - found["before"] < 0.25 * found["used"]
    assert found["closed"] - found["before"] < 0.15 * found["used"]


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs /proc")
def test_a_long_run_stays_within_memtables_and_cache(tmp_path):
    found = run(PROGRAM, tmp_path / "s", RECORDS)
    assert found["peak"] - found["base"] <= found["budget"] * 1.1
