"""The fixture that crashes a workload of a user's own: it explores, and it fails where it must."""

from __future__ import annotations

import pytest

from oor import native


def workload(run):
    db = run.open()
    db.write({b"25544": b"ISS", b"count": b"1"})
    db.flush()
    db.write({b"20580": b"HST", b"count": b"2"})


def whole(db):
    assert db.get(b"count", b"0") == b"%d" % (len(db) - (b"count" in db))


def test_a_workload_that_keeps_its_own_rule_passes_in_every_state(oor_crash):
    tally = oor_crash(workload, check=whole, states=400)
    assert tally.states > 50 and not tally.violations


def test_a_rule_that_a_crash_can_break_fails_the_test(oor_crash):
    def too_much(db):
        assert db.get(b"count") != b"1", "the first batch alone"

    with pytest.raises(pytest.fail.Exception, match="the first batch alone"):
        oor_crash(workload, check=too_much, states=400)


def test_a_store_that_leaves_a_sync_out_fails_the_test(oor_crash, monkeypatch):
    monkeypatch.setattr(native, "sync_dir", lambda path: None)
    with pytest.raises(pytest.fail.Exception, match="I"):
        oor_crash(workload, states=400)
