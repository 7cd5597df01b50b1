"""Reads over many tables and memtables answer like one dict, whatever lies where."""

from __future__ import annotations

import bisect
import sys
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.tables import Model, Store, live

from oor.errors import CorruptionError, FormatError, LimitError
from oor.iterator import scan
from oor.native import Buffer, Columns, check, dumps, lib, owned
from oor.table import TableMeta, TableOptions
from oor.version import Version, VersionEdit

KEYS = st.one_of(st.binary(max_size=2), st.sampled_from([b"k%03d" % i for i in range(200)]))
RUNS = st.dictionaries(KEYS, st.one_of(st.none(), st.binary(max_size=8)), max_size=40)
quick = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path))


class DictView:
    """A memtable as scans see it, over a dict."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.keys = sorted(model)
        self.asked = 0

    def window(self, lower, upper, count, reverse):
        low = 0 if lower is None else bisect.bisect_left(self.keys, lower)
        high = len(self.keys) if upper is None else bisect.bisect_left(self.keys, upper)
        inside = self.keys[low : max(low, high)]
        chosen = inside[::-1][:count] if reverse else inside[:count]
        self.asked += 1
        return [(key, self.model[key]) for key in chosen]


def split(model: Model, parts: int) -> list[Model]:
    """A run cut into disjoint tables in key order."""
    keys = sorted(model)
    size = max(1, -(-len(keys) // parts))
    return [{key: model[key] for key in keys[at : at + size]} for at in range(0, len(keys), size)]


@quick
@given(
    views=st.lists(RUNS, max_size=3),
    level0=st.lists(RUNS, max_size=3),
    deep=st.lists(RUNS, max_size=2),
    start=st.none() | KEYS,
    stop=st.none() | KEYS,
    limit=st.none() | st.integers(0, 9),
    reverse=st.booleans(),
)
def test_every_read_answers_like_a_dict(store, views, level0, deep, start, stop, limit, reverse):
    version = store.levels([level0, *(split(run, 3) for run in deep)])
    tables_only = live(*reversed(level0), *deep)
    probes = sorted({key for run in (*level0, *deep) for key in run} | {b"", b"k", b"k000", b"zz"})
    assert [version.get(key) for key in probes] == [tables_only.get(key) for key in probes]
    assert version.get_many(probes[::-1]) == [tables_only.get(key) for key in probes[::-1]]
    everything = live(*views, *reversed(level0), *deep)
    expected = [
        (key, value)
        for key, value in sorted(everything.items(), reverse=reverse)
        if (start is None or key >= start) and (stop is None or key < stop)
    ][:limit]
    shown = [DictView(view) for view in views]
    arguments = {"reverse": reverse, "limit": limit}
    assert list(scan(version, shown, start, stop, **arguments)) == expected
    keys = list(scan(version, shown, start, stop, keys_only=True, **arguments))
    assert keys == [key for key, _ in expected]


@pytest.mark.parametrize("reverse", [False, True])
def test_long_walks_through_many_windows_and_chunks_are_exact(store, reverse):
    base: Model = {b"%05d" % i: b"base %d" % i for i in range(0, 9000, 3)}
    newer: Model = {b"%05d" % i: None if i % 4 else b"newer %d" % i for i in range(0, 9000, 5)}
    newest: Model = {b"%05d" % i: None if i % 9 else b"newest %d" % i for i in range(2000, 2600)}
    version = store.levels([[], split(base, 4)])
    views = [DictView(newest), DictView(newer)]
    expected = sorted(live(newest, newer, base).items(), reverse=reverse)
    assert list(scan(version, views, reverse=reverse)) == expected
    assert views[1].asked > 2


def test_a_short_scan_asks_a_memtable_for_little(store):
    view = DictView({b"%05d" % i: b"v" for i in range(9000)})
    assert len(list(scan(Version(), [view], limit=10))) == 10
    assert view.asked == 1


def test_a_scan_is_of_the_version_it_began_with(store):
    version = store.levels([[], [{b"a": b"1", b"b": b"2"}]])
    walk = scan(version)
    assert next(walk) == (b"a", b"1")
    version = version.with_edit(VersionEdit(remove=(1,)), {})
    assert list(scan(version)) == []
    assert list(walk) == [(b"b", b"2")]


def test_an_empty_version_holds_nothing():
    version = Version()
    assert version.get(b"") is None
    assert version.get_many([]) == []
    assert version.get_many([b"a", b""]) == [None, None]
    assert list(scan(version)) == []
    assert version.table_numbers() == frozenset()
    assert version.level_bytes(3) == 0


def test_many_keys_in_one_call_come_back_in_the_order_asked(store):
    model: Model = {b"%06d" % (i * 7919 % 10007): b"v%d" % i for i in range(3000)}
    version = store.levels([[], split(model, 3)])
    keys = [b"%06d" % (i * 31 % 10007) for i in range(5000)] * 2
    assert version.get_many(keys) == [model.get(key) for key in keys]


def test_a_lookup_takes_bytes_alone_and_outlives_its_version(store):
    version = store.levels([[{b"a": b"1", b"": b"", b"gone": None, b"long": b"x" * 100_000}]])
    lookup = version.lookup
    del version
    assert [lookup(key) for key in (b"a", b"", b"gone", b"b")] == [b"1", b"", None, None]
    assert lookup(b"long") == b"x" * 100_000
    for wrong in ("a", 1, None, bytearray(b"a")):
        with pytest.raises(TypeError):
            lookup(wrong)


def test_a_short_scan_takes_only_what_it_says(store):
    scan = store.levels([[{b"a": b"1", b"b": b"2", b"c": b"3"}]]).scan
    assert scan(b"b", None, 0, 9, 0) == [(b"b", b"2"), (b"c", b"3")]
    assert scan(None, b"c", lib.OOR_MERGE_REVERSE, 1, 0) == [(b"b", b"2")]
    assert scan(None, None, lib.OOR_MERGE_KEYS_ONLY, 2, 0) == [b"a", b"b"]
    for wrong in (("a", None, 0, 1, 0), (b"a", 1, 0, 1, 0), (b"a", None, 0, "1", 0), ()):
        with pytest.raises(TypeError):
            scan(*wrong)
    for wrong in (-1, 1 << 32, 1 << 70):
        with pytest.raises(OverflowError):
            scan(None, None, 0, wrong, 0)
    with pytest.raises(LimitError):
        scan(None, None, 0, 1, 256)


@pytest.mark.parametrize("cache_bytes", [0, 2000, 1 << 20])
def test_a_short_scan_is_whole_whatever_of_it_the_cache_has(tmp_path, cache_bytes):
    store = Store(str(tmp_path), cache_bytes=cache_bytes)
    model: Model = {b"%03d" % i: None if i % 7 == 3 else b"v%d" % i for i in range(300)}
    older: Model = {b"%03d" % i: b"older" for i in range(0, 300, 3)}
    version = store.levels([[older], [{}], [model]])
    pairs = list(live(model | older).items())
    for start in (250, 0, 120, 90, 0):
        key = b"%03d" % start
        for limit in (1, 30, 300):
            upwards = [pair for pair in pairs if pair[0] >= key][:limit]
            downwards = [pair for pair in reversed(pairs) if pair[0] < key][:limit]
            assert version.scan(key, None, 0, limit, 0) == upwards
            assert version.scan(None, key, lib.OOR_MERGE_REVERSE, limit, 0) == downwards
            keys = version.scan(key, None, lib.OOR_MERGE_KEYS_ONLY, limit, 0)
            assert keys == [key for key, _ in upwards]
            group = [pair for pair in upwards if pair[0][:2] == upwards[0][0][:2]]
            assert version.scan(key, None, 0, limit, 2) == group


def test_a_lookup_that_reads_from_the_disk_lets_others_run(tmp_path):
    store = Store(str(tmp_path), cache_bytes=0)
    version = store.levels([[{b"%04d" % i: b"v" * 50 for i in range(400)}]])
    interval = sys.getswitchinterval()
    go, ran = threading.Lock(), []
    go.acquire()
    other = threading.Thread(target=lambda: (go.acquire(), ran.append(True)))
    other.start()
    sys.setswitchinterval(1000)
    try:
        go.release()
        # Nobody is asked to give the lock away, so the other runs if a read gives it away.
        lets_run = any(ran or version.lookup(b"0123") is None for _ in range(100_000))
    finally:
        sys.setswitchinterval(interval)
        other.join()
    assert lets_run


def test_keys_of_other_kinds_are_taken_as_bytes_or_refused(store):
    version = store.levels([[{b"a": b"1"}]])
    assert version.get_many((bytearray(b"a"), memoryview(b"xab")[1:2])) == [b"1", b"1"]
    for wrong in ("a", 1, None, [b"a"], object()):
        with pytest.raises(TypeError):
            version.get_many([b"a", wrong])
    assert version.get_many([b"a"]) == [b"1"]


def test_a_list_of_keys_that_is_none_is_refused_wherever_it_ends(store):
    version = store.levels([[{b"a": b"1"}]])
    buffer = Buffer()
    lookups = owned(lib.oor_lookups_new(), lib.oor_lookups_free)
    good = dumps([b"a", b"bc"])
    for keys in [*(good[:size] for size in range(len(good))), good + b"N", b"(" + good[1:],
                 b"[\xff\xff\xff\xff" + good[5:], good[:6] + b"\xff" + good[7:]]:  # fmt: skip
        found = lib.oor_version_get_many(version.raw, lookups, keys, len(keys), buffer.raw)
        assert found == lib.OOR_E_LIMIT
    assert lib.oor_version_get_many(version.raw, lookups, good, len(good), buffer.raw) == 1


def test_a_damaged_block_ends_a_call_for_many_keys_and_nothing_stays_held(tmp_path):
    """A block that stays held is in the cache's memory when that goes, which aborts."""
    store = Store(str(tmp_path), options=TableOptions(block_size=256))
    model: Model = {b"%04d" % i: b"v" * 50 for i in range(400)}
    meta = store.write(model)
    path = tmp_path / store.path(meta.number)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    version = Version([[store.open(meta)]])
    damaged = 0
    for key in model:
        try:
            assert version.get(key) == model[key]
        except CorruptionError:
            damaged += 1
    assert 0 < damaged < 10
    for _ in range(3):
        with pytest.raises(CorruptionError, match="section crc"):
            version.get_many(list(model))
    store.cache._check()
    del version, store


