"""The experiments on frames, recovery, checkpoints and syncs: what they claim is what they saw."""

from __future__ import annotations

import dataclasses
import json

import pytest

import oor
from oor import doctor, native
from oor.cli import exits
from oor.cli.app import run as run_command
from oor.lab import aries, checkpoints, crash_compaction, frame, fsync_cost, replay_time

UNWATCHED = "the labs remove whole stores that they made"


def test_each_flipped_bit_of_a_promised_frame_is_refused_and_of_the_last_one_ends_the_log(tmp_path):
    found = frame.run(str(tmp_path))
    assert (found.promised.refused, found.promised.silent) == (found.promised.bits, 0)
    assert (found.last.ended, found.last.silent) == (found.last.bits, 0)
    assert "first lsn 1, last lsn 2" in found.promised.example
    assert found.promised.bits == 8 * (40 + 35) and found.last.bits == 8 * (40 + 15)


def test_the_fields_of_a_frame_lie_end_to_end_and_hold_what_was_written(tmp_path):
    found = frame.run(str(tmp_path))
    for each in (found.promised, found.last):
        at = each.fields[0].offset
        for field in each.fields:
            assert field.offset == at
            at += len(field.data)
    fields = {field.name: field.data for field in found.last.fields}
    assert (fields["key"], fields["value"]) == frame.PUT
    assert int.from_bytes(fields["durable LSN"], "little") == 2
    text = frame.report(found)
    assert "ISS (ZARYA)" in text and "600 refused" in text


def test_a_bit_that_nobody_notices_ends_the_command_with_one(monkeypatch, capsys):
    monkeypatch.setattr(frame, "_outcome", lambda image, first_lsn: ("silent", ""))
    assert run_command(["lab", "frame", "--json"]) == exits.DAMAGE
    assert json.loads(capsys.readouterr().out)["promised_silent"] == 600


@pytest.mark.parametrize(
    ("point", "replayed", "orphan_tables"),
    [("logged", 5000, 0), ("flush", 5000, 1), ("merged", 0, 1), ("installed", 0, 3)],
)
def test_a_crash_at_each_point_is_recovered_whole_and_once(
    tmp_path, point, replayed, orphan_tables
):
    figures = aries.run(str(tmp_path), point=point).figures()
    assert figures["found"] == figures["written"] == 5000
    assert (figures["replayed"], figures["orphan_tables"]) == (replayed, orphan_tables)
    assert figures["epoch_after"] > figures["epoch_before"]
    assert figures["next_lsn"] > figures["recovered_lsn"] == 5000
    assert (figures["again_replayed"], figures["again_orphans"]) == (0, 0)


def test_the_report_of_a_recovery_names_what_is_undone_and_why(tmp_path):
    text = aries.report(aries.run(str(tmp_path), point="flush"))
    assert ".sst: no manifest names it" in text
    assert "redo starts at LSN 1; the log ends at 5,000" in text
    assert "5,000 of 5,000 records are there" in text


def test_a_missing_record_ends_the_command_with_one(tmp_path, monkeypatch):
    found = dataclasses.replace(aries.run(str(tmp_path)), found=4999)
    monkeypatch.setattr(aries, "run", lambda *_, **__: found)
    assert run_command(["lab", "aries"]) == exits.DAMAGE


def test_checkpoints_shorten_the_log_and_what_redo_has_to_do(tmp_path):
    found = checkpoints.run(str(tmp_path), records=8000, every=2000)
    figures = found.figures()
    assert figures["checkpoints"] == 3 and figures["segments_freed"] > 0
    assert figures["with_redo_records"] < figures["without_redo_records"] == 8000
    assert figures["with_largest_log"] < figures["without_largest_log"]
    assert figures["last_redo_lsn"] > figures["last_checkpoint_lsn"]
    assert figures["with_redo_lsn"] + figures["with_redo_records"] == figures["last_lsn"] + 1
    text = checkpoints.report(found)
    assert "replay 8,000 mutations" in text and text.count("checkpoint at LSN") == 3
    assert all(len(line) <= 100 for line in text.splitlines())


