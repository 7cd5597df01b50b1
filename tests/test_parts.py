"""Level 0 goes down a stretch of keys at a time: every read the same after each, whatever comes between."""

from __future__ import annotations

import os
import random
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from support.tables import SMALL, Store, live
from test_compaction import OPTIONS, RUNS, compacted, flushed, settled

from oor.compaction import CompactionOptions, Leveled, Running, Tiered, parts, run
from oor.compaction.job import merge
from oor.crashlab.explorer import Explorer, Plan
from oor.crashlab.memory import MemoryDisk
from oor.errors import CorruptionError
from oor.iterator import scan
from oor.version import LEVELS


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path))


@pytest.fixture
def small_parts():
    usual, parts.PART_TABLES = parts.PART_TABLES, 1
    yield
    parts.PART_TABLES = usual


OPTIONS_OF_PARTS = CompactionOptions(l0_trigger=2, l0_share=0.1, table_bytes=6000, tables=(SMALL,))


def level_over_a_level(store):
    """Twelve tables, under four that overwrite, delete and add."""
    rng, bottom, level0 = random.Random(7), {}, []
    for number in range(4000):
        bottom[b"%05d" % (number * 3)] = b"old" * 8
    names = sorted(bottom)
    pieces = [dict.fromkeys(names[at : at + 334], b"old" * 8) for at in range(0, 4000, 334)]
    for run_ in range(4):
        keys = rng.sample(range(12_300), 400)
        level0.append(
            {b"%05d" % key: None if key % 5 == 0 else b"new %d" % run_ for key in sorted(keys)}
        )
    version = store.levels([level0, *([[]] * (LEVELS - 2)), pieces])
    return version, live(*reversed(level0), bottom)


def done(store, version, strategy, job):
    """The version after a job that the strategy is told of."""
    running = Running(job)
    edit = run(running, version, store.directory, store.number, strategy.options)
    after = version.with_edit(edit, {meta.number: store.open(meta) for _, meta in edit.add})
    strategy.installed(job, running.partial_entries)
    return after


def sizes(version):
    return sum(table.meta.size for table in version.tables())


def test_level_0_goes_down_a_stretch_at_a_time_and_takes_little_more_room_meanwhile(store):
    version, expected = level_over_a_level(store)
    strategy, before, jobs, most = Leveled(OPTIONS_OF_PARTS), sizes(version), [], 0
    entries = sum(table.meta.entries for table in version.tables())
    while (job := strategy.pick(version)) is not None:
        after = done(store, version, strategy, job)
        both = {table.meta.number: table for table in (*version.tables(), *after.tables())}
        most = max(most, sum(table.meta.size for table in both.values()))
        jobs.append(job)
        version = after
        assert dict(scan(version)) == expected
        assert all(version.get(key) == expected.get(key) for key in (b"00000", b"00003", b"12299"))
    assert [len(job.partial) for job in jobs] == [4, 4, 4] and jobs[-1].part.is_last
    assert not version.levels[0]
    assert sum(job.size for job in jobs) == pytest.approx(before, rel=0.01)
    assert most < before * 1.5, "inputs and outputs of a part, and not of all"
    assert sum(table.meta.entries for table in version.tables()) == len(expected) < entries


