"""Memory: however many records go through a store, the process stays within the budgets it was
given.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

RECORDS = int(os.environ.get("OOR_MEMORY_RECORDS", "300000"))
"""3,000,000 is the size that is promised; 300,000 are twice what all budgets together hold."""

PROGRAM = r"""
import json, random, sys
import oor

path, records = sys.argv[1], int(sys.argv[2])
MIB = 1 << 20
memtable, immutables, cache = 16 * MIB, 2, 32 * MIB


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


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs /proc")
def test_a_long_run_stays_within_memtables_and_cache(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "s"), str(RECORDS)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["peak"] - found["base"] <= found["budget"] * 1.1
