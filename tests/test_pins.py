"""Pins: what keeps a view alive is listed while it does, and no longer."""

from __future__ import annotations

import gc
import os
import threading

import pytest

import oor
from oor.flush import flush_oldest


@pytest.fixture
def db(tmp_path):
    with oor.open(tmp_path / "s", durability="os", background=False, pin_sites=True) as db:
        yield db


def views(db):
    """The pins that somebody has taken."""
    return [pin for pin in db.pins() if pin.owner in ("snapshot", "scan")]


def own(db):
    """Those of the store itself, by owner."""
    pins = {}
    for pin in db.pins():
        pins.setdefault(pin.owner, []).append(pin)
    return pins


def test_a_snapshot_is_listed_with_its_thread_and_line_until_it_is_closed(db):
    db.put(b"a", b"1")
    thread = threading.Thread(target=lambda: held.append(db.snapshot()), name="reader 7")
    held: list[oor.Snapshot] = []
    thread.start()
    thread.join()
    [pin] = views(db)
    assert (pin.owner, pin.thread, pin.lsn) == ("snapshot", "reader 7", 1)
    file, line = pin.site.rsplit(":", 1)
    assert file == __file__ and int(line) > 0
    assert pin.age >= 0
    held[0].close()
    assert views(db) == []


def test_a_scan_is_listed_until_it_is_dropped(db):
    db.write({b"%03d" % i: b"v" for i in range(300)})
    walk, columns = db.scan(), db.scan_columns()
    pairs = iter(db.keys())
    next(pairs)
    assert [pin.owner for pin in views(db)] == ["scan", "scan", "scan"]
    walk.close()
    del columns, pairs
    gc.collect()
    assert views(db) == []


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
    assert [pin.lsn for pin in views(db)] == [1, 2, 3, 4, 5]


def test_a_pin_counts_what_only_it_keeps_alive(db):
    db.write({b"%03d" % i: bytes(1000) for i in range(100)})
    db.flush()
    snapshot = db.snapshot()
    [pin] = views(db)
    assert pin.table_bytes > 100_000
    assert (pin.memtable_bytes, pin.kept_bytes) == (0, 0)
    db.write({b"%03d" % i: b"small" for i in range(100)})
    db.compact()
    [pin] = views(db)
    assert pin.kept_bytes == pin.table_bytes > 100_000
    assert snapshot[b"000"] == bytes(1000)


def test_a_pin_counts_values_that_were_overwritten_and_memtables_that_were_flushed(db):
    db.put(b"a", bytes(5000))
    snapshot = db.snapshot()
    assert views(db)[0].kept_bytes == 0
    db.put(b"a", b"")
    assert views(db)[0].kept_bytes == 5000
    assert views(db)[0].memtable_bytes > 5000
    db.flush()
    assert views(db)[0].kept_bytes > 5000
    assert snapshot[b"a"] == bytes(5000)


def test_sites_are_noted_only_when_asked_for(tmp_path):
    with oor.open(tmp_path / "t", durability="os") as db, db.snapshot():
        assert [pin.site for pin in views(db)] == [None]


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


# ---- what the store itself needs -----------------------------------------------------------------

SMALL = {
    "durability": "os",
    "background": False,
    "segment_bytes": 32 << 10,
    "tail_bytes": 16 << 10,
    "spare_segments": 0,
    "log_threads": False,
}


def numbers(db, ending):
    return {int(name.removesuffix(ending)) for name in os.listdir(db.path) if name.endswith(ending)}


def pinned(db, kind):
    return {number for pin in db.pins() for number in getattr(pin, kind)}


def test_every_segment_and_table_on_the_disk_has_a_pin_whatever_happens(tmp_path):
    with oor.open(tmp_path / "t", memtable_bytes=40_000, **SMALL) as db:
        held = []
        for n in range(300):
            db.put(b"%03d" % (n % 90), bytes(700))
            if n % 50 == 20:
                held.append(db.snapshot())
            if n % 70 == 40:
                db.flush()
            if n % 90 == 80:
                db.compact()
            if n % 120 == 100:
                db.checkpoint()
            if n % 10 == 0:
                assert numbers(db, ".wal") == pinned(db, "segments")
                # A table that only a view keeps has no name any more.
                assert numbers(db, ".sst") <= pinned(db, "tables")
                assert numbers(db, ".sst") == set(own(db)["version"][0].tables)
        kept = {number for pin in views(db) for number in pin.tables}
        assert kept - numbers(db, ".sst"), "the workload must have views of old tables"


def test_a_memtable_pins_the_log_from_its_first_mutation_until_it_is_flushed(tmp_path):
    with oor.open(tmp_path / "t", memtable_bytes=60_000, **SMALL) as db:
        while db.stats().log.segment_count < 5:
            db.put(b"%d" % db.last_lsn, bytes(1000))
        pins = own(db)["memtable"]
        assert len(pins) >= 2 and [pin.lsn for pin in pins] == sorted(pin.lsn for pin in pins)
        oldest = pins[0]
        [redo] = own(db)["redo"]
        assert oldest.segments[0] == redo.segments[0] == 1
        assert oldest.log_bytes == sum(s.size for s in db._state.log.segments()
                                       if s.number in oldest.segments)  # fmt: skip
        assert 0 < oldest.kept_bytes < oldest.log_bytes, "its last segment holds newer ones too"
        assert oldest.memtable_bytes >= 60_000 and oldest.thread is oldest.site is None
        assert oldest.age >= pins[1].age >= 0
        before = db.stats().log.live_bytes
        flush_oldest(db._state)
        assert before - db.stats().log.live_bytes == oldest.kept_bytes
        db.flush()
        assert "memtable" not in own(db)
        [redo] = own(db)["redo"]
        assert redo.lsn == db.last_lsn and len(redo.segments) == 1


def test_a_backup_under_way_pins_its_tables(tmp_path, monkeypatch):
    with oor.open(tmp_path / "t", **SMALL) as db:
        db.write({b"%03d" % n: bytes(100) for n in range(100)})
        db.flush()
        seen = []

        def verify(partial):
            db.put(b"new", b"v")
            db.compact()
            seen.append(own(db))

        monkeypatch.setattr("oor.backup._verify", verify)
        db.backup(tmp_path / "b")
        [pin] = seen[0]["backup"]
        assert pin.thread == threading.current_thread().name
        assert pin.lsn == 100 and pin.kept_bytes == pin.table_bytes > 0
        assert set(pin.tables) != set(seen[0]["version"][0].tables)
        assert "backup" not in own(db)
