"""The same promises on every file system that this machine can make, a small full one among them.

Loop mounts need root and the mkfs of the file system; what is not there is skipped, with the
reason.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import oor
from oor.doctor import examine

SMALL = {
    "segment_bytes": 256 << 10,
    "tail_bytes": 64 << 10,
    "spare_segments": 1,
    "background": False,
}
MIB = 1 << 20
MAKERS = {
    "ext4": (64 * MIB, ["mkfs.ext4", "-q"]),
    "xfs": (320 * MIB, ["mkfs.xfs", "-q"]),
    "btrfs": (128 * MIB, ["mkfs.btrfs", "-q"]),
}


def command(*arguments):
    """Run it; skip with what it said if it cannot be done here."""
    if shutil.which(arguments[0]) is None:
        pytest.skip(f"{arguments[0]} is not installed")
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(
            f"{arguments[0]} cannot be done here: {done.stderr.strip() or done.stdout.strip()}"
        )


@contextlib.contextmanager
def mounted(base, *arguments):
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    point = base / "mount"
    point.mkdir()
    command("mount", *arguments, str(point))
    try:
        yield point
    finally:
        subprocess.run(["umount", "-l", str(point)], check=True)


@contextlib.contextmanager
def made(kind, base, size=None):
    """A directory on a file system of this kind."""
    if kind == "tmpfs":
        with mounted(base, "-t", "tmpfs", "-o", "size=64m", "tmpfs") as point:
            yield point
    elif kind == "overlay":
        for name in ("lower", "upper", "work"):
            (base / name).mkdir()
        layers = f"lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work"
        with mounted(base, "-t", "overlay", "-o", layers, "overlay") as point:
            yield point
    else:
        usual, maker = MAKERS[kind]
        image = base / "image"
        with open(image, "wb") as file:
            file.truncate(size or usual)
        command(*maker, str(image))
        with mounted(base, "-o", "loop", str(image)) as point:
            yield point


KINDS = ["here", "tmpfs", "overlay", "ext4", "xfs", "btrfs"]


@pytest.fixture(params=KINDS)
def place(request, tmp_path):
    if request.param == "here":
        yield tmp_path
        return
    with made(request.param, tmp_path) as point:
        yield point


WRITER = """
import os, sys, oor
path, mode, direct = sys.argv[1:]
options = {"segment_bytes": 256 << 10, "tail_bytes": 64 << 10}
db = oor.open(path, durability=mode, direct_io=direct == "1", **options)
for n in range(1000000):
    db.put(b"%08d" % n, b"%08d" % n * 20)
    os.write(1, b".")
