"""The asyncio face: tasks share syncs, the loop goes on, and no write is lost or shown too
early."""

from __future__ import annotations

import asyncio
import errno
import os
import threading

import pytest
from support.recording import Op, Recording

import oor
import oor.aio


def run(path, body, **options):
    """Open a store at `path` and run `body(db)` in a loop of its own."""

    async def main():
        async with oor.aio.open(path / "store", **options) as db:
            return await body(db)

    return asyncio.run(main())


def reopened(path):
    with oor.open(path / "store") as db:
        return dict(db.scan())


def test_a_thousand_tasks_share_a_few_syncs_and_each_learns_its_own_lsn(tmp_path):
    async def body(db):
        before = db.stats().log.syncs
        lsns = await asyncio.gather(*(db.put(b"%d" % n, b"v%d" % n) for n in range(1000)))
        assert db.durable_lsn >= max(lsns)
        return lsns, db.stats().log.syncs - before

    lsns, syncs = run(tmp_path, body)
    assert lsns == list(range(1, 1001))
    assert syncs <= 3
    assert reopened(tmp_path) == {b"%d" % n: b"v%d" % n for n in range(1000)}


def test_one_wake_up_serves_all_whom_a_sync_made_durable(tmp_path, monkeypatch):
    wakes = []
    original = oor.aio.AsyncDB._on_change
    monkeypatch.setattr(
        oor.aio.AsyncDB, "_on_change", lambda db: (wakes.append(1), original(db))[1]
    )

    async def body(db):
        await asyncio.gather(*(db.put(b"%d" % n, b"v") for n in range(500)))
        return db.stats().log.syncs

    syncs = run(tmp_path, body, durability="sync", sync_interval=3600.0)
    assert 1 <= len(wakes) <= syncs + 1


def test_a_write_is_seen_only_once_it_is_durable(tmp_path):
    async def body(db):
        with Recording(tmp_path) as disk:
            disk.fail(Op.WRITE, path_part=".wal", errno=errno.ENOSPC, forever=True)
            with pytest.raises(oor.DiskFullError):
                await db.put(b"k", b"v")
            assert await db.get(b"k") is None
            disk.heal()
            await db.sync()
            assert await db.get(b"k") == b"v"

    run(tmp_path, body)


def test_a_failed_sync_is_told_to_each_task_with_an_exception_of_its_own(tmp_path):
    async def main():
        db = await oor.aio.open(tmp_path / "store", direct_io=False)
        with Recording(tmp_path) as disk:
            disk.fail(Op.SYNC, path_part=".wal", errno=errno.EIO, forever=True)
            told = await asyncio.gather(
                *(db.put(b"%d" % n, b"v") for n in range(3)), return_exceptions=True
            )
            assert [type(error) for error in told] == [oor.FailedError] * 3
            assert len({id(error) for error in told}) == 3
            with pytest.raises(oor.FailedError):
                await db.put(b"later", b"v")
            await db.close()

    asyncio.run(main())


