"""Crash images of the engine: whatever a crash leaves, open finds a prefix with all that was
promised.

Each workload runs once under the recorder; then every chosen state of the disk that a crash at any
moment may leave is opened. Invariants: open succeeds (a crash is not damage); the state is a prefix
of the history, batch by batch; it holds everything promised durable, after a kill everything
acknowledged; nothing is invented; no LSN is given twice; opening again finds the same.
OOR_EXPLORE=n explores n times as many images.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
from collections import Counter

import pytest
from support.engine import TINY, History, content, digest, kill, scratch
from support.recording import Recording

import oor
from oor.crashlab.images import CrashImages, Level, Op

EXPLORE = int(os.environ.get("OOR_EXPLORE", "1"))
COUNTS: Counter[str] = Counter()


# ---- workloads -----------------------------------------------------------------------------------


def batch(rng, serial, size=None):
    """A few keys out of few, so that they are overwritten and deleted; each value is unique."""
    count = rng.choice((1, 1, 1, 2, 5))
    found = {}
    for i in range(count):
        key = b"key%02d" % rng.randrange(40)
        length = size if size is not None else rng.choice((0, 10, 100, 400))
        value = b"%d.%d " % (serial, i) + b"v" * length
        found[key] = None if rng.random() < 0.15 else value
    return found


def mixed(path, history, options):
    """All modes and every kind of housekeeping, a close and a reopening."""
    rng = random.Random(7)
    serial = itertools.count()
    for session in range(2):
        db = oor.open(path, **options)
        for step in range(45):
            mode = rng.choice(("sync", "os", "os", "os"))
            history.write(db, batch(rng, next(serial)), mode)
            if step % 11 == 7:
                db.sync()
                history.all_durable()
            if step % 15 == 9:
                db.flush()
            if step in (25, 40):
                db.compact()
            if step == 30:
                db.checkpoint()
        if session == 0:
            db.close()
            history.all_durable()
        else:
            kill(db)


def unsynced_runs(path, history, options):
    """Long runs that nobody syncs, over several rotations."""
    rng = random.Random(8)
    db = oor.open(path, **options)
    for step in range(120):
        history.write(db, batch(rng, step, 500), "os")
        if step == 60:
            db.sync()
            history.all_durable()
    kill(db)


def recycled(path, history, options):
    """Frames of one size, or of a prime one, over segments that are used again and again."""
    db = oor.open(path, **options)
    for step in range(150):
        value = b"%05d" % step + b"r" * (979 if step % 2 else 971)
        history.write(db, {b"key%02d" % (step % 7): value}, "sync" if step % 10 == 9 else "os")
        if step % 25 == 24:
            db.checkpoint()
    kill(db)


def large(path, history, options):
    """Frames larger than the tail between small ones."""
    rng = random.Random(9)
    db = oor.open(path, **options)
    for step in range(28):
        size = rng.choice((10, 300, 13_000, 20_000, 70_000) if step % 3 == 0 else (10, 300))
        history.write(db, batch(rng, step, size) if size < 1000 else {b"big": b"%d " % step + b"L" * size},
                      rng.choice(("sync", "os")))  # fmt: skip
    kill(db)


WORKLOADS = {
    "mixed": (mixed, {}, 900),
    "mixed buffered": (mixed, {"direct_io": False}, 500),
    "mixed padded": (mixed, {"wal_block_padding": True}, 300),
    "unsynced runs": (unsynced_runs, {"memtable_bytes": 1 << 20}, 700),
    "recycled": (recycled, {"memtable_bytes": 1 << 20}, 500),
    "large": (large, {"memtable_bytes": 1 << 20}, 300),
}


def record(path, workload, options):
    with Recording(os.path.dirname(path)) as recording:
        history = History(recording)
        workload(path, history, TINY | options)
    return recording, history


# ---- what must hold ------------------------------------------------------------------------------


class Judge:
    """Opens images of one recording and says what is wrong with what it finds."""

    def __init__(self, recording, history):
        self.history = history
        self.lengths = history.lengths()
        submitted = acked = durable = 0
        self.promises = [(0, 0, 0)]
        for event in recording.events:
            if event.op is Op.MARK:
                word, number = event.text.split()
                if word == "submit":
                    submitted = int(number)
                elif word == "ack":
                    acked = int(number)
                else:
                    durable = int(number)
            self.promises.append((submitted, acked, durable))

    def check(self, folder, image, name, again, options):
        submitted, acked, durable = self.promises[image.point]
        required = acked if image.level is Level.KILL else durable
        path = os.path.join(folder, name)
        where = f"{image.level.name} at event {image.point}"
        if not os.path.isdir(path) and required:
            pytest.fail(f"{where}: the store is gone")
        db = oor.open(path, **TINY | options)
        found = content(db)
        lengths = self.lengths.get(digest(found), [])
        next_lsn = db._state.log.next_lsn()
        kill(db)
        COUNTS[image.level.name] += 1
        assert lengths, f"{where}: no prefix of the history adds up to this"
        fits = any(required <= length <= submitted for length in lengths)
        assert fits, f"{where}: {lengths} batches, not {required} to {submitted}"
        given = max(self.history.lsns[:acked], default=0)
        assert next_lsn > given, f"{where}: LSN {next_lsn} is given again"
        if again:
            db = oor.open(path, **TINY | options)
            assert content(db) == found, f"{where}: the second open differs from the first"
            assert db.put(b"after", b"wards", durability="sync") >= next_lsn
            db.close()
            with oor.open(path, **TINY | options) as db:
                assert db.recovery.clean
                assert content(db) == found | {b"after": b"wards"}


def images_of(crashes, levels, count, seed):
    """About `count` images, spread over all points and levels, the same for the same seed."""
    rng = random.Random(seed)
    points = crashes.points()
    left = count
    for index, point in enumerate(points):
        share = left / (len(points) - index)
        wanted = int(share) + (rng.random() < share % 1)
        chosen = rng.sample(levels, min(len(levels), wanted)) or []
        for level in sorted(chosen):
            limit = max(1, wanted // len(levels) + (rng.random() < 0.5))
            for image in crashes.at(point, level, seed=seed, limit=limit):
                left -= 1
                yield image


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_crash_leaves_a_prefix_with_all_that_was_promised(name, tmp_path):
    workload, options, count = WORKLOADS[name]
    recording, history = record(
        str(tmp_path / "root" / "store"), *prepared(tmp_path, workload, options)
    )
    judge = Judge(recording, history)
    opened = 0
    with scratch() as folder:
        for image in images_of(CrashImages(recording), list(Level), count * EXPLORE, seed=1):
            target = f"{folder}/{opened}"
            image.write(target)
            judge.check(target, image, "store", opened % 5 == 0, options)
            forget(target)
            opened += 1
    assert opened > count * EXPLORE // 2, "the explorer opened too few images to say anything"


def prepared(tmp_path, workload, options):
    (tmp_path / "root").mkdir()
    return workload, options


def forget(folder):
    shutil.rmtree(folder)
