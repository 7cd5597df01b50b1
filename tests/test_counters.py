"""The counters of bench/counters.py: within their limits, and past them where work is added."""

from __future__ import annotations

import json

import pytest

import oor
from bench import counters

BASELINE = json.loads(counters.BASELINE.read_text())


def test_a_fixed_piece_of_work_costs_what_it_did(tmp_path):
    found = counters.measure(str(tmp_path))
    assert found.keys() == BASELINE.keys() == counters.LIMITS.keys()
    assert not counters.excesses(found, BASELINE)


@pytest.mark.parametrize(
    ("planted", "names"),
    [
        ({"restart_interval": 1}, {"table_bytes_a_record"}),
        ({"filter_bits": 0}, {"tables_touched_an_absent_key"}),
        ({"cache_bytes": 0}, {"blocks_read_a_cold_lookup", "blocks_read_a_warm_lookup"}),
    ],
)
def test_a_costlier_way_of_working_is_past_a_limit(tmp_path, monkeypatch, planted, names):
    monkeypatch.setattr(counters, "OPTIONS", counters.OPTIONS | planted)
    found = counters.measure(str(tmp_path))
    told = {line.split(":")[0] for line in counters.excesses(found, BASELINE)}
    assert names <= told


def test_a_second_sync_of_each_batch_is_past_a_limit(tmp_path, monkeypatch):
    write = oor.DB.write

    def twice(db, batch, **named):
        middle = len(batch) // 2
        pairs = list(dict(batch).items())
        write(db, pairs[:middle], **named)
        return write(db, pairs[middle:], **named)

    monkeypatch.setattr(oor.DB, "write", twice)
    found = counters.measure(str(tmp_path))
    told = {line.split(":")[0] for line in counters.excesses(found, BASELINE)}
    assert {"syncs_a_batch", "frames_a_batch", "device_bytes_a_record"} <= told


def test_a_sync_more_of_each_write_to_the_log_is_past_a_limit(tmp_path, monkeypatch):
    put = oor.DB.put

    def put_and_sync(db, key, value, **named):
        lsn = put(db, key, value, **named)
        db._state.log.seal()
        return lsn

    monkeypatch.setattr(oor.DB, "put", put_and_sync)
    told = {
        line.split(":")[0] for line in counters.excesses(counters.measure(str(tmp_path)), BASELINE)
    }
    assert {"writes_a_durable_put", "syncs_a_durable_put"} <= told