def test_cancelling_the_task_ends_the_waiting_and_not_the_write(tmp_path):
    async def body(db):
        task = asyncio.create_task(db.put(b"k", b"v"))
        other = asyncio.create_task(db.put(b"other", b"v"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await other == 2
        assert await db.get(b"k") == b"v"

    run(tmp_path, body)
    assert reopened(tmp_path) == {b"k": b"v", b"other": b"v"}


def test_the_loop_goes_on_while_a_write_waits_for_the_commit_lock(tmp_path):
    async def body(db):
        lock = db.db._state.lock
        lock.acquire()
        writing = asyncio.create_task(db.put(b"a", b"1"))
        turns = 0
        while not db._logging:  # until the write has gone to its thread
            turns += 1
            await asyncio.sleep(0)
        behind = asyncio.create_task(db.put(b"a", b"2"))
        await asyncio.sleep(0)
        assert not writing.done() and not behind.done()
        lock.release()
        assert [await writing, await behind] == [1, 2]
        assert await db.get(b"a") == b"2"

    run(tmp_path, body)


def test_a_large_batch_is_logged_by_a_thread_and_stays_whole(tmp_path):
    batch = {b"%d" % n: bytes(5000) for n in range(200)}

    async def body(db):
        small = asyncio.create_task(db.put(b"0", b"before"))
        await asyncio.sleep(0)
        assert await db.write(batch) == 201
        assert await small == 1
        assert await db.get(b"0") == bytes(5000)

    run(tmp_path, body)
    assert reopened(tmp_path) == batch


def test_durable_waits_for_the_sync_that_time_makes(tmp_path):
    async def body(db):
        lsn = await db.put(b"k", b"v")
        assert await db.get(b"k") == b"v"
        await asyncio.gather(*(db.durable(lsn) for _ in range(10)))
        assert db.durable_lsn >= lsn
        await db.durable(lsn)

    run(tmp_path, body, durability="interval", sync_interval=0.01)


def test_a_limit_is_told_to_its_writer_alone(tmp_path):
    async def body(db):
        good = asyncio.create_task(db.put(b"good", b"v"))
        bad = asyncio.create_task(db.put(b"k" * 65536, b"v"))
        in_batch = asyncio.create_task(db.write({b"x": b"1", b"k" * 65536: b"v"}))
        assert await good == 1
        for task in (bad, in_batch):
            with pytest.raises(oor.LimitError):
                await task

    run(tmp_path, body)
    assert reopened(tmp_path) == {b"good": b"v"}


def test_writes_of_different_modes_keep_the_order_in_which_they_began(tmp_path):
    async def body(db):
        modes = ["sync", "os", "interval", "sync", "os"]
        lsns = await asyncio.gather(
            *(db.put(b"k", b"%d" % n, durability=mode) for n, mode in enumerate(modes))
        )
        assert lsns == [1, 2, 3, 4, 5]
        assert await db.get(b"k") == b"4"

    run(tmp_path, body)


def test_a_write_that_need_not_wait_does_not_wait_for_one_that_began_later(tmp_path):
    async def body(db):
        with Recording(tmp_path) as disk:
            disk.fail(Op.WRITE, path_part=".wal", errno=errno.ENOSPC, forever=True)
            logged, synced = await asyncio.gather(
                db.put(b"a", b"1", durability="os"), db.put(b"b", b"2"), return_exceptions=True
            )
            assert logged == 1 and isinstance(synced, oor.DiskFullError)
            disk.heal()

    run(tmp_path, body)


def test_reads_and_housekeeping(tmp_path):
    async def body(db):
        pairs = {b"%04d" % n: b"v%d" % n for n in range(1500)}
        assert await db.write(pairs) == 1500
        assert await db.write({}) == 1500
        await db.delete(b"0007")
        del pairs[b"0007"]
        assert await db.flush() == 1
        assert {key: value async for key, value in db.scan()} == pairs
        assert [key async for key, _ in db.scan(prefix=b"000", reverse=True, limit=2)] == [
            b"0009",
            b"0008",
        ]
        assert await db.get(b"0007", b"gone") == b"gone"
        assert await db.get_many(list(pairs)) == list(pairs.values())
        assert await db.get_many([b"0001", b"0007"]) == [b"v1", None]
        assert (await db.checkpoint()).lsn == 1501
        assert await db.compact() >= 0
        assert db.last_lsn == 1501 and db.stats().last_lsn == 1501

    run(tmp_path, body)


def test_flush_takes_what_began_to_be_written_before_it(tmp_path):
    async def body(db):
        gate, append = threading.Event(), db._append

        def append_later(group, wait):
            if not wait:
                raise oor.WouldStallError("not now")
            gate.wait()
            return append(group, wait)

        db._append = append_later
        writing = asyncio.create_task(db.put(b"k", b"v", durability="os"))
        await asyncio.sleep(0)
        flushing = asyncio.create_task(db.flush())
        for _ in range(1000):
            await asyncio.sleep(0)
        gate.set()
        assert [await writing, await flushing] == [1, 1]

    run(tmp_path, body)


def test_close_finishes_what_is_under_way_and_refuses_the_rest(tmp_path):
    async def main():
        db = await oor.aio.open(tmp_path / "store")
        writing = asyncio.create_task(db.put(b"k", b"v"))
        await asyncio.sleep(0)
        await db.close()
        await db.close()
        assert await writing == 1
        with pytest.raises(oor.ClosedError):
            await db.put(b"k", b"w")

    asyncio.run(main())
    assert reopened(tmp_path) == {b"k": b"v"}


def test_opening_refuses_wrong_options_at_once_and_leaves_no_descriptor_behind(tmp_path):
    with pytest.raises(oor.LimitError):
        oor.aio.open(tmp_path / "store", no_such_option=1)
    with pytest.raises(oor.ClosedError):
        oor.aio.open(tmp_path / "store").db  # noqa: B018
    run(tmp_path, lambda db: db.put(b"k", b"v"))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        run(tmp_path, lambda db: db.put(b"k", b"v"))
    assert len(os.listdir("/proc/self/fd")) == before
