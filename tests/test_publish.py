"""What waited for the device is shown in LSN order, by whoever found it durable, for all."""

from __future__ import annotations

import itertools
import threading

import pytest
from support.engine import TINY, content
from test_commit import agree

import oor
import oor.commit
from oor.memtable import Memtable
from oor.native import Columns, lib

ROOMY = TINY | {"memtable_bytes": 1 << 20, "segment_bytes": 1 << 20, "tail_bytes": 64 << 10}


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "store")


OWN_OR_ASKED = pytest.mark.parametrize("mode", [{}, {"durability": "sync"}], ids=["own", "asked"])


def put_by_threads(db, threads, count, **mode):
    """Each thread looks its record up behind each put; returns (acknowledged, errors)."""
    kept, errors = set(), []

    def puts(thread):
        for n in range(count):
            key = b"%d.%d" % (thread, n)
            try:
                db.put(key, key, **mode)
            except (MemoryError, AssertionError) as error:
                errors.append(error)
                continue
            assert db.get(key) == key
            kept.add(key)

    running = [threading.Thread(target=puts, args=(n,)) for n in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return kept, errors


@OWN_OR_ASKED
def test_whom_another_served_comes_back_to_what_is_visible(path, mode):
    with oor.open(path, **ROOMY) as db:
        kept, errors = put_by_threads(db, 8, 100, **mode)
        assert len(kept) == 800 and not errors
        assert not db._commit._waiting
        assert agree(db)


@OWN_OR_ASKED
def test_those_who_wait_for_a_publisher_that_fails_are_published_all_the_same(
    path, monkeypatch, mode
):
    """One thread makes the sync and shows it for all; an exception may keep it from either."""
    calls = itertools.count(1)

    def or_not(apply):
        def body(*arguments):
            if next(calls) % 7 == 0:
                raise MemoryError("planted")
            apply(*arguments)

        return body

    with oor.open(path, **ROOMY) as db:
        for name in ("apply", "put"):
            monkeypatch.setattr(Memtable, name, or_not(getattr(Memtable, name)))
        kept, errors = put_by_threads(db, 8, 60, **mode)
        monkeypatch.undo()
        assert errors and len(kept) + len(errors) >= 480
        db.put(b"last", b"")
        assert not db._commit._waiting
        assert agree(db) and kept <= set(db.keys())


@pytest.mark.parametrize(
    ("mode", "is_free"),
    [({}, False), ({}, True), ({"durability": "sync"}, False)],
    ids=["own", "own, when the lock is free again", "asked"],
)
@pytest.mark.parametrize("is_between", [False, True], ids=["first", "between"])
@pytest.mark.parametrize("is_batch", [False, True], ids=["put", "write"])
def test_what_waits_for_no_sync_is_applied_before_what_was_logged_behind_it(
    path, monkeypatch, is_batch, is_between, mode, is_free
):
    """The one behind it becomes durable, and is about to be published, before it stands in the
    queue; it may be between two that wait.
    """
    with oor.open(path, **ROOMY) as db:
        behind = threading.Thread(target=db.put, args=(b"behind", b"2"), kwargs=mode)
        waits = {b"waits": b"0"} if is_between else {}
        if is_free:  # the one behind looks late, when what goes first stands in the queue already
            db._state.locked = lambda: False

        def logged_then_passed(append):
            def body(*arguments):
                if waits and not db._commit._waiting:
                    token = next(db._commit._tokens)
                    db._commit._waiting[token] = (dict(waits), 100)
                    columns = Columns(list(waits), list(waits.values()))
                    lib.oor_wal_append(db._state.log.raw, *columns.arguments(), 0, token)
                lsn = append(*arguments)
                if behind.ident is None:
                    behind.start()
                    db._state.log.wait(lsn)
                    while db._state.log.next_lsn() <= lsn + 1:
                        pass
                    db._state.log.wait(lsn + 1)
                return lsn

            return body

        if is_batch:
            monkeypatch.setattr(
                "oor.commit.lib", Instead(lib, logged_then_passed(lib.oor_wal_append))
            )
            db.write({b"first": b"1"}, durability="os")
        else:
            monkeypatch.setattr("oor.commit._put", logged_then_passed(oor.commit._put))
            db._commit.put(b"first", b"1", "os")
        behind.join()
        db.sync()
        assert content(db) == waits | {b"first": b"1", b"behind": b"2"}


class Instead:
    """The C half with another append."""

    def __init__(self, lib, append):
        self._lib = lib
        self.oor_wal_append = append

    def __getattr__(self, name):
        return getattr(self._lib, name)
