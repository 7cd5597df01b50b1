"""Prefix filters: scans of a prefix skip tables that have none of it, and never one that has."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.tables import FOOTER, SMALL, Store, live, resealed, resealed_footer

import oor
from oor.errors import CorruptionError
from oor.iterator import scan
from oor.pins import Moment
from oor.registry import keys as registry_keys
from oor.short_scans import first_pair

PREFIXED = replace(SMALL, prefix_size=2)
# Few bytes, with the ends of the alphabet: bounds that count up meet keys in between.
KEYS = st.lists(st.sampled_from([0, 1, 2, 254, 255]), max_size=4).map(bytes)
RUNS = st.dictionaries(KEYS, st.one_of(st.none(), st.binary(max_size=3)), max_size=12)
quick = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path), options=PREFIXED)


@quick
@given(level0=st.lists(RUNS, max_size=3), deep=RUNS, start=KEYS, stop=KEYS, reverse=st.booleans())
def test_no_scan_loses_a_key_to_the_filter(store, level0, deep, start, stop, reverse):
    version = store.levels([level0, [deep] if deep else []])
    expected = {
        key: value for key, value in live(*level0[::-1], deep).items() if start <= key < stop
    }
    found = list(scan(version, start=start, stop=stop, reverse=reverse))
    assert found == list(expected.items())[:: -1 if reverse else 1]
    first = first_pair(Moment(version, (), 0), start, stop, reverse)
    assert first == (found[0] if found else None)


def skips(store: Store) -> int:
    return store.cache.stats().filter_skips


def test_a_scan_of_one_prefix_skips_tables_that_have_none_of_it(store):
    runs = [
        {b"%c%c%c" % (a, b, c): b"v" for b in range(0, 256, 7) for c in range(3)} for a in range(5)
    ]
    wide = {b"\0\0\0": b"v", b"\xff\xff\xff": b"v"}
    version = store.levels([[{**wide, **run} for run in runs]])
    before = skips(store)
    assert len(list(scan(version, start=b"\3\7", stop=b"\3\10"))) == 3
    assert skips(store) - before == 4
    assert list(scan(version, start=b"\3\6", stop=b"\3\7", reverse=True)) == []
    assert skips(store) - before == 9
    list(scan(version, start=b"\3\6", stop=b"\3\11"))
    list(scan(version, start=b"\3", stop=b"\4"))
    assert skips(store) - before == 9, "these ranges are of more than one prefix"


def test_the_registry_skips_tables_without_the_object(tmp_path):
    with oor.open(tmp_path / "s", durability="os", background=False, prefix_filter_bytes=5) as db:
        for number in (254, 255, 256, 70_000):
            for outer in (1, 99_999):
                db.put(registry_keys.ElsetKey(outer, number, 0, 0).encode(), b"v")
            db.put(registry_keys.ElsetKey(number, 0, 0, 0).encode(), b"v")
            db.flush()
        before = db.stats().cache.filter_skips
        start = registry_keys.object_start
        assert len(list(db.scan(start(255), start(256)))) == 1
        assert db.first(start(70_000), start(70_001), reverse=True) is not None
        assert db.stats().cache.filter_skips - before == 6
        db.compact()
        assert db.first(start(256), start(257)) is not None
        assert db.first(start(257), start(258)) is None


def test_a_table_with_prefixes_is_version_2_and_one_without_version_1(store):
    for options, version, size in [
        (PREFIXED, 2, 2),
        (SMALL, 1, 0),
        (replace(PREFIXED, filter_bits=0), 1, 0),
    ]:
        meta = store.write({b"abc": b"v"}, options)
        data = open(store.path(meta.number), "rb").read()
        fields = FOOTER.unpack(data[-FOOTER.size :])
        assert fields[9] == version
        if fields[1]:
            assert struct.unpack_from("<H", data, fields[0] + fields[1] - 5 - 2) == (size,)
        store.open(meta).verify()


@pytest.mark.parametrize("size", [0, 3])
def test_a_prefix_size_that_the_version_or_the_keys_contradict_is_refused(store, size):
    meta = store.write({b"%04d" % i: b"v" for i in range(1000)})
    data = bytearray(open(store.path(meta.number), "rb").read())
    offset, filter_size = FOOTER.unpack(data[-FOOTER.size :])[:2]
    struct.pack_into("<H", data, offset + filter_size - 5 - 2, size)
    sealed = resealed_footer(resealed(bytes(data), meta.number, offset, filter_size))
    open(store.path(meta.number), "wb").write(sealed)
    with pytest.raises(CorruptionError, match="filter"):
        store.open(meta).verify()


def test_prefixes_are_kept_through_a_compaction(tmp_path):
    with oor.open(tmp_path / "s", durability="os", background=False, prefix_filter_bytes=2) as db:
        db.write({b"a%03d" % i: b"v" for i in range(100)})
        db.flush()
        db.write({b"z%03d" % i: b"v" for i in range(100)})
        db.compact()
        before = db.stats().cache.filter_skips
        assert db.first(prefix=b"q7") is None
        assert db.stats().cache.filter_skips == before + 1
