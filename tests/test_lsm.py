"""What a log-structured store must do at size: right answers, filters that skip, deletes that
hide.
"""

from __future__ import annotations

import random

import pytest
from support.engine import TINY, content

import oor

SETS = 100_000


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    """100,000 pairs under a memtable of 4 MiB: keys of a catalogue number and a serial."""
    path = str(tmp_path_factory.mktemp("lsm") / "store")
    rng = random.Random(5)
    pairs = {
        b"%05d.%04d" % (rng.randrange(60_000), i % 10_000): b"%d" % i + b"e" * 120
        for i in range(SETS)
    }
    with oor.open(path, durability="os", memtable_bytes=4 << 20) as db:
        items = list(pairs.items())
        for start in range(0, len(items), 1000):
            db.write(items[start : start + 1000])
        db.flush()
        assert sum(level.tables for level in db.stats().levels) > 1
        yield db, pairs


def test_present_and_absent_lookups_are_right_and_filters_skip_the_absent(catalog):
    db, pairs = catalog
    rng = random.Random(6)
    for key in rng.sample(sorted(pairs), 1000):
        assert db.get(key) == pairs[key]
    before = db.stats().cache
    absent = [b"%05d.x%03d" % (rng.randrange(60_000), i) for i in range(1000)]
    for key in absent:
        assert db.get(key) is None
    after = db.stats().cache
    skipped = after.filter_skips - before.filter_skips
    missed = after.filter_misses - before.filter_misses
    assert skipped + missed >= 1000
    assert skipped / (skipped + missed) > 0.95
    assert db.get_many(absent) == [None] * 1000


def test_a_range_of_catalogue_numbers_comes_in_order_and_exact(catalog):
    db, pairs = catalog
    expected = sorted(item for item in pairs.items() if b"40000" <= item[0] < b"40501")
    assert list(db.scan(b"40000", b"40501")) == expected
    assert list(db.scan(b"40000", b"40501", reverse=True)) == expected[::-1]


def test_deletes_hide_and_neighbours_stay_through_flush_and_compaction(catalog):
    db, pairs = catalog
    keys = sorted(pairs)
    gone = keys[100:5000:7]
    for key in gone:
        db.delete(key)
        del pairs[key]
    tables = []
    for settle in (lambda: None, db.flush, db.compact):
        settle()
        tables.append(sum(level.tables for level in db.stats().levels))
        assert not any(key in db for key in gone)
        for key in gone[::10]:
            place = keys.index(key)
            for neighbour in (keys[place - 1], keys[place + 1]):
                assert db.get(neighbour) == pairs[neighbour]
    assert tables[2] < tables[1], "compaction lowers the number of tables"
    stats = db.stats()
    assert sum(level.tombstones for level in stats.levels) == 0
    assert sum(level.entries for level in stats.levels) == len(pairs)
    assert content(db) == pairs


def test_a_tombstone_stays_while_something_below_can_hold_its_key(tmp_path):
    with oor.open(str(tmp_path / "store"), **TINY) as db:
        db.write({b"%03d" % i: b"old" * 20 for i in range(300)}, durability="os")
        db.compact()  # the bottom
        for round_ in range(2):
            db.delete(b"%03d" % (50 + round_), durability="os")
            db.put(b"%03d" % (60 + round_), b"new", durability="os")
            db.flush()
        while db._background.compactor.once():
            assert b"050" not in db and b"051" not in db
        assert db[b"060"] == b"new" and db[b"052"] == b"old" * 20
        db.compact()
        assert sum(level.tombstones for level in db.stats().levels) == 0
        assert b"050" not in db
