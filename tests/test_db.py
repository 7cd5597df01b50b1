"""The API that a user meets."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from array import array
from pathlib import Path

import pytest
from support.engine import TINY, content

import oor

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "store")


@pytest.fixture
def db(path):
    with oor.open(path, **TINY) as db:
        yield db


def test_put_get_delete_and_their_operators(db):
    assert db.put(b"k", b"v") == 1
    assert db.get(b"k") == db[b"k"] == b"v"
    assert db.get(b"absent") is None
    assert db.get(b"absent", b"default") == b"default"
    db[b"l"] = b"w"
    assert b"l" in db and b"m" not in db
    del db[b"l"]
    assert b"l" not in db
    with pytest.raises(KeyError):
        db[b"l"]
    with pytest.raises(KeyError):
        del db[b"l"]
    assert db.delete(b"never there") == 4
    assert list(db) == [b"k"]


def test_write_takes_mappings_pairs_and_batches_and_returns_the_last_lsn(db):
    assert db.write({b"a": b"1", b"b": b"2"}) == 2
    assert db.write([(b"a", b"3"), (b"b", None), (b"a", b"4")]) == 5
    batch = oor.WriteBatch()
    batch.put(b"c", b"5")
    batch.delete(b"a")
    assert len(batch) == 2
    assert db.write(batch) == 7
    assert db.write({}) == db.last_lsn == 7
    assert content(db) == {b"c": b"5"}


@pytest.mark.parametrize("form", [bytearray, memoryview, lambda data: memoryview(bytearray(data))])
def test_bytes_like_arguments_are_taken_and_copied(db, form):
    key, value = form(b"key"), form(b"value")
    db.put(key, value)
    if isinstance(value, bytearray):
        value[:] = b"other"
    db.write([(form(b"k2"), form(b"v2")), (form(b"k3"), None)])
    assert db.get(form(b"key")) == b"value"
    assert db.get_many([form(b"k2"), form(b"k3")]) == [b"v2", None]
    assert form(b"k2") in db
    assert list(db.scan(form(b"k2"), form(b"k3"))) == [(b"k2", b"v2")]


@pytest.mark.parametrize("call", [
    lambda db: db.put("text", b""), lambda db: db.put(b"", "text"), lambda db: db.put(b"", None),
    lambda db: db.get(5), lambda db: db.write({"a": b""}), lambda db: db.write({b"a": 1}),
    lambda db: db.scan("a"), lambda db: db.scan(b"a", prefix=b"b"), lambda db: db.delete(None),
])  # fmt: skip
def test_what_is_not_bytes_is_refused_and_nothing_is_written(db, call):
    with pytest.raises(TypeError):
        call(db)
    assert db.last_lsn == 0


def test_limits_hold_to_the_byte(db):
    db.put(b"k" * 65535, b"")
    with pytest.raises(oor.LimitError, match="65536"):
        db.put(b"k" * 65536, b"")
    with pytest.raises(oor.LimitError):
        db.delete(b"k" * 65536)
    with pytest.raises(oor.LimitError):
        db.write({b"k" * 65536: b""})
    huge = bytes(268435457)
    with pytest.raises(oor.LimitError, match="268435457"):
        db.put(b"k", huge)
    with pytest.raises(oor.LimitError):
        db.write({b"k": huge})
    assert db.last_lsn == 1
    with pytest.raises(oor.LimitError, match="durability"):
        db.put(b"k", b"", durability="perhaps")


def test_scans_are_ordered_bounded_and_consistent(db):
    for i in range(200):
        db.put(b"%03d" % i, b"v" * 50, durability="os")
        if i % 60 == 59:
            db.flush()
    keys = [b"%03d" % i for i in range(200)]
    assert list(db.keys()) == keys
    assert list(db.keys(b"010", b"020")) == keys[10:20]
    assert list(db.keys(b"010", b"020", reverse=True, limit=3)) == keys[19:16:-1]
    assert list(db.keys(prefix=b"01")) == keys[10:20]
    assert list(db.keys(b"5", b"4")) == []
    assert list(db.keys(limit=0)) == []
    scan = db.scan()
    next(scan)
    db.put(b"000x", b"later")
    db.delete(b"199")
    assert len(list(scan)) == 199


def test_a_snapshot_never_changes(db):
    db.write({b"%03d" % i: b"old" for i in range(100)}, durability="os")
    with db.snapshot() as snapshot:
        assert snapshot.lsn == 100
        for i in range(0, 100, 2):
            db.put(b"%03d" % i, b"new", durability="os")
        db.delete(b"001")
        db.put(b"more", b"1")
        db.flush()
        db.compact()
        assert content(snapshot) == {b"%03d" % i: b"old" for i in range(100)}
        assert snapshot.get_many([b"000", b"001", b"more"]) == [b"old", b"old", None]
        assert b"more" not in snapshot and snapshot[b"001"] == b"old"
    with pytest.raises(oor.ClosedError):
        snapshot.get(b"000")


def test_columns_are_written_and_stamped_with_their_lsns(db):
    values = b"........one........three"
    lsn = db.write_columns(
        b"abc", array("I", [1, 1, 1]), values, array("I", [11, 0xFFFFFFFF, 13]), stamp=True
    )
    assert lsn == 3
    assert db[b"a"] == (1).to_bytes(8, "little") + b"one"
    assert db[b"c"] == (3).to_bytes(8, "little") + b"three"
    assert b"b" not in db
    for sizes in (array("I", [2]), array("I", [1, 1]), array("I", [0])):
        with pytest.raises(oor.LimitError):
            db.write_columns(b"k", sizes, b"v", array("I", [1]))
    with pytest.raises(TypeError, match="u32"):
        db.write_columns(b"k", array("Q", [1]), b"v", array("I", [1]))
    with pytest.raises(oor.LimitError, match="LSN"):
        db.write_columns(b"k", array("I", [1]), bytearray(b"v"), array("I", [1]), stamp=True)
    assert db.last_lsn == 3


def test_durability_is_visible(path):
    with oor.open(path, **TINY | {"durability": "os"}) as db:
        lsn = db.put(b"a", b"1")
        assert db.durable_lsn < lsn
        with pytest.raises(oor.WaitTimeout):
            db.wait_durable(lsn, timeout=0.01)
        assert db.sync() == lsn
        db.wait_durable(lsn)
    with oor.open(path, durability="interval", sync_interval=0.005) as db:
        lsn = db.put(b"b", b"1")
        db.wait_durable(lsn, timeout=30)
        assert db.stats().loss_window.records >= 1


def test_a_closed_store_says_so(path):
    db = oor.open(path, **TINY)
    db.put(b"a", b"1")
    db.close()
    db.close()
    calls = [
        lambda: db.put(b"a", b""), lambda: db.get(b"a"), lambda: db.delete(b"a"), lambda: db.write({b"a": b""}),
        lambda: db.write({}), lambda: db.get_many([b"a"]), lambda: list(db.scan()), db.snapshot, db.flush, db.compact,
        db.checkpoint, db.sync, db.stats, lambda: db.durable_lsn, lambda: b"a" in db, lambda: db.wait_durable(1),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(oor.ClosedError):
            call()
    assert "closed" in repr(db)
    with pytest.raises(TypeError):
        pickle.dumps(db)


def test_a_second_open_is_refused_and_names_the_owner(path, tmp_path):
    alias = tmp_path / "alias"
    with oor.open(path, **TINY) as db:
        db.put(b"a", b"1")
        alias.symlink_to(path)
        for name in (path, str(alias), path + "/../store"):
            with pytest.raises(oor.LockedError, match=str(os.getpid())):
                oor.open(name, **TINY)
        script = (
            "import oor, sys\ntry: oor.open(sys.argv[1])\nexcept oor.LockedError as e: print(e)"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, str(alias)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=True,
        )
        assert str(os.getpid()) in done.stdout
        os.unlink(path + "/LOCK")
        with pytest.raises(oor.LockedError):
            oor.open(path, **TINY)
        db.put(b"b", b"2")
    with oor.open(path, **TINY) as db:
        assert content(db) == {b"a": b"1", b"b": b"2"}


def test_a_store_is_made_only_where_it_was_asked_for(tmp_path):
    with pytest.raises(oor.OorError):
        oor.open(str(tmp_path / "store"), create=False)
    assert not (tmp_path / "store").exists()
    with pytest.raises(oor.OorError):
        oor.open(str(tmp_path / "no" / "store"))
    with pytest.raises(oor.LimitError, match="unknown option"):
        oor.open(str(tmp_path / "store"), memtable_size=5)


def test_empty_keys_and_values_and_binary_ones_are_kept(db):
    pairs = {
        b"": b"",
        b"\0": b"\0",
        b"\xff" * 20: bytes(range(256)),
        b"frame": open(__file__, "rb").read(),
    }
    db.write(pairs)
    assert content(db) == pairs
    db.compact()
    assert content(db) == pairs


def test_a_value_that_holds_a_copy_of_the_log_is_never_taken_for_the_log(path):
    with oor.open(path, **TINY) as db:
        db.put(b"a", b"1")
        segment = next(name for name in sorted(os.listdir(path)) if name.endswith(".wal"))
        with open(f"{path}/{segment}", "rb") as file:
            copied = file.read()[4096:8192]
        db.put(b"copy", copied, durability="os")
        db.delete(b"a")
    with oor.open(path, **TINY) as db:
        assert content(db) == {b"copy": copied}
