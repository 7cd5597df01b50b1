"""The short way of a put in a store that waits for no sync: the same promises as the long one."""

from __future__ import annotations

import os
import sys
import threading
from itertools import repeat

import pytest
from support.engine import UNHINDERED, content, kill

import oor
from oor.commit import ALLOWANCES, Commit
from oor.memtable import ABSENT, ENTRY_BYTES


@pytest.mark.parametrize("durability", ["interval", "os"])
def test_a_put_of_a_store_that_waits_for_no_sync_goes_the_short_way(
    tmp_path, durability, monkeypatch
):
    long_way = []
    put = Commit.put
    monkeypatch.setattr(
        Commit, "put", lambda self, *given: long_way.append(given) or put(self, *given)
    )
    with oor.open(tmp_path / "s", durability=durability) as db:
        for n in range(1000):
            assert db.put(b"%d" % n, b"v%d" % n) == n + 1
        assert len(long_way) < 100, "but while a thread of the log has it for a moment"
        assert dict(db) == {b"%d" % n: b"v%d" % n for n in range(1000)}
    long_way.clear()
    with oor.open(tmp_path / "s", durability="sync") as db:
        last_lsn = db.put(b"k", b"v")
        assert db.durable_lsn >= last_lsn, "a durable put waits, and goes a short way of its own"
        assert not long_way
        assert db.put(b"k", b"w", durability="os") == last_lsn + 1
        assert len(long_way) == 1


def test_memtables_of_short_puts_are_full_when_the_option_says(tmp_path):
    limit, records, record = 1 << 20, 20_000, ENTRY_BYTES + 9 + 100
    options = {"memtable_bytes": limit, "background": False, **UNHINDERED}
    with oor.open(tmp_path / "s", durability="os", **options) as db:
        for n in range(records):
            db.put(b"%09d" % n, bytes(100))
        full = db._state.view.immutables
        assert len(full) == records * record // limit == 5
        for memtable in full:
            assert limit <= memtable.size <= limit + limit // ALLOWANCES + record
        left = records * record - sum(len(memtable) for memtable in full) * record
        assert abs(db.stats().memtable_bytes - left) <= limit // ALLOWANCES + record


def test_a_short_put_waits_behind_a_durable_one_that_is_logged(tmp_path):
    """Memtable order is LSN order: what overtakes nobody in the log overtakes nobody in memory."""
    with oor.open(tmp_path / "s", durability="os", background=False) as db:
        before = db.put(b"before", b"the first put is given what the next ones may take")
        pairs = {b"k": b"first", b"other": b"waits"}
        columns = oor.native.Columns(list(pairs), list(pairs.values()))
        last, mode = db._commit.log(columns, pairs, oor.Durability.SYNC)
        assert db.get(b"k") is None
        assert db.put(b"k", b"second") == last + 1 == before + 3
        assert mode is oor.Durability.SYNC
        assert db[b"k"] == b"second" and db[b"other"] == b"waits"


def test_a_snapshot_keeps_what_a_short_put_overwrites(tmp_path):
    with oor.open(tmp_path / "s", durability="os") as db:
        db.put(b"k", b"old")
        with db.snapshot() as snapshot:
            db.put(b"k", b"new")
            db.put(b"other", b"new")
            assert snapshot.get(b"k") == b"old" and snapshot.get(b"other") is None
        assert db[b"k"] == b"new"


def test_what_is_no_bytes_is_taken_as_by_the_long_way(tmp_path):
    with oor.open(tmp_path / "s", durability="os") as db:
        key = bytearray(b"k")
        db.put(key, memoryview(b"v"))
        key[0] = 0
        assert dict(db) == {b"k": b"v"}
        with pytest.raises(TypeError):
            db.put("k", b"v")
        with pytest.raises(oor.LimitError):
            db.put(bytes(70_000), b"v")
        with pytest.raises(oor.LimitError):
            db.put(b"k", b"v", durability="never")
        assert db.last_lsn == 1


