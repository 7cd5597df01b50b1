"""Scans: one view whatever happens meanwhile, seek, columns, the first pair, and their end."""

from __future__ import annotations

import array
import os
import subprocess
import sys
import threading
from itertools import takewhile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.tables import Model, Store, live

import oor
from oor.columns import ColumnScan
from oor.errors import ClosedError, LimitError
from oor.iterator import Walk, scan
from oor.memtable import Memtable
from oor.pins import Moment
from oor.short_scans import ShortScan, first_pair

KEYS = st.one_of(st.binary(max_size=2), st.sampled_from([b"k%03d" % i for i in range(200)]))
RUNS = st.dictionaries(KEYS, st.one_of(st.none(), st.binary(max_size=8)), max_size=40)
BOUNDS = st.none() | KEYS
quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path))


@pytest.fixture
def db(tmp_path):
    with oor.open(tmp_path / "s", durability="os", background=False) as db:
        yield db


def moment_of(store: Store, memtables: list[Model], level0: list[Model], deep: Model) -> Moment:
    """A view of these runs, newest first."""
    views = []
    for run in memtables:
        memtable = Memtable(1)
        if run:
            memtable.apply(run, 1, len(run), 0)
        views.append(memtable.view())
    return Moment(store.levels([level0, [deep] if deep else []]), views, 0)


def inside(model: dict[bytes, bytes], start, stop, reverse=False) -> list[tuple[bytes, bytes]]:
    found = [
        (key, value)
        for key, value in model.items()
        if (start is None or key >= start) and (stop is None or key < stop)
    ]
    return found[::-1] if reverse else found


def pairs_of(chunk) -> list[tuple[bytes, bytes]]:
    keys, values = chunk.key_offsets, chunk.value_offsets
    assert len(keys) == len(values) == len(chunk) + 1
    assert keys[0] == values[0] == 0
    return [
        (bytes(chunk.keys[keys[i] : keys[i + 1]]), bytes(chunk.values[values[i] : values[i + 1]]))
        for i in range(len(chunk))
    ]


many_runs = given(
    memtables=st.lists(RUNS, max_size=2),
    level0=st.lists(RUNS, max_size=2),
    deep=RUNS,
    start=BOUNDS,
    stop=BOUNDS,
    reverse=st.booleans(),
    limit=st.none() | st.integers(0, 50),
)


@quick
@many_runs
def test_columns_hold_what_a_dict_says(store, memtables, level0, deep, start, stop, reverse, limit):
    moment = moment_of(store, memtables, level0, deep)
    expected = inside(live(*memtables, *level0[::-1], deep), start, stop, reverse)[:limit]
    chunks = list(ColumnScan(Walk(moment, None, start, stop, reverse, limit)))
    assert [pair for chunk in chunks for pair in pairs_of(chunk)] == expected


@quick
@many_runs
def test_the_first_pair_is_what_a_dict_says(
    store, memtables, level0, deep, start, stop, reverse, limit
):
    moment = moment_of(store, memtables, level0, deep)
    expected = inside(live(*memtables, *level0[::-1], deep), start, stop, reverse)
    assert first_pair(moment, start, stop, reverse) == (expected[0] if expected else None)


@quick
@given(
    memtables=st.lists(RUNS, max_size=2),
    level0=st.lists(RUNS, max_size=2),
    start=BOUNDS,
    stop=BOUNDS,
    reverse=st.booleans(),
    steps=st.lists(st.tuples(st.integers(0, 40), KEYS), max_size=4),
)
def test_a_seek_goes_on_where_a_dict_says(store, memtables, level0, start, stop, reverse, steps):
    moment = moment_of(store, memtables, level0, {})
    model = live(*memtables, *level0[::-1])
    walk = scan(moment.version, moment.views, start, stop, reverse=reverse)
    expected = inside(model, start, stop, reverse)
    for count, key in steps:
        assert [pair for pair, _ in zip(walk, range(count), strict=False)] == expected[:count]
        walk.seek(key)
        if reverse:
            expected = [pair for pair in inside(model, start, stop, True) if pair[0] <= key]
        else:
            expected = [pair for pair in inside(model, start, stop) if pair[0] >= key]
    assert list(walk) == expected


def test_a_seek_inside_a_loop_takes_effect_at_the_next_step(db):
    db.write({b"%03d" % i: b"v" for i in range(300)})
    db.flush()
    seen = []
    walk = db.scan()
    for key, _ in walk:
        seen.append(key)
        if key == b"002":
            walk.seek(b"297")
    assert seen == [b"000", b"001", b"002", b"297", b"298", b"299"]