def test_columns_that_do_not_add_up_are_refused(store):
    version = store.levels([[{b"a": b"1"}]])
    buffer = Buffer()
    merge = owned(lib.oor_merge_new(version.raw, b"", 0, b"", 0, 0), lib.oor_merge_free)
    assert lib.oor_merge_next(merge, 5, buffer.raw) == lib.OOR_MERGE_NEEDS_WINDOW
    assert buffer.load() == []
    check(lib.oor_merge_window(merge, *Columns([b"b"], [b"2"]).arguments(), 0))
    with pytest.raises(LimitError):
        check(lib.oor_merge_window(merge, *Columns([b"c"], [b"3"]).arguments(), 0))
    assert lib.oor_merge_next(merge, 5, buffer.raw) == lib.OOR_MERGE_NEEDS_WINDOW
    assert buffer.load() == [b"a", b"1", b"b", b"2"]
    check(lib.oor_merge_window(merge, *Columns([], []).arguments(), 1))
    assert lib.oor_merge_next(merge, 5, buffer.raw) == lib.OOR_MERGE_END


def test_tables_that_overlap_below_level_0_are_corruption(store):
    left, right = store.table({b"a": b"1", b"c": b"1"}), store.table({b"c": b"2", b"d": b"2"})
    Version([[left, right]])
    with pytest.raises(CorruptionError, match="overlap in level 1"):
        Version([[], [left, right]])
    with pytest.raises(CorruptionError, match="overlap in level 1"):
        Version([[], [right, left]])
    with pytest.raises(CorruptionError, match="twice"):
        Version([[left], [left]])


