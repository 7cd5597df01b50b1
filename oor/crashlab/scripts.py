"""Workloads that were written by hand, each for a kind of fault that short sequences do not reach.

W-B  long runs that nobody syncs, across segments
W-C  frames of one size, and of a prime one, through segments that are used again
W-E  every kind of call once, to meet an error in each operation
W-S  snapshots held while memtables are flushed and tables are merged
mixed  all modes, a close, a kill and a recovery; large  frames larger than the tail
rolls  the same as mixed, and each edit is a new manifest
W-T  several writers in mixed modes, and a reader, beside flushes and checkpoints
"""

from __future__ import annotations

import itertools
import random

from oor.crashlab.crowd import crowd
from oor.crashlab.history import Mutations
from oor.crashlab.run import Run, Workload


def batch(rng: random.Random, serial: int, size: int | None = None) -> Mutations:
    """A few keys out of few, so that they are overwritten and deleted; each value is unique."""
    found: Mutations = {}
    for i in range(rng.choice((1, 1, 1, 2, 5))):
        key = b"key%02d" % rng.randrange(40)
        length = size if size is not None else rng.choice((0, 10, 100, 400))
        value = b"%d.%d " % (serial, i) + b"v" * length
        found[key] = None if rng.random() < 0.15 else value
    return found


def mixed(run: Run) -> None:
    """All modes and every kind of housekeeping, a close and a reopening."""
    rng = random.Random(7)
    serial = itertools.count()
    for session in range(2):
        db = run.open()
        for step in range(45):
            mode = rng.choice(("sync", "os", "os", "os"))
            db.write(batch(rng, next(serial)), durability=mode)
            if step % 11 == 7:
                db.sync()
            if step % 15 == 9:
                db.flush()
            if step in (25, 40):
                db.compact()
            if step == 30:
                db.checkpoint()
        if session == 0:
            db.close()


def unsynced_runs(run: Run) -> None:
    """W-B: long runs that nobody syncs, over several rotations."""
    rng = random.Random(8)
    db = run.open(memtable_bytes=1 << 20)
    for step in range(120):
        db.write(batch(rng, step, 500), durability="os")
        if step == 60:
            db.sync()


def recycled(run: Run) -> None:
    """W-C: frames of one size, then of a prime one, over segments that are used again."""
    db = run.open(memtable_bytes=1 << 20)
    for step in range(150):
        value = b"%05d" % step + b"r" * (979 if step % 2 else 971)
        mode = "sync" if step % 10 == 9 else "os"
        db.put(b"key%02d" % (step % 7), value, durability=mode)
        if step % 25 == 24:
            db.checkpoint()


def errors(run: Run) -> None:
    """W-E: every kind of call, few of each, and a recovery."""
    for session in range(2):
        db = run.open()
        for step in range(3):
            serial = b"%d.%d" % (session, step)
            db.put(b"k%d" % step, serial, durability="os")
            db.write({b"a": serial, b"b": None, b"c": serial + b"c"}, durability="sync")
        db.put(b"big", b"%d" % session + b"L" * 17_000, durability="os")
        db.rotate()
        db.flush()
        db.delete(b"k1", durability="os")
        db.checkpoint()
        db.compact()
        if session == 0:
            db.kill()
        else:
            db.close()


def snapshots(run: Run) -> None:
    """W-S: deletes and overwrites under snapshots, with flushes and compactions between."""
    rng = random.Random(10)
    db = run.open()
    for step in range(48):
        db.write(batch(rng, step, 60), durability="os")
        if step % 5 == 2:
            db.snapshot()
        if step % 8 == 5:
            db.flush()
        if step % 12 == 11:
            db.compact()


def large(run: Run) -> None:
    """Frames larger than the tail between small ones."""
    rng = random.Random(9)
    db = run.open(memtable_bytes=1 << 20)
    for step in range(28):
        size = rng.choice((10, 300, 13_000, 20_000, 70_000) if step % 3 == 0 else (10, 300))
        big: Mutations = {b"big": b"%d " % step + b"L" * size}
        given = batch(rng, step, size) if size < 1000 else big
        db.write(given, durability=rng.choice(("sync", "os")))


SCRIPTS: dict[str, tuple[Workload, dict[str, object]]] = {
    "mixed": (mixed, {}),
    "mixed-os": (mixed, {"durability": "os"}),
    "mixed-buffered": (mixed, {"direct_io": False}),
    "mixed-threads": (mixed, {"log_threads": True}),
    "mixed-padded": (mixed, {"wal_block_padding": True}),
    "W-B": (unsynced_runs, {}),
    "W-C": (recycled, {}),
    "W-E": (errors, {}),
    "W-E-buffered": (errors, {"direct_io": False}),
    "W-S": (snapshots, {}),
    # Its own mode is none that its writers name: each goes the long way. Then the two short ones.
    "W-T": (crowd, {"durability": "interval"}),
    "W-T-sync": (crowd, {}),
    "W-T-os": (crowd, {"durability": "os"}),
    "W-T-buffered": (crowd, {"direct_io": False}),
    "large": (large, {}),
    "rolls": (mixed, {"manifest_bytes": 0}),
}
"""Name -> (workload, options beyond the tiny ones)."""
