"""Read-only handles: they show what is logged, touch nothing, and live beside a writer."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Mapping, MutableMapping

import pytest
from support.recording import Op, Recording

import oor
import oor.reader
from oor.errors import ClosedError, CorruptionError, ReadOnlyError, StorageError
from oor.reader import ATTEMPTS

SMALL = {
    "memtable_bytes": 20_000, "segment_bytes": 64 * 1024, "tail_bytes": 16 * 1024,
    "max_log_bytes": 100_000, "l0_trigger": 2, "table_bytes": 10_000,
}  # fmt: skip


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "s")


@pytest.fixture
def db(path):
    with oor.open(path, durability="os", background=False) as db:
        yield db


def read(path, **options) -> oor.ReadOnlyDB:
    return oor.open(path, read_only=True, **options)


def test_a_reader_shows_tables_and_log_beside_a_writer(db, path):
    db.write({b"a": b"1", b"b": b"2"})
    db.flush()
    db.write({b"b": None, b"c": b"3"})
    with read(path) as reader:
        assert dict(reader.scan()) == {b"a": b"1", b"c": b"3"}
        assert reader.last_lsn == db.last_lsn == 4
        assert (reader[b"a"], reader.get(b"b"), reader.get_many([b"c", b"b"])) == (
            b"1",
            None,
            [b"3", None],
        )
        assert reader.first(reverse=True) == (b"c", b"3")
        assert reader.get_into(b"c", bytearray(1)) == 1
        assert sum(map(len, reader.scan_columns())) == len(reader) == 2
        assert isinstance(reader, Mapping) and not isinstance(reader, MutableMapping)


def test_a_reader_shows_one_moment_until_it_is_refreshed(db, path):
    db.put(b"a", b"1")
    with read(path) as reader, reader.snapshot() as snapshot:
        walk = reader.scan()
        db.put(b"a", b"2")
        db.put(b"b", b"2")
        db.compact()
        assert dict(reader.scan()) == {b"a": b"1"}
        assert [pin.owner for pin in reader.pins()][:2] == ["snapshot", "scan"]
        assert reader.refresh() == db.last_lsn
        assert dict(reader.scan()) == {b"a": b"2", b"b": b"2"}
        assert dict(snapshot.scan()) == dict(walk) == {b"a": b"1"}


def test_a_reader_of_a_store_that_nobody_writes_changes_no_byte_and_takes_no_lock(path):
    with oor.open(path, durability="os", background=False) as db:
        db.write({b"%d" % i: b"v" for i in range(100)})
    with Recording(path) as recording, read(path) as reader:
        assert len(reader) == 100
    assert {event.op for event in recording.events} <= {
        Op.OPEN, Op.READ, Op.SIZE, Op.LIST, Op.EXISTS, Op.CLOSE,
    }  # fmt: skip
    opens = [event for event in recording.events if event.op is Op.OPEN]
    writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
    assert opens and not any(event.flags & writes for event in opens)


def test_a_reader_shows_what_a_killed_writer_had_logged(path):
    program = (
        "import oor, os, sys\n"
        "db = oor.open(sys.argv[1], durability='os', background=False)\n"
        "for i in range(1000): db.put(b'%04d' % i, b'v')\n"
        "os._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", program, path], check=False)
    for _ in range(2):
        with read(path) as reader:
            assert list(reader) == [b"%04d" % i for i in range(1000)]
    with oor.open(path) as db:
        assert db.recovery.records == 1000


def test_every_write_is_refused(db, path):
    with read(path) as reader:
        for write in (
            lambda: reader.put(b"a", b"1"),
            lambda: reader.delete(b"a"),
            lambda: reader.write({b"a": b"1"}),
            lambda: reader.write_columns(b"", [], b"", []),
            lambda: reader.__setitem__(b"a", b"1"),
            lambda: reader.__delitem__(b"a"),
            lambda: reader.pop(b"a", None),
            lambda: reader.update({b"a": b"1"}),
            lambda: reader.clear(),
            lambda: reader.flush(),
            lambda: reader.compact(),
        ):
            with pytest.raises(ReadOnlyError, match="read_only"):
                write()


def test_a_closed_reader_says_so(db, path):
    db.put(b"a", b"1")
    reader = read(path)
    walk, snapshot = reader.scan(), reader.snapshot()
    reader.close()
    reader.close()
    for use in (
        lambda: reader[b"a"], reader.scan, reader.refresh, reader.snapshot, reader.pins,
        lambda: next(walk), lambda: snapshot[b"a"],
    ):  # fmt: skip
        with pytest.raises(ClosedError):
            use()


def test_a_reader_is_pickled_as_its_path_and_options(db, path):
    db.put(b"a", b"1")
    with read(path, cache_bytes=12345) as reader:
        db.put(b"a", b"2")
        with pickle.loads(pickle.dumps(reader)) as copy:
            assert copy[b"a"] == b"2" and reader[b"a"] == b"1"
            assert copy.options == reader.options and copy.options.cache_bytes == 12345
        program = "import pickle, sys; print(pickle.loads(sys.stdin.buffer.read())[b'a'].decode())"
        done = subprocess.run(
            [sys.executable, "-c", program],
            input=pickle.dumps(reader),
            capture_output=True,
            check=True,
        )
        assert done.stdout.split()[-1] == b"2"
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(db)


def test_a_store_that_is_not_there_is_an_error_and_is_not_made(tmp_path):
    with pytest.raises(StorageError) as caught:
        read(tmp_path / "nothing")
    assert caught.value.errno == errno.ENOENT
    assert not (tmp_path / "nothing").exists()


def test_damage_is_an_error_however_often_it_is_read(db, path):
    db.put(b"a", b"1")
    db.flush()
    db.close()
    [table] = [name for name in os.listdir(path) if name.endswith(".sst")]
    with open(os.path.join(path, table), "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"?")
    with pytest.raises(CorruptionError, match="magic"):
        read(path)


# ---- beside a writer that replaces what is being read ----


@pytest.mark.parametrize("disturbance", ["compact", "checkpoint", "close"])
def test_a_store_that_changes_while_it_is_read_is_read_again(path, monkeypatch, disturbance):
    db = oor.open(
        path, durability="os", background=False, segment_bytes=32 * 1024, tail_bytes=16 * 1024
    )
    for i in range(300):
        db.put(b"%04d" % i, bytes(500))
        if i % 100 == 99:
            db.flush()
    db.put(b"last", b"1")
    analyze, times = oor.reader.analyze, []

    def disturbed(directory):
        plan = analyze(directory)
        times.append(plan)
        if len(times) == 1:
            db.put(b"last", b"2")
            getattr(db, disturbance)()
        return plan

    monkeypatch.setattr(oor.reader, "analyze", disturbed)
    with read(path) as reader:
        assert len(times) == (1 if disturbance == "close" else 2)
        assert reader[b"last"] == b"2" and len(reader) == 301
    db.close()


def test_a_store_that_never_holds_still_is_given_up_after_some_time(db, path, monkeypatch):
    analyze, plans = oor.reader.analyze, []

    def disturbed(directory):
        plan = analyze(directory)
        plans.append(plan)
        db.put(b"a", b"1")
        db.checkpoint()
        return plan

    monkeypatch.setattr(oor.reader, "analyze", disturbed)
    monkeypatch.setattr(oor.reader, "PATIENCE", 0.5)
    with pytest.raises(oor.OorError, match="changed .* try again"):
        read(path)
    assert len(plans) >= ATTEMPTS


@pytest.mark.parametrize("changes", [True, False])
def test_an_error_of_a_store_that_changes_is_not_the_stores(db, path, monkeypatch, changes):
    """A reader that meets many of them in a row opens all the same; of one that rests, it says
    so.
    """
    analyze, errors = oor.reader.analyze, []

    def failing(directory):
        plan = analyze(directory)
        if len(errors) < 3 * ATTEMPTS:
            if changes:
                db.put(b"a", b"1")
                db.checkpoint()
            errors.append(oor.StorageError("a segment is gone", path=directory))
            raise errors[-1]
        return plan

    monkeypatch.setattr(oor.reader, "analyze", failing)
    if not changes:
        # A look at a large log may take longer than that, and is no change.
        monkeypatch.setattr(oor.reader, "PATIENCE", 0.0)
    if changes:
        with read(path) as reader:
            assert reader[b"a"] == b"1" and len(errors) == 3 * ATTEMPTS
    else:
        with pytest.raises(oor.StorageError, match="a segment is gone"):
            read(path)
        assert len(errors) == ATTEMPTS


def test_readers_see_whole_batches_and_nothing_older_than_when_they_opened(path):
    done, acknowledged, failures = threading.Event(), [0], []

    def write() -> None:
        with oor.open(path, durability="os", **SMALL) as db:
            started.set()
            i = 0
            while not done.is_set():
                i += 1
                filler = {b"f%03d" % (i * 7 % 500): b"%d" % i * 20}
                db.write({b"first": b"%d" % i, b"last": b"%d" % i, **filler})
                acknowledged[0] = i
                if i % 16 == 0:
                    # A thread that never rests keeps the interpreter from the reader.
                    done.wait(0.001)

    started = threading.Event()
    writer = threading.Thread(target=write)
    writer.start()
    started.wait()
    try:
        while acknowledged[0] == 0:
            pass
        reader = read(path)
        for attempt in range(40):
            floor = acknowledged[0]
            if attempt % 2:
                reader.refresh()
            else:
                reader.close()
                reader = read(path)
            first, last = int(reader[b"first"]), int(reader[b"last"])
            if first != last or first < floor:
                failures.append((floor, first, last))
        reader.close()
    finally:
        done.set()
        writer.join()
    assert not failures


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_is_told_to_open_the_store_again(db, path):
    db.put(b"a", b"1")
    reader = read(path)
    walk = reader.scan()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            for use in (lambda: reader[b"a"], lambda: next(walk), lambda: db.get(b"a"), db.scan):
                try:
                    use()
                except ClosedError as error:
                    assert "parent process" in str(error)
                else:
                    os._exit(2)
            with read(path) as own:
                code = 0 if own[b"a"] == b"1" else 3
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert next(walk) == (b"a", b"1")
    reader.close()