@settings(
    max_examples=80, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(data=st.data(), runs=st.lists(RUNS, min_size=3, max_size=8))
def test_whatever_comes_between_two_parts_changes_no_read(data, runs, store, small_parts):
    """A flush, a strategy that forgets, one of another kind, merges within level 0, one by hand."""
    options = replace(OPTIONS, l0_share=0.0, level_base_bytes=4000)
    strategy, seen = Leveled(options), 0
    names = [b"k%03d" % n for n in range(60)]
    pieces = [dict.fromkeys(names[at : at + 6], b"first") for at in range(0, 60, 6)]
    version = store.levels([[], *([[]] * (LEVELS - 2)), pieces])
    newest_first = [dict.fromkeys(names, b"first")]
    for pairs in runs:
        newest_first.insert(0, pairs)
        version = flushed(store, version, pairs)
        for _ in range(data.draw(st.integers(0, 6))):
            step = data.draw(st.sampled_from(["pick"] * 5 + ["forget", "hand", "tiered", "within"]))
            job = None
            if step == "forget":
                strategy = Leveled(options)
            elif step == "hand":
                job = strategy.by_hand(b"k020", b"k040", 1 << 60).next(version)
            elif step == "within":
                newest = version.levels[0][:2]
                job = merge(version, newest, 0, 0, "within") if len(newest) == 2 else None
            elif step == "tiered":
                job = Tiered(OPTIONS).pick(version)
            else:
                job = strategy.pick(version)
            if job is not None:
                seen += job.part is not None
                version = done(store, version, strategy, job) if job.rewrites else compacted(
                    store, version, job)  # fmt: skip
                assert list(scan(version)) == list(live(*newest_first).items())
    if seen:
        event("parts")
    version = settled(store, version, strategy)
    assert list(scan(version)) == list(live(*newest_first).items())
    assert sum(table.meta.entries for table in version.tables()) == len(live(*newest_first))


def test_parts_that_did_not_take_every_entry_are_reported_before_level_0_goes(store):
    version, _ = level_over_a_level(store)
    strategy = Leveled(OPTIONS_OF_PARTS)
    while not (job := strategy.pick(version)).part.is_last:
        version = done(store, version, strategy, job)
    before = sorted(os.listdir(store.directory))
    wrong = replace(job, part=replace(job.part, taken=job.part.taken - 1))
    with pytest.raises(CorruptionError, match="the parts of it took 1599 of 1600 entries"):
        run(Running(wrong), version, store.directory, store.number, OPTIONS_OF_PARTS)
    assert sorted(os.listdir(store.directory)) == before
    version = done(store, version, strategy, job)
    assert not version.levels[0]


def test_a_part_that_was_cancelled_is_picked_again(store):
    version, expected = level_over_a_level(store)
    strategy = Leveled(OPTIONS_OF_PARTS)
    first = strategy.pick(version)
    again = strategy.pick(version)
    assert first.part == again.part and first.numbers() == again.numbers()
    version = done(store, version, strategy, again)
    assert strategy.pick(version).part.start == first.part.stop
    assert dict(scan(version)) == expected


def test_parts_end_where_level_0_was_merged_by_hand_meanwhile(store):
    version, expected = level_over_a_level(store)
    strategy = Leveled(OPTIONS_OF_PARTS)
    version = done(store, version, strategy, strategy.pick(version))
    hand = strategy.by_hand(None, None, 1 << 60)
    while (job := hand.next(version)) is not None:
        version = compacted(store, version, job)
    assert not version.levels[0] and dict(scan(version)) == expected
    assert strategy.pick(version) is None
    for number in range(4):
        pairs = {b"%05d" % (key * 40): b"newest" * 9 for key in range(number, 300)}
        version = flushed(store, version, pairs)
        expected |= pairs
    assert strategy.pick(version).part.start is None
    while (job := strategy.pick(version)) is not None:
        version = done(store, version, strategy, job)
        assert dict(scan(version)) == expected
    assert not version.levels[0]


def test_parts_begin_anew_where_a_table_lies_over_the_place_to_go_on_at(store):
    version, expected = level_over_a_level(store)
    strategy = Leveled(OPTIONS_OF_PARTS)
    first = strategy.pick(version)
    version = done(store, version, strategy, first)
    bottom = version.levels[LEVELS - 1]
    at = next(n for n, table in enumerate(bottom) if table.meta.smallest >= first.part.stop)
    over = merge(version, bottom[at - 1 : at + 1], LEVELS - 1, LEVELS - 1, "over the place")
    version = compacted(store, version, over, replace(OPTIONS_OF_PARTS, table_bytes=1 << 20))
    assert strategy.pick(version).part.start is None
    while (job := strategy.pick(version)) is not None:
        version = done(store, version, strategy, job)
        assert dict(scan(version)) == expected
    assert not version.levels[0]


def test_parts_begin_anew_where_tables_of_theirs_were_merged_with_each_other(store):
    version, expected = level_over_a_level(store)
    strategy = Leveled(OPTIONS_OF_PARTS)
    version = done(store, version, strategy, strategy.pick(version))
    within = merge(version, version.levels[0][:2], 0, 0, "within level 0")
    version = compacted(store, version, within)
    assert strategy.pick(version).part.start is None
    while (job := strategy.pick(version)) is not None:
        version = done(store, version, strategy, job)
        assert dict(scan(version)) == expected
    assert not version.levels[0]


def overwritten(run):
    """Flushes that go down by themselves, part by part."""
    rng = random.Random(11)
    db = run.open(table_bytes=1 << 10, l0_share=0.0)
    for step in range(30):
        batch = {b"%03d" % rng.randrange(80): b"%d " % step + b"v" * 60 for _ in range(12)}
        batch[b"%03d" % rng.randrange(80)] = None
        db.write(batch, durability=rng.choice(("os", "sync")))
        if step % 5 == 4:
            db.flush()
            while db.db._background.compactor.once():
                pass


def test_a_crash_at_any_moment_of_parts_leaves_a_prefix(small_parts, monkeypatch):
    seen = []
    usual = Leveled.installed

    def installed(self, job, entries):
        seen.append(job.part)
        usual(self, job, entries)

    monkeypatch.setattr(Leveled, "installed", installed)
    with MemoryDisk() as disk:
        explorer = Explorer(disk, Plan(seed=5, per_workload=400))
        explorer.explore("parts", overwritten, {"direct_io": False})
        tally = explorer.finish()
    assert sum(part is not None for part in seen) > 10, "most of it happens in parts"
    assert tally.states > 200
    assert not tally.violations, "\n".join(map(str, tally.violations))
