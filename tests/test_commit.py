"""Commit: log order is memtable order, durable before visible, and an exception anywhere changes
neither.
"""

from __future__ import annotations

import errno
import linecache
import os
import shutil
import sys
import threading
from array import array

import pytest
from support.engine import TINY, content, kill, scratch
from support.recording import Op, Recording

import oor
from oor.crashlab.rules import failed_syncs_are_final
from oor.log import SegmentScan, Tail
from oor.native import Columns

ROOMY = TINY | {"memtable_bytes": 1 << 20, "segment_bytes": 1 << 20, "tail_bytes": 64 << 10}


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "store")


def logged(db):
    """(first LSN, last LSN, pairs) of all frames in the log, in its order."""
    state = db._state
    manifest = state.manifest.state
    tail = Tail(state.directory, manifest.database_id, manifest.epoch)
    found = []
    for segment in state.log.segments():
        scan = SegmentScan(
            state.directory, segment.number, manifest.database_id, manifest.epoch, tail, 0
        )
        while (chunk := scan.next(1)) is not None:
            found.append((chunk.first_lsn, chunk.last_lsn, chunk.pairs))
        scan.close()
    return found


def replayed(db):
    """What the log says of the keys that it holds; None: deleted."""
    state = {}
    for _, _, pairs in logged(db):
        state |= pairs
    return state


def agree(db):
    """Whether what the log holds is what a reader sees."""
    return all(db.get(key) == value for key, value in replayed(db).items())


def test_a_thousand_puts_are_a_thousand_frames_in_lsn_order(path):
    with Recording(path, payloads=False), oor.open(path, durability="os", **ROOMY) as db:
        for i in range(1000):
            assert db.put(b"%d" % i, b"v") == i + 1
        frames = logged(db)
        assert [first for first, _, _ in frames] == list(range(1, 1001))
        assert agree(db)


def test_a_mutation_is_in_the_log_before_the_memtable_has_it(path):
    with Recording(path) as recording:
        db = oor.open(path, durability="os", **ROOMY)
        memtable = db._state.view.active
        seen = []

        class Watching(dict):
            def __setitem__(self, key, value):
                stored = [e for e in recording.take() if e.op is Op.STORE and key in e.payload]
                seen.append((key, len(stored)))
                super().__setitem__(key, value)

        memtable.data = Watching()
        for i in range(5):
            db.put(b"key-%d" % i, b"value")
        assert seen == [(b"key-%d" % i, 1) for i in range(5)]
        kill(db)


def test_threads_and_modes_mixed_keep_memtable_order_equal_to_lsn_order(path):
    with oor.open(path, **ROOMY) as db:

        def work(number):
            for i in range(60):
                mode = ("sync", "os", "interval")[(i + number) % 3]
                db.write(
                    {b"shared": b"%d.%d" % (number, i), b"own%d" % number: b"%d" % i},
                    durability=mode,
                )

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert agree(db)
        frames = logged(db)
        assert [last + 1 for _, last, _ in frames[:-1]] == [first for first, _, _ in frames[1:]]


def test_a_batch_larger_than_the_tail_that_meets_an_error_has_failed_at_once(path):
    with Recording(path, payloads=False) as recording:
        db = oor.open(path, **ROOMY)
        db.put(b"durable", b"1")
        recording.fail(Op.WRITE, path_part=".wal", errno=errno.EIO)
        with pytest.raises(oor.FailedError):
            db.put(b"large", bytes(2 * db.options.tail_bytes))
        assert content(db) == {b"durable": b"1"}
        kill(db)


@pytest.mark.parametrize("mode", ["os", "sync"])
@pytest.mark.parametrize("stamp", [False, True])
def test_columns_that_change_meanwhile_are_the_same_in_the_log_and_in_memory(path, mode, stamp):
    keys, values = bytearray(b"kl"), bytearray(b"0123456789abcdef")
    key_sizes, value_sizes = array("I", [1, 1]), array("I", [8, 8])

    def change_all(frame, event, argument):
        if not frame.f_code.co_filename.endswith("oor/commit.py"):
            return None
        for column in (keys, values):
            column[:] = bytes((byte + 1) % 256 for byte in column)
        for sizes in (key_sizes, value_sizes):
            sizes[:] = array("I", [2, 0])
        return change_all

    with oor.open(path, durability=mode, **ROOMY) as db:
        sys.settrace(change_all)
        try:
            db.write_columns(keys, key_sizes, values, value_sizes, stamp=stamp)
        finally:
            sys.settrace(None)
        assert content(db) == replayed(db)
        assert len(content(db)) == 2
        assert keys != b"kl", "the columns did not change"


