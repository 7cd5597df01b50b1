"""The crash laboratory: no state that a crash may leave breaks an invariant, and it would say so.

OOR_EXPLORE=n explores n times as many states.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from oor import native
from oor.cli.app import run as run_command
from oor.crashlab import replay
from oor.crashlab.explorer import Explorer, Plan
from oor.crashlab.fleet import explore_all
from oor.crashlab.history import History
from oor.crashlab.invariants import classify
from oor.crashlab.levels import QUICK, Level
from oor.crashlab.memory import ROOT, STORE, MemoryDisk
from oor.crashlab.profiles import PROFILES
from oor.crashlab.scripts import SCRIPTS
from oor.crashlab.shrink import shrink
from oor.crashlab.workloads import MACROS, sequences, workload_of

EXPLORE = int(os.environ.get("OOR_EXPLORE", "1"))
STATES = 100_000 * EXPLORE


@pytest.fixture
def disk():
    with MemoryDisk() as disk:
        yield disk


def test_no_crash_of_a_hundred_thousand_breaks_an_invariant():
    plan = Plan(
        seed=1, states=STATES * 5 // 4, per_workload=STATES // 50, longest=4, nested=1,
        levels=tuple(Level), processes=len(os.sched_getaffinity(0)),
    )  # fmt: skip
    tally, _ = explore_all(plan)
    assert not tally.violations, "\n".join(map(str, tally.violations))
    assert tally.states >= STATES, "the explorer opened too few states to say anything"
    assert all(tally.distinct[level.name] for level in Level)
    assert all(tally.depths[depth] for depth in (1, 2, 3))


@pytest.mark.parametrize("profile", sorted(set(PROFILES) - {"posix-strict"}))
def test_no_file_system_of_the_net_leaves_a_state_that_breaks_an_invariant(disk, profile):
    explorer = Explorer(disk, Plan(seed=2, profile=PROFILES[profile], per_workload=150))
    for name in ("mixed-buffered", "W-S"):
        workload, options = SCRIPTS[name]
        explorer.explore(name, workload, options)
    tally = explorer.finish()
    assert tally.states >= 300
    assert not tally.violations, "\n".join(map(str, tally.violations))


@pytest.mark.parametrize(
    ("name", "tears", "holds"),
    [("mixed-padded", 512, True), ("mixed", 512, False), ("mixed-padded", 4096, False)],
)
def test_a_torn_sector_of_anything_costs_a_padded_log_nothing_and_others_are_seen_to_lose(
    disk, name, tears, holds
):
    """What the page lists apart: it is no claim where a torn sector is neither old nor new."""
    bounds = replace(QUICK, tears=tears)
    plan = Plan(seed=1, per_workload=400, nested=0, levels=(Level.TORN,), bounds=bounds)
    explorer = Explorer(disk, plan)
    workload, options = SCRIPTS[name]
    explorer.explore(name, workload, options)
    tally = explorer.finish()
    assert (not tally.violations) == holds, tally.violations
    assert {found.invariant for found in tally.violations} <= {"I2", "I9", "I12"}


def test_a_file_system_that_keeps_order_leaves_fewer_states(disk):
    counts = {}
    for name in ("posix-strict", "ext4-ordered"):
        explorer = Explorer(disk, Plan(profile=PROFILES[name], nested=0))
        explorer.explore("x", workload_of(("put", "flush", "checkpoint")))
        counts[name] = explorer.finish().states
    assert 0 < counts["ext4-ordered"] < counts["posix-strict"]


def test_the_same_sequence_gives_the_same_operations_and_states(disk):
    tallies = []
    for _ in range(2):
        explorer = Explorer(disk, Plan(seed=3))
        explorer.explore("x", workload_of(("put", "big", "flush", "reopen")))
        tallies.append((explorer.seen, explorer.finish().operations))
    assert tallies[0] == tallies[1]


def test_sequences_are_all_there_are_but_those_that_go_on_after_a_close():
    found = list(sequences(2))
    assert len(found) == len(set(found)) == 12 + 12 * 12 - 11
    assert ("close", "put") not in found and ("close", "reopen") in found


# ---- it would say so -----------------------------------------------------------------------------


def without_directory_syncs(monkeypatch):
    """A planted bug: names of tables and manifests are not made durable."""
    monkeypatch.setattr(native, "sync_dir", lambda path: None)


def test_a_violation_is_shrunk_and_its_file_shows_it_again(disk, monkeypatch):
    without_directory_syncs(monkeypatch)
    found = shrink(disk, Plan(nested=0), ("delete", "put", "sync", "put"), "I2")
    assert found is not None
    assert found.violation.workload in MACROS, "one operation is enough"
    path = f"{ROOT}/violation.json"
    replay.save(path, replay.replay_of(found))
    recorded, image = replay.load(replay.read(path))
    assert image.files == found.image.files
    assert (
        recorded.history.batches == found.recorded.history.batches[: len(recorded.history.batches)]
    )


def test_the_command_replays_a_file_and_fails_as_long_as_it_is_violated(
    tmp_path, monkeypatch, capsys
):
    with MemoryDisk() as disk, monkeypatch.context() as patch:
        without_directory_syncs(patch)
        found = shrink(disk, Plan(nested=0), ("put",), "I2")
    path = str(tmp_path / "violation.json")
    replay.save(path, replay.replay_of(found))
    # What the bug left on the disk is lost, with or without the bug.
    assert run_command(["crashlab", "--replay", path]) == 1
    assert "I2" in capsys.readouterr().out
    content = replay.read(path)
    content["promise"] = [content["promise"][0], 0, 0]
    replay.save(path, content)
    assert run_command(["crashlab", "--replay", path]) == 0


def test_the_command_counts_and_leaves_a_file_for_each_violation(tmp_path, monkeypatch, capsys):
    assert (
        run_command(["crashlab", "--longest", "1", "--states", "300", "--processes", "1", "--json"])
        == 0
    )
    counts = json.loads(capsys.readouterr().out)
    assert counts["states"] >= 300 and counts["violations"] == 0
    without_directory_syncs(monkeypatch)
    target = tmp_path / "found"
    arguments = ["crashlab", str(target), "--longest", "1", "--states", "300", "--processes", "1"]
    assert run_command(arguments) == 1
    assert json.loads((target / "violation-0.json").read_text())["invariant"]


@pytest.mark.parametrize(
    "found, invariant",
    [({b"a": b"1", b"b": b"9"}, "I3"), ({b"a": b"1", b"c": b"2"}, "I4"), ({b"d": b"3"}, "I1")],
)
def test_what_no_prefix_adds_up_to_is_told_apart(found, invariant):
    batches = [{b"a": b"1"}, {b"b": b"2", b"c": b"2"}, {b"d": b"3"}, {b"e": b"4"}]
    assert classify(found, History(batches=batches))[0] == invariant


# ---- the disk in memory --------------------------------------------------------------------------


def test_a_name_moves_without_its_file_and_a_file_outlives_its_name(disk):
    with native.File(f"{ROOT}/a", native.READ | native.WRITE | native.CREATE) as file:
        file.write(b"one", 0)
        native.link(f"{ROOT}/a", f"{ROOT}/b")
        native.rename(f"{ROOT}/a", f"{ROOT}/c")
        file.write(b"two", 5)
        assert native.list_dir(ROOT) == ["b", "c"]
        native.unlink(f"{ROOT}/b")
        native.unlink(f"{ROOT}/c")
        assert file.read(8) == b"one\0\0two"
    assert not native.exists(f"{ROOT}/c")


def test_only_what_was_put_there_is_on_the_disk_in_memory(disk):
    assert not native.exists("/etc")
    disk.put(("store",), {"store/x": b"content"})
    assert disk.files(STORE) == {"x": b"content"}
    disk.clear()
    assert native.list_dir(ROOT) == []
    with pytest.raises(Exception, match="No such file"):
        native.File(f"{ROOT}/none/x", native.WRITE | native.CREATE)


def test_a_descriptor_of_the_memory_is_none_that_the_kernel_could_give(disk):
    highest = int(Path("/proc/sys/fs/nr_open").read_text())
    with native.File(f"{ROOT}/file", native.WRITE | native.CREATE) as file:
        assert file._fd > highest, "closed late, it would close a file of somebody else"
