"""Level 0 under "leveled": when its tables are merged with each other, and when they go down."""

from __future__ import annotations

import pytest
from support.tables import SMALL, Store
from test_compaction import compacted, flushed

from oor.compaction import CompactionOptions, Leveled
from oor.iterator import scan
from oor.version import LEVELS


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path))


def test_small_flushes_are_merged_with_each_other_many_at_once_and_not_into_a_large_level(store):
    bottom = {b"%04d" % i: b"v" * 50 for i in range(2000)}
    strategy = Leveled(CompactionOptions(l0_trigger=2, tables=(SMALL,)))
    level0 = [{b"%04d" % n: b"x"} for n in range(3)]
    version = store.levels([level0, *([[]] * (LEVELS - 2)), [bottom]])
    assert strategy.pick(version) is None
    version = flushed(store, version, {b"0009": b"x"})
    job = strategy.pick(version)
    assert (job.source, job.target, len(job.inputs)) == (0, 0, 4)
    after = compacted(store, version, job)
    assert len(after.levels[0]) == 1 and list(scan(after)) == list(scan(version))


def test_writers_never_wait_for_a_level_0_that_nothing_is_picked_from(store):
    """None of these is of the size of those newer than it, so they are not merged for themselves."""
    bottom = {b"%05d" % i: b"v" * 50 for i in range(20_000)}
    sizes = [{b"%05d" % i: b"x" * 50 for i in range(10 * 4**n)} for n in (4, 3, 2, 1, 0)]
    options = CompactionOptions(l0_trigger=2, l0_slowdown=5, tables=(SMALL,))
    strategy = Leveled(options)
    version = store.levels([sizes[1:], *([[]] * (LEVELS - 2)), [bottom]])
    assert strategy.pick(version) is None and strategy.pressure(version) < 1.0
    version = store.levels([sizes, *([[]] * (LEVELS - 2)), [bottom]])
    assert strategy.pick(version) is not None


@pytest.mark.parametrize(("share", "target"), [(0.5, 0), (0.2, LEVELS - 1)])
def test_level_0_goes_down_once_it_holds_its_share_of_the_level_under_it(store, share, target):
    bottom = {b"%04d" % i: b"v" * 50 for i in range(2000)}
    level0 = [{b"%04d" % i: b"x" * 50 for i in range(n, n + 150)} for n in (0, 500, 1000, 1500)]
    version = store.levels([level0, *([[]] * (LEVELS - 2)), [bottom]])
    assert 0.2 < version.level_bytes(0) / version.level_bytes(LEVELS - 1) < 0.5
    options = CompactionOptions(l0_trigger=2, l0_share=share, tables=(SMALL,))
    job = Leveled(options).pick(version)
    assert (job.source, job.target) == (0, target)