"""


@pytest.mark.parametrize("direct_io", [True, False])
def test_a_store_works_and_outlives_kill_9(place, direct_io):
    path = place / "store"
    options = SMALL | {"direct_io": direct_io}
    with oor.open(path, **options) as db:
        for n in range(50):
            db.put(b"s%d" % n, bytes(500))
        db.write({b"b%d" % n: bytes(500) for n in range(1500)}, durability="interval")
        db.write({b"large": bytes(600 << 10)})  # past the tail, larger than a segment
        db.checkpoint()
        db.put(b"after", b"v", durability="os")
        db.compact()
        method = db.stats().sync_method
        kept = dict(db.scan())
        assert len(kept) == 1552
    assert method == (
        "pwrite+fdatasync" if not direct_io else examine(str(place), samples=10).sync_method
    )
    with oor.open(path, **options) as db:
        assert db.recovery.records == 0
        assert dict(db.scan()) == kept
    for mode in ("sync", "interval"):
        acknowledged = killed_writer(path, mode, direct_io, 300)
        with oor.open(path, **options) as db:
            for n in range(acknowledged):
                assert db.get(b"%08d" % n) == b"%08d" % n * 20, (mode, n)


def killed_writer(path, mode, direct_io, count):
    """A process that writes until it is killed, behind `count` acknowledged puts at the least."""
    arguments = [sys.executable, "-c", WRITER, str(path), mode, str(int(direct_io))]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as writer:
        acknowledged = 0
        while acknowledged < count:
            piece = os.read(writer.stdout.fileno(), 4096)
            assert piece, writer.stderr.read()
            acknowledged += piece.count(b".")
        writer.send_signal(signal.SIGKILL)
        while piece := os.read(writer.stdout.fileno(), 4096):
            acknowledged += piece.count(b".")
    return acknowledged


# ---- a full disk ---------------------------------------------------------------------------------


class Small:
    """A small ext4 that can be filled up and emptied."""

    def __init__(self, point):
        self.point = Path(point)
        self._ballast = self.point / "ballast"

    def fill(self, leave):
        """Take all room but about `leave` bytes."""
        left = os.statvfs(self.point)
        take = left.f_bfree * left.f_frsize - leave
        with open(self._ballast, "wb") as file, contextlib.suppress(OSError):
            while take > 0:
                take -= file.write(bytes(min(take, 16384)))
                file.flush()

    def empty(self):
        self._ballast.unlink()


@pytest.fixture
def small(tmp_path):
    with made("ext4", tmp_path, 16 * MIB) as point:
        yield Small(point)


def write_until_full(db, size=2000, **mode):
    """Puts until there is no room; returns what was acknowledged."""
    kept = {}
    for n in range(100_000):
        key = b"f%06d" % n
        try:
            db.put(key, bytes(size), **mode)
        except oor.DiskFullError:
            return kept
        kept[key] = bytes(size)
    raise AssertionError("the disk never was full")


def holds(db, kept):
    assert {key: db.get(key) for key in kept} == kept


@pytest.mark.parametrize("mode", ["sync", "interval"])
def test_no_room_for_the_next_segment_refuses_writes_and_room_lets_them_go_on(small, mode):
    path = small.point / "store"
    with oor.open(path, durability=mode, **SMALL) as db:
        db.put(b"before", b"v")
        small.fill(600 << 10)
        kept = write_until_full(db) | {b"before": b"v"}
        holds(db, kept)
        with pytest.raises(oor.DiskFullError):
            for _ in range(500):
                db.put(b"still full", bytes(2000))
        small.empty()
        assert db.put(b"after", b"v") == db.last_lsn
        db.sync()
        kept |= write_until_small_count(db)
        holds(db, kept | {b"after": b"v"})
    with oor.open(path, **SMALL) as db:
        holds(db, kept | {b"after": b"v"})


def write_until_small_count(db):
    pairs = {b"more%d" % n: bytes(2000) for n in range(300)}
    for key, value in pairs.items():
        db.put(key, value)
    return pairs


def test_no_room_in_the_middle_of_a_large_batch_leaves_nothing_of_it(small):
    path = small.point / "store"
    with oor.open(path, **SMALL) as db:
        db.put(b"before", b"v")
        small.fill(500 << 10)
        batch = {b"%d" % n: bytes(1000) for n in range(2000)}
        with pytest.raises(oor.DiskFullError):
            db.write(batch)
        assert db.get(b"0") is None
        small.empty()
        db.write(batch)
        holds(db, batch | {b"before": b"v"})
    with oor.open(path, **SMALL) as db:
        assert dict(db.scan()) == batch | {b"before": b"v"}


def test_no_room_for_a_flush_keeps_everything_in_memory_and_log(small):
    path = small.point / "store"
    with oor.open(path, **SMALL) as db:
        batch = {b"%d" % n: os.urandom(1000) for n in range(1000)}
        db.write(batch)
        small.fill(200 << 10)
        with pytest.raises(oor.DiskFullError):
            db.flush()
        holds(db, batch)
        small.empty()
        assert db.flush() == 1
        db.put(b"after", b"v")
        holds(db, batch)
    with oor.open(path, **SMALL) as db:
        assert dict(db.scan()) == batch | {b"after": b"v"}


def test_a_store_killed_on_a_full_disk_recovers_once_there_is_room(small):
    path = small.point / "store"
    db = oor.open(path, durability="sync", **SMALL)
    small.fill(600 << 10)
    kept = write_until_full(db)
    copy = small.point.parent / "copy"
    shutil.copytree(path, copy)
    small.empty()
    db.close()
    with oor.open(copy, **SMALL) as again:
        holds(again, kept)


# ---- the background meets a full disk ------------------------------------------------------------

BUSY = {
    "segment_bytes": 256 << 10,
    "tail_bytes": 64 << 10,
    "memtable_bytes": 400 << 10,
    "max_log_bytes": 1 << 20,
    "l0_trigger": 2,
    "l0_slowdown": 3,
    "l0_stop": 4,
    "table_bytes": 1 << 20,
}


def write_random(db, kept, count, mode):
    """Puts of what does not pack, until DiskFullError or `count`; returns whether the disk was
    full."""
    for n in range(count):
        key, value = b"r%04d" % (n % 1000), os.urandom(2000)
        try:
            db.put(key, value, durability=mode)
        except oor.DiskFullError:
            return True
        kept[key] = value
    return False


@pytest.mark.parametrize(
    "mode, leave",
    [
        ("sync", 100 << 10),
        ("interval", 300 << 10),
        ("os", 700 << 10),
        ("interval", 1500 << 10),
        ("os", 2500 << 10),
    ],
)
def test_a_full_disk_refuses_writes_wherever_it_fills_and_the_same_handle_goes_on(
    small, mode, leave, caplog
):
    """What meets it first is by `leave` a rotation, a flush, a compaction, or their manifest."""
    caplog.set_level(logging.WARNING, logger="oor")
    path = small.point / "store"
    kept = {}
    with oor.open(path, durability="os", **BUSY) as db:
        assert not write_random(db, kept, 1000, "os")
        small.fill(leave)
        for _ in range(3):
            # A compaction may make some room again: it ends for good when nothing is left of it.
            assert write_random(db, kept, 100_000, mode)
            holds(db, kept)
        assert dict(db.scan()).keys() == kept.keys()
        small.empty()
        full = True
        while full:  # an attempt that was under way when room was made may still end
            full = write_random(db, kept, 50, mode)
        write_random(db, kept, 1000, "os")
        holds(db, kept)
        db.compact()
        holds(db, kept)
    with oor.open(path, **BUSY) as db:
        assert dict(db.scan()) == kept
    assert "waits for room" in caplog.text, "a flush or compaction was to meet the full disk"