def test_a_sync_write_is_not_visible_before_it_is_durable(path):
    with Recording(path, payloads=False) as recording:
        db = oor.open(path, **ROOMY)
        db.put(b"before", b"1")
        recording.fail(Op.WRITE, path_part=".wal", errno=errno.ENOSPC, forever=True)
        for write in (lambda: db.put(b"key", b"value"), lambda: db.write({b"key": b"value"})):
            with pytest.raises(oor.DiskFullError):
                write()
            assert db.durable_lsn == 1
            assert db.get(b"key") is None
            assert content(db) == {b"before": b"1"}
        recording.heal()
        db.put(b"key", b"later")
        assert db.get(b"key") == b"later"
        assert agree(db)
        kill(db)


def test_a_failed_sync_acknowledges_nothing_more_and_writing_has_ended(path):
    with Recording(path, payloads=False) as recording:
        db = oor.open(path, direct_io=False, **ROOMY)
        db.put(b"durable", b"1")
        recording.fail(Op.SYNC, path_part=".wal", errno=errno.EIO)
        with pytest.raises(oor.FailedError) as first:
            db.put(b"lost?", b"2")
        assert (first.value.errno, first.value.first_lsn, first.value.last_lsn) == (errno.EIO, 2, 2)
        for mode in ("sync", "interval", "os"):
            with pytest.raises(oor.FailedError):
                db.put(b"refused", b"", durability=mode)
        with pytest.raises(oor.FailedError):
            db.write({b"refused": b"", b"too": None})
        assert db.get(b"lost?") is None, "what is not durable was shown"
        assert db.get(b"durable") == b"1"
        db.close()
    assert not failed_syncs_are_final(recording.events)
    with oor.open(path, **ROOMY) as db:
        assert db[b"durable"] == b"1"
        assert b"refused" not in db


def test_all_who_wait_for_one_sync_are_told_when_it_fails(path):
    with Recording(path, payloads=False) as recording:
        # Who leads the sync waits for company, so that the others do wait for it.
        db = oor.open(path, **ROOMY | {"commit_delay": 0.3})
        db.put(b"durable", b"1")
        recording.fail(Op.WRITE, path_part=".wal", errno=errno.EIO, forever=True)
        outcomes = []

        def work(number):
            try:
                outcomes.append(db.put(b"%d" % number, b""))
            except oor.StorageError as error:
                outcomes.append(error)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads), "a writer waits for ever"
        assert all(isinstance(outcome, oor.FailedError) for outcome in outcomes)
        kill(db)


def large_batch(name):
    """1 MiB in values that are not joined, with a deletion and a short value among them."""
    long = {b"%s.%d" % (name, n): b"%d" % n * 65536 for n in range(16)}
    return {b"short": name, b"gone": None} | long


def test_a_large_sync_batch_passes_the_tail_by_only_while_nobody_else_writes(path):
    roomy = {"segment_bytes": 8 << 20, "tail_bytes": 2 << 20, "durability": "sync"}
    with Recording(path, payloads=False) as disk, oor.open(path, **roomy) as db:
        kept = {}

        def write(name, **mode):
            seen = len(disk.take())
            db.write(large_batch(name), **mode)
            kept.update(large_batch(name))
            stores = [e.length for e in disk.take()[seen:] if e.op is Op.STORE]
            return max(stores, default=0) > 1 << 20

        assert write(b"first of this thread")
        assert not write(b"alone")
        assert not write(b"alone again")
        assert write(b"nobody waits", durability="os")
        db.sync()
        other = threading.Thread(target=db.put, args=(b"other", b"v"))
        other.start()
        other.join()
        assert write(b"behind another thread")
        assert db.last_lsn == db.durable_lsn
        assert agree(db)
        image = path + ".image"
        shutil.copytree(path, image)
    os.unlink(image + "/TAIL")
    with oor.open(image, **roomy) as db:
        kept |= {b"other": b"v"}
        assert content(db) == {key: value for key, value in kept.items() if value is not None}


def test_a_sync_write_that_met_a_full_disk_goes_on_with_the_next(path):
    with Recording(path, payloads=False) as recording:
        db = oor.open(path, **ROOMY)
        recording.fail(Op.WRITE, path_part=".wal", errno=errno.ENOSPC, forever=True)
        with pytest.raises(oor.DiskFullError):
            db.put(b"a", b"1")
        assert db.get(b"a") is None
        recording.heal()
        lsn = db.put(b"b", b"2")
        assert lsn == db.durable_lsn
        assert agree(db)
        found = content(db)
        kill(db)
    with oor.open(path, **ROOMY) as db:
        assert content(db) == found


