"""The experiments on frames, recovery, checkpoints and syncs: what they claim is what they saw."""

from __future__ import annotations

import dataclasses
import json

import pytest

import oor
from oor import native
from oor.cli import exits
from oor.cli.app import run as run_command
from oor.lab import aries, checkpoints, frame, fsync_cost


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
def test_a_crash_at_each_point_is_recovered_whole_and_once(tmp_path, point, replayed, orphan_tables):
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
    text = fsync_cost.report(found)
    assert text.count("|#") == sum(cost.error is None for cost in found.diagnosis.costs) + 4
    with oor.open(tmp_path / "fsync-cost.oor") as db:
        assert len(db) == 10_000


def test_an_experiment_keeps_its_stores_where_it_is_told_to_and_nowhere_else(tmp_path, capsys):
    where = str(tmp_path / "kept")
    assert run_command(["lab", "aries", "--dir", where, "--json"]) == exits.FINE
    assert native.list_dir(where) == ["aries-flush.oor"]
    assert json.loads(capsys.readouterr().out)["found"] == 5000
