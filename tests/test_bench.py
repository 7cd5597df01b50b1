"""The benchmarks run, and judge what they measured as they say they do. No figure is asserted."""

from __future__ import annotations

import json
import os

import pytest

from bench import budgets, measure, report, stores, workloads, ycsb
from bench.measure import Figures

RECORDS = 30_000


@pytest.fixture(scope="module")
def data():
    return workloads.Data(RECORDS)


@pytest.fixture
def figures():
    found = Figures("fillsync16", "put, durable, 16 threads", "us")
    for ours, level, rocks, direct in [(10, 24, 90, 15), (20, 50, 80, 15), (30, 66, 100, 15)]:
        for who, figure in zip(
            ("oor", "LevelDB", "RocksDB", "direct"), (ours, level, rocks, direct), strict=True
        ):
            found.add(who, figure)
    return found


def test_the_ratio_is_that_of_the_rounds_side_by_side(figures):
    assert figures.ratio("LevelDB") == 2.4
    assert figures.ratio("SQLite") is None
    figures.higher_is_better = True
    assert figures.ratio("LevelDB") == pytest.approx(1 / 2.4)


def test_the_best_peer_is_the_nearest_store_and_never_a_probe(figures):
    assert budgets.best_peer(figures) == "LevelDB"


def test_a_budget_is_met_or_missed_by_the_median(figures):
    verdict = budgets.judge(figures)
    assert (verdict.wanted, verdict.figure_met, verdict.ahead_met) == (25, True, True)
    for _ in range(10):
        figures.add("oor", 40)
        figures.add("LevelDB", 50)
    verdict = budgets.judge(figures)
    assert (verdict.wanted, verdict.figure_met, verdict.ahead_met) == (25, False, False)


def test_every_budget_belongs_to_something_that_is_measured():
    measured = {workload.name for workload in workloads.ALL} | {"diskbytes"}
    measured |= {f"crc32c-{size}" for size in measure.probe.CRC_SIZES}
    assert set(budgets.BUDGETS) <= measured


def test_the_page_names_every_miss_and_the_command(figures):
    for _ in range(10):
        figures.add("oor", 40)
    run = report.Run({"CPUs": "2"}, {"oor": "oor 1"}, RECORDS, 3, [figures])
    page = report.as_markdown(run, "the command")
    assert "- `fillsync16`: 40.0 us where 25.0 is wanted" in page
    assert "    the command\n" in page
    assert json.loads(json.dumps(report.as_json(run)))["rows"][0]["budget_met"] is False


def test_values_are_different_and_of_the_size_that_the_page_says(data):
    values = [value for _, value in data.pairs]
    assert len(set(values)) == RECORDS
    assert {len(value) for value in values} == {workloads.VALUE_BYTES}
    assert not set(data.absent_keys(1000)) & set(data.keys)


@pytest.mark.parametrize("kind", stores.installed(), ids=lambda kind: kind.name)
def test_every_store_gives_back_what_was_put(kind, tmp_path, data):
    pairs = data.pairs[:2000]
    store = kind(str(tmp_path / "store"), True)
    store.put(*pairs[0])
    store.write(pairs[1:])
    store.renew()
    for _ in range(2):
        assert store.get(pairs[7][0]) == pairs[7][1]
        assert store.get(workloads.key_of(1)) is None
        assert len(store.get_many([key for key, _ in pairs[:9]])) == 9
        assert [tuple(pair) for pair in store.scan()] == pairs
        assert [tuple(pair) for pair in store.scan(True)] == pairs[::-1]
        assert [tuple(pair) for pair in store.range(pairs[3][0], 5)] == pairs[3:8]
        store.settle()
    store.close()
    assert any(name.endswith(kind.data_suffixes) for name in os.listdir(tmp_path / "store"))


@pytest.mark.parametrize("name", [w.name for w in workloads.ALL if w.name != "recover"])
def test_every_workload_gives_a_figure_each_round(name, tmp_path, data):
    (workload,) = (w for w in workloads.ALL if w.name == name)
    figures = measure.run(workload, [stores.Oor], data, 1, str(tmp_path), {})
    assert len(figures.rounds["oor"]) == 1


def test_a_store_is_opened_after_the_death_of_its_writer(tmp_path):
    session = workloads.RecoverSession(stores.Oor, str(tmp_path), 300)
    for number in range(2):
        session.prepare(number)()
    session.close()


def test_the_names_of_the_field_are_all_there():
    wanted = """fillseq fillrandom fillsync fillbatch100 overwrite readrandom readmissing readhot
        readseq readreverse seekrandom recover compact ycsba ycsbb ycsbc ycsbd ycsbe ycsbf
        elsetingest latestall"""
    assert set(wanted.split()) <= {workload.name for workload in workloads.ALL}


@pytest.mark.parametrize("mix", ycsb.MIXES, ids=lambda mix: mix.name)
def test_a_mix_has_its_shares_and_reads_only_what_is_there(mix, data):
    present = set(data.keys)
    for number in range(3):
        drawn = mix.draw(data, number, 2000)
        assert drawn == mix.draw(data, number, 2000)
        for kind in ("update", "insert", "scan", "modify"):
            found = sum(operation[0] == kind for operation in drawn)
            assert abs(found - 20 * getattr(mix, kind)) < 100
        for kind, key, _, _ in drawn:
            assert (key in present) is (kind != "insert")
            present.add(key)


def test_the_mix_of_new_records_reads_those_most(data):
    (mix,) = (mix for mix in ycsb.MIXES if mix.latest)
    reads = [key for kind, key, _, _ in mix.draw(data, 1, 5000) if kind == "read"]
    newest = workloads.key_of(2 * (RECORDS + 5000 - 100))
    assert sum(key >= newest for key in reads) > len(reads) / 3


@pytest.mark.parametrize("kind", stores.installed(), ids=lambda kind: kind.name)
def test_every_store_finds_the_newest_set_of_every_object(kind, tmp_path, data):
    for own in ("elsetingest", "latestall"):
        (workload,) = (w for w in workloads.ALL if w.name == own)
        room = tmp_path / own
        room.mkdir()
        session = workload.open(kind, str(room), data)
        session.prepare(0)()
        session.close()


def test_the_tables_that_are_merged_lie_side_by_side_before(tmp_path, data):
    (workload,) = (w for w in workloads.ALL if w.name == "compact")
    session = workload.open(stores.Oor, str(tmp_path), data)
    work = session.prepare(0)
    levels = session._store._db.stats().levels
    assert levels[0].tables == workloads.COMPACT_TABLES
    work()
    levels = session._store._db.stats().levels
    assert levels[0].tables == 0 and sum(level.entries for level in levels) == 30_000
    session.close()


@pytest.mark.parametrize("kind", stores.installed(), ids=lambda kind: kind.name)
def test_a_copy_of_a_settled_store_is_settled_and_the_image_is_never_written(kind, tmp_path):
    few = workloads.Data(1000)
    for number in range(2):
        store = workloads.copied(kind, str(tmp_path / str(number)), few, str(tmp_path / "images"))
        assert [pair[1] for pair in store.scan()] == [value for _, value in few.pairs]
        store.put(workloads.key_of(1), b"new")
        store.close()
