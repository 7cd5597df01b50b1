"""Batches that stay columns in the memtable: the same answers as of a dict, whatever comes between."""

from __future__ import annotations

import shutil
import sys
import threading
from array import array

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from support.engine import UNHINDERED, content, kill, scratch

import oor
from oor import memtable as memtables
from oor import recovery
from oor.bulk import ABSENT, Bulk, Laid, Packed
from oor.commit import Commit
from oor.memtable import COLUMN_BYTES, ENTRY_BYTES, Memtable
from oor.native import Buffer, Columns, Ops, pack

KEYS = st.integers(0, 9).map(lambda n: b"%02d" % n)
VALUES = st.none() | st.binary(max_size=3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("columns"), st.lists(st.tuples(KEYS, VALUES), min_size=1, max_size=9)),
        st.tuples(st.just("packed"), st.dictionaries(KEYS, VALUES, min_size=1, max_size=9)),
        st.tuples(st.just("pairs"), st.dictionaries(KEYS, VALUES, min_size=1, max_size=3)),
        st.tuples(st.just("view"), st.none()),
        st.tuples(st.just("drop"), st.none()),
        st.tuples(st.just("window"), st.tuples(st.none() | KEYS, st.integers(1, 40), st.booleans())),
    ),
    max_size=40,
)  # fmt: skip


def laid(pairs):
    columns = Columns([key for key, _ in pairs], [value for _, value in pairs])
    return Laid(columns.arguments(), Buffer())


def packed(pairs):
    return Packed(Ops(len(pairs), pack(pairs)), pairs)


def in_order(content, lower, count, reverse):
    keys = sorted((key for key in content if lower is None or key >= lower), reverse=reverse)
    return [(key, content[key]) for key in keys[:count]]


@settings(max_examples=300, deadline=None)
@given(steps=STEPS)
def test_columns_pairs_and_views_in_any_order_answer_as_a_dict_would(steps):
    few, memtables.MANY = memtables.MANY, 1
    memtable, expected, views, lsn = Memtable(1), {}, [], 0
    try:
        for step, argument in steps:
            if step in ("columns", "packed", "pairs"):
                pairs = dict(argument)
                given_ = pairs
                if step != "pairs":
                    given_ = laid(argument) if step == "columns" else packed(pairs)
                memtable.apply(given_, lsn + 1, lsn + len(argument), 10)
                lsn += len(argument)
                expected |= pairs
            elif step == "view":
                views.append((memtable.view(), dict(expected)))
            elif step == "drop":
                views.clear()
            else:
                lower, count, reverse = argument
                for view, then in [*views, (memtable.view(), expected)]:
                    found = view.window(lower, None, count, reverse)[:count]
                    assert found == in_order(then, lower, count, reverse)
            memtable._check()
    finally:
        memtables.MANY = few
    asked = [b"%02d" % n for n in range(32)]
    wanted = [expected.get(key, ABSENT) for key in asked]
    assert [memtable.data.get(key, ABSENT) for key in asked] == wanted
    if isinstance(memtable.data, Bulk):
        assert memtable.data.get_many(asked) == wanted
    for view, then in views:
        assert [view.get(key) for key in asked] == [then.get(key, ABSENT) for key in asked]


def columns_of(pairs):
    return (
        b"".join(key for key, _ in pairs), array("I", [len(key) for key, _ in pairs]),
        b"".join(value for _, value in pairs), array("I", [len(value) for _, value in pairs]),
    )  # fmt: skip


def test_a_store_of_columns_reads_flushes_and_opens_again_as_what_was_written(tmp_path):
    written = {}
    with oor.open(tmp_path / "s", durability="os", background=False) as db:
        for batch in range(6):
            pairs = [(b"%05d" % (n * 7 % 3000), b"%d:%d" % (batch, n)) for n in range(1000)]
            db.write_columns(*columns_of(pairs))
            written |= dict(pairs)
            db.put(b"%05d" % batch, b"alone")
            written[b"%05d" % batch] = b"alone"
            db.delete(b"%05d" % (batch + 100))
            written.pop(b"%05d" % (batch + 100), None)
            assert type(db._state.view.active.data) is Bulk
            assert dict(db.scan()) == written
            db._check()
            if batch == 3:
                db.flush()
                assert dict(db.scan()) == written
        assert db.get_many(sorted(written)) == [written[key] for key in sorted(written)]
    with oor.open(tmp_path / "s", background=False) as db:
        assert dict(db.scan()) == written
        db.flush()
        assert dict(db.scan()) == written


