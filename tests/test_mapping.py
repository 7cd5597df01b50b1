"""A store behaves as a mapping in key order, where that makes sense."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

import pytest

import oor


@pytest.fixture
def db(tmp_path):
    with oor.open(tmp_path / "s", durability="os", background=False) as db:
        yield db


def test_stores_and_snapshots_are_mappings(db):
    assert isinstance(db, MutableMapping)
    with db.snapshot() as snapshot:
        assert isinstance(snapshot, Mapping)
        assert not isinstance(snapshot, MutableMapping)


def test_reads_are_those_of_a_dict_in_key_order(db):
    db.update({b"b": b"2", b"a": b"1", b"c": b"3"})
    db.flush()
    db.update([(b"d", b"4"), (b"b", None)])
    expected = {b"a": b"1", b"c": b"3", b"d": b"4"}
    with db.snapshot() as snapshot:
        for reader in (db, snapshot):
            assert dict(reader) == expected
            assert list(reader) == list(expected)
            assert list(reversed(reader)) == list(expected)[::-1]
            assert list(reader.items()) == list(expected.items())
            assert list(reader.values()) == list(expected.values())
            assert list(reader.values(prefix=b"c")) == [b"3"]
            assert len(reader) == 3
            assert b"a" in reader and b"b" not in reader
            assert reader[b"c"] == b"3"
            with pytest.raises(KeyError):
                reader[b"b"]


def test_an_empty_store_is_false_and_any_other_true(db):
    assert not db
    db[b"a"] = b""
    assert db and len(db) == 1
    del db[b"a"]
    assert not db and len(db) == 0
    with pytest.raises(KeyError):
        del db[b"a"]


def test_pop_takes_the_value_out(db):
    db[b"a"] = b"1"
    assert db.pop(b"a") == b"1"
    assert b"a" not in db
    assert db.pop(b"a", None) is None
    assert db.pop(b"a", b"x") == b"x"
    with pytest.raises(KeyError):
        db.pop(b"a")


def test_popitem_takes_the_first_pair(db):
    db.update({b"b": b"2", b"a": b"1"})
    assert db.popitem() == (b"a", b"1")
    assert db.popitem() == (b"b", b"2")
    with pytest.raises(KeyError):
        db.popitem()


def test_setdefault_sets_only_what_is_not_there(db):
    assert db.setdefault(b"a", b"1") == b"1"
    assert db.setdefault(b"a", bytearray(b"2")) == b"1"
    assert db.setdefault(b"b", bytearray(b"2")) == b"2"
    assert db[b"a"] == b"1"


def test_an_update_is_one_batch(db):
    before = db.last_lsn
    db.update({b"a": b"1", b"b": b"2", b"c": b"3"})
    assert db.stats().log.frames == 1
    assert db.last_lsn == before + 3


def test_clear_leaves_nothing_on_disk_or_above_it(db):
    db.update({b"%05d" % i: b"v" for i in range(25_000)})
    db.flush()
    db.update({b"%05d" % i: b"v" for i in range(20_000, 26_000)})
    db.clear()
    assert list(db) == []
    db.compact()
    assert list(db) == []


def test_every_use_of_a_closed_store_says_so(tmp_path):
    db = oor.open(tmp_path / "t", durability="os")
    db[b"a"] = b"1"
    db.close()
    uses = [
        lambda: db[b"a"],
        lambda: b"a" in db,
        lambda: len(db),
        lambda: bool(db),
        lambda: list(db),
        lambda: db.get(b"a"),
        lambda: db.get_many([b"a"]),
        lambda: db.get_into(b"a", bytearray(9)),
        lambda: db.first(),
        lambda: db.scan(),
        lambda: db.scan_columns(),
        lambda: db.snapshot(),
        lambda: db.pop(b"a"),
        lambda: db.clear(),
        lambda: db.update({b"a": b"2"}),
    ]
    for use in uses:
        with pytest.raises(oor.ClosedError, match="closed"):
            use()
