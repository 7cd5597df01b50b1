"""Many threads, closes in the middle, and children that are killed."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import struct
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from support.engine import TINY, content, kill

import oor

BUSY = {
    "segment_bytes": 64 << 10, "tail_bytes": 32 << 10, "memtable_bytes": 32 << 10, "table_bytes": 16 << 10,
    "l0_trigger": 2, "checkpoint_interval": 0.05, "level_base_bytes": 64 << 10,
}  # fmt: skip
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "store")


def run_all(*targets):
    """Run them as threads to their ends; raises what the first of them raised."""
    errors = []

    def guarded(target):
        try:
            target()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(target,)) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    if errors:
        raise errors[0]


def test_every_write_of_sixteen_threads_is_there_while_others_read_flush_and_compact(path):
    acked = [{} for _ in range(16)]
    done = threading.Event()
    with oor.open(path, **BUSY) as db:

        def writer(number):
            for i in range(120):
                key, value = b"%02d.%04d" % (number, i % 60), b"%d" % i * 10
                db.put(key, value, durability=("sync", "interval", "os", "os")[(i + number) % 4])
                acked[number][key] = value

        def reader():
            while not done.is_set():
                for number in range(16):
                    known = dict(acked[number])
                    for key, value in list(known.items())[-5:]:
                        seen = db.get(key)
                        assert seen is not None and int(seen[:1]) >= 0, key

        def snapshotter():
            while not done.is_set():
                with db.snapshot() as snapshot:
                    first = content(snapshot)
                    assert content(snapshot) == first
                    assert dict(snapshot.scan(reverse=True)) == first

        def housekeeper():
            while not done.is_set():
                db.flush()
                db.checkpoint()
                db.compact()

        def writers():
            try:
                run_all(*(lambda n=n: writer(n) for n in range(16)))
            finally:
                done.set()

        run_all(writers, reader, snapshotter, housekeeper)
        expected = {key: value for mine in acked for key, value in mine.items()}
        assert content(db) == expected
    with oor.open(path, **BUSY) as db:
        assert db.recovery.clean
        assert content(db) == expected


@pytest.mark.parametrize("mode", ["sync", "interval", "os"])
def test_a_close_while_others_write_ends_every_call_and_keeps_what_was_acknowledged(path, mode):
    db = oor.open(path, **BUSY)
    acked = [{} for _ in range(6)]
    started = threading.Barrier(10)

    def writer(number):
        started.wait()
        with pytest.raises(oor.ClosedError):
            for i in range(100_000):
                db.put(b"%d.%d" % (number, i), b"v" * 50, durability=mode)
                acked[number][b"%d.%d" % (number, i)] = b"v" * 50

    def reader():
        started.wait()
        with pytest.raises(oor.ClosedError):
            while True:
                db.get(b"1.1")
                for _ in db.scan(limit=50):
                    pass

    def housekeeper():
        started.wait()
        with pytest.raises(oor.ClosedError):
            while True:
                db.flush()
                db.compact()
                db.checkpoint()

    def closer():
        started.wait()
        while sum(map(len, acked)) < 200:
            threading.Event().wait(0.001)
        db.close()

    run_all(*(lambda n=n: writer(n) for n in range(6)), reader, reader, housekeeper, closer)
    with oor.open(path, **BUSY) as db:
        found = content(db)
    assert {key: value for mine in acked for key, value in mine.items()}.items() <= found.items()


def test_an_iterator_and_a_snapshot_outlive_the_close_without_harm(path):
    db = oor.open(path, **TINY)
    db.write({b"%05d" % i: b"v" * 20 for i in range(3000)}, durability="os")
    db.compact()
    scan = db.scan()
    next(scan)
    snapshot = db.snapshot()
    db.close()
    with contextlib.suppress(oor.ClosedError):
        assert len(list(scan)) == 2999
    with pytest.raises(oor.ClosedError):
        snapshot.get(b"00001")


def test_a_checkpoint_and_a_flush_that_cross_leave_the_store_writable(path):
    db = oor.open(path, **TINY)
    db.put(b"a", b"1")
    rotate = db._state.log.rotate

    def crossing():
        number = rotate()
        db._state.log.rotate = rotate
        db.put(b"b", b"2")
        db.flush()
        db.checkpoint()
        return number

    db._state.log.rotate = crossing
    db.checkpoint()
    db.put(b"c", b"3")
    found = content(db)
    kill(db)
    with oor.open(path, **TINY) as db:
        assert content(db) == found == {b"a": b"1", b"b": b"2", b"c": b"3"}


def test_a_thread_of_the_store_that_ends_ends_writing_and_no_writer_waits_for_it(path):
    db = oor.open(path, **BUSY | {"max_immutables": 1})
    db._state.manifest.new_number = None  # what a bug might do
    with pytest.raises(oor.FailedError):
        for i in range(100_000):
            db.put(b"%d" % i, b"v" * 1000, durability="os")
    kill(db)


# ---- processes -----------------------------------------------------------------------------------

CHILD = """
import os, struct, sys, threading
import oor
path, mode, out = sys.argv[1], sys.argv[2], int(sys.argv[3])
db = oor.open(path, segment_bytes=64 << 10, tail_bytes=32 << 10, memtable_bytes=64 << 10, l0_trigger=2,
              durability=mode, checkpoint_interval=0.05)