def test_a_snapshot_does_not_see_columns_that_come_after_it(tmp_path):
    with oor.open(tmp_path / "s", durability="os", background=False) as db:
        first = [(b"%05d" % n, b"old") for n in range(500)]
        db.write_columns(*columns_of(first))
        with db.snapshot() as before:
            db.write_columns(*columns_of([(b"%05d" % n, b"new") for n in range(250, 750)]))
            assert dict(before.scan()) == dict(first)
            assert before.get(b"00300") == b"old" and before.get(b"00600") is None
            assert before.get_many([b"00300", b"00600"]) == [b"old", None]
        assert db[b"00300"] == b"new" and db[b"00600"] == b"new"


def test_a_key_put_before_a_batch_that_has_it_does_not_hide_the_batch(tmp_path):
    with oor.open(tmp_path / "s", durability="os", background=False) as db:
        db.write_columns(*columns_of([(b"a%05d" % n, b"1") for n in range(500)]))
        db.put(b"b00001", b"1")
        db.write_columns(*columns_of([(b"b%05d" % n, b"2") for n in range(500)]))
        assert db[b"b00001"] == b"2"
        db.flush()
        assert db[b"b00001"] == b"2"


def test_readers_see_all_of_a_batch_or_none_while_columns_come(tmp_path):
    with oor.open(tmp_path / "s", durability="os", background=False) as db:
        keys = [b"%05d" % n for n in range(300)]
        seen, done = set(), threading.Event()

        def read():
            while not done.is_set():
                seen.add(frozenset(db.get_many(keys)))

        reader = threading.Thread(target=read)
        reader.start()
        for batch in range(200):
            db.write_columns(*columns_of([(key, b"%d" % batch) for key in keys]))
        done.set()
        reader.join()
        assert all(len(values) == 1 for values in seen)


def test_columns_are_charged_what_they_take_so_that_a_flush_writes_more_of_them(tmp_path):
    """And what was flushed counts as bytes of users all the same, whichever way it came."""
    batches, payload = 20, 100 * 1000
    for write, place in (
        ("columns", COLUMN_BYTES), ("pairs", ENTRY_BYTES), ("pairs, ahead", COLUMN_BYTES),
        ("few, ahead", ENTRY_BYTES),
    ):  # fmt: skip
        with oor.open(tmp_path / write, durability="os", background=False) as db:
            if write.endswith("ahead"):
                db.put(b"before", b"")
                with db._state.lock:
                    db._state.rotate_memtable()
            before = db.stats().amplification.user_bytes
            for batch in range(batches):
                pairs = [(b"%05d%05d" % (batch, n), b"v" * 90) for n in range(1000)]
                if write == "columns":
                    db.write_columns(*columns_of(pairs))
                else:
                    size = 100 if write.startswith("few") else 1000
                    for start in range(0, 1000, size):
                        db.write(pairs[start : start + size])
            memtable = db._state.view.active
            assert memtable.size == batches * (payload + 1000 * place), write
            assert memtable.payload() == batches * payload
            db.flush()
            flushed = db.stats().amplification.user_bytes - before
            assert flushed == batches * payload + 6 * write.endswith("ahead")


BATCHES = st.lists(st.lists(st.tuples(KEYS, VALUES), min_size=1, max_size=70), max_size=12)


@settings(max_examples=60, deadline=None)
@given(batches=BATCHES)
def test_a_log_is_replayed_into_columns_as_into_a_dict(batches):
    """And what comes behind it, by pairs or in columns, and a flush make no difference either."""
    expected = {}
    with scratch() as folder:
        db = oor.open(f"{folder}/s", durability="os", background=False)
        for batch in batches:
            db.write(batch)
            expected |= dict(batch)
        kill(db)
        live = {key: value for key, value in expected.items() if value is not None}
        from_bytes = recovery.COLUMNS_FROM
        try:
            for in_columns in (True, False):
                path = f"{folder}/{in_columns}"
                shutil.copytree(f"{folder}/s", path)
                recovery.COLUMNS_FROM = 0 if in_columns else from_bytes
                with oor.open(path, background=False) as db:
                    memtable = db._state.view.active
                    assert isinstance(memtable.data, Bulk) == (in_columns and bool(batches))
                    assert memtable.last_lsn == sum(map(len, batches))
                    assert dict(db) == live and all(db.get(k) == live.get(k) for k in expected)
                    memtable._check()
                    db.put(b"05", b"later")
                    db.flush()
                    assert dict(db) == live | {b"05": b"later"}
        finally:
            recovery.COLUMNS_FROM = from_bytes