# ---- exceptions anywhere -------------------------------------------------------------------------

WRITES = {
    "put": lambda db: db.put(b"k", b"new", durability="os"),
    "put of a sync store": lambda db: db.put(b"k", b"new"),
    "put sync": lambda db: db.put(b"k", b"new", durability="sync"),
    "delete": lambda db: db.delete(b"k", durability="os"),
    "delete sync": lambda db: db.delete(b"k", durability="sync"),
    "write": lambda db: db.write({b"k": b"new", b"gone": None, b"l": b"other"}, durability="os"),
    "write sync": lambda db: db.write({b"k": b"new", b"gone": None}, durability="sync"),
    "columns": lambda db: db.write_columns(
        b"kl",
        array("I", [1, 1]),
        bytearray(b"12345678abcdefgh"),
        array("I", [8, 8]),
        stamp=True,
        durability="os",
    ),
    "put that fills the memtable": lambda db: db.put(b"k", b"x" * 9000, durability="os"),
}
HERE = (
    "oor/commit.py",
    "oor/publish.py",
    "oor/put.py",
    "oor/state.py",
    "oor/memtable.py",
    "oor/native.py",
    "oor/log.py",
)


class Interrupter:
    """Raises KeyboardInterrupt at the nth line of the write path that runs."""

    def __init__(self, nth):
        self.left = nth
        self.where = None
        self.entered = set()

    def __call__(self, frame, event, argument):
        if not frame.f_code.co_filename.endswith(HERE) or frame.f_code.co_name in (
            "_settle",
            "__exit__",
        ):
            return None
        if frame.f_code.co_name in ("_accept", "_apply", "apply", "save") and caller_settles(frame):
            return None
        return self.line

    def no_signal_here(self, frame):
        """Where the interpreter runs no signal handler: at the end of a `with`, and at a bare
        `try`.
        """
        place = id(frame), frame.f_lineno
        text = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        again = place in self.entered and text.startswith("with ")
        self.entered.add(place)
        return again or text == "try:"

    def line(self, frame, event, argument):
        if event == "line" and not self.no_signal_here(frame):
            self.left -= 1
            if self.left == 0:
                self.where = f"{frame.f_code.co_name}:{frame.f_lineno}"
                sys.settrace(None)
                raise KeyboardInterrupt
        return self.line


def caller_settles(frame):
    while frame is not None:
        if frame.f_code.co_name == "_settle":
            return True
        frame = frame.f_back
    return False


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("reader", [False, True], ids=["", "with a snapshot"])
def test_an_interrupt_at_any_line_of_a_write_leaves_log_and_memtable_the_same(name, reader):
    with scratch() as folder:
        db = oor.open(f"{folder}/store", **TINY)
        db.write({b"k": b"old", b"gone": b"here"}, durability="os")
        snapshot = db.snapshot() if reader else None
        lines = 0
        for nth in range(1, 500):
            interrupter = Interrupter(nth)
            sys.settrace(interrupter)
            try:
                WRITES[name](db)
            except KeyboardInterrupt:
                lines += 1
            finally:
                sys.settrace(None)
            lsn = db.put(b"after", b"%d" % nth, durability="sync" if nth % 2 else "os")
            db.sync()
            assert lsn == db.last_lsn
            assert db.get(b"after") == b"%d" % nth, f"after {interrupter.where}"
            assert agree(db), f"after {interrupter.where}"
            if interrupter.where is None:
                break
            if nth % 20 == 0:
                db.flush()
                db._state.log.rotate()
                db.checkpoint()
        assert lines > 2
        found = content(db)
        if snapshot is not None:
            assert content(snapshot) == {b"k": b"old", b"gone": b"here"}
        kill(db)
        with oor.open(f"{folder}/store", **TINY) as db:
            assert content(db) == found


def test_a_batch_that_is_only_logged_never_waits_for_the_device(path):
    """However large: its caller may be an event loop, and holds the commit lock."""
    options = TINY | {"segment_bytes": 4 << 20, "tail_bytes": 1 << 20, "memtable_bytes": 1 << 20}
    with oor.open(path, **options) as db:
        db.put(b"first", b"", durability="sync")
        pairs = {b"large": bytes(300 << 10)}
        columns = Columns(list(pairs), list(pairs.values()))
        lsn, mode = db._commit.log(columns, pairs, oor.Durability.SYNC, wait=False)
        assert mode is oor.Durability.SYNC and db.durable_lsn < lsn
        db._commit.make_durable(lsn)
        assert db.durable_lsn == lsn and db.get(b"large") == pairs[b"large"]
