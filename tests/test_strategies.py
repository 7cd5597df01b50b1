"""Strategies: any may follow any other, what they pick is safe to run, and each keeps its word."""

from __future__ import annotations

import itertools
import logging
import random
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.engine import TINY, content, kill
from support.recording import Op, Recording
from support.tables import SMALL, Store, live
from test_compaction import OPTIONS, RUNS, compacted, flushed

import oor
from oor import flush
from oor.compaction import CompactionOptions, Fifo, Job, Leveled, Pace, Running, Tiered
from oor.compaction.fifo import oldest_first
from oor.compaction.leveled import Targets
from oor.compaction.pace import BURST_RATE, WINDOW
from oor.crashlab.explorer import Explorer, Plan
from oor.crashlab.memory import MemoryDisk
from oor.crashlab.scripts import SCRIPTS
from oor.errors import CancelledError, CorruptionError
from oor.iterator import scan
from oor.version import LEVELS, Version

NAMES = ("leveled", "tiered", "fifo")
SMALL_STORE = TINY | {"tiered_runs": 3}


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path))


def written(db, rng, model, count=150):
    for n in range(count):
        key = b"key%03d" % rng.randrange(120)
        if rng.random() < 0.2:
            db.delete(key, durability="os")
            model.pop(key, None)
        else:
            model[key] = b"%d " % n + b"v" * rng.randrange(200)
            db.put(key, model[key], durability="os")
        if n % 20 == 19:
            db.flush()
            while db._background.compactor.once():
                pass


@pytest.mark.parametrize(("first", "second"), list(itertools.product(NAMES, NAMES)))
def test_any_strategy_takes_up_what_any_other_left(first, second, tmp_path):
    rng, model = random.Random(f"{first} {second}"), {}
    for name in (first, second, first):
        with oor.open(tmp_path / "s", compaction=name, **SMALL_STORE) as db:
            assert content(db) == model
            written(db, rng, model)
            assert content(db) == model
            with db.snapshot() as snapshot:
                before = content(snapshot)
                db.compact()
                assert content(db) == content(snapshot) == before == model
            if name != "fifo":
                assert sum(level.tombstones for level in db.stats().levels) == 0
            db._state._check()


@pytest.mark.parametrize("name", NAMES)
def test_a_crash_at_any_moment_of_any_strategy_leaves_a_prefix(name):
    workload, options = SCRIPTS["mixed-buffered"]
    with MemoryDisk() as disk:
        explorer = Explorer(disk, Plan(seed=3, per_workload=150))
        explorer.explore(name, workload, options | {"compaction": name, "tiered_runs": 2})
        tally = explorer.finish()
    assert tally.states > 75
    assert not tally.violations, "\n".join(map(str, tally.violations))


# ---- what is picked ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Leveled, Tiered, Fifo])
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), runs=st.lists(RUNS, min_size=2, max_size=10))
def test_jobs_that_run_at_once_share_nothing_and_end_in_any_order(kind, store, data, runs):
    """E5: whatever the strategy picks beside running jobs, and in whichever order they end."""
    strategy, version, newest_first = kind(OPTIONS), Version(), []
    running: list[Job] = []

    def end_one():
        nonlocal version
        job = running.pop(data.draw(st.integers(0, len(running) - 1)))
        version = compacted(store, version, job)
        assert list(scan(version)) == list(live(*newest_first).items())

    for pairs in runs:
        newest_first.insert(0, pairs)
        version = flushed(store, version, pairs)
        while (job := strategy.pick(version, running)) is not None and len(running) < 4:
            assert not any(job.numbers() & other.numbers() for other in running)
            assert job.numbers() <= version.table_numbers()
            running.append(job)
        if running and data.draw(st.booleans()):
            end_one()
    while running:
        end_one()


