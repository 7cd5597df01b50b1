"""What the store does for a fixed piece of work, in numbers that are the same on every machine.

    python -m bench.counters            prints them beside the baseline; exits with 1 past a limit
    python -m bench.counters --record   makes them the baseline, bench/counters.json

Time is not among them: a counter that grows says what became more expensive, and is never noise.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import oor
from oor.demo.records import KEY_SIZE, VALUE_SIZE, record
from oor.trace import Op, Trace

BASELINE = Path(__file__).with_name("counters.json")
RECORDS = 20_000
BATCH = 100
LOOKUPS = 2_000
PUTS = 5_000
DURABLE_PUTS = 50
WORK = "work: "
"""How a mark in a trace begins that says which work comes."""
OPTIONS: dict[str, Any] = {"background": False, "durability": "sync", "compression": "none"}

LIMITS = {
    "log_bytes_a_record": 1.02,
    "device_bytes_a_record": 1.10,
    "syncs_a_batch": 1.0,
    "writes_a_durable_put": 1.0,
    "syncs_a_durable_put": 1.0,
    "syncs_a_flush": 1.0,
    "syncs_a_checkpoint": 1.0,
    "syncs_a_compaction": 1.0,
    "syncs_a_close": 1.0,
    "syncs_an_open": 1.0,
    "frames_a_batch": 1.0,
    "write_amplification": 1.05,
    "space_amplification": 1.05,
    "table_bytes_a_record": 1.02,
    "packed_bytes_a_record": 1.05,
    "blocks_read_a_cold_lookup": 1.05,
    "blocks_read_a_warm_lookup": 1.0,
    "tables_touched_a_lookup": 1.02,
    "tables_touched_an_absent_key": 1.5,
    "objects_kept_a_put": 1.10,
}
"""How many times its baseline a counter may be."""


def measure(directory: str) -> dict[str, float]:
    """Do the work in a store below `directory`; returns the counters."""
    path = f"{directory}/counters.oor"
    found = _written(path)
    with oor.open(path, **OPTIONS) as db:
        found |= _read(db)
    with oor.open(f"{directory}/packed.oor", **OPTIONS | {"compression": "zstd"}) as db:
        _fill(db)
        db.compact()
        packed = sum(level.bytes for level in db.stats().levels)
        found["packed_bytes_a_record"] = packed / RECORDS
    found |= _through_the_door(f"{directory}/door.oor")
    return {name: round(value, 4) for name, value in found.items()}


def _fill(db: oor.DB) -> None:
    """In no order, so that the tables of the flushes overlap and have to be merged."""
    order = list(range(RECORDS))
    random.Random(2).shuffle(order)
    for at in range(0, RECORDS, BATCH):
        db.write(dict(map(record, order[at : at + BATCH])))
        if at % 5_000 == 4_900:
            db.flush()


def _written(path: str) -> dict[str, float]:
    with oor.open(path, **OPTIONS) as db:
        before = db.stats().log
        _fill(db)
        after = db.stats().log
        batches = RECORDS / BATCH
        found = {
            "log_bytes_a_record": (after.appended_bytes - before.appended_bytes) / RECORDS,
            "device_bytes_a_record": (after.written_bytes - before.written_bytes) / RECORDS,
            "syncs_a_batch": (after.syncs - before.syncs) / batches,
            "frames_a_batch": (after.frames - before.frames) / batches,
        }
        db.compact()
        stats = db.stats()
        payload = RECORDS * (KEY_SIZE + VALUE_SIZE)
        tables = sum(level.bytes for level in stats.levels)
        found["write_amplification"] = stats.amplification.write
        found["space_amplification"] = tables / payload
        found["table_bytes_a_record"] = tables / RECORDS
    with oor.open(f"{path}.puts", **OPTIONS | {"durability": "os"}) as db:
        blocks = sys.getallocatedblocks()
        for n in range(PUTS):
            db.put(*record(n))
        found["objects_kept_a_put"] = (sys.getallocatedblocks() - blocks) / PUTS
    return found


def _read(db: oor.DB) -> dict[str, float]:
    rng = random.Random(1)
    keys = [record(rng.randrange(RECORDS))[0] for _ in range(LOOKUPS)]
    counts = [db.stats().cache]
    for asked in (keys, keys, [key + b"!" for key in keys]):
        for key in asked:
            db.get(key)
        counts.append(db.stats().cache)
    start, cold, warm, absent = counts
    return {
        "blocks_read_a_cold_lookup": (cold.misses - start.misses) / LOOKUPS,
        "blocks_read_a_warm_lookup": (warm.misses - cold.misses) / LOOKUPS,
        "tables_touched_a_lookup": (warm.tables_touched - cold.tables_touched) / LOOKUPS,
        "tables_touched_an_absent_key": (absent.tables_touched - warm.tables_touched) / LOOKUPS,
    }


def _through_the_door(path: str) -> dict[str, float]:
    """What reaches the disk, counted where all of it passes.

    Through the page cache, so that a durable write is a write and a sync on any file system, and
    without threads in the log, so that each call is where it belongs.
    """
    counts: dict[str, Counter[Op]] = {}
    options = OPTIONS | {"compression": "none", "direct_io": False, "log_threads": False}

    def put_some(db: oor.DB) -> None:
        for n in range(DURABLE_PUTS):
            db.put(*record(n))

    with Trace(payloads=False) as trace:
        db = oor.open(path, **options)
        for what, work in (
            ("durable_put", lambda: put_some(db)),
            ("flush", db.flush),
            ("checkpoint", db.checkpoint),
            ("", lambda: (put_some(db), db.flush())),
            ("compaction", db.compact),
            ("close", db.close),
        ):
            trace.mark(WORK + what)
            work()
        trace.mark(WORK + "open")
        db = oor.open(path, **options)
        trace.mark(WORK)
        db.close()
    at = ""
    for event in trace.events:
        if event.op is Op.MARK:
            # The engine marks what it promises too.
            at = event.text.removeprefix(WORK) if event.text.startswith(WORK) else at
        counts.setdefault(at, Counter())[event.op] += 1
    syncs = {what: count[Op.SYNC] + count[Op.SYNC_DIR] for what, count in counts.items()}
    return {
        "writes_a_durable_put": counts["durable_put"][Op.WRITE] / DURABLE_PUTS,
        "syncs_a_durable_put": syncs["durable_put"] / DURABLE_PUTS,
        "syncs_a_flush": syncs["flush"],
        "syncs_a_checkpoint": syncs["checkpoint"],
        "syncs_a_compaction": syncs["compaction"],
        "syncs_a_close": syncs["close"],
        "syncs_an_open": syncs["open"],
    }


def excesses(found: dict[str, float], baseline: dict[str, float]) -> list[str]:
    """What is past its limit, a line each."""
    return [
        f"{name}: {value} where {baseline[name]} x {LIMITS[name]} are allowed"
        for name, value in found.items()
        if value > baseline[name] * LIMITS[name] + 1e-9
    ]


def main() -> int:
    """Print the table, or record it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="make this the baseline")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        found = measure(directory)
    if arguments.record:
        BASELINE.write_text(json.dumps(found, indent=1) + "\n", encoding="ascii")
    baseline = json.loads(BASELINE.read_text(encoding="ascii"))
    for name, value in found.items():
        print(f"{name:<30} {value:12.4f}  baseline {baseline[name]:12.4f}  x {LIMITS[name]}")
    too_much = excesses(found, baseline)
    print("\n".join(too_much) if too_much else "all within their limits")
    return 1 if too_much else 0


if __name__ == "__main__":
    sys.exit(main())