def test_a_kept_put_keeps_the_store_and_says_that_it_is_closed(tmp_path):
    put = oor.open(tmp_path / "s", durability="os").put
    assert put(b"k", b"v") == 1
    put.__self__.close()
    with pytest.raises(oor.ClosedError):
        put(b"k", b"w")


def test_a_kept_put_of_a_forked_child_is_refused(tmp_path):
    with oor.open(tmp_path / "s", durability="os") as db:
        put = db.put
        put(b"k", b"v")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                put(b"k", b"child")
            except oor.ClosedError:
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert db[b"k"] == b"v" and db.last_lsn == 1


def test_an_interrupted_short_put_leaves_log_and_memory_agreeing(tmp_path):
    """An exception between the log's answer and the memtable: the log is the truth."""

    class Interrupting(dict):
        armed = False

        def __setitem__(self, key, value):
            if self.armed:
                type(self).armed = False
                raise KeyboardInterrupt
            super().__setitem__(key, value)

    db = oor.open(tmp_path / "s", durability="os", background=False)
    db.put(b"a", b"1")
    active = db._state.view.active
    active.data = Interrupting(active.data)
    Interrupting.armed = True
    with pytest.raises(KeyboardInterrupt):
        db.put(b"b", b"2")
    assert db[b"b"] == b"2" and db.last_lsn == 2
    assert db.put(b"c", b"3") == 3
    kill(db)
    with oor.open(tmp_path / "s") as again:
        assert content(again) == {b"a": b"1", b"b": b"2", b"c": b"3"}


def test_threads_that_put_the_short_way_leave_the_newest_of_each_key(tmp_path):
    with oor.open(tmp_path / "s", durability="os") as db:
        newest = [{} for _ in range(4)]

        def work(mine):
            for n in range(5000):
                key = b"%d" % (n % 7)
                value = b"%d/%d" % (id(mine), n)
                mine[key] = max(mine.get(key, (0, b"")), (db.put(key, value), value))

        threads = [threading.Thread(target=work, args=(mine,)) for mine in newest]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for n in range(7):
            key = b"%d" % n
            assert db[key] == max(mine[key] for mine in newest)[1]


def put_shortly(db, key, value):
    """The short way and no other: the log's own threads are in the way now and then."""
    while not (lsn := db._commit.put_shortly(db._state, key, value)):
        pass
    return lsn


def test_a_short_put_does_not_pass_by_whoever_holds_the_commit_lock(tmp_path):
    with oor.open(tmp_path / "s", durability="os") as db:
        db.put(b"first", b"the first put is given what the next ones may take")
        before = db.last_lsn
        putting = threading.Thread(target=db.put, args=(b"k", b"v"))
        with db._state.lock:
            assert db._commit.put_shortly(db._state, b"k", b"v") == 0
            putting.start()
            assert db.last_lsn == before and b"k" not in db._state.view.active.data
        putting.join()
        assert db.last_lsn == before + 1 and db[b"k"] == b"v"
        assert put_shortly(db, b"k", b"w") == before + 2


@pytest.mark.parametrize("has_view", [False, True], ids=["", "with a snapshot"])
def test_a_short_put_without_memory_is_in_neither_log_nor_memtable(tmp_path, has_view):
    testing = pytest.importorskip("_testcapi", reason="this Python has no way to refuse memory")
    with oor.open(tmp_path / "s", durability="os", background=False) as db:
        db.put(b"first", b"the first put is given what the next ones may take")
        kept, refused, state = {b"first": db[b"first"]}, 0, db._state
        snapshot = db.snapshot() if has_view else None
        for n in range(4000):
            key, value = b"%05d" % n, b"v%05d" % n
            before = db.last_lsn
            testing.set_nomemory(n % 8, n % 8 + 1)
            try:
                lsn = db._commit.put_shortly(state, key, value)
            except MemoryError:
                lsn = None
            finally:
                testing.remove_mem_hooks()
            if lsn:
                assert lsn == before + 1 and db[key] == value
                kept[key] = value
            else:
                refused += lsn is None
                assert db.last_lsn == before and key not in state.view.active.data
        assert refused > 10 and len(kept) > 1000
        assert state.view.active.last_lsn == db.last_lsn
        if snapshot is not None:
            assert dict(snapshot) == {b"first": kept[b"first"]}
            snapshot.close()
        kill(db)
    with oor.open(tmp_path / "s", background=False) as db:
        assert content(db) == kept