def test_a_lookup_in_columns_is_that_of_a_dict_and_holds_what_it_looks_into():
    bulk = Bulk.over({b"k": b"v", b"gone": None, b"": b"", b"hidden": b"old"})
    bulk[b"hidden"], bulk[b"single"], bulk[b"deleted"] = b"new", b"s", None
    get, raw, single = bulk.get, bulk.raw, bulk.single
    others = [raw, single, ABSENT, single[b"hidden"]]
    counts = list(map(sys.getrefcount, others))
    for _ in range(1000):
        assert get(b"k") == get(b"k", ABSENT) == b"v" and get(b"", ABSENT) == b""
        assert get(b"hidden") == b"new" and get(b"single", ABSENT) == b"s"
        assert get(b"gone", ABSENT) is get(b"deleted", ABSENT) is None
        assert get(b"other", ABSENT) is ABSENT and get(b"other") is None
        for wrong in ((), ("k",), (None,), (5, 5), (b"k", 1, 2), ([],)):
            with pytest.raises(TypeError):
                get(*wrong)
    assert list(map(sys.getrefcount, others)) == counts
    del bulk
    assert get(b"k") == b"v" and get(b"single") == b"s"
    del get
    assert sys.getrefcount(raw) == counts[0] - 2 and sys.getrefcount(single) == counts[1] - 2


def test_a_lookup_while_a_writer_adds_sees_one_batch_or_the_next(tmp_path):
    keys = [b"%04d" % n for n in range(2000)]
    with oor.open(tmp_path / "s", durability="os", background=False, **UNHINDERED) as db:
        db.write_columns(*columns_of([(key, b"0") for key in keys]))
        done = threading.Event()

        def write():
            for number in range(1, 200):
                db.write(dict.fromkeys(keys, b"%d" % number))
            done.set()

        writer = threading.Thread(target=write)
        writer.start()
        newest = 0
        while not done.is_set():
            seen = int(db[keys[newest * 7 % 2000]])
            assert seen >= newest
            newest = seen
        writer.join()
        assert type(db._state.view.active.data) is Bulk and db[keys[5]] == b"199"


@pytest.mark.parametrize("durability", ["os", "sync"])
def test_a_put_over_columns_goes_the_short_way_unless_a_view_wants_its_note(
    tmp_path, durability, monkeypatch
):
    long_way, put, finish = [], Commit.put, Commit.finish_put
    monkeypatch.setattr(Commit, "put", lambda *given: long_way.append(given) or put(*given))
    monkeypatch.setattr(
        Commit, "finish_put", lambda *given: long_way.append(given) or finish(*given)
    )
    count = 1000 if durability == "os" else 50
    expected = {b"%05d" % n: b"column" for n in range(0, 2 * count, 2)}
    expected |= {b"x%05d" % n: b"column" for n in range(300)}
    with oor.open(tmp_path / "s", durability=durability, background=False) as db:
        db.write_columns(*columns_of(list(expected.items())))
        memtable = db._state.view.active
        others = [memtable, memtable.data, memtable.data.single]
        counts = list(map(sys.getrefcount, others))
        for n in range(count):
            db.put(b"%05d" % n, b"single")
            expected[b"%05d" % n] = b"single"
        assert list(map(sys.getrefcount, others)) == counts
        assert type(memtable.data) is Bulk and len(memtable.data.single) == count
        assert len(long_way) < count // 10
        assert content(db) == expected
        snapshot, before = db.snapshot(), dict(expected)
        counts = list(map(sys.getrefcount, others))
        del long_way[:]
        for n in range(0, 2 * count, 3):
            db.put(b"%05d" % n, b"newest")
            expected[b"%05d" % n] = b"newest"
        assert len(long_way) == len(range(0, 2 * count, 3))
        assert list(map(sys.getrefcount, others)) == counts
        assert content(db) == expected and content(snapshot) == before
        snapshot.close()
        kill(db)
    with oor.open(tmp_path / "s", background=False) as db:
        assert content(db) == expected
