"""`oor lab crash-compaction` and `replay-time`: what they find, and that they can find the worst."""

from __future__ import annotations

import sys

import pytest

from oor import native
from oor.cli import exits
from oor.cli.app import run as run_command
from oor.lab import crash_compaction, replay_time
from oor.lab.replay_time import Replay, ReplayTime

UNWATCHED = "the labs remove whole stores that they made"


@pytest.fixture(scope="module")
def crashed(tmp_path_factory):
    return crash_compaction.run(str(tmp_path_factory.mktemp("lab")))


def test_a_crash_behind_any_operation_leaves_the_old_tables_and_from_one_on_the_new(crashed):
    assert crashed.holds
    for crashes in (crashed.killed, crashed.power_lost):
        sets = [crash.tables for crash in crashes]
        assert set(sets) == {"old", "new"} and sets == sorted(sets, reverse=True)
    told = " ".join(crash.operation for crash in crashed.killed)
    for word in ("open", "write", "sync dir", "MANIFEST", "unlink"):
        assert word in told


def test_a_loss_of_power_needs_the_sync_of_the_manifest_and_a_kill_only_its_write(crashed):
    first_new = [
        next(crash.operation for crash in crashes if crash.tables == "new")
        for crashes in (crashed.killed, crashed.power_lost)
    ]
    assert [operation.split()[0] for operation in first_new] == ["write", "sync"]
    assert all("MANIFEST" in operation for operation in first_new)


class Careless:
    """The door, with one thing of a compaction done wrong."""

    def __init__(self, fault):
        self._fault = fault

    def __getattr__(self, name):
        return getattr(native, name)

    def sync_dir(self, path):
        if self._fault == "an input removed before the edit":
            native.sync_dir(path)
            first = min(name for name in native.list_dir(path) if name.endswith(".sst"))
            native.link(f"{path}/{first}", f"{path}/kept")
            native.unlink(f"{path}/{first}")
            native.rename(f"{path}/kept", f"{path}/{first}")


@pytest.mark.parametrize("fault", ["names not synced", "an input removed before the edit"])
def test_a_compaction_that_breaks_the_order_does_not_hold(tmp_path, monkeypatch, capsys, fault):
    monkeypatch.setattr(sys.modules["oor.compaction.run"], "native", Careless(fault))
    found = crash_compaction.run(str(tmp_path))
    assert not found.holds
    assert found.figures()["neither"] > 0
    assert "A READ DIFFERS" in crash_compaction.report(found)
    monkeypatch.setattr(crash_compaction, "run", lambda place: found)
    assert run_command(["lab", "crash-compaction"]) == exits.DAMAGE


def test_the_bound_of_replay_is_the_line_through_what_was_measured():
    replays = tuple(Replay(n, n * 180, 0.002, n * 1e-6, 0.001) for n in (1000, 2000, 4000))
    found = ReplayTime(100.0, 40.0, replays)
    assert found.bound(8000) == pytest.approx(0.011)
    assert found.seconds_a_record == pytest.approx(1e-6)
    assert found.figures()["longest_ms"] == pytest.approx(7.0)


@pytest.mark.parametrize("seconds", [(1.0, 2.5, 3.0), (3.0, 2.0, 1.0), (1.0, 1.0, 1.0)])
def test_no_replay_lies_above_the_bound_and_it_never_falls_however_noisy_the_replays_are(seconds):
    replays = tuple(Replay(1000 * n, 0, 0.0, each, 0.0) for n, each in enumerate(seconds, start=1))
    found = ReplayTime(100.0, 40.0, replays)
    assert all(replay.seconds <= found.bound(replay.records) + 1e-9 for replay in replays)
    assert found.bound(100_000) > found.bound(4000) > max(seconds)


def test_logs_of_growing_length_are_replayed_whole(tmp_path):
    found = replay_time.run(str(tmp_path), rate=6000, interval=1.0)
    counts = [replay.records for replay in found.replays]
    assert counts == sorted(counts) and counts[-1] == 6000
    assert all(replay.seconds > 0 for replay in found.replays)
    assert f"{6000:,} records" in replay_time.report(found)
