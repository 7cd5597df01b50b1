"""Back-pressure: writers slow down before they stop, may refuse to wait, and are told why they
did."""

from __future__ import annotations

import errno
import itertools
import logging
import threading

import pytest
from support.recording import Op, Recording

import oor
from oor.pressure import FAST_RATE, SLOW_RATE, rate_at

OPTIONS = {"durability": "os", "l0_trigger": 2, "l0_slowdown": 2, "l0_stop": 5}


class Behind:
    """A store whose compaction is held back, with as many tables in level 0 as asked."""

    def __init__(self, path, tables, **options):
        self.told = []
        self.db = oor.open(path / "s", on_stall=self.listen, **OPTIONS | options)
        # Not a pause: writers do not wait for what is paused.
        self._compactor = self.db._background.compactor
        self._compactor.once = lambda: False
        for n in range(tables):
            self.db.put(b"table", b"%d" % n)
            self.db.flush()

    def listen(self, reason, seconds):
        free = self.db._state.lock.acquire(blocking=False)
        if free:
            self.db._state.lock.release()
        self.told.append((reason, seconds, threading.current_thread(), free))

    def catch_up(self):
        vars(self._compactor).pop("once", None)
        self.db._state.compaction_wanted.set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.catch_up()
        self.db.close()


def test_the_rate_falls_evenly_from_fast_to_slow():
    rates = [rate_at(n / 10) for n in range(11)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == FAST_RATE and rates[-1] == pytest.approx(SLOW_RATE)
    steps = [lower / upper for upper, lower in itertools.pairwise(rates)]
    assert max(steps) == pytest.approx(min(steps))


def test_urgency_begins_at_the_slowdown_and_is_whole_at_the_stop(tmp_path):
    with Behind(tmp_path, 1) as store:
        seen = []
        for n in range(4):
            seen.append(store.db._state.urgency())
            store.db.put(b"more", b"%d" % n)
            store.db.flush()
        seen.append(store.db._state.urgency())
        assert [urgency for urgency, _ in seen] == [0, 0.25, 0.5, 0.75, 1]
        assert seen[-1][1] == "compaction"


def test_a_writer_goes_slower_before_it_stops(tmp_path):
    with Behind(tmp_path, 4) as store:
        for n in range(400):
            store.db.put(b"%d" % n, bytes(4000))
        stats = store.db.stats()
        owed = 400 * 4160 / rate_at(0.75)
        assert stats.stalls > 5
        assert stats.stall_seconds > owed / 2
        assert "compaction" in {reason for reason, *_ in store.told}


def test_a_writer_waits_until_compaction_has_caught_up_and_is_told_by_its_own_thread(
    tmp_path, caplog
):
    caplog.set_level(logging.INFO, logger="oor.pressure")
    with Behind(tmp_path, 5) as store:
        writer = threading.Thread(target=store.db.put, args=(b"k", b"v"))
        writer.start()
        with pytest.raises(oor.WouldStallError, match="level 0 has 5 of 5 tables"):
            store.db.try_put(b"other", b"v")
        with pytest.raises(oor.WouldStallError):
            store.db.try_write({b"other": None}, durability="sync")
        assert store.db.get(b"k") is None and not store.told
        store.catch_up()
        writer.join()
        reason, seconds, thread, lock_was_free = store.told[0]
        assert (reason, thread, lock_was_free) == ("compaction", writer, True)
        assert 0 < seconds <= store.db.stats().stall_seconds
        assert store.db.get(b"k") == b"v" and store.db.get(b"other") is None
        assert "a writer waited" in caplog.text


def test_a_writer_in_sync_mode_waits_and_is_told_too(tmp_path):
    with Behind(tmp_path, 5) as store:
        writer = threading.Thread(
            target=store.db.put, args=(b"k", b"v"), kwargs={"durability": "sync"}
        )
        writer.start()
        store.catch_up()
        writer.join()
        assert store.db.get(b"k") == b"v"


def test_a_listener_that_raises_does_not_fail_the_write(tmp_path, caplog):
    with Behind(tmp_path, 5) as store:
        store.listen = None
        object.__setattr__(store.db.options, "on_stall", lambda reason, seconds: 1 / 0)
        writer = threading.Thread(target=store.db.put, args=(b"k", b"v"))
        writer.start()
        while not store.db._state.changed._waiters:
            pass
        store.catch_up()
        writer.join()
        assert store.db.get(b"k") == b"v"
        assert "on_stall raised" in caplog.text


def test_try_writes_do_not_wait_for_the_log(tmp_path):
    options = {"tail_bytes": 16 << 10, "segment_bytes": 64 << 10, "durability": "os"}
    with oor.open(tmp_path / "s", **options) as db, Recording(tmp_path) as disk:
        disk.fail(Op.WRITE, path_part=".wal", errno=errno.ENOSPC, forever=True)
        written = 0
        with pytest.raises(oor.WouldStallError, match="the log has no room"):
            while True:
                db.try_put(b"%d" % written, bytes(1000))
                written += 1
        assert 16 <= written <= 32  # both halves of the tail
        with pytest.raises(oor.WouldStallError):
            db.try_put(b"large", bytes(40_000))  # past the tail: a device write
        with pytest.raises(oor.WouldStallError):
            db.try_put(b"sync", bytes(1000), durability="sync")
        disk.heal()
        assert db.put(b"k", b"v") == written + 1
        assert db.try_write([]) == written + 1
        assert len(list(db.keys())) == written + 1


def test_a_try_write_gives_the_lock_a_millisecond_and_no_more(tmp_path):
    with oor.open(tmp_path / "s", durability="os") as db:
        with db._state.lock, pytest.raises(oor.WouldStallError, match="another writer"):
            db.try_put(b"k", b"v")
        assert db.try_put(b"k", b"v") == 1
        assert db.try_put(b"k", b"w", durability="sync") == 2
        assert db.get(b"k") == b"w"
