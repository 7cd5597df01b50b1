"""Pins: what keeps a view alive is listed while it does, and no longer."""

from __future__ import annotations

import gc
import threading

import pytest

import oor


@pytest.fixture
def db(tmp_path):
    with oor.open(tmp_path / "s", durability="os", background=False, pin_sites=True) as db:
        yield db


def test_a_snapshot_is_listed_with_its_thread_and_line_until_it_is_closed(db):
    db.put(b"a", b"1")
    thread = threading.Thread(target=lambda: held.append(db.snapshot()), name="reader 7")
    held: list[oor.Snapshot] = []
    thread.start()
    thread.join()
    [pin] = db.pins()
    assert (pin.owner, pin.thread, pin.lsn) == ("snapshot", "reader 7", 1)
    file, line = pin.site.rsplit(":", 1)
    assert file == __file__ and int(line) > 0
    assert pin.age >= 0
    held[0].close()
    assert db.pins() == []


def test_a_scan_is_listed_until_it_is_dropped(db):
    db.write({b"%03d" % i: b"v" for i in range(300)})
    walk, columns = db.scan(), db.scan_columns()
    pairs = iter(db.keys())
    next(pairs)
    assert [pin.owner for pin in db.pins()] == ["scan", "scan", "scan"]
    walk.close()
    del columns, pairs
    gc.collect()
    assert db.pins() == []


def test_a_snapshot_of_full_memtables_says_their_newest_lsn(tmp_path):
    options = {"durability": "os", "background": False, "memtable_bytes": 1000}
    with oor.open(tmp_path / "t", **options) as db:
        for i in range(10):
            db.put(b"%d" % i, bytes(900))
            with db.snapshot() as snapshot:
                assert snapshot.lsn == db.last_lsn == i + 1
                assert len(snapshot) == i + 1


def test_pins_come_oldest_first(db):
    held = []
    for i in range(5):
        db.put(b"%d" % i, b"v")
        held.append(db.snapshot())
    assert [pin.lsn for pin in db.pins()] == [1, 2, 3, 4, 5]


def test_a_pin_counts_what_only_it_keeps_alive(db):
    db.write({b"%03d" % i: bytes(1000) for i in range(100)})
    db.flush()
    snapshot = db.snapshot()
    [pin] = db.pins()
    assert pin.table_bytes > 100_000
    assert (pin.memtable_bytes, pin.kept_bytes) == (0, 0)
    db.write({b"%03d" % i: b"small" for i in range(100)})
    db.compact()
    [pin] = db.pins()
    assert pin.kept_bytes == pin.table_bytes > 100_000
    assert snapshot[b"000"] == bytes(1000)


def test_a_pin_counts_values_that_were_overwritten_and_memtables_that_were_flushed(db):
    db.put(b"a", bytes(5000))
    snapshot = db.snapshot()
    assert db.pins()[0].kept_bytes == 0
    db.put(b"a", b"")
    assert db.pins()[0].kept_bytes == 5000
    assert db.pins()[0].memtable_bytes > 5000
    db.flush()
    assert db.pins()[0].kept_bytes > 5000
    assert snapshot[b"a"] == bytes(5000)


def test_sites_are_noted_only_when_asked_for(tmp_path):
    with oor.open(tmp_path / "t", durability="os") as db, db.snapshot():
        assert [pin.site for pin in db.pins()] == [None]


def test_pins_of_a_closed_store_say_that_it_is_closed(tmp_path):
    db = oor.open(tmp_path / "t", durability="os")
    snapshot = db.snapshot()
    db.close()
    for use in (db.pins, lambda: snapshot[b"a"], lambda: snapshot.scan(), lambda: len(snapshot)):
        with pytest.raises(oor.ClosedError, match="the store is closed"):
            use()


def test_the_bookkeeping_of_dropped_pins_goes_with_them(db):
    for _ in range(1000):
        db.snapshot()
        db.scan()
    gc.collect()
    assert len(db._pins._live) == 0
