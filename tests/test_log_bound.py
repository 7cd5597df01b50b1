"""The log never takes more than max_log_bytes and two segments, however slow the flush is."""

from __future__ import annotations

import os
import shutil
import threading

import pytest
from support.recording import Op, Recording

import oor
from oor import flush

SEGMENT = 64 << 10
LIMITS = {
    "max_log_bytes": 192 << 10,
    "segment_bytes": SEGMENT,
    "tail_bytes": 16 << 10,
    "max_immutables": 1000,
    "l0_slowdown": 1000,
    "l0_stop": 1000,
}
BOUND = LIMITS["max_log_bytes"] + 2 * SEGMENT


@pytest.fixture
def slow_flush(monkeypatch):
    """Each table is only written when writers cannot go on without it, or the store closes."""
    write_table = flush.write_table
    stores = []

    def write_late(*arguments, **named):
        [db] = stores
        state = db._state
        with state.lock:
            while not (state.log_full or state.closed):
                state.changed.wait(0.001)
        return write_table(*arguments, **named)

    monkeypatch.setattr(flush, "write_table", write_late)
    return stores


def sizes_of_the_log(events):
    """The room that segments and spares took behind each operation that changed it."""
    sizes: dict[int, int] = {}
    for event in events:
        if event.result < 0 or not event.path.endswith((".wal", ".spare")):
            continue
        if event.op is Op.ALLOCATE:
            end = event.offset + event.length
            sizes[event.object] = max(sizes.get(event.object, 0), end)
        elif event.op is Op.UNLINK:
            del sizes[event.object]
        yield sum(sizes.values())


def files_of_the_log(path):
    return sum(
        entry.stat().st_size
        for entry in os.scandir(path)
        if entry.name.endswith((".wal", ".spare"))
    )