def test_a_limit_counts_anew_behind_a_seek(db):
    db.write({b"%03d" % i: b"v" for i in range(300)})
    walk = db.keys(limit=2)
    assert list(walk) == [b"000", b"001"]
    walk.seek(b"200")
    assert list(walk) == [b"200", b"201"]
    walk.seek(b"000")
    assert next(walk) == b"000"


def test_a_closed_scan_is_at_its_end_and_seeks_no_more(db):
    db.write({b"%03d" % i: b"v" for i in range(300)})
    with db.scan() as walk:
        assert next(walk) == (b"000", b"v")
    assert list(walk) == []
    with pytest.raises(ClosedError):
        walk.seek(b"1")


@pytest.mark.parametrize("kind", ["scan", "keys", "scan_columns", "snapshot scan"])
def test_a_scan_of_a_store_that_was_closed_raises_at_its_next_step(tmp_path, kind):
    db = oor.open(tmp_path / "s", durability="os", background=False)
    db.write({b"%05d" % i: b"v" for i in range(30_000)})
    db.flush()
    walk = db.snapshot().scan() if kind == "snapshot scan" else getattr(db, kind)()
    next(walk)
    db.close()
    with pytest.raises(ClosedError):
        next(walk)
    with pytest.raises(ClosedError):
        walk.seek(b"1")


@pytest.mark.parametrize("kind", ["scan", "scan_columns"])
def test_a_close_while_another_thread_walks_ends_the_walk_with_an_error(tmp_path, kind):
    for _ in range(10):
        db = oor.open(tmp_path / "s", durability="os", background=False)
        db.write({b"%05d" % i: b"v" * 50 for i in range(20_000)})
        walk, ended, begun = getattr(db, kind)(), [], threading.Event()

        def read(walk=walk, ended=ended, begun=begun) -> None:
            try:
                for _ in walk:
                    begun.set()
                ended.append(None)
            except ClosedError as error:
                ended.append(error)
            except BaseException as error:
                ended.append(error)
                raise

        thread = threading.Thread(target=read)
        thread.start()
        begun.wait()
        db.close()
        thread.join()
        assert len(ended) == 1 and (ended[0] is None or isinstance(ended[0], ClosedError))


@pytest.mark.parametrize("reverse", [False, True])
def test_a_short_scan_has_its_pairs_in_hand_whatever_becomes_of_the_store(tmp_path, reverse):
    pairs = {b"%03d" % i: b"v" for i in range(300)}
    with oor.open(tmp_path / "s", durability="os", background=False) as db:
        db.write(pairs)
        db.flush()
        walk = db.scan(b"100", b"200", limit=50, reverse=reverse)
        wanted = inside(pairs, b"100", b"200", reverse)[:50]
        assert next(walk) == wanted[0]
    assert list(walk) == wanted[1:]
    with pytest.raises(ClosedError, match="the store is closed"):
        walk.seek(b"150")


def test_a_short_scan_over_a_prefix_ends_with_it(db):
    pairs = {b"%03d" % i: b"v" for i in range(300)}
    db.write(pairs)
    db.flush()
    for prefix, reverse in ((b"12", False), (b"12", True), (b"", True), (b"\xff", False)):
        walk = db.scan(prefix=prefix, reverse=reverse, limit=50)
        assert isinstance(walk, ShortScan)
        some = {key: value for key, value in pairs.items() if key.startswith(prefix)}
        assert list(walk) == inside(some, None, None, reverse)[:50]
    with pytest.raises(TypeError):
        db.scan(b"1", prefix=b"1", limit=5)


def test_a_short_scan_seeks_in_the_view_that_it_was_made_of(db):
    pairs = {b"%03d" % i: b"old" for i in range(300)}
    db.write(pairs)
    db.flush()
    walk = db.scan(b"100", limit=2)
    db.write(dict.fromkeys(pairs, b"new"))
    db.compact()
    assert list(walk) == [(b"100", b"old"), (b"101", b"old")]
    for key in (b"250", b"120"):
        walk.seek(key)
        assert list(walk) == [(key, b"old"), (b"%03d" % (int(key) + 1), b"old")]
        walk._check()


def test_a_short_scan_is_a_pin_until_it_is_closed_or_dropped(db):
    db.write({b"%03d" % i: b"v" for i in range(300)})
    db.flush()

    def scans() -> list[tuple[str | None, int]]:
        return [(pin.thread, pin.lsn) for pin in db.pins() if pin.owner == "scan"]

    walks = [db.scan(limit=5) for _ in range(3)]
    assert scans() == [(threading.current_thread().name, 300)] * 3
    walks[1].seek(b"100")
    assert len(scans()) == 3
    walks[0].close()
    assert list(walks[0]) == [] and len(scans()) == 2
    with pytest.raises(ClosedError):
        walks[0].seek(b"1")
    walks[1].close()
    walks[1]._check()
    assert len(scans()) == 1
    del walks
    assert scans() == []