def work(number):
    i = 0
    while True:
        lsn = db.put(b"%02d.%06d" % (number, i), b"%d" % i * 20)
        os.write(out, struct.pack("<QII", lsn, number, i))
        i += 1
for n in range(4):
    threading.Thread(target=work, args=(n,), daemon=True).start()
threading.Event().wait()
"""


@pytest.mark.parametrize("mode", ["sync", "interval", "os"])
def test_a_child_that_is_killed_loses_nothing_it_has_acknowledged(path, mode):
    acked, last = {}, 0
    for round_ in range(2):
        read_end, write_end = os.pipe()
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, path, mode, str(write_end)],
            pass_fds=[write_end],
            cwd=ROOT,
        )
        os.close(write_end)
        data = b""
        while len(data) < 16 * (400 if mode == "sync" else 3000):
            piece = os.read(read_end, 1 << 16)
            assert piece, "the child ended by itself"
            data += piece
        child.send_signal(signal.SIGKILL)
        while piece := os.read(read_end, 1 << 16):
            data += piece
        child.wait()
        os.close(read_end)
        lsns = []
        for lsn, number, i in struct.iter_unpack("<QII", data[: len(data) // 16 * 16]):
            acked[b"%02d.%06d" % (number, i)] = b"%d" % i * 20
            lsns.append(lsn)
        assert min(lsns) > last, "an LSN was given twice"
        assert len(set(lsns)) == len(lsns)
        last = max(lsns)
        db = oor.open(path)
        found = content(db)
        missing = {key for key, value in acked.items() if found.get(key) != value}
        assert not missing, f"{len(missing)} of {len(acked)} acknowledged writes are lost"
        assert db.put(b"parent", b"") > last
        db.close()
        last += 1


def in_child(script, *arguments, timeout=30):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        capture_output=True, text=True, timeout=timeout, cwd=ROOT,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_a_forked_child_raises_and_changes_nothing_even_if_a_lock_was_held(path):
    code, out, err = in_child(
        """
        import os, signal, sys, threading
        import oor
        db = oor.open(sys.argv[1], durability="os")
        db.put(b"a", b"1")
        held, go = threading.Event(), threading.Event()
        def hold():
            with db._state.lock:
                held.set()
                go.wait()
        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)
            calls = [lambda: db.put(b"c", b""), lambda: db.get(b"a"), lambda: db.delete(b"a"),
            db.flush, db.compact,
                     lambda: list(db.scan()), db.checkpoint, db.sync, db.snapshot, lambda:
                     db.write({b"x": b""})]
            for call in calls:
                try:
                    call()
                    os._exit(3)
                except oor.ClosedError:
                    pass
            db.close()
            sys.exit(0)
        status = os.waitpid(pid, 0)[1]
        go.set()
        thread.join()
        print(status, db.put(b"b", b"2", durability="sync"), sorted(db.keys()))
        db.close()
        """,
        path,
    )
    assert code == 0, err
    assert out.splitlines()[-1] == "0 2 [b'a', b'b']", err
    with oor.open(path) as db:
        assert db.recovery.clean


def test_a_forked_child_does_not_keep_a_dead_parents_store_locked(path):
    grandchild = fork_and_die(path)
    try:
        with oor.open(path) as db:
            assert db[b"a"] == b"1"
    finally:
        os.kill(grandchild, signal.SIGKILL)


def fork_and_die(path):
    """A child that opens the store, forks a child of its own and is killed; that one's number is
    returned.
    """
    read_end, write_end = os.pipe()
    script = (
        "import os, sys, time, oor\n"
        "db = oor.open(sys.argv[1])\n"
        "db.put(b'a', b'1')\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    os.write(int(sys.argv[2]), b'%d' % os.getpid()); time.sleep(60); os._exit(0)\n"
        "time.sleep(60)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, path, str(write_end)], pass_fds=[write_end], cwd=ROOT
    )
    os.close(write_end)
    grandchild = int(os.read(read_end, 32))
    os.close(read_end)
    child.kill()
    child.wait()
    return grandchild


@pytest.mark.parametrize(
    "end", ["return", "sys.exit(3)", "raise RuntimeError", "os.kill(os.getpid(), 15)"]
)
def test_a_process_that_ends_without_close_loses_nothing(path, end):
    code, _, err = in_child(
        f"""
        import os, sys
        import oor
        def main():
            db = oor.open(sys.argv[1], durability="os", memtable_bytes=4096)
            for i in range(500):
                db.put(b"%d" % i, b"v" * 100)
            {end}
        main()
        """,
        path,
    )
    assert code in (0, 3, 1, -15), err
    with oor.open(path) as db:
        assert len(content(db)) == 500


def test_a_handle_that_is_dropped_lets_go_of_the_store(path):
    db = oor.open(path)
    db.put(b"a", b"1")
    with pytest.warns(ResourceWarning):
        del db
        gc.collect()
    with oor.open(path) as db:
        assert db[b"a"] == b"1"