def write_by_threads(db, mode, count):
    def puts(thread):
        for n in range(count):
            db.put(b"%d.%06d" % (thread, n), bytes(900), durability=mode)

    threads = [threading.Thread(target=puts, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {b"%d.%06d" % (thread, n) for thread in range(4) for n in range(count)}


def write_by_batches(db, mode, count):
    keys = [b"%06d" % n for n in range(4 * count)]
    for start in range(0, len(keys), 13):
        db.write(dict.fromkeys(keys[start : start + 13], bytes(900)), durability=mode)
    return set(keys)


def write_large_batches(db, mode, count):
    """Each larger than a segment, among smaller ones."""
    keys = [b"%06d" % n for n in range(4 * count)]
    for start in range(0, len(keys), 110):
        db.put(keys[start], bytes(900), durability=mode)
        db.write(dict.fromkeys(keys[start + 1 : start + 110], bytes(900)), durability=mode)
    return set(keys)


@pytest.mark.parametrize("write", [write_by_threads, write_by_batches, write_large_batches])
@pytest.mark.parametrize("padding", [False, True], ids=["", "padding"])
@pytest.mark.parametrize("memtable_bytes", [20_000, 64 << 20], ids=["backlog", "one memtable"])
@pytest.mark.parametrize("mode", ["sync", "interval", "os"])
def test_writers_wait_before_the_log_takes_more_than_its_limit(
    tmp_path, slow_flush, mode, memtable_bytes, padding, write
):
    told = []
    options = LIMITS | {"memtable_bytes": memtable_bytes, "wal_block_padding": padding}
    with Recording(tmp_path, payloads=False) as disk:
        with oor.open(
            tmp_path / "s", durability=mode, on_stall=lambda why, _: told.append(why), **options
        ) as db:
            slow_flush.append(db)
            keys = write(db, mode, 300)
            log = db.stats().log
            assert set(db.keys()) == keys
        seen = list(sizes_of_the_log(disk.take()))
    assert max(seen) == log.disk_bytes_max <= BOUND
    assert "log" in told, "a flush that is so slow must be waited for"
    with oor.open(tmp_path / "s", **options) as db:
        assert set(db.keys()) == keys


def test_segments_that_grow_keep_to_the_limit_too(tmp_path, slow_flush):
    """The first ones of a start are smaller than the rest: a limit may be met by any of them."""
    segment = 4 << 20
    limits = LIMITS | {"segment_bytes": segment, "tail_bytes": 256 << 10}
    for most in (1 << 20, 3 << 20, 6 << 20):
        with Recording(tmp_path, payloads=False) as disk:
            with oor.open(
                tmp_path / f"{most}", durability="os", **limits | {"max_log_bytes": most}
            ) as db:
                slow_flush[:] = [db]
                for n in range(900):
                    db.put(b"%06d" % n, bytes(40_000))
                log = db.stats().log
            seen = list(sizes_of_the_log(disk.take()))
        assert max(seen) == log.disk_bytes_max <= most + 2 * segment
        assert log.recycled, "the workload must come to use files again"


def test_what_the_log_takes_is_counted_right(tmp_path):
    with oor.open(tmp_path / "s", durability="os", log_threads=False, **LIMITS) as db:
        for write in (write_by_batches, write_large_batches):
            write(db, "os", 300)
            db.checkpoint()
            assert db.stats().log.disk_bytes == files_of_the_log(db.path)


def test_padding_that_grows_faster_than_the_memtable_brings_a_flush(tmp_path):
    """A block a put: the log has its share of the limit when the memtable has 2 % of it."""
    with oor.open(
        tmp_path / "s", durability="sync", wal_block_padding=True, checkpoint_interval=3600.0,
        **LIMITS,
    ) as db:  # fmt: skip
        for n in range(200):
            db.put(b"%d" % n, b"v")
        with db._state.lock:
            assert db._state.flushes or db._state.changed.wait_for(lambda: db._state.flushes, 60)


def test_a_key_that_is_always_overwritten_does_not_pin_the_log(tmp_path):
    with oor.open(tmp_path / "s", durability="os", checkpoint_interval=3600.0, **LIMITS) as db:
        for _ in range(3000):
            db.put(b"one", bytes(900))
        assert db.stats().log.disk_bytes_max <= BOUND
        assert db.stats().flushes >= 5


def put_once_there_is_room(db):
    while True:
        try:
            return db.put(b"more", b"v")
        except oor.DiskFullError:
            pass  # of an attempt that was under way when room was made


def test_writers_of_a_full_log_are_told_when_the_flush_has_no_room(tmp_path, monkeypatch):
    def no_room(*_, **__):
        raise oor.DiskFullError("planted", path="here")

    monkeypatch.setattr(flush, "write_table", no_room)
    for mode in ("sync", "os"):
        db = oor.open(tmp_path / mode, durability=mode, **LIMITS)
        kept = 0
        with pytest.raises(oor.DiskFullError, match="planted"):
            for n in range(1000):
                db.put(b"%d" % n, bytes(900))
                kept += 1
        assert kept > 100
        assert len(list(db.keys())) == kept
        assert not db._commit._waiting
        monkeypatch.undo()
        assert put_once_there_is_room(db) == db.last_lsn
        assert len(list(db.keys())) == kept + 1
        db.close()
        monkeypatch.setattr(flush, "write_table", no_room)


def test_a_recovery_flushes_what_it_would_have_to_copy_beyond_the_limit(tmp_path):
    with oor.open(tmp_path / "s", durability="os", **LIMITS | {"background": False}) as db:
        kept = write_by_batches(db, "os", 55)
        copy = tmp_path / "copy"
        shutil.copytree(db.path, copy)
        assert BOUND - SEGMENT <= files_of_the_log(copy) <= BOUND
    with Recording(tmp_path, payloads=False) as disk:
        with oor.open(copy, **LIMITS) as again:
            assert set(again.keys()) == kept
            assert again.recovery.tables_made == 1 and again.recovery.records == len(kept)
        made = [event for event in disk.take() if event.path.startswith(str(copy))]
        first = next(n for n, event in enumerate(made) if event.op is Op.UNLINK)
        assert list(sizes_of_the_log(made[:first]))[-1] == SEGMENT, "beside the old ones"


def wait_for_the_end(state):
    with state.lock:
        state.changed.wait_for(lambda: state.closed)


@pytest.fixture
def blocked(tmp_path, monkeypatch):
    """A store that is never flushed, and a thread that waits for its log."""
    db = oor.open(tmp_path / "s", durability="os", **LIMITS)
    state = db._state
    monkeypatch.setattr("oor.background.flush_oldest", wait_for_the_end)
    monkeypatch.setattr(state, "cut_log", lambda: None)
    errors = []

    def write():
        try:
            for n in range(1000):
                db.put(b"%d" % n, bytes(900))
        except oor.OorError as error:
            errors.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    while not state.log_full:
        pass
    yield db, writer, errors
    db.close()
    writer.join()


def test_a_try_write_does_not_wait_for_the_log_to_be_cut(blocked):
    db, _, _ = blocked
    for mode in ("os", "sync"):
        with pytest.raises(oor.WouldStallError, match="max_log_bytes=196,608"):
            db.try_put(b"k", b"v", durability=mode)


def test_closing_ends_the_wait_for_a_full_log(blocked):
    db, writer, errors = blocked
    db.close()
    writer.join()
    [error] = errors
    assert isinstance(error, oor.ClosedError)
