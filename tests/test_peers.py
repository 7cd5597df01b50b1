"""The history of runs, and that page, plots and README show its last one."""

from __future__ import annotations

import copy

import pytest

from bench import history, peers, workloads

ENTRIES = history.read()
PART = {
    "machine": {"CPUs": "2", "load before the run": "1.0"},
    "versions": {"oor": "oor 1"},
    "records": 40_000,
    "rounds": 5,
    "rows": [
        {"name": "put", "what": "a put", "unit": "us", "median": {"oor": 1.0, "LMDB": 2.0, "memory": 9},
         "times_oor": {"LMDB": 2.0, "SQLite": 1.5, "memory": 0.1}},
    ],
}  # fmt: skip


def other(name="get", **changed):
    part = copy.deepcopy(PART) | changed
    part["rows"][0]["name"] = name
    return part


def test_parts_of_one_run_become_one_line(tmp_path):
    entry = history.entry_of([PART, other(rounds=3)], "abc", "2026-01-01")
    assert set(entry["workloads"]) == {"put", "get"} and entry["rounds"] == 3
    path = tmp_path / "history.jsonl"
    history.append(entry, path)
    history.append(entry, path)
    assert history.read(path) == [entry, entry]


@pytest.mark.parametrize(
    "part",
    [other("put"), other(records=1), other(machine={"CPUs": "4"}), other(versions={})],
    ids=["twice", "size", "machine", "versions"],
)
def test_parts_that_do_not_belong_together_are_refused(part):
    with pytest.raises(ValueError):
        history.entry_of([PART, part], "abc", "2026-01-01")


def test_the_load_of_the_moment_does_not_make_another_machine():
    part = other(machine={"CPUs": "2", "load before the run": "7.0"})
    assert history.entry_of([PART, part], "abc", "2026-01-01")["machine"] == {"CPUs": "2"}


def test_the_best_peer_is_a_store_and_no_probe():
    entry = history.entry_of([PART], "abc", "2026-01-01")
    assert history.best_peer(entry["workloads"]["put"]) == ("SQLite", 1.5)
    assert "1.50x" in history.trend([entry])


def test_a_run_of_the_history_names_no_host():
    assert ENTRIES
    for entry in ENTRIES:
        assert set(entry["machine"]) == {"CPUs", "CPU", "architecture", "kernel", "file system",
                                         "Python"}  # fmt: skip


def test_every_workload_is_in_one_plot():
    drawn = [name for group in peers.GROUPS for name in group.workloads]
    assert len(set(drawn)) == len(drawn)
    assert {workload.name for workload in workloads.ALL} <= set(drawn)
    assert set(peers.IN_README) <= set(drawn)


def test_the_readme_and_the_page_show_the_last_run():
    text = peers.README.read_text(encoding="utf-8")
    assert peers.with_part(text, peers.readme_part(ENTRIES[-1])) == text
    assert peers.PAGE.read_text(encoding="utf-8") == peers.page(ENTRIES[-1], len(ENTRIES))


def test_every_plot_of_the_page_is_there_and_small():
    page = peers.PAGE.read_text(encoding="utf-8")
    for group in peers.GROUPS:
        if f"peers-{group.name}.svg" in page:
            for suffix in (".svg", ".png"):
                path = peers.FIGURES / f"peers-{group.name}{suffix}"
                assert 0 < path.stat().st_size < 60_000


def test_a_plot_of_the_same_run_has_the_same_bytes(tmp_path):
    pytest.importorskip("matplotlib", reason="plots are drawn by matplotlib")
    group = peers.GROUPS[0]
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        peers.draw(ENTRIES[-1], group, folder)
    for suffix in (".svg", ".png"):
        first, second = (
            (tmp_path / side / f"peers-{group.name}{suffix}").read_bytes() for side in "ab"
        )
        assert first == second
