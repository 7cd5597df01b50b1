"""Compaction changes files, never answers; it drops what nobody can see, and accounts for it."""

from __future__ import annotations

import itertools
import os
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.tables import SMALL, Model, Store, live

from oor.compaction import Cancel, CompactionOptions, Job, Leveled, everything, run
from oor.errors import CancelledError, CorruptionError, StorageError
from oor.iterator import scan
from oor.native import lib
from oor.table import TableOptions
from oor.version import Version

KEYS = st.sampled_from([b"k%03d" % i for i in range(60)])
RUNS = st.dictionaries(KEYS, st.one_of(st.none(), st.binary(max_size=20)), min_size=1, max_size=30)
OPTIONS = CompactionOptions(
    l0_trigger=2, level_base_bytes=1500, level_ratio=2, table_bytes=400, tables=(SMALL,)
)


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path))


def compacted(
    store: Store, version: Version, job: Job, options: CompactionOptions = OPTIONS
) -> Version:
    """The version after a job, its new tables opened and verified."""
    edit = run(job, version, store.directory, store.number, options, Cancel())
    kept = version.table_numbers() - set(edit.dropped())
    opened = {meta.number: store.open(meta) for _, meta in edit.add if meta.number not in kept}
    for table in opened.values():
        table.verify()
    return version.with_edit(edit, opened)


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(runs=st.lists(RUNS, min_size=1, max_size=12), probe=KEYS)
def test_a_life_of_flushes_and_compactions_changes_no_read(store, runs, probe):
    strategy, version, newest_first = Leveled(), Version(), []
    for pairs in runs:
        newest_first.insert(0, pairs)
        table = store.table(pairs)
        version = Version(
            [[table, *version.levels[0]] if version.levels else [table], *version.levels[1:]]
        )
        for _ in range(50):
            job = strategy.pick(version, OPTIONS)
            if job is None:
                break
            version = compacted(store, version, job)
        expected = live(*newest_first)
        assert list(scan(version)) == list(expected.items())
        assert version.get(probe) == expected.get(probe)
    assert strategy.pick(version, OPTIONS) is None
    job = everything(version)
    if job is not None:
        version = compacted(store, version, job)
    expected = live(*newest_first)
    assert list(scan(version)) == list(expected.items())
    assert sum(table.meta.tombstones for table in version.tables()) == 0
    assert sum(table.meta.entries for table in version.tables()) == len(expected)
    assert everything(version) is None


def test_tombstones_go_only_when_nothing_below_can_hold_their_key(store):
    version = store.levels([
        [{b"b": None, b"d": None, b"m": None, b"z": None}],
        [{b"b": b"level 1", b"m": b"level 1"}],
        [{b"c": b"level 2", b"e": b"level 2"}, {b"x": b"level 2", b"z": b"level 2"}],
        [{b"m": b"level 3"}],
    ])  # fmt: skip
    expected = list(scan(version))
    job = Leveled().pick(
        version, CompactionOptions(l0_trigger=1, level_base_bytes=1 << 30, tables=(SMALL,))
    )
    assert job is not None and job.target == 1 and len(job.inputs) == 2
    after = compacted(store, version, job)
    assert list(scan(after)) == expected
    (level1,) = after.levels[1]
    # b has nothing below; d lies inside a table of level 2; m inside level 3; z inside level 2.
    assert (level1.meta.entries, level1.meta.tombstones) == (3, 3)
    assert [after.get(key) for key in (b"b", b"d", b"m", b"z")] == [None] * 4
    bottom = compacted(store, after, everything(after))
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
    job = Leveled().pick(version, CompactionOptions(l0_trigger=1, tables=(SMALL,)))
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
    return Job(
        inputs=(*version.levels[0], *version.levels[1]), target=1,
        below=version.overlapping(2, b"", b"\xff"),
    )  # fmt: skip


def test_outputs_are_cut_at_their_size_and_disjoint(store):
    version = store.levels([[{b"%04d" % i: b"v" * 20 for i in range(500)}]])
    after = compacted(store, version, Job(tuple(version.tables()), 1, ()))
    sizes = [table.meta.size for table in after.levels[1]]
    assert len(sizes) > 10
    assert all(size < 400 + 1200 for size in sizes)
    assert sum(table.meta.entries for table in after.tables()) == 500


def test_a_compaction_that_leaves_nothing_writes_no_table(store):
    version = store.levels([[{b"a": b"1"}, {b"a": None}]])
    after = compacted(store, version, everything(version))
    assert after.levels == ()
    assert sorted(os.listdir(store.directory)) == ["000000000001.sst", "000000000002.sst"]


