"""Element sets: scan, scan into columns, parse into objects, make a synthetic catalogue.

    python -m pytest bench/bench_tle.py

Each round handles the same text of about 120,000 sets; `extra_info` has sets and bytes a second.
"""

from __future__ import annotations

import pytest

from oor.native import check, ffi, lib
from oor.registry import Scanner, parse
from oor.registry.synthetic import SyntheticCatalogue


@pytest.fixture(scope="module")
def text():
    return b"".join(SyntheticCatalogue(objects=30_000, issues=4).chunks())


def rate(benchmark, sets, size):
    if benchmark.stats is None:  # --benchmark-disable
        return
    seconds = benchmark.stats.stats.min
    benchmark.extra_info["sets_per_second"] = round(sets / seconds)
    benchmark.extra_info["megabytes_per_second"] = round(size / seconds / 1e6)


def test_elset_scan(benchmark, text):
    """The scanner alone, one call over the whole text."""
    capacity = 130_000
    state = ffi.new("oor_tle_state *")
    sets = ffi.new("oor_tle_set[]", capacity)
    rejects = ffi.new("oor_tle_reject[]", 2)
    batch = ffi.new("oor_tle_batch *")
    batch.sets, batch.set_capacity = sets, capacity
    batch.rejects, batch.reject_capacity = rejects, 2
    zeros = bytes(ffi.sizeof("oor_tle_state"))

    def scan():
        ffi.memmove(state, zeros, len(zeros))
        done = check(lib.oor_tle_scan(state, text, len(text), 1, batch))
        assert done == len(text) and batch.reject_count == 0

    benchmark(scan)
    rate(benchmark, batch.set_count, len(text))


def test_elset_scan_columns(benchmark, text):
    """Batches of 4,096 sets as keys and values for the store."""

    def columns():
        scanner = Scanner()
        for batch in scanner.batches([text]):
            batch.columns(1)
        return scanner.set_count

    sets = benchmark(columns)
    rate(benchmark, sets, len(text))


def test_elset_parse(benchmark, text):
    """Element sets as Python objects."""
    sets = benchmark(lambda: sum(1 for _ in parse(text)))
    rate(benchmark, sets, len(text))


def test_elset_synthetic(benchmark, text):
    """The generator of the synthetic catalogue, objects drawn already."""
    catalogue = SyntheticCatalogue(objects=30_000, issues=4)
    size = benchmark(lambda: sum(len(chunk) for chunk in catalogue.chunks()))
    rate(benchmark, catalogue.set_count, size)