def test_a_walk_over_many_tables_and_long_keys_needs_more_than_it_has_at_hand(db):
    pairs = {}
    for part in range(12):
        some = {b"k" * 100 + b"%03d" % (i * 12 + part): b"%d" % part for i in range(30)}
        db.write(some)
        db.flush()
        pairs |= some
    pairs = dict(sorted(pairs.items()))
    assert db.stats().levels[0].tables > 8
    assert list(db.scan()) == inside(pairs, None, None)
    low, high = b"k" * 100 + b"100", b"k" * 100 + b"200"
    for reverse in (False, True):
        wanted = inside(pairs, low, high, reverse)
        assert list(db.scan(low, high, reverse=reverse)) == wanted
        assert list(db.scan(low, high, reverse=reverse, limit=40)) == wanted[:40]


def test_a_python_that_reads_marshalled_objects_otherwise_is_told_at_the_import():
    program = """
import marshal
loads = marshal.loads
marshal.loads = lambda data: [] if data[:1] == b"[" else loads(data)
import oor.native
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "ImportError: oor does not know how this Python reads" in done.stderr


def test_a_scan_that_was_at_its_end_stays_there_when_the_store_closes(tmp_path):
    db = oor.open(tmp_path / "s", durability="os", background=False)
    db.put(b"a", b"1")
    walk = db.scan()
    assert list(walk) == [(b"a", b"1")]
    db.close()
    assert list(walk) == []


def test_a_scan_shows_one_view_whatever_is_written_and_compacted_meanwhile(db):
    before = {b"%04d" % i: b"old" for i in range(3000)}
    db.write(before)
    walks = [db.scan(), db.scan(reverse=True)]
    columns = db.scan_columns()
    heads = [next(walk) for walk in walks]
    db.write(dict.fromkeys(list(before)[::2]))
    db.write({key + b"x": b"new" for key in before})
    db.flush()
    db.write(dict.fromkeys(before, b"newer"))
    db.compact()
    assert [heads[0], *walks[0]] == list(before.items())
    assert [heads[1], *walks[1]] == list(before.items())[::-1]
    assert [pair for chunk in columns for pair in pairs_of(chunk)] == list(before.items())


def test_bounds_that_hold_nothing_give_nothing(db):
    db.write({b"a": b"1", b"b": b"2"})
    for start, stop in [(b"b", b"a"), (b"a", b"a"), (b"c", None)]:
        assert list(db.scan(start, stop)) == list(db.scan(start, stop, reverse=True)) == []
        assert list(db.scan_columns(start, stop)) == []
        assert db.first(start, stop) is None
        assert db.first(start, stop, reverse=True) is None


def test_the_first_pair_is_found_below_many_deletions_and_in_any_size(db):
    db.write({b"%03d" % i: b"v" for i in range(100)})
    db.put(b"0995", os.urandom(10_000))
    db.flush()
    db.write(dict.fromkeys([b"%03d" % i for i in range(99)]))
    assert db.first() == (b"099", b"v")
    assert db.first(b"0991") == (b"0995", db[b"0995"])
    assert db.first(stop=b"099", reverse=True) is None
    assert db.first(prefix=b"09", reverse=True) == (b"0995", db[b"0995"])


# ---- columns ----


def test_a_pair_larger_than_a_chunk_has_a_chunk_of_its_own(db):
    large = os.urandom(3 << 20)
    db.write({b"a": b"1", b"b" * 60_000: large, b"c": b"", b"": b"0"})
    for _ in range(2):
        chunks = list(db.scan_columns())
        assert [pair for chunk in chunks for pair in pairs_of(chunk)] == list(db.scan())
        db.flush()


def test_chunks_outlive_their_scan_and_the_store(tmp_path):
    with oor.open(tmp_path / "s", durability="os") as db:
        pairs = {b"%06d" % i: b"%d" % i * 20 for i in range(20_000)}
        db.write(pairs)
        db.flush()
        chunks = list(db.scan_columns())
        views = [array.array("I", bytes(chunk.key_offsets)) for chunk in chunks]
    assert len(chunks) > 2
    assert dict(pair for chunk in chunks for pair in pairs_of(chunk)) == pairs
    assert [list(chunk.key_offsets) for chunk in chunks] == [list(view) for view in views]


def test_columns_are_read_only_and_wrapped_without_a_copy(db):
    numpy = pytest.importorskip("numpy")
    db.write({b"%06d" % i: b"value" for i in range(1000)})
    [chunk] = db.scan_columns(limit=900)
    offsets = numpy.frombuffer(chunk.key_offsets, numpy.uint32)
    keys = numpy.frombuffer(chunk.keys, "S6")
    assert len(chunk) == len(keys) == 900
    assert offsets.tolist() == list(range(0, 901 * 6, 6))
    assert keys[-1] == b"000899"
    assert not keys.flags.writeable
    assert (
        keys.__array_interface__["data"][0]
        == numpy.asarray(chunk.keys).__array_interface__["data"][0]
    )


def test_columns_take_bounds_seek_and_limit(db):
    db.write({b"%03d" % i: b"v%d" % i for i in range(300)})
    db.flush()
    assert sum(map(len, db.scan_columns(b"100", b"200"))) == 100
    assert sum(map(len, db.scan_columns(prefix=b"29"))) == 10
    with db.scan_columns(limit=5, reverse=True) as walk:
        assert pairs_of(next(walk))[0] == (b"299", b"v299")
        walk.seek(b"010")
        assert [key for key, _ in pairs_of(next(walk))] == [b"010", b"009", b"008", b"007", b"006"]


# ---- values into memory of the caller's ----


@pytest.fixture(params=["memtable", "table", "snapshot", "snapshot of a table"])
def reader(request, db):
    db.write({b"a": b"value", b"empty": b"", b"gone": b"x", b"large": bytes(range(256)) * 64})
    if "table" in request.param and request.param != "memtable":
        db.flush()
    db.delete(b"gone")
    if "snapshot" in request.param:
        with db.snapshot() as snapshot:
            yield snapshot
    else:
        yield db


def test_get_into_copies_the_value_and_leaves_the_rest(reader):
    buffer = bytearray(b"." * 8)
    assert reader.get_into(b"a", buffer) == 5
    assert buffer == b"value..."
    assert reader.get_into(b"empty", buffer) == 0
    assert reader.get_into(b"gone", buffer) is None
    assert reader.get_into(b"never", buffer) is None
    assert buffer == b"value..."
    large = array.array("I", bytes(256 * 64))
    assert reader.get_into(b"large", large) == 256 * 64
    assert large.tobytes() == bytes(range(256)) * 64


def test_get_into_says_the_size_of_a_value_that_does_not_fit(reader):
    buffer = bytearray(b"." * 100)
    with pytest.raises(LimitError, match="16384 bytes.* 100"):
        reader.get_into(b"large", buffer)
    assert buffer == b"." * 100
    with pytest.raises((TypeError, BufferError, ValueError)):
        reader.get_into(b"a", bytes(100))


@given(
    st.lists(st.tuples(st.binary(max_size=2), st.binary(max_size=2)), max_size=8),
    st.integers(0, 3),
    st.integers(0, 2),
    st.booleans(),
    st.integers(0, 3),
)
@settings(
    max_examples=90, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_many_ranges_give_what_a_scan_of_each_gives(
    tmp_path_factory, ranges, limit, group, reverse, flush
):
    """Over tables, memtables and deletions in any mixture."""
    with oor.open(tmp_path_factory.mktemp("many") / "s", background=False) as db:
        for step in range(4):
            for number in range(step, 256, 3 + step):
                key = bytes([number]) if number % 2 else bytes([number, step])
                db.put(key, b"%d" % step)
                if number % 7 == step:
                    db.delete(bytes([number]))
            if step < flush:
                db.flush()
        wanted = [list(db.scan(*one, limit=limit, reverse=reverse)) for one in ranges]
        wanted = [
            list(takewhile(lambda pair, first=one[0][0]: shares(pair[0], first, group), one))
            if one
            else one
            for one in wanted
        ]
        how = {"limit": limit, "group": group, "reverse": reverse}
        assert db.scan_many(ranges, **how) == wanted
        assert [db.scan_many([one], **how)[0] for one in ranges] == wanted
        with db.snapshot() as snapshot:
            db.put(b"a", b"later")
            assert snapshot.scan_many(ranges, **how) == wanted


def shares(key, first, size):
    """Whether a key is the first, or shares this many bytes with it."""
    return key == first or not size or (key[:size] == first[:size] and len(first) >= size)


def test_limits_that_no_call_can_have_are_refused(tmp_path):
    with oor.open(tmp_path / "s") as db:
        for wrong in ({"limit": -1}, {"limit": 1 << 32}, {"group": 256}, {"group": -1}):
            for ranges in ([(b"a", b"b")], [(b"a", b"b"), (b"c", b"d")]):
                with pytest.raises(LimitError):
                    db.scan_many(ranges, **wrong)


def test_a_short_scan_that_makes_its_room_grow_is_whole_wherever_the_memory_lies(db):
    pairs = {b"%04d" % n: b"v" * 3000 for n in range(512)}
    db.write(pairs)
    db.flush()
    for count in range(1, 513, 3):
        assert list(db.scan(limit=count)) == list(pairs.items())[:count]