def test_a_table_without_neighbours_below_only_moves(store):
    version = store.levels([[], [{b"a": b"1"}, {b"m": b"1"}], [{b"x": b"1"}]])
    strategy, small = (
        Leveled(),
        CompactionOptions(level_base_bytes=1, level_ratio=2, tables=(SMALL,)),
    )
    job = strategy.pick(version, small)
    assert job is not None and job.moves
    before = sorted(os.listdir(store.directory))
    after = compacted(store, version, job)
    assert sorted(os.listdir(store.directory)) == before
    assert after.table_numbers() == version.table_numbers()
    assert list(scan(after)) == list(scan(version))


def test_picks_go_round_the_key_range(store):
    version = store.levels([[], [{b"%d" % i: b"v"} for i in range(4)]])
    strategy, small = Leveled(), CompactionOptions(level_base_bytes=1, tables=(SMALL,))
    picked = [strategy.pick(version, small).inputs[0].meta.smallest for _ in range(6)]
    assert picked == [b"0", b"1", b"2", b"3", b"0", b"1"]


def test_a_failing_write_leaves_no_output_and_the_next_try_succeeds(store):
    version = store.levels([[{b"%04d" % i: b"v" * 20 for i in range(200)}]])
    job = Job(tuple(version.tables()), 1, ())
    before = sorted(os.listdir(store.directory))
    for operation in (
        lib.OOR_OP_OPEN,
        lib.OOR_OP_WRITE,
        lib.OOR_OP_SYNC,
        lib.OOR_OP_CLOSE,
        lib.OOR_OP_SYNC_DIR,
    ):
        for nth in (1, 3):
            if operation == lib.OOR_OP_SYNC_DIR and nth > 1:
                continue
            lib.oor_trace_install(0)
            try:
                lib.oor_trace_fault(nth, 1 << operation, b"", 5, lib.OOR_FAULT_BEFORE, 0, 0)
                with pytest.raises(StorageError):
                    run(job, version, store.directory, store.number, OPTIONS, Cancel())
                assert lib.oor_trace_faults_met() == 1
            finally:
                lib.oor_trace_remove()
            assert sorted(os.listdir(store.directory)) == before
    assert list(scan(compacted(store, version, job))) == list(scan(version))


def test_a_read_error_in_an_input_ends_the_compaction(store):
    version = store.levels([[{b"%04d" % i: b"v" * 20 for i in range(200)}]])
    job = Job(tuple(version.tables()), 1, ())
    before = sorted(os.listdir(store.directory))
    lib.oor_trace_install(0)
    try:
        lib.oor_trace_fault(1, 1 << lib.OOR_OP_READ, b"", 5, lib.OOR_FAULT_BEFORE, 0, 0)
        with pytest.raises(StorageError):
            run(job, version, store.directory, store.number, OPTIONS, Cancel())
    finally:
        lib.oor_trace_remove()
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
        run(Job((table,), 1, ()), version, store.directory, store.number, OPTIONS, Cancel())
    assert caught.value.path == table.path
    assert os.listdir(store.directory) == [os.path.basename(table.path)]


def test_a_cancelled_compaction_stops_and_leaves_no_output(store):
    version = store.levels([[{b"%05d" % i: b"v" * 20 for i in range(3000)}]])
    job = Job(tuple(version.tables()), 1, ())
    before = sorted(os.listdir(store.directory))
    early = Cancel()
    early.set()
    with pytest.raises(CancelledError):
        run(job, version, store.directory, store.number, OPTIONS, early)
    late = Cancel()

    def number_then_cancel() -> int:
        number = store.number()
        if number > 20:
            setter = threading.Thread(target=late.set)
            setter.start()
            setter.join()
        return number

    with pytest.raises(CancelledError):
        run(job, version, store.directory, number_then_cancel, OPTIONS, late)
    assert sorted(os.listdir(store.directory)) == before


def test_tables_keep_the_lsn_range_of_what_went_into_them(store):
    version = store.levels([[{b"a": b"1"}, {b"b": b"2"}, {b"c": b"3"}]])
    lsns = sorted(table.meta.first_lsn for table in version.tables())
    after = compacted(
        store, version, everything(version), CompactionOptions(tables=(TableOptions(),))
    )
    (table,) = after.tables()
    assert (table.meta.first_lsn, table.meta.last_lsn) == (lsns[0], lsns[-1])
