"""Bounds on what a power loss may take: records, bytes, and the company of a sync."""

from __future__ import annotations

import errno
import threading

import pytest
from support.recording import Op, Recording

import oor

KEY, VALUE = b"k" * 9, b"v" * 138


def outstanding(db):
    log = db._state.log.state()
    return log.next_lsn - 1 - log.durable_lsn


def until_one_had_to_wait(db):
    """300 turns, and more where the device is so quick, or this thread so slow, that none had to."""
    for n in range(1_000_000):
        if n >= 300 and db._state.log.state().bound_stalls:
            return
        yield n


@pytest.mark.parametrize("mode", ["os", "interval"])
def test_no_more_records_than_the_bound_are_ever_unsynced(tmp_path, mode):
    with oor.open(
        tmp_path / "s", durability=mode, sync_interval=60.0, max_unsynced_records=10
    ) as db:
        for _ in until_one_had_to_wait(db):
            db.put(KEY, VALUE)
            assert outstanding(db) <= 10
        stats = db.stats()
        assert stats.loss_window.records <= 10
        assert stats.log.bound_stalls > 0
        assert stats.durable_lsn >= stats.last_lsn - 10


def test_no_more_bytes_than_the_bound_are_ever_unsynced(tmp_path):
    with oor.open(tmp_path / "s", durability="os", max_unsynced_bytes=8192) as db:
        for _ in until_one_had_to_wait(db):
            db.put(KEY, VALUE)
        stats = db.stats()
        assert 0 < stats.loss_window.bytes <= 8192
        assert stats.log.bound_stalls > 0


def test_without_bounds_nobody_syncs_in_os_mode(tmp_path):
    with oor.open(tmp_path / "s", durability="os") as db:
        for _ in range(300):
            db.put(KEY, VALUE)
        assert db.durable_lsn == 0
        assert db.stats().log.bound_stalls == 0


@pytest.mark.parametrize("bound", [{"max_unsynced_records": 5}, {"max_unsynced_bytes": 512}])
@pytest.mark.parametrize("padding", [False, True])
def test_a_batch_larger_than_the_bound_is_durable_when_its_write_returns(tmp_path, bound, padding):
    with oor.open(tmp_path / "s", durability="os", wal_block_padding=padding, **bound) as db:
        db.put(b"before", b"v")
        lsn = db.write({b"%d" % n: VALUE for n in range(20)})
        assert db.durable_lsn == lsn == 21
        db.put(b"after", b"v")
    with oor.open(tmp_path / "s") as db:
        assert len(list(db.keys())) == 22


def test_a_full_disk_at_the_bound_refuses_the_write_and_room_lets_it_go_on(tmp_path):
    with oor.open(tmp_path / "s", durability="os", max_unsynced_records=2) as db:
        with Recording(tmp_path) as disk:
            disk.fail(Op.WRITE, path_part=".wal", errno=errno.ENOSPC, forever=True)
            db.put(b"a", b"1")
            db.put(b"b", b"2")
            with pytest.raises(oor.WouldStallError):
                db.try_put(b"c", b"3")
            with pytest.raises(oor.DiskFullError):
                db.put(b"c", b"3")
            disk.heal()
            assert db.put(b"d", b"4") == 3
        assert dict(db.scan()) == {b"a": b"1", b"b": b"2", b"d": b"4"}


def test_the_window_counts_what_was_logged_while_the_device_worked(tmp_path):
    with oor.open(tmp_path / "s", durability="interval", sync_interval=0.001) as db:
        done = threading.Event()
        seen = []

        def watch():
            while not done.is_set():
                seen.append(outstanding(db))

        watcher = threading.Thread(target=watch)
        watcher.start()
        for _ in range(20_000):
            db.put(KEY, VALUE)
        done.set()
        watcher.join()
        db.sync()
        assert db.stats().loss_window.records >= max(seen)


def test_who_leads_a_sync_waits_for_company(tmp_path):
    with oor.open(tmp_path / "s", commit_delay=0.3, sync_interval=3600.0) as db:
        before = db.stats().log.syncs
        writers = [threading.Thread(target=db.put, args=(b"%d" % n, b"v")) for n in range(8)]
        for logged, writer in enumerate(writers, 1):
            writer.start()
            while db.last_lsn < logged:
                pass
        for writer in writers:
            writer.join()
        assert db.durable_lsn == 8
        assert db.stats().log.syncs - before == 1


def test_a_leader_who_waits_for_company_is_served_by_another_sync(tmp_path):
    with oor.open(tmp_path / "s", commit_delay=1.0, sync_interval=3600.0) as db:
        writer = threading.Thread(target=db.put, args=(b"k", b"v"))
        writer.start()
        while db.last_lsn < 1:
            pass
        db._state.log.ask()
        writer.join()
        assert db.get(b"k") == b"v"


@pytest.mark.parametrize(
    "wrong",
    [
        {"commit_delay": 2.0},
        {"max_unsynced_bytes": -1},
        {"max_unsynced_records": -1},
        {"on_stall": 1},
    ],
)
def test_options_out_of_bounds_are_refused(wrong):
    with pytest.raises(oor.LimitError):
        oor.Options.of(**wrong)
