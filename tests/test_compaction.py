"""Compaction changes files, never answers; it drops what nobody can see, and accounts for it."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import threading
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.tables import SMALL, Model, Store, live

from oor.compaction import CompactionOptions, Job, Leveled, Running, Tiered, run
from oor.compaction.job import merge
from oor.compaction.leveled import down
from oor.errors import CancelledError, CorruptionError, StorageError
from oor.iterator import scan
from oor.table import TableOptions
from oor.trace import Op, Trace
from oor.version import LEVELS, Version

KEYS = st.sampled_from([b"k%03d" % i for i in range(60)])
RUNS = st.dictionaries(KEYS, st.one_of(st.none(), st.binary(max_size=20)), min_size=1, max_size=30)
OPTIONS = CompactionOptions(
    l0_trigger=2,
    level_base_bytes=300,
    level_ratio=2,
    table_bytes=400,
    tiered_runs=3,
    tables=(SMALL,),
)
BOTTOM = LEVELS - 1


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path))


def compacted(
    store: Store, version: Version, job: Job, options: CompactionOptions = OPTIONS
) -> Version:
    """The version after a job, its new tables opened and verified."""
    edit = run(Running(job), version, store.directory, store.number, options)
    kept = version.table_numbers() - set(edit.dropped())
    opened = {meta.number: store.open(meta) for _, meta in edit.add if meta.number not in kept}
    for table in opened.values():
        table.verify()
    return version.with_edit(edit, opened)


def settled(store: Store, version: Version, strategy, start=None, stop=None) -> Version:
    """The version after a compaction by hand."""
    plan = strategy.by_hand(start, stop, 1 << 60)
    while (job := plan.next(version)) is not None:
        version = compacted(store, version, job, strategy.options)
    return version


def everything(version: Version) -> Job:
    """All tables into the deepest level, in one job."""
    return Job(tuple(version.tables()), max(1, len(version.levels) - 1))


def flushed(store: Store, version: Version, pairs: Model) -> Version:
    """The version with one more table in level 0."""
    levels = version.levels or ((),)
    return Version([[store.table(pairs), *levels[0]], *levels[1:]])


@pytest.mark.parametrize("kind", [Leveled, Tiered])
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(runs=st.lists(RUNS, min_size=1, max_size=12), probe=KEYS)
def test_a_life_of_flushes_and_compactions_changes_no_read(kind, store, runs, probe):
    """E1: with every strategy, at every shape of levels that it makes, and after a full one."""
    strategy, version, newest_first = kind(OPTIONS), Version(), []
    for pairs in runs:
        newest_first.insert(0, pairs)
        version = flushed(store, version, pairs)
        for _ in range(50):
            job = strategy.pick(version)
            if job is None:
                break
            version = compacted(store, version, job)
        expected = live(*newest_first)
        assert list(scan(version)) == list(expected.items())
        assert version.get(probe) == expected.get(probe)
    assert strategy.pick(version) is None, "a strategy comes to rest"
    version = settled(store, version, strategy)
    assert list(scan(version)) == list(live(*newest_first).items())
    assert sum(table.meta.tombstones for table in version.tables()) == 0
    assert sum(table.meta.entries for table in version.tables()) == len(live(*newest_first))
    assert strategy.by_hand(None, None, 1 << 60).next(version) is None


def test_tombstones_go_only_when_nothing_below_can_hold_their_key(store):
    version = store.levels([
        [{b"b": None, b"d": None, b"m": None, b"z": None}],
        [{b"b": b"level 1", b"m": b"level 1"}],
        [{b"c": b"level 2", b"e": b"level 2"}, {b"x": b"level 2", b"z": b"level 2"}],
        [{b"m": b"level 3"}],
    ])  # fmt: skip
    expected = list(scan(version))
    job = down(version, version.levels[0], 0, 1, OPTIONS, "level 0 into level 1")
    assert job is not None and job.target == 1 and len(job.inputs) == 2
    after = compacted(store, version, job)
    assert list(scan(after)) == expected
    (level1,) = after.levels[1]
    # b has nothing below; d lies inside a table of level 2; m inside level 3; z inside level 2.
    assert (level1.meta.entries, level1.meta.tombstones) == (3, 3)
    assert [after.get(key) for key in (b"b", b"d", b"m", b"z")] == [None] * 4
    bottom = settled(store, after, Leveled(OPTIONS))
    assert list(scan(bottom)) == expected
    assert [table.meta.tombstones for table in bottom.tables()] == [0]


def test_tombstones_that_only_the_lower_input_has_are_kept_too(store):
    """The flushed table spans less than the level below it, whose tombstones hide deeper values."""
    version = store.levels(
        [
            [{b"m": b"new"}],
            [{b"a": None, b"m": b"old", b"z": None}],
            [{b"a": b"deep"}, {b"z": b"deep"}],
        ]
    )
    job = down(version, version.levels[0], 0, 1, OPTIONS, "level 0 into level 1")
    assert job is not None and len(job.inputs) == 2 and len(job.below) == 2
    after = compacted(store, version, job)
    assert list(scan(after)) == list(scan(version)) == [(b"m", b"new")]


@pytest.mark.parametrize("shape", list(itertools.product([None, b"old", b"gone"], repeat=3)))
def test_a_deleted_key_never_comes_back_at_any_shape_of_levels(store, shape):
    """One key in three levels, each with a value, a tombstone or nothing."""
    runs: list[Model] = []
    for level, state in enumerate(shape):
        pairs: Model = {b"a%d" % level: b"1", b"z%d" % level: b"1"}
        if state is not None:
            pairs[b"key"] = None if state == b"gone" else b"of level %d" % level
        runs.append(pairs)
    version = store.levels([[runs[0]], [runs[1]], [runs[2]]])
    expected = list(live(*runs).items())
    assert list(scan(version)) == expected
    for job_of in (_upper_two, everything):
        version = compacted(store, version, job_of(version))
        assert list(scan(version)) == expected


def _upper_two(version: Version) -> Job:
    return merge(version, (*version.levels[0], *version.levels[1]), 0, 1, "")


def test_outputs_are_cut_at_their_size_and_disjoint(store):
    version = store.levels([[{b"%04d" % i: b"v" * 20 for i in range(500)}]])
    after = compacted(store, version, Job(tuple(version.tables()), 1))
    sizes = [table.meta.size for table in after.levels[1]]
    assert len(sizes) > 10
    assert all(size < 400 + 1200 for size in sizes)
    assert sum(table.meta.entries for table in after.tables()) == 500


def test_a_compaction_that_leaves_nothing_writes_no_table(store):
    version = store.levels([[{b"a": b"1"}, {b"a": None}]])
    after = compacted(store, version, everything(version))
    assert after.levels == ()
    assert sorted(os.listdir(store.directory)) == ["000000000001.sst", "000000000002.sst"]


def test_a_table_without_neighbours_below_only_moves_at_the_cost_of_one_edit(store):
    version = store.levels([[], [{b"a": b"1"}, {b"m": b"1"}], [{b"x": b"1"}]])
    job = Leveled(OPTIONS).pick(version)
    assert job is not None and job.moves and (job.source, job.target) == (1, 2)
    before = sorted(os.listdir(store.directory))
    after = compacted(store, version, job)
    assert sorted(os.listdir(store.directory)) == before
    assert after.table_numbers() == version.table_numbers()
    assert list(scan(after)) == list(scan(version))


def test_tables_of_level_0_move_only_where_they_do_not_overlap_and_are_laid_out_alike(store):
    version = store.levels([[{b"a": b"1"}, {b"b": b"2"}]])
    assert Leveled(OPTIONS).pick(version).moves
    packed = CompactionOptions(l0_trigger=2, tables=(SMALL, TableOptions()))
    assert not Leveled(packed).pick(version).moves
    meeting = store.levels([[{b"a": b"1", b"c": b"1"}, {b"b": b"2"}]])
    assert not Leveled(OPTIONS).pick(meeting).moves


def test_a_failing_write_leaves_no_output_and_the_next_try_succeeds(store):
    version = store.levels([[{b"%04d" % i: b"v" * 20 for i in range(200)}]])
    job = Job(tuple(version.tables()), 1)
    before = sorted(os.listdir(store.directory))
    for operation in (
        Op.OPEN,
        Op.WRITE,
        Op.SYNC,
        Op.CLOSE,
        Op.SYNC_DIR,
    ):
        for nth in (1, 3):
            if operation == Op.SYNC_DIR and nth > 1:
                continue
            with Trace(payloads=False) as trace:
                trace.fail(operation, nth=nth, errno=errno.EIO)
                with pytest.raises(StorageError):
                    run(Running(job), version, store.directory, store.number, OPTIONS)
                assert trace.faults_met == 1
            assert sorted(os.listdir(store.directory)) == before
    assert list(scan(compacted(store, version, job))) == list(scan(version))


def test_a_read_error_in_any_input_ends_the_compaction_and_drops_nothing(store):
    """E6: no input is taken for an empty one, whichever of its reads fails."""
    version = store.levels([[{b"%04d" % i: b"v" * 20 for i in range(n, 200, 3)} for n in range(3)]])
    job = Job(tuple(version.tables()), 1)
    before = sorted(os.listdir(store.directory))
    failed = 0
    for nth in itertools.count(1):
        with Trace(payloads=False) as trace:
            trace.fail(Op.READ, nth=nth, errno=errno.EIO)
            with contextlib.suppress(StorageError):
                run(Running(job), version, store.directory, store.number, OPTIONS)
                break
            failed += 1
            assert sorted(os.listdir(store.directory)) == before
    assert failed >= 3, "each input is read at least once"


def test_a_compaction_whose_counts_do_not_add_up_is_thrown_away_and_reported(store):
    """E6: in = out + dropped by rule; here the manifest promises an entry that no table has."""
    version = store.levels([[{b"a": b"1", b"b": b"2"}, {b"b": b"3"}]])
    newest = version.levels[0][0]
    newest.meta = replace(newest.meta, entries=newest.meta.entries + 1)
    before = sorted(os.listdir(store.directory))
    with pytest.raises(CorruptionError, match="4 entries in, 2 out, 1 shadowed") as caught:
        run(Running(everything(version)), version, store.directory, store.number, OPTIONS)
    assert caught.value.path == newest.path
    assert sorted(os.listdir(store.directory)) == before


def test_a_damaged_input_ends_the_compaction_and_leaves_no_output(store):
    version = store.levels([[{b"%04d" % i: b"v" * 20 for i in range(200)}]])
    (table,) = version.tables()
    with open(table.path, "r+b") as file:
        file.seek(table.meta.size // 2)
        byte = file.read(1)
        file.seek(table.meta.size // 2)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(CorruptionError) as caught:
        run(Running(Job((table,), 1)), version, store.directory, store.number, OPTIONS)
    assert caught.value.path == table.path
    assert os.listdir(store.directory) == [os.path.basename(table.path)]


def test_a_cancelled_compaction_stops_and_leaves_no_output(store):
    version = store.levels([[{b"%05d" % i: b"v" * 20 for i in range(3000)}]])
    job = Job(tuple(version.tables()), 1)
    before = sorted(os.listdir(store.directory))
    early = Running(job)
    early.cancel()
    with pytest.raises(CancelledError):
        run(early, version, store.directory, store.number, OPTIONS)
    late = Running(job)

    def number_then_cancel() -> int:
        number = store.number()
        if number > 20:
            setter = threading.Thread(target=late.cancel)
            setter.start()
            setter.join()
        return number

    with pytest.raises(CancelledError):
        run(late, version, store.directory, number_then_cancel, OPTIONS)
    assert sorted(os.listdir(store.directory)) == before


def test_tables_keep_the_lsn_range_of_what_went_into_them(store):
    version = store.levels([[{b"a": b"1"}, {b"b": b"2"}, {b"c": b"3"}]])
    lsns = sorted(table.meta.first_lsn for table in version.tables())
    after = compacted(
        store, version, everything(version), CompactionOptions(tables=(TableOptions(),))
    )
    (table,) = after.tables()
    assert (table.meta.first_lsn, table.meta.last_lsn) == (lsns[0], lsns[-1])