def test_two_jobs_conflict_where_tables_or_places_meet(store):
    version = store.levels([[], [{b"a": b"1"}, {b"m": b"1"}], [{b"b": b"2"}, {b"n": b"2"}]])
    (a, m), (b, n) = version.levels[1], version.levels[2]
    left, right = Job((a, b), 2, source=1), Job((m, n), 2, source=1)
    assert not left.conflicts(right) and not right.conflicts(left)
    assert left.conflicts(Job((b,), 3, source=2)), "a shared input"
    assert Job((a, m), 2, source=1).conflicts(Job((b,), 3, source=2)), "levels and ranges meet"
    assert not Job((a, m), 1, source=1).conflicts(Job((b,), 3, source=2)), "levels are apart"


def test_an_edit_that_would_make_tables_overlap_never_becomes_durable(tmp_path):
    """E5: the check is before the manifest, so the store is as it was, on disk too."""
    with oor.open(tmp_path / "s", **TINY) as db:
        db.put(b"a", b"1")
        db.put(b"z", b"1")
        db.flush()
        db.put(b"m", b"2")
        db.flush()
        lines = db._state.manifest.lines
        tables = db._state.view.version.levels[0]
        both = oor.version.VersionEdit(
            remove=tuple(t.meta.number for t in tables), add=tuple((3, t.meta) for t in tables)
        )
        with pytest.raises(CorruptionError, match="overlap"):
            db._state.install(both, {})
        assert db._state.manifest.lines == lines
    with oor.open(tmp_path / "s", **TINY) as db:
        assert content(db) == {b"a": b"1", b"z": b"1", b"m": b"2"}


@pytest.mark.parametrize("count", range(1, 4))
def test_a_newer_version_of_a_key_never_sinks_below_an_older_one(count, store):
    """E2: of level 0 the oldest go down, with all that is older than them."""
    runs = [{b"k": b"%d" % n, b"only%d" % n: b"1"} for n in range(4)]
    version = store.levels([runs])
    oldest = version.levels[0][-count:]
    after = compacted(store, version, Job(oldest, LEVELS - 1))
    assert after.get(b"k") == b"3"
    for kind in (Leveled, Tiered):
        job = kind(OPTIONS).pick(version)
        places = [version.levels[0].index(table) for table in job.inputs]
        assert places == list(range(places[0], places[0] + len(places))), "neighbours in age"
        assert job.target == 0 or places[-1] == 3