def test_edits_lead_from_version_to_version(store):
    old, newer = store.write({b"a": b"1", b"b": b"1"}), store.write({b"a": b"2"})
    opened = {meta.number: store.open(meta) for meta in (old, newer)}
    first = Version().with_edit(VersionEdit(add=((0, old),)), opened)
    second = first.with_edit(VersionEdit(add=((0, newer),)), opened)
    assert (first.get(b"a"), second.get(b"a"), second.get(b"b")) == (b"1", b"2", b"1")
    moved = second.with_edit(VersionEdit(remove=(old.number,), add=((2, old),)), {})
    assert [len(level) for level in moved.levels] == [1, 0, 1]
    assert moved.get_many([b"a", b"b"]) == [b"2", b"1"]
    assert moved.level_bytes(2) == old.size
    assert [t.meta for t in moved.overlapping(2, b"b", b"z")] == [old]
    assert moved.overlapping(2, b"c", b"z") == moved.overlapping(5, b"", b"z") == ()
    assert moved.with_edit(VersionEdit(remove=(old.number, newer.number)), {}).levels == ()
    with pytest.raises(CorruptionError, match="not there"):
        moved.with_edit(VersionEdit(remove=(77,)), {})
    with pytest.raises(CorruptionError, match="not opened"):
        Version().with_edit(VersionEdit(add=((0, old),)), {})