def test_the_cost_of_a_sync_is_measured_for_each_way_and_each_batch(tmp_path):
    found = fsync_cost.run(str(tmp_path), samples=10)
    figures = found.figures()
    for records in fsync_cost.BATCHES:
        assert figures[f"batch_{records}_us_a_record"] > 0
    assert figures["unsynced_us"] > 0 and figures["sync_method"]
    assert 0 < figures["tasks_syncs"] < 100 and figures["threads_syncs"] > 0
    text = fsync_cost.report(found)
    assert "1,000 durable puts by" in text
    assert text.count("|#") == sum(cost.error is None for cost in found.diagnosis.costs) + 4
    with oor.open(tmp_path / "fsync-cost.oor") as db:
        assert len(db) == 10_000 + figures["threads_puts"] + figures["tasks_puts"]


def test_a_device_that_takes_too_long_is_asked_less_often(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "SECONDS_MAX", 0.0)
    monkeypatch.setattr(fsync_cost, "SECONDS_MAX", 0.0)
    found = fsync_cost.run(str(tmp_path), samples=1000)
    assert {cost.samples for cost in found.diagnosis.costs if cost.error is None} == {1}
    with oor.open(tmp_path / "fsync-cost.oor") as db:
        assert len(db) == fsync_cost.BATCHES[-1] + found.threads.puts + found.tasks.puts


def test_an_experiment_keeps_its_stores_where_it_is_told_to_and_nowhere_else(tmp_path, capsys):
    where = str(tmp_path / "kept")
    assert run_command(["lab", "aries", "--dir", where, "--json"]) == exits.FINE
    assert native.list_dir(where) == ["aries-flush.oor"]
    assert json.loads(capsys.readouterr().out)["found"] == 5000


def test_a_compaction_crashed_at_each_operation_leaves_one_whole_set_and_every_read(tmp_path):
    found = crash_compaction.run(str(tmp_path))
    figures = found.figures()
    assert found.holds and figures["wrong_reads"] == figures["neither"] == 0
    assert figures["killed_switches"] == figures["power_lost_switches"] == 1
    for crashes in (found.killed, found.power_lost):
        assert (crashes[0].tables, crashes[-1].tables) == ("old", "new")
    # Killed, the written edit counts; without power, only the synced one.
    manifest = [place for place, crash in enumerate(found.killed) if "MANIFEST" in crash.operation]
    write = next(place for place in manifest if found.killed[place].operation.startswith("write"))
    sync = next(place for place in manifest if found.killed[place].operation.startswith("sync"))
    assert found.killed[write].tables == "new" and found.power_lost[write].tables == "old"
    assert found.power_lost[sync].tables == "new"


def test_a_wrong_read_ends_the_command_with_one(tmp_path, monkeypatch):
    crash = crash_compaction.Crash("sync x", "new", False)
    found = crash_compaction.CrashCompaction((crash,), (crash,), 1)
    monkeypatch.setattr(crash_compaction, "run", lambda *_, **__: found)
    assert run_command(["lab", "crash-compaction"]) == exits.DAMAGE


def test_all_that_a_rate_writes_in_an_interval_is_replayed_and_bounds_are_told(tmp_path):
    found = replay_time.run(str(tmp_path), rate=1000, interval=12)
    assert [replay.records for replay in found.replays] == [2000 * n for n in range(1, 7)]
    assert found.figures()["records"] == 12_000
    assert found.bound(0) + 1000 * found.seconds_a_record == pytest.approx(found.bound(1000))
    text = replay_time.report(found)
    assert "the longest replay: 12,000 records" in text and "30,000/s" in text
    assert all(len(line) <= 100 for line in text.splitlines())


def test_each_experiment_that_draws_writes_a_picture(tmp_path):
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    for name in ("crash-compaction", "checkpoints", "fsync-cost"):
        path = tmp_path / f"{name}.png"
        assert run_command(["lab", name, "--png", str(path)]) == exits.FINE
        assert path.read_bytes().startswith(b"\x89PNG")