def test_a_durable_put_without_memory_is_in_log_and_memtable_or_in_neither(tmp_path):
    testing = pytest.importorskip("_testcapi", reason="this Python has no way to refuse memory")
    with oor.open(tmp_path / "s", durability="sync", background=False) as db:
        db.put(b"first", b"")
        kept, refused = {b"first": b""}, []
        snapshot = db.snapshot()
        for n in range(400):
            key, value = b"%05d" % n, b"v%05d" % n
            testing.set_nomemory(n % 20, n % 20 + 1 + n % 3)
            try:
                lsn = db.put(key, value)
            except MemoryError:
                lsn = None
            finally:
                testing.remove_mem_hooks()
            if lsn is None:
                refused.append(key)
                db.sync()  # shows what is durable and found no memory to be shown
            else:
                assert lsn == db.last_lsn <= db.durable_lsn and db[key] == value
                kept[key] = value
            assert not db._commit._waiting
        assert len(refused) > 20 and len(kept) > 100
        found = content(db)
        assert {key: found[key] for key in kept} == kept and set(found) - set(kept) <= set(refused)
        assert dict(snapshot) == {b"first": b""}
        snapshot.close()
        kill(db)
    with oor.open(tmp_path / "s", background=False) as db:
        assert content(db) == found


@pytest.mark.parametrize("durability", ["os", "sync"])
def test_short_puts_keep_one_reference_to_what_they_store_and_none_to_the_rest(
    tmp_path, durability
):
    with oor.open(tmp_path / "s", durability=durability, background=False) as db:
        db.put(b"first", b"the first put is given what the next ones may take")
        state, waiting = db._state, db._commit._waiting
        keys, values = [b"%05d" % n for n in range(100)], [b"v%05d" % n for n in range(100)]
        others = [state, state.view, state.view.active, state.view.active.data, ABSENT, waiting]
        counts = list(map(sys.getrefcount, others))
        for _ in range(3):
            assert all(map(put_shortly, repeat(db), keys, values))
        assert list(map(sys.getrefcount, others)) == counts and not waiting
        fresh = sum(map(sys.getrefcount, [b"x%05d" % n for n in range(100)]))
        assert sum(map(sys.getrefcount, keys)) == sum(map(sys.getrefcount, values)) == fresh + 100


def test_memtables_of_durable_puts_are_full_when_the_option_says(tmp_path):
    limit, records, record = 64 << 10, 1000, ENTRY_BYTES + 9 + 100
    options = {"memtable_bytes": limit, "background": False, **UNHINDERED}
    with oor.open(tmp_path / "s", durability="sync", **options) as db:
        for n in range(records):
            db.put(b"%09d" % n, bytes(100))
        full = db._state.view.immutables
        assert len(full) == records // (-(-limit // record)) == 4
        assert all(limit <= memtable.size < limit + record for memtable in full)
        assert dict(db) == {b"%09d" % n: bytes(100) for n in range(records)}


def test_a_durable_put_does_not_pass_by_whoever_holds_the_commit_lock(tmp_path):
    with oor.open(tmp_path / "s", durability="sync") as db:
        putting = threading.Thread(target=db.put, args=(b"k", b"v"))
        with db._state.lock:
            putting.start()
            while db.durable_lsn < 1:
                pass
            assert b"k" not in db._state.view.active.data
        putting.join()
        assert db[b"k"] == b"v" and not db._commit._waiting