METAS = st.builds(
    lambda number, size, sums, keys, lsns: TableMeta(
        number, size, 7, sums[1] + 1, sums[0], 5, 6, lsns[0], lsns[1], keys[0], keys[1]
    ),
    number=st.integers(1, 2**64 - 1), size=st.integers(0, 2**64 - 1),
    sums=st.tuples(st.integers(0, 2**63), st.integers(0, 2**63)).map(sorted),
    keys=st.tuples(st.binary(max_size=9), st.binary(max_size=9)).map(sorted),
    lsns=st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)).map(sorted),
)  # fmt: skip
COUNT = st.none() | st.integers(0, 2**64 - 1)


@quick
@given(edit=st.builds(
    VersionEdit,
    add=st.lists(st.tuples(st.integers(0, 6), METAS), max_size=3).map(tuple),
    remove=st.lists(st.integers(1, 99), max_size=3).map(tuple),
    flushed_lsn=COUNT, log_start=COUNT, next_number=COUNT, epoch=COUNT, durable_lsn=COUNT,
    next_lsn=COUNT, checkpoint_lsn=COUNT, closed=st.booleans(),
))  # fmt: skip
def test_an_edit_survives_json(edit):
    assert VersionEdit.from_json(edit.to_json()) == edit
    assert None not in edit.to_json().values()


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ({"flushed": 1}, FormatError),
        ({"epoch": -1}, CorruptionError),
        ({"epoch": True}, CorruptionError),
        ({"closed": 1}, CorruptionError),
        ({"add": {}}, CorruptionError),
        ({"add": [[9, {}]]}, CorruptionError),
        ({"add": [[0, {}]]}, CorruptionError),
        ({"add": [[0]]}, CorruptionError),
        ({"remove": ["1"]}, CorruptionError),
        ({"remove": 1}, CorruptionError),
        ([], CorruptionError),
    ],
)
def test_an_edit_that_makes_no_sense_is_refused(content, error):
    with pytest.raises(error):
        VersionEdit.from_json(content)


def test_threads_reading_one_version_never_see_each_others_values(store):
    model: Model = {b"%04d" % i: b"%d " % i * (i % 50) for i in range(400)}
    version = store.levels([[], split(model, 2)])
    keys, wrong = list(model), []

    def read(step: int) -> None:
        for i in range(6000):
            key = keys[i * step % len(keys)]
            if version.get(key) != model[key]:
                wrong.append(key)

    threads = [threading.Thread(target=read, args=(step,)) for step in (1, 3, 7, 11)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_damage_met_by_a_scan_ends_it_with_an_error(tmp_path):
    store = Store(str(tmp_path), options=TableOptions(block_size=256))
    meta = store.write({b"%04d" % i: b"v" * 50 for i in range(400)})
    path = tmp_path / store.path(meta.number)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    version = Version([[store.open(meta)]])
    seen = []
    with pytest.raises(CorruptionError, match="section crc"):
        for key, _ in scan(version):
            seen.append(key)
    assert seen == [b"%04d" % i for i in range(len(seen))]
    assert 100 < len(seen) < 300