def test_the_last_level_sets_the_targets_of_those_above(store):
    table = {b"%04d" % i: b"v" * 50 for i in range(200)}
    version = store.levels([[]] + [[]] * (LEVELS - 2) + [[table]])
    size = version.level_bytes(LEVELS - 1)
    few = Targets(version, CompactionOptions(level_base_bytes=size))
    assert few.base == LEVELS - 1
    more = Targets(version, CompactionOptions(level_base_bytes=size // 20, level_ratio=4))
    assert more.base == LEVELS - 3
    assert [more.bytes[level] for level in sorted(more.bytes)] == [size / 16, size / 4, size]


def test_picks_go_round_the_key_range(store):
    bottom = {b"%04d" % i: b"v" * 50 for i in range(300)}
    parts = [{b"%d" % i: b"v"} for i in range(4)]
    version = store.levels([[], *([[]] * (LEVELS - 3)), parts, [bottom]])
    options = CompactionOptions(level_base_bytes=1, level_ratio=100, tables=(SMALL,))
    strategy = Leveled(options)
    picked = [strategy.pick(version).inputs[0].meta.smallest for _ in range(6)]
    assert picked == [b"0", b"1", b"2", b"3", b"0", b"1"]


@pytest.mark.parametrize("kind", [Leveled, Tiered])
def test_a_table_of_tombstones_is_compacted_though_no_level_is_too_large(kind, store):
    values = {b"%03d" % i: b"v" * 30 for i in range(100)}
    marks = {b"%03d" % i: None for i in range(30)} | {b"050": b"new"}
    version = store.levels([[], [marks], [values]])
    lazy = CompactionOptions(level_base_bytes=1 << 40, tombstone_share=1.0, tables=(SMALL,))
    if kind is Tiered:
        assert kind(lazy).pick(version) is None
    strategy = kind(OPTIONS)
    while (job := strategy.pick(version)) is not None:
        version = compacted(store, version, job)
    assert sum(table.meta.tombstones for table in version.tables()) == 0
    assert list(scan(version)) == list(live(marks, values).items())


# ---- FIFO ----------------------------------------------------------------------------------------


def test_fifo_answers_what_the_tables_that_are_left_add_up_to(tmp_path):
    """A key whose newest mutation went is absent; nothing older comes back in its place."""
    rounds = [{b"once": b"0"}, {b"k": b"1"}, {b"k": None, b"n": b"2"}, {b"n": b"3"}, {b"m": b"4"}]
    with oor.open(tmp_path / "s", compaction="fifo", fifo_max_bytes=700, **TINY) as db:
        for pairs in rounds:
            db.write(pairs)
            db.flush()
            while db._background.compactor.once():
                pass
            left = db.stats().levels[0].tables
            done = rounds[: rounds.index(pairs) + 1]
            assert content(db) == live(*reversed(done[-left:]))
        assert db.stats().tables_dropped == 5 - left > 0
        kill(db)
    with oor.open(tmp_path / "s", compaction="fifo", fifo_max_bytes=700, **TINY) as db:
        assert content(db) == live(*reversed(rounds[-left:]))


@pytest.mark.parametrize("name", NAMES)
def test_clock_jumps_change_no_decision_but_of_fifo_by_age(name, tmp_path, monkeypatch):
    """G11: ten years back or forth between any two flushes."""
    clock = [2_000_000_000]
    monkeypatch.setattr(flush.time, "time", lambda: clock[0])

    def life(path, jumps, age):
        clock[0] = 2_000_000_000
        with oor.open(path, compaction=name, fifo_max_age=age, **SMALL_STORE) as db:
            for n, jump in enumerate(jumps):
                clock[0] += jump
                db.put(b"%d" % (n % 3), b"%d" % n)
                db.flush()
                while db._background.compactor.once():
                    pass
            return content(db), [level.entries for level in db.stats().levels]

    years = 10 * 365 * 86400
    even = life(tmp_path / "even", [1] * 8, 3600.0)
    assert life(tmp_path / "back", [1, 1, 1, -years, 1, 1, 1, 1], 3600.0) == even
    forth = life(tmp_path / "forth", [1, 1, 1, 1, 1, 1, 1, years], 3600.0)
    assert (forth == even) == (name != "fifo")
    if name == "fifo":
        assert forth == ({b"1": b"7"}, [1]), "what was written before the jump is ten years old"


def test_tables_without_a_time_are_as_old_as_the_next_newer_one(store):
    version = store.levels([[{b"%d" % n: b"v"} for n in range(4)]])
    assert [t.meta.smallest for t in oldest_first(version)] == [b"0", b"1", b"2", b"3"]
    assert oor.compaction.fifo.times_written(oldest_first(version)) == [0, 0, 0, 0]
    assert Fifo(CompactionOptions(fifo_max_age=1.0)).pick(version) is None


# ---- pace, pause, cancel, ranges -----------------------------------------------------------------


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_the_pace_is_full_when_writers_rest_or_are_about_to_wait(store):
    clock, pressure, logged = Clock(), [0.0], [0]
    pace = Pace(0, lambda: pressure[0], lambda: logged[0], clock)
    assert pace.rate() == float("inf")
    clock.now, logged[0] = WINDOW, 100 << 20
    assert pace.rate() == BURST_RATE, "a burst of writes"
    assert pace.rate(4.0) == BURST_RATE / 4, "counted in bytes unpacked"
    pressure[0] = 0.25
    assert BURST_RATE < pace.rate() < 1.5 * BURST_RATE, "little more at first"
    pressure[0] = 0.5
    assert 2 * BURST_RATE < pace.rate() < float("inf")
    pressure[0] = 1.0
    assert pace.rate() == float("inf"), "writers are about to wait"
    pressure[0], clock.now = 0.0, 2 * WINDOW
    assert pace.rate() == float("inf"), "quiet again"
    limited = Pace(5 << 20, lambda: pressure[0], lambda: logged[0], clock)
    assert limited.rate() == 5 << 20
    pressure[0] = 1.0
    assert limited.rate() == float("inf"), "no limit holds when writers are about to wait"


def test_what_was_read_is_owed_at_the_rate_in_force(store):
    running = Running(Job((store.table({b"a": b"1"}),), 1))
    assert running.owed(0.0, 100.0) == 0.0
    running.bytes_read = 50
    assert running.owed(0.1, 100.0) == pytest.approx(0.4)
    assert running.owed(0.1, float("inf")) == 0.0
    running.bytes_read = 150
    assert running.owed(0.6, 100.0) == pytest.approx(0.5)
    assert running.owed(1.2, 100.0) <= 0.0


def filled(path, **options):
    db = oor.open(path, durability="os", memtable_bytes=1 << 30, l0_trigger=2, **options)
    for n in range(2):
        db.write([(b"%06d" % i, b"%d" % n + b"v" * 100) for i in range(60_000)])
        if n == 0:
            db.flush()
    return db


def until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.002)


def test_a_pause_holds_what_runs_and_lets_writers_pass_and_a_resume_lets_it_end(tmp_path):
    with filled(tmp_path / "s", compaction_rate=1 << 20, l0_slowdown=3, l0_stop=3) as db:
        db.pause_compaction()
        db.flush()
        db.put(b"more", b"1")
        db.flush()
        db.put(b"writers", b"do not wait")
        stats = db.stats()
        assert stats.compaction_paused and stats.levels[0].tables == 3
        assert stats.compactions == 0 and stats.compactions_running == ()
        assert not db._background.compactor.once()
        db.resume_compaction()
        until(lambda: db.stats().compactions >= 1)
        assert content(db)[b"000000"] == b"1" + b"v" * 100


def test_a_running_compaction_shows_its_progress_and_can_be_cancelled(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="oor.compaction")
    with filled(tmp_path / "s", compaction_rate=1 << 20) as db:
        db.flush()
        until(lambda: any(each.bytes_read for each in db.stats().compactions_running))
        (running,) = db.stats().compactions_running
        assert 0 < running.bytes_read < running.bytes_total
        assert (running.source, running.tables, running.by_hand) == (0, 2, False)
        before = content(db)
        assert db.cancel_compaction() == 1
        until(lambda: not db.stats().compactions_running)
        assert db.stats().levels[0].tables == 2 and content(db) == before
        assert "given up" in caplog.text
        db.put(b"more", b"1")
    names = {path.name for path in (tmp_path / "s").glob("*.sst")}
    with oor.open(tmp_path / "s", background=False) as db:
        assert {f"{t.meta.number:012d}.sst" for t in db._state.view.version.tables()} == names


def test_cancelling_a_callers_compaction_raises_in_the_caller(tmp_path):
    with filled(tmp_path / "s", compaction_rate=1 << 20, background=False) as db:
        raised = []

        def compact():
            try:
                db.compact()
            except CancelledError as error:
                raised.append(error)

        thread = threading.Thread(target=compact)
        thread.start()
        until(lambda: db.stats().compactions_running)
        db.cancel_compaction()
        thread.join(30)
        assert len(raised) == 1


@pytest.mark.parametrize("name", ["leveled", "tiered"])
def test_a_range_is_settled_and_what_lies_outside_is_left_where_it_was(name, tmp_path):
    with oor.open(tmp_path / "s", compaction=name, **SMALL_STORE | {"l0_trigger": 100}) as db:
        for letter in b"acegi":
            db.write({b"%c%03d" % (letter, i): b"v" * 50 for i in range(40)})
            db.flush()
        db.compact()
        for letter in b"ai":
            db.write({b"%c%03d" % (letter, i): None for i in range(0, 40, 2)})
            db.flush()
        before = content(db)
        db.compact(b"i", b"j")
        assert content(db) == before
        tables = list(db._state.view.version.tables())
        assert not any(t.meta.tombstones for t in tables if t.meta.largest >= b"i")
        db.compact()
        assert content(db) == before
        assert sum(level.tombstones for level in db.stats().levels) == 0


def test_amplification_is_measured_live(tmp_path):
    with oor.open(tmp_path / "s", **TINY) as db:
        for _ in range(4):
            db.write({b"%03d" % i: b"v" * 50 for i in range(100)}, durability="os")
            db.flush()
        seen = db.stats().amplification
        assert seen.user_bytes == 4 * 100 * 53
        assert seen.flush_bytes == sum(level.bytes for level in db.stats().levels)
        assert seen.write == seen.flush_bytes / seen.user_bytes
        assert seen.space == pytest.approx(4.0, rel=0.05) and seen.read_max == 4
        for i in range(100):
            assert db[b"%03d" % i]
        assert db.stats().amplification.read == 1.0
        db.compact()
        after = db.stats().amplification
        assert after.space == 1.0 and after.read_max == 1
        assert after.compaction_bytes_read == seen.table_bytes
        assert after.write > seen.write


# ---- snapshots and flushes beside compaction -----------------------------------------------------


def test_every_snapshot_keeps_its_view_through_flush_and_compaction(tmp_path):
    """E3: all histories of up to 4 versions of a key, with a snapshot before, between and after."""
    states = (b"old", None)
    for number, versions in enumerate(itertools.product(states, repeat=4)):
        with oor.open(tmp_path / str(number), **TINY) as db:
            snapshots = [(db.snapshot(), None)]
            for n, value in enumerate(versions):
                expected = None if value is None else value + b"%d" % n
                db.write({b"k": expected, b"other": b"%d" % n}, durability="os")
                snapshots.append((db.snapshot(), expected))
                if n % 2:
                    db.flush()
            db.compact()
            assert [s.get(b"k") for s, _ in snapshots] == [value for _, value in snapshots]


def test_a_snapshot_taken_or_dropped_while_a_compaction_runs_sees_its_moment(tmp_path):
    """E4: between any two slices of the merge."""
    with filled(tmp_path / "s", background=False) as db:
        db.flush()
        compactor = db._background.compactor
        taken = []
        turn = compactor.pace.turn

        def take_and_drop(running):
            db.put(b"000000", b"%d" % len(taken))
            taken.append((db.snapshot(), b"%d" % len(taken)))
            if len(taken) % 3 == 0:
                taken[-2][0].close()
            return min(turn(running), 1 << 18)

        compactor.pace.turn = take_and_drop
        db.compact()
        assert len(taken) > 5
        for snapshot, value in taken:
            if snapshot.pinned is not None:
                assert snapshot[b"000000"] == value and snapshot[b"000001"] == b"1" + b"v" * 100


@pytest.mark.parametrize("kth", [1, 2, 3])
def test_a_flush_that_found_no_room_is_retried_before_any_later_one(kth, tmp_path):
    """E7: memtables become tables oldest first, whichever flush failed."""
    path = tmp_path / "root" / "s"
    path.parent.mkdir()
    with Recording(str(path.parent)) as recording:
        db = oor.open(path, **TINY)
        for n in range(3):
            db.write({b"k": b"%d" % n, b"only%d" % n: b"1"}, durability="os")
            with db._state.lock:
                db._state.rotate_memtable()
        for n in range(1, 4):
            if n == kth:
                recording.fail(Op.WRITE, path_part=".sst", errno=28)
                with pytest.raises(oor.DiskFullError):
                    flush.flush_oldest(db._state)
                recording.heal()
            flush.flush_oldest(db._state)
            assert db[b"k"] == b"2"
        first_lsns = [table.meta.first_lsn for table in db._state.view.version.levels[0]]
        assert first_lsns == sorted(first_lsns, reverse=True) and len(first_lsns) == 3
        db.compact()
        assert db[b"k"] == b"2"
        db.close()
